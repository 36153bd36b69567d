//! Shutdown of the acceptor: it serves through the drain delay, stops listening, and closes idle
//! connections.

use super::Acceptor;
use crate::admission::Stage;
use crate::config;
use crate::connection::{Connection, Next};
use crate::metrics::CloseReason;
use crate::parking::Interest;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Acceptor {
    /// Proceeds with the shutdown, once it has begun: serves through the drain delay, accepts what
    /// the kernel has already completed, stops listening, and closes idle connections.
    pub(super) fn drain(&mut self) {
        if self.admission.stage() == Stage::Serving {
            return;
        }
        let now = Instant::now();
        let leaving_since = *self.leaving_since.get_or_insert(now);
        // Another process serves the new clients already.
        let is_handed_over = self.admission.is_handed_over();
        let delay_end = leaving_since + self.context.config.drain_delay;
        if now < delay_end && !is_handed_over {
            self.next_sweep = self.next_sweep.min(delay_end);
            return;
        }
        if self.drain_deadline.is_none() {
            self.drain_deadline = Some(now + self.context.config.drain_timeout);
            self.admission.enter_stage(Stage::Draining);
            self.leave_to_others(is_handed_over);
            self.last_connections = now + self.begin_no_more();
        }
        // Connections in the kernel's queue arrived in time, and handshakes that have begun get a
        // little time to finish. While there is no place for one, its listener stays. The bound on
        // accepts keeps clients from filling the queue again and again.
        let more_may_come = now < self.last_connections;
        for at in (0..self.listeners.len()).rev() {
            let mut left = self.drain_accepts;
            let is_empty = self.accept(at, &mut left);
            self.drain_accepts = left;
            if is_empty && !more_may_come || left == 0 {
                self.listeners.remove(at);
            }
        }
        // A partial request gets a little time to become whole.
        let since = if is_handed_over { leaving_since } else { delay_end };
        if now >= self.next_drain_look {
            self.look_at_what_is_left(now, now > since + config::DRAIN_HEAD_TIMEOUT);
        }
        self.next_sweep = self.next_sweep.min(now + config::DRAIN_INTERVAL);
    }

    /// Closes idle connections when nobody can come any more, and partial requests that had their
    /// time. It visits the whole table, so it does not do that in each round.
    fn look_at_what_is_left(&mut self, now: Instant, is_late: bool) {
        if self.listeners.is_empty() {
            self.next_drain_look = now + config::DRAIN_INTERVAL;
            self.dismiss_idle(now);
        }
        if is_late {
            for connection in self.take_all(Connection::is_partial) {
                self.guarded(|acceptor| acceptor.refuse_partial(connection));
            }
        }
    }

    /// Closes the listeners that other processes keep, or all of them if they were handed over.
    /// What waits to be accepted there waits for another process.
    fn leave_to_others(&mut self, is_handed_over: bool) {
        self.listeners.retain_mut(|listener| {
            let stays = !is_handed_over && !listener.source().is_kept_elsewhere();
            if !stays {
                listener.source_mut().leave();
            }
            stays
        });
    }

    /// Keeps new handshakes from beginning. Returns the time within which those that have begun are
    /// complete.
    fn begin_no_more(&mut self) -> Duration {
        let is_deferred = self.context.config.defer_accept;
        let mut grace = Duration::ZERO;
        for listener in &mut self.listeners {
            let listener = listener.source_mut();
            if is_deferred && listener.address().is_some() {
                listener.defer(false);
                grace = config::DRAIN_DEFERRED;
            }
            if listener.end() {
                grace = grace.max(config::DRAIN_INTERVAL);
            }
        }
        grace
    }

    /// Closes connections that have been idle for a while. A client that was served just now may
    /// send another request; its response then closes the connection.
    fn dismiss_idle(&mut self, now: Instant) {
        let config = Arc::clone(&self.context.config);
        for connection in self.take_all(|connection| connection.is_idle_for_long(now, &config)) {
            self.guarded(|acceptor| acceptor.dismiss(connection));
        }
    }

    /// Closes an idle connection, unless one last read finds a request.
    fn dismiss(&mut self, mut idle: Box<Connection>) {
        let was_idle = idle.is_idle();
        let next = match idle.advance(&mut self.context) {
            // If that read led to an error response, its client must still be able to read it.
            Next::Park(Interest::Readable) if idle.is_idle() == was_idle => {
                Next::Close(idle.close_reason().unwrap_or(CloseReason::Drained))
            }
            next => next,
        };
        self.carry_out(idle, next);
    }

    /// Refuses part of a request, unless one last read makes it whole.
    fn refuse_partial(&mut self, mut connection: Box<Connection>) {
        let mut next = connection.advance(&mut self.context);
        if matches!(next, Next::Park(_)) && connection.is_partial() {
            next = connection.refuse_partial(&mut self.context);
        }
        self.carry_out(connection, next);
    }

    pub(super) fn is_over(&self) -> bool {
        let is_done = self.listeners.is_empty() && self.admission.open() == 0;
        self.drain_deadline.is_some_and(|deadline| is_done || Instant::now() >= deadline)
    }

    /// Closes all connections: the drain deadline has passed, or none is left.
    pub(super) fn cut_what_is_left(mut self) {
        self.admission.enter_stage(Stage::Cut);
        for connection in self.take_all(Connection::is_dispensable) {
            self.dismiss(connection);
        }
        for connection in self.take_all(|_| true) {
            let reason = connection.close_reason().unwrap_or(CloseReason::Cut);
            self.settle(connection, Next::Close(reason));
        }
    }
}
