//! Times in an HdrHistogram: percentiles with three significant digits, and its text form.

use hdrhistogram::Histogram;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// Significant decimal digits of each value.
const DIGITS: u8 = 3;

/// The longest time that is told apart, in nanoseconds: more than a century.
const LONGEST: u64 = u64::MAX / 4;

/// Lines of the text form between a percentile and the one that halves what lies beyond it: the
/// default of `outputPercentileDistribution`.
const TICKS: u32 = 5;

/// The parts of one in the text form.
const PICO: u64 = 1_000_000_000_000;

/// Nanoseconds in the unit of the text form, a millisecond.
const MILLI: f64 = 1e6;

/// Times of one kind. It grows with the longest one, to at most a megabyte.
#[derive(Clone)]
pub struct Times {
    histogram: Histogram<u64>,
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Times");
        shown.field("count", &self.count()).field("median", &self.quantile(0.5));
        shown.field("most", &self.most()).finish_non_exhaustive()
    }
}

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new(DIGITS);
        let mut histogram = histogram.expect("three digits are allowed");
        histogram.auto(true);
        Self { histogram }
    }
}

impl Times {
    /// Adds a time.
    pub fn record(&mut self, time: Duration) {
        self.record_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), 1);
    }

    /// Adds a time of so many nanoseconds `count` times.
    pub fn record_nanos(&mut self, nanos: u64, count: u64) {
        if let Err(error) = self.histogram.record_n(nanos.min(LONGEST), count) {
            log::error!("cannot count a time: {error:?}");
        }
    }

    /// Adds all times of another one.
    pub fn add(&mut self, other: &Self) {
        other.recorded().for_each(|(nanos, count)| self.record_nanos(nanos, count));
    }

    /// The number of times.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The time that this fraction of all does not exceed, as HdrHistogram's `value_at_quantile`
    /// gives it: the longest time that it does not distinguish from the one of this rank.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let value = || Duration::from_nanos(self.histogram.value_at_quantile(quantile));
        (self.count() > 0).then(value)
    }

    /// The same for a sample of `all` times, of which this one has the shortest. `None` if the
    /// fraction includes others.
    pub fn quantile_of(&self, quantile: f64, all: u64) -> Option<Duration> {
        let answered = self.count();
        if all == answered {
            return self.quantile(quantile);
        }
        // The rank, from 1. Half a rank less finds the same one in spite of rounding errors.
        let rank = (all as f64 * quantile).ceil().max(1.0);
        if rank > answered as f64 {
            return None;
        }
        self.quantile((rank - 0.5) / answered as f64)
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.histogram.mean() as u64))
    }

    /// The standard deviation.
    pub fn deviation(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.histogram.stdev() as u64))
    }

    /// The shortest time.
    pub fn least(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.histogram.min()))
    }

    /// The longest time.
    pub fn most(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.histogram.max()))
    }

    /// The distinguished values in nanoseconds, and how often each occurs.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self.histogram.iter_recorded();
        recorded.map(|value| (value.value_iterated_to(), value.count_at_value()))
    }

    /// Removes all times.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// Writes the percentile distribution in milliseconds, as `outputPercentileDistribution` of
    /// HdrHistogram does with 5 ticks and a scaling ratio of 10^6 (`AbstractHistogram.java` in
    /// <https://github.com/HdrHistogram/HdrHistogram>). Files of this kind end in `.hgrm`.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    pub fn write_percentiles(&self, out: &mut dyn Write) -> io::Result<()> {
        let histogram = &self.histogram;
        let millis = |nanos: f64| nanos / MILLI;
        let digits = usize::from(DIGITS);
        let [value, percentile, total, beyond] = HEADINGS;
        writeln!(out, "{value:>12} {percentile:>14} {total:>10} {beyond:>14}\n")?;
        self.steps(|nanos, percentile, total| {
            // The original rounds halves up, in the decimal form.
            let micros = nanos.saturating_add(500) / 1000;
            let value = format!("{}.{:03}", micros / 1000, micros % 1000);
            let quantile = (percentile * 1e10 + 0.5).floor() as u64;
            let (whole, rest) = (quantile / PICO, quantile % PICO);
            write!(out, "{value:>12} {whole}.{rest:012} {total:10}")?;
            match percentile < 100.0 {
                true => writeln!(out, " {:14.2}", 1.0 / (1.0 - percentile / 100.0)),
                false => writeln!(out),
            }
        })?;
        let (mean, deviation) = (millis(histogram.mean()), millis(histogram.stdev()));
        writeln!(out, "#[Mean    = {mean:12.digits$}, StdDeviation   = {deviation:12.digits$}]")?;
        let (most, count) = (millis(histogram.max() as f64), self.count());
        writeln!(out, "#[Max     = {most:12.digits$}, Total count    = {count:12}]")?;
        let (buckets, parts) = self.buckets();
        writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {parts:12}]")
    }

    /// Passes on each line of the text form: a time in nanoseconds, a percentile, and the number of
    /// times up to it. The steps are those of `PercentileIterator.java`: percentiles, and not
    /// fractions of one, as their sums have other rounding errors.
    fn steps(&self, mut each: impl FnMut(u64, f64, u64) -> io::Result<()>) -> io::Result<()> {
        let all = self.count();
        let (mut level, mut total) = (0.0, 0);
        for (nanos, count) in self.recorded() {
            total += count;
            while 100.0 * (total as f64) / (all as f64) >= level {
                each(nanos, level, total)?;
                if total == all {
                    return each(nanos, 100.0, total);
                }
                let halves = ((100.0 / (100.0 - level)).ln() / 2.0_f64.ln()) as i32 + 1;
                level += 100.0 / (f64::from(TICKS) * 2.0_f64.powi(halves));
            }
        }
        Ok(())
    }

    /// The number of buckets, each for values up to twice as long as those of the one before, and
    /// the number of values that are told apart in the first one.
    fn buckets(&self) -> (u8, u64) {
        (self.histogram.buckets(), 2 * 10_u64.pow(DIGITS.into()).next_power_of_two())
    }
}

