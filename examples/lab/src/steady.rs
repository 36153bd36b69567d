//! The steady state of a pool whose services vary, by simulation: what no formula gives.
//!
//! It serves ten million requests a second and more on one core: it keeps the times when the
//! workers become free, and nothing of a request but its counts in two histograms.

use crate::chance::exponential;
use crate::moments::Moments;
use cws::ServiceTime;
use std::collections::VecDeque;
use std::time::Duration;

/// The share of a run that is left out at its start: the pool is empty then.
const WARM_UP: f64 = 0.1;

/// A pool, Poisson arrivals and the law of the services; first come, first served.
#[derive(Debug, Clone, PartialEq)]
pub struct Steady {
    /// The number of workers.
    pub workers: usize,
    /// Arrivals a second.
    pub rate: f64,
    /// The law of the service times.
    pub service: ServiceTime,
    /// The number of requests that may wait. Further ones are refused.
    pub queue: usize,
    /// A request that has waited longer is refused instead of served, which takes no time.
    pub age: Duration,
}

/// How much is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Requests of each run.
    pub requests: u64,
    /// Runs, each with random numbers of its own.
    pub runs: u64,
    /// The first of their seeds.
    pub seed: u64,
}

/// A figure and half the width of its 95 % confidence interval, from several runs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimate {
    /// The mean of the runs.
    pub value: f64,
    /// Half the width of the interval.
    pub half: f64,
}

/// What is estimated of a pool. Times are in seconds, and those of the requests that are served.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimates {
    /// The mean wait.
    pub mean_wait: Estimate,
    /// The share of the requests that wait.
    pub waited: Estimate,
    /// The median, the 90th and the 99th percentile of the wait.
    pub wait: [Estimate; 3],
    /// The same of the response time, which is the wait and the service.
    pub response: [Estimate; 3],
    /// The share of the requests that wait for more than a twentieth of the mean service.
    pub delayed: Estimate,
    /// The share of the requests that are refused.
    pub refused: Estimate,
    /// The share of their time that the workers serve.
    pub busy: Estimate,
}

impl Estimate {
    /// Of the same figure in several runs.
    pub fn of(runs: impl IntoIterator<Item = f64>) -> Self {
        let moments: Moments = runs.into_iter().collect();
        Self { value: moments.mean(), half: moments.half_width() }
    }

    /// The ends of the interval; the lower one is not negative.
    pub fn interval(&self) -> (f64, f64) {
        ((self.value - self.half).max(0.0), self.value + self.half)
    }
}

/// The figures of one run.
#[derive(Debug, Default)]
struct Run {
    waits: Counts,
    responses: Counts,
    wait_sum: f64,
    waited: u64,
    delayed: u64,
    served: u64,
    refused: u64,
    busy: f64,
    length: f64,
}

impl Steady {
    /// A pool with an unbounded queue.
    pub fn unbounded(workers: usize, rate: f64, service: impl Into<ServiceTime>) -> Self {
        let service = service.into();
        Self { workers, rate, service, queue: usize::MAX, age: Duration::MAX }
    }

    /// A pool with an unbounded queue at this utilisation.
    pub fn at(workers: usize, utilisation: f64, service: impl Into<ServiceTime>) -> Self {
        let service = service.into();
        let rate = utilisation * workers as f64 / service.mean().as_secs_f64();
        Self::unbounded(workers, rate, service)
    }

    /// Simulates the pool from several seeds. The same effort gives the same figures.
    pub fn estimate(&self, effort: Effort) -> Estimates {
        let runs: Vec<Run> = (0..effort.runs).map(|number| self.run(effort, number)).collect();
        let of = |figure: &dyn Fn(&Run) -> f64| Estimate::of(runs.iter().map(figure));
        let share = |part: u64, run: &Run| part as f64 / run.served.max(1) as f64;
        let quantiles = |times: fn(&Run) -> &Counts| {
            [0.5, 0.9, 0.99].map(|p| of(&|run| times(run).quantile(p)))
        };
        Estimates {
            mean_wait: of(&|run| run.wait_sum / run.served.max(1) as f64),
            waited: of(&|run| share(run.waited, run)),
            wait: quantiles(|run| &run.waits),
            response: quantiles(|run| &run.responses),
            delayed: of(&|run| share(run.delayed, run)),
            refused: of(&|run| run.refused as f64 / (run.refused + run.served).max(1) as f64),
            busy: of(&|run| run.busy / (run.length * self.workers as f64)),
        }
    }

