//! Which connection gives up its place when all are taken, and how it ends.

use super::{Connection, Context, Next, Phase};
use crate::config::{self, Config};
use crate::http::fault::Fault;
use crate::listening;
use crate::metrics::CloseReason;
use crate::parking::Socket;
use std::time::{Duration, Instant};

/// What a connection has brought, by which it keeps its place. Who has brought least comes first,
/// and among those alike who has been so for longest. Where a request is whole, or its response is
/// being taken, there is none: such a connection keeps its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing is owed to its client since then.
    Idle(Instant),
    /// A request head began then, or a connection that has brought nothing yet, and is not whole.
    Head(Instant),
    /// A body comes at so many bytes a second in a window that began then.
    Body(u64, Instant),
    /// A response of which the client has taken nothing since then.
    Untaken(Instant),
}

/// How far a response was taken by its client, and since when it is no further.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// Bytes sent less those that the kernel holds, which may be some of an earlier response.
    bytes: i64,
    since: Instant,
}

impl Taken {
    /// Nothing yet.
    pub(super) fn nothing(now: Instant) -> Self {
        Self { bytes: 0, since: now }
    }

    /// Looks how far it is, with `sent` bytes in the kernel's hands or beyond.
    pub(super) fn look(&mut self, socket: &Socket, sent: u64) {
        let bytes = sent as i64 - listening::unacknowledged(socket).unwrap_or(0) as i64;
        if bytes != self.bytes {
            *self = Self { bytes, since: Instant::now() };
        }
    }
}

impl Connection {
    /// What it has to say for its place; none where it keeps that in any case.
    pub fn standing(&self, now: Instant, config: &Config) -> Option<Standing> {
        let has_been = |since, grace| now.saturating_duration_since(since) >= grace;
        let begun = |wait| self.deadline.checked_sub(wait).unwrap_or(now);
        let (standing, since, grace) = match &self.phase {
            Phase::Idle => {
                let since = begun(config.idle_timeout);
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
            // It waits for what another does, and has brought all of its request.
            Phase::Whole(whole) if whole.waiting.is_some() => return None,
            // Parked until its client has read what came before it.
            Phase::Whole(_) => untaken(begun(config.write_timeout), config),
            Phase::Flushing(flushing) => untaken(flushing.taken().since, config),
        };
        // Where the kernel holds nothing for the client, it is not the client that is waited for.
        let is_ours = || {
            matches!(standing, Standing::Untaken(_))
                && listening::unacknowledged(&self.socket) == Some(0)
        };
        (has_been(since, grace) && !is_ours()).then_some(standing)
    }

    /// True where it holds more memory than each connection has.
    pub fn holds_memory(&self) -> bool {
        let of_response = matches!(&self.phase, Phase::Flushing(of) if of.holds_memory());
        of_response || self.input.holds_memory()
    }

    /// True where it has been idle, or has lingered behind its last response, for a while.
    pub fn is_idle_for_long(&self, now: Instant, config: &Config) -> bool {
        let is_idle = || matches!(self.standing(now, config), Some(Standing::Idle(_)));
        self.is_dispensable() && is_idle()
    }

    /// Ends it for a new client's sake, without a wait for its own: one that has sent part of a
    /// request is told so, if there is room for the words.
    pub fn give_up_place(&mut self, context: &mut Context) -> Next {
        let reason = match self.phase {
            Phase::Idle => CloseReason::Evicted,
            Phase::Lingering { reason, .. } => reason,
            _ => CloseReason::Displaced,
        };
        if self.is_partial() {
            match self.refuse_partial(context) {
                Next::Park(_) => {}
                next => return next,
            }
        }
        if let Phase::Flushing(flushing) = &self.phase {
            flushing.account(self.peer, "not taken in time", context);
        }
        Next::Close(reason)
    }

    /// Answers part of a request: the rest of it did not come in time.
    pub fn refuse_partial(&mut self, context: &mut Context) -> Next {
        let fault = match self.phase {
            Phase::Body(_) => Fault::BodyTimeout,
            _ => Fault::HeadTimeout,
        };
        self.refuse(fault, context)
    }
}

/// The claim of a response of which nothing was taken since then, and how long it holds.
fn untaken(since: Instant, config: &Config) -> (Standing, Instant, Duration) {
    (Standing::Untaken(since), since, config.write_timeout / config::UNTAKEN_SHARE)
}
