//! Measurements: one shard per thread, written by that thread alone; readers add the shards up.
//!
//! The terms are those of queueing theory:
//!
//! - A request is **in the system** from the moment it is queued (its message is complete) to the
//!   moment its worker releases it. A pipelined request that a worker continues with is queued and
//!   taken in the same moment. A request that waits for another's work is queued again.
//! - **Queue wait**: the time from queued to taken by a worker.
//! - **Service time**: the time from taken to released, for requests that a handler answered. It
//!   excludes what a slow client still has to read.
//! - **Handle time**: the part of the service time that is spent in the handler.
//! - **Response write time**: the time from the start of a response to its last byte.
//! - **Head read time**: the time from the first byte of a request head to its last.
//! - **Utilisation**: the time that workers had a job, divided by W times the elapsed time.
//!
//! Counting costs a store to a cache line that no other thread writes. Times are recorded under the
//! shard's own lock. Only a reader competes for it, while it copies. A thread that has recorded no
//! time holds no histogram, so a large pool costs memory only for the workers that have worked.
//!
//! # Floor plan
//!
//! Each file uses only those declared before it, and none uses what this one defines; a test
//! checks it.
//!
//! - `moments`: sums over durations, with their mean and variation.
//! - `distribution`: a histogram of durations.
//! - `counters`: what is counted, and the labels.
//! - `slots`: the place of each count in an array.
//! - `activity`: what a worker does, and for how long.
//! - `passage`: sums over arrivals and departures.
//! - `snapshot`: all measurements at one moment.
//! - `times`: the durations that one thread records, and adds to a snapshot.
//! - this file: the shards, their recorders, and the reader that adds them up.

mod moments;
mod distribution;
mod counters;
mod slots;
mod activity;
mod passage;
mod snapshot;
mod times;

pub use activity::{Activity, WorkerTimes};
pub use counters::{CloseReason, ConnectionPhase, Counter};
pub use distribution::Distribution;
pub use snapshot::{AcceptQueue, Little, QueueState, Snapshot};
pub use times::Turn;

use crate::http::status::Status;
use crate::lock::lock;
use activity::ActivityClock;
use slots::{SLOTS, WHOLE_HEADS};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use times::RecordedTimes;

/// The number of the acceptor's thread; the workers' are 1 to W.
const ACCEPTOR: usize = 0;

/// The latest service time has a weight of 1/8 in the moving average, like the latest round trip in
/// TCP's (RFC 6298).
const SMOOTHING: u64 = 8;

/// What one thread records, on cache lines of its own.
#[repr(align(128))]
#[derive(Debug)]
struct Shard {
    counters: [AtomicU64; SLOTS],
    /// Moving average of the service time, in nanoseconds; 0 before the first.
    service_nanos: AtomicU64,
    /// When the latest service ended, in nanoseconds.
    served_at: AtomicU64,
    activity: ActivityClock,
    times: Mutex<RecordedTimes>,
}

/// The measurements of one server.
#[derive(Debug)]
pub struct Metrics {
    /// The acceptor's shard, then the workers', then the other threads'.
    shards: Box<[Shard]>,
    workers: usize,
    /// The length of the kernel's accept queue when it was last read, and its bound.
    accept_queue: [AtomicU64; 2],
    started: Instant,
}

impl Metrics {
    /// Measurements by an acceptor, this many workers, and this many other threads.
    pub fn new(workers: usize, others: usize) -> Arc<Self> {
        let shard = || Shard {
            counters: [const { AtomicU64::new(0) }; SLOTS],
            service_nanos: AtomicU64::new(0),
            served_at: AtomicU64::new(0),
            activity: ActivityClock::new(),
            times: Mutex::default(),
        };
        let shards = (0..=workers + others).map(|_| shard()).collect();
        let (accept_queue, started) = (Default::default(), Instant::now());
        Arc::new(Self { shards, workers, accept_queue, started })
    }

    /// The recorder of one thread: 0 is the acceptor, 1 to W are the workers. No two threads may
    /// use the same recorder.
    pub fn recorder(self: &Arc<Self>, thread: usize) -> Recorder {
        assert!(thread < self.shards.len(), "a shard for each recording thread");
        Recorder { metrics: Arc::clone(self), thread, written: Cell::new(None) }
    }

    /// The sum of all shards, with `waiting` jobs in the queue.
    pub fn snapshot(&self, waiting: usize) -> Snapshot {
        let at = self.nanos(Instant::now());
        let mut snapshot = Snapshot::new(Duration::from_nanos(at));
        // The acceptor's shard comes last: a request is queued before it is released, so its
        // arrival must be read after its departure.
        for shard in self.shards[1..].iter().chain(&self.shards[..1]) {
            for (sum, counter) in snapshot.sums.iter_mut().zip(&shard.counters) {
                *sum += counter.load(Relaxed);
            }
            lock(&shard.times).add_to(&mut snapshot, waiting, at);
        }
        snapshot.head_read.record_zeros(snapshot.sums[WHOLE_HEADS]);
        snapshot.workers = self.workers().iter().map(|shard| shard.activity.read(at)).collect();
        snapshot.queue.waiting = waiting;
        let [waiting, bound] = self.accept_queue.each_ref().map(|of| of.load(Relaxed) as usize);
        snapshot.accept_queue = (bound > 0).then_some(AcceptQueue { waiting, bound });
        snapshot
    }

