//! Poisson arrivals and any service times, M/G/1 and M/G/c: the mean wait, exact for one worker,
//! for constant and for exponential services, and else by an interpolation.
//!
//! Two moments do not determine the mean wait of several workers: among laws that agree in both, it
//! differs by up to the factor 1 + cv^2 (V. Gupta, J. Dai, M. Harchol-Balter and B. Zwart, On the
//! inapproximability of M/G/K, Queueing Systems 64, 2010). So the interpolation asks for one figure
//! more: how long it takes until the first of c busy workers becomes free, which depends on the
//! whole law.

use crate::basics::{TheoryError, exponential_wait, finite, steady};
use crate::mdc::Mdc;
use crate::service::Service;
use std::fmt;

/// The mean wait of a pool with services of this law, first come, first served.
#[derive(Debug, Clone, PartialEq)]
pub struct Mgc {
    servers: u32,
    utilisation: f64,
    mean_wait: f64,
    trust: Trust,
}

/// How far an answer can be trusted. It displays with its source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trust {
    /// It is exact.
    Exact(Formula),
    /// It differs by at most this share from simulations of pools and laws like this one.
    Within(f64),
    /// It is an order of magnitude: no simulation has been compared with it.
    Rough,
}

/// A formula that is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formula {
    /// M/G/1 (Pollaczek 1930, Khinchine 1932).
    PollaczekKhinchine,
    /// M/M/c (Erlang 1917).
    Erlang,
    /// M/D/c (Crommelin 1932).
    Crommelin,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(Formula::PollaczekKhinchine) => {
                f.write_str("exact (Pollaczek and Khinchine)")
            }
            Self::Exact(Formula::Erlang) => f.write_str("exact (Erlang)"),
            Self::Exact(Formula::Crommelin) => f.write_str("exact (Crommelin)"),
            Self::Within(share) => write!(
                f,
                "within {:.0} % of simulations (Boxma, Cohen and Huffels 1979)",
                share * 100.0
            ),
            Self::Rough => f.write_str(
                "an order of magnitude (Boxma, Cohen and Huffels 1979, not compared with \
                 simulations of such a law)",
            ),
        }
    }
}

impl Mgc {
    /// A pool with this number of workers at this utilisation.
    ///
    /// # Errors
    ///
    /// If there are no workers or there is no steady state, and for several workers if the variance
    /// of the law is infinite: then bound the law, or simulate.
    pub fn new(servers: u32, utilisation: f64, service: &Service) -> Result<Self, TheoryError> {
        let (servers, utilisation) = steady(servers, utilisation)?;
        let variation = service.squared_variation();
        let (mean_wait, trust) = match servers {
            _ if service.is_constant() => {
                (Mdc::new(servers, utilisation)?.mean_wait(), Trust::Exact(Formula::Crommelin))
            }
            _ if service.is_exponential() => {
                (exponential_wait(servers, utilisation), Trust::Exact(Formula::Erlang))
            }
            1 => {
                let wait = utilisation * (1.0 + variation) / (2.0 * (1.0 - utilisation));
                (wait, Trust::Exact(Formula::PollaczekKhinchine))
            }
            _ => {
                let variation = finite("the squared coefficient of variation", variation)?;
                let least = service.least_residual(servers);
                let wait = interpolated(servers, utilisation, variation, least)?;
                (wait, trust(servers, utilisation, service))
            }
        };
        Ok(Self { servers, utilisation, mean_wait, trust })
    }

    /// The mean wait over all requests.
    pub fn mean_wait(&self) -> f64 {
        self.mean_wait
    }

    /// The mean number of waiting requests.
    pub fn mean_waiting(&self) -> f64 {
        self.mean_wait * self.utilisation * f64::from(self.servers)
    }

    /// How far the mean wait can be trusted.
    pub fn trust(&self) -> Trust {
        self.trust
    }
}

/// The mean wait by O. J. Boxma, J. W. Cohen and N. Huffels (Approximations of the mean waiting
/// time in an M/G/s queueing system, Operations Research 27, 1979): between M/D/c and M/M/c by
/// `least`, the mean of the shortest of c residual services.
fn interpolated(
    servers: u32,
    utilisation: f64,
    variation: f64,
    least: f64,
) -> Result<f64, TheoryError> {
    let constant = Mdc::new(servers, utilisation)?.mean_wait();
    let exponential = exponential_wait(servers, utilisation);
    let c = f64::from(servers);
    // 0 for constant services, 1 for exponential ones.
    let between = ((1.0 + variation) / least - c - 1.0) / (c - 1.0);
    let denominator = 2.0 * between * constant + (1.0 - between) * exponential;
    if utilisation == 0.0 || denominator <= 0.0 {
        return Ok(0.0);
    }
    Ok((1.0 + variation) * constant * exponential / denominator)
}

/// How far the interpolation was from simulations of two-valued, uniform, lognormal and
/// hyperexponential laws: pools of 2 to 16 workers at utilisations of 0.3 to 0.95, coefficients of
/// variation of 0.5 to 4. It is best for few workers and a high load, and too low for many workers
/// and rare services that are very long.
fn trust(servers: u32, utilisation: f64, service: &Service) -> Trust {
    // Without the error of the last digits.
    let variation = service.squared_variation() - 1e-9;
    let few = servers <= 4;
    match utilisation {
        _ if servers > 16 || service.moment(3).is_infinite() => Trust::Rough,
        load if variation <= 1.0 && load >= 0.5 => Trust::Within(0.1),
        load if variation <= 4.0 && few && load >= 0.3 => Trust::Within(0.1),
        load if variation <= 16.0 && few && load >= 0.8 => Trust::Within(0.2),
        load if variation <= 4.0 && load >= 0.8 => Trust::Within(0.25),
        _ => Trust::Rough,
    }
}
