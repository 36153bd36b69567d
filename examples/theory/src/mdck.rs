//! Poisson arrivals, constant service times and a bounded queue, M/D/c/K, at any load: an
//! interpolation, exact for one server and without a queue. If at least as many requests may wait
//! as there are workers, the refused share is within 2 % of simulations; for shorter queues of many
//! workers, within 12 %.
//!
//! 1. Below the bound, the probabilities of the states are taken to be proportional to those of the
//!    unbounded queue (Tijms 2003, section 9.8.2). With S(j), the sum of their weights up to j in
//!    the system, the balance of what enters and what the workers complete gives 1 - P = 1 / (rho +
//!    T), T = (sum of S(j) for j < c) / (c S(K - 1)). For one server, this is exact.
//! 2. Above a utilisation of 1 the unbounded queue has weights too, although they have no sum: with
//!    the conjugate utilisation rho* < 1, rho* exp(-rho*) = rho exp(-rho), and z = rho* / rho,
//!    Crommelin's equation goes over into that of rho*, and S(j) = F*(j) / z^j for the distribution
//!    F* of the number in the system at rho*.
//! 3. Weights of states a service time apart do not show how the queue moves in between. There c
//!    departures at random times let it reach the bound more often: as if the bound were lower by
//!    0.19 (sqrt(c) - 1) requests. The factor is fitted to simulations, and does not depend on the
//!    load.

use crate::basics::{TheoryError, at_least_one, finite, lost};
use crate::erlang::{crossing, probability};
use crate::mdc::Mdc;
use crate::mmck::{kept, room};
use crate::poisson::{distance, probabilities};

/// How much lower the bound seems, per sqrt(c) - 1.
const LOWER: f64 = 0.19;

/// Nearer to a utilisation of 1 than this, results are interpolated: they have no singularity
/// there, but their formulas do.
const NEAR: f64 = 2e-4;

/// The steady state of a pool with constant service times in which at most K requests are in
/// service or wait, first come, first served. Further requests are refused; the figures of waits
/// are those of the admitted requests.
///
/// The mean wait is within 7 % of simulations of up to 32 workers. It is less certain than the
/// refused share: above a utilisation of 1, the workers never pause, and the times at which they
/// began decide how their departures are spread for as long as the overload lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Mdck {
    servers: u32,
    offered: f64,
    blocked: f64,
    /// 1 - `blocked`, which is exact if it is small.
    passed: f64,
    /// The probability that an admitted request finds at most c - 1 + q in the system, for q = 0,
    /// 1, ... up to the number that may wait.
    found: Vec<f64>,
}

impl Mdck {
    /// A pool with this number of workers for at most `system` requests, at least as many, at this
    /// utilisation. It counts the refused requests, so it may be above 1.
    pub fn new(servers: u32, system: u32, utilisation: f64) -> Result<Self, TheoryError> {
        let servers = at_least_one(servers)?;
        let utilisation = finite("the utilisation", utilisation)?;
        let offered = finite("the offered load", utilisation * f64::from(servers))?;
        let room = room(servers, system)?;
        let (blocked, found) = if room == 0 {
            (lost(servers, offered), vec![1.0])
        } else if (utilisation - 1.0).abs() < NEAR {
            let [low, high] = [1.0 - NEAR, 1.0 + NEAR].map(|near| solve(servers, room, near));
            let ((low, low_found), (high, high_found)) = (low?, high?);
            let share = (utilisation - (1.0 - NEAR)) / (2.0 * NEAR);
            let between = |low: f64, high: f64| low + share * (high - low);
            let found = low_found.iter().zip(&high_found).map(|(low, high)| between(*low, *high));
            (between(low, high), found.collect())
        } else {
            solve(servers, room, utilisation)?
        };
        // The workers complete at most c in a service time; near 1, the difference is inexact.
        let passed = (1.0 - blocked).min(1.0 / utilisation);
        Ok(Self { servers, offered, blocked, passed, found })
    }

    /// The probability that a request is refused.
    pub fn blocking(&self) -> f64 {
        self.blocked
    }

    /// The admitted requests per service time: the offered load in erlangs less the refused part.
    pub fn throughput(&self) -> f64 {
        self.offered * self.passed
    }

    /// The probability that an admitted request waits.
    pub fn wait_probability(&self) -> f64 {
        1.0 - self.found.first().copied().unwrap_or(1.0)
    }

    /// The mean wait of the admitted requests, by Little's law.
    pub fn mean_wait(&self) -> f64 {
        let waiting = |found: &f64| (1.0 - found) + self.blocked * found;
        let waiting: f64 = self.found.iter().skip(1).map(waiting).sum();
        if self.offered == 0.0 { 0.0 } else { waiting / self.throughput() }
    }

    /// The probability that an admitted request waits longer than `wait`. Each worker completes a
    /// request in each whole service time, and in the rest of the time with the probability of its
    /// share, so that the number of departures is binomial.
    pub fn wait_beyond(&self, wait: f64) -> f64 {
        if wait < 0.0 {
            return 1.0;
        }
        let (whole, part) = (wait.floor(), wait.fract());
        let first = whole * f64::from(self.servers);
        if first >= self.found.len() as f64 {
            return 0.0;
        }
        let beyond = self.found.iter().skip(first as usize).map(|found| 1.0 - found);
        binomial(self.servers, part).zip(beyond).map(|(share, beyond)| share * beyond).sum()
    }

    /// The wait that a share `p` of the admitted requests does not exceed.
    pub fn wait_percentile(&self, p: f64) -> Result<f64, TheoryError> {
        let beyond = 1.0 - probability(p)?;
        Ok(crossing(beyond, |wait| self.wait_beyond(wait)))
    }
}

