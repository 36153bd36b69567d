//! The thread that waits: for clients, for their requests, for their reading, for their deadlines.

mod ending;
mod room;

use crate::admission::{Admission, Share};
use crate::config;
use crate::connection::{Connection, Context, Exchange, Job, Next, Work};
use crate::descriptors::{self, Reserve};
use crate::http::fault::Fault;
use crate::listening;
use crate::metrics::{AcceptQueue, CloseReason, Counter, Turn};
use crate::notes::{Outbox, note};
use crate::parking::{Interest, Parking};
use crate::poller::{Readiness, ReadyKeys, Watched};
use crossbeam_channel::Sender;
use room::Candidates;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the acceptor thread owns while it lives.
///
/// It blocks nowhere but in [`Parking::wait`], and it holds the only sender of the channel: when it
/// ends, the channel disconnects, and the workers end when they have taken what is left.
pub struct Acceptor {
    listeners: Vec<Watched<TcpListener>>,
    parking: Arc<Parking<Connection>>,
    jobs: Sender<Job>,
    context: Context,
    /// Descriptors for the files that connections ask for.
    reserve: Reserve,
    admission: Arc<Admission>,
    accepting: Accepting,
    /// Who gives up a place when all are taken.
    candidates: Candidates,
    /// How long accepting pauses when the system refuses the next time.
    pause: Duration,
    /// When the system refused for the last time.
    last_refusal: Option<Instant>,
    next_sweep: Instant,
    leaving_since: Option<Instant>,
    drain_deadline: Option<Instant>,
    /// Until then connections that have begun are waited for.
    last_connections: Instant,
    /// Connections that may still be accepted while draining.
    drain_accepts: usize,
}

/// Whether new connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// All places are taken, and all keep theirs; they are looked at again at this time.
    Full(Instant),
    /// The system refused a descriptor or memory; it is asked again at this time.
    Paused(Instant),
}

impl Acceptor {
    /// An acceptor for `listeners`, which must not block.
    pub fn new(
        listeners: Vec<TcpListener>,
        jobs: Sender<Job>,
        context: Context,
    ) -> io::Result<Self> {
        if context.config.defer_accept {
            listeners.iter().for_each(|listener| listening::defer_accept(listener, true));
        }
        let parking = Arc::clone(&context.parking);
        let watched = listeners.into_iter().map(|listener| parking.watch_listener(listener));
        Ok(Self {
            listeners: watched.collect::<io::Result<_>>()?,
            parking,
            jobs,
            admission: Arc::clone(&context.admission),
            reserve: Reserve::new(descriptors::descriptor_limit(), 2 * context.config.workers),
            context,
            accepting: Accepting::Yes,
            candidates: Candidates::new(Instant::now()),
            pause: config::ACCEPT_PAUSE,
            last_refusal: None,
            next_sweep: Instant::now() + config::SWEEP_INTERVAL,
            leaving_since: None,
            drain_deadline: None,
            last_connections: Instant::now(),
            drain_accepts: config::BACKLOG as usize,
        })
    }

