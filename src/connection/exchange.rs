//! A worker's part of a connection: parse, delay, respond.

use super::eviction::Taken;
use super::outgoing::Outgoing;
use super::vetting::Behind;
use super::{After, Connection, Context, Dropped, Phase, Step};
use crate::access_log::{self, Record};
use crate::auth::user_name;
use crate::config::{self, AccessLog};
use crate::handler::{Body, Handler, Response};
use crate::http::Version;
use crate::http::body::BodySkipper;
use crate::http::fault::Fault;
use crate::http::request::{Method, NO_FIELDS, Request, split_request_line};
use crate::http::response::ResponseHead;
use crate::lane::Wait;
use crate::memory::MemoryUse;
use crate::metrics::{Activity, CloseReason, Counter, Turn};
use crate::parking::Interest;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

/// A response and what the connection needs to know of the request that it answers.
pub(super) struct Answer {
    response: Response,
    version: Version,
    /// The request was HEAD: the content is announced and not sent.
    head_only: bool,
    after: After,
    /// When it was made.
    made: Instant,
    timing: Option<Timing>,
    record: Option<Box<Record>>,
}

/// Where a request's time went until its handler had answered.
#[derive(Debug, Clone, Copy)]
struct Timing {
    queue: Duration,
    delay: Duration,
}

impl Timing {
    /// A `Server-Timing` field, in milliseconds. Of the sending it can tell what comes before the
    /// head is on its way: the making of the head.
    fn write_field(self, made: Instant, fields: &mut Vec<u8>) {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        let (queue, delay) = (millis(self.queue), millis(self.delay));
        let send = millis(made.elapsed());
        let field = format!(
            "Server-Timing: queue;dur={queue:.3}, delay;dur={delay:.3}, send;dur={send:.3}\r\n"
        );
        fields.extend_from_slice(field.as_bytes());
    }
}

impl Answer {
    /// The answer to bytes that need not be a request, of which `input` is the start, and which
    /// have waited for it since then.
    pub(super) fn refusal(
        fault: Fault,
        version: Version,
        input: &[u8],
        since: Instant,
        context: &Context,
    ) -> Self {
        let mut response = Response::fault(fault).with_prepared(&context.common_fields);
        if fault.is_passing() {
            response = response.with_field("Retry-After", &context.retry_after().to_string());
        }
        let now = Instant::now();
        context.recorder.count(Counter::Refused);
        context.recorder.count(match fault {
            Fault::QueueFull => Counter::QueueFull,
            Fault::Expired => Counter::Expired,
            Fault::TooManyConnections => Counter::TooManyConnections,
            Fault::NoMemory => Counter::NoMemory,
            Fault::HeadTimeout | Fault::BodyTimeout => Counter::TooSlow,
            _ => Counter::Malformed,
        });
        Self {
            response,
            version,
            head_only: input.starts_with(b"HEAD "),
            after: After::Linger(CloseReason::Refused),
            made: now,
            timing: None,
            record: record(input, since, false, context),
        }
    }
}

/// The record of a request of which `head` is the start, if it will be logged, or if
/// `in_any_case` it may be needed for an error.
fn record(
    head: &[u8],
    since: Instant,
    in_any_case: bool,
    context: &Context,
) -> Option<Box<Record>> {
    let is_logged = context.config.access_log != AccessLog::Off
        && log::log_enabled!(target: access_log::TARGET, log::Level::Info);
    if !is_logged && !in_any_case {
        return None;
    }
    let (line, _) = split_request_line(head);
    let line = &line[..line.len().min(config::TARGET_BYTES)];
    let mut record = Box::new(Record::new(line, since));
    record.worker = context.worker();
    Some(record)
}

/// What a worker makes of a request head and the bytes behind it.
enum Verdict {
    /// Its answer, and the number of bytes that the request took.
    Answered(Answer, usize),
    /// A body comes first, to be dropped; so many bytes of it were behind the head.
    NeedsBody(BodySkipper, usize),
    /// The handler waits for what another does.
    Deferred(Wait),
    Refused(Fault),
}

