//! What theory needs to know of the law of a service time.

use crate::basics::{TheoryError, finite};
use libm::erfc;
use std::f64::consts::SQRT_2;

/// Steps of an integral over the logarithm of the time.
const STEPS: u32 = 8192;

/// The law of a service time, scaled to a mean of 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Times in ascending order, and their probabilities.
    Discrete(Vec<(f64, f64)>),
    Exponential,
    /// The probability of the shorter branch. Each branch has half of the load.
    Hyperexponential(f64),
    /// The standard deviation of the logarithm.
    Lognormal(f64),
    Uniform {
        from: f64,
        to: f64,
    },
    /// The longest time may be infinite.
    Pareto {
        tail: f64,
        least: f64,
        most: f64,
    },
}

impl Service {
    /// Always the same time.
    pub fn constant() -> Self {
        Self { shape: Shape::Discrete(vec![(1.0, 1.0)]) }
    }

    /// Exponential.
    pub fn exponential() -> Self {
        Self { shape: Shape::Exponential }
    }

    /// Hyperexponential with two branches and balanced means, of this coefficient of variation, at
    /// least 1 (Tijms 2003, appendix B).
    pub fn hyperexponential(cv: f64) -> Result<Self, TheoryError> {
        let what = "the coefficient of variation of a hyperexponential law";
        let squared = positive(what, cv)?.powi(2);
        let ratio = finite(what, (squared - 1.0) / (squared + 1.0))?;
        Ok(Self { shape: Shape::Hyperexponential((1.0 + ratio.sqrt()) / 2.0) })
    }

    /// Lognormal of this coefficient of variation.
    pub fn lognormal(cv: f64) -> Result<Self, TheoryError> {
        let cv = positive("the coefficient of variation of a lognormal law", cv)?;
        Ok(Self { shape: Shape::Lognormal((cv * cv).ln_1p().sqrt()) })
    }

    /// Uniform between two times, the second of which is longer.
    pub fn uniform(from: f64, to: f64) -> Result<Self, TheoryError> {
        let (from, to) = (finite("a time", from)?, positive("a time", to)?);
        positive("the length of the interval", to - from)?;
        let mean = (from + to) / 2.0;
        Ok(Self { shape: Shape::Uniform { from: from / mean, to: to / mean } })
    }

    /// Pareto of this tail index, above 1.
    pub fn pareto(tail: f64) -> Result<Self, TheoryError> {
        positive("a tail index, less 1,", tail - 1.0)?;
        Ok(Self { shape: Shape::Pareto { tail, least: (tail - 1.0) / tail, most: f64::INFINITY } })
    }

    /// Pareto of this tail index between two times, the second of which is longer.
    pub fn bounded_pareto(tail: f64, least: f64, most: f64) -> Result<Self, TheoryError> {
        let (tail, least) = (positive("a tail index", tail)?, positive("a time", least)?);
        positive("the length of the interval", most - least)?;
        let mean = least * Bounded { tail, ratio: most / least }.excess(0.0);
        Ok(Self { shape: Shape::Pareto { tail, least: least / mean, most: most / mean } })
    }

