//! The laws: their moments and their samples, in seconds.

use std::f64::consts::TAU;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// 2^64 over the golden ratio: the step of SplitMix64.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A law and its parameters in seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Law {
    /// Always this time.
    Constant(Duration),
    /// Exponential.
    Exponential {
        /// Its mean.
        mean: f64,
    },
    /// Lognormal.
    Lognormal {
        /// Its mean.
        mean: f64,
        /// Its coefficient of variation.
        cv: f64,
    },
    /// Two exponential branches, each with half of the load.
    Hyperexponential {
        /// Its mean.
        mean: f64,
        /// Its coefficient of variation.
        cv: f64,
    },
    /// Pareto.
    Pareto(Pareto),
    /// One of two times.
    Two {
        /// The shorter one.
        short: f64,
        /// The longer one.
        long: f64,
        /// The probability of the longer one.
        chance: f64,
    },
    /// Uniform.
    Uniform {
        /// The shortest time.
        from: f64,
        /// The longest time.
        to: f64,
    },
    /// One of many times.
    Trace(Arc<Trace>),
}

/// A Pareto law, bounded or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pareto {
    /// The mean.
    pub mean: f64,
    /// The tail index.
    pub tail: f64,
    /// The shortest time.
    pub least: f64,
    /// The longest time; infinite if there is none.
    pub most: f64,
}

/// Times that were measured.
#[derive(Debug, PartialEq)]
pub struct Trace {
    /// The times in ascending order.
    pub sorted: Vec<f64>,
    /// The file from which they are, as it was named.
    pub file: Option<PathBuf>,
    mean: f64,
}

impl Trace {
    /// Of these times.
    pub fn new(mut times: Vec<f64>, file: Option<PathBuf>) -> Self {
        times.sort_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
        Self { sorted: times, file, mean }
    }
}

impl Pareto {
    /// Without a longest time.
    pub fn unbounded(mean: f64, tail: f64) -> Self {
        Self { mean, tail, least: mean * (tail - 1.0) / tail, most: f64::INFINITY }
    }

    /// The law of this mean, by bisection for its shortest time. None if that is too near to zero.
    pub fn bounded(mean: f64, tail: f64, most: f64) -> Option<Self> {
        let of = |least: f64| Self { mean, tail, least, most };
        let (mut low, mut high) = (most * 1e-12, mean);
        if of(low).moment(1) > mean {
            return None;
        }
        for _ in 0..200 {
            let middle = (low * high).sqrt();
            *(if of(middle).moment(1) > mean { &mut high } else { &mut low }) = middle;
        }
        Some(of(low))
    }

    /// The n-th moment: the density is proportional to t^(-tail - 1).
    fn moment(&self, n: u32) -> f64 {
        let Self { tail, least, most, .. } = *self;
        let n = f64::from(n);
        if most.is_infinite() {
            return if tail > n { least.powf(n) * tail / (tail - n) } else { f64::INFINITY };
        }
        let (ratio, k) = ((most / least).ln(), n - tail);
        // (most^k - least^k) / k over least^k, in the form that loses no digits near k = 0.
        let grown = if k.abs() > 1e-9 { (k * ratio).exp_m1() / k } else { ratio };
        tail * least.powf(n) * grown / -(-tail * ratio).exp_m1()
    }

    fn at(&self, u: f64) -> f64 {
        let cut = (self.least / self.most).powf(self.tail);
        self.least * (cut + u * (1.0 - cut)).powf(-1.0 / self.tail)
    }
}

impl Law {
    /// The mean in seconds.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Constant(time) => time.as_secs_f64(),
            Self::Exponential { mean }
            | Self::Lognormal { mean, .. }
            | Self::Hyperexponential { mean, .. } => *mean,
            Self::Pareto(law) => law.mean,
            Self::Two { short, long, chance } => short + (long - short) * chance,
            Self::Uniform { from, to } => (from + to) / 2.0,
            Self::Trace(trace) => trace.mean,
        }
    }

    /// The n-th moment, E\[S^n\].
    pub fn moment(&self, n: u32) -> f64 {
        let power = f64::from(n);
        let factorial = || (1..=n).map(f64::from).product::<f64>();
        match self {
            Self::Constant(time) => time.as_secs_f64().powf(power),
            Self::Exponential { mean } => factorial() * mean.powf(power),
            Self::Lognormal { mean, cv } => {
                (power * mean.ln() + power * (power - 1.0) / 2.0 * (cv * cv).ln_1p()).exp()
            }
            &Self::Hyperexponential { mean, cv } => {
                let of = |share: f64| share * (mean / (2.0 * share)).powf(power);
                let share = balanced(cv);
                factorial() * (of(share) + of(1.0 - share))
            }
            Self::Pareto(law) => law.moment(n),
            Self::Two { short, long, chance } => {
                short.powf(power) * (1.0 - chance) + long.powf(power) * chance
            }
            Self::Uniform { from, to } => {
                let above = power + 1.0;
                (to.powf(above) - from.powf(above)) / (above * (to - from))
            }
            Self::Trace(trace) => {
                let sum: f64 = trace.sorted.iter().map(|time| time.powf(power)).sum();
                sum / trace.sorted.len() as f64
            }
        }
    }

    /// The sample of these random bits, by inversion (L. Devroye, Non-Uniform Random Variate
    /// Generation, 1986, chapter II.2), and for the normal law of a logarithm by Box and Muller
    /// (1958).
    pub fn sample(&self, bits: u64) -> f64 {
        let u = unit(bits);
        match self {
            Self::Constant(time) => time.as_secs_f64(),
            Self::Exponential { mean } => -mean * u.ln(),
            Self::Lognormal { mean, cv } => {
                let variance = (cv * cv).ln_1p();
                let angle = TAU * unit(mix(bits.wrapping_add(GOLDEN)));
                let normal = (-2.0 * u.ln()).sqrt() * angle.cos();
                mean * (variance.sqrt() * normal - variance / 2.0).exp()
            }
            &Self::Hyperexponential { mean, cv } => {
                let share = balanced(cv);
                // The rest of `u` is uniform again.
                let (share, rest) = match u < share {
                    true => (share, u / share),
                    false => (1.0 - share, (u - share) / (1.0 - share)),
                };
                -mean / (2.0 * share) * rest.max(f64::EPSILON).ln()
            }
            Self::Pareto(law) => law.at(u),
            Self::Two { short, long, chance } => *(if u < *chance { long } else { short }),
            Self::Uniform { from, to } => from + (to - from) * u,
            Self::Trace(trace) => {
                let index = (u * trace.sorted.len() as f64) as usize;
                trace.sorted.get(index).or(trace.sorted.last()).copied().unwrap_or_default()
            }
        }
    }
}

/// The share of the shorter branch of a hyperexponential law with balanced means.
pub fn balanced(cv: f64) -> f64 {
    let squared = cv * cv;
    (1.0 + ((squared - 1.0) / (squared + 1.0)).sqrt()) / 2.0
}

/// The finaliser of SplitMix64: each bit of the result depends on each bit of the argument.
pub fn mix(of: u64) -> u64 {
    let of = (of ^ (of >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let of = (of ^ (of >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    of ^ (of >> 31)
}

/// A number above 0 and below 1.
fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}
