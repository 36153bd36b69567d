//! What clients do after a failed try.

use lab::chart::Colour;
use lab::load::{Limit, Pause, Retries};
use std::time::Duration;

/// The most tries after the first one.
const RETRIES: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// They give up.
    None,
    /// They try again at once.
    AtOnce,
    /// They try again after a pause with full jitter, below D, 2 D and 4 D.
    Backoff,
    /// They try again at once as long as their budget lasts.
    Budget,
    /// They try again at once, and throttle themselves.
    Throttle,
}

impl Behaviour {
    pub const ALL: [Self; 5] =
        [Self::None, Self::AtOnce, Self::Backoff, Self::Budget, Self::Throttle];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "no retries",
            Self::AtOnce => "at once",
            Self::Backoff => "backoff",
            Self::Budget => "budget",
            Self::Throttle => "throttle",
        }
    }

    pub fn colour(self) -> Colour {
        match self {
            Self::None => Colour::Blue,
            Self::AtOnce => Colour::Red,
            Self::Backoff => Colour::Orange,
            Self::Budget => Colour::Green,
            Self::Throttle => Colour::Purple,
        }
    }

    /// The same for the generator and for the simulation.
    pub fn retries(self, delay: Duration, seed: u64) -> Retries {
        let at_once = Retries::at_once(RETRIES);
        match self {
            Self::None => Retries::NONE,
            Self::AtOnce => at_once,
            Self::Backoff => {
                let pause = Pause::Backoff { first: delay, most: delay * 100, seed };
                Retries { pause, ..at_once }
            }
            Self::Budget => Retries { limit: Limit::BUDGET, ..at_once },
            // The window is some times the patience, so that it has seen what failed.
            Self::Throttle => Retries { limit: Limit::throttle(delay * 40, seed), ..at_once },
        }
    }
}
