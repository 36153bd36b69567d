//! The closed loop: a population of clients, each of which waits for its answer before it goes on.

use super::engine::Demand;
use crate::arrivals::Stop;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A population of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// How many clients there are.
    pub clients: usize,
    /// What each does between an answer and its next request.
    pub think: Think,
}

/// The time between an answer and the same client's next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Think {
    /// None.
    None,
    /// Always the same.
    Fixed(Duration),
    /// Exponentially distributed.
    Exponential {
        /// Its mean.
        mean: Duration,
        /// Decides what is drawn.
        seed: u64,
    },
}

impl Think {
    /// The mean think time.
    pub fn mean(&self) -> Duration {
        match *self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) | Self::Exponential { mean: time, .. } => time,
        }
    }
}

/// The time between the first requests of clients that do not think: connecting takes the
/// generator some tens of microseconds for each, and all at once would make it late.
const STAGGER: Duration = Duration::from_micros(100);

/// Start times that depend on the answers.
#[derive(Debug)]
pub struct Closed {
    think: Think,
    stop: Stop,
    random: fastrand::Rng,
    /// When the clients that think will ask.
    due: BinaryHeap<Reverse<Duration>>,
    taken: u64,
}

impl Closed {
    /// Clients that begin with a think time, each with one of its own; those that do not think
    /// begin one after the other.
    pub fn new(population: &Population, stop: Stop) -> Self {
        let seed = match population.think {
            Think::Exponential { seed, .. } => seed,
            Think::None | Think::Fixed(_) => 0,
        };
        let random = fastrand::Rng::with_seed(seed);
        let due = BinaryHeap::with_capacity(population.clients);
        let mut closed = Self { think: population.think, stop, random, due, taken: 0 };
        let stagger = match population.think {
            Think::None => STAGGER,
            Think::Fixed(_) | Think::Exponential { .. } => Duration::ZERO,
        };
        let mut begin = Duration::ZERO;
        for _ in 0..population.clients {
            closed.ended(begin);
            begin += stagger;
        }
        closed
    }
}

impl Demand for Closed {
    fn next(&self) -> Option<Duration> {
        let due = self.due.peek().map(|&Reverse(due)| due)?;
        let goes_on = match self.stop {
            Stop::Count(count) => self.taken < count,
            Stop::After(end) => due < end,
        };
        goes_on.then_some(due)
    }

    fn take(&mut self) {
        self.taken += 1;
        self.due.pop();
    }

    fn ended(&mut self, at: Duration) {
        let think = match self.think {
            Think::None => Duration::ZERO,
            Think::Fixed(time) => time,
            Think::Exponential { mean, .. } => mean.mul_f64(-(1.0 - self.random.f64()).ln()),
        };
        self.due.push(Reverse(at + think));
    }

    fn has_arrivals(&self) -> bool {
        false
    }
}
