//! The theory that the server asks for its own figures: utilisation, Erlang's C, Allen-Cunneen.
//!
//! This one file is part of two crates: of the server, as `src/theory.rs`, and of the theory, as
//! `basics.rs` in `examples/theory/src`, which is a symbolic link to it. So each of them can be
//! packaged and built without the other, and neither repeats the other. It uses the standard
//! library alone.
//!
//! Notation and units are those of the theory: *offered* load is a = arrival rate x mean service
//! time, in erlangs; *utilisation* is rho = a / c. Waits are in units of the mean service time.

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
    #[allow(dead_code, reason = "the crate of the whole theory gives it, and the server does not")]
    TooNearSaturation {
        /// Offered load over the number of workers.
        utilisation: f64,
        /// The highest one that is computed.
        most: f64,
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
            Self::TooNearSaturation { utilisation, most } => write!(
                f,
                "a utilisation of {utilisation} is too near to 1 for a steady state to be reached \
                 (stay at or below {most})"
            ),
            Self::OutOfRange { what, value } => {
                write!(f, "{what} cannot be {value} (give a finite number that is not negative)")
            }
        }
    }
}

impl std::error::Error for TheoryError {}

/// The share of their time that `servers` workers are busy when they complete `rate` requests a
/// second of `service` seconds each: the utilisation law, U = X S / c (Denning and Buzen 1978).
pub fn utilisation(rate: f64, service: f64, servers: u32) -> Result<f64, TheoryError> {
    let busy = finite("the rate", rate)? * finite("the service time", service)?;
    Ok(busy / f64::from(at_least_one(servers)?))
}

/// The mean wait where arrivals and service have these squared coefficients of variation, by
/// Allen and Cunneen (Allen 1990, section 5.3.5): an approximation, exact for M/M/c and M/G/1.
///
/// 1 is exponential, 0 is constant.
pub fn allen_cunneen(
    servers: u32,
    utilisation: f64,
    arrivals: f64,
    service: f64,
) -> Result<f64, TheoryError> {
    let variation = finite("the arrivals' variation", arrivals)?
        + finite("the service time's variation", service)?;
    let (servers, utilisation) = steady(servers, utilisation)?;
    let exponential = wait_probability(servers, utilisation) / freed(servers, utilisation);
    Ok(exponential * variation / 2.0)
}

/// The probability that a request waits, M/M/c: Erlang's C (Erlang 1917), from Erlang's B.
pub fn wait_probability(servers: u32, utilisation: f64) -> f64 {
    let lost = lost(servers, utilisation * f64::from(servers));
    lost / (1.0 - utilisation * (1.0 - lost))
}

/// The rate at which the wait of those who wait is exponential, M/M/c: c (1 - rho).
pub fn freed(servers: u32, utilisation: f64) -> f64 {
    f64::from(servers) * (1.0 - utilisation)
}

/// Erlang's B by its recursion over the servers, which neither overflows nor subtracts
/// (Jagerman 1974).
pub fn lost(servers: u32, offered: f64) -> f64 {
    (1..=servers).fold(1.0, |lost, server| {
        let entered = offered * lost;
        entered / (f64::from(server) + entered)
    })
}

/// A quantity that is a number, finite and not negative.
pub fn finite(what: &'static str, value: f64) -> Result<f64, TheoryError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(TheoryError::OutOfRange { what, value }),
    }
}

/// A pool that has workers.
pub fn at_least_one(servers: u32) -> Result<u32, TheoryError> {
    match servers {
        0 => Err(TheoryError::NoServers),
        some => Ok(some),
    }
}

/// A pool and a utilisation at which it has a steady state.
pub fn steady(servers: u32, utilisation: f64) -> Result<(u32, f64), TheoryError> {
    let servers = at_least_one(servers)?;
    match finite("the utilisation", utilisation)? {
        steady if steady < 1.0 => Ok((servers, steady)),
        utilisation => Err(TheoryError::NotSteady { utilisation }),
    }
}
