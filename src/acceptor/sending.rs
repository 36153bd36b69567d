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
    /// Who had the last turn, and since when it has been in front.
    front: Option<(usize, Instant)>,
    /// When the last turns ended, if some were left.
    ended: Option<Instant>,
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

    /// Takes one back whose turn ended at `then`: in front, unless it has been there for long.
    fn put_back(&mut self, key: usize, then: Instant) {
        // A long line leaves less to each, so that all come round in time.
        let length = u32::try_from(self.keys.len() + 1).unwrap_or(u32::MAX);
        let most = config::SEND_BURST.min(config::SEND_CYCLE / length);
        match self.front {
            Some((front, since)) if front == key => {
                if then.saturating_duration_since(since) < most {
                    return self.keys.push_front(key);
                }
                self.front = None;
            }
            _ => {}
        }
        self.keys.push_back(key);
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
            self.line.put_back(connection.key(), self.context.turn_ends);
        }
        self.context.settle(connection, next);
    }

    /// Has the first ones in line go on, until their turn in this round is over. It lasts about as
    /// long as the acceptor did other things since the last one: requests leave half of the time to
    /// responses.
    pub(super) fn continue_responses(&mut self) {
        let since = self.line.ended.take().unwrap_or(self.context.round);
        if self.line.is_empty() {
            return;
        }
        let mut now = Instant::now();
        let turn = now.saturating_duration_since(since);
        let ends = now + turn.clamp(config::SEND_TURN, config::SEND_TURN_MOST);
        while let Some(key) = self.line.next(now) {
            self.context.turn_ends = ends.min(now + config::SEND_BURST);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TURN: Duration = config::SEND_TURN;

    /// The keys in the order of their turns, if each has this many and its socket always has room.
    fn turns(line: &mut Line, count: usize) -> Vec<usize> {
        let mut now = Instant::now();
        let mut turn = || {
            let key = line.next(now)?;
            now += TURN;
            line.put_back(key, now);
            Some(key)
        };
        std::iter::from_fn(&mut turn).take(count).collect()
    }

    #[test]
    fn whoever_is_in_front_has_a_burst_and_then_stands_behind_the_others() {
        let mut line = Line { keys: [1, 2, 3].into(), ..Line::default() };
        let burst = config::SEND_BURST.div_duration_f64(TURN) as usize;
        let of = |key| std::iter::repeat_n(key, burst);
        let expected: Vec<usize> = of(1).chain(of(2)).chain(of(3)).chain(of(1)).collect();
        assert_eq!(turns(&mut line, 4 * burst), expected);
    }

    #[test]
    fn a_long_line_comes_round_in_time() {
        for length in [1, 7, 50, 200] {
            let mut line = Line { keys: (0..length).collect(), ..Line::default() };
            let count = config::SEND_CYCLE.div_duration_f64(TURN) as usize + length;
            let mut seen = turns(&mut line, count);
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), length, "each has had a turn");
        }
    }

    #[test]
    fn only_who_is_in_front_returns_there() {
        let mut line = Line { keys: [1, 2].into(), ..Line::default() };
        let now = Instant::now();
        assert_eq!(line.next(now), Some(1));
        // The socket of 1 was full, and has room again while 2 is in front.
        assert_eq!(line.next(now), Some(2));
        line.put_back(1, now);
        line.put_back(2, now);
        assert_eq!(line.keys, [2, 1]);
    }
}
