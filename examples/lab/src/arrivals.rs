//! Arrival processes: when requests are meant to start.

use crate::chance::exponential;
use std::time::Duration;

/// The largest number of arrivals in a trace or process. Each outcome is kept in memory.
pub const ARRIVALS_MOST: usize = 20_000_000;

/// An arrival process.
///
/// The gaps are drawn at rate 1 and scaled by the [`Rate`]: the k-th arrival is at the time when
/// the integral of the rate reaches the sum of the first k gaps. With exponential gaps this is the
/// Poisson process of this rate, constant or not (the time-rescaling theorem; L. Devroye,
/// Non-Uniform Random Variate Generation, 1986, chapter VI.1.3).
#[derive(Debug, Clone, PartialEq)]
pub enum Arrivals {
    /// Exponential gaps: independent clients.
    Poisson {
        /// Arrivals a second.
        rate: Rate,
        /// Seed of the random gaps.
        seed: u64,
    },
    /// Equal gaps.
    Constant {
        /// Arrivals a second.
        rate: Rate,
    },
    /// Given start times, in order, from the start of the load.
    Trace(Vec<Duration>),
}

/// When a load ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// After this number of requests.
    Count(u64),
    /// After this time. Requests that have started are finished.
    After(Duration),
}

/// The arrival rate per second as a piecewise linear function of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// The length of each piece, and its rates at the start and the end.
    pieces: Vec<(Duration, f64, f64)>,
    /// The rate after the last piece.
    last: f64,
}

impl Rate {
    /// A constant rate.
    pub fn constant(rate: f64) -> Self {
        Self { pieces: Vec::new(), last: rate }
    }

    /// Rises or falls from one rate to another within `length`, then stays constant.
    pub fn ramp(from: f64, to: f64, length: Duration) -> Self {
        Self { pieces: vec![(length, from, to)], last: to }
    }

    /// The rate `base`, but `peak` for `length` from `start` on.
    pub fn burst(base: f64, peak: f64, start: Duration, length: Duration) -> Self {
        Self { pieces: vec![(start, base, base), (length, peak, peak)], last: base }
    }

    /// The current rate until `length` after the last change, then another one.
    pub fn then(mut self, length: Duration, rate: f64) -> Self {
        self.pieces.push((length, self.last, self.last));
        self.last = rate;
        self
    }

    /// Rises or falls from the current rate to another one within `length` after the last change.
    pub fn then_ramp(mut self, length: Duration, rate: f64) -> Self {
        self.pieces.push((length, self.last, rate));
        self.last = rate;
        self
    }

    /// The same rate, but `peak` for `length` from `start` on.
    pub fn with_burst(self, peak: f64, start: Duration, length: Duration) -> Self {
        let end = start.saturating_add(length);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut begin = Duration::ZERO;
        for &(length, ..) in &self.pieces {
            let stop = begin.saturating_add(length);
            before.extend(self.part(begin, stop.min(start)));
            after.extend(self.part(begin.max(end), stop));
            begin = stop;
        }
        before.extend(self.part(begin, start));
        before.push((length, peak, peak));
        before.extend(after);
        Self { pieces: before, last: self.last }
    }

    /// The piece from `begin` to `end`, within which the rate is linear.
    fn part(&self, begin: Duration, end: Duration) -> Option<(Duration, f64, f64)> {
        let length = end.checked_sub(begin).filter(|length| !length.is_zero())?;
        // A rate that jumps at the end has its value before the jump there.
        let (from, middle) = (self.at(begin), self.at(begin + length / 2));
        Some((length, from, 2.0 * middle - from))
    }

    /// The mean number of arrivals until a time: the integral of the rate.
    pub fn expected(&self, until: Duration) -> f64 {
        let (mut begin, mut sum) = (Duration::ZERO, 0.0);
        for &(length, from, to) in &self.pieces {
            let within = until.saturating_sub(begin).min(length);
            if !length.is_zero() {
                let end = from + (to - from) * within.div_duration_f64(length);
                sum += (from + end) / 2.0 * within.as_secs_f64();
            }
            begin = begin.saturating_add(length);
        }
        sum + self.last * until.saturating_sub(begin).as_secs_f64()
    }

