//! One connection of a client: the request out, the response in, as far as goes without waiting.

use super::watched::{Readiness, Watched};
use super::{Answer, Failure};
use cws::internals::ResponseFraming;
use polling::Poller;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

/// A connection, and how far the exchange on it has come.
#[derive(Debug)]
pub struct Connection {
    socket: Watched,
    phase: Phase,
    framing: ResponseFraming,
    /// The request that it serves; none while it is kept for the next.
    pub errand: Option<usize>,
    /// When it was there: right before bytes of a request were sent on it for the first time.
    pub connected: Option<Instant>,
    /// It has brought a response before.
    pub used: bool,
    /// Bytes of the response so far.
    pub bytes: u64,
    /// The exchange has ended, and another one may follow.
    pub persistent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// So many bytes of the request are sent. With none, it may still be connecting.
    Sending(usize),
    Receiving,
}

/// How far a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The peer must act next.
    Waiting,
    /// The exchange has ended.
    Ended(Answer),
}

impl Connection {
    /// Begins to connect, and sends the request if that can be done at once.
    pub fn open(
        target: SocketAddr,
        request: &[u8],
        poller: &Arc<Poller>,
        key: usize,
    ) -> io::Result<Self> {
        let stream = connect(target)?;
        let now = Instant::now();
        let sent = match (&stream).write(request) {
            Ok(count) => count,
            Err(error) if is_connecting(&error) => 0,
            Err(error) => return Err(error),
        };
        let phase = phase_after(sent, request);
        let readiness = match phase {
            Phase::Sending(_) => Readiness::Writable,
            Phase::Receiving => Readiness::Readable,
        };
        let socket = Watched::new(stream, key, readiness, poller)?;
        Ok(Self {
            socket,
            phase,
            framing: ResponseFraming::http11(),
            errand: None,
            connected: (sent > 0).then_some(now),
            used: false,
            bytes: 0,
            persistent: false,
        })
    }

    /// Begins another exchange on a connection that was kept.
    pub fn reuse(&mut self, request: &[u8]) -> Step {
        self.phase = Phase::Sending(0);
        self.framing.restart();
        (self.bytes, self.persistent, self.used) = (0, false, true);
        self.send(request)
    }

    /// Goes on as far as possible without waiting.
    pub fn step(&mut self, request: &[u8], buffer: &mut [u8]) -> Step {
        match self.phase {
            Phase::Sending(_) => match self.send(request) {
                Step::Waiting if self.phase == Phase::Receiving => {
                    match self.socket.set_readiness(Readiness::Readable) {
                        Ok(()) => Step::Waiting,
                        Err(error) => failed(&error),
                    }
                }
                step => step,
            },
            Phase::Receiving => self.receive(buffer),
        }
    }

    /// The head of the response, as far as it has come.
    pub fn head(&self) -> &[u8] {
        self.framing.head()
    }

    /// For a kept connection of which there is an event: true when it is of no more use.
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
            // An answer that was sent before the server hung up counts; reading will tell.
            Err(error) if is_hang_up(&error) && self.has_been_connected() => {
                self.connected.get_or_insert(now);
                self.phase = Phase::Receiving;
                return Step::Waiting;
            }
            Err(error) => return failed(&error),
        }
        match self.socket.set_readiness(Readiness::Writable) {
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
                    // What nobody asked for makes the connection useless.
                    self.bytes -= (count - taken) as u64;
                    self.persistent = taken == count && self.framing.is_persistent();
                    return Step::Ended(Answer::Status(status));
                }
                Some(Err(_)) => return Step::Ended(Answer::Failed(Failure::Malformed)),
                // The poller reports again what is left.
                None if count < buffer.len() => return Step::Waiting,
                None => {}
            }
        }
    }

    /// The peer has closed.
    fn at_end(&self) -> Answer {
        match self.framing.finish() {
            Ok(Some(status)) => Answer::Status(status),
            Ok(None) => Answer::Failed(Failure::Malformed),
            Err(_) if self.bytes == 0 => Answer::Failed(Failure::Closed),
            Err(_) => Answer::Failed(Failure::Cut),
        }
    }
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

fn phase_after(sent: usize, request: &[u8]) -> Phase {
    if sent < request.len() { Phase::Sending(sent) } else { Phase::Receiving }
}

/// The connection is not there yet, or has no room.
fn is_connecting(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

fn failed(error: &io::Error) -> Step {
    Step::Ended(Answer::Failed(Failure::of(error)))
}
