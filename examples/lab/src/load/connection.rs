//! One connection of a client. Sends the request and reads the response without ever blocking.

use super::message::Message;
use super::watched::{Readiness, Watched};
use super::{Answer, Client, Failure};
use cws::internals::ResponseFraming;
use polling::Poller;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

/// A connection and the state of its exchange.
#[derive(Debug)]
pub struct Connection {
    socket: Watched,
    phase: Phase,
    framing: ResponseFraming,
    /// The framing is for the response to a HEAD.
    is_head: bool,
    /// The request that uses it. `None` while it is kept for the next one.
    pub errand: Option<usize>,
    /// The crowd that it belongs to.
    pub crowd: usize,
    /// When it was established: right before the first bytes of a request were sent.
    pub connected: Option<Instant>,
    /// It has delivered a response before.
    pub used: bool,
    /// Bytes of the response so far.
    pub bytes: u64,
    /// The exchange has ended, and the connection can be used again.
    pub persistent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// This many bytes of the request are sent. With zero, it may still be connecting.
    Sending(usize),
    Receiving,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Waits for the peer.
    Waiting,
    /// The exchange has ended.
    Ended(Answer),
}

impl Connection {
    /// Starts to connect, and sends the request if that is possible at once.
    pub fn open(
        client: &Client,
        message: &Message,
        poller: &Arc<Poller>,
        key: usize,
    ) -> io::Result<Self> {
        let request = message.bytes();
        let stream = connect(client.target, client.source)?;
        let now = Instant::now();
        let sent = match (&stream).write(request) {
            Ok(count) => count,
            Err(error) if is_connecting(&error) => 0,
            Err(error) => return Err(error),
        };
        let phase = phase_after(sent, request);
        let readiness = match phase {
            Phase::Sending(_) => Readiness::Any,
            Phase::Receiving => Readiness::Readable,
        };
        let socket = Watched::new(stream, key, readiness, poller)?;
        Ok(Self {
            socket,
            phase,
            framing: framing_of(message),
            is_head: message.is_head(),
            errand: None,
            crowd: 0,
            connected: (sent > 0).then_some(now),
            used: false,
            bytes: 0,
            persistent: false,
        })
    }

    /// Starts another exchange on a kept connection.
    pub fn reuse(&mut self, message: &Message) -> Step {
        self.phase = Phase::Sending(0);
        if self.is_head == message.is_head() {
            self.framing.restart();
        } else {
            self.framing = framing_of(message);
            self.is_head = message.is_head();
        }
        (self.bytes, self.persistent, self.used) = (0, false, true);
        self.send(message.bytes())
    }

    /// Continues as far as possible without blocking.
    pub fn step(&mut self, message: &Message, buffer: &mut [u8]) -> Step {
        let Phase::Sending(_) = self.phase else { return self.receive(buffer) };
        let step = self.send(message.bytes());
        if step != Step::Waiting {
            return step;
        }
        match self.phase {
            Phase::Receiving => match self.socket.set_readiness(Readiness::Readable) {
                Ok(()) => Step::Waiting,
                Err(error) => failed(&error),
            },
            // A server may answer before it has the whole request, and then read no more (RFC 9112,
            // section 9.5).
            Phase::Sending(sent) if sent > 0 => self.receive(buffer),
            Phase::Sending(_) => Step::Waiting,
        }
    }

    /// The bytes of the response head so far.
    pub fn head(&self) -> &[u8] {
        self.framing.head()
    }

    /// For an event on a kept connection: whether the connection can no longer be used.
    pub fn has_ended(&self, buffer: &mut [u8]) -> bool {
        let read = self.socket.stream().read(buffer);
        !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn send(&mut self, request: &[u8]) -> Step {
        let Phase::Sending(sent) = self.phase else { return Step::Waiting };
        let now = Instant::now();
        let written = self.socket.stream().write(&request[sent..]);
        match written {
            Ok(count) => {
                self.connected.get_or_insert(now);
                self.phase = phase_after(sent + count, request);
                if self.phase == Phase::Receiving {
                    return Step::Waiting;
                }
            }
            Err(error) if is_connecting(&error) => {}
            // The server may have answered before it closed: read the answer.
            Err(error) if is_hang_up(&error) && self.has_been_connected() => {
                self.connected.get_or_insert(now);
                self.phase = Phase::Receiving;
                return Step::Waiting;
            }
            Err(error) => return failed(&error),
        }
        match self.socket.set_readiness(Readiness::Any) {
            Ok(()) => Step::Waiting,
            Err(error) => failed(&error),
        }
    }

    fn has_been_connected(&self) -> bool {
        self.used || self.socket.stream().peer_addr().is_ok()
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Step {
        loop {
            let count = match self.socket.stream().read(buffer) {
                Ok(0) => return Step::Ended(self.at_end()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return failed(&error),
            };
            self.bytes += count as u64;
            let taken = self.framing.feed(&buffer[..count]);
            match self.framing.verdict() {
                Some(Ok(status)) => {
                    // Unexpected bytes make the connection unusable.
                    self.bytes -= (count - taken) as u64;
                    self.persistent = self.phase == Phase::Receiving
                        && taken == count
                        && self.framing.is_persistent();
                    return Step::Ended(Answer::Status(status));
                }
                Some(Err(_)) => return Step::Ended(Answer::Failed(Failure::Malformed)),
                // The poller reports the rest again.
                None if count < buffer.len() => return Step::Waiting,
                None => {}
            }
        }
    }

    /// The outcome if the peer has closed.
    fn at_end(&self) -> Answer {
        match self.framing.finish() {
            Ok(Some(status)) => Answer::Status(status),
            Ok(None) => Answer::Failed(Failure::Malformed),
            Err(_) if self.bytes == 0 => Answer::Failed(Failure::Closed),
            Err(_) => Answer::Failed(Failure::Cut),
        }
    }
}

fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

fn framing_of(message: &Message) -> ResponseFraming {
    if message.is_head() { ResponseFraming::new(true) } else { ResponseFraming::http11() }
}

fn phase_after(sent: usize, request: &[u8]) -> Phase {
    if sent < request.len() { Phase::Sending(sent) } else { Phase::Receiving }
}

/// The connection is not established yet, or its buffer is full.
fn is_connecting(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

fn failed(error: &io::Error) -> Step {
    Step::Ended(Answer::Failed(Failure::of(error)))
}
