//! The law of a service time: constant, random or from a trace.

mod law;
#[cfg(feature = "service-time")]
mod trace;
#[cfg(feature = "service-time")]
mod text;
#[cfg(test)]
mod tests;

pub use law::Law;

use law::{Pareto, Trace};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The longest mean of a random service time, and the longest time of a trace.
const LONGEST_MEAN: Duration = Duration::from_secs(3600);

/// The longest random service time. Longer ones are cut to it.
const LONGEST: f64 = 86_400.0;

/// The largest coefficient of variation, and the heaviest exponents that arithmetic still bears.
const MOST: f64 = 1000.0;

/// The law of a service time, such as that of a back-end ([`Delay`](super::Delay)).
///
/// A [`Duration`] is a constant service time. The others are random: service number n is a function
/// of n and of a seed, and services are independent of one another. A constructor takes the mean
/// where the law has one as a parameter, so that utilisation follows from it whatever the variation
/// is. With the feature `service-time`, a law is also parsed from a text and displays as that text:
///
/// | text | law |
/// |---|---|
/// | `20ms` | constant |
/// | `exp:20ms` | exponential, of mean 20 ms |
/// | `lognormal:20ms,cv=2` | lognormal, of mean 20 ms and coefficient of variation 2 |
/// | `pareto:20ms,tail=1.5` | Pareto, of mean 20 ms and tail index 1.5: its variance is infinite |
/// | `pareto:20ms,tail=1.5,most=10s` | the same without services of more than 10 s, of mean 20 ms |
/// | `two:1ms,200ms,p=.01` | 200 ms with probability 0.01, else 1 ms |
/// | `uniform:1ms,9ms` | uniform between 1 and 9 ms |
/// | `hyper:20ms,cv=2` | hyperexponential: a mixture of two exponential laws with balanced means |
/// | `trace:FILE` | one of the times in a file: one a line, or an access log in JSON |
///
/// A random law may end with `,seed=N`.
///
/// ```
/// use cws::ServiceTime;
/// use std::time::Duration;
///
/// let law = ServiceTime::exponential(Duration::from_millis(20))?;
/// assert_eq!(law.mean(), Duration::from_millis(20));
/// assert_eq!(law.squared_variation(), 1.0);
/// let services: Vec<Duration> = (0..1000).map(|number| law.sample(number)).collect();
/// # assert_eq!(services.len(), 1000);
/// # Ok::<(), cws::ServiceTimeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceTime {
    law: Law,
    seed: u64,
}

/// Why a law of a service time cannot be: what is wrong with it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTimeError {
    text: String,
}

impl ServiceTimeError {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

impl fmt::Display for ServiceTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ServiceTimeError {}

impl From<Duration> for ServiceTime {
    fn from(time: Duration) -> Self {
        Law::Constant(time).into()
    }
}

impl From<Law> for ServiceTime {
    fn from(law: Law) -> Self {
        Self { law, seed: Self::SEED }
    }
}

/// No time at all.
impl Default for ServiceTime {
    fn default() -> Self {
        Duration::ZERO.into()
    }
}

impl ServiceTime {
    /// The seed of a law for which none is given.
    pub const SEED: u64 = 1;

    /// The exponential law of this mean: its coefficient of variation is 1.
    ///
    /// # Errors
    ///
    /// If the mean is zero or longer than an hour. This holds for the other laws, too.
    pub fn exponential(mean: Duration) -> Result<Self, ServiceTimeError> {
        Ok(Law::Exponential { mean: positive("the mean", mean)? }.into())
    }

    /// The lognormal law of this mean and coefficient of variation.
    ///
    /// # Errors
    ///
    /// If the coefficient of variation is not above 0, or above 1000.
    pub fn lognormal(mean: Duration, cv: f64) -> Result<Self, ServiceTimeError> {
        let mean = positive("the mean", mean)?;
        let what = "the coefficient of variation cv of a lognormal law";
        let cv = within(what, cv, f64::MIN_POSITIVE, "a number above 0 (0 is a constant time)")?;
        Ok(Law::Lognormal { mean, cv }.into())
    }

