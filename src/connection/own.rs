//! Responses of the server itself to whole messages, on any thread.

use super::answer::refusal;
use super::exchange::{after, parse};
use super::flushing::After;
use super::{Connection, Context, Message};
use crate::http::fault::Fault;
use crate::http::request::FieldSlots;
use crate::metrics::Counter;
use std::time::Instant;

impl Connection {
    /// Starts the error response for `fault` to a message that has waited since `since`. If the
    /// queue is the cause, the connection stays open, as after any other response: a client that
    /// tries again needs no new connection. A malformed message gets its own error response.
    pub(super) fn refuse_whole(
        &mut self,
        message: Message,
        fault: Fault,
        since: Instant,
        context: &mut Context,
    ) {
        let input = self.input.as_slice();
        let mut slots = FieldSlots::default();
        let (fault, keeps) = match fault.is_of_queue() {
            false => (fault, false),
            true => match parse(&input[..message.head], &mut slots, context) {
                Ok(request) => (fault, after(&request, &message, context) == After::Keep),
                Err(malformed) => (malformed, false),
            },
        };
        if !fault.is_passing() && context.worker().is_some() {
            context.recorder.count(Counter::Unhandled);
        }
        let mut answer = refusal(fault, message.version, input, since, context);
        if keeps {
            answer.after = After::Keep;
            self.input.consume(message.head + message.body);
        }
        self.start_own(answer, context);
    }
}
