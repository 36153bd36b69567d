//! The closed loop: a population of clients that each wait for the answer to their last request.

use super::crowd::{Demand, Due};
use crate::arrivals::Stop;
use crate::chance::exponential;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A population of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// The number of clients.
    pub clients: usize,
    /// The time between an answer and the client's next request.
    pub think: Think,
}

/// The time between an answer and the same client's next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Think {
    /// None.
    None,
    /// A constant time.
    Fixed(Duration),
    /// Exponentially distributed.
    Exponential {
        /// The mean.
        mean: Duration,
        /// Seed of the random times.
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

/// The gap between the first requests of clients that do not think. A connect takes the generator
/// some tens of microseconds; if all clients connect at once, the generator is late.
const STAGGER: Duration = Duration::from_micros(100);

/// Start times that depend on earlier answers.
#[derive(Debug)]
pub struct Closed {
    think: Think,
    stop: Stop,
    random: fastrand::Rng,
    /// The times at which the thinking clients send their next requests.
    due: BinaryHeap<Reverse<Duration>>,
    taken: u64,
}

impl Closed {
    /// Clients with a think time start with a think time of their own. Clients without one start
    /// one after another.
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

    fn take(&mut self) -> Due {
        self.taken += 1;
        self.due.pop();
        Due::Drawn
    }

    fn ended(&mut self, at: Duration) {
        let think = match self.think {
            Think::None => Duration::ZERO,
            Think::Fixed(time) => time,
            Think::Exponential { mean, .. } => mean.mul_f64(exponential(&mut self.random)),
        };
        self.due.push(Reverse(at + think));
    }

    fn has_arrivals(&self) -> bool {
        false
    }
}
