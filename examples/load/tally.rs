//! What is counted while a load runs.

use lab::hdr::Times;
use lab::live::Gauge;
use lab::load::{Observer, Outcome, Summary};
use lab::windows::Windows;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// With more targets, their figures are not kept apart.
pub const TARGETS_MOST: usize = 200;

/// The figures of a load.
#[derive(Default)]
pub struct Tally {
    /// Counts by the answer, tries and bytes.
    pub summary: Summary,
    /// Latencies of the successful, from the intended start.
    pub latencies: Times,
    /// The same from sending.
    pub from_sending: Times,
    /// How long requests waited for one of the generator's own connections.
    pub connection_wait: Times,
    /// The server's own times.
    pub queue_wait: Times,
    pub handle: Times,
    /// By the intended start.
    pub windows: Windows,
    /// By the target, if there are several.
    pub targets: Vec<OfTarget>,
    /// All outcomes, if they are wanted.
    pub outcomes: Vec<Outcome>,
    keep: bool,
    gauge: Option<Arc<Gauge>>,
    stop: Arc<AtomicBool>,
}

/// The requests to one target.
#[derive(Debug, Default)]
pub struct OfTarget {
    pub requests: u64,
    pub latencies: Times,
}

impl Tally {
    /// Nothing yet, of a load with so many targets. It ends early when `stop` is set.
    pub fn new(targets: usize, keep: bool, stop: Arc<AtomicBool>) -> Self {
        let apart = if (2..=TARGETS_MOST).contains(&targets) { targets } else { 0 };
        let targets = (0..apart).map(|_| OfTarget::default()).collect();
        Self { targets, keep, stop, ..Self::default() }
    }

    /// Counts for a line on the terminal too.
    pub fn shown_by(self, gauge: Option<Arc<Gauge>>) -> Self {
        Self { gauge, ..self }
    }

    /// Whether the load was ended early.
    pub fn was_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}

impl Observer for Tally {
    fn started(&mut self) {
        if let Some(gauge) = &self.gauge {
            gauge.started();
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        self.summary.add(&outcome);
        self.connection_wait.record(outcome.connection_wait);
        self.windows.add(&outcome);
        let mut of_target = self.targets.get_mut(outcome.message);
        if let Some(target) = &mut of_target {
            target.requests += 1;
        }
        if outcome.is_success() {
            self.latencies.record(outcome.latency());
            self.from_sending.record(outcome.service_clock().unwrap_or_default());
            if let Some(target) = of_target {
                target.latencies.record(outcome.latency());
            }
        }
        let server = &outcome.server;
        let times = [(server.queue_wait, &mut self.queue_wait), (server.handle, &mut self.handle)];
        for (time, of) in times {
            if let Some(time) = time {
                of.record(time);
            }
        }
        if let Some(gauge) = &self.gauge {
            gauge.ended(&outcome);
        }
        if self.keep {
            self.outcomes.push(outcome);
        }
    }

    fn wants_more(&self) -> bool {
        !self.was_stopped()
    }
}
