//! What becomes of a connection whose deadline has passed.

use super::flushing::account;
use super::{Connection, Context, Phase, Step};
use crate::config::Config;
use crate::http::fault::Fault;
use crate::metrics::CloseReason;
use crate::parking::Interest;
use std::time::Instant;

impl Connection {
    /// Its deadline has passed. What has come is read and what can be sent is sent before anybody
    /// is judged: it may be this process that was late. Then says so where a response makes sense,
    /// and ends.
    pub fn expire(self: Box<Self>, context: &mut Context) -> Step {
        let deadline = self.deadline;
        match self.advance(context) {
            Step::Park(connection, interest) if connection.deadline <= deadline => {
                connection.judge(interest, context)
            }
            step => step,
        }
    }

    /// What has not moved on by its deadline ends.
    fn judge(self: Box<Self>, interest: Interest, context: &mut Context) -> Step {
        let reason = match &self.phase {
            Phase::Idle => CloseReason::IdleTimeout,
            Phase::Head(_) => return self.refuse(Fault::HeadTimeout, context),
            Phase::Body { .. } => return self.end_body_window(context),
            Phase::Flushing { .. } => return self.end_window(interest, context),
            Phase::Ready { .. } => return self.refuse(Fault::Expired, context),
            Phase::Lingering { reason, .. } => *reason,
        };
        Step::Close(self, reason)
    }

    /// A window of the write timeout has ended: goes on if the client took enough in it. A full
    /// socket reports room again when a good part of it is free, which at a low rate can take
    /// longer than the window; so what had become free was filled before this counts.
    fn end_window(mut self: Box<Self>, interest: Interest, context: &mut Context) -> Step {
        let Phase::Flushing { outgoing, record, sent_before, .. } = &mut self.phase else {
            return Step::Park(self, interest);
        };
        let Config { min_rate, write_timeout, .. } = *context.config;
        let least = (min_rate as f64 * write_timeout.as_secs_f64()) as u64;
        if outgoing.sent() - *sent_before < least.max(1) {
            let record = record.as_deref();
            account(outgoing, record, self.peer, "not taken in time", context);
            return Step::Close(self, CloseReason::WriteTimeout);
        }
        *sent_before = outgoing.sent();
        self.deadline = Instant::now() + write_timeout;
        Step::Park(self, interest)
    }
}