/// The probability that a request is refused if `system` requests may be in service or wait,
/// M/D/c/K, at any load: see [`Mdck`].
pub fn mdck_blocking(servers: u32, system: u32, utilisation: f64) -> Result<f64, TheoryError> {
    Ok(Mdck::new(servers, system, utilisation)?.blocking())
}

/// The refused share, and what admitted requests find.
fn solve(servers: u32, room: usize, utilisation: f64) -> Result<(f64, Vec<f64>), TheoryError> {
    let weights = Weights::new(servers, utilisation)?;
    // P / (1 - P) - (rho - 1), or without the difference below 1, falls geometrically with the
    // queue: so between and below whole numbers, too.
    let lower = LOWER * (f64::from(servers).sqrt() - 1.0);
    let at = room as f64 - lower;
    let base = at.floor().max(0.0);
    let [low, high] = [base as usize, base as usize + 1].map(|queue| weights.excess(queue));
    let excess = if lower == 0.0 { low } else { low * (high / low).powf(at - base) };
    let excess = if excess.is_finite() { excess } else { 0.0 };
    // Below the first whole number it is an extrapolation. Without any room more is refused: by
    // Erlang's loss formula, which holds for all service times.
    let offered = utilisation * f64::from(servers);
    let lost = lost(servers, offered);
    let without_room = lost / kept(servers, offered, lost) - (utilisation - 1.0).max(0.0);
    let excess = excess.clamp(0.0, without_room.max(0.0));
    let odds = excess + (utilisation - 1.0).max(0.0);
    // The same sum of weights as the refused share has.
    let scale = match utilisation < 1.0 {
        true => (1.0 - utilisation + excess) / (1.0 - utilisation),
        false if weights.excess(room) > 0.0 => excess / weights.excess(room),
        false => 1.0,
    };
    let found = (0..=room).map(|queue| (scale * weights.up_to(queue, room)).min(1.0));
    let mut found: Vec<f64> = found.collect();
    found[room] = 1.0;
    Ok((odds / (1.0 + odds), found))
}

/// The weights of the states of the unbounded queue.
struct Weights {
    utilisation: f64,
    /// The pool at this utilisation, or above 1 at its conjugate.
    pool: Mdc,
    /// The factor z of the conjugate; 1 below a utilisation of 1.
    factor: f64,
    /// Above 1: the sum of S(j) for j < c, times z^(c - 1), over c.
    idle: f64,
}

impl Weights {
    fn new(servers: u32, utilisation: f64) -> Result<Self, TheoryError> {
        if utilisation < 1.0 {
            let pool = Mdc::new(servers, utilisation)?;
            return Ok(Self { utilisation, pool, factor: 1.0, idle: 0.0 });
        }
        let conjugate = conjugate(utilisation);
        let factor = conjugate / utilisation;
        let pool = Mdc::new(servers, conjugate)?;
        // The number in the system is the number that waited a service time ago, and the arrivals
        // since.
        let came = probabilities(conjugate * f64::from(servers));
        let up_to = |number: usize| -> f64 {
            let came = came.iter().take(number + 1).enumerate();
            came.map(|(came, share)| share * pool.waiting_at_most(number - came)).sum()
        };
        let last = servers as usize - 1;
        let weight = |number: usize| up_to(number) * factor.powf((last - number) as f64);
        // From the largest weight down.
        let weights = (0..=last).rev().map(weight).take_while(|weight| *weight > 1e-18);
        let idle = weights.sum::<f64>() / f64::from(servers);
        Ok(Self { utilisation, pool, factor, idle })
    }

    /// F(c - 1 + queue), at the conjugate above a utilisation of 1, and 1 less that.
    fn distribution(&self, queue: usize) -> (f64, f64) {
        match queue.checked_sub(1) {
            None => (self.pool.at_once(), self.pool.wait_probability()),
            Some(waiting) => {
                (self.pool.waiting_at_most(waiting), self.pool.waiting_beyond(waiting))
            }
        }
    }

    /// The odds of a refusal for this room less rho - 1 if that is positive, without the correction
    /// for the departures.
    fn excess(&self, room: usize) -> f64 {
        let (up_to, beyond) = self.distribution(room);
        match self.utilisation < 1.0 {
            true => (1.0 - self.utilisation) * beyond / up_to,
            false => self.idle * self.factor.powf(room as f64) / up_to,
        }
    }

    /// S(c - 1 + queue): below a utilisation of 1 as a share of all, above it as a share of that of
    /// the whole room.
    fn up_to(&self, queue: usize, room: usize) -> f64 {
        let (up_to, _) = self.distribution(queue);
        match self.utilisation < 1.0 {
            true => up_to,
            false => up_to / self.distribution(room).0 * self.factor.powf((room - queue) as f64),
        }
    }
}

/// The utilisation below 1 with the same rho exp(-rho) as one above 1: the same rho - 1 - ln rho,
/// whose differences near 1 are exact.
fn conjugate(utilisation: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let middle: f64 = 0.5 * (low + high);
        if distance(middle) > distance(utilisation) { low = middle } else { high = middle }
    }
    // For a small one the exponential is 1, and halving is too coarse.
    if high < 1e-9 { (utilisation.ln() - utilisation).exp() } else { high }
}

/// The probabilities of 0, 1, ... successes of `trials`.
fn binomial(trials: u32, probability: f64) -> impl Iterator<Item = f64> {
    let odds = (probability / (1.0 - probability)).ln();
    let mut logarithm = f64::from(trials) * (-probability).ln_1p();
    (0..=trials).map(move |successes| {
        let share = logarithm.exp();
        let ways = f64::from(trials - successes) / f64::from(successes + 1);
        logarithm += ways.ln() + odds;
        share
    })
}
