//! The capacity of the workers: W / S, where S is the service time that is measured now.

use crate::metrics::Work;
use std::time::Duration;

/// The memory of the estimate. It averages many services, so that the weight is steady.
const SLOW: Duration = Duration::from_secs(10);

/// The memory of the estimate that notices a change.
const FAST: Duration = Duration::from_secs(1);

/// The least change, as a logarithm, that makes the slow estimate forget what was before: 22 %.
const CHANGE: f64 = 0.2;

/// The same in terms of chance, for few services: over N of them, the logarithm of the mean of
/// exponential service times has a standard deviation of about 1 / sqrt(N).
const CHANCE: f64 = 1.5;

/// How long the slow estimate follows the fast one after a change. Then the fast one has forgotten
/// what was before the change, but for e^-3 of it.
const SETTLES: Duration = Duration::from_secs(3);

/// Services that the estimate needs before it says what is usual.
const ENOUGH: f64 = 20.0;

/// The share of failed responses from which on quick services are no sign of capacity: a server
/// whose back-end is gone fails fast.
const FAILED: f64 = 0.1;

/// Sums over the recent past; what happened a memory ago counts e times less.
///
/// The service time is S = U / X: the mean number of busy workers divided by the rate of answers
/// (the utilisation law; Denning and Buzen, "The operational analysis of queueing network models",
/// 1978). The busy time includes what is in service now, so a back-end that hangs shows before its
/// first answer.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    busy: f64,
    handled: f64,
    failed: f64,
}

impl Sums {
    fn add(&mut self, new: Self, factor: f64) {
        self.busy = self.busy * factor + new.busy;
        self.handled = self.handled * factor + new.handled;
        self.failed = self.failed * factor + new.failed;
    }

    /// The service time in seconds. Where no service has ended, it takes at least this long.
    fn service(&self) -> f64 {
        self.busy / self.handled.max(1.0)
    }
}

/// What the workers can do.
#[derive(Debug)]
pub(super) struct Capacity {
    workers: f64,
    last: Work,
    slow: Sums,
    fast: Sums,
    /// Until then the slow estimate follows the fast one.
    changes_until: Duration,
    /// A service has ended.
    is_known: bool,
}

impl Capacity {
    /// The capacity of this many workers, which have done this before.
    pub(super) fn new(workers: usize, before: Work) -> Self {
        let (slow, fast) = Default::default();
        let (changes_until, is_known) = (Duration::ZERO, false);
        Self { workers: workers as f64, last: before, slow, fast, changes_until, is_known }
    }

    /// Takes in what the workers have done since the last time.
    pub(super) fn look(&mut self, work: Work) {
        let before = std::mem::replace(&mut self.last, work);
        let elapsed = work.at.saturating_sub(before.at).as_secs_f64();
        let new = Sums {
            busy: work.busy.saturating_sub(before.busy).as_secs_f64(),
            handled: work.handled.saturating_sub(before.handled) as f64,
            failed: work.failed.saturating_sub(before.failed) as f64,
        };
        // A server without work forgets nothing.
        if new.busy == 0.0 && new.handled == 0.0 {
            return;
        }
        self.is_known |= new.handled > 0.0;
        let factor = |memory: Duration| (-elapsed / memory.as_secs_f64()).exp();
        self.slow.add(new, factor(SLOW));
        self.fast.add(new, factor(FAST));
        let change = (self.fast.service() / self.slow.service()).ln().abs();
        if change > CHANGE.max(CHANCE / self.fast.handled.max(1.0).sqrt()) {
            self.changes_until = work.at + SETTLES;
        }
        if work.at < self.changes_until {
            self.slow = self.fast;
        }
    }

    /// Requests per second; none before the first service.
    pub(super) fn rate(&self) -> Option<f64> {
        let service = self.slow.service();
        (self.is_known && service > 0.0).then(|| self.workers / service)
    }

    /// True if the rate is the mean of enough services to be told from chance.
    pub(super) fn is_settled(&self) -> bool {
        self.slow.handled >= ENOUGH
    }

