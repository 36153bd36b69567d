//! The thread that waits: for new connections, requests, slow readers and deadlines.

mod ending;
mod immediate;
mod queueing;
mod room;
mod sending;
mod throttling;

use crate::admission::Admission;
use crate::config;
use crate::connection::{Connection, Context, Next, Work};
use crate::descriptors::{self, Reserve};
use crate::handler::ImmediateHandler;
use crate::listening::{self, Listener};
use crate::metrics::{AcceptQueue, CloseReason, Counter};
use crate::notes::{Outbox, note};
use crate::parking::Parking;
use crate::poller::{Readiness, ReadyKeys, Watched};
use crate::queue::Entrance;
use crate::scheduling;
use queueing::Queueing;
use room::Candidates;
use sending::Line;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the acceptor thread owns.
pub struct Acceptor {
    listeners: Vec<Watched<Listener>>,
    parking: Arc<Parking<Connection>>,
    entrance: Entrance<Work>,
    queueing: Queueing,
    /// What the handler answers without a worker.
    immediate: Option<ImmediateHandler>,
    /// For how long it answers so in each round, before it prefers to leave requests to workers.
    answer_time: Duration,
    /// It has answered one so in this round.
    has_answered: bool,
    context: Context,
    /// Spare descriptors for the files that connections ask for.
    reserve: Reserve,
    admission: Arc<Admission>,
    accepting: Accepting,
    /// The connections that close first when all places are taken.
    candidates: Candidates,
    /// Who goes on with a response.
    line: Line,
    /// The next pause in accepting after the system refuses a connection.
    pause: Duration,
    /// When the system last refused a connection.
    last_refusal: Option<Instant>,
    next_sweep: Instant,
    /// An alarm ends the wait for the next sweep.
    has_alarm: bool,
    leaving_since: Option<Instant>,
    drain_deadline: Option<Instant>,
    /// When to look for connections that end with the server, once it drains.
    next_drain_look: Instant,
    /// How long handshakes that have begun get to finish.
    last_connections: Instant,
    /// The number of connections that may still be accepted while draining.
    drain_accepts: usize,
}

/// Whether new connections are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// All places are taken, and no connection may be closed for another. Try again at this time.
    Full(Instant),
    /// The system is out of descriptors or memory. Try again at this time.
    Paused(Instant),
}

impl Acceptor {
    /// An acceptor for `listeners`. It answers what is `immediate`.
    pub fn new(
        listeners: Vec<Listener>,
        entrance: Entrance<Work>,
        immediate: Option<ImmediateHandler>,
        context: Context,
    ) -> io::Result<Self> {
        if context.config.defer_accept {
            listeners.iter().for_each(|listener| listener.defer(true));
        }
        let parking = Arc::clone(&context.parking);
        let watched = listeners.into_iter().map(|listener| parking.watch_listener(listener));
        Ok(Self {
            listeners: watched.collect::<io::Result<_>>()?,
            parking,
            entrance,
            queueing: Queueing::new(Instant::now()),
            immediate,
            answer_time: immediate::answer_time(context.config.workers),
            has_answered: false,
            admission: Arc::clone(&context.admission),
            reserve: Reserve::new(descriptors::descriptor_limit(), 2 * context.config.workers),
            context,
            accepting: Accepting::Yes,
            candidates: Candidates::new(Instant::now()),
            line: Line::default(),
            pause: config::ACCEPT_PAUSE,
            last_refusal: None,
            // The first round sets the alarm.
            next_sweep: Instant::now(),
            has_alarm: false,
            leaving_since: None,
            drain_deadline: None,
            next_drain_look: Instant::now(),
            last_connections: Instant::now(),
            drain_accepts: config::BACKLOG as usize,
        })
    }

