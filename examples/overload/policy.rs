//! The ways of bounding a queue.

use cws::Config;
use lab::chart::Colour;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// All wait.
    Unbounded,
    /// As many wait as are answered within the patience.
    WholePatience,
    /// As many wait as are answered within half of it.
    HalfPatience,
    /// The same, and who has waited for half of it is refused.
    BoundAndAge,
    /// Whatever the server does that runs elsewhere.
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

    /// The jobs that may wait, and for how long.
    pub fn bounds(self, workers: usize, delay: Duration, patience: Duration) -> (usize, Duration) {
        let whole = workers as f64 * (patience.div_duration_f64(delay) - 1.0);
        let (half, age) = Config::for_patience(workers, delay, patience);
        match self {
            Self::Unbounded | Self::AsItRuns => (Config::QUEUE_MOST, Config::LONGEST_WAIT),
            Self::WholePatience => (whole as usize, Config::LONGEST_WAIT),
            Self::HalfPatience => (half, Config::LONGEST_WAIT),
            Self::BoundAndAge => (half, age),
        }
    }
}
