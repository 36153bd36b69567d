//! What the server counts: one shard a thread, written without sharing and added up when read.

use crate::http::status::Status;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident $label:literal)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word that logs and metrics use.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

counted! {
    /// Why a connection ended. Every accepted connection ends for exactly one reason.
    CloseReason {
        /// The response that asked for the end was written.
        Completed "completed"
        /// The client ended its side between requests.
        PeerClosed "peer_closed"
        /// The client ended its side, or the connection broke, within an exchange.
        PeerGone "peer_gone"
        /// A request was refused by a fault or ended by its handler's panic, and that was written;
        /// or its client had far too many connections.
        Refused "refused"
        /// No request came in time.
        IdleTimeout "idle_timeout"
        /// The client took its response too slowly.
        WriteTimeout "write_timeout"
        /// A file ended before its announced length, or could not be read.
        BodyFailed "body_failed"
        /// It was the longest idle one when a new client needed its place or its descriptor.
        Evicted "evicted"
        /// It was idle when the server stopped, and a last read found nothing.
        Drained "drained"
        /// It was busy when the drain deadline came.
        Cut "cut"
        /// The system refused to watch it.
        Unwatchable "unwatchable"
        /// A panic of the server's own that it brought out.
        Panicked "panicked"
    }
}

counted! {
    /// What else is counted.
    Counter {
        /// Connections accepted.
        Accepted "accepted"
        /// Requests taken by a worker and handled.
        Handled "handled"
        /// Requests refused by a fault: malformed, too late, too many. Every response is to a
        /// request that was handled or refused.
        Refused "refused"
        /// Of those refused: the queue was full.
        QueueFull "queue_full"
        /// Of those refused: they had waited too long.
        Expired "expired"
        /// Of those refused: their address had too many connections.
        TooManyConnections "too_many_connections"
        /// Requests dropped because their client had gone.
        Gone "gone"
        /// Handlers that panicked.
        Panics "panics"
        /// Workers that died and were replaced.
        WorkersReplaced "workers_replaced"
    }
}

const CLASSES: usize = 4;
const SLOTS: usize = Counter::ALL.len() + CloseReason::ALL.len() + CLASSES;

/// One thread's counters, on cache lines of their own.
#[repr(align(128))]
#[derive(Debug)]
struct Shard {
    counters: [AtomicU64; SLOTS],
    /// Moving average of the service time, in nanoseconds; 0 before the first.
    service_nanos: AtomicU64,
    /// The thread is a worker, and has no job.
    idle: AtomicBool,
}

/// Weight of the latest service time in the moving average: 1/8, as TCP's round trip (RFC 6298).
const SMOOTHING: u64 = 8;

/// The counters of one server.
#[derive(Debug)]
pub struct Metrics {
    shards: Box<[Shard]>,
}

impl Metrics {
    /// Counters for so many recording threads.
    pub fn new(threads: usize) -> Arc<Self> {
        let shard = || Shard {
            counters: [const { AtomicU64::new(0) }; SLOTS],
            service_nanos: AtomicU64::new(0),
            idle: AtomicBool::new(false),
        };
        Arc::new(Self { shards: (0..threads).map(|_| shard()).collect() })
    }

    /// The recorder of thread number `thread`; each number is for one thread alone.
    pub fn recorder(self: &Arc<Self>, thread: usize) -> Recorder {
        assert!(thread < self.shards.len(), "a shard for each recording thread");
        Recorder { metrics: Arc::clone(self), thread }
    }

    /// All shards added up.
    pub fn snapshot(&self) -> Snapshot {
        let mut sums = [0; SLOTS];
        for shard in &self.shards {
            for (sum, counter) in sums.iter_mut().zip(&shard.counters) {
                *sum += counter.load(Relaxed);
            }
        }
        Snapshot { sums }
    }
}

/// The writing end of one thread's counters.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    thread: usize,
}

impl Recorder {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter as usize);
    }

    /// Counts a connection that ended.
    pub fn closed(&self, reason: CloseReason) {
        self.add(Counter::ALL.len() + reason as usize);
    }

    /// Counts a response by its status class.
    pub fn responded(&self, status: Status) {
        self.add(class_slot(status.class()));
    }

    /// Notes that a worker has no job, or has one.
    pub fn set_idle(&self, idle: bool) {
        self.metrics.shards[self.thread].idle.store(idle, Relaxed);
    }

    /// The workers that have no job.
    pub fn idle_workers(&self) -> usize {
        self.metrics.shards.iter().filter(|shard| shard.idle.load(Relaxed)).count()
    }

    /// Notes the time that a handler took for a request.
    pub fn served_in(&self, service: Duration) {
        let average = &self.metrics.shards[self.thread].service_nanos;
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

    fn add(&self, slot: usize) {
        let counter = &self.metrics.shards[self.thread].counters[slot];
        // This thread alone writes here, so no read-modify-write is needed.
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    }
}

fn class_slot(class: u16) -> usize {
    Counter::ALL.len() + CloseReason::ALL.len() + usize::from(class.clamp(2, 5) - 2)
}

/// The counters at one moment. They are read one after another while threads go on counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    sums: [u64; SLOTS],
}

impl Snapshot {
    /// The value of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.sums[counter as usize]
    }

    /// Connections that ended for this reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.sums[Counter::ALL.len() + reason as usize]
    }

    /// Connections that ended.
    pub fn closed_in_all(&self) -> u64 {
        CloseReason::ALL.iter().map(|&reason| self.closed(reason)).sum()
    }

    /// Responses whose status begins with this digit, 2 to 5.
    pub fn responses(&self, class: u16) -> u64 {
        self.sums[class_slot(class)]
    }

    /// Responses of all classes.
    pub fn responses_in_all(&self) -> u64 {
        (2..=5).map(|class| self.responses(class)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_service_time_follows_the_latest() {
        let metrics = Metrics::new(3);
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
        let metrics = Metrics::new(2);
        let [one, two] = [0, 1].map(|thread| metrics.recorder(thread));
        one.count(Counter::Accepted);
        two.count(Counter::Accepted);
        one.closed(CloseReason::Cut);
        two.responded(Status::NOT_FOUND);
        two.responded(Status::VERSION_NOT_SUPPORTED);
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.get(Counter::Accepted), 2);
        assert_eq!(snapshot.get(Counter::Panics), 0);
        assert_eq!(snapshot.closed(CloseReason::Cut), 1);
        assert_eq!(snapshot.closed_in_all(), 1);
        assert_eq!(snapshot.responses(4), 1);
        assert_eq!(snapshot.responses_in_all(), 2);
    }
}