    /// Starts its thread. It never waits for a logger: its lines go to the outbox, if there is one.
    pub fn start(self, outbox: Option<Outbox>) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
            if let Some(outbox) = outbox {
                outbox.take_over();
            }
            // All wait for it, and its rounds are short.
            scheduling::run_soon();
            self.run();
        })
    }

    fn run(mut self) {
        let mut ready = ReadyKeys::with_capacity(config::EVENT_BATCH);
        while !self.is_over() {
            if let Err(error) = self.parking.wait(&mut ready, self.timeout()) {
                note!(Error, "cannot wait for clients: {error}");
                thread::sleep(config::ACCEPT_PAUSE);
            }
            self.has_answered = false;
            self.begin_round();
            self.context.renew();
            self.context.rounds.fetch_add(1, Relaxed);
            for key in ready.iter() {
                self.guarded(|acceptor| acceptor.answer_event(key));
            }
            self.continue_responses();
            if self.context.throttle.is_waited_for() {
                self.guarded(Self::pay_out);
            }
            self.guarded(Self::relieve_memory);
            self.guarded(Self::sweep);
            self.guarded(Self::drain);
            // Last: a worker may have made room since one of the others blocked a request.
            self.guarded(Self::tend_queue);
            self.let_workers_run();
        }
        self.cut_what_is_left();
    }

    /// Keeps a panic in the handling of one connection from ending the acceptor.
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
        } else if let Some(connection) = self.take_or_line_up(key) {
            self.advance(connection);
        }
    }

    fn advance(&mut self, mut connection: Box<Connection>) {
        let next = connection.advance(&mut self.context);
        self.carry_out(connection, next);
    }

    /// Accepts up to `left` connections and reads what each has sent. True if the kernel has no
    /// more.
    fn accept(&mut self, at: usize, left: &mut usize) -> bool {
        while *left > 0 {
            if !self.admission.has_room() {
                // A new place costs another connection its own, so there must be a client for it.
                if !listening::has_client(self.listeners[at].source()) {
                    return true;
                }
                if !self.make_room() {
                    self.set_accepting(Accepting::Full(self.candidates.next_look));
                    return false;
                }
            }
            let listener = self.listeners[at].source();
            // When descriptors are short, files come before connections.
            let spare = self.reserve.check(listener, self.admission.open());
            let accepted = spare.and_then(|()| listening::accept(listener));
            let accepted =
                accepted.inspect(|(stream, _)| self.reserve.note(stream, self.admission.open()));
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
                    // The connection failed before it was accepted (accept(2)). The others are not
                    // affected.
                    _ => {
                        *left -= 1;
                        note!(Debug, "a connection failed before it was accepted: {error}");
                    }
                },
            }
        }
        false
    }

    /// Pauses: the system is out of descriptors or memory, and asking again at once would only cost
    /// time.
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
        let place = self.admission.enter();
        let mut connection = Connection::new(stream, peer, place, &self.context.config);
        let next = connection.welcome(&mut self.context);
        self.carry_out(connection, next);
    }

    /// Listeners are level-triggered. They must be silent while nobody accepts.
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

    /// Hands a connection to whoever continues with it, or queues it for a worker.
    fn carry_out(&mut self, connection: Box<Connection>, next: Next) {
        match next {
            Next::Serve(message) => self.serve(connection, message),
            Next::Produce => {
                self.context.produce_jobs.fetch_add(1, Relaxed);
                let now = Instant::now();
                self.entrance.put(Work::Produce(connection), now, now);
            }
            next => self.settle(connection, next),
        }
    }

    /// Checks deadlines, a few times per second.
    fn sweep(&mut self) {
        let now = self.context.round;
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
        let alarm = self.parking.set_alarm(config::SWEEP_INTERVAL);
        self.has_alarm = alarm.inspect_err(|e| note!(Debug, "cannot set an alarm: {e}")).is_ok();
        self.look_at_accept_queue();
        for connection in self.take_all(|connection| connection.is_due(now)) {
            self.guarded(|acceptor| acceptor.expire(connection));
        }
        let config = Arc::clone(&self.context.config);
        for connection in self.take_all(|connection| connection.wants_a_look(now, &config)) {
            self.guarded(|acceptor| acceptor.advance(connection));
        }
    }

    /// Records the kernel's accept queues, summed over all listeners.
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

    /// How long to wait at most for the next event, apart from the alarm. Mostly there is no limit:
    /// a timeout starts and ends a timer in each round.
    fn timeout(&self) -> Option<Duration> {
        if !self.line.is_empty() {
            return Some(Duration::ZERO);
        }
        let accepting = match self.accepting {
            Accepting::Full(until) | Accepting::Paused(until) => Some(until),
            Accepting::Yes => None,
        };
        let is_throttled = self.context.throttle.is_waited_for();
        let payment = is_throttled.then(|| self.next_payment()).flatten();
        let sweep = (!self.has_alarm).then_some(self.next_sweep);
        let due = [accepting, self.next_tending(), payment, sweep].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    #[allow(clippy::vec_box, reason = "connections live in boxes, which move without copying")]
    fn take_all(&self, wanted: impl FnMut(&Connection) -> bool) -> Vec<Box<Connection>> {
        let mut taken = Vec::new();
        self.parking.take_all(wanted, |connection| taken.push(connection));
        taken
    }

    /// Yields the processor to the workers while jobs wait: see [`config::YIELDS`].
    fn let_workers_run(&self) {
        if self.context.queue.is_empty() {
            return;
        }
        let start = Instant::now();
        for _ in 0..config::YIELDS {
            thread::yield_now();
            if self.context.queue.is_empty() || start.elapsed() > config::YIELD_MOST {
                return;
            }
        }
    }
}
