//! An event loop: one thread that waits neither for a client nor for the back-end.
//!
//! As many requests at a time as there are clients, if the back-end can be asked without waiting:
//! here a timer stands for it. A client costs what the loop remembers of it. Whatever takes the
//! thread's time delays all clients.

use crate::duty::{Answer, Duty, HEAD_BYTES, head_length};
use polling::{Event, Events, PollMode, Poller};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

/// The listener's number among the events. A connection has that of its place.
const LISTENER: usize = usize::MAX - 1;

struct EventLoop<'a> {
    poller: Poller,
    connections: Slab<Connection>,
    /// When the back-end answers, and for which connection.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    duty: &'a Duty,
}

struct Connection {
    stream: TcpStream,
    /// What was read and belongs to no request yet.
    read: Vec<u8>,
    state: State,
}

enum State {
    Reading,
    /// For the back-end.
    Waiting(Answer),
    /// This many bytes are sent.
    Sending(Answer, usize),
}

#[allow(unsafe_code, reason = "the poller cannot know how long a descriptor stays open")]
pub fn serve(listener: &TcpListener, duty: &Duty) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poller = Poller::new()?;
    // SAFETY: it must not be closed while it is registered. The poller is dropped first.
    unsafe { poller.add_with_mode(listener, Event::readable(LISTENER), PollMode::Level)? };
    let (connections, due) = (Slab::new(), BinaryHeap::new());
    let mut this = EventLoop { poller, connections, due, duty };
    let mut events = Events::new();
    loop {
        let next = this.due.peek().map(|Reverse((at, _))| *at);
        let wait = next.map(|at| at.saturating_duration_since(Instant::now()));
        events.clear();
        this.poller.wait(&mut events, wait)?;
        for event in events.iter() {
            match event.key {
                LISTENER => this.accept(listener),
                place => this.advance(place),
            }
        }
        this.send_due();
    }
}

impl EventLoop<'_> {
    #[allow(unsafe_code, reason = "the poller cannot know how long a descriptor stays open")]
    fn accept(&mut self, listener: &TcpListener) {
        // Without a connection it would block, or that client has gone already.
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
                continue;
            }
            let place = self.connections.vacant_entry();
            let both = Event::all(place.key());
            // SAFETY: it must not be closed while it is registered. `remove` takes care of it.
            if unsafe { self.poller.add_with_mode(&stream, both, PollMode::Edge) }.is_ok() {
                place.insert(Connection { stream, read: Vec::new(), state: State::Reading });
            }
        }
    }

    fn remove(&mut self, place: usize) {
        let connection = self.connections.remove(place);
        // Closing it removes it from the poller in any case.
        let _ = self.poller.delete(&connection.stream);
    }

    fn advance(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        match connection.advance(self.duty) {
            Ok(None) => {}
            Ok(Some(at)) => self.due.push(Reverse((at, place))),
            // Its end, or an error that concerns no other client.
            Err(_) => self.remove(place),
        }
    }

    /// Sends the answers that have come from the back-end.
    fn send_due(&mut self) {
        while let Some(&Reverse((at, place))) = self.due.peek()
            && at <= Instant::now()
        {
            self.due.pop();
            let Some(connection) = self.connections.get_mut(place) else { continue };
            connection.state = match mem::replace(&mut connection.state, State::Reading) {
                State::Waiting(answer) => State::Sending(answer, 0),
                other => other,
            };
            self.advance(place);
        }
    }
}

impl Connection {
    /// Moves on until it would block. Returns when the back-end answers, if it was asked. The end
    /// of the connection is an error, too.
    fn advance(&mut self, duty: &Duty) -> io::Result<Option<Instant>> {
        loop {
            let step = match &mut self.state {
                State::Waiting(_) => return Ok(None),
                State::Sending(answer, sent) if *sent == answer.bytes.len() => {
                    if answer.is_last {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    self.state = State::Reading;
                    continue;
                }
                State::Sending(answer, sent) => {
                    self.stream.write(&answer.bytes[*sent..]).map(|count| *sent += count)
                }
                State::Reading => {
                    if let Some(answer) = self.next_answer(duty) {
                        let at = Instant::now() + answer.delay;
                        self.state = State::Waiting(answer);
                        return Ok(Some(at));
                    }
                    self.read_more()
                }
            };
            match step {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                other => other?,
            }
        }
    }

    /// The answer to the next request, if its head is whole.
    fn next_answer(&mut self, duty: &Duty) -> Option<Answer> {
        match head_length(&self.read) {
            Some(length) => Some(duty.answer(&self.read.drain(..length).collect::<Vec<u8>>())),
            None => (self.read.len() > HEAD_BYTES)
                .then(|| Answer::error("431 Request Header Fields Too Large", true)),
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut some = [0; 1024];
        match self.stream.read(&mut some)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.read.extend_from_slice(&some[..count]);
                Ok(())
            }
        }
    }
}
