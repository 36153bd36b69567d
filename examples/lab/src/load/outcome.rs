//! The outcome of one request: when it began and ended, and what the answer was.

use rustix::io::Errno;
use std::fmt;
use std::io;
use std::time::Duration;

/// The outcome of one request. Times count from the start of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The intended start.
    pub intended: Duration,
    /// How much later the generator started it: the generator's own lateness.
    pub lateness: Duration,
    /// How long it waited for one of the generator's own connections, before all of its tries.
    pub connection_wait: Duration,
    /// When its last try began to connect or took a connection. `None` if it never got one.
    pub begun: Option<Duration>,
    /// When the last try's connection was established; for a kept one, when it was taken.
    pub connected: Option<Duration>,
    /// When the first byte of the last answer arrived.
    pub first_byte: Option<Duration>,
    /// When it ended.
    pub ended: Duration,
    /// The result of its last try.
    pub answer: Answer,
    /// The number of tries that were sent.
    pub tries: u32,
    /// Bytes of the last answer, including its head.
    pub bytes: u64,
    /// The server's own times.
    pub server: ServerTiming,
    /// The number of its message in the client's [`Mix`](super::Mix), from 0.
    pub message: usize,
}

/// The metrics of the `Server-Timing` field, if the response has one
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

/// The result of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// A complete response with this status.
    Status(u16),
    /// The client's patience ended, and it hung up.
    TimedOut,
    /// There was no complete response.
    Failed(Failure),
    /// The client's own throttle kept it from sending.
    Withheld,
}

/// Why there was no complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The connection was refused: nothing listens there.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the first byte.
    Closed,
    /// The connection was closed within the response.
    Cut,
    /// The response is not valid HTTP.
    Malformed,
    /// This process has no free descriptors (EMFILE, ENFILE).
    NoDescriptors,
    /// This machine has no free ports for this target (EADDRNOTAVAIL).
    NoPorts,
    /// Another system error.
    System(io::ErrorKind),
}

impl Failure {
    pub(super) fn of(error: &io::Error) -> Self {
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
            Self::Withheld => f.write_str("not sent"),
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
            Self::NoDescriptors => f.write_str("no free descriptors"),
            Self::NoPorts => f.write_str("no free ports"),
            Self::System(kind) => kind.fmt(f),
        }
    }
}

impl Outcome {
    /// Whether it is a complete response with a status below 400.
    pub fn is_success(&self) -> bool {
        matches!(self.answer, Answer::Status(200..=399))
    }

    /// Whether it is a complete 200 within `patience` of the intended start.
    pub fn is_good(&self, patience: Duration) -> bool {
        self.answer == Answer::Status(200) && self.ended <= self.intended.saturating_add(patience)
    }

    /// The time from the intended start to the end.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_sub(self.intended)
    }

    /// The time from the start of the last try to the end: what a closed-loop generator measures as
    /// latency. `None` if no try began.
    pub fn service_clock(&self) -> Option<Duration> {
        self.begun.map(|begun| self.ended.saturating_sub(begun))
    }
}
