//! The twin: an ideal pool that gets the arrivals of a measured run.
//!
//! A short run near the knee says little about the steady state: the mean wait of 4000 requests at
//! a utilisation of 0.95 has a standard deviation of half its value. The twin gets the same random
//! arrivals as the run, so it predicts this run to about one percent.

use crate::arrivals::{Arrivals, Stop};
use crate::sample::Sample;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// An ideal pool of workers, first come, first served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twin {
    /// The number of workers.
    pub workers: usize,
    /// The service time of each request.
    pub service: Duration,
    /// The number of requests that may wait. Further requests are refused.
    pub queue: usize,
    /// A request that has waited longer is refused instead of served, which takes no time.
    pub age: Duration,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was served after this wait.
    Served(Duration),
    /// The queue was full when it arrived.
    Full,
    /// It had waited too long, for this time.
    Expired(Duration),
}

impl Fate {
    /// The wait of a request that was served.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::Served(wait) => Some(wait),
            Self::Full | Self::Expired(_) => None,
        }
    }
}

/// How much runs of one length differ by chance alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// The mean wait of each run.
    pub means: Sample,
    /// The median wait of each run.
    pub medians: Sample,
    /// The 99th percentile of the waits of each run.
    pub p99s: Sample,
}

impl Twin {
    /// A pool with an unbounded queue.
    pub fn unbounded(workers: usize, service: Duration) -> Self {
        Self { workers, service, queue: usize::MAX, age: Duration::MAX }
    }

    /// The outcomes of requests that arrive at these times, which are in order: the recursion of
    /// Kiefer and Wolfowitz (1955) on the times when the workers become free.
    pub fn replay(&self, arrivals: &[Duration]) -> Vec<Fate> {
        self.replay_services(arrivals, |_| self.service)
    }

    /// The same with a service time for each request, by its index.
    pub fn replay_services(
        &self,
        arrivals: &[Duration],
        service: impl Fn(usize) -> Duration,
    ) -> Vec<Fate> {
        let mut free: BinaryHeap<Reverse<Duration>> =
            (0..self.workers).map(|_| Reverse(Duration::ZERO)).collect();
        // When the waiting requests are taken, in order.
        let mut taken: VecDeque<Duration> = VecDeque::new();
        let mut fate = |(number, &arrival): (usize, &Duration)| {
            while taken.front().is_some_and(|start| *start <= arrival) {
                taken.pop_front();
            }
            let Some(mut next) = free.peek_mut() else { return Fate::Full };
            let start = next.0.max(arrival);
            if start > arrival {
                if taken.len() >= self.queue {
                    return Fate::Full;
                }
                taken.push_back(start);
            }
            let wait = start - arrival;
            if wait > self.age {
                return Fate::Expired(wait);
            }
            *next = Reverse(start.saturating_add(service(number)));
            Fate::Served(wait)
        };
        arrivals.iter().enumerate().map(&mut fate).collect()
    }

    /// The waits of the served requests.
    pub fn waits(&self, arrivals: &[Duration]) -> Sample {
        self.replay(arrivals).into_iter().filter_map(Fate::wait).collect()
    }