    /// What the workers have done in all, for the agent. It takes no lock and visits no connection.
    #[cfg(feature = "admin")]
    pub fn work(&self) -> Work {
        let at = self.nanos(Instant::now());
        let sum = |slot: usize| -> u64 {
            self.workers().iter().map(|shard| shard.counters[slot].load(Relaxed)).sum()
        };
        let refused = Counter::REASONS.iter().map(|&of| sum(slots::counter(of))).sum();
        Work {
            at: Duration::from_nanos(at),
            busy: self.workers().iter().map(|shard| shard.activity.read(at).busy()).sum(),
            handled: sum(slots::counter(Counter::Handled)),
            failed: sum(slots::class(5)).saturating_sub(refused),
        }
    }

    /// The number of workers without a job.
    pub fn idle_workers(&self) -> usize {
        let workers = self.workers().iter();
        workers.filter(|shard| shard.activity.activity() == Activity::Idle).count()
    }

    /// True if a worker is idle, or began what it does no longer than `within` before `now`.
    fn has_quick_worker(&self, now: Instant, within: Duration) -> bool {
        let since = self.nanos(now).saturating_sub(within.as_nanos() as u64);
        self.workers().iter().any(|shard| shard.activity.is_quick(since))
    }

    /// The mean of the workers' average service times, of those that have served within `memory`;
    /// none before the first.
    pub fn mean_service(&self, memory: Duration) -> Option<Duration> {
        let memory = u64::try_from(memory.as_nanos()).unwrap_or(u64::MAX);
        let oldest = self.nanos(Instant::now()).saturating_sub(memory);
        let recent = self.workers().iter().filter(|of| of.served_at.load(Relaxed) >= oldest);
        let averages = recent.map(|shard| shard.service_nanos.load(Relaxed));
        let (count, sum) = averages
            .filter(|&nanos| nanos > 0)
            .fold((0, 0u128), |(count, sum), nanos| (count + 1, sum + u128::from(nanos)));
        let mean = sum.checked_div(count)?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    fn workers(&self) -> &[Shard] {
        &self.shards[1..=self.workers]
    }

    /// Nanoseconds from the start to `moment`.
    fn nanos(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.started);
        // It wraps after five centuries.
        since.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(since.subsec_nanos()))
    }
}

/// What the workers of a server have done from its start to a moment.
#[cfg(feature = "admin")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// The moment: time since the server's start.
    pub at: Duration,
    /// The time that they had a job, including those that they have now.
    pub busy: Duration,
    /// Requests that a handler answered.
    pub handled: u64,
    /// Responses of class 5xx, without refusals.
    pub failed: u64,
}

/// Records the measurements of one thread.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    thread: usize,
    /// The write time of a response, kept until the turn ends, so that one lock serves both.
    written: Cell<Option<Duration>>,
}

