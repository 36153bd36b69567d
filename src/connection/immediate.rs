//! A whole message that the handler answers without a worker.

use super::exchange::{Service, answer, parse};
use super::{Connection, Context, Exchange, Message, Next};
use crate::handler::{ImmediateHandler, Response};
use crate::http::request::{Arrival, FieldSlots};
use crate::metrics::Counter;
use std::time::Instant;

impl Exchange {
    /// Answers a message for which the handler needs no time. The error returns any other, and a
    /// malformed one, which a worker refuses.
    pub fn answer_immediately(
        mut self,
        handler: &ImmediateHandler,
        context: &mut Context,
    ) -> Result<(Box<Connection>, Next), Self> {
        if !self.connection.answer_immediately(&self.message, handler, context) {
            return Err(self);
        }
        let next = self.connection.advance(context);
        Ok((self.connection, next))
    }
}

impl Connection {
    fn answer_immediately(
        &mut self,
        message: &Message,
        handler: &ImmediateHandler,
        context: &mut Context,
    ) -> bool {
        let (head, behind) = self.input.as_slice().split_at(message.head);
        let mut slots = FieldSlots::default();
        let Ok(request) = parse(head, &mut slots, context) else { return false };
        let start = if context.tells_times() { Instant::now() } else { context.round };
        // Only one that a worker deferred, or that was blocked, has waited.
        let queued = message.queued.or(message.blocked).unwrap_or(start);
        let waited = start.saturating_duration_since(queued);
        let patience = message.patience.or(context.config.patience);
        let time_left = patience.map(|most| most.saturating_sub(waited));
        let (peer, client, id) =
            (self.origin.peer(), self.origin.client(), self.origin.request_id());
        let arrival = Arrival { peer, client, id, worker: 0, waited, time_left };
        let request = request.with_body(&behind[..message.body], arrival);
        let Some(mut handled) = handler.answer(&request) else { return false };
        // A response that waits for other work takes time.
        if handled.as_mut().ok().and_then(Response::take_wait).is_some() {
            return false;
        }
        context.recorder.count(Counter::Immediate);
        let service = Service { queued, start, made: Instant::now() };
        let answer = answer(handled, &request, head, message, service, context);
        self.input.consume(message.head + message.body);
        self.start_response(answer, context);
        true
    }
}