/// The columns of the text form.
const HEADINGS: [&str; 4] = ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(nanos: &[u64]) -> Times {
        let mut times = Times::default();
        nanos.iter().for_each(|&nanos| times.record(Duration::from_nanos(nanos)));
        times
    }

    #[test]
    fn nothing_has_no_percentile() {
        let none = Times::default();
        assert_eq!((none.count(), none.quantile(0.5), none.mean()), (0, None, None));
        assert_eq!((none.least(), none.most(), none.deviation()), (None, None, None));
        let mut text = Vec::new();
        none.write_percentiles(&mut text).expect("memory");
        let text = String::from_utf8(text).expect("text");
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    /// `tests/data/percentiles.hgrm` is what the original, HdrHistogram 2.1.11 in Java, writes for
    /// the same times.
    #[test]
    fn the_text_form_is_the_one_of_hdrhistogram() {
        let mut times = Times::default();
        for number in 1..=10_000_u64 {
            times.record_nanos(number * number * 100 + 37_000, 1);
        }
        let mut text = Vec::new();
        times.write_percentiles(&mut text).expect("memory");
        let text = String::from_utf8(text).expect("text");
        let expected = include_str!("../../../tests/data/percentiles.hgrm");
        for (got, expected) in text.lines().zip(expected.lines()) {
            assert_eq!(got, expected);
        }
        assert_eq!(text, expected);
    }

    #[test]
    fn the_longest_time_has_room() {
        let times = of(&[1, u64::MAX, u64::MAX]);
        assert!(times.quantile(1.0) > Some(Duration::from_secs(1 << 31)), "{times:?}");
        assert_eq!(times.count(), 3);
    }

    proptest! {
        /// Whatever the sample, percentiles are those of a histogram of the crate's own making, and
        /// within a thousandth of the exact ones.
        #[test]
        fn percentiles_are_those_of_hdrhistogram(
            mut nanos in prop::collection::vec(0..3_600_000_000_000_u64, 1..300),
            failures in 0..50_u64,
        ) {
            let times = of(&nanos);
            let mut own = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3)
                .expect("valid bounds");
            nanos.iter().for_each(|&value| own.record(value).expect("within the bounds"));
            nanos.sort_unstable();
            let all = nanos.len() as u64 + failures;
            for percent in [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0] {
                let quantile = percent / 100.0;
                let got = times.quantile(quantile).map(|time| time.as_nanos() as u64);
                prop_assert_eq!(got, Some(own.value_at_quantile(quantile)));
                // With failures, which are the slowest.
                let rank = ((all as f64 * quantile).ceil() as usize).max(1);
                let exact = nanos.get(rank - 1).map(|&exact| exact as f64);
                let got = times.quantile_of(quantile, all).map(|time| time.as_nanos() as f64);
                prop_assert_eq!(got.is_some(), exact.is_some());
                if let (Some(got), Some(exact)) = (got, exact) {
                    prop_assert!((got - exact).abs() <= exact * 1e-3 + 1.0, "{} {}", got, exact);
                }
            }
            let mut parts = Times::default();
            parts.add(&of(&nanos[..nanos.len() / 2]));
            parts.add(&of(&nanos[nanos.len() / 2..]));
            prop_assert!(parts.recorded().eq(times.recorded()));
        }
    }
}
