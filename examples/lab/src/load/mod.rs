//! Load on an HTTP server, open loop and closed loop, and what became of each request.
//!
//! What a client does, when requests start and when the load ends are separate values. One thread
//! and one poller drive all exchanges, connecting included, so that no answer that is late or lost
//! delays another request.

mod closed;
mod conduct;
mod connection;
mod engine;
mod fields;
mod open;
mod summary;
mod target;
mod watched;

use rustix::io::Errno;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use closed::{Population, Think};
pub use conduct::{Conduct, Spoilt};
pub use summary::Summary;
pub use target::{Target, TargetError};

use crate::arrivals::Stop;

/// What each client does, whenever it is its turn.
#[derive(Debug, Clone)]
pub struct Client {
    /// The server.
    pub target: SocketAddr,
    /// The bytes of a GET of version 1.1; see [`Target::request`].
    pub request: Vec<u8>,
    /// The use of connections.
    pub connections: Connections,
    /// How long it waits for an answer before it hangs up: from the intended start at the first
    /// try, from its begin at each other.
    pub patience: Duration,
    /// What it does about a try that failed.
    pub retries: Retries,
}

/// How requests share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// One for each try.
    NewEach,
    /// Kept open between requests, so many at the most; a request for which none is free waits.
    Kept(usize),
}

/// When a request is tried again: after a 429, 502, 503 or 504, and when no answer came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    /// Tries after the first one.
    pub most: u32,
    /// The pause before each.
    pub pause: Pause,
    /// What a `Retry-After` is to the client.
    pub advice: Advice,
}

/// The pause before another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// None.
    AtOnce,
    /// Drawn evenly from zero to a bound that doubles with each try (M. Brooker, Exponential
    /// Backoff and Jitter, 2015: "full jitter").
    Backoff {
        /// The bound before the second try.
        first: Duration,
        /// The largest bound.
        most: Duration,
        /// Decides what is drawn.
        seed: u64,
    },
}

/// What a client makes of a `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// It does not read it.
    Ignored,
    /// It pauses for at least as long.
    Honoured,
}

impl Retries {
    /// None.
    pub const NONE: Self = Self { most: 0, pause: Pause::AtOnce, advice: Advice::Ignored };

    /// Up to `most` more tries, each at once.
    pub const fn at_once(most: u32) -> Self {
        Self { most, ..Self::NONE }
    }
}

/// What became of one request. Times are counted from the start of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// When it was meant to start.
    pub intended: Duration,
    /// How much later the generator took it up: its own lateness, which is nobody else's fault.
    pub lateness: Duration,
    /// When its last try got, or began to get, a connection; none if it waited for one in vain.
    pub begun: Option<Duration>,
    /// When the last try's connection was there; for one that was kept, when it was taken.
    pub connected: Option<Duration>,
    /// When the first byte of the last answer came.
    pub first_byte: Option<Duration>,
    /// When it ended.
    pub ended: Duration,
    /// How its last try ended.
    pub answer: Answer,
    /// How often it was tried.
    pub tries: u32,
    /// Bytes of the last answer, its head included.
    pub bytes: u64,
    /// What the server said of its own times.
    pub server: ServerTiming,
}

/// The metrics of a `Server-Timing` field, where there is one
/// (<https://www.w3.org/TR/server-timing/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerTiming {
    /// The wait for a worker.
    pub queue_wait: Option<Duration>,
    /// The time in the handler, including the back-end delay.
    pub handle: Option<Duration>,
    /// The time to make the response head.
    pub response_head: Option<Duration>,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// A whole response with this status.
    Status(u16),
    /// The client hung up.
    TimedOut,
    /// No whole response came.
    Failed(Failure),
}

/// Why no whole response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The connection was refused: nobody listens.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection was closed before a byte had come.
    Closed,
    /// The connection was closed within the response.
    Cut,
    /// What came is no HTTP.
    Malformed,
    /// This process may have no more descriptors (EMFILE, ENFILE).
    NoDescriptors,
    /// This machine has no more ports for this target (EADDRNOTAVAIL).
    NoPorts,
    /// The system failed in another way.
    System(io::ErrorKind),
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => return Self::NoDescriptors,
            Some(Errno::ADDRNOTAVAIL) => return Self::NoPorts,
            _ => {}
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Reset,
            kind => Self::System(kind),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::TimedOut => f.write_str("out of patience"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Reset => f.write_str("connection reset"),
            Self::Closed => f.write_str("closed without an answer"),
            Self::Cut => f.write_str("closed within the response"),
            Self::Malformed => f.write_str("not an HTTP response"),
            Self::NoDescriptors => f.write_str("no descriptors left"),
            Self::NoPorts => f.write_str("no ports left"),
            Self::System(kind) => kind.fmt(f),
        }
    }
}

impl Outcome {
    /// True for a whole response with a status below 400.
    pub fn is_success(&self) -> bool {
        matches!(self.answer, Answer::Status(200..=399))
    }

    /// True for a whole 200 within `patience` of the intended start.
    pub fn is_good(&self, patience: Duration) -> bool {
        self.answer == Answer::Status(200) && self.ended <= self.intended.saturating_add(patience)
    }

    /// The time from the intended start to the end.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_sub(self.intended)
    }

    /// The time that a clock shows which is started when the last try begins: what a closed-loop
    /// generator takes for the latency. None if there was no begin.
    pub fn service_clock(&self) -> Option<Duration> {
        self.begun.map(|begun| self.ended.saturating_sub(begun))
    }
}

/// A load that has ended.
#[derive(Debug)]
pub struct Run {
    /// What became of each request, in the order in which they ended.
    pub outcomes: Vec<Outcome>,
    /// How the generator itself did.
    pub conduct: Conduct,
}

impl Run {
    /// The figures of all its outcomes.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        self.outcomes.iter().for_each(|outcome| summary.add(outcome));
        summary
    }
}

impl Client {
    /// Runs one request for each of `starts`, which are in order, whatever became of the others;
    /// returns when all have ended.
    ///
    /// # Errors
    ///
    /// If the system has no poller or no thread for it; what befalls a request is in its outcome.
    pub fn open_loop(&self, starts: &[Duration]) -> io::Result<Run> {
        collect(starts.len(), |each| self.open_loop_into(starts, each))
    }

    /// The same for those who keep no outcomes: `each` is given them as the requests end.
    ///
    /// # Errors
    ///
    /// As for [`Client::open_loop`].
    pub fn open_loop_into(
        &self,
        starts: &[Duration],
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> io::Result<Conduct> {
        engine::run(self, open::Open::new(starts), each)
    }

    /// Runs clients that ask, wait for the answer, think, and ask again; `stop` counts requests, or
    /// says when the last one may start.
    ///
    /// # Errors
    ///
    /// As for [`Client::open_loop`].
    pub fn closed_loop(&self, population: &Population, stop: Stop) -> io::Result<Run> {
        collect(0, |each| self.closed_loop_into(population, stop, each))
    }

    /// The same for those who keep no outcomes.
    ///
    /// # Errors
    ///
    /// As for [`Client::open_loop`].
    pub fn closed_loop_into(
        &self,
        population: &Population,
        stop: Stop,
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> io::Result<Conduct> {
        engine::run(self, closed::Closed::new(population, stop), each)
    }
}

fn collect(
    expected: usize,
    run: impl FnOnce(&mut (dyn FnMut(Outcome) + Send)) -> io::Result<Conduct>,
) -> io::Result<Run> {
    let mut outcomes = Vec::with_capacity(expected);
    let conduct = run(&mut |outcome| outcomes.push(outcome))?;
    Ok(Run { outcomes, conduct })
}
