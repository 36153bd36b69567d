//! The event loop that brings every request through its tries, on one thread.

use super::conduct::Conduct;
use super::connection::{Connection, Step};
use super::{Advice, Answer, Client, Connections, Failure, Outcome, Pause, ServerTiming, fields};
use polling::{Events, Poller};
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for events: nothing is due then, and a clock must be able to count to its end.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long it may take to be woken: for so long before something is due, this looks instead of
/// sleeping.
const WAKING: Duration = Duration::from_micros(150);

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// Says when requests are meant to start.
pub trait Demand: Send {
    /// When the next request is meant to start; none where that depends on an answer, or where
    /// there will be no more.
    fn next(&self) -> Option<Duration>;
    /// Takes it.
    fn take(&mut self);
    /// A request has ended at this time.
    fn ended(&mut self, at: Duration);
    /// True where starts follow an arrival process, whose statistics must be kept.
    fn has_arrivals(&self) -> bool;
}

/// Runs until the demand and all that it has brought about have ended, on a thread of its own.
pub fn run(
    client: &Client,
    demand: impl Demand,
    each: &mut (dyn FnMut(Outcome) + Send),
) -> io::Result<Conduct> {
    let poller = Arc::new(Poller::new()?);
    let engine = move || {
        wake_precisely();
        Engine::new(client, demand, each, poller).run()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("load".to_owned()).spawn_scoped(scope, engine)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Asks for waits that end when they should, where the poller's own are not precise.
fn wake_precisely() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        log::debug!("cannot set the timer slack: {error}");
    }
}

/// A request on its way through its tries.
struct Errand {
    intended: Duration,
    lateness: Duration,
    tries: u32,
    begun: Option<Duration>,
    connected: Option<Duration>,
    first_byte: Option<Duration>,
    bytes: u64,
    server: ServerTiming,
    place: Place,
    /// When its timer fires: the end of its pause, or of its patience.
    timer: Duration,
}

/// Where a request is.
#[derive(Clone, Copy)]
enum Place {
    /// Between two tries.
    Paused,
    /// Waiting for a connection, in this position.
    Waiting(u64),
    /// On the connection of this key.
    On(usize),
}

struct Engine<'a, D> {
    client: &'a Client,
    demand: D,
    each: &'a mut (dyn FnMut(Outcome) + Send),
    poller: Arc<Poller>,
    clock: Instant,
    errands: Slab<Errand>,
    /// The timer of each errand, and its key.
    timers: BTreeSet<(Duration, usize)>,
    /// Errands that wait for a connection, first come first served.
    waiting: BTreeMap<u64, usize>,
    next_position: u64,
    connections: Slab<Connection>,
    /// Connections that are kept for the next request.
    idle: BTreeSet<usize>,
    conduct: Conduct,
    random: fastrand::Rng,
    buffer: Vec<u8>,
}

impl<'a, D: Demand> Engine<'a, D> {
    fn new(
        client: &'a Client,
        demand: D,
        each: &'a mut (dyn FnMut(Outcome) + Send),
        poller: Arc<Poller>,
    ) -> Self {
        let seed = match client.retries.pause {
            Pause::Backoff { seed, .. } => seed,
            Pause::AtOnce => 0,
        };
        Self {
            client,
            conduct: Conduct::new(demand.has_arrivals()),
            demand,
            each,
            poller,
            clock: Instant::now(),
            errands: Slab::new(),
            timers: BTreeSet::new(),
            waiting: BTreeMap::new(),
            next_position: 0,
            connections: Slab::new(),
            idle: BTreeSet::new(),
            random: fastrand::Rng::with_seed(seed),
            buffer: vec![0; READ_BYTES],
        }
    }

