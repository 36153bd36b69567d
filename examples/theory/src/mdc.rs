//! Poisson arrivals and constant service times, M/D/c: exact, and numerically stable for any size
//! and load.
//!
//! Lq requests wait. A service time later, c of them have started and A new ones have arrived, a
//! Poisson number with mean a: Lq' = max(0, Lq + A - c) (Crommelin 1932). So Lq is the maximum of a
//! random walk, and by Spitzer's identity (Spitzer 1956) its generating function is
//!
//! ```text
//! E z^Lq = exp(sum over m >= 1 of b(m) (z^m - 1)),
//! b(m) = sum over n >= 1 of P(Poisson(n a) = n c + m) / n
//! ```
//!
//! So Lq is compound Poisson with rates b(m). All results follow by sums without negative terms:
//! the mean of Lq is the sum of m b(m), the probability that no request waits is exp(-sum over m >=
//! 0 of b(m)), and Panjer's recursion (Panjer 1981) gives the distribution. The distribution of the
//! wait follows by Franx (Franx 2001). This needs no roots, and no terms cancel.

use crate::basics::{TheoryError, steady};
use crate::erlang::{crossing, probability};
use crate::fourier::{Complex, transform};
use crate::poisson::{distance, probabilities, stirling_error};
use std::f64::consts::{PI, TAU};

/// The highest utilisation that is computed: above it, the queue needs 1e8 service times to settle.
pub(super) const UTILISATION_MOST: f64 = 0.9999;

/// A share below exp(-NOTHING) = 1e-17 counts as zero.
const NOTHING: f64 = 39.2;

/// The largest number of terms of the sums for b(m) that are added one by one. If more are needed,
/// the b(m) are not small; then a Fourier transform, whose error is absolute, computes them faster
/// and as exactly.
const TERMS_MOST: f64 = 1e5;

/// The number of queue lengths whose probabilities are computed. Beyond it the tail is geometric to
/// the last digit.
const LENGTHS_MOST: usize = 4096;

/// The steady state of a pool with constant service times, M/D/c, first come, first served.
#[derive(Debug, Clone, PartialEq)]
pub struct Mdc {
    servers: u32,
    offered: f64,
    waits: f64,
    /// The probability that a request does not wait, without a difference.
    at_once: f64,
    mean_waiting: f64,
    /// P(Lq <= m) for m = 0, 1, ..., from the shortest: near saturation these are small.
    up_to: Vec<f64>,
    /// P(Lq > m) for m = 0, 1, ...
    beyond: Vec<f64>,
    /// The factor of the tail for each further length.
    decay: f64,
}

impl Mdc {
    /// A pool with this number of workers at this utilisation, at most 0.9999.
    pub fn new(servers: u32, utilisation: f64) -> Result<Self, TheoryError> {
        let (servers, utilisation) = steady(servers, utilisation)?;
        if utilisation > UTILISATION_MOST {
            return Err(TheoryError::TooNearSaturation { utilisation, most: UTILISATION_MOST });
        }
        let offered = utilisation * f64::from(servers);
        if utilisation == 0.0 {
            let empty = Self {
                servers,
                offered,
                waits: 0.0,
                at_once: 1.0,
                mean_waiting: 0.0,
                up_to: vec![],
                beyond: vec![],
                decay: 0.0,
            };
            return Ok(empty);
        }
        let slope = decay_exponent(utilisation);
        let lengths = (NOTHING / slope).ceil() as usize + 1;
        let walks = NOTHING / (f64::from(servers) * distance(utilisation));
        let rates = match walks * lengths as f64 <= TERMS_MOST {
            true => rates_by_sum(servers, utilisation, walks.ceil() as u32 + 1, lengths),
            false => rates_by_transform(servers, offered, slope, lengths),
        };
        let sum = rates.iter().sum::<f64>();
        let (waits, at_once) = (-(-sum).exp_m1(), (-sum).exp());
        let mean_waiting = rates.iter().enumerate().map(|(m, rate)| m as f64 * rate).sum();
        let decay = (-slope).exp();
        let (up_to, beyond) = lengths_of(&rates, decay);
        Ok(Self { servers, offered, waits, at_once, mean_waiting, up_to, beyond, decay })
    }

    /// The probability that a request waits.
    pub fn wait_probability(&self) -> f64 {
        self.waits
    }

    /// The mean wait over all requests.
    pub fn mean_wait(&self) -> f64 {
        if self.offered == 0.0 { 0.0 } else { self.mean_waiting / self.offered }
    }

    /// The mean number of waiting requests.
    pub fn mean_waiting(&self) -> f64 {
        self.mean_waiting
    }

    /// The probability that more than `count` requests wait.
    pub fn waiting_beyond(&self, count: usize) -> f64 {
        match (self.beyond.get(count), self.beyond.last()) {
            (Some(&beyond), _) => beyond,
            (None, Some(last)) => {
                let further = (count - (self.beyond.len() - 1)) as f64;
                last * self.decay.powf(further)
            }
            (None, None) => 0.0,
        }
    }

    /// The probability that at most `count` requests wait.
    pub(super) fn waiting_at_most(&self, count: usize) -> f64 {
        match self.up_to.get(count) {
            Some(&up_to) => up_to,
            None => 1.0 - self.waiting_beyond(count),
        }
    }

