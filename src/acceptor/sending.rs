//! The turns of connections whose responses take longer than one turn.
//!
//! They stand in line, behind what has just arrived. So a request waits for one turn at most, and
//! not for all downloads that go on beside it.

use super::Acceptor;
use crate::config;
use crate::connection::{Connection, Next};
use crate::parking::Interest;
use std::collections::VecDeque;
use std::time::Instant;

/// Those that go on with a response.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The keys of parked connections, in order. Some may have gone.
    keys: VecDeque<usize>,
    /// Who had the last turn, and since when it has been in front.
    front: Option<(usize, Instant)>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The next one, whose turn begins now.
    fn next(&mut self, now: Instant) -> Option<usize> {
        let key = self.keys.pop_front()?;
        if self.front.is_none_or(|(front, _)| front != key) {
            self.front = Some((key, now));
        }
        Some(key)
    }

    /// Takes one back whose turn is over: in front, unless it has been there for long.
    fn put_back(&mut self, key: usize, now: Instant) {
        let is_new = |(front, since): (usize, Instant)| {
            front == key && now.saturating_duration_since(since) < config::SEND_BURST
        };
        if self.front.is_some_and(is_new) {
            self.keys.push_front(key);
        } else {
            self.front = None;
            self.keys.push_back(key);
        }
    }
}

impl Acceptor {
    /// Notes when a round begins, and until when its first responses may go on.
    pub(super) fn begin_round(&mut self) {
        self.context.round = Instant::now();
        self.context.turn_ends = self.context.round + config::SEND_TURN;
    }

    /// Takes out the connection for an event. One that has begun a response stays parked, and
    /// stands in line.
    pub(super) fn take_or_line_up(&mut self, key: usize) -> Option<Box<Connection>> {
        let keys = &mut self.line.keys;
        self.parking.take_unless(key, |connection| {
            let is_sending = connection.is_sending();
            if is_sending && connection.joins_line() {
                keys.push_back(key);
            }
            is_sending
        })
    }

    /// Hands a connection to whoever continues with it. One whose turn is over stands in line.
    pub(super) fn settle(&mut self, mut connection: Box<Connection>, next: Next) {
        if matches!(next, Next::Park(Interest::Turn)) && connection.joins_line() {
            self.line.put_back(connection.key(), self.context.round);
        }
        self.context.settle(connection, next);
    }

    /// Has the first ones in line go on, until their turn in this round is over. It lasts at least
    /// as long as the round has taken so far: requests leave half of the time to them.
    pub(super) fn continue_responses(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let now = Instant::now();
        let turn = config::SEND_TURN.max(now.saturating_duration_since(self.context.round));
        self.context.turn_ends = now + turn;
        while let Some(key) = self.line.next(self.context.round) {
            self.guarded(|acceptor| {
                // Whoever has taken it has looked at what it waits for.
                if let Some(connection) = acceptor.parking.take(key) {
                    acceptor.advance(connection);
                }
            });
            if !self.context.may_continue() {
                return;
            }
        }
    }
}
