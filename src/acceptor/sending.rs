//! The turns of connections whose responses take longer than one turn.
//!
//! They stand in line, behind what has just arrived. So a request waits for one turn at most, and
//! not for all downloads that go on beside it.

use super::Acceptor;
use crate::config;
use crate::connection::Connection;
use std::time::Instant;

impl Acceptor {
    /// Notes when a round begins, and until when its first responses may go on.
    pub(super) fn begin_round(&mut self) {
        self.context.round = Instant::now();
        self.context.turn_ends = self.context.round + config::SEND_TURN;
    }

    /// Takes out the connection for an event. One that has begun a response stays parked, and
    /// stands in line.
    pub(super) fn take_or_line_up(&mut self, key: usize) -> Option<Box<Connection>> {
        let line = &mut self.line;
        self.parking.take_unless(key, |connection| {
            let is_sending = connection.is_sending();
            if is_sending && connection.joins_line() {
                line.push_back(key);
            }
            is_sending
        })
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
        while let Some(key) = self.line.pop_front() {
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
