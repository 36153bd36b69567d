//! What separates the latency of a real run from that of an ideal pool, part by part.
//!
//! The ideal pool gets the schedule of the run, the number of workers and the service time of the
//! options, and nothing that was measured. Then it gets one measured thing after another, and the
//! change of its latency is the part of that thing (J. Li, N. K. Sharma, D. R. K. Ports and S. D.
//! Gribble, Tales of the Tail, SoCC 2014, decompose tail latency in this way). The parts come from
//! different instruments: the client's clock, the server's record of each request, and the twin.
//! What they leave over has no name, and a check limits it.

use crate::load::Outcome;
use crate::sample::Sample;
use crate::twin::{Fate, Twin};
use std::time::Duration;

/// The named parts, and the instruments that they are computed from.
pub const PARTS: [(&str, &str); 7] = [
    ("requests start late", "client"),
    ("late starts change the queue", "client, twin"),
    ("services last longer than told", "server"),
    ("longer services lengthen the queue", "server, twin"),
    ("workers do more than serve", "server, twin"),
    ("an idle worker wakes up", "server, twin"),
    ("way there and back", "client, server"),
];

/// With fewer requests that find several idle workers, the run does not say how long a worker takes
/// to wake up.
const ALONE_LEAST: usize = 30;

/// A longer wait is not that of a worker that wakes up.
const WAKING_MOST: Duration = Duration::from_micros(100);

/// The means over the requests of a run, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Anatomy {
    /// The latency from the intended start, by the client's clock.
    pub latency: f64,
    /// That of the ideal pool.
    pub ideal: f64,
    /// The time in the handler by the server's record, and as told.
    pub handled: f64,
    /// The service time that the server was told.
    pub told: f64,
    /// The wait for a worker: by the server's record, of the ideal pool, and of the ideal pool with
    /// the arrivals and services of the run.
    pub wait: f64,
    /// See `wait`.
    pub ideal_wait: f64,
    /// See `wait`.
    pub fed_wait: f64,
    /// The parts of [`PARTS`].
    pub parts: [f64; PARTS.len()],
    /// The rest of the difference.
    pub unnamed: f64,
}

/// What is known of a pool apart from the requests of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// The number of workers.
    pub workers: usize,
    /// What a worker does for a request beside the handler; see [`beside`].
    pub beside: Duration,
    /// How long an idle worker takes to wake up, measured apart from the run.
    pub waking: Duration,
}

impl Anatomy {
    /// The anatomy of the answered requests of a run. `told` is the service time of each request,
    /// by its index in the order of the intended starts. `None` if the server does not report its
    /// times.
    pub fn of(
        pool: &Pool,
        answered: &[&Outcome],
        told: impl Fn(usize) -> Duration,
    ) -> Option<Self> {
        if answered.is_empty() {
            return None;
        }
        let queued: Vec<Duration> =
            answered.iter().map(|each| each.server.queue_wait).collect::<Option<_>>()?;
        let handled: Vec<Duration> =
            answered.iter().map(|each| each.server.handle).collect::<Option<_>>()?;
        let intended: Vec<Duration> = answered.iter().map(|each| each.intended).collect();
        let begun: Vec<Duration> =
            answered.iter().map(|each| each.begun.unwrap_or(each.intended)).collect();
        let twin = Twin::unbounded(pool.workers, Duration::ZERO);
        let waits = |starts: &[Duration], service: &dyn Fn(usize) -> Duration| -> Vec<f64> {
            let fates = twin.replay_services(starts, service);
            let waits = fates.into_iter().map(Fate::wait);
            waits.map(|wait| wait.unwrap_or_default().as_secs_f64()).collect()
        };
        let count = answered.len() as f64;
        let mean = |of: &dyn Fn(usize) -> f64| (0..answered.len()).map(of).sum::<f64>() / count;
        let seconds = |times: &[Duration]| mean(&|at| times[at].as_secs_f64());
        let of = |waits: &[f64]| waits.iter().sum::<f64>() / count;
        let ideal_wait = of(&waits(&intended, &told));
        let late_wait = of(&waits(&begun, &told));
        let longer_wait = of(&waits(&begun, &|at| handled[at]));
        let fed = waits(&begun, &|at| handled[at] + pool.beside);
        let fed_wait = of(&fed);
        let latency = mean(&|at| answered[at].latency().as_secs_f64());
        let late = seconds(&begun) - seconds(&intended);
        // A request that finds an idle worker in the twin waits until it is awake, and later ones
        // wait for that, too.
        let idle = idle(pool.workers, &begun, |at| handled[at] + pool.beside);
        let waking = waking(pool, &idle, &queued);
        let woken = |at: usize| if fed[at] > 0.0 { Duration::ZERO } else { waking };
        let woken_wait = of(&waits(&begun, &|at| handled[at] + pool.beside + woken(at)));
        let woken = mean(&|at| woken(at).as_secs_f64()) + woken_wait - fed_wait;
        let (wait, handled) = (seconds(&queued), seconds(&handled));
        let told = mean(&|at| told(at).as_secs_f64());
        let parts = [
            late,
            late_wait - ideal_wait,
            handled - told,
            longer_wait - late_wait,
            fed_wait - longer_wait,
            woken,
            latency - late - wait - handled,
        ];
        let ideal = ideal_wait + told;
        let unnamed = latency - ideal - parts.iter().sum::<f64>();
        Some(Self { latency, ideal, handled, told, wait, ideal_wait, fed_wait, parts, unnamed })
    }

