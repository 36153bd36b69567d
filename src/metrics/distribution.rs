//! A distribution of durations: quantiles within 1 %, and the exact mean and variation.

use super::moments::Moments;
use hdrhistogram::Histogram;
use std::time::Duration;

/// The longest duration that is told apart, in nanoseconds; longer ones count as this one.
const LONGEST: u64 = 3600 * 1_000_000_000;

/// Resolution of short durations, in nanoseconds.
const GRAIN: u64 = 1000;

/// Significant decimal digits of a quantile.
const DIGITS: u8 = 2;

/// Durations of one kind of event.
#[derive(Debug, Clone, Default)]
pub struct Distribution {
    /// Made by the first duration, and as long as the longest one needs: each worker has several.
    histogram: Option<Histogram<u64>>,
    moments: Moments,
}

/// A histogram without durations, which grows with them.
fn empty() -> Histogram<u64> {
    let histogram = Histogram::new_with_bounds(GRAIN, 2 * GRAIN, DIGITS);
    let mut histogram = histogram.expect("the bounds are constants");
    histogram.auto(true);
    histogram
}

impl Distribution {
    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        self.record_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds one duration of this many nanoseconds.
    pub(super) fn record_nanos(&mut self, nanos: u64) {
        self.count_many(nanos, 1);
        self.moments.record(nanos);
    }

    /// Adds `count` durations of zero.
    pub(super) fn record_zeros(&mut self, count: u64) {
        if count > 0 {
            self.count_many(0, count);
            self.moments.record_zeros(count);
        }
    }

    fn count_many(&mut self, nanos: u64, count: u64) {
        let histogram = self.histogram.get_or_insert_with(empty);
        if let Err(error) = histogram.record_n(nanos.min(LONGEST), count) {
            log::error!("cannot count a duration: {error:?}");
        }
    }

    /// Adds all durations of another distribution.
    pub fn add(&mut self, other: &Self) {
        if let Some(histogram) = &other.histogram
            && let Err(error) = self.histogram.get_or_insert_with(empty).add(histogram)
        {
            log::error!("cannot add up durations: {error:?}");
        }
        self.moments.add(other.moments);
    }

    /// The durations that were added since `earlier`, a former state of this one.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut rest = self.clone();
        if let (Some(histogram), Some(earlier)) = (&mut rest.histogram, &earlier.histogram)
            && let Err(error) = histogram.subtract(earlier)
        {
            log::error!("cannot tell what is new among durations: {error:?}");
        }
        rest.moments = self.moments.since(earlier.moments);
        rest
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.moments.count()
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        from_nanos(self.moments.sum())
    }

    /// The arithmetic mean; none if there are no durations.
    pub fn mean(&self) -> Option<Duration> {
        Some(from_nanos(self.moments.sum().checked_div(u128::from(self.count()))?))
    }

    /// The squared coefficient of variation: the variance divided by the square of the mean. It is
    /// 0 for constant durations and 1 for exponential ones; none if there are no durations.
    pub fn squared_variation(&self) -> Option<f64> {
        self.moments.squared_variation()
    }

    /// The duration that a fraction `quantile` of all does not exceed; none if there are none.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let histogram = self.histogram.as_ref().filter(|_| self.count() > 0)?;
        Some(Duration::from_nanos(histogram.value_at_quantile(quantile)))
    }

    /// The number of durations up to `most`, at the resolution of the quantiles.
    pub fn count_up_to(&self, most: Duration) -> u64 {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.as_ref().map_or(0, |histogram| histogram.count_between(0, nanos))
    }
}

/// A duration of this many nanoseconds. No sum of durations here comes near the largest one.
fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(nanos / SECOND).unwrap_or(u64::MAX);
    Duration::new(seconds, (nanos % SECOND) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(nanos: &[u64]) -> Distribution {
        let mut distribution = Distribution::default();
        nanos.iter().for_each(|&nanos| distribution.record(Duration::from_nanos(nanos)));
        distribution
    }

    #[test]
    fn nothing_has_no_mean() {
        let none = Distribution::default();
        assert_eq!((none.count(), none.mean(), none.quantile(0.5)), (0, None, None));
        assert_eq!(none.squared_variation(), None);
    }

    /// A reader adds up distributions of any range, whether they have durations or not.
    #[test]
    fn a_distribution_takes_no_memory_before_its_first_duration() {
        let mut sum = Distribution::default();
        sum.record_zeros(0);
        sum.add(&Distribution::default());
        let rest = sum.since(&Distribution::default());
        for none in [&sum, &rest, &sum.clone()] {
            assert!(none.histogram.is_none());
            assert_eq!((none.count(), none.count_up_to(Duration::MAX)), (0, 0));
        }
        sum.add(&of(&[1000]));
        sum.add(&of(&[u64::MAX]));
        assert_eq!((sum.count(), sum.count_up_to(Duration::from_secs(1))), (2, 1));
    }

    #[test]
    fn what_is_longer_than_the_longest_is_kept() {
        let long = of(&[u64::MAX, 1]);
        assert_eq!(long.count(), 2);
        assert!(long.quantile(1.0) >= Some(Duration::from_nanos(LONGEST)));
    }

    #[test]
    fn variation_is_that_of_the_sample() {
        let millis = |millis: u64| millis * 1_000_000;
        assert_eq!(of(&[millis(5); 9]).squared_variation().map(|v| v < 1e-9), Some(true));
        let two = of(&[millis(1), millis(3)]);
        assert!((two.squared_variation().unwrap_or(9.0) - 0.25).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sample(
            mut nanos in prop::collection::vec(1_000..3_600_000_000_000_u64, 1..200),
            quantile in 0.0..=1.0_f64,
        ) {
            let distribution = of(&nanos);
            nanos.sort_unstable();
            let rank = ((quantile * nanos.len() as f64).ceil() as usize).clamp(1, nanos.len());
            let exact = nanos[rank - 1] as f64;
            let got = distribution.quantile(quantile).map_or(0.0, |q| q.as_nanos() as f64);
            prop_assert!((got - exact).abs() <= exact * 0.01 + 512.0, "{got} for {exact}");
        }

        #[test]
        fn parts_add_up_and_come_off_again(
            one in prop::collection::vec(0..1_000_000_000_u64, 0..50),
            two in prop::collection::vec(0..1_000_000_000_u64, 0..50),
        ) {
            let (first, mut both) = (of(&one), of(&one));
            both.add(&of(&two));
            let rest = both.since(&first);
            prop_assert_eq!(rest.count(), two.len() as u64);
            prop_assert_eq!(rest.sum().as_nanos(), u128::from(two.iter().sum::<u64>()));
            prop_assert_eq!(rest.quantile(0.5), of(&two).quantile(0.5));
        }
    }
}
