//! The event loop that runs all tries of all requests on one thread.

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

/// The longest wait for events when nothing is due.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A sleep may end this late. So for this long before an event is due, the loop polls instead of
/// sleeping.
const WAKING: Duration = Duration::from_micros(150);

/// Size of a read.
const READ_BYTES: usize = 64 * 1024;

/// Decides when requests start.
pub trait Demand: Send {
    /// The intended start of the next request. `None` if it depends on an answer, or if there are
    /// no more requests.
    fn next(&self) -> Option<Duration>;
    /// Removes this request from the demand.
    fn take(&mut self);
    /// A request ended at this time.
    fn ended(&mut self, at: Duration);
    /// Whether the starts follow an arrival process, whose statistics must be recorded.
    fn has_arrivals(&self) -> bool;
}

/// Runs until the demand and all its requests have ended, on a separate thread.
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

/// Requests precise timers, in case the poller's own are not.
fn wake_precisely() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        log::debug!("cannot set the timer slack: {error}");
    }
}

/// A request and the state of its tries.
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
    /// When its timer fires: at the end of a pause or of its patience.
    timer: Duration,
}

/// The state of a request.
#[derive(Clone, Copy)]
enum Place {
    /// Between two tries.
    Paused,
    /// Waiting for a connection, at this position in the queue.
    Waiting(u64),
    /// On the connection with this key.
    On(usize),
}

struct Engine<'a, D> {
    client: &'a Client,
    demand: D,
    each: &'a mut (dyn FnMut(Outcome) + Send),
    poller: Arc<Poller>,
    clock: Instant,
    errands: Slab<Errand>,
    /// The timer of each request, and its key.
    timers: BTreeSet<(Duration, usize)>,
    /// Requests that wait for a connection, in order of arrival.
    waiting: BTreeMap<u64, usize>,
    next_position: u64,
    connections: Slab<Connection>,
    /// Connections kept for the next request.
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
                // Start due requests even during a long batch of events.
                self.begin_due();
                self.advance(event.key);
            }
        }
    }

    /// Waits for events, for at most this time.
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
        // Requests that become due during this loop, for example from refused clients without a
        // think time, must wait for the next round.
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
        // Only after all requests whose patience has ended have hung up.
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

    /// Opens a new connection for a request.
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

    /// Uses a kept connection for a request.
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
        // The event may belong to an earlier connection with this key.
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

    /// Records what a step on a connection has received.
    fn note(&mut self, at: usize) {
        let now = self.now();
        let connection = &self.connections[at];
        let Some(key) = connection.errand else { return };
        let errand = &mut self.errands[key];
        // For a kept connection, the time was recorded when it was taken.
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
            // The server has closed the kept connection, as it may. A request without any response
            // bytes can be sent again (RFC 9112, section 9.3.1).
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

    /// Gives free connections to the requests that wait for one.
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

    /// Ends a try: schedules the next one, or ends the request.
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
