//! A sample of times that keeps all of them, so that mean and percentiles are exact.

use std::time::Duration;

/// Times in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    sorted: Vec<Duration>,
}

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut sorted: Vec<Duration> = times.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }
}

impl Sample {
    /// The times in ascending order.
    pub fn times(&self) -> impl Iterator<Item = Duration> + '_ {
        self.sorted.iter().copied()
    }

    /// The number of times.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The arithmetic mean; zero without times.
    pub fn mean(&self) -> Duration {
        let nanos: u128 = self.sorted.iter().map(Duration::as_nanos).sum();
        let mean = nanos.checked_div(self.sorted.len() as u128).unwrap_or_default();
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The shortest time that a share `p` of the times does not exceed; zero without times.
    pub fn percentile(&self, p: f64) -> Duration {
        let rank = (self.sorted.len() as f64 * p).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The share of the times that are longer than `time`; zero without times.
    pub fn share_beyond(&self, time: Duration) -> f64 {
        let up_to = self.sorted.partition_point(|each| *each <= time);
        (self.sorted.len() - up_to) as f64 / self.sorted.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_percentiles_are_exact() {
        let sample: Sample = [4, 1, 3, 2].map(Duration::from_millis).into_iter().collect();
        assert_eq!(sample.mean(), Duration::from_micros(2500));
        let ranks = [(0.0, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.99, 4), (1.0, 4)];
        for (p, millis) in ranks {
            assert_eq!(sample.percentile(p), Duration::from_millis(millis), "{p}");
        }
        assert_eq!(sample.share_beyond(Duration::from_millis(3)), 0.25);
        let empty = Sample::default();
        assert_eq!((empty.mean(), empty.percentile(0.5)), (Duration::ZERO, Duration::ZERO));
        assert_eq!(empty.share_beyond(Duration::ZERO), 0.0);
    }
}
