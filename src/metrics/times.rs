//! The times that one thread records.

use super::distribution::Distribution;
use super::moments::Moments;
use super::passage::Passage;
use super::snapshot::Snapshot;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

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

/// Longer gaps, in nanoseconds, separate two loads and belong to neither.
const PAUSE: u64 = 1_000_000_000;

/// What one thread has timed.
#[derive(Debug, Default)]
pub(super) struct RecordedTimes {
    pub(super) head_read: Distribution,
    pub(super) response_write: Distribution,
    queue_wait: Distribution,
    service: Distribution,
    pub(super) arrivals: Passage,
    departures: Passage,
    /// The sum of the times in the system of all requests that left it, in nanoseconds. It wraps.
    in_system: u64,
    /// Gaps between arrivals.
    gaps: Moments,
    /// When the latest request was queued.
    latest: Option<u64>,
    /// When the waiting jobs were queued, the oldest first. The next arrival removes those that
    /// workers have taken.
    waiting: VecDeque<u64>,
    high_water: usize,
}

impl RecordedTimes {
    /// A request is queued at nanosecond `since`, behind `waiting` others.
    pub(super) fn queued(&mut self, since: u64, waiting: usize) {
        self.arrivals.pass(since);
        if let Some(latest) = self.latest.replace(since) {
            let gap = since.saturating_sub(latest);
            if gap <= PAUSE {
                self.gaps.record(gap);
            }
        }
        let taken = self.waiting.len().saturating_sub(waiting);
        self.waiting.drain(..taken);
        self.waiting.push_back(since);
        self.high_water = self.high_water.max(waiting + 1);
    }

    /// A worker lets go of a request, with these moments in nanoseconds.
    pub(super) fn let_go(&mut self, since: u64, taken: u64, at: u64, handled: bool) {
        self.departures.pass(at);
        self.in_system = self.in_system.wrapping_add(at.saturating_sub(since));
        self.queue_wait.record_nanos(taken.saturating_sub(since));
        if handled {
            self.service.record_nanos(at.saturating_sub(taken));
        }
    }

    /// Adds everything to a snapshot that is taken at nanosecond `at`, with `waiting` jobs queued.
    pub(super) fn add_to(&self, snapshot: &mut Snapshot, waiting: usize, at: u64) {
        snapshot.head_read.add(&self.head_read);
        snapshot.response_write.add(&self.response_write);
        snapshot.queue_wait.add(&self.queue_wait);
        snapshot.service.add(&self.service);
        snapshot.arrivals.add(self.arrivals);
        snapshot.departures.add(self.departures);
        snapshot.in_system = snapshot.in_system.wrapping_add(self.in_system);
        snapshot.gaps.add(self.gaps);
        let queue = &mut snapshot.queue;
        queue.high_water = queue.high_water.max(self.high_water);
        let oldest = self.waiting.iter().rev().take(waiting).next_back();
        if let Some(&since) = oldest {
            queue.oldest = Some(Duration::from_nanos(at.saturating_sub(since)));
        }
    }
}