    /// What separates the run from the ideal pool.
    pub fn gap(&self) -> f64 {
        self.latency - self.ideal
    }

    /// The share by which services last longer than told.
    pub fn inflation(&self) -> f64 {
        self.handled / self.told - 1.0
    }

    /// The latency without the late start, the wait and the service.
    pub fn way(&self) -> f64 {
        self.parts[6]
    }
}

/// The number of workers that each request finds idle in the twin.
fn idle(workers: usize, starts: &[Duration], service: impl Fn(usize) -> Duration) -> Vec<usize> {
    let mut free = vec![Duration::ZERO; workers.max(1)];
    let mut find = |(number, &start): (usize, &Duration)| {
        let idle = free.iter().filter(|free| **free <= start).count();
        if let Some(next) = free.iter_mut().min() {
            *next = start.max(*next) + service(number);
        }
        idle
    };
    starts.iter().enumerate().map(&mut find).collect()
}

/// How long an idle worker takes to wake up: what requests wait that find at least two idle workers
/// in the twin. A worker that is not as idle as the server says makes these wait last. Where they
/// are few, it is what the pool has been measured to take.
fn waking(pool: &Pool, idle: &[usize], queued: &[Duration]) -> Duration {
    // Without any queue, one is enough.
    let least = if idle.iter().all(|idle| *idle > 0) { 1 } else { 2 };
    let alone = idle.iter().zip(queued).filter(|(idle, _)| **idle >= least);
    let waits: Sample = alone.map(|(_, queued)| *queued).collect();
    let waking = if waits.count() < ALONE_LEAST { pool.waking } else { waits.mean() };
    waking.min(WAKING_MOST)
}

/// The outcomes with an answer, in the order of their intended starts.
pub fn answered(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let mut answered: Vec<&Outcome> = outcomes.iter().filter(|each| each.is_success()).collect();
    answered.sort_by_key(|outcome| outcome.intended);
    answered
}

/// What a worker does for a request beside the handler, on average: the rest of the time for which
/// the server says that a request occupied it.
pub fn beside(answered: &[&Outcome], service: Option<Duration>) -> Duration {
    let handled: Sample = answered.iter().filter_map(|each| each.server.handle).collect();
    service.map_or(Duration::ZERO, |service| service.saturating_sub(handled.mean()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::{Arrivals, Stop};
    use crate::ideal::{Fault, Ideal};

    const TOLD: Duration = Duration::from_millis(5);

    fn anatomy(fault: Option<Fault>) -> Anatomy {
        let starts = Arrivals::poisson(0.9 * 800.0, 7).starts(Stop::Count(4000));
        let pool = Ideal { workers: 4, fault, severity: 1, seed: 3 };
        let run = pool.run(&starts, |_| TOLD);
        let answered = answered(&run.outcomes);
        let beside = beside(&answered, Some(run.service));
        let pool = Pool { workers: 4, beside, waking: Duration::from_micros(30) };
        Anatomy::of(&pool, &answered, |_| TOLD).expect("times")
    }

    #[test]
    fn the_parts_name_what_separates_a_run_from_its_twin() {
        let sound = anatomy(None);
        let sum: f64 = sound.parts.iter().sum();
        assert!((sum + sound.unnamed - sound.gap()).abs() < 1e-12);
        assert!(sound.gap() > 0.0 && sound.unnamed.abs() < 0.02 * sound.gap(), "{sound:?}");
        assert!(sound.parts.iter().all(|part| *part > -1e-6), "{sound:?}");
        assert!((0.01..0.02).contains(&sound.inflation()), "{sound:?}");
    }

    #[test]
    fn the_idle_workers_are_those_that_a_request_finds() {
        let starts = [0, 0, 5, 12, 30].map(Duration::from_millis);
        let found = idle(2, &starts, |_| Duration::from_millis(10));
        assert_eq!(found, [2, 1, 0, 1, 2]);
    }

    /// What the server does not report shows as time without a name.
    #[test]
    fn a_worker_that_does_something_else_is_not_named() {
        let hidden = anatomy(Some(Fault::Pauses));
        assert!(hidden.unnamed > 0.2 * hidden.gap(), "{hidden:?}");
        let slow = anatomy(Some(Fault::SlowWay));
        assert!(slow.unnamed < 0.02 * slow.gap() && slow.way() > 300e-6, "{slow:?}");
    }
}
