//! The acceptor's part of a connection: reading heads, dropping bodies, lingering.
//!
//! A worker steps through here as well, on what is buffered; it never reads from the socket here.

use super::{Connection, Context, Dropped, Flow, Phase, Role};
use crate::config::{self, Config};
use crate::http::fault::Fault;
use crate::http::head::{HeadLimits, HeadScanner, Scan, empty_lines};
use crate::metrics::{CloseReason, Counter};
use crate::parking::Interest;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

impl Connection {
    /// Looks for a whole head in what is buffered, then in what has come.
    pub(super) fn read_head(&mut self, context: &mut Context) -> Flow {
        let (mut more, mut again) = (true, false);
        loop {
            if let Some(flow) = self.scan(context) {
                return flow;
            }
            let Role::Acceptor(buffer, _) = &mut context.role else {
                return Flow::Wait(self.interest_in_more());
            };
            if !more {
                return Flow::Wait(Interest::Readable);
            }
            self.is_unseen = false;
            match self.socket.read(buffer) {
                Ok(0) => return self.ended_early(context),
                Ok(count) => {
                    context.recorder.count_many(Counter::BytesReceived, count as u64);
                    self.input.push(&buffer[..count]);
                    // A short read has emptied the socket; after two full ones, others get
                    // their turn (empty lines can come without end).
                    self.is_drained = count < buffer.len();
                    more = !self.is_drained && !std::mem::replace(&mut again, true);
                }
                Err(error) => match read_failed(&error) {
                    Flow::Again => {}
                    flow => return flow,
                },
            }
        }
    }

    /// Looks for the end of the head in what is buffered.
    fn scan(&mut self, context: &mut Context) -> Option<Flow> {
        let mut begins_now = false;
        if let Phase::Idle = self.phase {
            self.input.consume(empty_lines(self.input.as_slice()));
            if matches!(self.input.as_slice(), b"" | b"\r") {
                return None;
            }
            self.phase = Phase::Head(HeadScanner::default());
            begins_now = true;
        }
        let Phase::Head(scanner) = &mut self.phase else {
            return None;
        };
        let Config { head_bytes: head, target_bytes: target, http09, .. } = *context.config;
        match scanner.scan(self.input.as_slice(), HeadLimits { head, target, http09 }) {
            Scan::Partial => {
                // Most heads come whole, and the clock need not be asked.
                if begins_now {
                    self.deadline = Instant::now() + context.config.header_timeout;
                }
                None
            }
            Scan::Complete(head) => {
                let version = self.version();
                if begins_now {
                    context.recorder.head_came_whole();
                } else {
                    context.recorder.head_read(self.head_time(context));
                }
                self.phase = Phase::Ready { head, version, dropped: Dropped::NotYet };
                Some(Flow::Dispatch)
            }
            Scan::Refused(fault) => {
                self.answer_fault(fault, Instant::now(), context);
                Some(Flow::Again)
            }
        }
    }

    /// The time since the first byte of the head that is being read.
    fn head_time(&self, context: &Context) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        context.config.header_timeout.saturating_sub(left)
    }

    /// The peer has ended its side while a request was awaited or under way.
    fn ended_early(&mut self, context: &mut Context) -> Flow {
        if self.is_idle() {
            return Flow::Close(CloseReason::PeerClosed);
        }
        // It may have ended its sending side alone, and deserves to be told.
        self.answer_fault(Fault::Truncated, Instant::now(), context);
        Flow::Again
    }

    /// Drops what has come of a request's body; the request is served when all has.
    pub(super) fn drop_body(&mut self, context: &mut Context) -> Flow {
        let mut turn = config::LINGER_BYTES;
        loop {
            let Phase::Body { head, version, skipper, then } = &mut self.phase else {
                return Flow::Again;
            };
            let head = *head;
            match skipper.skip(&self.input.as_slice()[head..]) {
                Ok(count) => self.input.consume_behind(head, count),
                Err(fault) => {
                    self.answer_fault(fault, Instant::now(), context);
                    return Flow::Again;
                }
            }
            if skipper.is_done() {
                self.phase = Phase::Ready { head, version: *version, dropped: *then };
                return Flow::Dispatch;
            }
            let Role::Acceptor(buffer, _) = &mut context.role else {
                return Flow::Wait(Interest::Readable);
            };
            if turn == 0 {
                return Flow::Wait(Interest::Readable);
            }
            match self.socket.read(buffer) {
                Ok(0) => return self.ended_early(context),
                Ok(count) => {
                    context.recorder.count_many(Counter::BytesReceived, count as u64);
                    self.is_drained = count < buffer.len();
                    turn = turn.saturating_sub(count);
                    // A slow client pays for its time by what it sends.
                    let earned = count as f64 / context.config.min_rate.max(1) as f64;
                    self.deadline += Duration::from_secs_f64(earned);
                    self.input.push(&buffer[..count]);
                }
                Err(error) => match read_failed(&error) {
                    Flow::Again => {}
                    flow => return flow,
                },
            }
        }
    }

    /// Drops what still comes, until the peer ends its side too.
    pub(super) fn linger(&mut self, context: &mut Context) -> Flow {
        let Phase::Lingering { left, reason } = &mut self.phase else {
            return Flow::Again;
        };
        let Role::Acceptor(buffer, _) = &mut context.role else {
            return Flow::Wait(Interest::Readable);
        };
        loop {
            let read = self.socket.read(buffer);
            context
                .recorder
                .count_many(Counter::BytesReceived, *read.as_ref().unwrap_or(&0) as u64);
            match read {
                Ok(0) => return Flow::Close(*reason),
                Ok(count) if count >= *left => return Flow::Close(*reason),
                Ok(count) => *left -= count,
                Err(error) => match read_failed(&error) {
                    Flow::Again => {}
                    Flow::Wait(interest) => return Flow::Wait(interest),
                    _ => return Flow::Close(*reason),
                },
            }
        }
    }
}

fn read_failed(error: &io::Error) -> Flow {
    match error.kind() {
        ErrorKind::WouldBlock => Flow::Wait(Interest::Readable),
        ErrorKind::Interrupted => Flow::Again,
        _ => Flow::Close(CloseReason::PeerGone),
    }
}
