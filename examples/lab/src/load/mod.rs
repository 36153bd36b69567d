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
mod feed;
mod fields;
mod message;
mod observer;
mod open;
mod outcome;
mod restraint;
mod summary;
mod target;
mod watched;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use closed::{Population, Think};
pub use conduct::{Conduct, Spoilt};
pub use feed::Feed;
pub use message::{Field, FieldError, Message, Mix, Parts, is_method};
pub use observer::Observer;
pub use outcome::{Answer, Failure, Outcome, ServerTiming};
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
    /// Its requests: each is drawn from them.
    pub requests: Mix,
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

    /// The same without keeping the outcomes: `each` gets them as the requests end, and can end the
    /// load early.
    ///
    /// # Errors
    ///
    /// As for [`Client::open_loop`].
    pub fn open_loop_into(
        &self,
        starts: &[Duration],
        each: &mut dyn Observer,
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
        each: &mut dyn Observer,
    ) -> io::Result<Conduct> {
        alone(Crowd::new(self, Box::new(closed::Closed::new(population, stop)), each))
    }

    /// Starts the requests of `feed` at their times, each with its own message, independent of the
    /// other requests.
    ///
    /// # Errors
    ///
    /// As for [`Client::open_loop`].
    pub fn replay_into(&self, feed: Feed, each: &mut dyn Observer) -> io::Result<Conduct> {
        alone(Crowd::new(self, Box::new(feed), each))
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
    run: impl FnOnce(&mut dyn Observer) -> io::Result<Conduct>,
) -> io::Result<Run> {
    let mut outcomes = Vec::with_capacity(expected);
    let conduct = run(&mut |outcome: Outcome| outcomes.push(outcome))?;
    Ok(Run { outcomes, conduct })
}