impl Connection {
    /// Serves the request whose head is buffered, and those pipelined behind it while nobody
    /// else waits. The turn, which is the last one's then, ends when the connection has gone where
    /// it goes.
    pub fn serve<H: Handler>(
        mut self: Box<Self>,
        turn: &mut Turn,
        handler: &H,
        context: &mut Context,
    ) -> Step {
        let waited = turn.taken.saturating_duration_since(self.asked_since(turn.since));
        if waited > context.config.queue_timeout {
            self.answer_fault(Fault::Expired, turn.since, context);
            return self.advance(context);
        }
        if waited > config::GONE_CHECK_AFTER && self.is_broken() {
            context.recorder.count(Counter::Gone);
            return Step::Close(self, CloseReason::PeerGone);
        }
        for in_a_row in 1.. {
            self.exchange(turn, handler, context);
            match self.advance(context) {
                Step::Dispatch(connection) => self = connection,
                step => return step,
            }
            if in_a_row == config::PIPELINE_TURN || !context.may_go_on() {
                break;
            }
            let now = Instant::now();
            context.recorder.let_go(*turn, now);
            context.recorder.went_on(now);
            context.recorder.enter(Activity::Parse, now);
            *turn = Turn { since: now, taken: now, handled: false };
        }
        // Another's turn. The socket has room, so the acceptor finds this one at once and puts it
        // behind the others.
        self.deadline = Instant::now() + context.config.write_timeout;
        Step::Park(self, Interest::Writable)
    }

    /// Takes the buffered request to its next phase.
    fn exchange<H: Handler>(&mut self, turn: &mut Turn, handler: &H, context: &mut Context) {
        let Phase::Ready { head, dropped, .. } = self.phase else {
            return;
        };
        let (bytes, behind) = self.input.as_slice().split_at(head);
        let behind = (dropped == Dropped::NotYet).then_some(behind);
        // What is told of its wait counts from when it was queued first.
        let told = Turn { since: self.asked_since(turn.since), ..*turn };
        match examine(bytes, behind, told, handler, context) {
            Verdict::Answered(answer, used) => {
                turn.handled = true;
                self.input.consume(used);
                self.start_response(answer, context);
            }
            Verdict::NeedsBody(skipper, used) => {
                context.recorder.count(Counter::Fruitless);
                self.drop_rest(skipper, used, Dropped::AfterQueue, context);
            }
            Verdict::Deferred(wait) => {
                context.recorder.count(Counter::Fruitless);
                self.defer(wait, turn.since, context);
            }
            Verdict::Refused(fault) => {
                context.recorder.count(Counter::Fruitless);
                self.answer_fault(fault, turn.since, context);
            }
        }
    }

    /// From here on the response is on its way; the input has nothing of its request any more.
    pub(super) fn start_response(&mut self, answer: Answer, context: &mut Context) {
        let Answer { response, version, head_only, after, made, timing, mut record } = answer;
        let status = response.status();
        let tells_length = !(head_only && response.is_of_unknown_length());
        let (mut fields, prepared, body) = response.into_parts();
        if let Some(timing) = timing {
            timing.write_field(made, &mut fields);
        }
        let mut head = std::mem::take(&mut context.head);
        head.clear();
        let content_length = tells_length.then(|| body.length());
        let (close, server_field) = (after != After::Keep, context.config.server_field);
        #[allow(clippy::disallowed_methods, reason = "the date of the response")]
        let now = SystemTime::now();
        ResponseHead {
            version,
            status,
            fields: [&fields, &prepared],
            content_length,
            close,
            server_field,
        }
        .write_to(context.date.text(now), &mut head);
        let body = if head_only || status.forbids_content() { Body::Empty } else { body };
        context.recorder.responded(status);
        if let Some(record) = &mut record {
            record.status = status;
            record.responded = made;
        }
        self.deferral = None;
        self.deadline = made + context.config.write_timeout;
        let outgoing = Outgoing::new(head, body, close);
        let (begun, taken, sent_before) = (made, Taken::nothing(made), 0);
        self.phase =
            Phase::Flushing { outgoing, after, record, begun, sent_before, taken, claim: None };
    }
}

