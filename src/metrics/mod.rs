//! What the server measures: one shard a thread, written by that thread alone, added up when read.
//!
//! The terms are those of queueing theory:
//!
//! - A request is **in the system** from the moment it is queued (its head is whole) to the moment
//!   its worker lets go of it. A pipelined request that a worker goes on with is queued and taken
//!   in the same moment; one that waits for what another does comes again.
//! - **Queue wait**: from queued to taken by a worker. **Service time**: from taken to let go of,
//!   for requests that a handler answered; what a slow client has still to read then is no part
//!   of it, and counts in the **write time**: from the start of a response to its last byte.
//! - **Head time**: from the first byte of a request head to its last.
//! - **Utilisation**: the time that workers had a job over all their time, W times the elapsed.
//!
//! Counting costs a store to a line of memory that no other thread writes. Times are recorded
//! under the shard's own lock, which nobody else takes but a reader, for as long as it copies.

mod activity;
mod counters;
mod distribution;
mod snapshot;
mod times;

pub use activity::{Activity, WorkerTimes};
pub use counters::{CloseReason, ConnectionPhase, Counter};
pub use distribution::Distribution;
pub use snapshot::{AcceptQueue, Little, QueueState, Snapshot};

use crate::http::status::Status;
use activity::ActivityClock;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use times::Times;

/// Status classes that responses have: 2xx to 5xx.
const CLASSES: usize = 4;
/// The slot of heads that came in one piece: too many for a lock each.
const WHOLE_HEADS: usize = Counter::ALL.len() + CloseReason::ALL.len() + CLASSES;
const SLOTS: usize = WHOLE_HEADS + 1;

/// The number of the acceptor's thread; the workers' are 1 to W.
const ACCEPTOR: usize = 0;

/// Weight of the latest service time in the moving average: 1/8, as TCP's round trip (RFC 6298).
const SMOOTHING: u64 = 8;

/// What one thread records, on cache lines of its own.
#[repr(align(128))]
#[derive(Debug)]
struct Shard {
    counters: [AtomicU64; SLOTS],
    /// Moving average of the handler's time, in nanoseconds; 0 before the first.
    service_nanos: AtomicU64,
    activity: ActivityClock,
    times: Mutex<Times>,
}

/// The measurements of one server.
#[derive(Debug)]
pub struct Metrics {
    /// The acceptor's first, then the workers', then those of the others.
    shards: Box<[Shard]>,
    workers: usize,
    /// The kernel's accept queue when it was last looked at, and its bound.
    accept_queue: [AtomicU64; 2],
    started: Instant,
}

/// A worker's turn with a connection.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// When its request was queued.
    pub since: Instant,
    /// When the worker took it.
    pub taken: Instant,
    /// A handler answered the request.
    pub handled: bool,
}

impl Metrics {
    /// Measurements by an acceptor, so many workers, and so many others.
    pub fn new(workers: usize, others: usize) -> Arc<Self> {
        let shard = || Shard {
            counters: [const { AtomicU64::new(0) }; SLOTS],
            service_nanos: AtomicU64::new(0),
            activity: ActivityClock::new(),
            times: Mutex::default(),
        };
        let shards = (0..=workers + others).map(|_| shard()).collect();
        let (accept_queue, started) = (Default::default(), Instant::now());
        Arc::new(Self { shards, workers, accept_queue, started })
    }

    /// The recorder of thread number `thread`, the acceptor being 0; each is for one thread alone.
    pub fn recorder(self: &Arc<Self>, thread: usize) -> Recorder {
        assert!(thread < self.shards.len(), "a shard for each recording thread");
        Recorder { metrics: Arc::clone(self), thread, written: Cell::new(None) }
    }

    /// All shards added up, with `waiting` jobs in the queue.
    pub fn snapshot(&self, waiting: usize) -> Snapshot {
        let at = self.nanos(Instant::now());
        let mut snapshot = Snapshot::new(Duration::from_nanos(at));
        // The workers first: a request that is let go of was queued earlier, so the shard where
        // it was queued must be read later.
        for shard in self.shards[1..].iter().chain(&self.shards[..1]) {
            for (sum, counter) in snapshot.sums.iter_mut().zip(&shard.counters) {
                *sum += counter.load(Relaxed);
            }
            lock(&shard.times).add_to(&mut snapshot, waiting, at);
        }
        snapshot.head.record_zeros(snapshot.sums[WHOLE_HEADS]);
        snapshot.workers = self.workers().iter().map(|shard| shard.activity.read(at)).collect();
        snapshot.queue.waiting = waiting;
        let [waiting, most] = self.accept_queue.each_ref().map(|of| of.load(Relaxed) as usize);
        snapshot.accept_queue = (most > 0).then_some(AcceptQueue { waiting, most });
        snapshot
    }

