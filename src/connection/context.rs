//! What a thread that steps connections brings along, and what threads hand to one another.

use super::outgoing::Means;
use super::{Connection, Exchange, Next};
use crate::admission::{Admission, Stage};
use crate::config::{self, Config};
use crate::handler::Accepts;
use crate::http::response::DateCache;
use crate::metrics::{CloseReason, Recorder};
use crate::notes::note;
use crate::parking::{Interest, Parking};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What waits in the queue for a worker.
#[derive(Debug)]
pub struct Job {
    /// What is to be done.
    pub work: Work,
    /// When it was queued.
    pub since: Instant,
}

/// What a worker does.
#[derive(Debug)]
pub enum Work {
    /// It serves a message.
    Serve(Exchange),
    /// It makes the next pieces of a response that it began.
    Produce(Box<Connection>),
}

/// What is done by those who may wait for a disk.
#[derive(Debug)]
pub enum Errand {
    /// A response goes on with a piece that is not in memory.
    Fetch {
        /// The connection.
        connection: Box<Connection>,
        /// When it was handed over.
        since: Instant,
    },
    /// Descriptors are needed: the handler lets go of those that it holds for speed alone.
    GiveWay,
}

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
    /// How many of the jobs go on with a response that was begun.
    pub unmade: Arc<AtomicUsize>,
    /// What waits for a disk.
    pub errands: Receiver<Errand>,
    /// Fields of the responses that no handler made.
    pub common_fields: Bytes,
    /// What the handler takes.
    pub accepts: Arc<Accepts>,
}

/// What one thread brings along that steps connections. What all share is read as its own.
#[derive(Debug)]
pub struct Context {
    shared: Shared,
    thread: Thread,
    /// Where this thread counts.
    pub recorder: Recorder,
    /// To those who may wait for a disk; they have none themselves, so that they end with the
    /// others.
    errand_sender: Option<Sender<Errand>>,
    /// Where the acceptor reads to; nobody else reads.
    pub(super) read_buffer: Vec<u8>,
    /// The buffer for heads, when no response has it.
    pub(super) head: Vec<u8>,
    pub(super) date: DateCache,
}

/// Who steps connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    /// It waits for peers and for nothing else, and sends in single pieces.
    Acceptor,
    /// It waits for jobs, and sends as long as nobody else needs it.
    Worker(usize),
    /// It waits for disks.
    Fetcher,
}

impl Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// Requests that wait for a worker.
    pub fn waiting(&self) -> usize {
        // Somebody may be between the two figures.
        self.queue.len().saturating_sub(self.unmade.load(Relaxed))
    }
}

impl Context {
    /// The acceptor's.
    pub fn acceptor(shared: Shared, recorder: Recorder, errands: Sender<Errand>) -> Self {
        let context = Self::new(shared, Thread::Acceptor, recorder, Some(errands));
        Self { read_buffer: vec![0; config::READ_BYTES], ..context }
    }

    /// That of worker number `number`.
    pub fn worker_number(
        number: usize,
        shared: Shared,
        recorder: Recorder,
        errands: Sender<Errand>,
    ) -> Self {
        Self::new(shared, Thread::Worker(number), recorder, Some(errands))
    }

    /// A fetcher's.
    pub fn fetcher(shared: Shared, recorder: Recorder) -> Self {
        Self::new(shared, Thread::Fetcher, recorder, None)
    }

    fn new(
        shared: Shared,
        thread: Thread,
        recorder: Recorder,
        errand_sender: Option<Sender<Errand>>,
    ) -> Self {
        let (read_buffer, head, date) = (Vec::new(), Vec::new(), DateCache::default());
        Self { shared, thread, recorder, errand_sender, read_buffer, head, date }
    }

    /// Brings a connection to who goes on with it. The acceptor has put in the queue what belongs
    /// there; what others find for it is parked, with room in its socket, so that the acceptor
    /// finds it at once.
    pub fn settle(&self, mut connection: Box<Connection>, next: Next) {
        match next {
            Next::Serve(message) => {
                let next = connection.hand_on(message, self);
                self.settle(connection, next);
            }
            Next::Produce => self.park(connection, Interest::Writable),
            Next::Park(interest) => self.park(connection, interest),
            Next::Fetch => {
                let since = Instant::now();
                if self.send_errand(Errand::Fetch { connection, since }).is_err() {
                    self.recorder.closed(CloseReason::Cut);
                }
            }
            Next::Close(reason) => {
                // Counted first: the client may look at the counters as soon as it sees the end.
                self.recorder.closed(reason);
                connection.end(reason);
            }
        }
    }

    fn park(&self, connection: Box<Connection>, interest: Interest) {
        let key = connection.key();
        if let Err((_closed, error)) = self.parking.park(connection, interest) {
            note!(Error, "cannot watch a connection: {error}; it is closed");
            self.recorder.closed(CloseReason::Unwatchable);
        }
        // Nobody looks into the table any more. Looked at behind the parking: the one who looks
        // last does so when the stage has been entered.
        if self.admission.stage() == Stage::Cut
            && let Some(_cut) = self.parking.take(key)
        {
            self.recorder.closed(CloseReason::Cut);
        }
    }

    /// Has those who may wait make the handler let go of descriptors.
    pub fn ask_to_give_way(&self) {
        // Where they have ended, nothing is served any more.
        let _ = self.send_errand(Errand::GiveWay);
    }

    /// There is no bound but that of the connections: each is in the channel once at the most.
    fn send_errand(&self, errand: Errand) -> Result<(), ()> {
        let sender = self.errand_sender.as_ref().ok_or(())?;
        sender.send(errand).map_err(drop)
    }

    /// True where this thread reads from sockets.
    pub(super) fn reads(&self) -> bool {
        self.thread == Thread::Acceptor
    }

    /// What this thread may do to have the next of a response.
    pub(super) fn means(&self) -> Means {
        match self.thread {
            Thread::Acceptor => Means { disk: false, streams: false },
            Thread::Worker(_) => Means { disk: false, streams: true },
            Thread::Fetcher => Means { disk: true, streams: false },
        }
    }

    /// True where this thread may go on with its connection: nobody else waits for it.
    pub(super) fn may_go_on(&self) -> bool {
        match self.thread {
            Thread::Acceptor => false,
            Thread::Worker(_) => self.queue.is_empty(),
            Thread::Fetcher => self.errands.is_empty(),
        }
    }

    /// The worker's number.
    pub(super) fn worker(&self) -> Option<usize> {
        match self.thread {
            Thread::Worker(number) => Some(number),
            Thread::Acceptor | Thread::Fetcher => None,
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
        retry_after(self.waiting(), self.config.workers, service, fastrand::f64())
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
