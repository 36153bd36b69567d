//! The figures of queueing theory for an interval, from the snapshots at its two ends.

mod units;
mod condition;

pub use condition::{Condition, ConditionKind};

use crate::metrics::{Activity, Counter, Distribution, Little, Snapshot};
use crate::theory;
use std::time::Duration;
use units::{percent, rate, time};

/// The figures of an interval.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Figures {
    /// The length of the interval.
    pub elapsed: Duration,
    /// Worker threads, W.
    pub workers: usize,
    /// Requests per second that asked for a worker, including those refused because the queue was
    /// full.
    pub offered: f64,
    /// Requests per second that a handler answered on a worker.
    pub handled: f64,
    /// Requests per second that a handler answered at once, without a worker. No other figure
    /// includes them, since they are no load on the pool.
    pub immediate: f64,
    /// Requests per second that were shed because of overload: the queue was full, they expired in
    /// it, or they were abandoned at the drain timeout.
    pub shed: f64,
    /// The part of `shed` that was refused because the queue was full, whichever request gave way.
    pub queue_full: f64,
    /// The part of `shed` that was refused because it had waited for longer than `age`.
    pub expired: f64,
    /// Requests per second that were refused because their client had too many connections. No
    /// other figure includes them, since they are no load on the pool.
    pub too_many_connections: f64,
    /// Requests per second that were refused because there was no memory for them or for their
    /// response. `shed` does not include them.
    pub no_memory: f64,
    /// The share of their time that the workers had a job, by activity.
    pub utilisation: Utilisation,
    /// Time from queued to taken by a worker.
    pub queue_wait: Times,
    /// Time from taken by a worker to released by it.
    pub service: Times,
    /// Requests per second that the pool can handle: W divided by the mean service time; none if
    /// no request was handled.
    pub capacity: Option<f64>,
    /// The squared coefficient of variation of the service times: 0 if they are constant, 1 for
    /// exponential ones.
    pub service_variation: Option<f64>,
    /// The mean queue wait that theory expects for these arrivals and service times, in the steady
    /// state of a queue without a bound: exact for Poisson arrivals and constant service (M/D/c,
    /// Crommelin 1932) or exponential service (M/M/c), else an interpolation (Kimura 1986). None if
    /// there is no steady state, if requests were shed, or if there are too few requests to
    /// estimate from.
    pub expected_queue_wait: Option<Duration>,
    /// What mean and variation of the service times leave open: laws that agree with the measured
    /// one in both have mean waits from the first time to the second, with Poisson arrivals (Gupta,
    /// Dai, Harchol-Balter and Zwart 2010). None where the expected wait is none.
    pub expected_queue_wait_range: Option<(Duration, Duration)>,
    /// Little's law; none if no request left the system.
    pub little: Option<Little>,
    /// Jobs that waited at the end of the interval.
    pub waiting: usize,
    /// The largest number of jobs that might wait then.
    pub bound: usize,
    /// The longest wait at that time: a request that has waited longer is refused.
    pub age: Duration,
}

/// Shares of the workers' time, each between 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Utilisation {
    /// Parsing request heads.
    pub parse: f64,
    /// Running the handler, and with it the back-end's delay.
    pub handle: f64,
    /// Writing responses.
    pub respond: f64,
}

/// Statistics of a duration; all none if there were no events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// The number of events.
    pub count: u64,
    /// The arithmetic mean.
    pub mean: Option<Duration>,
    /// The median.
    pub p50: Option<Duration>,
    /// The 90th percentile.
    pub p90: Option<Duration>,
    /// The 99th percentile.
    pub p99: Option<Duration>,
}

impl Times {
    /// The statistics of a distribution.
    pub fn of(distribution: &Distribution) -> Self {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|of| distribution.quantile(of));
        Self { count: distribution.count(), mean: distribution.mean(), p50, p90, p99 }
    }
}

impl Utilisation {
    /// The sum of all shares.
    pub fn total(&self) -> f64 {
        self.parse + self.handle + self.respond
    }

    fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let elapsed = after.at.saturating_sub(before.at).as_secs_f64();
        let available = after.workers.len() as f64 * elapsed;
        let spent = |snapshot: &Snapshot, activity| -> f64 {
            snapshot.workers.iter().map(|worker| worker.spent(activity).as_secs_f64()).sum()
        };
        let share = |activity| match available > 0.0 {
            true => {
                (spent(after, activity) - spent(before, activity)).clamp(0.0, available) / available
            }
            false => 0.0,
        };
        Self {
            parse: share(Activity::Parse),
            handle: share(Activity::Handle),
            respond: share(Activity::Respond),
        }
    }
}

