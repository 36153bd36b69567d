//! Generates open-loop and closed-loop load on an HTTP server, and records the outcome of each
//! request.
//!
//! What a client does, when requests start and when the load ends are separate values. One thread
//! with one poller drives all exchanges, including connecting, so that a late or lost answer does
//! not delay another request.

mod closed;
mod conduct;
mod connection;
mod crowd;
mod engine;
mod fields;
mod open;
mod restraint;
mod summary;
mod target;
mod watched;

use rustix::io::Errno;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use closed::{Population, Think};
pub use conduct::{Conduct, Spoilt};
pub use restraint::{Limit, Restraint};
pub use summary::Summary;
pub use target::{Target, TargetError};

use crate::arrivals::Stop;
use crowd::Crowd;

/// The behaviour of each client.
#[derive(Debug, Clone)]
pub struct Client {
    /// The server's address.
    pub target: SocketAddr,
    /// The local address of its connections; `None` lets the system choose. Every address of
    /// 127.0.0.0/8 is local, so that one machine can be many clients.
    pub source: Option<IpAddr>,
    /// The bytes of a GET in HTTP/1.1; see [`Target::request`].
    pub request: Vec<u8>,
    /// How connections are used.
    pub connections: Connections,
    /// How long it waits for an answer before it hangs up. It counts from the intended start for
    /// the first try, and from the start of the try for later ones.
    pub patience: Duration,
    /// What it does after a failed try.
    pub retries: Retries,
}

/// How requests use connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// A new connection for each try.
    NewEach,
    /// Connections are kept open between requests, at most this many. A request waits if none is
    /// free.
    Kept(usize),
}

/// When a request is tried again: after a 429, 502, 503 or 504, and after a try without an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    /// The largest number of tries after the first one.
    pub most: u32,
    /// The pause before each try.
    pub pause: Pause,
    /// How the client treats `Retry-After`.
    pub advice: Advice,
    /// What keeps the client from sending.
    pub limit: Limit,
}

/// The pause before another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// No pause.
    AtOnce,
    /// Uniformly distributed from zero to a bound that doubles with each try (M. Brooker,
    /// Exponential Backoff and Jitter, 2015: "full jitter").
    Backoff {
        /// The bound before the second try.
        first: Duration,
        /// The largest bound.
        most: Duration,
        /// Seed of the random pauses.
        seed: u64,
    },
}

impl Pause {
    /// The pause after this number of tries, at least one.
    pub fn after(&self, tries: u32, random: &mut fastrand::Rng) -> Duration {
        match *self {
            Self::AtOnce => Duration::ZERO,
            Self::Backoff { first, most, .. } => {
                let doubled = first.saturating_mul(1 << tries.saturating_sub(1).min(20));
                doubled.min(most).mul_f64(random.f64())
            }
        }
    }
}

/// How a client treats `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// It ignores it.
    Ignored,
    /// It pauses for at least this long.
    Honoured,
}

impl Retries {
    /// No retries.
    pub const NONE: Self =
        Self { most: 0, pause: Pause::AtOnce, advice: Advice::Ignored, limit: Limit::None };

    /// Up to `most` more tries, without a pause.
    pub const fn at_once(most: u32) -> Self {
        Self { most, ..Self::NONE }
    }
}

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

/// A finished load.
#[derive(Debug)]
pub struct Run {
    /// The outcomes in the order in which the requests ended.
    pub outcomes: Vec<Outcome>,
    /// How well the generator kept its schedule.
    pub conduct: Conduct,
}

impl Run {
    /// The figures of all outcomes.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        self.outcomes.iter().for_each(|outcome| summary.add(outcome));
        summary
    }
}

impl Client {
    /// Starts one request at each of `starts`, which are in order, independent of the other
    /// requests. Returns when all have ended.
    ///
    /// # Errors
    ///
    /// If the system cannot create a poller or a thread. Failures of requests are in their
    /// outcomes.
    pub fn open_loop(&self, starts: &[Duration]) -> io::Result<Run> {
        collect(starts.len(), |each| self.open_loop_into(starts, each))
    }

    /// The same without keeping the outcomes: `each` gets them as the requests end.
    ///
    /// # Errors
    ///
    /// As for [`Client::open_loop`].
    pub fn open_loop_into(
        &self,
        starts: &[Duration],
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> io::Result<Conduct> {
        alone(Crowd::new(self, Box::new(open::Open::new(starts)), each))
    }

    /// Runs clients that send a request, wait for the answer, think, and send the next one. `stop`
    /// limits the number of requests or the time of the last start.
    ///
    /// # Errors
    ///
    /// As for [`Client::open_loop`].
    pub fn closed_loop(&self, population: &Population, stop: Stop) -> io::Result<Run> {
        collect(0, |each| self.closed_loop_into(population, stop, each))
    }

    /// The same without keeping the outcomes.
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
        alone(Crowd::new(self, Box::new(closed::Closed::new(population, stop)), each))
    }
}

/// A group of clients that behave alike.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// What each of its clients does.
    pub client: Client,
    /// When its requests start.
    pub starts: Starts<'a>,
}

/// When the requests of a group start.
#[derive(Debug, Clone, Copy)]
pub enum Starts<'a> {
    /// At these times, which are in order: an open loop.
    Open(&'a [Duration]),
    /// After earlier answers: a closed loop.
    Closed(Population, Stop),
}

/// Runs several groups of clients at the same time, on one clock and one thread. Returns a run for
/// each group.
///
/// # Errors
///
/// As for [`Client::open_loop`].
pub fn run_together(groups: &[Group<'_>]) -> io::Result<Vec<Run>> {
    let mut outcomes: Vec<Vec<Outcome>> = groups.iter().map(|_| Vec::new()).collect();
    let mut sinks: Vec<_> =
        outcomes.iter_mut().map(|kept| |outcome: Outcome| kept.push(outcome)).collect();
    let crowds = groups.iter().zip(&mut sinks).map(|(group, each)| match &group.starts {
        Starts::Open(starts) => Crowd::new(&group.client, Box::new(open::Open::new(starts)), each),
        Starts::Closed(population, stop) => {
            Crowd::new(&group.client, Box::new(closed::Closed::new(population, *stop)), each)
        }
    });
    let conducts = engine::run(crowds.collect())?;
    let runs = outcomes.into_iter().zip(conducts);
    Ok(runs.map(|(outcomes, conduct)| Run { outcomes, conduct }).collect())
}

/// Runs one crowd alone.
fn alone(crowd: Crowd<'_>) -> io::Result<Conduct> {
    let conduct = engine::run(vec![crowd])?.pop();
    conduct.ok_or_else(|| io::Error::other("the load has no outcome"))
}

fn collect(
    expected: usize,
    run: impl FnOnce(&mut (dyn FnMut(Outcome) + Send)) -> io::Result<Conduct>,
) -> io::Result<Run> {
    let mut outcomes = Vec::with_capacity(expected);
    let conduct = run(&mut |outcome| outcomes.push(outcome))?;
    Ok(Run { outcomes, conduct })
}
