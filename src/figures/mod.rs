//! A stretch of a server's life in the figures of queueing theory, from the snapshots at its ends.

mod condition;

pub use condition::{Condition, ConditionKind};

use crate::metrics::{Activity, Counter, Distribution, Little, Snapshot};
use crate::theory;
use std::time::Duration;

/// The figures of a stretch of time.
#[derive(Debug, Clone)]
pub struct Figures {
    /// The stretch's length.
    pub elapsed: Duration,
    /// Worker threads, W.
    pub workers: usize,
    /// Requests a second that came, those included that were turned away by a full queue.
    pub offered: f64,
    /// Requests a second that a handler answered.
    pub served: f64,
    /// Requests a second that were refused since more came than the pool carries.
    pub refused: f64,
    /// Requests a second that were refused since their client had too many connections. They are
    /// part of nothing else here: no load is too much for the pool because of them.
    pub limited: f64,
    /// The share of their time that the workers had a job: parsing, in the handler, responding.
    pub utilisation: Utilisation,
    /// From queued to taken.
    pub wait: Times,
    /// From taken to let go of.
    pub service: Times,
    /// Requests a second that the pool carries: W over the mean service time; none where nothing
    /// was served.
    pub capacity: Option<f64>,
    /// The mean wait that theory expects of such arrivals and such service, in the steady state
    /// of a queue without a bound ([`theory::allen_cunneen`]); none where there is no steady
    /// state, where some were refused, or where there is too little to go by.
    pub expected_wait: Option<Duration>,
    /// Little's law; none where no request left.
    pub little: Option<Little>,
    /// Jobs that waited at its end.
    pub waiting: usize,
}

/// Parts of the workers' time, each between 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Utilisation {
    /// Making requests of heads.
    pub parse: f64,
    /// In the handler, and with that in the back-end's delay.
    pub delay: f64,
    /// Writing responses.
    pub respond: f64,
}

/// How long something took; all none where it did not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// How often it happened.
    pub count: u64,
    /// The arithmetic mean.
    pub mean: Option<Duration>,
    /// Half took no longer.
    pub p50: Option<Duration>,
    /// Nine in ten took no longer.
    pub p90: Option<Duration>,
    /// 99 in 100 took no longer.
    pub p99: Option<Duration>,
}

impl Times {
    /// The times of a distribution.
    pub fn of(distribution: &Distribution) -> Self {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|of| distribution.quantile(of));
        Self { count: distribution.count(), mean: distribution.mean(), p50, p90, p99 }
    }
}

impl Utilisation {
    /// All parts together.
    pub fn total(&self) -> f64 {
        self.parse + self.delay + self.respond
    }

    fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let elapsed = after.at.saturating_sub(before.at).as_secs_f64();
        let most = after.workers.len() as f64 * elapsed;
        let spent = |snapshot: &Snapshot, activity| -> f64 {
            snapshot.workers.iter().map(|worker| worker.spent(activity).as_secs_f64()).sum()
        };
        let share = |activity| match most > 0.0 {
            true => (spent(after, activity) - spent(before, activity)).clamp(0.0, most) / most,
            false => 0.0,
        };
        Self {
            parse: share(Activity::Parse),
            delay: share(Activity::Delay),
            respond: share(Activity::Respond),
        }
    }
}