    /// The workers that have no job.
    pub fn idle_workers(&self) -> usize {
        let workers = self.workers().iter();
        workers.filter(|shard| shard.activity.activity() == Activity::Idle).count()
    }

    fn workers(&self) -> &[Shard] {
        &self.shards[1..=self.workers]
    }

    /// Nanoseconds from the start to `moment`.
    fn nanos(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.started);
        // It overflows after five centuries.
        since.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(since.subsec_nanos()))
    }
}

/// A thread that panicked while it recorded has at most left one record out.
fn lock(times: &Mutex<Times>) -> MutexGuard<'_, Times> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writing end of one thread's measurements.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    thread: usize,
    /// The writing time of a response, until the end of the turn that it was written in.
    written: Cell<Option<Duration>>,
}

impl Recorder {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter as usize, 1);
    }

    /// Counts many.
    pub fn count_many(&self, counter: Counter, many: u64) {
        self.add(counter as usize, many);
    }

    /// Counts a connection that ended.
    pub fn closed(&self, reason: CloseReason) {
        self.add(reason_slot(reason), 1);
    }

    /// Counts a response by its status class.
    pub fn responded(&self, status: Status) {
        self.add(class_slot(status.class()), 1);
    }

    /// Notes what this worker does from `now` on.
    pub fn enter(&self, activity: Activity, now: Instant) {
        self.shard().activity.enter(activity, self.metrics.nanos(now));
    }

    /// The workers that have no job.
    pub fn idle_workers(&self) -> usize {
        self.metrics.idle_workers()
    }

    /// Notes a request that is queued, and the jobs that wait with it.
    pub fn queued(&self, since: Instant, waiting: usize) {
        let since = self.metrics.nanos(since);
        lock(&self.shard().times).queued(since, waiting);
    }

    /// Notes a request head that came in one piece, as most do.
    pub fn head_came_whole(&self) {
        self.add(WHOLE_HEADS, 1);
    }

    /// Notes the time that a request head took to arrive.
    pub fn head_read(&self, time: Duration) {
        lock(&self.shard().times).head.record(time);
    }

    /// Notes the time that a response took to be written: at once, or with the end of the turn
    /// that a worker has.
    pub fn written(&self, time: Duration) {
        if self.thread == ACCEPTOR || self.thread > self.metrics.workers {
            lock(&self.shard().times).write.record(time);
        } else if let Some(before) = self.written.replace(Some(time)) {
            lock(&self.shard().times).write.record(before);
        }
    }

    /// Notes a pipelined request that this worker goes on with: queued and taken at once.
    pub fn went_on(&self, now: Instant) {
        let now = self.metrics.nanos(now);
        lock(&self.shard().times).arrivals.pass(now);
    }

    /// Notes the end of a turn.
    pub fn let_go(&self, turn: Turn, now: Instant) {
        let at = self.metrics.nanos(now);
        let mut times = lock(&self.shard().times);
        times.let_go(turn, now, at);
        if let Some(written) = self.written.take() {
            times.write.record(written);
        }
    }

    /// Notes the time that a handler took for a request.
    pub fn served_in(&self, service: Duration) {
        let average = &self.shard().service_nanos;
        let latest = u64::try_from(service.as_nanos()).unwrap_or(u64::MAX).max(1);
        let next = match average.load(Relaxed) {
            0 => latest,
            before => before - before / SMOOTHING + latest / SMOOTHING,
        };
        average.store(next, Relaxed);
    }

    /// The mean of the workers' average service times; none before the first job.
    pub fn mean_service(&self) -> Option<Duration> {
        let averages = self.metrics.shards.iter().map(|shard| shard.service_nanos.load(Relaxed));
        let (count, sum) = averages
            .filter(|&nanos| nanos > 0)
            .fold((0, 0u128), |(count, sum), nanos| (count + 1, sum + u128::from(nanos)));
        let mean = sum.checked_div(count)?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// Notes how many connections the kernel holds, and how many it would.
    pub fn accept_queue(&self, seen: AcceptQueue) {
        let AcceptQueue { waiting, most } = seen;
        for (gauge, value) in self.metrics.accept_queue.iter().zip([waiting, most]) {
            gauge.store(value as u64, Relaxed);
        }
    }

    fn add(&self, slot: usize, many: u64) {
        let counter = &self.shard().counters[slot];
        // This thread alone writes here, so no read-modify-write is needed.
        counter.store(counter.load(Relaxed) + many, Relaxed);
    }

    fn shard(&self) -> &Shard {
        &self.metrics.shards[self.thread]
    }
}

