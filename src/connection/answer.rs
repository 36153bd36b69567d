//! The start of a response: its head, its record for the log, its error page.

use super::flushing::{After, Flushing};
use super::outgoing::Outgoing;
use super::{Connection, Context, Phase};
use crate::access_log::Record;
use crate::handler::{Body, Response};
use crate::http::Version;
use crate::http::fault::Fault;
use crate::http::request::split_request_line;
use crate::http::response::{Length, ResponseHead};
use crate::metrics::{Activity, CloseReason, Counter};
use crate::proxy::request_id::FIELD;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

/// A response, and what the connection has to know of its request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) version: Version,
    /// The request was HEAD: content is described and not sent.
    pub(super) head_only: bool,
    pub(super) after: After,
    /// When the handler returned.
    pub(super) made: Instant,
    pub(super) timing: Option<Timing>,
    pub(super) record: Option<Box<Record>>,
}

/// Where a request's time went until its handler had answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) queue_wait: Duration,
    pub(super) handle: Duration,
}

impl Timing {
    /// A `Server-Timing` field, in milliseconds. `response_head` is the time it takes to make the
    /// head: the field is part of the head, so it cannot include the time to send it.
    fn write_field(self, made: Instant, fields: &mut Vec<u8>) {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        let field = format!(
            "Server-Timing: queue_wait;dur={:.3}, handle;dur={:.3}, response_head;dur={:.3}\r\n",
            millis(self.queue_wait),
            millis(self.handle),
            millis(made.elapsed()),
        );
        fields.extend_from_slice(field.as_bytes());
    }
}

/// The log record of a request that starts with `head`; none if nothing is logged, unless
/// `in_any_case` an error may need it.
pub(super) fn record(
    head: &[u8],
    since: Instant,
    in_any_case: bool,
    context: &Context,
) -> Option<Box<Record>> {
    if !context.logs_access() && !in_any_case {
        return None;
    }
    let (line, _) = split_request_line(head);
    let line = &line[..line.len().min(context.config.target_bytes)];
    let mut record = Box::new(Record::new(line, since));
    record.worker = context.worker();
    Some(record)
}

impl Connection {
    /// Starts the error response for `fault` to a request that has waited since `since`. Then the
    /// connection closes.
    pub(super) fn answer_fault(&mut self, fault: Fault, since: Instant, context: &mut Context) {
        let (version, input) = (self.version(), self.input.as_slice());
        let answer = refusal(self.client(), fault, version, input, since, context);
        self.start_own(answer, context);
    }

    /// Starts a response of the server itself.
    pub(super) fn start_own(&mut self, answer: Answer, context: &mut Context) {
        if context.worker().is_some() {
            context.recorder.enter(Activity::Respond, Instant::now());
        }
        self.start_response(answer, context);
    }

    /// Starts sending a response. The input has no bytes of its request any more, unless the
    /// connection closes.
    pub(super) fn start_response(&mut self, answer: Answer, context: &mut Context) {
        let Answer { response, version, head_only, mut after, made, timing, mut record } = answer;
        let status = response.status();
        let tells_length = !(head_only && response.is_of_unknown_length());
        let (mut fields, prepared, body) = response.into_parts();
        if let Some(timing) = timing {
            timing.write_field(made, &mut fields);
        }
        if context.config.request_id {
            self.origin.identify(&mut context.identifiers);
            for part in [FIELD, ": ", self.origin.request_id(), "\r\n"] {
                fields.extend_from_slice(part.as_bytes());
            }
        }
        let body = if status.forbids_content() { Body::Empty } else { body };
        let length = match body.length() {
            Some(length) if tells_length => Length::Known(length),
            None if version == Version::Http11 => Length::Chunked,
            _ => Length::Untold,
        };
        let body = if head_only { Body::Empty } else { body };
        if body.length().is_none() && length == Length::Untold && after == After::Keep {
            // The end of the connection marks the end of the content (RFC 9112, section 6.3).
            after = After::Close(CloseReason::Completed);
        }
        let mut head = std::mem::take(&mut context.head);
        head.clear();
        let (close, server_field) = (after != After::Keep, context.config.server_field);
        #[allow(clippy::disallowed_methods, reason = "the date of the response")]
        let date = context.date.text(made, SystemTime::now);
        let fields = [&fields[..], &prepared];
        ResponseHead { version, status, fields, length, close, server_field }
            .write_to(date, &mut head);
        context.recorder.responded(status);
        if let Some(record) = &mut record {
            record.status = status;
            record.responded = made;
        }
        self.deadline = made + context.config.write_timeout;
        let is_chunked = length == Length::Chunked && !head_only;
        let outgoing = Outgoing::new(head, body, is_chunked, close);
        self.phase = Phase::Flushing(Flushing::new(outgoing, after, record, made));
    }
}

/// The error response to bytes that may not be a request; `input` is their start. After it the
/// connection closes.
pub(super) fn refusal(
    client: IpAddr,
    fault: Fault,
    version: Version,
    input: &[u8],
    since: Instant,
    context: &Context,
) -> Answer {
    let mut response = Response::fault(fault).with_prepared(&context.common_fields);
    let now = Instant::now();
    if fault.is_passing() {
        context.queue.refused(client, now);
        response = response.with_known_field("Retry-After", &context.retry_after().to_string());
    }
    context.recorder.count(Counter::Refused);
    context.recorder.count(match fault {
        Fault::QueueFull => Counter::QueueFull,
        Fault::Expired => Counter::Expired,
        Fault::TooManyConnections => Counter::TooManyConnections,
        Fault::NoMemory => Counter::NoMemory,
        Fault::HeadTimeout | Fault::BodyTimeout => Counter::TooSlow,
        _ => Counter::Malformed,
    });
    Answer {
        response,
        version,
        head_only: input.starts_with(b"HEAD "),
        after: After::Linger(CloseReason::Refused),
        made: now,
        timing: None,
        record: record(input, since, false, context),
    }
}
