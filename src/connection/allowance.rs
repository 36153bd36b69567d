//! How many bytes of a response may be sent now: by its connection's limit, and by that of all
//! together.

use super::Connection;
use crate::config::{self, Config};
use crate::throttle::{Asks, Bucket, Pause, Rate, Rates, Throttle, Ticket};
use std::time::Instant;

/// What a connection has of the limits. It is made when the connection first sends under one.
#[derive(Debug)]
pub(super) struct Quota {
    /// Its own credit. All its responses share it.
    bucket: Bucket,
    /// What all together have granted to it, and it has not sent yet.
    granted: u64,
    /// Since the last turn it was the server that was waited for, and not the client.
    was_held_up: bool,
    /// Why its response waits, if it does.
    waits: Option<Waits>,
}

#[derive(Debug)]
struct Waits {
    ticket: Ticket,
    pause: Pause,
    /// The acceptor does not know of it yet.
    is_new: bool,
}

/// For whom a response waits at the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continues {
    /// Its client, or a handler that has nothing yet.
    Client,
    /// The server: its limit, or its turn to send.
    Server,
    /// A thread that makes or reads the next piece at once.
    OtherThread,
}

/// The bytes that a response may send now.
#[derive(Debug)]
pub(super) enum Allowance<'a> {
    /// Any number.
    Unlimited,
    /// As many as the limits leave.
    Limited(Limited<'a>),
}

#[derive(Debug)]
pub(super) struct Limited<'a> {
    own: Option<Rate>,
    total: Option<Rate>,
    quota: &'a mut Quota,
    throttle: &'a Throttle,
    /// The most credit that its own limit gives: more after a time in which the server held it up,
    /// which can have been too long.
    most: u64,
    pause: Option<Pause>,
}

impl<'a> Allowance<'a> {
    /// What the limits leave to a connection with this quota, which is made if it has none.
    pub(super) fn new(
        quota: &'a mut Option<Box<Quota>>,
        config: &Config,
        throttle: &'a Throttle,
    ) -> Self {
        if config.limit_rate.is_none() && config.limit_total.is_none() {
            return Self::Unlimited;
        }
        Self::limited(quota, Rates::of(config), throttle)
    }

    #[inline(never)]
    fn limited(quota: &'a mut Option<Box<Quota>>, rates: Rates, throttle: &'a Throttle) -> Self {
        let (Rates { own, total }, now) = (rates, Instant::now());
        let quota = quota.get_or_insert_with(|| {
            let bucket = Bucket::new(own.map_or(0, Rate::burst), now);
            Box::new(Quota { bucket, granted: 0, was_held_up: false, waits: None })
        });
        quota.waits = None;
        let was_held_up = std::mem::take(&mut quota.was_held_up);
        let most = own.map_or(0, |rate| if was_held_up { rate.late() } else { rate.burst() });
        if let Some(rate) = own {
            quota.bucket.fill(rate, most, now);
        }
        Self::Limited(Limited { own, total, quota, throttle, most, pause: None })
    }

    /// The most bytes that may be sent next. None if it has to wait. `asks` returns what can be
    /// sent at once, and as whom it asks.
    pub(super) fn most(&mut self, asks: impl FnOnce() -> (u64, Asks)) -> Option<usize> {
        match self {
            Self::Unlimited => Some(usize::MAX),
            Self::Limited(limited) => {
                let (rest, asks) = asks();
                limited.most(rest, asks)
            }
        }
    }

    /// Takes account of bytes that were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Self::Limited(Limited { own, quota, .. }) = self {
            if own.is_some() {
                quota.bucket.take(bytes as u64);
            }
            quota.granted = quota.granted.saturating_sub(bytes as u64);
        }
    }

    /// Ends this turn, and says what it waits for, if it does. If another thread continues it, that
    /// one sends what was granted; else it goes back.
    pub(super) fn end(self, who: impl FnOnce() -> Continues) -> Option<Pause> {
        let Self::Limited(limited) = self else { return None };
        let who = who();
        limited.quota.was_held_up = who != Continues::Client;
        if who != Continues::OtherThread {
            limited.throttle.put_back(std::mem::take(&mut limited.quota.granted));
        }
        limited.pause
    }
}

impl Limited<'_> {
    #[inline(never)]
    fn most(&mut self, rest: u64, asks: Asks) -> Option<usize> {
        let mut most = rest;
        if let Some(rate) = self.own {
            let (bucket, least) = (&mut self.quota.bucket, rest.min(rate.share()));
            if bucket.bytes() < least {
                // Sending has taken some time.
                bucket.fill(rate, self.most, Instant::now());
            }
            if bucket.bytes() < least {
                self.pause = Some(Pause::Until(bucket.ready_at(rate, least)));
                return None;
            }
            most = most.min(bucket.bytes());
        }
        if let Some(rate) = self.total {
            if self.quota.granted == 0 {
                let asks = if most < rest { Asks::Large } else { asks };
                match self.throttle.ask(rate, asks, most, Instant::now()) {
                    Some(granted) => self.quota.granted = granted,
                    None => {
                        self.pause = Some(Pause::Turn);
                        return None;
                    }
                }
            }
            most = most.min(self.quota.granted);
        }
        Some(usize::try_from(most).unwrap_or(usize::MAX))
    }
}

impl Connection {
    /// Has the response wait until it may go on.
    pub(super) fn pause(&mut self, pause: Pause, throttle: &Throttle) {
        let ticket = throttle.ticket(self.key());
        if let Some(quota) = &mut self.quota {
            quota.waits = Some(Waits { ticket, pause, is_new: true });
        }
        // The poller may report new bytes meanwhile, and does so once.
        self.has_read_all = false;
    }

    /// The pause of which the acceptor has to know, once.
    pub fn take_new_pause(&mut self) -> Option<(Ticket, Pause)> {
        let waits = self.quota.as_mut()?.waits.as_mut()?;
        std::mem::take(&mut waits.is_new).then_some((waits.ticket, waits.pause))
    }

    /// True if it waits for what this ticket is for.
    pub fn waits_for(&self, ticket: Ticket) -> bool {
        self.waits().is_some_and(|waits| waits.ticket == ticket)
    }

    /// It is its turn: all together grant it so many bytes.
    pub fn grant(&mut self, bytes: u64) {
        if let Some(quota) = &mut self.quota {
            quota.granted = bytes;
            if let Some(waits) = &mut quota.waits {
                waits.pause = Pause::Until(Instant::now());
            }
        }
    }

    /// True if its response may not go on yet.
    pub(super) fn is_paused(&self) -> bool {
        self.quota.is_some()
            && self.waits().is_some_and(|waits| match waits.pause {
                Pause::Until(time) => Instant::now() < time,
                Pause::Turn => true,
            })
    }

    fn waits(&self) -> Option<&Waits> {
        self.quota.as_ref()?.waits.as_ref()
    }
}

/// The most bytes that a client which keeps up with the limits has not acknowledged. None if there
/// are none.
pub(super) fn most_in_flight(config: &Config) -> Option<u64> {
    let Rates { own, total } = Rates::of(config);
    let most = |rate: Rate| rate.burst().saturating_add(rate.within(config::LIMIT_FLIGHT));
    own.into_iter().chain(total).map(most).min()
}
