//! What each thread has that steps connections, and what such threads hand to one another.

use super::date::DateCache;
use super::outgoing::Unsent;
#[cfg(feature = "proxy")]
use super::refusals::Refusals;
use super::renewal::Renewal;
use super::threads::Thread;
use super::{Connection, Exchange, Next};
use crate::admission::{Admission, Stage};
use crate::config::{self, AccessLog, Config};
use crate::handler::Accepts;
use crate::memory::Memory;
use crate::metrics::{CloseReason, Recorder};
use crate::notes::note;
use crate::parking::{Interest, Parking, Socket};
use crate::proxy::request_id::Identifiers;
use crate::queue::ages::Limits;
use crate::queue::{Queue, Queued, Sizes};
use crate::throttle::Throttle;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use log::LevelFilter;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The work of a worker.
#[derive(Debug)]
pub enum Work {
    /// Serve a message.
    Serve(Exchange),
    /// Make the next pieces of a response that a handler streams.
    Produce(Box<Connection>),
}

impl Work {
    /// The patience that its request brings, if it does.
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Self::Serve(exchange) => exchange.patience(),
            Self::Produce(_) => None,
        }
    }
}

impl Queued for Work {
    fn client(&self) -> IpAddr {
        match self {
            Self::Serve(exchange) => exchange.client(),
            Self::Produce(connection) => connection.client(),
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Serve(exchange) => exchange.expected,
            // The next piece of a response that has begun.
            Self::Produce(_) => 0,
        }
    }

    fn stays(&self) -> bool {
        match self {
            // A request is admitted once: a deferred one that returns is not refused.
            Self::Serve(exchange) => exchange.is_returning(),
            // The response was admitted with its request.
            Self::Produce(_) => true,
        }
    }
}

/// The work of a fetcher.
#[derive(Debug)]
pub enum Errand {
    /// Read the next piece of a response, which is not in memory.
    Fetch {
        /// The connection.
        connection: Box<Connection>,
        /// When it was handed over.
        since: Instant,
    },
    /// Drop the rest of a response that nobody reads any more.
    Discard(Unsent),
    /// Have the handler close files that it holds open for speed: descriptors are short.
    GiveWay,
}

/// What all threads share that step connections.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Limits and timeouts.
    pub config: Arc<Config>,
    /// Limits on connections, and the stage of the server's life.
    pub admission: Arc<Admission>,
    /// The queue.
    pub queue: Arc<Queue<Work>>,
    /// The bounds of the queue.
    pub limits: Limits,
    /// What has been sent for which target, if the discipline orders by it.
    pub sizes: Option<Arc<Sizes>>,
    /// The parked connections.
    pub parking: Arc<Parking<Connection>>,
    /// The number of connections that wait for room in the queue.
    pub blocked: Arc<AtomicUsize>,
    /// The number of queued jobs that are `Work::Produce`.
    pub produce_jobs: Arc<AtomicUsize>,
    /// The budget for unsent bytes that the kernel holds for clients that read fast.
    pub unsent: Memory,
    /// The limits of rates, and who waits for them.
    pub throttle: Arc<Throttle>,
    /// The work for fetchers.
    pub errands: Receiver<Errand>,
    /// Header fields for responses that the server makes itself.
    pub common_fields: Bytes,
    /// The bodies and methods that the handler takes.
    pub accepts: Arc<Accepts>,
    /// The number of rounds of the acceptor, which writes it alone.
    pub rounds: Arc<AtomicU64>,
    /// What replaces `config`, `limits` and `common_fields` while the server runs.
    pub renewal: Arc<Renewal>,
}

/// What one thread has that steps connections. It derefs to what all of them share.
#[derive(Debug)]
pub struct Context {
    shared: Shared,
    /// The number of the renewal that `shared` has.
    renewed: u64,
    pub(super) thread: Thread,
    /// Where this thread counts.
    pub recorder: Recorder,
    /// Work for fetchers goes here. Fetchers have no sender themselves: they end when the other
    /// threads have dropped theirs.
    errand_sender: Option<Sender<Errand>>,
    /// The acceptor's read buffer. It is empty in other threads, which do not read.
    pub(super) read_buffer: Vec<u8>,
    /// The buffer for response heads, unless a response has it.
    pub(super) head: Vec<u8>,
    pub(super) date: DateCache,
    /// Makes identifiers of requests.
    pub(super) identifiers: Identifiers,
    /// Connections that were refused for the PROXY protocol.
    #[cfg(feature = "proxy")]
    pub(super) refusals: Refusals,
    /// When the current round of the acceptor began.
    pub round: Instant,
    /// Until when the acceptor may go on with one connection.
    pub turn_ends: Instant,
}

impl Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// The number of requests in the queue.
    pub fn waiting(&self) -> usize {
        // Another thread may change one figure between the two reads.
        self.queue.len().saturating_sub(self.produce_jobs.load(Relaxed))
    }
}

impl Context {
    /// Takes over the settings that are in force. Do this between two jobs.
    pub fn renew(&mut self) {
        if let Some(renewed) = self.shared.renewal.since(&mut self.renewed) {
            self.shared.config = renewed.config;
            self.shared.limits = renewed.limits;
            self.shared.common_fields = renewed.common_fields;
        }
    }

    /// The context of the acceptor.
    pub fn acceptor(shared: Shared, recorder: Recorder, errands: Sender<Errand>) -> Self {
        let context = Self::new(shared, Thread::Acceptor, recorder, Some(errands));
        Self { read_buffer: vec![0; config::READ_BYTES], ..context }
    }