    /// The results of `runs` runs with this many Poisson arrivals, each from an empty pool.
    pub fn band(&self, rate: f64, requests: u64, runs: u64, seed: u64) -> Band {
        let run = |number: u64| {
            // Use seeds far from those that programs use.
            let seed =
                seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            self.waits(&Arrivals::poisson(rate, seed).starts(Stop::Count(requests)))
        };
        let runs: Vec<Sample> = (0..runs).map(run).collect();
        let of = |figure: fn(&Sample) -> Duration| runs.iter().map(figure).collect();
        Band {
            means: of(Sample::mean),
            medians: of(|waits| waits.percentile(0.5)),
            p99s: of(|waits| waits.percentile(0.99)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queueing_theory::{Mdc, mdck_blocking};

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_small_example() {
        let twin = Twin { workers: 2, service: MILLIS(10), queue: 2, age: MILLIS(8) };
        let arrivals = [0, 1, 2, 3, 4, 12, 40].map(MILLIS);
        // The third and the fourth wait for the first two; the fifth finds both in the queue.
        let expected = [
            Fate::Served(MILLIS(0)),
            Fate::Served(MILLIS(0)),
            Fate::Served(MILLIS(8)),
            Fate::Served(MILLIS(8)),
            Fate::Full,
            Fate::Served(MILLIS(8)),
            Fate::Served(MILLIS(0)),
        ];
        assert_eq!(twin.replay(&arrivals), expected);
        let strict = Twin { age: MILLIS(7), ..twin };
        let fates = strict.replay(&arrivals);
        // A refused request takes no worker time, so the next one starts at once.
        assert_eq!(fates[2..4], [Fate::Expired(MILLIS(8)), Fate::Served(MILLIS(7))]);
        assert_eq!(Twin { workers: 0, ..twin }.replay(&[MILLIS(1)]), [Fate::Full]);
        // One worker and three requests at once, the first of which takes longer.
        let one = Twin::unbounded(1, MILLIS(10));
        let fates = one.replay_services(&[MILLIS(0); 3], |n| MILLIS(if n == 0 { 30 } else { 10 }));
        assert_eq!(fates, [0, 30, 40].map(|wait| Fate::Served(MILLIS(wait))));
    }

    /// Compares a million arrivals with the exact steady state, within a few standard errors.
    #[test]
    fn it_agrees_with_exact_theory() {
        let service = MILLIS(10);
        for (workers, rho, tolerance) in [(1, 0.7, 0.03), (4, 0.8, 0.04), (4, 0.9, 0.06)] {
            let rate = rho * f64::from(workers) / service.as_secs_f64();
            let arrivals = Arrivals::poisson(rate, 3).starts(Stop::Count(1_000_000));
            let waits = Twin::unbounded(workers as usize, service).waits(&arrivals);
            let exact = Mdc::new(workers, rho).expect("a steady state");
            let near = |found: Duration, exact: f64, what: &str| {
                let off = found.div_duration_f64(service) / exact - 1.0;
                assert!(off.abs() < tolerance, "{what} at c = {workers}, rho = {rho}: {off}");
            };
            near(waits.mean(), exact.mean_wait(), "mean");
            for p in [0.9, 0.99] {
                let wait = exact.wait_percentile(p).expect("a probability");
                near(waits.percentile(p), wait, "percentile");
            }
            let waited = waits.share_beyond(Duration::ZERO);
            assert!((waited - exact.wait_probability()).abs() < 0.01, "{waited}");
        }
    }

    /// Checks the interpolation of the refused share, below the capacity, at it and above it.
    #[test]
    fn the_refused_share_of_a_bounded_queue_agrees_with_theory() {
        let service = MILLIS(10);
        for (workers, rho, queue) in
            [(1, 0.9, 3), (4, 0.9, 4), (4, 1.0, 10), (16, 1.0, 16), (4, 1.3, 8)]
        {
            let rate = rho * workers as f64 / service.as_secs_f64();
            let arrivals = Arrivals::poisson(rate, 5).starts(Stop::Count(400_000));
            let twin = Twin { queue, ..Twin::unbounded(workers, service) };
            let fates = twin.replay(&arrivals);
            let full = fates.iter().filter(|fate| **fate == Fate::Full).count();
            let found = full as f64 / fates.len() as f64;
            let system = (workers + queue) as u32;
            let expected = mdck_blocking(workers as u32, system, rho).expect("a steady state");
            let off = found / expected - 1.0;
            assert!(off.abs() < 0.05, "c = {workers}, {rho}, {queue}: {found} for {expected}");
        }
    }

    #[test]
    fn the_band_covers_the_variation_between_runs() {
        let (service, workers) = (MILLIS(10), 4);
        let rate = 0.95 * workers as f64 / service.as_secs_f64();
        let band = Twin::unbounded(workers, service).band(rate, 4000, 60, 1);
        assert_eq!(band.means.count(), 60);
        let [low, high] = [0.05, 0.95].map(|p| band.means.percentile(p));
        assert!(high > low * 2, "means differ by a factor of two: {low:?} to {high:?}");
        let exact = Mdc::new(4, 0.95).expect("a steady state").mean_wait();
        let exact = service.mul_f64(exact);
        assert!(low < exact && exact < high, "{low:?} to {high:?} about {exact:?}");
    }
}
