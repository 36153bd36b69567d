//! What the server does with requests that wait.

use crate::options::Args;
use cws::{Config, Schedule};
use lab::load::Retries;
use lab::simulation::{Age, Bound, Order, Simulation};

/// The mean of the simulation's noise in a service, as a part of D.
const NOISE: f64 = 0.02;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Everything waits.
    Unbounded,
    /// A request that waited for T is dropped.
    AgeWhole,
    /// The queue holds what the pool serves within T/2.
    BoundHalf,
    /// A request that waited for T/2 is dropped.
    AgeHalf,
    /// Both.
    BoundAndAge,
    /// Bound and age follow from T and the measured service time.
    Measured,
    /// The newest first; a request that cannot be served within T is dropped.
    NewestFirst,
    /// Bound and age follow from T and the measured service time, and clients take turns: a server
    /// with `--deadline T`.
    Deadline,
}

impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unbounded => "no bound",
            Self::AgeWhole => "age T",
            Self::BoundHalf => "503 at T/2",
            Self::AgeHalf => "age T/2",
            Self::BoundAndAge => "503 at T/2, age T/2",
            Self::Measured => "measured, fifo",
            Self::NewestFirst => "lifo, age T - D",
            Self::Deadline => "deadline",
        }
    }

    /// The settings of a real server.
    pub fn config(self, args: &Args) -> Config {
        let config = Config::default().workers(args.workers);
        let unbounded =
            |config: Config| config.queue(Config::QUEUE_MOST).queue_timeout(Config::LONGEST_WAIT);
        let (half, age) = Config::for_patience(args.workers, args.delay, args.patience());
        let fifo = config.clone().schedule(Schedule::Fifo);
        match self {
            Self::Unbounded => unbounded(fifo),
            Self::AgeWhole => unbounded(fifo).queue_timeout(args.patience()),
            Self::BoundHalf => unbounded(fifo).queue(half),
            Self::AgeHalf => unbounded(fifo).queue_timeout(age),
            Self::BoundAndAge => fifo.queue(half).queue_timeout(age),
            Self::Measured => fifo.patience(Some(args.patience())),
            Self::NewestFirst => unbounded(config)
                .schedule(Schedule::Lifo)
                .queue_timeout(args.patience() - args.delay),
            Self::Deadline => config.patience(Some(args.patience())),
        }
    }

    /// The same pool in simulation.
    pub fn simulation(self, args: &Args, retries: Retries, seed: u64) -> Simulation {
        let patience = args.patience();
        let (half, age) = Config::for_patience(args.workers, args.delay, patience);
        let (bound, age_half) = (Bound::Fixed(half), Age::Fixed(age));
        let (order, age, bound) = match self {
            Self::Unbounded => (Order::Fifo, Age::Unlimited, Bound::Unlimited),
            Self::AgeWhole => (Order::Fifo, Age::Fixed(patience), Bound::Unlimited),
            Self::BoundHalf => (Order::Fifo, Age::Unlimited, bound),
            Self::AgeHalf => (Order::Fifo, age_half, Bound::Unlimited),
            Self::BoundAndAge => (Order::Fifo, age_half, bound),
            Self::Measured => (Order::Fifo, Age::Measured, Bound::Measured),
            Self::NewestFirst => (Order::Lifo, Age::Fixed(patience - args.delay), Bound::Unlimited),
            Self::Deadline => (Order::Turns, Age::Measured, Bound::Measured),
        };
        let (workers, service, noise) = (args.workers, args.delay, NOISE);
        Simulation { workers, service, noise, order, age, bound, patience, retries, seed }
    }
}