/// Parses a head and answers it, unless its body has to be dropped first. `behind` is what was
/// buffered behind the head; none where the body was dropped already.
fn examine<H: Handler>(
    head: &[u8],
    behind: Option<&[u8]>,
    turn: Turn,
    handler: &H,
    context: &Context,
) -> Verdict {
    let mut slots = NO_FIELDS;
    let request = match Request::parse(head, &mut slots) {
        Ok(request) => request,
        Err(fault) => return Verdict::Refused(fault),
    };
    let mut used = head.len();
    let mut after = After::Keep;
    if let Some(behind) = behind {
        match Behind::find(&request, behind, context) {
            Err(fault) => return Verdict::Refused(fault),
            Ok(Behind::Whole(skipped)) => used += skipped,
            // The final status comes instead of 100. Whether the body follows is not known, so
            // the connection cannot go on (RFC 9110, section 10.1.1).
            Ok(Behind::OnDemand) => after = After::Linger(CloseReason::Completed),
            Ok(Behind::Part(skipper, skipped)) => return Verdict::NeedsBody(skipper, skipped),
        }
    }
    if after == After::Keep && !request.framing.persistent {
        after = After::Close(CloseReason::Completed);
    }
    let mut answer = match answer(&request, after, turn, handler, context) {
        Ok(answer) => answer,
        Err(wait) => return Verdict::Deferred(wait),
    };
    let may_fail = answer.response.body().may_fail();
    answer.record = record(head, turn.since, may_fail, context);
    if let Some(record) = &mut answer.record {
        let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
        record.user = request.field("Authorization").and_then(user_name);
        record.referer = owned(request.field("Referer"));
        record.user_agent = owned(request.field("User-Agent"));
        record.queue_wait = turn.taken.saturating_duration_since(turn.since);
        record.handle = turn.taken.elapsed();
    }
    Verdict::Answered(answer, used)
}

/// Lets the handler answer, and keeps its panics from the worker; or gives what it waits for.
fn answer<H: Handler>(
    request: &Request<'_>,
    after: After,
    turn: Turn,
    handler: &H,
    context: &Context,
) -> Result<Answer, Wait> {
    let start = Instant::now();
    context.recorder.enter(Activity::Handle, start);
    let mut handled = catch_unwind(AssertUnwindSafe(|| handler.handle(request)));
    let end = Instant::now();
    context.recorder.enter(Activity::Respond, end);
    if let Some(wait) = handled.as_mut().ok().and_then(Response::take_wait) {
        return Err(wait);
    }
    context.recorder.handled_in(end.saturating_duration_since(start));
    context.recorder.count(Counter::Handled);
    let (response, after) = match handled {
        // Many small ones do no harm before they are claimed; a large one must fit beforehand.
        Ok(response) if !fits(&response, context) => {
            let response = Response::busy(Fault::NoMemory.explain());
            (response.with_prepared(&context.common_fields), After::Linger(CloseReason::NoMemory))
        }
        Ok(response) if after == After::Keep && context.is_draining() => {
            (response, After::Close(CloseReason::Completed))
        }
        Ok(response) => (response, after),
        Err(panic) => {
            context.recorder.count(Counter::Panics);
            let shown = request.target.raw.escape_ascii();
            log::error!("a handler panicked on {shown}: {}", panic_message(&*panic));
            let response = Response::fault(Fault::Panic).with_prepared(&context.common_fields);
            (response, After::Linger(CloseReason::Refused))
        }
    };
    let head_only = request.method == Method::Head;
    let timing = context.config.server_timing.then(|| Timing {
        queue: turn.taken.saturating_duration_since(turn.since),
        delay: end.saturating_duration_since(start),
    });
    let version = request.version;
    Ok(Answer { response, version, head_only, after, made: end, timing, record: None })
}

/// True where there is memory to hold a response for as long as its reader takes. It is claimed in
/// earnest when the reader turns out to take long.
fn fits(response: &Response, context: &Context) -> bool {
    let held = response.body().held();
    let memory = &context.config.memory;
    held <= config::SMALL_FILE || memory.claim(MemoryUse::Responses, held).is_some()
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
