//! What becomes of a connection whose deadline has passed.

use super::{Connection, Context, Next, Phase};
use crate::http::fault::Fault;
use crate::metrics::CloseReason;
use crate::parking::Interest;

impl Connection {
    /// Its deadline has passed. What has come is read and what can be sent is sent before anybody
    /// is judged: it may be this process that was late. Then says so where a response makes sense,
    /// and ends.
    pub fn expire(&mut self, context: &mut Context) -> Next {
        let deadline = self.deadline;
        match self.advance(context) {
            Next::Park(interest) if self.deadline <= deadline => self.judge(interest, context),
            next => next,
        }
    }

    /// What has not moved on by its deadline ends.
    fn judge(&mut self, interest: Interest, context: &mut Context) -> Next {
        match &self.phase {
            Phase::Idle => Next::Close(CloseReason::IdleTimeout),
            Phase::Head(_) => self.refuse(Fault::HeadTimeout, context),
            Phase::Body(_) => self.end_body_window(context),
            Phase::Flushing(_) => self.end_write_window(interest, context),
            Phase::Whole(_) => self.refuse(Fault::Expired, context),
            Phase::Lingering { reason, .. } => Next::Close(*reason),
        }
    }
}
