//! The theory that the server asks for its own figures: utilisation, Erlang's C, M/D/c, and what
//! two moments of the services say and do not say.
//!
//! This one file is part of two crates: of the server, as `src/theory.rs`, and of the theory, as
//! `basics.rs` in `examples/theory/src`, which is a symbolic link to it. So each of them can be
//! packaged and built without the other, and neither repeats the other. It uses the standard
//! library alone.
//!
//! Notation and units are those of the theory: *offered* load is a = arrival rate x mean service
//! time, in erlangs; *utilisation* is rho = a / c. Waits are in units of the mean service time.

use std::f64::consts::TAU;
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
#[allow(dead_code, reason = "the crate of the whole theory gives it, and the server does not")]
pub fn allen_cunneen(
    servers: u32,
    utilisation: f64,
    arrivals: f64,
    service: f64,
) -> Result<f64, TheoryError> {
    let variation = finite("the arrivals' variation", arrivals)?
        + finite("the service time's variation", service)?;
    let (servers, utilisation) = steady(servers, utilisation)?;
    Ok(exponential_wait(servers, utilisation) * variation / 2.0)
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

/// The mean wait of exponential services, M/M/c.
pub fn exponential_wait(servers: u32, utilisation: f64) -> f64 {
    wait_probability(servers, utilisation) / freed(servers, utilisation)
}

/// The mean wait of constant services, M/D/c, exact: by the roots z of z^c = exp(-a (1 - z)) within
/// the unit circle (Crommelin 1932).
pub fn constant_wait(servers: u32, utilisation: f64) -> Result<f64, TheoryError> {
    let (servers, utilisation) = steady(servers, utilisation)?;
    if utilisation == 0.0 {
        return Ok(0.0);
    }
    let c = f64::from(servers);
    let sum: f64 = (1..servers).map(|number| root(utilisation, TAU * f64::from(number) / c)).sum();
    let free = c * (1.0 - utilisation);
    let waiting = sum - (free * free - c) / (2.0 * free) - utilisation * c;
    // For a small load the terms cancel, and leave the error of the last digit.
    Ok((waiting / (utilisation * c)).max(0.0))
}

/// The mean wait where arrivals and service have these squared coefficients of variation, by T.
/// Kimura (A two-moment approximation for the mean waiting time in the GI/G/s queue, Management
/// Science 32, 1986) for Poisson arrivals, times (Ca^2 + Cs^2) / (1 + Cs^2) for others: exact for
/// M/M/c, M/D/c and M/G/1.
pub fn two_moment_wait(
    servers: u32,
    utilisation: f64,
    arrivals: f64,
    service: f64,
) -> Result<f64, TheoryError> {
    let arrivals = finite("the arrivals' variation", arrivals)?;
    let service = finite("the service time's variation", service)?;
    let constant = constant_wait(servers, utilisation)?;
    let exponential = exponential_wait(servers, utilisation);
    Ok(between_waits(constant, exponential, arrivals, service))
}

/// [`two_moment_wait`] from the mean waits of constant and of exponential services.
pub fn between_waits(constant: f64, exponential: f64, arrivals: f64, service: f64) -> f64 {
    if constant == 0.0 {
        return 0.0;
    }
    // It is never negative: the wait of M/D/c is at least half of that of M/M/c.
    (arrivals + service) / ((1.0 - service) / constant + 2.0 * service / exponential)
}

/// What two moments of the service time leave open, for Poisson arrivals: there are laws with this
/// squared coefficient of variation whose mean wait is as short as the first number or shorter, and
/// laws whose mean wait is as long as the second or longer (V. Gupta, J. Dai, M. Harchol-Balter and
/// B. Zwart, On the inapproximability of M/G/K, Queueing Systems 64, 2010, theorem 1). Both are the
/// same for one worker.
pub fn two_moments_leave(
    servers: u32,
    utilisation: f64,
    service: f64,
) -> Result<(f64, f64), TheoryError> {
    let service = finite("the service time's variation", service)?;
    let constant = constant_wait(servers, utilisation)?;
    // With one worker fewer, some laws have rare services that are so long that they alone take a
    // worker away for good.
    let c = f64::from(servers);
    let short = (utilisation - (c - 1.0) / c).max(0.0) / (1.0 - utilisation);
    Ok((constant + short * service / 2.0, constant * (1.0 + service)))
}

/// The real part of 1 / (1 - z) for the root z = w exp(-rho (1 - z)), w at this angle of the unit
/// circle, by Newton's method.
fn root(utilisation: f64, angle: f64) -> f64 {
    let (w_im, w_re) = angle.sin_cos();
    let (mut x, mut y) = (0.0, 0.0);
    for _ in 0..100 {
        let (sin, cos) = (utilisation * y).sin_cos();
        let size = (-utilisation * (1.0 - x)).exp();
        // g = w exp(-rho (1 - z)), and g' = rho g: the step is (z - g) / (1 - rho g).
        let (g_re, g_im) = (size * (w_re * cos - w_im * sin), size * (w_re * sin + w_im * cos));
        let (off_re, off_im) = (x - g_re, y - g_im);
        let (d_re, d_im) = (1.0 - utilisation * g_re, -utilisation * g_im);
        let square = d_re * d_re + d_im * d_im;
        let (step_re, step_im) =
            ((off_re * d_re + off_im * d_im) / square, (off_im * d_re - off_re * d_im) / square);
        (x, y) = (x - step_re, y - step_im);
        if step_re.abs() + step_im.abs() < 1e-15 {
            break;
        }
    }
    (1.0 - x) / ((1.0 - x).powi(2) + y * y)
}