impl Recorder {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(slots::counter(counter), 1);
    }

    /// Counts many.
    pub fn count_many(&self, counter: Counter, many: u64) {
        self.add(slots::counter(counter), many);
    }

    /// Counts a connection that ended.
    pub fn closed(&self, reason: CloseReason) {
        self.add(slots::reason(reason), 1);
    }

    /// Counts a response by its status class.
    pub fn responded(&self, status: Status) {
        self.add(slots::class(status.class()), 1);
    }

    /// Records what this worker does from `now` on.
    pub fn enter(&self, activity: Activity, now: Instant) {
        self.shard().activity.enter(activity, self.metrics.nanos(now));
    }

    /// The number of workers without a job.
    pub fn idle_workers(&self) -> usize {
        self.metrics.idle_workers()
    }

    /// Records a request that is queued behind `waiting` others.
    pub fn queued(&self, since: Instant, waiting: usize) {
        let since = self.metrics.nanos(since);
        lock(&self.shard().times).queued(since, waiting);
    }

    /// Counts a request head that arrived in one read, as most do.
    pub fn head_came_whole(&self) {
        self.add(WHOLE_HEADS, 1);
    }

    /// Records the time from the first byte of a request head to its last.
    pub fn head_read(&self, time: Duration) {
        lock(&self.shard().times).head_read.record(time);
    }

    /// Records the time from the start of a response to its last byte. A worker records it when its
    /// turn ends, other threads at once.
    pub fn written(&self, time: Duration) {
        if self.thread == ACCEPTOR || self.thread > self.metrics.workers {
            lock(&self.shard().times).response_write.record(time);
        } else if let Some(before) = self.written.replace(Some(time)) {
            lock(&self.shard().times).response_write.record(before);
        }
    }

    /// Records a pipelined request that this worker continues with: it is queued and taken at once.
    pub fn went_on(&self, now: Instant) {
        let now = self.metrics.nanos(now);
        lock(&self.shard().times).arrivals.pass(now);
    }

    /// Records the end of a turn.
    pub fn let_go(&self, turn: Turn, now: Instant) {
        let Turn { since, taken, handled } = turn;
        let [since, taken, at] = [since, taken, now].map(|moment| self.metrics.nanos(moment));
        if handled {
            self.served_in(at.saturating_sub(taken), at);
        }
        let mut times = lock(&self.shard().times);
        times.let_go(since, taken, at, handled);
        if let Some(written) = self.written.take() {
            times.response_write.record(written);
        }
    }

    /// Takes the time of a service that ended at nanosecond `at` into the average.
    fn served_in(&self, nanos: u64, at: u64) {
        let shard = self.shard();
        let latest = nanos.max(1);
        let next = match shard.service_nanos.load(Relaxed) {
            0 => latest,
            before => before - before / SMOOTHING + latest / SMOOTHING,
        };
        shard.service_nanos.store(next, Relaxed);
        shard.served_at.store(at, Relaxed);
    }

    /// True if a worker is idle, or began what it does no longer than `within` before `now`.
    pub fn has_quick_worker(&self, now: Instant, within: Duration) -> bool {
        self.metrics.has_quick_worker(now, within)
    }

    /// See [`Metrics::mean_service`].
    pub fn mean_service(&self, memory: Duration) -> Option<Duration> {
        self.metrics.mean_service(memory)
    }

    /// Records the state of the kernel's accept queue.
    pub fn accept_queue(&self, seen: AcceptQueue) {
        let AcceptQueue { waiting, bound } = seen;
        for (gauge, value) in self.metrics.accept_queue.iter().zip([waiting, bound]) {
            gauge.store(value as u64, Relaxed);
        }
    }

    fn add(&self, slot: usize, many: u64) {
        let counter = &self.shard().counters[slot];
        // Only this thread writes here, so no atomic read-modify-write is needed.
        counter.store(counter.load(Relaxed) + many, Relaxed);
    }

    fn shard(&self) -> &Shard {
        &self.metrics.shards[self.thread]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_service_time_follows_the_latest() {
        let metrics = Metrics::new(2, 0);
        let [acceptor, one, two] = [0, 1, 2].map(|thread| metrics.recorder(thread));
        let mean = || acceptor.mean_service(Duration::MAX);
        assert_eq!(mean(), None);
        let millis = Duration::from_millis;
        let start = metrics.started;
        let serve = |recorder: &Recorder, took, handled| {
            recorder.let_go(Turn { since: start, taken: start, handled }, start + millis(took));
        };
        serve(&one, 500, false);
        assert_eq!(mean(), None, "a refusal is no service");
        serve(&one, 10, true);
        assert_eq!(mean(), Some(millis(10)));
        serve(&two, 30, true);
        assert_eq!(mean(), Some(millis(20)));
        for _ in 0..100 {
            serve(&one, 30, true);
        }
        assert!(mean() > Some(millis(29)));
        // What was measured long ago says nothing about now.
        one.served_in(30_000_000, 0);
        two.served_in(50_000_000, u64::MAX);
        let of_two = millis(30) - millis(30) / 8 + millis(50) / 8;
        assert_eq!(acceptor.mean_service(Duration::ZERO), Some(of_two));
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

    /// Two requests arrive at 0 and 10 ms, and one worker serves them in turn, 20 ms each. The
    /// figures are those of a calculation by hand; Little's law is exact once the system is empty.
    #[test]
    fn two_requests_on_one_worker_give_the_figures_of_a_calculation() {
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
            worker.enter(Activity::Handle, at(taken));
            let turn = Turn { since: at(since), taken: at(taken), handled: true };
            worker.let_go(turn, at(end));
            worker.enter(Activity::Idle, at(end));
        }
        let mut after = metrics.snapshot(0);
        after.at = before.at + Duration::from_millis(100);
        assert_eq!(after.queue.oldest, None);
        assert_eq!(after.queue.high_water, 2);
        assert_eq!(after.queue_wait.sum(), Duration::from_millis(10));
        assert_eq!(after.service.mean(), Some(Duration::from_millis(20)));
        assert_eq!(after.workers[0].busy(), Duration::from_millis(40));
        // One in the system for 10 ms, two for 10 ms, one for 20 ms, over 100 ms: 0.5.
        let little = after.little_since(&before).expect("two have left");
        assert!((little.in_system - 0.5).abs() < 1e-9, "{little:?}");
        assert_eq!(little.time, Duration::from_millis(25));
        assert!(little.residual() < 1e-6, "{little:?}");
    }
}
