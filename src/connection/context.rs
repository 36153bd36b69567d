//! What a thread that steps connections brings along, and who it is.

use super::Job;
use crate::admission::{Admission, Stage};
use crate::config::{self, Config};
use crate::http::response::DateCache;
use crate::metrics::Recorder;
use crossbeam_channel::Receiver;
use std::sync::Arc;
use std::time::Duration;

/// What the threads that step connections bring along: one for the acceptor, one a worker.
#[derive(Debug)]
pub struct Context {
    /// The bounds and waits.
    pub config: Arc<Config>,
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// Where this thread counts.
    pub recorder: Recorder,
    /// The waiting jobs: how many they are decides who may go on.
    pub queue: Receiver<Job>,
    pub(super) role: Role,
    /// The buffer for heads, when no response has it.
    pub(super) head: Vec<u8>,
    pub(super) date: DateCache,
}

/// Who steps: the acceptor reads, and sends in single pieces; a worker never reads what it might
/// have to wait for, and sends as long as nobody else needs it.
#[derive(Debug)]
pub enum Role {
    /// The thread that waits for peers, with its buffer for reading.
    Acceptor(Vec<u8>),
    /// A thread that waits for jobs, with its number.
    Worker(usize),
}

impl Context {
    /// A context for one thread.
    pub fn new(
        config: Arc<Config>,
        admission: Arc<Admission>,
        recorder: Recorder,
        queue: Receiver<Job>,
        role: Role,
    ) -> Self {
        let (head, date) = (Vec::new(), DateCache::default());
        Self { config, admission, recorder, queue, role, head, date }
    }

    /// True where a worker may go on with its connection: nobody else waits for it.
    pub(super) fn may_go_on(&self) -> bool {
        self.worker().is_some() && self.queue.is_empty()
    }

    /// The worker's number.
    pub(super) fn worker(&self) -> Option<usize> {
        match self.role {
            Role::Acceptor(_) => None,
            Role::Worker(number) => Some(number),
        }
    }

    /// True where responses end their connections, since the server is about to stop.
    pub(super) fn is_draining(&self) -> bool {
        self.admission.stage() >= Stage::Draining
    }

    /// Seconds after which another try makes sense: the time in which the workers get through
    /// the queue, and up to as much again by chance, so that not all come back at once.
    pub(super) fn retry_after(&self) -> u64 {
        let service = self.recorder.mean_service().unwrap_or_default();
        retry_after(self.queue.len(), self.config.workers, service, fastrand::f64())
    }
}

/// See [`Context::retry_after`]; `chance` is from 0 to 1.
fn retry_after(waiting: usize, workers: usize, service: Duration, chance: f64) -> u64 {
    let rounds = waiting as f64 / workers as f64;
    let seconds = (rounds * service.as_secs_f64() * (1.0 + chance)).ceil() as u64;
    seconds.clamp(1, config::RETRY_AFTER_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_follows_queue_and_service_time() {
        let advice = |waiting, workers, millis, chance| {
            retry_after(waiting, workers, Duration::from_millis(millis), chance)
        };
        assert_eq!(advice(0, 4, 20, 0.5), 1, "never at once");
        assert_eq!(advice(1024, 4, 20, 0.0), 6);
        assert_eq!(advice(1024, 4, 20, 0.99), 11);
        assert_eq!(advice(1024, 8, 20, 0.0), 3);
        assert_eq!(advice(1024, 4, 40, 0.0), 11);
        assert_eq!(advice(1024, 1, 10_000, 0.0), config::RETRY_AFTER_MOST);
    }
}
