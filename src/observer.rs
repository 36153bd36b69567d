//! What others see of a running server.

use crate::admission::Stage;
use crate::config::Config;
use crate::connection::{Shared, Transfer};
#[cfg(feature = "admin")]
use crate::metrics::Work;
use crate::metrics::{Activity, ConnectionPhase, Metrics, Snapshot};
use crate::queue::ClientLoad;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Reads a server's measurements, from any thread, even after the server has ended.
#[derive(Debug, Clone)]
pub struct Observer {
    metrics: Arc<Metrics>,
    pub(crate) shared: Shared,
}

impl Observer {
    /// An observer of what these threads share and measure.
    pub(crate) fn new(metrics: Arc<Metrics>, shared: Shared) -> Self {
        Self { metrics, shared }
    }

    /// The measurements now. It visits every parked connection, for a moment each.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.metrics.snapshot(self.shared.waiting());
        let limits = self.shared.renewal.latest().limits;
        let service = self.metrics.mean_service(limits.memory());
        let bound = limits.bound(service);
        snapshot.queue.bound = bound;
        snapshot.queue.age = limits.age(None, service);
        snapshot.queue.service = service;
        // Beyond the bound are jobs that idle workers are about to take.
        snapshot.queue.high_water = snapshot.queue.high_water.min(bound);
        let busy = snapshot.workers.iter().filter(|worker| worker.activity != Activity::Idle);
        let mut connections = [0; ConnectionPhase::ALL.len()];
        connections[ConnectionPhase::InService as usize] = busy.count();
        connections[ConnectionPhase::Queued as usize] = snapshot.queue.waiting;
        self.shared.parking.for_each(|_, connection| connections[connection.phase() as usize] += 1);
        let flushing = self.shared.errands.len() + self.shared.produce_jobs.load(Relaxed);
        connections[ConnectionPhase::Flushing as usize] += flushing;
        snapshot.connections = connections;
        snapshot.memory = self.shared.config.memory.state();
        snapshot
    }

    /// What the workers have done in all.
    #[cfg(feature = "admin")]
    pub(crate) fn work(&self) -> Work {
        self.metrics.work()
    }

    /// True until the shutdown begins.
    pub fn is_ready(&self) -> bool {
        self.shared.admission.stage() == Stage::Serving
    }

    /// The rounds that the acceptor has gone: it ends its wait for events a few times a second at
    /// least, whatever the load. If the number stays the same for longer, it is stuck.
    pub fn rounds(&self) -> u64 {
        self.shared.rounds.load(Relaxed)
    }

    /// True while the queue is at its bound.
    pub fn is_queue_full(&self) -> bool {
        // A queue of 0 is full while no worker is idle.
        let bound = self.bound();
        let may_wait = bound > 0;
        self.shared.waiting() >= bound && (may_wait || self.metrics.idle_workers() == 0)
    }

    /// The busiest clients, at most this many: by the requests that they have in the queue, that
    /// are served, and that were refused lately; then by service time. It is empty while nobody has
    /// waited or been refused.
    pub fn busiest_clients(&self, most: usize) -> Vec<ClientLoad> {
        self.shared.queue.busiest(most)
    }

    /// The largest responses under way, at most this many, by the length of their content; one of
    /// unknown length counts by what it has sent. It visits every parked connection, for a moment
    /// each. A response that a thread works on at this moment is missing.
    pub fn transfers(&self, most: usize) -> Vec<Transfer> {
        let parking = &self.shared.parking;
        let mut largest = BinaryHeap::new();
        parking.for_each(|key, connection| {
            if let Some(size) = connection.transfer_size() {
                largest.push(Reverse((size, key)));
                if largest.len() > most {
                    largest.pop();
                }
            }
        });
        let now = Instant::now();
        let look = |Reverse((_, key))| parking.look(key, |of| of.transfer(now)).flatten();
        largest.into_sorted_vec().into_iter().filter_map(look).collect()
    }

    /// The number of requests that wait now.
    #[cfg(feature = "admin")]
    pub(crate) fn waiting(&self) -> usize {
        self.shared.waiting()
    }

    /// The number of requests that may wait now.
    pub(crate) fn bound(&self) -> usize {
        let limits = self.shared.renewal.latest().limits;
        limits.bound(self.metrics.mean_service(limits.memory()))
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        self.shared.admission.open()
    }

    /// The configuration with which the server was started. `Reloader::config` is the one in force.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }
}
