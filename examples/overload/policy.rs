//! The queue policies.

use cws::{Config, Schedule};
use lab::chart::Colour;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// No limit.
    Unbounded,
    /// The queue holds what the pool can serve within the patience.
    WholePatience,
    /// The queue holds what the pool can serve within half of the patience.
    HalfPatience,
    /// The same, and a request that waited for half of the patience is refused.
    BoundAndAge,
    /// Bound and age follow from the service time that the server measures. It is told T, and
    /// nothing of D.
    Measured(Schedule),
    /// The configuration of a server that runs elsewhere.
    AsItRuns,
}

impl Policy {
    pub const FAIR: Self = Self::Measured(Schedule::Fair);
    pub const FIFO: Self = Self::Measured(Schedule::Fifo);
    pub const LIFO: Self = Self::Measured(Schedule::Lifo);

    /// All that this program starts.
    pub const ALL: [Self; 7] = [
        Self::Unbounded,
        Self::WholePatience,
        Self::HalfPatience,
        Self::BoundAndAge,
        Self::FAIR,
        Self::FIFO,
        Self::LIFO,
    ];

    /// Those that keep some goodput under overload, whatever the service is.
    pub const COMPARED: [Self; 4] = [Self::BoundAndAge, Self::FAIR, Self::FIFO, Self::LIFO];

    pub fn name(self) -> &'static str {
        match self {
            Self::Unbounded => "no bound",
            Self::WholePatience => "503 at T",
            Self::HalfPatience => "503 at T/2",
            Self::BoundAndAge => "503 at T/2, age T/2",
            Self::Measured(Schedule::Fair) => "from S, fair",
            Self::Measured(Schedule::Fifo) => "from S, fifo",
            Self::Measured(Schedule::Lifo) => "from S, lifo",
            Self::Measured(_) => "from S, smallest first",
            Self::AsItRuns => "as it runs",
        }
    }

    pub fn colour(self) -> Colour {
        match self {
            Self::Unbounded => Colour::Red,
            Self::WholePatience => Colour::Orange,
            Self::HalfPatience => Colour::Purple,
            Self::BoundAndAge => Colour::Grey,
            Self::Measured(Schedule::Fair) => Colour::Green,
            Self::Measured(Schedule::Fifo) => Colour::Blue,
            Self::Measured(_) => Colour::Orange,
            Self::AsItRuns => Colour::Blue,
        }
    }

    /// Whether requests are served about in the order in which they came, where there is one
    /// client.
    pub fn is_in_order(self) -> bool {
        !matches!(self, Self::Measured(Schedule::Lifo | Schedule::SmallestFirst) | Self::AsItRuns)
    }

    /// The configuration of a server with this policy, which is told that its services take
    /// `delay`, if it has to be.
    pub fn configure(self, config: Config, delay: Duration, patience: Duration) -> Config {
        if let Self::Measured(schedule) = self {
            return config.schedule(schedule).patience(patience);
        }
        let (queue, age) = self.bounds(config.workers, delay, patience);
        config.schedule(Schedule::Fifo).queue(queue).queue_timeout(age)
    }

    /// The queue of a pool that is told that its services take `delay`: the most that wait, and how
    /// long. What measures is told nothing, and has no such bounds.
    pub fn bounds(self, workers: usize, delay: Duration, patience: Duration) -> (usize, Duration) {
        let whole = workers as f64 * (patience.div_duration_f64(delay) - 1.0);
        let (half, age) = Config::for_patience(workers, delay, patience);
        match self {
            Self::WholePatience => (whole as usize, Config::LONGEST_WAIT),
            Self::HalfPatience => (half, Config::LONGEST_WAIT),
            Self::BoundAndAge => (half, age),
            _ => (Config::QUEUE_MOST, Config::LONGEST_WAIT),
        }
    }
}
