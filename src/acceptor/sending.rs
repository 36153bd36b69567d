//! The turns of connections whose responses take longer than one turn.
//!
//! They stand in line, behind what has just arrived. So a request waits for the turns of one round,
//! and not for all downloads that go on beside it.

use super::Acceptor;
use crate::config;
use crate::connection::{Connection, Next};
use crate::parking::Interest;
use std::collections::VecDeque;
use std::time::Instant;

/// Those that go on with a response.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The keys of parked connections, in order. A connection that is taken without its key leaves
    /// it behind. That is a deadline or a payment at most, so such keys do not gather.
    keys: VecDeque<usize>,
    /// When the last turns ended, if some were left.
    ended: Option<Instant>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
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
            self.line.keys.push_back(connection.key());
        }
        self.context.settle(connection, next);
    }

    /// Has the first ones in line go on, each for a turn, while their time in this round lasts.
    /// That is about as long as the acceptor did other things since the last one: requests leave
    /// half of the time to responses.
    pub(super) fn continue_responses(&mut self) {
        let since = self.line.ended.take().unwrap_or(self.context.round);
        if self.line.is_empty() {
            return;
        }
        let mut now = Instant::now();
        let others = now.saturating_duration_since(since);
        let ends = now + others.clamp(config::SEND_TURN, config::SEND_TURNS_MOST);
        while let Some(key) = self.line.keys.pop_front() {
            self.context.turn_ends = ends.min(now + config::SEND_TURN);
            self.guarded(|acceptor| {
                // Whoever has taken it has looked at what it waits for.
                if let Some(connection) = acceptor.parking.take(key) {
                    acceptor.advance(connection);
                }
            });
            now = Instant::now();
            if now >= ends {
                break;
            }
        }
        self.line.ended = (!self.line.is_empty()).then_some(now);
    }
}
