//! When requests are meant to start: arrival processes.

use std::time::Duration;

/// Arrivals at rates that change from one stretch of time to the next.
///
/// Within a stretch the gaps are exponential (a Poisson process: clients that know nothing of one
/// another) or all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    /// Length of each stretch, and its rate in arrivals a second.
    stretches: Vec<(Duration, f64)>,
    gaps: Gaps,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Gaps {
    Exponential { seed: u64 },
    Equal,
}

impl Arrivals {
    /// A Poisson process of `rate` arrivals a second for `length`.
    pub fn poisson(rate: f64, length: Duration, seed: u64) -> Self {
        Self { stretches: vec![(length, rate)], gaps: Gaps::Exponential { seed } }
    }

    /// One arrival every `1 / rate` seconds for `length`.
    pub fn constant(rate: f64, length: Duration) -> Self {
        Self { stretches: vec![(length, rate)], gaps: Gaps::Equal }
    }

    /// The same process, followed by `length` more at another rate.
    pub fn then(mut self, rate: f64, length: Duration) -> Self {
        self.stretches.push((length, rate));
        self
    }

    /// The intended start times, in order, counted from the start of the load.
    ///
    /// A rate of zero or less has no arrivals.
    pub fn starts(&self) -> Vec<Duration> {
        let mut random = match self.gaps {
            Gaps::Exponential { seed } => Some(fastrand::Rng::with_seed(seed)),
            Gaps::Equal => None,
        };
        // A gap in units of the mean one.
        let mut gap = || match &mut random {
            // Inversion: -ln U is exponential with mean 1; U is never 0 here.
            Some(random) => -(1.0 - random.f64()).ln(),
            None => 1.0,
        };
        let mut starts = Vec::new();
        let mut from = 0.0;
        for &(length, rate) in &self.stretches {
            let to = from + length.as_secs_f64();
            if rate > 0.0 {
                // An exponential gap has no memory, so each stretch may draw its first anew.
                let mut gaps = gap();
                while from + gaps / rate < to {
                    starts.push(Duration::from_secs_f64(from + gaps / rate));
                    gaps += gap();
                }
            }
            from = to;
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_gaps_are_exponential() {
        let starts = Arrivals::poisson(1000.0, Duration::from_secs(100), 7).starts();
        let gaps: Vec<f64> =
            starts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1000.0).collect();
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        // Five standard errors: 1/sqrt(n) for the mean, sqrt(8/n) for the variance.
        assert!((mean - 1.0).abs() < 5.0 / count.sqrt(), "mean gap {mean}");
        assert!((variance - 1.0).abs() < 5.0 * (8.0 / count).sqrt(), "variance {variance}");
        let above = gaps.iter().filter(|&&gap| gap > 1.0).count() as f64 / count;
        assert!((above - (-1f64).exp()).abs() < 0.01, "P(gap > mean) {above}");
    }

    #[test]
    fn the_seed_decides() {
        let of = |seed| Arrivals::poisson(100.0, Duration::from_secs(1), seed).starts();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn stretches_follow_one_another() {
        let second = Duration::from_secs(1);
        let starts =
            Arrivals::constant(10.0, second).then(0.0, second).then(100.0, second).starts();
        let within = |from, to| {
            let range = Duration::from_secs(from)..Duration::from_secs(to);
            starts.iter().filter(|start| range.contains(start)).count()
        };
        assert_eq!((within(0, 1), within(1, 2), within(2, 3)), (9, 0, 99));
        assert!(starts.is_sorted());
    }
}