    /// The time of the last change.
    pub fn length(&self) -> Duration {
        self.pieces.iter().fold(Duration::ZERO, |sum, (length, ..)| sum.saturating_add(*length))
    }

    /// The rate at a time.
    pub fn at(&self, time: Duration) -> f64 {
        let mut begin = Duration::ZERO;
        for &(length, from, to) in &self.pieces {
            if time < begin + length {
                return from + (to - from) * (time - begin).div_duration_f64(length);
            }
            begin += length;
        }
        self.last
    }

    /// The time in seconds at which this many arrivals are due. `None` if that is never the case.
    fn time_of(&self, arrivals: f64) -> Option<f64> {
        let (mut begin, mut left) = (0.0, arrivals);
        for &(length, from, to) in &self.pieces {
            let length = length.as_secs_f64();
            let (from, to) = (from.max(0.0), to.max(0.0));
            let within = (from + to) / 2.0 * length;
            if left <= within && within > 0.0 {
                return Some(begin + reach(left, from, (to - from) / length));
            }
            begin += length;
            left -= within;
        }
        (self.last > 0.0).then(|| begin + left / self.last)
    }
}

/// The time when the integral of `from + slope t` reaches `area`: the smaller root of the
/// quadratic, in the form that loses no digits if the slope is small.
fn reach(area: f64, from: f64, slope: f64) -> f64 {
    let root = (from * from + 2.0 * slope * area).max(0.0).sqrt();
    if from + root > 0.0 { 2.0 * area / (from + root) } else { 0.0 }
}

impl From<f64> for Rate {
    fn from(rate: f64) -> Self {
        Self::constant(rate)
    }
}

impl Arrivals {
    /// A Poisson process of `rate` arrivals a second.
    pub fn poisson(rate: impl Into<Rate>, seed: u64) -> Self {
        Self::Poisson { rate: rate.into(), seed }
    }

    /// One arrival every `1 / rate` seconds.
    pub fn constant(rate: impl Into<Rate>) -> Self {
        Self::Constant { rate: rate.into() }
    }

    /// The intended start times in order, from the start of the load; at most [`ARRIVALS_MOST`].
    ///
    /// If the rate falls to zero for good, the arrivals end there, regardless of `stop`.
    pub fn starts(&self, stop: Stop) -> Vec<Duration> {
        let (most, end) = match stop {
            Stop::Count(count) => (usize::try_from(count).unwrap_or(ARRIVALS_MOST), Duration::MAX),
            Stop::After(length) => (ARRIVALS_MOST, length),
        };
        let most = most.min(ARRIVALS_MOST);
        match self {
            Self::Poisson { rate, seed } => {
                let mut random = fastrand::Rng::with_seed(*seed);
                drawn(rate, || exponential(&mut random), most, end)
            }
            Self::Constant { rate } => drawn(rate, || 1.0, most, end),
            Self::Trace(starts) => {
                starts.iter().copied().take_while(|start| *start < end).take(most).collect()
            }
        }
    }
}

