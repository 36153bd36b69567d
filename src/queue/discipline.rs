//! What a discipline is: the order of those that wait, and who of them gives way.

use crate::config::WhenFull;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Something that waits for a worker.
#[derive(Debug)]
pub struct Entry<T> {
    /// What waits.
    pub item: T,
    /// Its number in the order of arrival; no two have the same.
    pub number: u64,
    /// The client that it belongs to: an IPv4 address or the /64 prefix of an IPv6 address.
    pub client: IpAddr,
    /// When it was queued.
    pub since: Instant,
    /// The bytes that it is expected to send; 0 if that is not known.
    pub size: u64,
    /// It was admitted before, so it neither gives way nor expires here.
    pub stays: bool,
}

/// What a client was charged for an entry that is served: a guess, until its service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// The client.
    pub client: IpAddr,
    /// The guess.
    pub guess: Duration,
    /// The visit of the client in which the service began: see [`super::fair`].
    pub(super) visit: u64,
}

/// What a client has in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The client.
    pub client: IpAddr,
    /// How many of its requests wait.
    pub waiting: usize,
    /// How many of its requests that have waited are being served.
    pub in_service: usize,
}

/// Which of several entries gives way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Victim {
    /// The one that came last.
    Newest,
    /// The one that came first.
    Oldest,
    /// Each with the same chance. The fraction, from 0 to 1, chooses it.
    Random(f64),
}

impl Victim {
    /// The one that `when_full` makes give way; `fraction` is drawn at random. None if none does.
    pub fn of(when_full: WhenFull, fraction: f64) -> Option<Self> {
        match when_full {
            WhenFull::Refuse => Some(Self::Newest),
            WhenFull::DropHead => Some(Self::Oldest),
            WhenFull::DropRandom => Some(Self::Random(fraction)),
            WhenFull::Block => None,
        }
    }
}

/// An order of service. It is a plain value: it knows neither threads nor sockets nor clocks.
pub trait Discipline<T>: Debug + Send {
    /// Takes an entry in.
    fn admit(&mut self, entry: Entry<T>);

    /// Takes out the entry that is served next, and what its client is charged for it, where
    /// clients are charged.
    fn next(&mut self) -> Option<(Entry<T>, Option<Charge>)>;

    /// Takes an entry back that [`next`](Self::next) has taken out and that nobody has served. Its
    /// client is not charged, and it gets its place back.
    fn take_back(&mut self, entry: Entry<T>, _charge: Option<Charge>) {
        self.admit(entry);
    }

    /// The service that was charged so has ended, and took this time.
    fn ended(&mut self, _charge: Charge, _took: Duration) {}

    /// Takes a newcomer in, and takes out the entry that gives way for it, which can be the
    /// newcomer itself. None if all of them stay.
    fn replace(&mut self, newcomer: Entry<T>, victim: Victim) -> Option<Entry<T>>;

    /// Takes out the entries that have waited too long, unless they stay.
    fn expire(&mut self, is_over: &dyn Fn(&Entry<T>) -> bool) -> Vec<Entry<T>>;

    /// The number of entries.
    fn len(&self) -> usize;

    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A request of this client was refused, which has cost time as well.
    fn refused(&mut self, _client: IpAddr) {}

    /// The clients with the most entries, at most this many, and those of `others` that are known.
    /// None where clients are all the same.
    fn busiest(&self, _most: usize, _others: &[IpAddr]) -> Option<Vec<Waiting>> {
        None
    }
}

/// The position, in a line of `len` entries, of the one that gives way, where `stays` tells of a
/// position whether its entry stays. None if all stay.
pub(super) fn position(len: usize, victim: Victim, stays: impl Fn(usize) -> bool) -> Option<usize> {
    match victim {
        Victim::Newest => (0..len).rev().find(|&at| !stays(at)),
        Victim::Oldest => (0..len).find(|&at| !stays(at)),
        Victim::Random(fraction) => {
            let first = ((fraction * len as f64) as usize).min(len.saturating_sub(1));
            (first..len).chain(0..first).find(|&at| !stays(at))
        }
    }
}

/// Puts an entry back into a line that is in order of arrival.
pub(super) fn put_back<T>(line: &mut VecDeque<Entry<T>>, entry: Entry<T>) {
    let at = line.partition_point(|other| other.number < entry.number);
    line.insert(at, entry);
}

/// True for an entry that is over and does not stay.
pub(super) fn is_out<T>(entry: &Entry<T>, is_over: &dyn Fn(&Entry<T>) -> bool) -> bool {
    !entry.stays && is_over(entry)
}

/// Takes out of a line what is over and does not stay.
pub(super) fn take_expired<T>(
    line: &mut VecDeque<Entry<T>>,
    is_over: &dyn Fn(&Entry<T>) -> bool,
    expired: &mut Vec<Entry<T>>,
) {
    if !line.iter().any(|entry| is_out(entry, is_over)) {
        return;
    }
    for entry in std::mem::take(line) {
        if is_out(&entry, is_over) { expired.push(entry) } else { line.push_back(entry) }
    }
}
