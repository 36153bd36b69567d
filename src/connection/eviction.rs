//! Which connection closes when places or memory run out.

use super::{Connection, Context, Next, Phase};
use crate::config::{self, Config};
use crate::http::fault::Fault;
use crate::listening;
use crate::metrics::CloseReason;
use crate::parking::Socket;
use std::time::{Duration, Instant};

/// How much a connection has contributed. The smallest value closes first: the kinds in this order,
/// and within a kind the one that has been so for longest. A connection with a whole request, or
/// whose response is being read, has no standing and keeps its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Idle since this moment.
    Idle(Instant),
    /// Reading a head, or silent since it was accepted, since this moment.
    Head(Instant),
    /// Reading a body at so many bytes per second, in a window that began at this moment.
    Body(u64, Instant),
    /// Its client has read nothing of its response since this moment.
    Untaken(Instant),
}

/// How much of a response the client has read, and since when it has read no more.
#[derive(Debug)]
pub(super) struct Taken {
    /// Bytes sent minus bytes that the kernel holds. Those can belong to an earlier response, so
    /// the difference can be negative.
    bytes: i64,
    since: Instant,
    /// Bytes sent at two times, the later one first, from which the rate follows. Most responses
    /// have ended before the first.
    marks: Option<Box<[Mark; 2]>>,
}

/// The bytes that were sent by then.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    sent: u64,
}

impl Taken {
    /// Nothing read yet.
    pub(super) fn nothing(now: Instant) -> Self {
        Self { bytes: 0, since: now, marks: None }
    }

    /// The rate in bytes per second, over the last seconds, of a response that began at `begun` and
    /// of which so much is sent. None if it has just begun.
    pub(super) fn rate(&self, begun: Instant, sent: u64, now: Instant) -> Option<f64> {
        let is_old =
            |mark: &&Mark| now.saturating_duration_since(mark.at) >= config::TRANSFER_WINDOW;
        let marks = self.marks.as_deref().into_iter().flatten();
        let from = *marks.into_iter().find(is_old).unwrap_or(&Mark { at: begun, sent: 0 });
        let seconds = now.saturating_duration_since(from.at).as_secs_f64();
        let moved = sent.saturating_sub(from.sent) as f64;
        (seconds >= config::SWEEP_INTERVAL.as_secs_f64()).then(|| moved / seconds)
    }

    /// Remembers how much is sent now, for the rate.
    #[cold]
    fn mark(&mut self, begun: Instant, sent: u64) {
        let (now, first) = (Mark { at: self.since, sent }, Mark { at: begun, sent: 0 });
        let marks = self.marks.get_or_insert_with(|| Box::new([first; 2]));
        if now.at.saturating_duration_since(marks[0].at) >= config::TRANSFER_WINDOW {
            **marks = [now, marks[0]];
        }
    }

    /// The bytes that the client has read, as of the last look.
    pub(super) fn bytes(&self) -> i64 {
        self.bytes
    }

    /// Updates the figures of a response that began at `begun`; `sent` is the number of bytes given
    /// to the kernel.
    pub(super) fn look(&mut self, socket: &Socket, begun: Instant, sent: u64) {
        let bytes = sent as i64 - listening::unacknowledged(socket).unwrap_or(0) as i64;
        if bytes != self.bytes {
            (self.bytes, self.since) = (bytes, Instant::now());
            if self.since.saturating_duration_since(begun) >= config::TRANSFER_WINDOW {
                self.mark(begun, sent);
            }
        }
    }
}

impl Connection {
    /// Its standing; none if it keeps its place.
    pub fn standing(&self, now: Instant, config: &Config) -> Option<Standing> {
        let has_been = |since, grace| now.saturating_duration_since(since) >= grace;
        let begun = |wait| self.deadline.checked_sub(wait).unwrap_or(now);
        let (standing, since, grace) = match &self.phase {
            Phase::Announced | Phase::Idle => {
                let since = begun(match &self.phase {
                    Phase::Announced => config.header_timeout,
                    _ => config.idle_timeout,
                });
                if self.has_asked || has_been(since, config::EVICTABLE_AFTER) {
                    (Standing::Idle(since), since, config::EVICTABLE_AFTER)
                } else {
                    (Standing::Head(since), since, config::PARTIAL_GRACE)
                }
            }
            Phase::Lingering { .. } => {
                let since = begun(config::LINGER_TIMEOUT);
                (Standing::Idle(since), since, config::EVICTABLE_AFTER)
            }
            Phase::Head(_) => {
                let since = begun(config.header_timeout);
                (Standing::Head(since), since, config::PARTIAL_GRACE)
            }
            Phase::Body(body) => {
                let since = begun(config.body_timeout);
                let seconds = now.saturating_duration_since(since).as_secs_f64();
                let rate = (body.came() as f64 / seconds) as u64;
                (Standing::Body(rate, since), since, config::PARTIAL_GRACE)
            }
            // It has a whole request and waits for other work to end, or for room in the queue.
            Phase::Whole(message) if message.waiting.is_some() || message.blocked.is_some() => {
                return None;
            }
            // It is parked until its client has read the previous response.
            Phase::Whole(_) => untaken(begun(config.write_timeout), config),
            Phase::Flushing(flushing) => untaken(flushing.taken().since, config),
        };
        // If the kernel holds nothing for the client, the server is the one that is late.
        let is_ours = || {
            matches!(standing, Standing::Untaken(_))
                && listening::unacknowledged(&self.socket) == Some(0)
        };
        (has_been(since, grace) && !is_ours()).then_some(standing)
    }

    /// True if it holds more memory than the fixed amount of each connection.
    pub fn holds_memory(&self) -> bool {
        let of_response = matches!(&self.phase, Phase::Flushing(of) if of.holds_memory());
        of_response || self.input.holds_memory()
    }

    /// True if it has been idle or lingering for a while.
    pub fn is_idle_for_long(&self, now: Instant, config: &Config) -> bool {
        let is_idle = || matches!(self.standing(now, config), Some(Standing::Idle(_)));
        self.is_dispensable() && is_idle()
    }

    /// Closes it to make room. A client that has sent part of a request gets a 408, or a 503 if
    /// memory is short, as far as its socket has room for the response.
    pub fn give_up_place(&mut self, lacks_memory: bool, context: &mut Context) -> Next {
        let reason = match self.phase {
            Phase::Announced | Phase::Idle => CloseReason::Evicted,
            Phase::Lingering { reason, .. } => reason,
            _ => CloseReason::Displaced,
        };
        if self.is_partial() {
            let next = match lacks_memory {
                true => self.refuse(Fault::NoMemory, context),
                false => self.refuse_partial(context),
            };
            match next {
                Next::Park(_) => {}
                next => return next,
            }
        }
        if let Phase::Flushing(flushing) = &self.phase {
            flushing.account(&self.origin, "not taken in time", context);
        }
        Next::Close(reason)
    }

    /// Answers part of a request: the rest did not arrive in time.
    pub fn refuse_partial(&mut self, context: &mut Context) -> Next {
        let fault = match self.phase {
            Phase::Body(_) => Fault::BodyTimeout,
            _ => Fault::HeadTimeout,
        };
        self.refuse(fault, context)
    }
}

/// The standing of a response that its client has not read since this moment, and the time for
/// which the connection keeps its place all the same.
fn untaken(since: Instant, config: &Config) -> (Standing, Instant, Duration) {
    (Standing::Untaken(since), since, config.write_timeout / config::UNTAKEN_SHARE)
}