impl Figures {
    /// The figures of the interval between two snapshots of one server.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let elapsed = after.at.saturating_sub(before.at);
        let per_second = |count: u64| match elapsed.as_secs_f64() {
            0.0 => 0.0,
            seconds => count as f64 / seconds,
        };
        let counted = |counters: &[Counter]| {
            let of = |snapshot: &Snapshot| counters.iter().map(|&of| snapshot.get(of)).sum::<u64>();
            of(after).saturating_sub(of(before))
        };
        let queue_full = counted(&[Counter::QueueFull]);
        let unhandled = counted(&[Counter::Unhandled]);
        let arrived = after.arrivals().saturating_sub(before.arrivals());
        let arrived = arrived.saturating_sub(unhandled);
        let expired = counted(&[Counter::Expired]);
        let shed_later = expired + counted(&[Counter::Abandoned]);
        let workers = after.workers.len();
        let service = after.service.since(&before.service);
        let queue_wait = after.queue_wait.since(&before.queue_wait);
        let capacity = service
            .mean()
            .filter(|mean| !mean.is_zero())
            .map(|mean| workers as f64 / mean.as_secs_f64());
        let expected = (queue_full + shed_later == 0)
            .then(|| expected_queue_wait(before, after, &service, per_second(arrived)))
            .flatten();
        Self {
            elapsed,
            workers,
            offered: per_second(counted(&[Counter::Offered])),
            handled: per_second(counted(&[Counter::Handled])),
            immediate: per_second(counted(&[Counter::Immediate])),
            shed: per_second(queue_full + shed_later),
            queue_full: per_second(queue_full),
            expired: per_second(expired),
            too_many_connections: per_second(counted(&[Counter::TooManyConnections])),
            no_memory: per_second(counted(&[Counter::NoMemory])),
            utilisation: Utilisation::between(before, after),
            queue_wait: Times::of(&queue_wait),
            service: Times::of(&service),
            capacity,
            service_variation: service.squared_variation(),
            expected_queue_wait: expected.map(|(wait, _)| wait),
            expected_queue_wait_range: expected.map(|(_, range)| range),
            little: after.little_since(before),
            waiting: after.queue.waiting,
            bound: after.queue.bound,
            age: after.queue.age,
        }
    }

    /// The offered rate divided by the capacity; none if the capacity is unknown.
    pub fn load(&self) -> Option<f64> {
        self.capacity.map(|capacity| self.offered / capacity)
    }

    /// The offered load in erlangs: the offered rate times the mean service time, which is the
    /// number of workers that it would keep busy on average. None if requests were offered and no
    /// service was measured.
    pub fn erlangs(&self) -> Option<f64> {
        match self.load() {
            Some(load) => Some(load * self.workers as f64),
            None => (self.offered == 0.0).then_some(0.0),
        }
    }

    /// The shed rate divided by the offered rate.
    pub fn shed_share(&self) -> f64 {
        if self.offered > 0.0 { (self.shed / self.offered).min(1.0) } else { 0.0 }
    }

    /// The figures as one line, for a log.
    pub fn line(&self) -> String {
        let shown = |of: Option<Duration>| of.map_or("-".to_owned(), time);
        let residual = self.little.map_or("-".to_owned(), |of| percent(of.residual()));
        format!(
            "{} requests/s offered, {} handled, {}{}; utilisation {}; {} of {} waiting, for at \
             most {}; queue wait p50 {} p99 {}; service mean {} p99 {}; Little's law within \
             {residual}",
            rate(self.offered),
            rate(self.handled),
            self.at_once(),
            self.drops(),
            percent(self.utilisation.total()),
            self.waiting,
            self.bound,
            time(self.age),
            shown(self.queue_wait.p50),
            shown(self.queue_wait.p99),
            shown(self.service.mean),
            shown(self.service.p99),
        )
    }

    /// The rate of requests that needed no worker, if there were any.
    fn at_once(&self) -> String {
        match self.immediate > 0.0 {
            true => format!("{} immediate, ", rate(self.immediate)),
            false => String::new(),
        }
    }

    /// The rates of requests that were dropped, with the reasons that occurred.
    fn drops(&self) -> String {
        let of = |reasons: &[(Counter, f64)], separator: &str| {
            let occurred = reasons.iter().filter(|(_, per_second)| *per_second > 0.0);
            let texts = occurred.map(|(reason, per_second)| {
                format!("{} {}", rate(*per_second), reason.label().replace('_', " "))
            });
            texts.collect::<Vec<_>>().join(separator)
        };
        let shed = rate(self.shed);
        let reasons = [(Counter::QueueFull, self.queue_full), (Counter::Expired, self.expired)];
        let others = [
            (Counter::TooManyConnections, self.too_many_connections),
            (Counter::NoMemory, self.no_memory),
        ];
        let (reasons, others) = (of(&reasons, ", "), of(&others, ", "));
        let reasons = if reasons.is_empty() { reasons } else { format!(" ({reasons})") };
        let others = if others.is_empty() { others } else { format!(", {others}") };
        format!("{shed} shed{reasons}{others}")
    }
}