    /// The hyperexponential law of two branches with balanced means, of this mean and coefficient
    /// of variation (Tijms 2003, appendix B).
    ///
    /// # Errors
    ///
    /// If the coefficient of variation is below 1 or above 1000.
    pub fn hyperexponential(mean: Duration, cv: f64) -> Result<Self, ServiceTimeError> {
        let mean = positive("the mean", mean)?;
        let what = "the coefficient of variation cv of a hyperexponential law";
        let cv = within(what, cv, 1.0, "at least 1 (below it, take lognormal)")?;
        Ok(Law::Hyperexponential { mean, cv }.into())
    }

    /// The Pareto law of this mean: P(S > t) falls as t^-tail. At a tail index of 2 or below, the
    /// variance is infinite. Samples are cut to a day.
    ///
    /// # Errors
    ///
    /// If the tail index is 1 or less, where the mean is infinite, or above 1000.
    pub fn pareto(mean: Duration, tail: f64) -> Result<Self, ServiceTimeError> {
        let mean = positive("the mean", mean)?;
        let todo = "above 1 (at 1 and below, the mean is infinite; or bound the law with most=..)";
        let tail = within("the tail index of a Pareto law", tail, 1.0 + 1e-6, todo)?;
        Ok(Law::Pareto(Pareto::unbounded(mean, tail)).into())
    }

    /// The Pareto law without services longer than `most`, of this mean.
    ///
    /// # Errors
    ///
    /// If the tail index is not above 0, or above 1000, or if `most` is not longer than the mean.
    pub fn bounded_pareto(
        mean: Duration,
        tail: f64,
        most: Duration,
    ) -> Result<Self, ServiceTimeError> {
        let mean = positive("the mean", mean)?;
        let tail = within("the tail index of a Pareto law", tail, 1e-3, "above 0")?;
        let most = positive("the longest time of a Pareto law", most)?;
        if most <= mean * 1.001 {
            return Err(ServiceTimeError::new(
                "the longest time of a Pareto law must be longer than its mean (give a larger \
                 most=.., or a constant time)",
            ));
        }
        Pareto::bounded(mean, tail, most).map(|law| Law::Pareto(law).into()).ok_or_else(|| {
            ServiceTimeError::new(format!(
                "no Pareto law of tail index {tail} has this mean and this longest time (give \
                 times that are nearer to each other)"
            ))
        })
    }

    /// `long` with this probability, else `short`.
    ///
    /// # Errors
    ///
    /// If the probability is not between 0 and 1, or `long` is not longer than `short`.
    pub fn two(short: Duration, long: Duration, chance: f64) -> Result<Self, ServiceTimeError> {
        let todo = "a probability between 0 and 1";
        let chance = within("p, the share of the long services,", chance, 0.0, todo)?;
        if chance > 1.0 {
            return Err(ServiceTimeError::new(format!(
                "p, the share of the long services, cannot be {chance}: it must be {todo}"
            )));
        }
        let long = positive("the longer time", long)?;
        let short = ordered("two", short, long)?;
        Ok(Law::Two { short, long, chance }.into())
    }

    /// The uniform law between two times.
    ///
    /// # Errors
    ///
    /// If `to` is not longer than `from`.
    pub fn uniform(from: Duration, to: Duration) -> Result<Self, ServiceTimeError> {
        let to = positive("the longer time", to)?;
        let from = ordered("uniform", from, to)?;
        Ok(Law::Uniform { from, to }.into())
    }

    /// The empirical law of these times: each service is one of them, drawn at random.
    ///
    /// # Errors
    ///
    /// If there are no times, or one of them is longer than an hour.
    pub fn trace(times: impl IntoIterator<Item = Duration>) -> Result<Self, ServiceTimeError> {
        let mut seconds = Vec::new();
        for time in times {
            if time > LONGEST_MEAN {
                return Err(ServiceTimeError::new(format!(
                    "a time of {time:?} is longer than an hour (leave it out of the trace)"
                )));
            }
            seconds.push(time.as_secs_f64());
        }
        if seconds.is_empty() {
            return Err(ServiceTimeError::new("there are no times in it (give at least one)"));
        }
        Ok(Law::Trace(Arc::new(Trace::new(seconds, None))).into())
    }