impl Figures {
    /// What lies between two snapshots of one server.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let elapsed = after.at.saturating_sub(before.at);
        let rate = |count: u64| match elapsed.as_secs_f64() {
            0.0 => 0.0,
            seconds => count as f64 / seconds,
        };
        let counted = |counters: &[Counter]| {
            let of = |snapshot: &Snapshot| counters.iter().map(|&of| snapshot.get(of)).sum::<u64>();
            of(after).saturating_sub(of(before))
        };
        let at_the_door = counted(&[Counter::QueueFull]);
        let unhandled = counted(&[Counter::Unhandled]);
        let arrived = after.arrivals().saturating_sub(before.arrivals());
        let arrived = arrived.saturating_sub(unhandled);
        let later = counted(&[Counter::Expired, Counter::Abandoned]);
        let workers = after.workers.len();
        let service = after.service.since(&before.service);
        let wait = after.wait.since(&before.wait);
        let capacity = service
            .mean()
            .filter(|mean| !mean.is_zero())
            .map(|mean| workers as f64 / mean.as_secs_f64());
        Self {
            elapsed,
            workers,
            offered: rate(arrived + at_the_door),
            served: rate(counted(&[Counter::Handled])),
            refused: rate(at_the_door + later),
            limited: rate(counted(&[Counter::TooManyConnections])),
            utilisation: Utilisation::between(before, after),
            wait: Times::of(&wait),
            service: Times::of(&service),
            capacity,
            expected_wait: (at_the_door + later == 0)
                .then(|| expected_wait(before, after, &service, rate(arrived)))
                .flatten(),
            little: after.little_since(before),
            waiting: after.queue.waiting,
        }
    }

    /// The offered load as a share of what the pool carries; none where that is not known.
    pub fn load(&self) -> Option<f64> {
        self.capacity.map(|capacity| self.offered / capacity)
    }

    /// How many times the offered load the pool would carry; none where either is not known.
    pub fn headroom(&self) -> Option<f64> {
        self.load().filter(|&load| load > 0.0).map(|load| 1.0 / load)
    }

    /// The part of what came that was refused.
    pub fn refused_share(&self) -> f64 {
        if self.offered > 0.0 { (self.refused / self.offered).min(1.0) } else { 0.0 }
    }

    /// The figures in one line, for a terminal.
    pub fn line(&self) -> String {
        let shown = |time: Option<Duration>| time.map_or("-".to_owned(), condition::time);
        let residual = self.little.map_or("-".to_owned(), |of| condition::percent(of.residual()));
        format!(
            "{} requests/s, {} served, {} refused; utilisation {}; {} wait; wait p50 {} p99 {}; \
             service mean {} p99 {}; Little's law within {residual}",
            condition::rate(self.offered),
            condition::rate(self.served),
            condition::rate(self.refused),
            condition::percent(self.utilisation.total()),
            self.waiting,
            shown(self.wait.p50),
            shown(self.wait.p99),
            shown(self.service.mean),
            shown(self.service.p99),
        )
    }

    /// What is going on.
    pub fn condition(&self) -> Condition {
        Condition::of(self)
    }
}

fn expected_wait(
    before: &Snapshot,
    after: &Snapshot,
    service: &Distribution,
    rate: f64,
) -> Option<Duration> {
    let mean = service.mean()?.as_secs_f64();
    let workers = u32::try_from(after.workers.len()).ok()?;
    let utilisation = theory::utilisation(rate, mean, workers).ok()?;
    let arrivals = after.arrival_variation_since(before)?;
    let variation = service.squared_variation()?;
    let wait = theory::allen_cunneen(workers, utilisation, arrivals, variation).ok()?;
    Duration::try_from_secs_f64(wait * mean).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, Turn};
    use std::time::Instant;

    /// Half a minute of a pool of two, each of whose services takes 50 ms, at 30 a second.
    fn a_steady_story() -> Figures {
        let metrics = Metrics::new(2, 0);
        let [acceptor, one, two] = [0, 1, 2].map(|thread| metrics.recorder(thread));
        let before = metrics.snapshot(0);
        let start = Instant::now();
        let at = |millis: f64| start + Duration::from_secs_f64(millis / 1e3);
        for number in 0..900 {
            let worker = if number % 2 == 0 { &one } else { &two };
            let since = f64::from(number) * 1e3 / 30.0;
            acceptor.queued(at(since), 0);
            worker.enter(Activity::Delay, at(since));
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
    fn figures_of_a_steady_story() {
        let figures = a_steady_story();
        let near = |got: f64, wanted: f64| (got - wanted).abs() < 0.01 * wanted;
        assert!(near(figures.offered, 30.0) && near(figures.served, 30.0), "{figures:?}");
        assert!(near(figures.utilisation.delay, 0.75), "{figures:?}");
        assert!(near(figures.utilisation.total(), 0.75), "{figures:?}");
        assert!(near(figures.capacity.unwrap_or(0.0), 40.0), "{figures:?}");
        assert!(near(figures.headroom().unwrap_or(0.0), 4.0 / 3.0), "{figures:?}");
        assert_eq!(figures.refused_share(), 0.0);
        // Constant arrivals and constant service: nobody waits.
        assert!(figures.expected_wait < Some(Duration::from_micros(10)), "{figures:?}");
        assert!(figures.little.is_some_and(|little| little.residual() < 0.01), "{figures:?}");
    }

    #[test]
    fn nothing_happened() {
        let snapshot = Metrics::new(2, 0).snapshot(0);
        let figures = Figures::between(&snapshot, &snapshot);
        assert_eq!((figures.offered, figures.utilisation.total()), (0.0, 0.0));
        assert_eq!((figures.capacity, figures.headroom()), (None, None));
        assert_eq!((figures.expected_wait, figures.little), (None, None));
        assert_eq!(figures.wait, Times::default());
    }
}
