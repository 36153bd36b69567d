//! What happens to a connection whose deadline has passed.

use super::{Connection, Context, Next, Phase};
use crate::http::fault::Fault;
use crate::metrics::CloseReason;
use crate::parking::Interest;
use std::time::Instant;

impl Connection {
    /// Handles a passed deadline. It first reads what has arrived and sends what fits, because this
    /// process may be the one that is late. Only a connection that makes no progress then is
    /// closed, with a response if one makes sense.
    pub fn expire(&mut self, context: &mut Context) -> Next {
        let deadline = self.deadline;
        match self.advance(context) {
            Next::Park(interest) if self.deadline <= deadline && deadline <= Instant::now() => {
                self.judge(interest, context)
            }
            next => next,
        }
    }

    /// Ends a connection that has made no progress by its deadline.
    fn judge(&mut self, interest: Interest, context: &mut Context) -> Next {
        match &self.phase {
            #[cfg(feature = "proxy")]
            Phase::Announced => self.refuse_announcement("its PROXY header is late", context),
            #[cfg(not(feature = "proxy"))]
            Phase::Announced => Next::Close(CloseReason::ProxyHeader),
            Phase::Idle => Next::Close(CloseReason::IdleTimeout),
            Phase::Head(_) => self.refuse(Fault::HeadTimeout, context),
            Phase::Body(_) => self.end_body_window(context),
            Phase::Flushing(_) => self.end_write_window(interest, context),
            Phase::Whole(_) => self.refuse_deferred(context),
            Phase::Lingering { reason, .. } => Next::Close(*reason),
        }
    }

    /// Refuses a message that has waited for other work for too long.
    fn refuse_deferred(&mut self, context: &mut Context) -> Next {
        if let Phase::Whole(message) = std::mem::replace(&mut self.phase, Phase::Idle) {
            let queued = message.queued.unwrap_or_else(Instant::now);
            self.refuse_whole(message, Fault::Expired, queued, context);
        }
        self.advance(context)
    }
}
