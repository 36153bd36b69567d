//! A whole message in service: a worker parses it, lets the handler answer, and responds.

use super::answer::{Answer, Timing, record};
use super::flushing::After;
use super::{Connection, Context, Message, Next, Phase};
use crate::access_log::Record;
#[cfg(feature = "auth")]
use crate::auth::user_name;
use crate::config;
use crate::handler::{Handler, Response, WorkerHandler};
use crate::http::fault::Fault;
use crate::http::request::{Arrival, FieldSlots, Method, Request, split_request_line};
use crate::lane::Wait;
use crate::memory::MemoryUse;
use crate::metrics::{Activity, CloseReason, Counter, Turn};
use crate::notes::note;
use crate::parking::Interest;
use crate::queue::Sizes;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A connection whose message is whole.
#[derive(Debug)]
pub struct Exchange {
    /// The connection. Its input starts with the message.
    pub connection: Box<Connection>,
    pub(super) message: Message,
    /// The bytes that its response is expected to have; 0 if that is not known.
    pub expected: u64,
}

impl Exchange {
    /// The exchange that [`Next::Serve`] asks for.
    pub fn new(connection: Box<Connection>, message: Message, sizes: Option<&Sizes>) -> Self {
        let head = &connection.input.as_slice()[..message.head];
        let expected = sizes.map_or(0, |sizes| sizes.expected(split_request_line(head).0));
        Self { connection, message, expected }
    }

    /// Its client.
    pub fn client(&self) -> IpAddr {
        self.connection.client()
    }

    /// Since when it has waited for room in the queue, if it has.
    pub fn blocked_since(&self) -> Option<Instant> {
        self.message.blocked
    }

    /// Keeps it until the queue has room.
    pub fn block(self, since: Instant, context: &Context) -> (Box<Connection>, Next) {
        let Self { mut connection, message, .. } = self;
        connection.deadline = since + context.age(message.patience);
        connection.phase = Phase::Whole(Message { blocked: Some(since), ..message });
        (connection, Next::Park(Interest::Nudge))
    }

    /// How long its client waits for the response, if the request says so and this is shorter than
    /// the configured patience.
    pub fn patience(&self) -> Option<Duration> {
        self.message.patience
    }

    /// True if a worker has taken it before and its handler deferred it.
    pub fn is_returning(&self) -> bool {
        self.message.queued.is_some()
    }

    /// Starts the error response for `fault`. If the queue is the cause, the connection can stay
    /// open. Never blocks.
    pub fn refuse(self, fault: Fault, context: &mut Context) -> (Box<Connection>, Next) {
        let Self { mut connection, message, .. } = self;
        connection.refuse_whole(message, fault, Instant::now(), context);
        let next = connection.advance(context);
        (connection, next)
    }

    /// Answers a message for the health path, however many requests wait. The error returns any
    /// other message.
    pub fn answer_health(mut self, context: &mut Context) -> Result<(Box<Connection>, Next), Self> {
        if !self.connection.answer_health(&self.message, context.round, context) {
            return Err(self);
        }
        let next = self.connection.advance(context);
        Ok((self.connection, next))
    }

    /// Serves the message, and the requests pipelined behind it while no other job waits. `turn`
    /// then describes the last of them; the caller ends it when the connection is settled.
    pub fn serve<H: Handler>(
        self,
        turn: &mut Turn,
        handler: &mut WorkerHandler<H>,
        context: &mut Context,
    ) -> (Box<Connection>, Next) {
        let Self { mut connection, message, .. } = self;
        let next = connection.serve(message, turn, handler, context);
        (connection, next)
    }
}

impl Connection {
    fn serve<H: Handler>(
        &mut self,
        mut message: Message,
        turn: &mut Turn,
        handler: &mut WorkerHandler<H>,
        context: &mut Context,
    ) -> Next {
        let queued = message.queued.unwrap_or(turn.since);
        let waited = turn.taken.saturating_duration_since(queued);
        if context.is_too_old(waited, message.patience) {
            self.refuse_whole(message, Fault::Expired, queued, context);
            // A request that follows is queued: it is one refusal a turn.
            return self.advance(context);
        }
        if waited > config::GONE_CHECK_AFTER && self.is_broken() {
            context.recorder.count(Counter::Gone);
            return Next::Close(CloseReason::PeerGone);
        }
        for in_a_row in 1.. {
            let is_answered = self.answer_health(&message, turn.since, context);
            if !is_answered && self.is_one_too_many() {
                // The acceptor has not seen one that was pipelined.
                self.refuse_whole(message, Fault::TooManyConnections, turn.since, context);
            } else if !is_answered {
                if in_a_row > 1 {
                    context.recorder.count(Counter::Offered);
                }
                self.answer(message, turn, handler, context);
            }
            message = match self.advance(context) {
                Next::Serve(message) => message,
                next => return next,
            };
            if in_a_row == config::PIPELINE_TURN || !context.may_continue() {
                break;
            }
            let now = Instant::now();
            context.recorder.let_go(*turn, now);
            context.recorder.went_on(now);
            context.recorder.enter(Activity::Parse, now);
            *turn = Turn { since: now, taken: now, handled: false };
        }
        // It is another connection's turn. The acceptor queues this one again.
        self.requeue(message, context)
    }

