//! Queueing theory of a pool of equal workers: exact where it can be, and it says where it is not.
//!
//! It stands on the lowest floor because it is arithmetic alone: no sockets, threads or clocks, and
//! nothing of the server. So both the server's own figures and the lab above it may ask it.
//!
//! Notation and units, everywhere here: *servers* is the number of workers c; *offered* load is
//! a = arrival rate x mean service time, in erlangs; *utilisation* is rho = a / c. **Waits are in
//! units of the mean service time**: multiply by D for seconds. A wait does not include service.
//!
//! | for | use |
//! |---|---|
//! | exponential service, first come first served | [`Mmc`], exact |
//! | constant service | [`Mdc`], exact |
//! | any service, any arrivals, by their first two moments | [`allen_cunneen`], an approximation |
//! | a bounded queue | [`mmck_blocking`], exact; [`mdck_blocking`], an approximation |
//! | clients that wait for their answer before they ask again | [`closed`] |
//! | more load than the pool carries | [`fluid`] |

pub mod closed;
mod erlang;
pub mod fluid;
mod fourier;
mod mdc;
mod poisson;

pub use erlang::{Mmc, allen_cunneen, erlang_b, erlang_c, mmck_blocking};
pub use mdc::{Mdc, mdck_blocking};

use std::fmt;

/// Why theory has no answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TheoryError {
    /// A pool without workers.
    NoServers,
    /// The queue of a pool at this utilisation grows for ever: it has no steady state.
    NotSteady {
        /// Offered load over the number of workers.
        utilisation: f64,
    },
    /// So near to saturation that reaching a steady state takes longer than any load lasts.
    TooNearSaturation {
        /// Offered load over the number of workers.
        utilisation: f64,
    },
    /// A quantity that is negative, infinite or not a number.
    OutOfRange {
        /// The quantity's name.
        what: &'static str,
        /// Its value.
        value: f64,
    },
}

impl fmt::Display for TheoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServers => write!(f, "no answer for a pool without workers (take at least 1)"),
            Self::NotSteady { utilisation } => write!(
                f,
                "no steady state at a utilisation of {utilisation}: the queue grows for ever \
                 (stay below 1, or ask for the fluid limit)"
            ),
            Self::TooNearSaturation { utilisation } => write!(
                f,
                "a utilisation of {utilisation} is too near to 1 for a steady state to be reached \
                 (stay at or below {})",
                mdc::UTILISATION_MOST
            ),
            Self::OutOfRange { what, value } => {
                write!(f, "{what} cannot be {value} (give a finite number that is not negative)")
            }
        }
    }
}

impl std::error::Error for TheoryError {}

/// The mean number in a system that is entered `rate` times a second and left after `time`
/// seconds on average: Little's law, L = lambda W (Little 1961). It holds whatever the order of
/// service and the distributions.
pub fn little(rate: f64, time: f64) -> f64 {
    rate * time
}

/// The share of their time that `servers` workers are busy when they complete `rate` requests a
/// second of `service` seconds each: the utilisation law, U = X S / c (Denning and Buzen 1978).
pub fn utilisation(rate: f64, service: f64, servers: u32) -> Result<f64, TheoryError> {
    let busy = finite("the rate", rate)? * finite("the service time", service)?;
    Ok(busy / f64::from(at_least_one(servers)?))
}

/// A quantity that is a number, finite and not negative.
fn finite(what: &'static str, value: f64) -> Result<f64, TheoryError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(TheoryError::OutOfRange { what, value }),
    }
}

/// A probability below 1.
fn probability(value: f64) -> Result<f64, TheoryError> {
    match value < 1.0 {
        true => finite("a probability", value),
        false => Err(TheoryError::OutOfRange { what: "a percentile's probability", value }),
    }
}

fn at_least_one(servers: u32) -> Result<u32, TheoryError> {
    match servers {
        0 => Err(TheoryError::NoServers),
        some => Ok(some),
    }
}

/// A pool and a utilisation at which it has a steady state.
fn steady(servers: u32, utilisation: f64) -> Result<(u32, f64), TheoryError> {
    let servers = at_least_one(servers)?;
    match finite("the utilisation", utilisation)? {
        steady if steady < 1.0 => Ok((servers, steady)),
        utilisation => Err(TheoryError::NotSteady { utilisation }),
    }
}
