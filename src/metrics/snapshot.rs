//! A server's measurements at one moment.

use super::activity::WorkerTimes;
use super::counters::{CloseReason, ConnectionPhase, Counter};
use super::distribution::Distribution;
use super::times::{Gaps, Passage};
use super::{SLOTS, class_slot, reason_slot};
use crate::memory::MemoryState;
use std::time::Duration;

/// The measurements at one moment. They are read one after another while threads go on, so what
/// happens meanwhile can be in one of them and not yet in another.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The moment, from the server's start.
    pub at: Duration,
    /// Each worker's time, by activity.
    pub workers: Vec<WorkerTimes>,
    /// From the first byte of a request head to its last.
    pub head: Distribution,
    /// From queued to taken by a worker.
    pub wait: Distribution,
    /// From taken by a worker to let go of, where a handler answered.
    pub service: Distribution,
    /// From the start of a response to its last byte.
    pub write: Distribution,
    /// The queue of jobs.
    pub queue: QueueState,
    /// The kernel's queue, where the system tells of it.
    pub accept_queue: Option<AcceptQueue>,
    /// What is held in memory for clients.
    pub memory: MemoryState,
    pub(super) sums: [u64; SLOTS],
    pub(super) arrivals: Passage,
    pub(super) departures: Passage,
    pub(super) in_system: Duration,
    pub(super) gaps: Gaps,
    pub(crate) connections: [usize; ConnectionPhase::ALL.len()],
}

/// The queue of jobs at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Jobs in it.
    pub waiting: usize,
    /// Jobs that may wait.
    pub bound: usize,
    /// The most that were ever in it, up to the bound; one that an idle worker was about to take
    /// counts.
    pub high_water: usize,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
}

/// Connections that the kernel has completed and the acceptor has not taken yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many they are.
    pub waiting: usize,
    /// How many they may be.
    pub most: usize,
}

/// How Little's law holds over a stretch of time: the mean number of requests in the system is
/// their rate of arrival times the mean time of those that left
/// (Little, "A proof for the queuing formula L = lambda W", 1961).
///
/// The number comes from when requests came and left, the mean time from how long each took. They
/// agree but for those that were in the system at the ends of the stretch; a residual that stays
/// means that requests were lost, or counted twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Little {
    /// The number in the system, on the average over time.
    pub in_system: f64,
    /// Arrivals a second.
    pub rate: f64,
    /// Mean time in the system of those that left.
    pub time: Duration,
}

impl Little {
    /// How far apart both sides are, as a fraction of the number in the system.
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
            head: Distribution::default(),
            wait: Distribution::default(),
            service: Distribution::default(),
            write: Distribution::default(),
            queue: QueueState::default(),
            accept_queue: None,
            memory: MemoryState::default(),
            sums: [0; SLOTS],
            arrivals: Passage::default(),
            departures: Passage::default(),
            in_system: Duration::ZERO,
            gaps: Gaps::default(),
            connections: Default::default(),
        }
    }

    /// The value of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.sums[counter as usize]
    }

    /// Connections that ended for this reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.sums[reason_slot(reason)]
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

    /// Open connections in a phase.
    pub fn connections(&self, phase: ConnectionPhase) -> usize {
        self.connections[phase as usize]
    }

    /// Requests that came into the system: were queued, or gone on with by a worker.
    pub fn arrivals(&self) -> u64 {
        self.arrivals.count()
    }

    /// Requests that left the system: were answered, refused by a worker, or given up.
    pub fn departures(&self) -> u64 {
        self.departures.count()
    }

    /// The squared coefficient of variation of the gaps between arrivals since `earlier`.
    pub fn arrival_variation_since(&self, earlier: &Self) -> Option<f64> {
        self.gaps.squared_variation_since(earlier.gaps)
    }

    /// Little's law since `earlier`; none where no time passed or no request left.
    pub fn little_since(&self, earlier: &Self) -> Option<Little> {
        let elapsed = self.at.saturating_sub(earlier.at).as_secs_f64();
        let left = self.departures().checked_sub(earlier.departures()).filter(|&left| left > 0)?;
        if elapsed == 0.0 {
            return None;
        }
        let area = self.time_in_system().wrapping_sub(earlier.time_in_system());
        // An empty system outweighed by what was read a moment later has no number to speak of.
        let in_system = (area as i64) as f64 / 1e9 / elapsed;
        if in_system <= 0.0 {
            return None;
        }
        let arrived = self.arrivals().saturating_sub(earlier.arrivals());
        let time = self.in_system.saturating_sub(earlier.in_system).as_secs_f64() / left as f64;
        Some(Little {
            in_system,
            rate: arrived as f64 / elapsed,
            time: Duration::from_secs_f64(time),
        })
    }

    /// The number in the system integrated over time up to now, in nanoseconds; it wraps.
    fn time_in_system(&self) -> u64 {
        let at = self.at.as_nanos() as u64;
        self.arrivals.time_since(at).wrapping_sub(self.departures.time_since(at))
    }
}
