//! Several pools behind a balancer that sends each request to one of them.
//!
//! Only some policies have formulas. With *random* choice, Poisson arrivals split into independent
//! Poisson arrivals. So each server is a pool of its own: `Mmc` and `Mdc` with its W workers, at
//! the same utilisation. With *round robin* and constant service times, the n-th request of N
//! servers with W workers each meets the worker that the n-th request of one pool with N W workers
//! meets: request n - N W had it before, in both. So all waits are those of `Mdc` with N W workers,
//! for any arrivals.

use crate::basics::{TheoryError, steady};

/// The precision at which an iteration or a sum ends.
const NOTHING: f64 = 1e-15;

/// The mean wait of round robin over this number of servers with one worker each, Poisson arrivals
/// and exponential service times.
///
/// Each server gets every N-th arrival, so the gaps are Erlang-N: E_N/M/1. A request waits with the
/// probability sigma, the root below 1 of sigma = A(mu - mu sigma), where A is the Laplace
/// transform of the gaps, and for sigma / (1 - sigma) on average (Kleinrock 1975, section 6.4).
///
/// # Errors
///
/// If there is no server, or no steady state.
pub fn round_robin(servers: u32, utilisation: f64) -> Result<f64, TheoryError> {
    let (servers, rho) = steady(servers, utilisation)?;
    let count = f64::from(servers);
    let transform = |sigma: f64| (count * rho / (count * rho + 1.0 - sigma)).powf(count);
    // The root is where the transform, which is above sigma before it, falls below. Bisection needs
    // no start near it.
    let (mut low, mut high) = (0.0, 1.0);
    while high - low > NOTHING {
        let middle = (low + high) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        match transform(middle) > middle {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok(low / (1.0 - low))
}

/// The mean time in the system, in service times, if each request goes to the emptier of two
/// servers that are drawn at random: the limit for many servers with one worker each, Poisson
/// arrivals and exponential service times, sum over i >= 1 of rho^(2^i - 2) (Vvedenskaya, Dobrushin
/// and Karpelevich 1996; Mitzenmacher 1996).
///
/// # Errors
///
/// If there is no steady state.
pub fn two_choices(utilisation: f64) -> Result<f64, TheoryError> {
    let (_, rho) = steady(1, utilisation)?;
    let mut sum = 0.0;
    // The i-th term is rho^(2^i - 2), and the next one is rho^2 times its square.
    let mut term = 1.0;
    while term > NOTHING {
        sum += term;
        term *= term * rho * rho;
    }
    Ok(sum)
}
