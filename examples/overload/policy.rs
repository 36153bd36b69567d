//! The queue policies.

use cws::config;
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
    /// The configuration of a server that runs elsewhere.
    AsItRuns,
}

impl Policy {
    pub const ALL: [Self; 4] =
        [Self::Unbounded, Self::WholePatience, Self::HalfPatience, Self::BoundAndAge];

    pub fn name(self) -> &'static str {
        match self {
            Self::Unbounded => "no bound",
            Self::WholePatience => "503 at T",
            Self::HalfPatience => "503 at T/2",
            Self::BoundAndAge => "503 at T/2, age T/2",
            Self::AsItRuns => "as it runs",
        }
    }

    pub fn colour(self) -> Colour {
        match self {
            Self::Unbounded => Colour::Red,
            Self::WholePatience => Colour::Orange,
            Self::HalfPatience => Colour::Purple,
            Self::BoundAndAge => Colour::Green,
            Self::AsItRuns => Colour::Blue,
        }
    }

    /// The queue limit and the queue timeout.
    pub fn bounds(self, workers: usize, delay: Duration, patience: Duration) -> (usize, Duration) {
        let whole = workers as f64 * (patience.div_duration_f64(delay) - 1.0);
        let (half, age) = config::for_patience(workers, delay, patience);
        match self {
            Self::Unbounded | Self::AsItRuns => (config::QUEUE_MOST, config::LONGEST_WAIT),
            Self::WholePatience => (whole as usize, config::LONGEST_WAIT),
            Self::HalfPatience => (half, config::LONGEST_WAIT),
            Self::BoundAndAge => (half, age),
        }
    }
}
