//! What a thread that steps connections brings along, and who it is.

use super::outgoing::Means;
use super::{Connection, Errand, Job};
use crate::admission::{Admission, Stage};
use crate::config::{self, Config};
use crate::http::response::DateCache;
use crate::metrics::Recorder;
use crate::parking::Parking;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all threads of a server share that step connections.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The bounds and waits.
    pub config: Arc<Config>,
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// The waiting jobs: how many they are decides who may go on.
    pub queue: Receiver<Job>,
    /// Where connections wait.
    pub parking: Arc<Parking<Connection>>,
    /// What waits for a disk or a stream.
    pub errands: Receiver<Errand>,
    /// Fields of the responses that no handler made.
    pub common_fields: Bytes,
}

/// What one thread brings along that steps connections.
#[derive(Debug)]
pub struct Context {
    /// The bounds and waits.
    pub config: Arc<Config>,
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// The waiting jobs: how many they are decides who may go on.
    pub queue: Receiver<Job>,
    /// Where connections wait.
    pub parking: Arc<Parking<Connection>>,
    /// Fields of the responses that no handler made.
    pub common_fields: Bytes,
    /// Where this thread counts.
    pub recorder: Recorder,
    errands: Receiver<Errand>,
    pub(super) role: Role,
    /// The buffer for heads, when no response has it.
    pub(super) head: Vec<u8>,
    pub(super) date: DateCache,
}

/// Who steps, and what that thread may wait for.
#[derive(Debug)]
pub enum Role {
    /// The thread that waits for peers, with its buffer for reading. It waits for nothing else, and
    /// sends in single pieces.
    Acceptor(Vec<u8>, Sender<Errand>),
    /// A thread that waits for jobs, with its number. It never reads what it might have to wait
    /// for, and sends as long as nobody else needs it.
    Worker(usize, Sender<Errand>),
    /// A thread that waits for disks and streams.
    Fetcher,
}

impl Context {
    /// A context for one thread.
    pub fn new(shared: Shared, recorder: Recorder, role: Role) -> Self {
        let Shared { config, admission, queue, parking, errands, common_fields } = shared;
        let (head, date) = (Vec::new(), DateCache::default());
        Self {
            config,
            admission,
            queue,
            parking,
            common_fields,
            recorder,
            errands,
            role,
            head,
            date,
        }
    }

    /// Hands a connection over to those who may wait; gives it back where they have ended.
    pub fn send_errand(&self, connection: Box<Connection>) -> Result<(), Box<Connection>> {
        match self.errand(Errand::Fetch { connection, since: Instant::now() }) {
            Some(Errand::Fetch { connection, .. }) => Err(connection),
            _ => Ok(()),
        }
    }

    /// Has those who may wait make the handler let go of descriptors.
    pub fn ask_to_give_way(&self) {
        // Where they have ended, nothing is served any more.
        let _ = self.errand(Errand::GiveWay);
    }

    /// Hands an errand over, or gives it back. There is no bound but that of the connections: each
    /// is in the channel once at the most.
    fn errand(&self, errand: Errand) -> Option<Errand> {
        match &self.role {
            Role::Acceptor(_, errands) | Role::Worker(_, errands) => {
                errands.send(errand).err().map(|error| error.into_inner())
            }
            Role::Fetcher => Some(errand),
        }
    }

    /// What this thread may do to have the next of a response.
    pub(super) fn means(&self) -> Means {
        match self.role {
            Role::Acceptor(..) => Means { disk: false, streams: false },
            Role::Worker(..) => Means { disk: false, streams: true },
            Role::Fetcher => Means { disk: true, streams: true },
        }
    }

    /// True where this thread may go on with its connection: nobody else waits for it.
    pub(super) fn may_go_on(&self) -> bool {
        match self.role {
            Role::Acceptor(..) => false,
            Role::Worker(..) => self.queue.is_empty(),
            Role::Fetcher => self.errands.is_empty(),
        }
    }

    /// The worker's number.
    pub(super) fn worker(&self) -> Option<usize> {
        match self.role {
            Role::Acceptor(..) | Role::Fetcher => None,
            Role::Worker(number, _) => Some(number),
        }
    }

    /// True where responses end their connections, since the server is about to stop.
    pub(super) fn is_draining(&self) -> bool {
        self.admission.stage() >= Stage::Draining
    }

    /// Seconds after which another try makes sense: the time in which the workers get through
    /// the queue, and up to as much again by chance, so that not all come back at once.
    pub(super) fn retry_after(&self) -> u64 {
        let service = self.recorder.mean_handle_time().unwrap_or_default();
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