    fn run(mut self) -> io::Result<Conduct> {
        let mut ready = Events::new();
        loop {
            self.begin_due();
            self.fire_timers();
            if self.errands.is_empty() && self.demand.next().is_none() {
                self.conduct.ran(self.now());
                return Ok(self.conduct);
            }
            let due = [self.demand.next(), self.timers.first().map(|&(timer, _)| timer)];
            let due = due.into_iter().flatten().min().unwrap_or(Duration::MAX);
            let early = due.saturating_sub(self.now()).saturating_sub(WAKING);
            self.wait(&mut ready, early.min(LONGEST_WAIT))?;
            for event in ready.iter() {
                // What is due does not wait for a long batch to end.
                self.begin_due();
                self.advance(event.key);
            }
        }
    }

    /// Waits for events, at most so long.
    fn wait(&self, ready: &mut Events, timeout: Duration) -> io::Result<()> {
        ready.clear();
        match self.poller.wait(ready, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    fn begin_due(&mut self) {
        // What these bring about at once, as refused clients that do not think, must wait its turn.
        let until = self.now();
        while let Some(intended) = self.demand.next().filter(|intended| *intended <= until) {
            let now = self.now();
            self.demand.take();
            self.conduct.began(intended, now);
            let timer = intended.saturating_add(self.client.patience);
            let key = self.errands.insert(Errand {
                intended,
                lateness: now - intended,
                tries: 0,
                begun: None,
                connected: None,
                first_byte: None,
                bytes: 0,
                server: ServerTiming::default(),
                place: Place::Paused,
                timer,
            });
            self.timers.insert((timer, key));
            self.begin_try(key);
        }
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        while let Some(&(timer, key)) = self.timers.first().filter(|(timer, _)| *timer <= now) {
            let errand = &mut self.errands[key];
            match errand.place {
                Place::Paused => {
                    self.timers.remove(&(timer, key));
                    errand.timer = now.saturating_add(self.client.patience);
                    self.timers.insert((errand.timer, key));
                    self.begin_try(key);
                }
                Place::Waiting(position) => {
                    self.waiting.remove(&position);
                    self.end_try(key, Answer::TimedOut, None);
                }
                Place::On(connection) => {
                    self.close(connection);
                    self.end_try(key, Answer::TimedOut, None);
                }
            }
        }
        // Not before all have hung up whose patience has ended with it.
        self.serve_waiting();
    }

    fn begin_try(&mut self, key: usize) {
        let errand = &mut self.errands[key];
        errand.tries += 1;
        (errand.begun, errand.connected, errand.first_byte) = (None, None, None);
        (errand.bytes, errand.server) = (0, ServerTiming::default());
        match self.client.connections {
            Connections::NewEach => self.open(key),
            Connections::Kept(most) => match self.idle.pop_first() {
                Some(connection) => self.reuse(connection, key),
                None if self.connections.len() < most.max(1) => self.open(key),
                None => {
                    let position = self.next_position;
                    self.next_position += 1;
                    self.waiting.insert(position, key);
                    self.errands[key].place = Place::Waiting(position);
                }
            },
        }
    }

    /// A new connection for a request.
    fn open(&mut self, key: usize) {
        let now = self.now();
        let entry = self.connections.vacant_entry();
        let at = entry.key();
        let Client { target, request, .. } = self.client;
        self.errands[key].begun = Some(now);
        match Connection::open(*target, request, &self.poller, at) {
            Ok(mut connection) => {
                connection.errand = Some(key);
                entry.insert(connection);
                self.errands[key].place = Place::On(at);
                self.note(at);
            }
            Err(error) => self.end_try(key, Answer::Failed(Failure::of(&error)), None),
        }
    }

    /// A kept connection for a request.
    fn reuse(&mut self, at: usize, key: usize) {
        let now = self.now();
        let errand = &mut self.errands[key];
        (errand.begun, errand.connected) = (Some(now), Some(now));
        errand.place = Place::On(at);
        let connection = &mut self.connections[at];
        connection.errand = Some(key);
        let step = connection.reuse(&self.client.request);
        self.settle(at, step);
    }

    fn advance(&mut self, at: usize) {
        // An event may be older than the end of its connection, or meant for one before it.
        let Some(connection) = self.connections.get_mut(at) else { return };
        if connection.errand.is_none() {
            if connection.has_ended(&mut self.buffer) {
                self.idle.remove(&at);
                self.close(at);
                self.serve_waiting();
            }
            return;
        }
        let step = connection.step(&self.client.request, &mut self.buffer);
        self.note(at);
        self.settle(at, step);
    }

    /// Notes what a step on a connection has brought.
    fn note(&mut self, at: usize) {
        let now = self.now();
        let connection = &self.connections[at];
        let Some(key) = connection.errand else { return };
        let errand = &mut self.errands[key];
        // For one that was kept, it is noted already when it was taken.
        if let (None, Some(connected)) = (errand.connected, connection.connected) {
            errand.connected = Some(connected.saturating_duration_since(self.clock));
        }
        errand.bytes = connection.bytes;
        if errand.bytes > 0 && errand.first_byte.is_none() {
            errand.first_byte = Some(now);
        }
    }

    fn settle(&mut self, at: usize, step: Step) {
        let Step::Ended(answer) = step else { return };
        let connection = &mut self.connections[at];
        let Some(key) = connection.errand.take() else { return };
        let is_stale = connection.used && connection.bytes == 0;
        if is_stale && matches!(answer, Answer::Failed(Failure::Closed | Failure::Reset)) {
            // The server had closed what was kept, as it may; a request of which nothing was
            // answered can be sent again (RFC 9112, section 9.3.1).
            self.conduct.reconnected();
            self.close(at);
            self.errands[key].connected = None;
            return self.open(key);
        }
        self.errands[key].server = fields::server_timing(connection.head());
        let advice = match (self.client.retries.advice, answer) {
            (Advice::Honoured, Answer::Status(429 | 503)) => fields::retry_after(connection.head()),
            _ => None,
        };
        if connection.persistent && self.client.connections != Connections::NewEach {
            self.idle.insert(at);
        } else {
            self.close(at);
        }
        self.end_try(key, answer, advice);
        self.serve_waiting();
    }

    fn close(&mut self, at: usize) {
        drop(self.connections.remove(at));
    }

    /// Gives what connections have become free to those that wait for one.
    fn serve_waiting(&mut self) {
        let Connections::Kept(most) = self.client.connections else { return };
        while !self.waiting.is_empty() {
            let idle = self.idle.pop_first();
            if idle.is_none() && self.connections.len() >= most.max(1) {
                return;
            }
            let Some((_, key)) = self.waiting.pop_first() else { return };
            match idle {
                Some(connection) => self.reuse(connection, key),
                None => self.open(key),
            }
        }
    }

    /// Ends a try: with another one to come, or with its request.
    fn end_try(&mut self, key: usize, answer: Answer, advice: Option<Duration>) {
        let now = self.now();
        self.conduct.answered(answer);
        let errand = &mut self.errands[key];
        self.timers.remove(&(errand.timer, key));
        let retries = self.client.retries;
        if is_worth_another_try(answer) && errand.tries <= retries.most {
            let pause = match retries.pause {
                Pause::AtOnce => Duration::ZERO,
                Pause::Backoff { first, most, .. } => {
                    let doubled = first.saturating_mul(1 << (errand.tries - 1).min(20));
                    doubled.min(most).mul_f64(self.random.f64())
                }
            };
            errand.timer = now.saturating_add(pause.max(advice.unwrap_or_default()));
            errand.place = Place::Paused;
            self.timers.insert((errand.timer, key));
            return;
        }
        let errand = self.errands.remove(key);
        (self.each)(Outcome {
            intended: errand.intended,
            lateness: errand.lateness,
            begun: errand.begun,
            connected: errand.connected,
            first_byte: errand.first_byte,
            ended: now,
            answer,
            tries: errand.tries,
            bytes: errand.bytes,
            server: errand.server,
        });
        self.demand.ended(now);
    }
}

fn is_worth_another_try(answer: Answer) -> bool {
    match answer {
        Answer::Status(status) => matches!(status, 429 | 502 | 503 | 504),
        Answer::TimedOut | Answer::Failed(_) => true,
    }
}