    /// True if many of the latest responses say that the server failed.
    pub(super) fn is_failing(&self) -> bool {
        self.fast.failed > FAILED * self.fast.handled
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Workers with this utilisation and service time, in seconds.
    pub(in crate::agent) struct Pool {
        pub(in crate::agent) workers: usize,
        pub(in crate::agent) utilisation: f64,
        pub(in crate::agent) service: f64,
        pub(in crate::agent) work: Work,
        handled: f64,
    }

    impl Pool {
        pub(in crate::agent) fn new(workers: usize, utilisation: f64, service: f64) -> Self {
            Self { workers, utilisation, service, work: Work::default(), handled: 0.0 }
        }

        /// Works for this time.
        pub(in crate::agent) fn work_for(&mut self, time: Duration) -> Work {
            let busy = time.mul_f64(self.utilisation * self.workers as f64);
            self.handled += busy.as_secs_f64() / self.service;
            self.work.at += time;
            self.work.busy += busy;
            self.work.handled = self.handled as u64;
            self.work
        }
    }

    const TICK: Duration = Duration::from_millis(200);

    fn look(capacity: &mut Capacity, pool: &mut Pool, seconds: f64) -> f64 {
        for _ in 0..(seconds / TICK.as_secs_f64()).round() as usize {
            capacity.look(pool.work_for(TICK));
        }
        capacity.rate().unwrap_or_default()
    }

    #[test]
    fn it_is_the_number_of_workers_divided_by_the_service_time() {
        for (workers, utilisation, service) in [(1, 0.8, 0.05), (4, 0.2, 0.02), (2, 1.0, 0.5)] {
            let mut capacity = Capacity::new(workers, Work::default());
            assert_eq!(capacity.rate(), None);
            let found = look(&mut capacity, &mut Pool::new(workers, utilisation, service), 20.0);
            let wanted = workers as f64 / service;
            assert!((found / wanted - 1.0).abs() < 0.03, "{found} for {wanted}");
            assert!(capacity.is_settled() && !capacity.is_failing());
        }
    }

    #[test]
    fn a_service_that_trebles_shows_within_two_seconds() {
        for workers in [1, 2, 4] {
            let mut capacity = Capacity::new(workers, Work::default());
            let mut pool = Pool::new(workers, 0.8, 0.02);
            let before = look(&mut capacity, &mut pool, 10.0);
            (pool.service, pool.utilisation) = (0.06, 1.0);
            let soon = look(&mut capacity, &mut pool, 1.6);
            assert!(soon < 0.6 * before, "{soon} of {before}");
            let later = look(&mut capacity, &mut pool, 4.0);
            assert!((3.0 * later / before - 1.0).abs() < 0.03, "{later} of {before}");
            (pool.service, pool.utilisation) = (0.02, 0.8);
            let again = look(&mut capacity, &mut pool, 20.0);
            assert!((again / before - 1.0).abs() < 0.05, "{again} of {before}");
        }
    }

    #[test]
    fn a_back_end_that_hangs_shows_before_its_first_answer() {
        let mut capacity = Capacity::new(2, Work::default());
        let mut pool = Pool::new(2, 0.5, 0.02);
        let before = look(&mut capacity, &mut pool, 10.0);
        (pool.service, pool.utilisation) = (f64::INFINITY, 1.0);
        let soon = look(&mut capacity, &mut pool, 3.0);
        assert!(soon < 0.1 * before, "{soon} of {before}");
    }

    #[test]
    fn an_idle_server_forgets_nothing() {
        let mut capacity = Capacity::new(1, Work::default());
        let mut pool = Pool::new(1, 0.5, 0.02);
        let before = look(&mut capacity, &mut pool, 10.0);
        pool.utilisation = 0.0;
        assert_eq!(look(&mut capacity, &mut pool, 3600.0), before);
    }

    #[test]
    fn failed_responses_are_noticed() {
        let mut capacity = Capacity::new(1, Work::default());
        let mut pool = Pool::new(1, 0.5, 0.02);
        look(&mut capacity, &mut pool, 10.0);
        pool.work.failed += 5;
        look(&mut capacity, &mut pool, 0.2);
        assert!(capacity.is_failing());
        look(&mut capacity, &mut pool, 5.0);
        assert!(!capacity.is_failing());
    }
}