    /// One run: the recursion of Kiefer and Wolfowitz (1955) on the times when workers become free.
    fn run(&self, effort: Effort, number: u64) -> Run {
        // Seeds far from one another, and from those that programs use.
        let seed = effort.seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let service = self.service.clone().with_seed(self.service.seed().wrapping_add(seed));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut free = Free::new(self.workers);
        // When the waiting requests start, if their number matters.
        let mut starts = (self.queue < usize::MAX).then(VecDeque::new);
        let (age, noticed) = (self.age.as_secs_f64(), self.service.mean().as_secs_f64() / 20.0);
        let first = (effort.requests as f64 * WARM_UP) as u64;
        let (mut run, mut now, mut begun) = (Run::default(), 0.0, 0.0);
        for request in 0..effort.requests {
            now += exponential(&mut random) / self.rate;
            let counts = request >= first;
            if request == first {
                begun = now;
            }
            let wait = (free.first() - now).max(0.0);
            if let Some(starts) = &mut starts
                && is_full(starts, self.queue, now, wait)
            {
                run.refused += u64::from(counts);
                continue;
            }
            if wait > age {
                run.refused += u64::from(counts);
                continue;
            }
            let time = service.sample_seconds(request);
            free.take(now + wait + time);
            if counts {
                run.add(wait, time, noticed);
            }
        }
        run.length = now - begun;
        run
    }
}

/// True if the queue is full for a request that would wait for this time; else it is in it.
fn is_full(starts: &mut VecDeque<f64>, most: usize, now: f64, wait: f64) -> bool {
    while starts.front().is_some_and(|start| *start <= now) {
        starts.pop_front();
    }
    if wait == 0.0 {
        return false;
    }
    if starts.len() >= most {
        return true;
    }
    starts.push_back(now + wait);
    false
}

impl Run {
    fn add(&mut self, wait: f64, time: f64, noticed: f64) {
        self.served += 1;
        self.wait_sum += wait;
        self.waited += u64::from(wait > 0.0);
        self.delayed += u64::from(wait > noticed);
        self.busy += time;
        self.waits.record(wait);
        self.responses.record(wait + time);
    }
}

/// Times by their size: 256 classes for each factor of two, from a nanosecond on.
#[derive(Debug, Default)]
struct Counts {
    counts: Vec<u64>,
    all: u64,
}

impl Counts {
    /// The bits of a number that its class does not have: 44 of the 52 behind the point.
    const SHIFT: u32 = 44;

    /// The class below which all times count as zero.
    fn zero() -> u64 {
        1e-9f64.to_bits() >> Self::SHIFT
    }

    fn record(&mut self, seconds: f64) {
        let class = (seconds.to_bits() >> Self::SHIFT).saturating_sub(Self::zero()) as usize;
        if class >= self.counts.len() {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] += 1;
        self.all += 1;
    }

    /// The time that a share `p` does not exceed; within a class, times are taken to be uniform.
    fn quantile(&self, p: f64) -> f64 {
        let (rank, mut below) = (p * self.all as f64, 0.0);
        for (class, &count) in self.counts.iter().enumerate() {
            let up_to = below + count as f64;
            if up_to >= rank && count > 0 && class > 0 {
                let ends = [0, 1]
                    .map(|end| f64::from_bits((class as u64 + Self::zero() + end) << Self::SHIFT));
                return ends[0] + (ends[1] - ends[0]) * (rank - below) / count as f64;
            }
            if up_to >= rank {
                return 0.0;
            }
            below = up_to;
        }
        0.0
    }
}

/// The times when the workers become free: a heap whose least element is the first.
#[derive(Debug)]
struct Free {
    times: Vec<f64>,
}

impl Free {
    fn new(workers: usize) -> Self {
        Self { times: vec![0.0; workers.max(1)] }
    }

    fn first(&self) -> f64 {
        self.times[0]
    }

    /// The worker that becomes free first is busy until `until`.
    fn take(&mut self, until: f64) {
        let times = &mut self.times[..];
        let (mut at, last) = (0, times.len());
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let Some(&before) = times.get(left) else { break };
            let (child, time) = match times.get(right) {
                Some(&other) if other < before => (right, other),
                _ => (left, before),
            };
            if time >= until {
                break;
            }
            times[at] = time;
            at = child;
        }
        debug_assert!(at < last);
        times[at] = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queueing_theory::{Mdc, Mgc, Mmc, Service, erlang_b, mmck_blocking};

    const SECOND: Duration = Duration::from_secs(1);
    const EFFORT: Effort = Effort { requests: 60_000, runs: 8, seed: 1 };

    /// The seeds are fixed, so that a wide interval cannot hide a wrong figure: nor may it be wide.
    fn covers(estimate: Estimate, exact: f64, what: &str) {
        let Estimate { value, half } = estimate;
        assert!(half <= 0.15 * exact, "{what}: {value} +- {half} is wide for {exact}");
        assert!((value - exact).abs() <= 2.0 * half + 1e-9, "{what}: {value} +- {half}, {exact}");
    }

