//! The limits of rates: what all responses together may send, and who waits for what.
//!
//! A response that may not send now pauses: until a time, which its connection's own bucket names,
//! or until its turn, if the limit of all together holds it up. The acceptor sleeps until the first
//! of these times, whatever room sockets have. So a response that pauses costs no wakeup.
//!
//! Turns go round: each one sends a share, then waits behind the others. Nobody overtakes, except
//! small responses, which may take up to half of the rate without a turn.

mod bucket;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Rate};

use crate::config::{self, Config};
use crate::lock::lock;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

/// The limits in force.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// That of each connection.
    pub own: Option<Rate>,
    /// That of all together.
    pub total: Option<Rate>,
}

impl Rates {
    /// The limits that are configured.
    pub fn of(config: &Config) -> Self {
        let [own, total] = [config.limit_rate, config.limit_total].map(|rate| Rate::new(rate?));
        Self { own, total }
    }
}

/// What a response waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// A time at which its own limit lets it go on.
    Until(Instant),
    /// Its turn within the limit of all together.
    Turn,
}

/// Who asks for a part of the limit of all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// A response that is small as a whole.
    Small,
    /// Any other.
    Large,
}

/// One pause of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Distinguishes it from all other pauses.
    pub number: u64,
    /// The key of the connection in the parking table.
    pub key: usize,
}

/// Who waits for a limit, and the credit of all together. All threads share it, and hold its lock
/// for a moment.
#[derive(Debug)]
pub struct Throttle {
    state: Mutex<State>,
    /// False only if nobody waits.
    is_waited_for: AtomicBool,
    tickets: AtomicU64,
    /// Pauses end at multiples of the tick after this.
    start: Instant,
}

#[derive(Debug)]
struct State {
    total: Bucket,
    /// What small responses may take without a turn.
    small: Bucket,
    times: BinaryHeap<Reverse<(Instant, Ticket)>>,
    turns: VecDeque<Ticket>,
}

impl Throttle {
    /// Nobody waits, and the bucket of all together is full at `rate`.
    pub fn new(rate: Option<Rate>, now: Instant) -> Self {
        let full = || Bucket::new(rate.map_or(0, Rate::burst), now);
        let (times, turns) = (BinaryHeap::new(), VecDeque::new());
        Self {
            state: Mutex::new(State { total: full(), small: full(), times, turns }),
            is_waited_for: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
            start: now,
        }
    }

    /// Asks for up to `wanted` bytes of the limit of all together. `None`: wait for a turn.
    pub fn ask(&self, rate: Rate, asks: Asks, wanted: u64, now: Instant) -> Option<u64> {
        let state = &mut *lock(&self.state);
        let credit = state.fill(rate, now);
        if asks == Asks::Small && state.small.fill(rate.half(), rate.burst(), now) >= wanted {
            // Large responses pay for it: they wait until the debt is paid.
            state.small.take(wanted);
            state.total.take(wanted);
            return Some(wanted);
        }
        if !state.turns.is_empty() || credit < wanted.min(turn(rate, 0)) {
            return None;
        }
        let granted = wanted.min(credit).min(turn(rate, 0));
        state.total.take(granted);
        Some(granted)
    }

    /// Gives back what was granted and is not sent.
    pub fn put_back(&self, bytes: u64) {
        if bytes > 0 {
            lock(&self.state).total.put_back(bytes);
        }
    }

    /// A ticket for the connection of this key.
    pub fn ticket(&self, key: usize) -> Ticket {
        Ticket { number: self.tickets.fetch_add(1, Relaxed), key }
    }

    /// Has the acceptor wake a connection, which must be parked by now. True if the acceptor may
    /// sleep for too long, so that it must be woken itself.
    pub fn add(&self, ticket: Ticket, pause: Pause) -> bool {
        let state = &mut *lock(&self.state);
        self.is_waited_for.store(true, SeqCst);
        match pause {
            Pause::Until(time) => {
                let time = self.next_tick(time);
                let is_first = state.times.peek().is_none_or(|Reverse((first, _))| time < *first);
                state.times.push(Reverse((time, ticket)));
                is_first
            }
            Pause::Turn => {
                state.turns.push_back(ticket);
                state.turns.len() == 1
            }
        }
    }

    fn next_tick(&self, time: Instant) -> Instant {
        let tick = config::LIMIT_TICK.as_nanos();
        let beyond = time.saturating_duration_since(self.start).as_nanos() % tick;
        let left = if beyond == 0 { 0 } else { tick - beyond };
        time + Duration::from_nanos(left as u64)
    }

    /// True if somebody waits. It is the check of each round of the acceptor.
    pub fn is_waited_for(&self) -> bool {
        self.is_waited_for.load(SeqCst)
    }

    /// When the acceptor has to look next, if somebody waits. `rate` is that of all together.
    pub fn next_look(&self, rate: Option<Rate>, now: Instant) -> Option<Instant> {
        if !self.is_waited_for() {
            return None;
        }
        let state = &*lock(&self.state);
        let time = state.times.peek().map(|Reverse((time, _))| *time);
        let waiting = state.turns.len();
        let ready = |rate| self.next_tick(state.total.ready_at(rate, turn(rate, waiting)));
        let turn = (!state.turns.is_empty()).then(|| rate.map_or(now, ready));
        time.into_iter().chain(turn).min()
    }

    /// The next connection whose time has come.
    pub fn next_due(&self, now: Instant) -> Option<Ticket> {
        let state = &mut *lock(&self.state);
        let &Reverse((time, ticket)) = state.times.peek()?;
        if time > now {
            return None;
        }
        state.times.pop();
        self.tell(state);
        Some(ticket)
    }

    /// The next connection whose turn it is, with the bytes that are granted to it. Without a limit
    /// each one has its turn at once.
    pub fn next_turn(&self, rate: Option<Rate>, now: Instant) -> Option<(Ticket, u64)> {
        let state = &mut *lock(&self.state);
        let granted = match rate {
            Some(rate) => {
                let turn = turn(rate, state.turns.len());
                (state.fill(rate, now) >= turn).then_some(turn)?
            }
            None => 0,
        };
        let ticket = state.turns.pop_front()?;
        state.total.take(granted);
        self.tell(state);
        Some((ticket, granted))
    }

    /// The number of pauses, with those of connections that have closed since.
    pub fn waiting(&self) -> usize {
        let state = lock(&self.state);
        state.times.len() + state.turns.len()
    }

    /// Forgets those for which `is_waiting` is false.
    pub fn retain(&self, is_waiting: impl Fn(&Ticket) -> bool) {
        let state = &mut *lock(&self.state);
        state.times.retain(|Reverse((_, ticket))| is_waiting(ticket));
        state.turns.retain(is_waiting);
        self.tell(state);
    }

    fn tell(&self, state: &State) {
        self.is_waited_for.store(!state.times.is_empty() || !state.turns.is_empty(), SeqCst);
    }
}

impl State {
    /// Credits all together up to now. While somebody waits for a turn, the acceptor may be late,
    /// and nothing is lost for that.
    fn fill(&mut self, rate: Rate, now: Instant) -> u64 {
        let most = if self.turns.is_empty() { rate.burst() } else { rate.late() };
        self.total.fill(rate, most, now)
    }
}

/// The most that one turn sends while so many wait.
fn turn(rate: Rate, waiting: usize) -> u64 {
    let least = rate.within(config::LIMIT_TURN_LEAST).max(config::LIMIT_TURN_BYTES);
    let fair = rate.within(config::LIMIT_ROUND) / waiting.max(1) as u64;
    fair.max(least).min(rate.share()).min(config::SEND_PIECE as u64)
}