    /// The context of worker `number`.
    pub fn worker_number(
        number: usize,
        shared: Shared,
        recorder: Recorder,
        errands: Sender<Errand>,
    ) -> Self {
        Self::new(shared, Thread::Worker(number), recorder, Some(errands))
    }

    /// The context of a fetcher.
    pub fn fetcher(shared: Shared, recorder: Recorder) -> Self {
        Self::new(shared, Thread::Fetcher, recorder, None)
    }

    fn new(
        shared: Shared,
        thread: Thread,
        recorder: Recorder,
        errand_sender: Option<Sender<Errand>>,
    ) -> Self {
        Self {
            shared,
            renewed: 0,
            thread,
            recorder,
            errand_sender,
            read_buffer: Vec::new(),
            head: Vec::new(),
            date: DateCache::default(),
            identifiers: Identifiers::default(),
            #[cfg(feature = "proxy")]
            refusals: Refusals::default(),
            round: Instant::now(),
            turn_ends: Instant::now(),
        }
    }

    /// Hands a connection to whoever continues with it. The acceptor queues jobs itself before it
    /// calls this. Other threads cannot queue: they park the connection with room in its socket,
    /// and the acceptor gets an event at once.
    pub fn settle(&self, mut connection: Box<Connection>, next: Next) {
        match next {
            Next::Serve(message) => {
                let next = connection.requeue(message, self);
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
            Next::Close(reason) => self.close(connection, reason),
        }
    }

    fn close(&self, mut connection: Box<Connection>, reason: CloseReason) {
        // Count first: the client may read the counters as soon as it sees the end.
        self.recorder.closed(reason);
        // A stream's destructor is code of a handler.
        if self.thread == Thread::Acceptor
            && let Some(unsent) = connection.take_unsent()
        {
            // If the fetchers have ended, so has the server.
            let _ = self.send_errand(Errand::Discard(unsent));
        }
        connection.end(reason);
    }

    fn park(&self, mut connection: Box<Connection>, interest: Interest) {
        let key = connection.key();
        let pause = match interest {
            Interest::Timer => connection.take_new_pause(),
            _ => None,
        };
        if let Err((connection, error)) = self.parking.park(connection, interest) {
            note!(Error, "cannot watch a connection: {error}; it is closed");
            self.close(connection, CloseReason::Unwatchable);
        }
        // Only now, so that the acceptor finds it parked when its time has come.
        if let Some((ticket, pause)) = pause
            && self.throttle.add(ticket, pause)
            && self.thread != Thread::Acceptor
        {
            self.parking.waker().wake();
        }
        // At the last stage nobody looks at the table any more. Checking after parking closes the
        // race: whichever side looks last sees the other's write.
        if self.admission.stage() == Stage::Cut
            && let Some(connection) = self.parking.take(key)
        {
            self.close(connection, CloseReason::Cut);
        }
    }

    /// Has the connection with this socket looked at, wherever it is parked by then.
    pub(super) fn waker_of(&self, socket: &Socket) -> impl FnOnce() + Send + 'static {
        // Weak: the table owns the connection, so a strong pointer would be a cycle.
        let (key, parking) = (socket.key(), Arc::downgrade(&self.parking));
        move || {
            if let Some(parking) = parking.upgrade() {
                parking.nudge(key);
            }
        }
    }

    /// Asks the fetchers to have the handler release descriptors.
    pub fn ask_to_give_way(&self) {
        // If they have ended, the server has stopped serving.
        let _ = self.send_errand(Errand::GiveWay);
    }

    /// The channel needs no bound of its own: each connection is in it at most once.
    fn send_errand(&self, errand: Errand) -> Result<(), ()> {
        let sender = self.errand_sender.as_ref().ok_or(())?;
        sender.send(errand).map_err(drop)
    }

    /// True if this thread reads from sockets.
    pub(super) fn reads(&self) -> bool {
        self.thread == Thread::Acceptor
    }

    /// True if this thread may continue with its connection: no other waits, or its turn lasts.
    pub fn may_continue(&self) -> bool {
        match self.thread {
            Thread::Acceptor => Instant::now() < self.turn_ends,
            // A stream can be endless, and must not outlive the server.
            Thread::Worker(_) => self.queue.is_empty() && self.admission.stage() < Stage::Cut,
            Thread::Fetcher => self.errands.is_empty(),
        }
    }

    /// True if log lines or responses say how long a handler took.
    pub(super) fn tells_times(&self) -> bool {
        self.config.server_timing || self.logs_access()
    }

    /// True if each response has a line in the access log.
    pub(super) fn logs_access(&self) -> bool {
        self.config.access_log != AccessLog::Off && log::max_level() >= LevelFilter::Info
    }

    /// The number of the worker, if this thread is one.
    pub(super) fn worker(&self) -> Option<usize> {
        match self.thread {
            Thread::Worker(number) => Some(number),
            Thread::Acceptor | Thread::Fetcher => None,
        }
    }

    /// The longest wait of a request that brings a patience of its `own`, or of one that does not.
    pub(super) fn age(&self, own: Option<Duration>) -> Duration {
        self.limits.age(own, self.recorder.mean_service(self.limits.memory()))
    }

    /// True if a request that has waited so long is not worth a service any more.
    pub(super) fn is_too_old(&self, waited: Duration, own: Option<Duration>) -> bool {
        // The average costs a look at each worker.
        waited > self.limits.least_age(own) && waited > self.age(own)
    }

    /// True if responses close their connections, because the server is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.admission.stage() >= Stage::Draining
    }

    /// Seconds for `Retry-After`: the time in which the workers empty the queue, plus up to as much
    /// again at random, so that clients do not return all at once.
    pub(super) fn retry_after(&self) -> u64 {
        let service = self.recorder.mean_service(Duration::MAX).unwrap_or_default();
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