    /// Starts its thread, which never waits for a logger.
    pub fn start(self, outbox: Outbox) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
            outbox.take_over();
            self.run();
        })
    }

    fn run(mut self) {
        let mut ready = ReadyKeys::with_capacity(config::EVENT_BATCH);
        while !self.is_over() {
            let timeout = self.next_look().saturating_duration_since(Instant::now());
            if let Err(error) = self.parking.wait(&mut ready, timeout) {
                note!(Error, "cannot wait for clients: {error}");
                thread::sleep(config::ACCEPT_PAUSE);
            }
            for key in ready.iter() {
                self.guarded(|acceptor| acceptor.answer_event(key));
            }
            self.guarded(Self::relieve_memory);
            self.guarded(Self::sweep);
            self.guarded(Self::drain);
            self.let_workers_run();
        }
        self.cut_what_is_left();
    }

    /// A mistake of ours that one connection brings out must not cost the others.
    fn guarded(&mut self, duty: impl FnOnce(&mut Self)) {
        if panic::catch_unwind(AssertUnwindSafe(|| duty(self))).is_err() {
            self.context.recorder.closed(CloseReason::Panicked);
            note!(Error, "the acceptor recovered from a panic: one connection is closed");
        }
    }

    fn answer_event(&mut self, key: usize) {
        if let Some(at) = self.listeners.iter().position(|listener| listener.key() == key) {
            let mut left = config::ACCEPT_BATCH;
            self.accept(at, &mut left);
        } else if let Some(connection) = self.parking.take(key) {
            self.go_on(connection);
        }
    }

    fn go_on(&mut self, mut connection: Box<Connection>) {
        let next = connection.advance(&mut self.context);
        self.carry_out(connection, next);
    }

    /// Takes up to `left` connections of a listener, and reads what each has sent already; true
    /// when the kernel has no more of them.
    fn accept(&mut self, at: usize, left: &mut usize) -> bool {
        while *left > 0 {
            if !self.admission.has_room() {
                // The new place costs somebody else's, so there must be a client for it.
                if !listening::has_client(self.listeners[at].source()) {
                    return true;
                }
                if !self.make_room() {
                    self.set_accepting(Accepting::Full(self.candidates.next_look));
                    return false;
                }
            }
            let listener = self.listeners[at].source();
            // Where it is short, the file that a client will want goes first.
            let spare = self.reserve.check(listener, self.admission.open());
            let accepted = spare.and_then(|()| listener.accept()).and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                self.reserve.note(&stream, self.admission.open());
                Ok((stream, peer))
            });
            match accepted {
                Ok((stream, peer)) => {
                    *left -= 1;
                    self.welcome(stream, peer);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return true,
                    _ if descriptors::is_shortage(&error) => {
                        self.pause_accepting(&error);
                        return false;
                    }
                    // The connection failed before it was accepted (accept(2)). The others have
                    // nothing to do with that.
                    _ => {
                        *left -= 1;
                        note!(Debug, "a connection failed before it was accepted: {error}");
                    }
                },
            }
        }
        false
    }

    /// Out of descriptors or memory: asking again at once would only burn the processor.
    fn pause_accepting(&mut self, error: &io::Error) {
        let now = Instant::now();
        let before = self.last_refusal.replace(now);
        if before.is_none_or(|before| now > before + 2 * config::ACCEPT_PAUSE_MOST) {
            self.pause = config::ACCEPT_PAUSE;
            note!(
                Warn,
                "cannot accept connections for now: {error} (raise the limit, or lower \
                        the number of connections)"
            );
        }
        self.context.ask_to_give_way();
        if self.make_room() {
            return;
        }
        self.set_accepting(Accepting::Paused(now + self.pause));
        self.pause = (self.pause * 2).min(config::ACCEPT_PAUSE_MOST);
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.context.recorder.count(Counter::Accepted);
        let mut place = self.admission.enter();
        let share = place.count_client(peer.ip());
        let mut connection = Connection::new(stream, peer, place, share, &self.context.config);
        let next = match share {
            // Over twice the limit: closed without a response.
            Share::FarExceeded => Next::Close(CloseReason::Refused),
            Share::Within | Share::Exceeded => connection.advance(&mut self.context),
        };
        self.carry_out(connection, next);
    }

    /// Reports of listeners are level-triggered, so they must be silenced while they go unheard.
    fn set_accepting(&mut self, accepting: Accepting) {
        if (self.accepting == Accepting::Yes) != (accepting == Accepting::Yes) {
            let readiness = (accepting == Accepting::Yes).then_some(Readiness::Readable);
            for listener in &self.listeners {
                if let Err(error) = listener.set_readiness(readiness) {
                    note!(Error, "cannot change how a listener is watched: {error}");
                }
            }
        }
        self.accepting = accepting;
    }

    /// Brings a connection to who goes on with it, the queue included.
    fn carry_out(&mut self, connection: Box<Connection>, next: Next) {
        let work = match next {
            Next::Serve(message) => Work::Serve(Exchange::new(connection, message)),
            Next::Produce => Work::Produce(connection),
            next => return self.context.settle(connection, next),
        };
        let (connection, next) = match self.enqueue(work) {
            Ok(()) => return,
            Err((Work::Serve(exchange), fault)) => exchange.refuse(fault, &mut self.context),
            // It has been admitted with its request. It tries again with the next look at the
            // deadlines.
            Err((Work::Produce(mut connection), _)) => {
                connection.try_again_at(self.next_sweep);
                (connection, Next::Park(Interest::Nudge))
            }
        };
        self.context.settle(connection, next);
    }

    /// Queues what a worker has to do, or gives it back with the reason why not.
    fn enqueue(&self, work: Work) -> Result<(), (Work, Fault)> {
        let (since, waiting) = (Instant::now(), self.context.waiting());
        match &work {
            Work::Serve(exchange) if exchange.connection.is_one_too_many() => {
                return Err((work, Fault::TooManyConnections));
            }
            // A request is admitted once: one that came back after a wait is not refused here.
            Work::Serve(exchange) if self.is_full(waiting) && !exchange.was_admitted() => {
                return Err((work, Fault::QueueFull));
            }
            // Record first: a worker may finish it before we do.
            Work::Serve(_) => self.context.recorder.queued(since, waiting),
            Work::Produce(_) => _ = self.context.unmade.fetch_add(1, Relaxed),
        }
        self.jobs.try_send(Job { work, since }).map_err(|error| {
            let work = error.into_inner().work;
            match &work {
                Work::Serve(_) => {
                    let taken = Instant::now();
                    let turn = Turn { since, taken, handled: false };
                    self.context.recorder.let_go(turn, taken);
                }
                Work::Produce(_) => _ = self.context.unmade.fetch_sub(1, Relaxed),
            }
            (work, Fault::QueueFull)
        })
    }

    /// True where as many requests wait as may. Those that idle workers are about to take do not
    /// wait; and nobody else sends, so the queue cannot grow between this look and the sending. A
    /// worker that has just taken a job may still count as idle, and let one more in.
    fn is_full(&self, waiting: usize) -> bool {
        let most = self.context.config.queue;
        // The workers are looked at only where it matters.
        waiting >= most && waiting >= most + self.context.recorder.idle_workers()
    }

    /// Looks at the deadlines, a few times a second.
    fn sweep(&mut self) {
        let now = Instant::now();
        match self.accepting {
            Accepting::Full(_) if self.admission.has_room() => self.set_accepting(Accepting::Yes),
            Accepting::Full(until) | Accepting::Paused(until) if until <= now => {
                self.set_accepting(Accepting::Yes);
            }
            _ => {}
        }
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + config::SWEEP_INTERVAL;
        self.look_at_accept_queue();
        for connection in self.take_all(|connection| connection.is_due(now)) {
            self.guarded(|acceptor| acceptor.expire(connection));
        }
        let config = Arc::clone(&self.context.config);
        for connection in self.take_all(|connection| connection.wants_a_look(now, &config)) {
            self.guarded(|acceptor| acceptor.go_on(connection));
        }
    }

    /// Notes what waits in the kernel, for all listeners together.
    fn look_at_accept_queue(&self) {
        let seen = self.listeners.iter().filter_map(|of| listening::accept_queue(of.source()));
        let sum = seen.reduce(|sum, seen| AcceptQueue {
            waiting: sum.waiting + seen.waiting,
            bound: sum.bound + seen.bound,
        });
        self.context.recorder.accept_queue(sum.unwrap_or_default());
    }

    fn expire(&mut self, mut connection: Box<Connection>) {
        let next = connection.expire(&mut self.context);
        self.carry_out(connection, next);
    }

    /// When there is something to look at without an event.
    fn next_look(&self) -> Instant {
        match self.accepting {
            Accepting::Full(until) | Accepting::Paused(until) => until.min(self.next_sweep),
            Accepting::Yes => self.next_sweep,
        }
    }

    #[allow(clippy::vec_box, reason = "connections live in boxes, which move without copying")]
    fn take_all(&self, wanted: impl FnMut(&Connection) -> bool) -> Vec<Box<Connection>> {
        let mut taken = Vec::new();
        self.parking.take_all(wanted, |connection| taken.push(connection));
        taken
    }

    /// Offers the processor to the workers while they have jobs: see [`config::YIELDS`].
    fn let_workers_run(&self) {
        for _ in 0..config::YIELDS {
            if self.jobs.is_empty() {
                return;
            }
            thread::yield_now();
        }
    }
}