/// The expected mean wait, and the range of waits of laws with the same two moments.
fn expected_queue_wait(
    before: &Snapshot,
    after: &Snapshot,
    service: &Distribution,
    rate: f64,
) -> Option<(Duration, (Duration, Duration))> {
    let mean = service.mean()?.as_secs_f64();
    let workers = u32::try_from(after.workers.len()).ok()?;
    let utilisation = theory::utilisation(rate, mean, workers).ok()?;
    let arrivals = after.arrival_variation_since(before)?;
    let variation = service.squared_variation()?;
    let wait = theory::two_moment_wait(workers, utilisation, arrivals, variation).ok()?;
    let (least, most) = theory::two_moments_leave(workers, utilisation, variation).ok()?;
    let time = |services: f64| Duration::try_from_secs_f64(services * mean).ok();
    Some((time(wait)?, (time(least)?, time(most)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, Turn};
    use std::time::Instant;

    /// Half a minute of two workers with a service time of 50 ms, at 30 requests per second.
    fn a_steady_load() -> Figures {
        let metrics = Metrics::new(2, 0);
        let [acceptor, one, two] = [0, 1, 2].map(|thread| metrics.recorder(thread));
        let before = metrics.snapshot(0);
        let start = Instant::now();
        let at = |millis: f64| start + Duration::from_secs_f64(millis / 1e3);
        for number in 0..900 {
            let worker = if number % 2 == 0 { &one } else { &two };
            let since = f64::from(number) * 1e3 / 30.0;
            acceptor.count(Counter::Offered);
            acceptor.queued(at(since), 0);
            worker.enter(Activity::Handle, at(since));
            worker.count(Counter::Handled);
            let turn = Turn { since: at(since), taken: at(since), handled: true };
            worker.let_go(turn, at(since + 50.0));
            worker.enter(Activity::Idle, at(since + 50.0));
        }
        let mut after = metrics.snapshot(0);
        after.at = before.at + Duration::from_secs(30);
        Figures::between(&before, &after)
    }

    #[test]
    fn figures_of_a_steady_load() {
        let figures = a_steady_load();
        let near = |got: f64, wanted: f64| (got - wanted).abs() < 0.01 * wanted;
        assert!(near(figures.offered, 30.0) && near(figures.handled, 30.0), "{figures:?}");
        assert!(near(figures.utilisation.handle, 0.75), "{figures:?}");
        assert!(near(figures.utilisation.total(), 0.75), "{figures:?}");
        assert!(near(figures.capacity.unwrap_or(0.0), 40.0), "{figures:?}");
        assert!(near(figures.load().unwrap_or(0.0), 0.75), "{figures:?}");
        assert!(near(figures.erlangs().unwrap_or(0.0), 1.5), "{figures:?}");
        assert_eq!(figures.shed_share(), 0.0);
        // With constant gaps and constant service times, no request waits.
        assert!(figures.expected_queue_wait < Some(Duration::from_micros(10)), "{figures:?}");
        // Constant services leave nothing open: with Poisson arrivals, the wait is that of M/D/2.
        let exact = theory::constant_wait(2, 0.75).expect("a steady state") * 0.05;
        let (least, most) = figures.expected_queue_wait_range.expect("a steady state");
        assert!(near(least.as_secs_f64(), exact) && near(most.as_secs_f64(), exact), "{figures:?}");
        assert!(figures.little.is_some_and(|little| little.residual() < 0.01), "{figures:?}");
    }

    #[test]
    fn the_line_has_the_drops_by_reason_and_the_limits_of_the_queue() {
        let metrics = Metrics::new(1, 0);
        let recorder = metrics.recorder(0);
        let before = metrics.snapshot(0);
        for (reason, count) in [
            (Counter::QueueFull, 40),
            (Counter::Expired, 5),
            (Counter::Abandoned, 2),
            (Counter::NoMemory, 3),
        ] {
            recorder.count_many(reason, count);
        }
        let mut after = metrics.snapshot(7);
        after.at = before.at + Duration::from_secs(2);
        (after.queue.bound, after.queue.age) = (20, Duration::from_millis(100));
        let figures = Figures::between(&before, &after);
        assert_eq!((figures.shed, figures.queue_full, figures.expired), (23.5, 20.0, 2.5));
        assert_eq!((figures.no_memory, figures.too_many_connections), (1.5, 0.0));
        let line = figures.line();
        let drops = ", 23.5 shed (20 queue full, 2.5 expired), 1.5 no memory; utilisation ";
        assert!(line.contains(drops), "{line}");
        assert!(line.contains("; 7 of 20 waiting, for at most 100 ms; queue wait "), "{line}");
        let quiet = Figures::between(&after, &after).line();
        assert!(quiet.contains(" handled, 0 shed; utilisation "), "{quiet}");
    }

    #[test]
    fn an_interval_without_requests() {
        let snapshot = Metrics::new(2, 0).snapshot(0);
        let figures = Figures::between(&snapshot, &snapshot);
        assert_eq!((figures.offered, figures.utilisation.total()), (0.0, 0.0));
        assert_eq!((figures.capacity, figures.load()), (None, None));
        assert_eq!(figures.erlangs(), Some(0.0), "nothing is no load");
        let unknown = Figures { offered: 1.0, ..figures.clone() };
        assert_eq!(unknown.erlangs(), None);
        assert_eq!((figures.expected_queue_wait, figures.little), (None, None));
        assert_eq!((figures.expected_queue_wait_range, figures.service_variation), (None, None));
        assert_eq!(figures.queue_wait, Times::default());
    }
}