    /// The probability that a request does not wait.
    pub(super) fn at_once(&self) -> f64 {
        self.at_once
    }

    /// The probability that the wait is longer than `wait`, by Franx. For (k - 1) <= wait < k, a
    /// request waits longer if enough of the requests that arrived since then, a (k - wait) on
    /// average, are before it.
    pub fn wait_beyond(&self, wait: f64) -> f64 {
        if wait < 0.0 {
            return 1.0;
        }
        let turns = wait.floor() + 1.0;
        let places = turns * f64::from(self.servers);
        if places > 1e15 || self.offered == 0.0 {
            return 0.0;
        }
        let places = places as usize;
        let later = probabilities(self.offered * (turns - wait));
        let beyond = |came: usize| match places.checked_sub(came + 1) {
            Some(count) => self.waiting_beyond(count),
            None => 1.0,
        };
        later.iter().enumerate().map(|(came, share)| share * beyond(came)).sum()
    }

    /// The wait that a share `p` of the requests does not exceed.
    pub fn wait_percentile(&self, p: f64) -> Result<f64, TheoryError> {
        let beyond = 1.0 - probability(p)?;
        Ok(crossing(beyond, |wait| self.wait_beyond(wait)))
    }
}

/// The s > 0 with s = rho (exp(s) - 1): the tail of Lq falls by the factor exp(-s) for each length.
pub(super) fn decay_exponent(utilisation: f64) -> f64 {
    // It is below -2 ln rho, where the difference is convex, so Newton's steps decrease to it.
    let mut s = -2.0 * utilisation.ln();
    for _ in 0..100 {
        let off = utilisation * s.exp_m1() - s;
        let next = s - off / (utilisation * s.exp() - 1.0);
        if (next - s).abs() <= 1e-15 * s {
            break;
        }
        s = next;
    }
    s
}

/// b(0), b(1), ... by their definition.
fn rates_by_sum(servers: u32, utilisation: f64, walks: u32, lengths: usize) -> Vec<f64> {
    let mut rates = vec![0.0; lengths];
    let distance = distance(utilisation);
    for walk in 1..=walks {
        let begun = f64::from(walk) * f64::from(servers);
        let mean = begun * utilisation;
        let at_zero = (-stirling_error(begun) - begun * distance).exp() / (TAU * begun).sqrt();
        let mut term = at_zero / f64::from(walk);
        for (m, rate) in rates.iter_mut().enumerate() {
            *rate += term;
            term *= mean / (begun + (m + 1) as f64);
            if term == 0.0 {
                break;
            }
        }
    }
    rates
}

/// The same as coefficients of -ln(1 - E z^(A - c)) on the unit circle.
///
/// A factor 1 - 1/z removes the zero at z = 1; it only changes coefficients of negative powers. The
/// logarithm stays on its principal branch, since |E z^(A - c)| <= 1.
fn rates_by_transform(servers: u32, offered: f64, slope: f64, lengths: usize) -> Vec<f64> {
    let servers = f64::from(servers);
    // The coefficients decay as exp(-slope m) on one side, and as exp(-rho m) on the other.
    let needed = (NOTHING / slope.min(offered / servers)).ceil() as usize;
    let count = (2 * needed).next_power_of_two();
    let value = |j: usize| -> Complex {
        let angle = TAU * j as f64 / count as f64;
        if j == 0 {
            return (-(servers - offered).ln(), 0.0);
        }
        let half = (0.5 * angle).sin();
        // z^-c exp(-a (1 - z)) = exp(x + i y), and 1 minus it without subtracting nearly equal
        // numbers.
        let x = -2.0 * offered * half * half;
        let y = (offered * angle.sin() - servers * angle) % TAU;
        let (sin, cos) = y.sin_cos();
        let half_y = (0.5 * y).sin();
        let (re, im) = (2.0 * half_y * half_y - x.exp_m1() * cos, -x.exp() * sin);
        (-(re.hypot(im) / (2.0 * half)).ln(), 0.5 * (PI - angle) - im.atan2(re))
    };
    let mut points: Vec<Complex> = (0..count).map(value).collect();
    transform(&mut points);
    points.iter().take(lengths).map(|point| point.0 / count as f64).collect()
}

/// P(Lq <= m) and P(Lq > m) for m = 0, 1, ... by Panjer's recursion. After the last one, the latter
/// falls by `decay`.
fn lengths_of(rates: &[f64], decay: f64) -> (Vec<f64>, Vec<f64>) {
    let waiting: f64 = rates.iter().skip(1).sum();
    let weighted: Vec<f64> = rates.iter().enumerate().map(|(m, rate)| m as f64 * rate).collect();
    let mut shares = vec![(-waiting).exp()];
    for count in 1..rates.len().min(LENGTHS_MOST) {
        let terms = weighted[1..=count].iter().zip(shares.iter().rev());
        shares.push(terms.map(|(rate, share)| rate * share).sum::<f64>() / count as f64);
    }
    // Add from the far end, so that small tails keep their precision.
    let last = shares.len() - 1;
    let mut beyond = vec![shares[last] * decay / (1.0 - decay); shares.len()];
    for m in (1..shares.len()).rev() {
        beyond[m - 1] = beyond[m] + shares[m];
    }
    let up_to = shares.iter().scan(0.0, |sum, share| {
        *sum += share;
        Some(*sum)
    });
    (up_to.collect(), beyond)
}
