//! The event loop that runs all tries of all requests on one thread.

use super::conduct::Conduct;
use super::connection::{Connection, Step};
use super::crowd::Crowd;
use super::message::Message;
use super::{Advice, Answer, Client, Connections, Failure, Outcome, ServerTiming, fields};
use polling::{Events, Poller};
use slab::Slab;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait for events when nothing is due: an observer can end the load meanwhile.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A sleep may end this late. So for this long before an event is due, the loop polls instead of
/// sleeping.
const WAKING: Duration = Duration::from_micros(150);

/// Size of a read.
const READ_BYTES: usize = 64 * 1024;

/// Runs until the demands of all crowds and their requests have ended, on a separate thread.
/// Returns how well the starts of each crowd kept to its demand.
pub fn run(crowds: Vec<Crowd<'_>>) -> io::Result<Vec<Conduct>> {
    let poller = Arc::new(Poller::new()?);
    let engine = move || {
        wake_precisely();
        Engine::new(crowds, poller).run()
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
    /// The crowd that it belongs to.
    crowd: usize,
    message: Arc<Message>,
    /// The number of the message in the client's mix.
    number: usize,
    intended: Duration,
    lateness: Duration,
    tries: u32,
    begun: Option<Duration>,
    connected: Option<Duration>,
    first_byte: Option<Duration>,
    /// When it began to wait for a connection.
    queued: Duration,
    /// How long it has waited for connections.
    connection_wait: Duration,
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

struct Engine<'a> {
    crowds: Vec<Crowd<'a>>,
    poller: Arc<Poller>,
    clock: Instant,
    errands: Slab<Errand>,
    /// The timer of each request, and its key.
    timers: BTreeSet<(Duration, usize)>,
    connections: Slab<Connection>,
    buffer: Vec<u8>,
}

impl<'a> Engine<'a> {
    fn new(crowds: Vec<Crowd<'a>>, poller: Arc<Poller>) -> Self {
        Self {
            crowds,
            poller,
            clock: Instant::now(),
            errands: Slab::new(),
            timers: BTreeSet::new(),
            connections: Slab::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    fn run(mut self) -> io::Result<Vec<Conduct>> {
        let mut ready = Events::new();
        loop {
            self.begin_due();
            self.fire_timers();
            let next = self.next_start().map(|(intended, _)| intended);
            if self.errands.is_empty() && next.is_none() {
                return Ok(self.crowds.into_iter().map(|crowd| crowd.conduct).collect());
            }
            let due = [next, self.timers.first().map(|&(timer, _)| timer)];
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

    /// The client that makes this request.
    fn client_of(&self, key: usize) -> &'a Client {
        self.crowds[self.errands[key].crowd].client
    }

    /// The earliest intended start, and the crowd whose request it is.
    fn next_start(&self) -> Option<(Duration, usize)> {
        let starts = self.crowds.iter().enumerate();
        starts.filter_map(|(number, crowd)| Some((crowd.next()?, number))).min()
    }

    fn begin_due(&mut self) {
        // Requests that become due during this loop, for example from refused clients without a
        // think time, must wait for the next round.
        let until = self.now();
        while let Some((intended, of)) = self.next_start().filter(|(due, _)| *due <= until) {
            let now = self.now();
            let crowd = &mut self.crowds[of];
            let (message, number) = crowd.begin(intended, now);
            let timer = intended.saturating_add(crowd.client.patience);
            let key = self.errands.insert(Errand {
                crowd: of,
                message,
                number,
                intended,
                lateness: now - intended,
                tries: 0,
                begun: None,
                connected: None,
                first_byte: None,
                queued: now,
                connection_wait: Duration::ZERO,
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
                    errand.timer = now.saturating_add(self.crowds[errand.crowd].client.patience);
                    self.timers.insert((errand.timer, key));
                    self.begin_try(key);
                }
                Place::Waiting(position) => {
                    self.crowds[errand.crowd].waiting.remove(&position);
                    errand.connection_wait += now.saturating_sub(errand.queued);
                    self.end_try(key, Answer::TimedOut, None);
                }
                Place::On(connection) => {
                    self.close(connection);
                    self.end_try(key, Answer::TimedOut, None);
                }
            }
        }
        // Only after all requests whose patience has ended have hung up.
        (0..self.crowds.len()).for_each(|crowd| self.serve_waiting(crowd));
    }

    fn begin_try(&mut self, key: usize) {
        let now = self.now();
        let errand = &mut self.errands[key];
        let crowd = &mut self.crowds[errand.crowd];
        if !crowd.restraint.admits(now) {
            return self.end_try(key, Answer::Withheld, None);
        }
        errand.tries += 1;
        (errand.begun, errand.connected, errand.first_byte) = (None, None, None);
        (errand.bytes, errand.server) = (0, ServerTiming::default());
        match crowd.idle.pop_first() {
            Some(connection) => self.reuse(connection, key),
            None if crowd.has_room() => self.open(key),
            None => {
                errand.queued = now;
                errand.place = Place::Waiting(crowd.wait(key));
            }
        }
    }

    /// Opens a new connection for a request.
    fn open(&mut self, key: usize) {
        let now = self.now();
        let client = self.client_of(key);
        let errand = &mut self.errands[key];
        errand.begun = Some(now);
        let entry = self.connections.vacant_entry();
        let at = entry.key();
        match Connection::open(client, &errand.message, &self.poller, at) {
            Ok(mut connection) => {
                (connection.errand, connection.crowd) = (Some(key), errand.crowd);
                entry.insert(connection);
                errand.place = Place::On(at);
                self.crowds[errand.crowd].open += 1;
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
        let step = connection.reuse(&errand.message);
        self.settle(at, step);
    }

    fn advance(&mut self, at: usize) {
        // The event may belong to an earlier connection with this key.
        let Some(connection) = self.connections.get_mut(at) else { return };
        let Some(key) = connection.errand else {
            if connection.has_ended(&mut self.buffer) {
                let crowd = connection.crowd;
                self.crowds[crowd].idle.remove(&at);
                self.close(at);
                self.serve_waiting(crowd);
            }
            return;
        };
        let step = connection.step(&self.errands[key].message, &mut self.buffer);
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
        let number = connection.crowd;
        let is_stale = connection.used && connection.bytes == 0;
        let may_repeat = is_stale && self.errands[key].message.is_idempotent();
        if may_repeat && matches!(answer, Answer::Failed(Failure::Closed | Failure::Reset)) {
            // The server has closed the kept connection, as it may. A request without any response
            // bytes can be sent again if it is idempotent (RFC 9112, section 9.3.1).
            self.crowds[number].conduct.reconnected();
            self.close(at);
            self.errands[key].connected = None;
            return self.open(key);
        }
        self.errands[key].server = fields::server_timing(connection.head());
        let client = self.crowds[number].client;
        let advice = match (client.retries.advice, answer) {
            (Advice::Honoured, Answer::Status(429 | 503)) => fields::retry_after(connection.head()),
            _ => None,
        };
        if connection.persistent && client.connections != Connections::NewEach {
            self.crowds[number].idle.insert(at);
        } else {
            self.close(at);
        }
        self.end_try(key, answer, advice);
        self.serve_waiting(number);
    }

    fn close(&mut self, at: usize) {
        let connection = self.connections.remove(at);
        self.crowds[connection.crowd].open -= 1;
    }

    /// Gives free connections to the requests of a crowd that wait for one.
    fn serve_waiting(&mut self, number: usize) {
        loop {
            let crowd = &mut self.crowds[number];
            if crowd.waiting.is_empty() || crowd.idle.is_empty() && !crowd.has_room() {
                return;
            }
            let Some((_, key)) = crowd.waiting.pop_first() else { return };
            let connection = crowd.idle.pop_first();
            let now = self.now();
            let errand = &mut self.errands[key];
            errand.connection_wait += now.saturating_sub(errand.queued);
            match connection {
                Some(connection) => self.reuse(connection, key),
                None => self.open(key),
            }
        }
    }

    /// Ends a try: schedules the next one, or ends the request.
    fn end_try(&mut self, key: usize, answer: Answer, advice: Option<Duration>) {
        let now = self.now();
        let errand = &mut self.errands[key];
        self.timers.remove(&(errand.timer, key));
        let crowd = &mut self.crowds[errand.crowd];
        if let Some(pause) = crowd.pause_after(answer, errand.tries, advice, now) {
            errand.timer = now.saturating_add(pause);
            errand.place = Place::Paused;
            self.timers.insert((errand.timer, key));
            return;
        }
        let errand = self.errands.remove(key);
        self.crowds[errand.crowd].ended(Outcome {
            intended: errand.intended,
            lateness: errand.lateness,
            connection_wait: errand.connection_wait,
            begun: errand.begun,
            connected: errand.connected,
            first_byte: errand.first_byte,
            ended: now,
            answer,
            tries: errand.tries,
            bytes: errand.bytes,
            server: errand.server,
            message: errand.number,
        });
    }
}
