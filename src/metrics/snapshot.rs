//! A server's measurements at one moment.

use super::activity::WorkerTimes;
use super::counters::{CloseReason, ConnectionPhase, Counter};
use super::distribution::Distribution;
use super::moments::Moments;
use super::passage::Passage;
use super::slots::{self, SLOTS};
use crate::memory::MemoryState;
use std::time::Duration;

/// Fewer gaps between arrivals than this are too few to estimate a variation.
const GAPS: u64 = 10;

/// The measurements at one moment.
///
/// They are read one after another while threads go on working. So an event that happens meanwhile
/// can be in one of them and not yet in another.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The moment: time since the server's start.
    pub at: Duration,
    /// Each worker's time, by activity.
    pub workers: Vec<WorkerTimes>,
    /// Time from the first byte of a request head to its last.
    pub head_read: Distribution,
    /// Time from queued to taken by a worker.
    pub queue_wait: Distribution,
    /// Time from taken by a worker to released by it, for requests that a handler answered.
    pub service: Distribution,
    /// Time from the start of a response to its last byte.
    pub response_write: Distribution,
    /// The queue of jobs.
    pub queue: QueueState,
    /// The kernel's accept queue, where the system reports it.
    pub accept_queue: Option<AcceptQueue>,
    /// Memory held for clients.
    pub memory: MemoryState,
    pub(super) sums: [u64; SLOTS],
    pub(super) arrivals: Passage,
    pub(super) departures: Passage,
    /// Nanoseconds; they wrap.
    pub(super) in_system: u64,
    pub(super) gaps: Moments,
    pub(crate) connections: [usize; ConnectionPhase::ALL.len()],
}

/// The queue of jobs at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueState {
    /// The number of waiting jobs.
    pub waiting: usize,
    /// The largest number of jobs that may wait.
    pub bound: usize,
    /// The largest number that ever waited, up to the bound. A job counts even if an idle worker
    /// takes it at once.
    pub high_water: usize,
    /// How long the oldest waiting job has waited.
    pub oldest: Option<Duration>,
    /// The longest wait: a request that has waited longer is refused. It is the one in force now.
    pub age: Duration,
    /// The moving average of the service time, S, from which `bound` and `age` follow unless they
    /// are configured; none while nothing has been served lately.
    pub service: Option<Duration>,
}

/// Connections that the kernel has established and the acceptor has not accepted yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// The number of waiting connections.
    pub waiting: usize,
    /// The largest number that may wait.
    pub bound: usize,
}

/// Little's law over an interval: the mean number of requests in the system is their arrival rate
/// times their mean time in the system
/// (Little, "A proof for the queuing formula L = lambda W", 1961).
///
/// The number comes from the moments of arrivals and departures, the time from each request's own
/// duration. Both sides agree except for requests that are in the system at either end of the
/// interval. A residual that persists means that requests were lost or counted twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Little {
    /// The time average of the number in the system.
    pub in_system: f64,
    /// Arrivals per second.
    pub rate: f64,
    /// Mean time in the system of the requests that left.
    pub time: Duration,
}

impl Little {
    /// The difference of both sides, as a fraction of the number in the system.
    pub fn residual(&self) -> f64 {
        let predicted = self.rate * self.time.as_secs_f64();
        (self.in_system - predicted).abs() / self.in_system
    }
}

impl Snapshot {
    pub(super) fn new(at: Duration) -> Self {
        Self {
            at,
            workers: Vec::new(),
            head_read: Distribution::default(),
            queue_wait: Distribution::default(),
            service: Distribution::default(),
            response_write: Distribution::default(),
            queue: QueueState::default(),
            accept_queue: None,
            memory: MemoryState::default(),
            sums: [0; SLOTS],
            arrivals: Passage::default(),
            departures: Passage::default(),
            in_system: 0,
            gaps: Moments::default(),
            connections: Default::default(),
        }
    }

    /// The value of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.sums[slots::counter(counter)]
    }

    /// Connections that ended for this reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.sums[slots::reason(reason)]
    }

    /// Connections that ended.
    pub fn closed_in_all(&self) -> u64 {
        CloseReason::ALL.iter().map(|&reason| self.closed(reason)).sum()
    }

    /// Responses of a status class, 2 to 5.
    pub fn responses(&self, class: u16) -> u64 {
        self.sums[slots::class(class)]
    }

    /// Responses of all classes.
    pub fn responses_in_all(&self) -> u64 {
        (2..=5).map(|class| self.responses(class)).sum()
    }

    /// Open connections in a phase.
    pub fn connections(&self, phase: ConnectionPhase) -> usize {
        self.connections[phase as usize]
    }

    /// Requests that entered the system: those queued, and pipelined ones that a worker continued
    /// with directly.
    pub fn arrivals(&self) -> u64 {
        self.arrivals.count()
    }

    /// Requests that left the system: answered, refused by a worker, or dropped.
    pub fn departures(&self) -> u64 {
        self.departures.count()
    }

    /// The squared coefficient of variation of the gaps between arrivals since `earlier`.
    pub fn arrival_variation_since(&self, earlier: &Self) -> Option<f64> {
        let gaps = self.gaps.since(earlier.gaps);
        (gaps.count() >= GAPS).then(|| gaps.squared_variation()).flatten()
    }

    /// Little's law since `earlier`; none if no time has passed or no request has left.
    pub fn little_since(&self, earlier: &Self) -> Option<Little> {
        let elapsed = self.at.saturating_sub(earlier.at).as_secs_f64();
        let left = self.departures().checked_sub(earlier.departures()).filter(|&left| left > 0)?;
        if elapsed == 0.0 {
            return None;
        }
        let area = self.time_in_system().wrapping_sub(earlier.time_in_system());
        // Departures are read a moment before arrivals, so an almost empty system can come out
        // negative.
        let in_system = (area as i64) as f64 / 1e9 / elapsed;
        if in_system <= 0.0 {
            return None;
        }
        let arrived = self.arrivals().saturating_sub(earlier.arrivals());
        let time = self.in_system.wrapping_sub(earlier.in_system) as f64 / 1e9 / left as f64;
        Some(Little {
            in_system,
            rate: arrived as f64 / elapsed,
            time: Duration::from_secs_f64(time),
        })
    }

    /// The integral over time of the number in the system, in nanoseconds; it wraps.
    fn time_in_system(&self) -> u64 {
        let at = self.at.as_nanos() as u64;
        self.arrivals.time_since(at).wrapping_sub(self.departures.time_since(at))
    }
}
