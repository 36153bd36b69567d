//! One group of clients while its load runs: its demand, its connections, its retries.

use super::conduct::Conduct;
use super::message::Message;
use super::observer::Observer;
use super::restraint::Restraint;
use super::{Answer, Client, Connections, Outcome, Pause};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Decides when requests start.
pub trait Demand: Send {
    /// The intended start of the next request. `None` if it depends on an answer, or if there are
    /// no more requests.
    fn next(&self) -> Option<Duration>;
    /// Removes this request from the demand.
    fn take(&mut self) -> Due;
    /// A request ended at this time.
    fn ended(&mut self, at: Duration);
    /// Whether the starts follow an arrival process, whose statistics must be recorded.
    fn has_arrivals(&self) -> bool;
}

/// The message of a request that is due.
#[derive(Debug)]
pub enum Due {
    /// One from the client's mix.
    Drawn,
    /// This one.
    Given(Arc<Message>),
}

/// A group of clients and its state.
pub struct Crowd<'a> {
    pub client: &'a Client,
    pub demand: Box<dyn Demand + 'a>,
    each: &'a mut dyn Observer,
    pub conduct: Conduct,
    pub restraint: Restraint,
    /// Requests that wait for a connection, in order of arrival.
    pub waiting: BTreeMap<u64, usize>,
    next_position: u64,
    /// Connections kept for the next request.
    pub idle: BTreeSet<usize>,
    /// The number of open connections.
    pub open: usize,
    /// Pauses before retries.
    random: fastrand::Rng,
    /// Messages of the mix.
    draws: fastrand::Rng,
}

impl<'a> Crowd<'a> {
    pub fn new(
        client: &'a Client,
        demand: Box<dyn Demand + 'a>,
        each: &'a mut dyn Observer,
    ) -> Self {
        let seed = match client.retries.pause {
            Pause::Backoff { seed, .. } => seed,
            Pause::AtOnce => 0,
        };
        Self {
            client,
            conduct: Conduct::new(demand.has_arrivals()),
            demand,
            each,
            restraint: Restraint::new(client.retries.limit),
            waiting: BTreeMap::new(),
            next_position: 0,
            idle: BTreeSet::new(),
            open: 0,
            random: fastrand::Rng::with_seed(seed),
            draws: client.requests.draws(),
        }
    }

    /// The intended start of the next request, if one may start.
    pub fn next(&self) -> Option<Duration> {
        self.demand.next().filter(|_| self.each.wants_more())
    }

    /// Starts the next request, which was meant to start at `intended`. Returns its message, and
    /// the message's number.
    pub fn begin(&mut self, intended: Duration, now: Duration) -> (Arc<Message>, usize) {
        let due = self.demand.take();
        self.conduct.began(intended, now);
        self.each.started();
        match due {
            Due::Given(message) => (message, 0),
            Due::Drawn => self.client.requests.draw(&mut self.draws),
        }
    }

    /// Whether another connection may be opened.
    pub fn has_room(&self) -> bool {
        match self.client.connections {
            Connections::NewEach => true,
            Connections::Kept(most) => self.open < most.max(1),
        }
    }

    /// Lets a request wait for a connection. Returns its position.
    pub fn wait(&mut self, errand: usize) -> u64 {
        let position = self.next_position;
        self.next_position += 1;
        self.waiting.insert(position, errand);
        position
    }

    /// Records the end of a try. Returns the pause before the next one, or `None` if it was the
    /// last.
    pub fn pause_after(
        &mut self,
        answer: Answer,
        tries: u32,
        advice: Option<Duration>,
        now: Duration,
    ) -> Option<Duration> {
        self.conduct.answered(answer);
        let retries = self.client.retries;
        match answer {
            Answer::Withheld => return None,
            Answer::Status(status) if !is_temporary(status) => {
                self.restraint.succeeded(now);
                return None;
            }
            _ if tries > retries.most || !self.restraint.retries() => return None,
            _ => {}
        }
        let pause = retries.pause.after(tries, &mut self.random);
        Some(pause.max(advice.unwrap_or_default()))
    }

    /// Records the end of a request.
    pub fn ended(&mut self, outcome: Outcome) {
        self.demand.ended(outcome.ended);
        self.conduct.ran(outcome.ended);
        self.each.ended(outcome);
    }
}

/// Whether another try may get another answer.
fn is_temporary(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}