    #[test]
    fn figures_agree_with_exact_theory() {
        let exponential = ServiceTime::exponential(SECOND).expect("a law");
        for (workers, rho) in [(1, 0.6), (4, 0.75), (8, 0.8)] {
            let (mdc, mmc) = (Mdc::new(workers, rho), Mmc::new(workers, rho));
            let (mdc, mmc) = (mdc.expect("a steady state"), mmc.expect("a steady state"));
            let constant = Steady::at(workers as usize, rho, SECOND).estimate(EFFORT);
            covers(constant.mean_wait, mdc.mean_wait(), "M/D/c");
            covers(constant.waited, mdc.wait_probability(), "M/D/c");
            covers(constant.wait[2], mdc.wait_percentile(0.99).expect("p"), "M/D/c");
            let random = Steady::at(workers as usize, rho, exponential.clone()).estimate(EFFORT);
            covers(random.mean_wait, mmc.mean_wait(), "M/M/c");
            covers(random.wait[1], mmc.wait_percentile(0.9).expect("p"), "M/M/c");
            covers(random.response[2], mmc.response_percentile(0.99).expect("p"), "M/M/c");
            covers(random.busy, rho, "busy");
            covers(random.delayed, mmc.wait_beyond(0.05), "delayed");
        }
        let law = ServiceTime::lognormal(SECOND, 0.8).expect("a law");
        let one = Steady::at(1, 0.7, law).estimate(EFFORT);
        let theory = Service::lognormal(0.8).and_then(|law| Mgc::new(1, 0.7, &law));
        covers(one.mean_wait, theory.expect("a steady state").mean_wait(), "M/G/1");
    }

    #[test]
    fn bounds_of_the_queue_refuse_as_many_as_theory_says() {
        let law = ServiceTime::exponential(SECOND).expect("a law");
        let full = Steady { queue: 3, ..Steady::unbounded(4, 4.4, law.clone()) };
        let exact = mmck_blocking(4, 7, 4.4).expect("a pool");
        covers(full.estimate(EFFORT).refused, exact, "M/M/c/K");
        // Nobody waits: Erlang's loss system.
        let exact = erlang_b(4, 4.4).expect("a pool");
        for loss in [Steady { queue: 0, ..full.clone() }, Steady { age: Duration::ZERO, ..full }] {
            let found = loss.estimate(EFFORT);
            covers(found.refused, exact, "M/M/c/c");
            assert_eq!(found.mean_wait.value, 0.0);
        }
    }

    /// How far the interpolation of the theory can be trusted: its word against simulations.
    #[test]
    fn the_stated_trust_of_the_interpolation_holds() {
        let effort = Effort { requests: 100_000, runs: 6, seed: 3 };
        let cells = [
            (4, 0.5, ServiceTime::lognormal(SECOND, 2.0), Service::lognormal(2.0)),
            (2, 0.8, ServiceTime::hyperexponential(SECOND, 2.0), Service::hyperexponential(2.0)),
            (4, 0.8, ServiceTime::hyperexponential(SECOND, 3.0), Service::hyperexponential(3.0)),
            (16, 0.8, ServiceTime::lognormal(SECOND, 1.5), Service::lognormal(1.5)),
            (16, 0.8, ServiceTime::uniform(Duration::ZERO, 2 * SECOND), Service::uniform(0.0, 2.0)),
        ];
        for (workers, rho, law, theory) in cells {
            let (law, theory) = (law.expect("a law"), theory.expect("a law"));
            let pool = Mgc::new(workers, rho, &theory).expect("a steady state");
            let found = Steady::at(workers as usize, rho, law.clone()).estimate(effort).mean_wait;
            let queueing_theory::Trust::Within(most) = pool.trust() else {
                panic!("{law:?}: {}", pool.trust());
            };
            let off = (pool.mean_wait() / found.value - 1.0).abs();
            let noise = found.half / found.value;
            assert!(noise < 0.12 && off <= most + noise, "{workers}, {rho}, {law:?}: {off}");
        }
    }

    #[test]
    fn quantiles_are_exact_to_a_part_of_a_class() {
        let mut counts = Counts::default();
        assert_eq!(counts.quantile(0.5), 0.0);
        (0..100).for_each(|_| counts.record(0.0));
        (1..=900).for_each(|number| counts.record(f64::from(number) * 1e-3));
        for (p, exact) in [(0.05, 0.0), (0.55, 0.45), (0.99, 0.89), (1.0, 0.9)] {
            let found = counts.quantile(p);
            assert!((found - exact).abs() <= 0.004 * exact, "{p}: {found}");
        }
    }
}