    /// The same law with another seed, that is with other samples.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        match &self.law {
            Law::Constant(time) => *time,
            law => seconds(law.mean()),
        }
    }

    /// The squared coefficient of variation, variance / mean^2: 0 for a constant time, 1 for an
    /// exponential one. Infinite for a Pareto law whose tail index is 2 or less.
    pub fn squared_variation(&self) -> f64 {
        match self.constant() {
            Some(_) => 0.0,
            None => (self.moment(2) - 1.0).max(0.0),
        }
    }

    /// The n-th moment over the n-th power of the mean, E\[S^n\] / E\[S\]^n. Infinite where the law
    /// has none; 1 for a constant time, and if the mean is zero.
    pub fn moment(&self, n: u32) -> f64 {
        let mean = self.law.mean();
        if mean > 0.0 { self.law.moment(n) / mean.powf(f64::from(n)) } else { 1.0 }
    }

    /// The time, if it is constant.
    pub fn constant(&self) -> Option<Duration> {
        match self.law {
            Law::Constant(time) => Some(time),
            _ => None,
        }
    }

    /// True for constant and for exponential times: the mean wait in a queue with several workers
    /// is known for them. For other laws, mean and variation do not determine it: laws that agree
    /// in both differ in the wait (V. Gupta, J. Dai, M. Harchol-Balter and B. Zwart, On the
    /// inapproximability of M/G/K, Queueing Systems 64, 2010).
    pub fn is_known_by_two_moments(&self) -> bool {
        matches!(self.law, Law::Constant(_) | Law::Exponential { .. })
    }

    /// Service number `number`. The same number of the same law with the same seed is the same
    /// time, on every machine.
    pub fn sample(&self, number: u64) -> Duration {
        match self.law {
            Law::Constant(time) => time,
            _ => seconds(self.sample_seconds(number)),
        }
    }

    /// The same in seconds, for simulations.
    pub fn sample_seconds(&self, number: u64) -> f64 {
        self.law.sample(random(self.seed, number)).min(LONGEST)
    }
}

/// The law of a service time, for the lab.
#[cfg(feature = "internals")]
pub fn law(service: &ServiceTime) -> &Law {
    &service.law
}

/// Number `number` of the sequence of this seed: SplitMix64 (G. Steele, D. Lea and C. Flood, Fast
/// splittable pseudorandom number generators, OOPSLA 2014), from a counter that threads share.
fn random(seed: u64, number: u64) -> u64 {
    law::mix(law::mix(seed).wrapping_add(number.wrapping_mul(law::GOLDEN)))
}

/// Seconds as a time. Nanoseconds are rounded, and neither signs nor sizes can make it fail.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, LONGEST)).unwrap_or_default()
}

fn positive(what: &str, time: Duration) -> Result<f64, ServiceTimeError> {
    if time.is_zero() {
        return Err(ServiceTimeError::new(format!("{what} must be longer than zero")));
    }
    if time > LONGEST_MEAN {
        return Err(ServiceTimeError::new(format!("{what} must not be longer than an hour")));
    }
    Ok(time.as_secs_f64())
}

/// A number that is not below `least` and not above [`MOST`].
fn within(what: &str, value: f64, least: f64, todo: &str) -> Result<f64, ServiceTimeError> {
    if value.is_nan() || value < least {
        return Err(ServiceTimeError::new(format!("{what} cannot be {value}: it must be {todo}")));
    }
    if value > MOST {
        return Err(ServiceTimeError::new(format!(
            "{what} cannot be {value}: it must be at most {MOST}"
        )));
    }
    Ok(value)
}

fn ordered(law: &str, short: Duration, long: f64) -> Result<f64, ServiceTimeError> {
    match short.as_secs_f64() {
        short if short < long => Ok(short),
        _ => Err(ServiceTimeError::new(format!(
            "the second time of the law {law} must be longer than the first (exchange them)"
        ))),
    }
}
