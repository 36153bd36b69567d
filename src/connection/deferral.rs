//! A request whose handler waits for what another does: its connection is parked until then.

use super::{Connection, Context, Flow};
use crate::lane::{Wait, Waiting};
use crate::metrics::CloseReason;
use crate::parking::Interest;
use std::sync::Arc;
use std::time::Instant;

/// A request whose handler waits for what another does.
#[derive(Debug)]
pub(super) struct Deferral {
    waiting: Waiting,
    /// When the request was queued first.
    since: Instant,
}

impl Connection {
    /// When the request that is buffered was queued first; `since` is when it was queued last.
    pub(super) fn asked_since(&self, since: Instant) -> Instant {
        self.deferral.as_ref().map_or(since, |deferral| deferral.since)
    }

    /// Parks it from here on until `wait` is over, for as long as a request may wait in all.
    pub(super) fn defer(&mut self, wait: Wait, since: Instant, context: &Context) {
        let since = self.asked_since(since);
        let (key, parking) = (self.socket.key(), Arc::downgrade(&context.parking));
        // Weak: a connection that is parked for ever must not keep its own table.
        let waiting = wait.join(move || {
            if let Some(parking) = parking.upgrade() {
                parking.nudge(key);
            }
        });
        self.deferral = Some(Deferral { waiting, since });
        self.deadline = since + context.config.queue_timeout;
    }

    /// A request whose head is whole goes to a worker, unless it waits for what another does.
    pub(super) fn dispatch(&self) -> Flow {
        match &self.deferral {
            Some(deferral) if !deferral.waiting.is_over() => {
                // A client that has gone is reported again and again.
                if self.is_broken() {
                    return Flow::Close(CloseReason::PeerGone);
                }
                Flow::Wait(Interest::Nudge)
            }
            _ => Flow::Dispatch,
        }
    }
}
