//! The policies that are compared.

use lab::fleet;
use queueing_theory::Mdc;

/// How HAProxy chooses a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Random,
    TwoChoices,
    RoundRobin,
    LeastConnections,
    /// In turn, with the weights that the servers' agents tell.
    Agent,
}

impl Policy {
    pub const ALL: [Self; 5] =
        [Self::Random, Self::TwoChoices, Self::RoundRobin, Self::LeastConnections, Self::Agent];

    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::TwoChoices => "two choices",
            Self::RoundRobin => "round robin",
            Self::LeastConnections => "leastconn",
            Self::Agent => "agent",
        }
    }

    /// The value of `balance`. `random` alone draws two.
    pub fn balance(self) -> &'static str {
        match self {
            Self::Random => "random(1)",
            Self::TwoChoices => "random(2)",
            Self::RoundRobin | Self::Agent => "roundrobin",
            Self::LeastConnections => "leastconn",
        }
    }

    /// What the twin does. HAProxy may draw the same server twice, and equal servers have equal
    /// weights.
    pub fn twin(self) -> fleet::Policy {
        match self {
            Self::Random => fleet::Policy::Random,
            Self::TwoChoices => fleet::Policy::TwoChoices { repeats: true },
            Self::RoundRobin | Self::Agent => fleet::Policy::RoundRobin,
            Self::LeastConnections => fleet::Policy::Least,
        }
    }

    /// Whether its choices depend on chance, so that the twin's are others.
    pub fn is_random(self) -> bool {
        matches!(self, Self::Random | Self::TwoChoices)
    }

    /// The exact mean wait in the steady state, in service times, for equal services. `None` if
    /// there is no formula.
    pub fn steady(self, servers: usize, workers: usize, utilisation: f64) -> Option<f64> {
        let pool = match self {
            Self::Random => workers,
            Self::RoundRobin | Self::LeastConnections | Self::Agent => servers * workers,
            Self::TwoChoices => return None,
        };
        Mdc::new(u32::try_from(pool).ok()?, utilisation).ok().map(|pool| pool.mean_wait())
    }
}