    /// Parses a message and starts its response, or defers it.
    fn answer<H: Handler>(
        &mut self,
        message: Message,
        turn: &mut Turn,
        handler: &mut WorkerHandler<H>,
        context: &mut Context,
    ) {
        let queued = message.queued.unwrap_or(turn.since);
        let (head, behind) = self.input.as_slice().split_at(message.head);
        let patience = message.patience.or(context.config.patience);
        let arrival = Arrival {
            peer: self.origin.peer(),
            client: self.origin.client(),
            id: self.origin.request_id(),
            worker: context.worker().unwrap_or_default(),
            waited: turn.taken.saturating_duration_since(queued),
            time_left: patience.map(|most| most.saturating_sub(queued.elapsed())),
        };
        let mut slots = FieldSlots::default();
        let request = match parse(head, &mut slots, context) {
            Ok(request) => request.with_body(&behind[..message.body], arrival),
            Err(fault) => {
                context.recorder.count(Counter::Unhandled);
                self.phase = Phase::Whole(message);
                return self.answer_fault(fault, queued, context);
            }
        };
        let start = Instant::now();
        context.recorder.enter(Activity::Handle, start);
        let mut handled = handler.answer(&request);
        let made = Instant::now();
        context.recorder.enter(Activity::Respond, made);
        if let Some(wait) = handled.as_mut().ok().and_then(Response::take_wait) {
            context.recorder.count(Counter::Unhandled);
            return self.defer(Message { queued: Some(queued), ..message }, wait, context);
        }
        context.recorder.count(Counter::Handled);
        turn.handled = true;
        let service = Service { queued, start, made };
        let answer = answer(handled, &request, head, &message, service, context);
        self.input.consume(message.head + message.body);
        self.start_response(answer, context);
    }

    /// Parks the connection until `wait` is over, or until the request has waited for too long in
    /// all.
    fn defer(&mut self, message: Message, wait: Wait, context: &Context) {
        let waiting = wait.join(context.waker_of(&self.socket));
        let queued = message.queued.unwrap_or_else(Instant::now);
        self.deadline = queued + context.age(message.patience);
        // Drops the reservation, if any, after the new wait has begun.
        self.phase = Phase::Whole(Message { waiting: Some(waiting), ..message });
    }
}

/// The request, if this server and its handler take it.
pub(super) fn parse<'b>(
    head: &'b [u8],
    slots: &'b mut FieldSlots<'b>,
    context: &Context,
) -> Result<Request<'b>, Fault> {
    let request = Request::parse(head, slots)?;
    if request.target.raw.len() > context.config.target_bytes {
        return Err(Fault::TargetTooLong);
    }
    if request.method == Method::Other && !context.accepts.takes_unknown_methods() {
        return Err(Fault::Method);
    }
    Ok(request)
}

/// When a request that a handler answered was queued, and when the handler began and ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    pub(super) queued: Instant,
    pub(super) start: Instant,
    pub(super) made: Instant,
}

/// The answer that the result of a handler leads to.
pub(super) fn answer(
    handled: Result<Response, String>,
    request: &Request<'_>,
    head: &[u8],
    message: &Message,
    service: Service,
    context: &Context,
) -> Answer {
    let Service { queued, start, made } = service;
    let (response, after) = match handled {
        // Small responses are claimed when they have to wait. A large one must fit now.
        Ok(response) if !fits(&response, context) => {
            let response = Response::busy(Fault::NoMemory.explain());
            (response.with_prepared(&context.common_fields), After::Linger(CloseReason::NoMemory))
        }
        Ok(response) => (response, after(request, message, context)),
        Err(panic) => {
            context.recorder.count(Counter::Panics);
            let shown = request.target.raw.escape_ascii();
            note!(Error, "a handler panicked on {shown}: {panic}");
            let response = Response::fault(Fault::Panic).with_prepared(&context.common_fields);
            (response, After::Linger(CloseReason::Refused))
        }
    };
    let handle = made.saturating_duration_since(start);
    let queue_wait = request.waited();
    let mut record = record_of(request, head, queued, response.body().may_last(), context);
    if let Some(record) = &mut record {
        (record.queue_wait, record.handle) = (queue_wait, handle);
    }
    if let Some(sizes) = &context.sizes
        && let Some(length) = response.body().length()
    {
        sizes.learn(split_request_line(head).0, length);
    }
    let (head_only, version) = (request.method == Method::Head, request.version);
    let timing = context.config.server_timing.then_some(Timing { queue_wait, handle });
    Answer { response, version, head_only, after, made, timing, record }
}

/// The log record of a request; none if nothing is logged, unless `in_any_case` an error may need
/// it.
pub(super) fn record_of(
    request: &Request<'_>,
    head: &[u8],
    since: Instant,
    in_any_case: bool,
    context: &Context,
) -> Option<Box<Record>> {
    let mut record = record(head, since, in_any_case, context)?;
    let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
    #[cfg(feature = "auth")]
    {
        record.user = request.field("Authorization").and_then(user_name);
    }
    record.referer = owned(request.field("Referer"));
    record.user_agent = owned(request.field("User-Agent"));
    Some(record)
}

/// What follows the response to a request.
pub(super) fn after(request: &Request<'_>, message: &Message, context: &Context) -> After {
    if message.holds_body_back || request.method == Method::Connect {
        // The end of this message is unknown: the client may or may not send the body now (RFC
        // 9110, section 10.1.1), or takes the connection for a tunnel (section 9.3.6).
        After::Linger(CloseReason::Completed)
    } else if !request.persistent || context.is_draining() {
        After::Close(CloseReason::Completed)
    } else {
        After::Keep
    }
}

/// True if there is memory for a response that its client reads slowly. The claim itself is made
/// when the response has to wait.
fn fits(response: &Response, context: &Context) -> bool {
    let held = response.body().held();
    let memory = &context.config.memory;
    held <= config::SMALL_FILE || memory.claim(MemoryUse::Responses, held).is_some()
}
