//! One thread's times: distributions, and the passages that Little's law is checked with.

use super::Turn;
use super::distribution::Distribution;
use super::snapshot::Snapshot;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Requests that passed a point, and when.
///
/// The moments are nanoseconds from the server's start, and their sum wraps: differences, which
/// are all that anybody takes, come out right for as long as they fit 64 bits themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passage {
    count: u64,
    moments: u64,
}

/// Gaps between arrivals: how many, and the sums of their lengths and squares, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gaps {
    count: u64,
    sum: u128,
    squares: u128,
}

/// A longer gap, in nanoseconds, is a pause between two loads and says nothing of either.
const PAUSE: u64 = 1_000_000_000;

/// Fewer gaps than this say too little of how arrivals vary.
const GAPS: u64 = 10;

/// What one thread has timed.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) head: Distribution,
    pub(super) write: Distribution,
    wait: Distribution,
    service: Distribution,
    pub(super) arrivals: Passage,
    departures: Passage,
    /// Time in the system of all those that left it.
    in_system: Duration,
    gaps: Gaps,
    latest: Option<u64>,
    /// When the waiting jobs were queued, the oldest first; what was taken is removed late.
    waiting: VecDeque<u64>,
    high_water: usize,
}

impl Passage {
    pub(super) fn pass(&mut self, moment: u64) {
        self.count += 1;
        self.moments = self.moments.wrapping_add(moment);
    }

    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.moments = self.moments.wrapping_add(other.moments);
    }

    pub(super) fn count(self) -> u64 {
        self.count
    }

    /// The time up to `at` since each passage, added up.
    pub(super) fn time_since(self, at: u64) -> u64 {
        self.count.wrapping_mul(at).wrapping_sub(self.moments)
    }
}

impl Gaps {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The squared coefficient of variation of the gaps that have come since `earlier`.
    pub(super) fn squared_variation_since(self, earlier: Self) -> Option<f64> {
        let count = self.count.checked_sub(earlier.count).filter(|&count| count >= GAPS)? as f64;
        let mean = self.sum.saturating_sub(earlier.sum) as f64 / count;
        let mean_square = self.squares.saturating_sub(earlier.squares) as f64 / count;
        (mean > 0.0).then(|| (mean_square / mean.powi(2) - 1.0).max(0.0))
    }
}

impl Times {
    /// A request is queued at nanosecond `since`, behind `waiting` others.
    pub(super) fn queued(&mut self, since: u64, waiting: usize) {
        self.arrivals.pass(since);
        if let Some(latest) = self.latest.replace(since) {
            let gap = since.saturating_sub(latest);
            if gap <= PAUSE {
                self.gaps.count += 1;
                self.gaps.sum += u128::from(gap);
                self.gaps.squares += u128::from(gap).pow(2);
            }
        }
        let taken = self.waiting.len().saturating_sub(waiting);
        self.waiting.drain(..taken);
        self.waiting.push_back(since);
        self.high_water = self.high_water.max(waiting + 1);
    }

    /// A worker lets go of a request now, at nanosecond `at`.
    pub(super) fn let_go(&mut self, turn: Turn, now: Instant, at: u64) {
        self.departures.pass(at);
        self.in_system += now.saturating_duration_since(turn.since);
        self.wait.record(turn.taken.saturating_duration_since(turn.since));
        if turn.handled {
            self.service.record(now.saturating_duration_since(turn.taken));
        }
    }

    /// Adds all to a snapshot taken at nanosecond `at`, when `waiting` jobs were queued.
    pub(super) fn add_to(&self, snapshot: &mut Snapshot, waiting: usize, at: u64) {
        snapshot.head.add(&self.head);
        snapshot.write.add(&self.write);
        snapshot.wait.add(&self.wait);
        snapshot.service.add(&self.service);
        snapshot.arrivals.add(self.arrivals);
        snapshot.departures.add(self.departures);
        snapshot.in_system += self.in_system;
        snapshot.gaps.add(self.gaps);
        let queue = &mut snapshot.queue;
        queue.high_water = queue.high_water.max(self.high_water);
        let oldest = self.waiting.iter().rev().take(waiting).next_back();
        if let Some(&since) = oldest {
            queue.oldest = Some(Duration::from_nanos(at.saturating_sub(since)));
        }
    }
}