    /// These times with these weights, such as the times of a trace with the weight 1.
    pub fn discrete(times: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, TheoryError> {
        let mut sorted = Vec::new();
        for (time, weight) in times {
            sorted.push((finite("a time", time)?, finite("a weight", weight)?));
        }
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let weights: f64 = sorted.iter().map(|(_, weight)| weight).sum();
        let mean = sorted.iter().map(|(time, weight)| time * weight).sum::<f64>() / weights;
        positive("the mean of the times", mean)?;
        let scaled = sorted.iter().map(|(time, weight)| (time / mean, weight / weights));
        Ok(Self { shape: Shape::Discrete(scaled.collect()) })
    }

    /// True if all times are equal.
    pub fn is_constant(&self) -> bool {
        matches!(&self.shape, Shape::Discrete(times) if times.first().map(|each| each.0)
            == times.last().map(|each| each.0))
    }

    /// True if it is the exponential law.
    pub fn is_exponential(&self) -> bool {
        match self.shape {
            Shape::Hyperexponential(share) => share == 0.5,
            _ => self.shape == Shape::Exponential,
        }
    }

    /// The squared coefficient of variation; infinite if the law has none.
    pub fn squared_variation(&self) -> f64 {
        if self.is_constant() { 0.0 } else { self.moment(2) - 1.0 }
    }

    /// The n-th moment; infinite if the law has none.
    pub fn moment(&self, n: u32) -> f64 {
        let power = f64::from(n);
        let factorial = || (1..=n).map(f64::from).product::<f64>();
        match &self.shape {
            Shape::Discrete(times) => {
                times.iter().map(|(time, share)| time.powf(power) * share).sum()
            }
            Shape::Exponential => factorial(),
            Shape::Hyperexponential(share) => {
                let of = |share: f64| share * (0.5 / share).powf(power);
                factorial() * (of(*share) + of(1.0 - share))
            }
            Shape::Lognormal(deviation) => {
                (power * (power - 1.0) / 2.0 * deviation * deviation).exp()
            }
            Shape::Uniform { from, to } => {
                (to.powf(power + 1.0) - from.powf(power + 1.0)) / ((power + 1.0) * (to - from))
            }
            Shape::Pareto { tail, most, .. } if most.is_infinite() && *tail <= power => {
                f64::INFINITY
            }
            &Shape::Pareto { tail, least, most } => {
                let ratio = most / least;
                let whole = 1.0 - ratio.powf(-tail);
                least.powf(power) * tail * grown(power - tail, ratio) / whole
            }
        }
    }

    /// The probability that the rest of a service that is under way at any moment is longer than
    /// `time`, E\[(S - t)+\] / E\[S\]: the equilibrium excess of renewal theory.
    pub fn excess(&self, time: f64) -> f64 {
        let time = time.max(0.0);
        match &self.shape {
            Shape::Discrete(times) => {
                let longer = times.partition_point(|(each, _)| *each <= time);
                times[longer..].iter().map(|(each, share)| (each - time) * share).sum()
            }
            Shape::Exponential => (-time).exp(),
            Shape::Hyperexponential(share) => {
                let of = |share: f64| (-2.0 * share * time).exp();
                (of(*share) + of(1.0 - share)) / 2.0
            }
            Shape::Lognormal(_) if time == 0.0 => 1.0,
            Shape::Lognormal(deviation) => {
                let (mean, at) = (-deviation * deviation / 2.0, time.ln());
                let beyond = |mean: f64| erfc((at - mean) / (deviation * SQRT_2)) / 2.0;
                (beyond(-mean) - time * beyond(mean)).max(0.0)
            }
            Shape::Uniform { from, to } => match time {
                time if time <= *from => 1.0 - time,
                time => (to - time).max(0.0).powi(2) / (2.0 * (to - from)),
            },
            &Shape::Pareto { tail, least, most } => {
                least * Bounded { tail, ratio: most / least }.excess(time / least)
            }
        }
    }

    /// The mean of the shortest of the rests of `count` services that are under way: the time
    /// until one of as many busy workers becomes free. 1 / c for exponential services, 1 / (c + 1)
    /// for constant ones. Infinite if the law has a very heavy tail and there are few of them.
    pub fn least_residual(&self, count: u32) -> f64 {
        let power = f64::from(count);
        match &self.shape {
            Shape::Exponential => 1.0 / power,
            Shape::Discrete(times) => least_of_discrete(times, power),
            Shape::Pareto { tail, most, .. }
                if most.is_infinite() && (tail - 1.0) * power <= 1.0 =>
            {
                f64::INFINITY
            }
            _ => {
                // Simpson's rule over the logarithm of the time, from where the probability is
                // still 1 to where nothing is left.
                let from = (1e-9 / power).ln();
                let mut to = 0.0;
                while self.excess(f64::exp(to)).powf(power) * f64::exp(to) > 1e-12 && to < 600.0 {
                    to += 1.0;
                }
                let step = (to - from) / f64::from(STEPS);
                let value = |at: u32| {
                    let time = (from + step * f64::from(at)).exp();
                    let weight =
                        if at == 0 || at == STEPS { 1.0 } else { f64::from(2 + at % 2 * 2) };
                    weight * time * self.excess(time).powf(power)
                };
                from.exp() + step / 3.0 * (0..=STEPS).map(value).sum::<f64>()
            }
        }
    }
}

/// The integral of the excess to the power `power`: the excess is linear between the times.
fn least_of_discrete(times: &[(f64, f64)], power: f64) -> f64 {
    // From the longest time down: the excess grows by the share of the longer times.
    let (mut longer, mut excess, mut at, mut sum) = (0.0, 0.0f64, f64::NAN, 0.0);
    for &(time, share) in times.iter().rev().chain([&(0.0, 0.0)]) {
        if longer > 0.0 && time < at {
            let above = excess + longer * (at - time);
            sum += (above.powf(power + 1.0) - excess.powf(power + 1.0)) / (longer * (power + 1.0));
            excess = above;
        }
        (at, longer) = (time, longer + share);
    }
    sum
}

/// A Pareto law from 1 to `ratio`.
struct Bounded {
    tail: f64,
    ratio: f64,
}

impl Bounded {
    /// E\[(S - t)+\].
    fn excess(&self, time: f64) -> f64 {
        let Self { tail, ratio } = *self;
        if time >= ratio {
            return 0.0;
        }
        let from = time.max(1.0);
        let cut = ratio.powf(-tail);
        let rest = from.powf(1.0 - tail) * grown(1.0 - tail, ratio / from);
        let rest = if ratio.is_finite() { rest - cut * (ratio - from) } else { rest };
        (1.0 - time).max(0.0) + rest / (1.0 - cut)
    }
}

/// The integral of x^(k - 1) from 1 to `ratio`, which may be infinite if k is negative.
fn grown(k: f64, ratio: f64) -> f64 {
    let length = ratio.ln();
    if k.abs() < 1e-9 { length } else { (k * length).exp_m1() / k }
}

fn positive(what: &'static str, value: f64) -> Result<f64, TheoryError> {
    match finite(what, value)? {
        0.0 => Err(TheoryError::OutOfRange { what, value }),
        value => Ok(value),
    }
}
