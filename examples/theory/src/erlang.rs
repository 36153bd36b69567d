//! Poisson arrivals and exponential service: Erlang's formulas, M/M/c, M/M/c/K.

use crate::basics::{TheoryError, at_least_one, finite, freed, lost, steady, wait_probability};

/// The probability that a request is lost if none may wait, M/M/c/c: Erlang's B (Erlang 1917). It
/// holds for any distribution of service times and for any load.
pub fn erlang_b(servers: u32, offered: f64) -> Result<f64, TheoryError> {
    let servers = at_least_one(servers)?;
    Ok(lost(servers, finite("the offered load", offered)?))
}

/// The probability that a request waits, M/M/c: Erlang's C (Erlang 1917).
///
/// # Errors
///
/// If an argument is invalid, or if `offered` is not below `servers`: then there is no steady
/// state.
pub fn erlang_c(servers: u32, offered: f64) -> Result<f64, TheoryError> {
    Ok(Mmc::new(servers, offered / f64::from(at_least_one(servers)?))?.wait_probability())
}

/// The probability that a request is refused if `system` requests may be in service or wait,
/// M/M/c/K with K = `system`, at least `servers` (Kleinrock 1975, section 3.6). It holds for any
/// load.
pub fn mmck_blocking(servers: u32, system: u32, offered: f64) -> Result<f64, TheoryError> {
    let servers = at_least_one(servers)?;
    let offered = finite("the offered load", offered)?;
    if system < servers {
        return Err(TheoryError::OutOfRange { what: "the system's bound", value: system.into() });
    }
    let utilisation = offered / f64::from(servers);
    let mut lost = lost(servers, offered);
    let mut before = f64::INFINITY;
    for _ in servers..system {
        lost = utilisation * lost / (1.0 + utilisation * lost);
        // The probability has converged, so longer queues change nothing.
        if lost == before {
            break;
        }
        before = lost;
    }
    Ok(lost)
}

/// The steady state of a pool with exponential service times, M/M/c, first come, first served
/// (Kleinrock 1975, section 3.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mmc {
    servers: u32,
    utilisation: f64,
    waits: f64,
}

impl Mmc {
    /// A pool with this number of workers at this utilisation.
    pub fn new(servers: u32, utilisation: f64) -> Result<Self, TheoryError> {
        let (servers, utilisation) = steady(servers, utilisation)?;
        Ok(Self { servers, utilisation, waits: wait_probability(servers, utilisation) })
    }

    /// The probability that a request waits.
    pub fn wait_probability(&self) -> f64 {
        self.waits
    }

    /// The mean wait over all requests.
    pub fn mean_wait(&self) -> f64 {
        self.waits / self.rate()
    }

    /// The mean number of waiting requests.
    pub fn mean_waiting(&self) -> f64 {
        self.mean_wait() * self.utilisation * f64::from(self.servers)
    }

    /// The probability that the wait is longer than `wait`.
    pub fn wait_beyond(&self, wait: f64) -> f64 {
        if wait < 0.0 { 1.0 } else { self.waits * (-self.rate() * wait).exp() }
    }

    /// The wait that a share `p` of the requests does not exceed.
    pub fn wait_percentile(&self, p: f64) -> Result<f64, TheoryError> {
        let p = probability(p)?;
        Ok(((self.waits / (1.0 - p)).ln() / self.rate()).max(0.0))
    }

    /// The probability that wait and service together take longer than `time`.
    pub fn response_beyond(&self, time: f64) -> f64 {
        if time < 0.0 {
            return 1.0;
        }
        if time == f64::INFINITY {
            return 0.0;
        }
        // Requests that wait: the sum of two exponential times. The slower one decides the tail; of
        // the faster one only the gap between both rates counts, which may be nothing. So nothing
        // grows with the time, and nothing overflows.
        let slower = self.rate().min(1.0);
        let gap = (self.rate() - 1.0).abs();
        let stretched = if gap == 0.0 { time } else { -(-gap * time).exp_m1() / gap };
        (-time).exp() + self.waits * (-slower * time).exp() * stretched
    }

    /// The time (wait and service) that a share `p` of the requests does not exceed.
    pub fn response_percentile(&self, p: f64) -> Result<f64, TheoryError> {
        let beyond = 1.0 - probability(p)?;
        Ok(crossing(beyond, |time| self.response_beyond(time)))
    }

    /// The rate of the exponential wait of requests that wait.
    fn rate(&self) -> f64 {
        freed(self.servers, self.utilisation)
    }
}

/// The time at which a falling probability reaches `beyond`, to the last digit.
pub(super) fn crossing(beyond: f64, probability: impl Fn(f64) -> f64) -> f64 {
    if probability(0.0) <= beyond {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while probability(high) > beyond {
        high *= 2.0;
    }
    while high - low > 1e-12 * high {
        let middle = 0.5 * (low + high);
        if probability(middle) > beyond { low = middle } else { high = middle }
    }
    high
}

/// A probability below 1.
pub(super) fn probability(value: f64) -> Result<f64, TheoryError> {
    match value < 1.0 {
        true => finite("a probability", value),
        false => Err(TheoryError::OutOfRange { what: "a percentile's probability", value }),
    }
}
