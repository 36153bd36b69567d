//! Responses of the server itself to whole messages, on any thread.

use super::answer::{Answer, refusal};
use super::exchange::{after, parse, record_of};
use super::flushing::After;
use super::{Connection, Context, Message};
use crate::handler::Response;
use crate::http::fault::Fault;
use crate::http::request::{FieldSlots, Method, RequestLine, split_request_line};
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
        // Others use a proxy's connection as well.
        let keeps_proxy = fault == Fault::TooManyConnections && self.origin.is_trusted();
        let (fault, keeps) = match fault.is_of_queue() || keeps_proxy {
            false => (fault, false),
            true => match parse(&input[..message.head], &mut slots, context) {
                Ok(request) => (fault, after(&request, &message, context) == After::Keep),
                Err(malformed) => (malformed, false),
            },
        };
        let is_unhandled = !fault.is_passing() || fault == Fault::TooManyConnections;
        if is_unhandled && context.worker().is_some() {
            context.recorder.count(Counter::Unhandled);
        }
        let mut answer = refusal(self.client(), fault, message.version, input, since, context);
        if keeps {
            answer.after = After::Keep;
            self.input.consume(message.head + message.body);
        }
        self.start_own(answer, context);
    }

    /// Starts the response to a message for the health path, and returns true. Any other message is
    /// left as it is; so is a malformed one, which is refused in its turn.
    pub(super) fn answer_health(
        &mut self,
        message: &Message,
        since: Instant,
        context: &mut Context,
    ) -> bool {
        let Some(path) = &context.config.health else { return false };
        let head = &self.input.as_slice()[..message.head];
        if !asks_for(head, path) {
            return false;
        }
        let mut slots = FieldSlots::default();
        let Ok(request) = parse(head, &mut slots, context) else { return false };
        let response = Response::ok("text/plain", "ok\n")
            .with_known_field("Cache-Control", "no-store")
            .with_prepared(&context.common_fields);
        let answer = Answer {
            response,
            version: request.version,
            head_only: request.method == Method::Head,
            after: after(&request, message, context),
            made: Instant::now(),
            timing: None,
            record: record_of(&request, head, since, false, context),
        };
        context.recorder.count(Counter::Health);
        if context.worker().is_some() {
            context.recorder.count(Counter::Unhandled);
        }
        self.input.consume(message.head + message.body);
        self.start_own(answer, context);
        true
    }
}

/// True for the head of a GET or HEAD request for this path.
fn asks_for(head: &[u8], path: &str) -> bool {
    let (line, _) = split_request_line(head);
    (line.starts_with(b"GET ") || line.starts_with(b"HEAD "))
        && RequestLine::parse(line).is_ok_and(|line| line.target.path.is(path))
}