fn reason_slot(reason: CloseReason) -> usize {
    Counter::ALL.len() + reason as usize
}

fn class_slot(class: u16) -> usize {
    Counter::ALL.len() + CloseReason::ALL.len() + usize::from(class.clamp(2, 5) - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_service_time_follows_the_latest() {
        let metrics = Metrics::new(2, 0);
        let [acceptor, one, two] = [0, 1, 2].map(|thread| metrics.recorder(thread));
        assert_eq!(acceptor.mean_service(), None);
        let millis = Duration::from_millis;
        one.served_in(millis(10));
        assert_eq!(acceptor.mean_service(), Some(millis(10)));
        two.served_in(millis(30));
        assert_eq!(acceptor.mean_service(), Some(millis(20)));
        for _ in 0..100 {
            one.served_in(millis(30));
        }
        assert!(acceptor.mean_service() > Some(millis(29)));
    }

    #[test]
    fn shards_add_up() {
        let metrics = Metrics::new(1, 0);
        let [one, two] = [0, 1].map(|thread| metrics.recorder(thread));
        one.count(Counter::Accepted);
        two.count(Counter::Accepted);
        two.count_many(Counter::BytesSent, 500);
        one.closed(CloseReason::Cut);
        two.responded(Status::NOT_FOUND);
        two.responded(Status::VERSION_NOT_SUPPORTED);
        let snapshot = metrics.snapshot(0);
        assert_eq!(snapshot.get(Counter::Accepted), 2);
        assert_eq!(snapshot.get(Counter::BytesSent), 500);
        assert_eq!(snapshot.get(Counter::Panics), 0);
        assert_eq!((snapshot.closed(CloseReason::Cut), snapshot.closed_in_all()), (1, 1));
        assert_eq!([2, 3, 4, 5].map(|class| snapshot.responses(class)), [0, 0, 1, 1]);
    }
    /// Two requests, queued at 0 and 10 ms, are served one after the other, 20 ms each; the figures
    /// are those of anybody who watched, and Little's law is exact once the system is empty.
    #[test]
    fn a_small_story_is_told_right() {
        let metrics = Metrics::new(1, 0);
        let [acceptor, worker] = [0, 1].map(|thread| metrics.recorder(thread));
        let start = metrics.started;
        let before = metrics.snapshot(0);
        let at = |millis| start + Duration::from_millis(millis);
        acceptor.queued(at(0), 0);
        acceptor.queued(at(10), 1);
        let oldest = metrics.snapshot(1).queue.oldest;
        assert!(oldest < metrics.snapshot(2).queue.oldest, "two wait; the older one for longer");
        for (since, taken, end) in [(0, 0, 20), (10, 20, 40)] {
            worker.enter(Activity::Delay, at(taken));
            let turn = Turn { since: at(since), taken: at(taken), handled: true };
            worker.let_go(turn, at(end));
            worker.enter(Activity::Idle, at(end));
        }
        let mut after = metrics.snapshot(0);
        after.at = before.at + Duration::from_millis(100);
        assert_eq!(after.queue.oldest, None);
        assert_eq!(after.queue.high_water, 2);
        assert_eq!(after.wait.sum(), Duration::from_millis(10));
        assert_eq!(after.service.mean(), Some(Duration::from_millis(20)));
        assert_eq!(after.workers[0].busy(), Duration::from_millis(40));
        // One in the system for 10 ms, two for 10 ms, one for 20 ms, over 100 ms: 0.5.
        let little = after.little_since(&before).expect("two have left");
        assert!((little.in_system - 0.5).abs() < 1e-9, "{little:?}");
        assert_eq!(little.time, Duration::from_millis(25));
        assert!(little.residual() < 1e-6, "{little:?}");
    }
}
