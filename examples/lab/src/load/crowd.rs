//! One group of clients while its load runs: its demand, its connections, its retries.

use super::conduct::Conduct;
use super::restraint::Restraint;
use super::{Answer, Client, Connections, Outcome, Pause};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Decides when requests start.
pub trait Demand: Send {
    /// The intended start of the next request. `None` if it depends on an answer, or if there are
    /// no more requests.
    fn next(&self) -> Option<Duration>;
    /// Removes this request from the demand.
    fn take(&mut self);
    /// A request ended at this time.
    fn ended(&mut self, at: Duration);
    /// Whether the starts follow an arrival process, whose statistics must be recorded.
    fn has_arrivals(&self) -> bool;
}

/// A group of clients and its state.
pub struct Crowd<'a> {
    pub client: &'a Client,
    pub demand: Box<dyn Demand + 'a>,
    each: &'a mut (dyn FnMut(Outcome) + Send),
    pub conduct: Conduct,
    pub restraint: Restraint,
    /// Requests that wait for a connection, in order of arrival.
    pub waiting: BTreeMap<u64, usize>,
    next_position: u64,
    /// Connections kept for the next request.
    pub idle: BTreeSet<usize>,
    /// The number of open connections.
    pub open: usize,
    random: fastrand::Rng,
}

impl<'a> Crowd<'a> {
    pub fn new(
        client: &'a Client,
        demand: Box<dyn Demand + 'a>,
        each: &'a mut (dyn FnMut(Outcome) + Send),
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
        (self.each)(outcome);
    }
}

/// Whether another try may get another answer.
fn is_temporary(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}