fn drawn(rate: &Rate, mut gap: impl FnMut() -> f64, most: usize, end: Duration) -> Vec<Duration> {
    let mut starts = Vec::new();
    let mut sum = 0.0;
    while starts.len() < most {
        sum += gap();
        let Some(start) = rate.time_of(sum) else { break };
        match Duration::try_from_secs_f64(start) {
            Ok(start) if start < end => starts.push(start),
            _ => break,
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::Moments;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gaps(starts: &[Duration]) -> Vec<f64> {
        starts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let starts = Arrivals::poisson(1000.0, 7).starts(Stop::Count(100_000));
        assert_eq!(starts.len(), 100_000);
        let gaps: Vec<f64> = gaps(&starts).iter().map(|gap| gap * 1000.0).collect();
        let count = gaps.len() as f64;
        let moments: Moments = gaps.iter().copied().collect();
        let (mean, variance) = (moments.mean(), moments.variance());
        // Five standard errors: 1/sqrt(n) for the mean, sqrt(8/n) for the variance.
        assert!((mean - 1.0).abs() < 5.0 / count.sqrt(), "mean gap {mean}");
        assert!((variance - 1.0).abs() < 5.0 * (8.0 / count).sqrt(), "variance {variance}");
        let above = gaps.iter().filter(|&&gap| gap > 1.0).count() as f64 / count;
        assert!((above - (-1f64).exp()).abs() < 0.01, "P(gap > mean) {above}");
        // Gaps are independent.
        let pairs = gaps.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean));
        let correlation = pairs.sum::<f64>() / (count - 1.0) / variance;
        assert!(correlation.abs() < 5.0 / count.sqrt(), "correlation {correlation}");
    }

    #[test]
    fn the_counts_of_a_poisson_process_have_a_variance_equal_to_their_mean() {
        let starts = Arrivals::poisson(50.0, 3).starts(Stop::After(1000 * SECOND));
        let mut counts = vec![0f64; 1000];
        starts.iter().for_each(|start| counts[start.as_secs() as usize] += 1.0);
        let moments: Moments = counts.into_iter().collect();
        let dispersion = moments.variance() / moments.mean();
        // Five standard errors of a variance of 1000 counts.
        assert!((dispersion - 1.0).abs() < 5.0 * (2f64 / 999.0).sqrt(), "{dispersion}");
    }

    #[test]
    fn the_seed_determines_the_arrivals() {
        let of = |seed| Arrivals::poisson(100.0, seed).starts(Stop::After(SECOND));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn constant_gaps_are_equal_and_end_as_requested() {
        let starts = Arrivals::constant(8.0).starts(Stop::After(SECOND));
        assert_eq!(starts.len(), 7, "from 1/8 to 7/8");
        assert!(gaps(&starts).iter().all(|gap| (gap - 0.125).abs() < 1e-9));
        assert_eq!(Arrivals::constant(8.0).starts(Stop::Count(100)).len(), 100);
    }

    #[test]
    fn a_burst_is_at_its_given_time() {
        let rate = Rate::burst(10.0, 100.0, SECOND, SECOND);
        for (arrivals, tolerance) in
            [(Arrivals::constant(rate.clone()), 1.0), (Arrivals::poisson(rate, 5), 50.0)]
        {
            let starts = arrivals.starts(Stop::After(3 * SECOND));
            assert!(starts.is_sorted());
            for (second, expected) in [10.0, 100.0, 10.0].into_iter().enumerate() {
                let within = starts.iter().filter(|start| start.as_secs() == second as u64);
                let count = within.count() as f64;
                assert!((count - expected).abs() <= tolerance, "{second}: {count}");
            }
        }
    }

    #[test]
    fn a_ramp_rises_evenly() {
        for (from, to) in [(0.0, 1000.0), (1000.0, 0.0), (200.0, 800.0), (500.0, 500.0)] {
            let rate = Rate::ramp(from, to, 10 * SECOND);
            let starts = Arrivals::constant(rate.clone()).starts(Stop::After(10 * SECOND));
            let all = (from + to) * 5.0;
            assert!((starts.len() as f64 - all).abs() <= 1.0, "{from} to {to}: {}", starts.len());
            let half = starts.iter().filter(|start| **start < 5 * SECOND).count() as f64;
            let expected = 5.0 * (from + rate.at(5 * SECOND)) / 2.0;
            assert!((half - expected).abs() <= 1.0, "{from} to {to}: {half}");
        }
    }

    #[test]
    fn rates_follow_one_another() {
        let rate = Rate::constant(10.0).then(SECOND, 0.0).then(SECOND, 100.0);
        let starts = Arrivals::constant(rate.clone()).starts(Stop::After(3 * SECOND));
        let within = |second| starts.iter().filter(|start| start.as_secs() == second).count();
        // One arrival every 0.1 s; the last one of the first second is at its very end.
        assert_eq!((within(0) + within(1), within(2)), (10, 99));
        let at = |seconds| rate.at(Duration::from_secs_f64(seconds));
        assert_eq!((at(0.5), at(1.5), at(2.5), at(99.0)), (10.0, 0.0, 100.0, 100.0));
    }

    #[test]
    fn a_process_whose_rate_falls_to_zero_ends() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(Arrivals::poisson(rate, 1).starts(Stop::Count(10)), []);
        }
        let ceasing = Rate::ramp(10.0, 0.0, SECOND);
        assert!(Arrivals::constant(ceasing).starts(Stop::Count(1000)).len() <= 5);
    }

    #[test]
    fn a_trace_gives_its_own_times() {
        let trace: Vec<Duration> = [1, 5, 9].map(Duration::from_secs).to_vec();
        let arrivals = Arrivals::Trace(trace.clone());
        assert_eq!(arrivals.starts(Stop::Count(9)), trace);
        assert_eq!(arrivals.starts(Stop::Count(2)), trace[..2]);
        assert_eq!(arrivals.starts(Stop::After(Duration::from_secs(9))), trace[..2]);
    }

    #[test]
    fn a_burst_interrupts_what_the_rate_does() {
        let rate = Rate::ramp(0.0, 100.0, 10 * SECOND).then_ramp(Duration::ZERO, 20.0);
        let burst = rate.clone().with_burst(500.0, 4 * SECOND, 2 * SECOND);
        for (seconds, expected) in [(2, 20.0), (4, 500.0), (5, 500.0), (8, 80.0), (11, 20.0)] {
            let got = burst.at(Duration::from_secs(seconds));
            assert!((got - expected).abs() < 1e-9, "{seconds}: {got}");
        }
        assert_eq!(burst.length(), 10 * SECOND);
        let late = rate.with_burst(500.0, 12 * SECOND, SECOND);
        let at = |seconds| late.at(Duration::from_secs_f64(seconds));
        assert_eq!([at(11.5), at(12.5), at(13.5)], [20.0, 500.0, 20.0]);
        let whole = Rate::constant(7.0).with_burst(9.0, Duration::ZERO, SECOND);
        assert_eq!((whole.at(Duration::ZERO), whole.at(SECOND)), (9.0, 7.0));
    }

    proptest! {
        /// Equal gaps follow the integral of any stages to one arrival, random ones to five
        /// standard deviations.
        #[test]
        fn arrivals_integrate_to_the_expected_number(
            first in 0.0..500.0_f64,
            stages in prop::collection::vec((0..3000_u64, 0.0..500.0_f64), 1..6),
            burst in prop::option::of((0.0..2000.0_f64, 0..8000_u64, 1..2000_u64)),
            part in 0.0..1.0_f64,
            seed in any::<u64>(),
        ) {
            let millis = Duration::from_millis;
            let mut rate = Rate::constant(first);
            for (length, to) in stages {
                rate = rate.then_ramp(millis(length), to);
            }
            if let Some((peak, start, length)) = burst {
                let before = rate.clone();
                let (start, length) = (millis(start), millis(length));
                rate = rate.with_burst(peak, start, length);
                let end = start + length;
                let difference = peak * length.as_secs_f64()
                    - (before.expected(end) - before.expected(start));
                let until = end + 10 * SECOND;
                let got = rate.expected(until) - before.expected(until);
                prop_assert!((got - difference).abs() < 1e-6 * (1.0 + difference.abs()));
            }
            let end = (rate.length() + SECOND).mul_f64(part);
            let expected = rate.expected(end);
            let equal = Arrivals::constant(rate.clone()).starts(Stop::After(end)).len() as f64;
            prop_assert!((equal - expected).abs() <= 1.0 + 1e-6 * expected, "{equal} {expected}");
            let random = Arrivals::poisson(rate, seed).starts(Stop::After(end));
            prop_assert!(random.is_sorted());
            let off = (random.len() as f64 - expected).abs();
            prop_assert!(off <= 5.0 * expected.sqrt() + 5.0, "{} {expected}", random.len());
        }
    }
}
