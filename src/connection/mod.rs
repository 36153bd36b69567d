//! A connection's life: its phases, and one step for each that runs until it would block.
//!
//! A connection is one value that owns its socket. It is on the acceptor's stack, in the parking
//! table, in the channel or on one worker's stack; it moves, and nobody shares it. The acceptor
//! calls [`Connection::advance`] when the peer is ready and [`Connection::expire`] when it was
//! not for too long; a worker calls [`Connection::serve`]. Each gives a [`Step`]: where the
//! connection goes next.

mod context;
mod input;
mod incoming;
mod residency;
mod outgoing;
mod vetting;
mod exchange;

use crate::access_log::{self, Record};
use crate::admission::{Place, Share};
use crate::config::{self, AccessLog, Config};
use crate::http::Version;
use crate::http::body::BodySkipper;
use crate::http::fault::Fault;
use crate::http::head::HeadScanner;
use crate::lane::{Wait, Waiting};
use crate::metrics::{Activity, CloseReason, ConnectionPhase, Counter};
use crate::parking::{Interest, Parked, Socket};
use exchange::Answer;
use input::Input;
use outgoing::{Failure, Outgoing, Progress};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

pub use context::{Context, Role, Shared};

/// What waits in the queue: a connection with a whole request head.
#[derive(Debug)]
pub struct Job {
    /// The connection.
    pub connection: Box<Connection>,
    /// When it was queued.
    pub since: Instant,
}

/// A connection whose response goes on with what takes time to be had.
#[derive(Debug)]
pub struct Errand {
    /// The connection.
    pub connection: Box<Connection>,
    /// When it was handed over.
    pub since: Instant,
}

/// Where a connection goes next.
#[derive(Debug)]
pub enum Step {
    /// To the queue: a whole request head is there.
    Dispatch(Box<Connection>),
    /// To the table, until its peer is ready.
    Park(Box<Connection>, Interest),
    /// To a thread that may wait for what it needs next.
    Fetch(Box<Connection>),
    /// Away.
    Close(Box<Connection>, CloseReason),
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    peer: SocketAddr,
    share: Share,
    input: Input,
    phase: Phase,
    deadline: Instant,
    /// It has been served before.
    is_known: bool,
    /// The last read took all that was there.
    is_drained: bool,
    /// It was parked without a look at what is there: see [`Connection::wants_a_look`].
    is_unseen: bool,
    /// Its handler is to be asked again when this is over.
    deferral: Option<Deferral>,
    // Last, so that the socket is closed before its place is given away.
    _place: Place,
}

/// A request whose handler waits for what another does.
#[derive(Debug)]
struct Deferral {
    waiting: Waiting,
    /// When the request was queued first.
    since: Instant,
}

#[derive(Debug)]
enum Phase {
    /// Between requests.
    Idle,
    /// Some bytes of a head have come.
    Head(HeadScanner),
    /// The input starts with a whole head of this length, and its body, if any, was dropped or
    /// not looked at yet: queued or in service.
    Ready { head: usize, version: Version, dropped: Dropped },
    /// Behind the head comes a body to drop.
    Body { head: usize, version: Version, skipper: BodySkipper, then: Dropped },
    /// A response is on its way.
    Flushing {
        outgoing: Outgoing,
        after: After,
        record: Option<Box<Record>>,
        begun: Instant,
        /// Bytes that were sent when the current window began.
        sent_before: u64,
    },
    /// This side has ended; what the peer still sends is dropped, up to a bound.
    Lingering { left: usize, reason: CloseReason },
}

/// When a request's body was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    /// It was not looked at.
    NotYet,
    /// Before the request was queued at all.
    AheadOfQueue,
    /// After it had been queued and taken, so it has been admitted before.
    AfterQueue,
}

/// What follows a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// The next request.
    Keep,
    /// The end, for this reason.
    Close(CloseReason),
    /// The end, once the peer has ended its side too: it may have more under way.
    Linger(CloseReason),
}

/// What a phase's step came to.
enum Flow {
    /// The phase changed: take its step.
    Again,
    /// The peer must act.
    Wait(Interest),
    /// A worker must act.
    Dispatch,
    /// A thread that may wait must act.
    Fetch,
    /// It is over.
    Close(CloseReason),
}

impl Parked for Connection {
    fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Connection {
    /// A connection just accepted; `stream` does not block.
    pub fn new(
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        share: Share,
        config: &Config,
    ) -> Box<Self> {
        Box::new(Self {
            socket: Socket::new(stream),
            peer,
            share,
            input: Input::default(),
            phase: Phase::Idle,
            deadline: Instant::now() + config.idle_timeout,
            is_known: false,
            is_drained: false,
            is_unseen: false,
            deferral: None,
            _place: place,
        })
    }

    /// True between requests: closing it now loses nothing.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Where it is in its life, as others see it while it is parked.
    pub fn phase(&self) -> ConnectionPhase {
        match self.phase {
            Phase::Idle => ConnectionPhase::Idle,
            Phase::Head(_) => ConnectionPhase::ReadingHead,
            // It waits for another turn of its worker, or for its client to make room for that.
            Phase::Ready { .. } => ConnectionPhase::Queued,
            Phase::Body { .. } => ConnectionPhase::DiscardingBody,
            Phase::Flushing { .. } => ConnectionPhase::Flushing,
            Phase::Lingering { .. } => ConnectionPhase::Lingering,
        }
    }

    /// True where its client has more connections than it may.
    pub fn is_one_too_many(&self) -> bool {
        self.share != Share::Within
    }

    /// True where its request has been in the queue before, and came back without its body, or
    /// after a wait.
    pub fn was_admitted(&self) -> bool {
        let came_back = matches!(self.phase, Phase::Ready { dropped: Dropped::AfterQueue, .. });
        came_back || self.deferral.is_some()
    }

    /// When the request that is buffered was queued first; `since` is when it was queued last.
    fn asked_since(&self, since: Instant) -> Instant {
        self.deferral.as_ref().map_or(since, |deferral| deferral.since)
    }

    /// Parks it from here on until `wait` is over, for as long as a request may wait in all.
    fn defer(&mut self, wait: Wait, since: Instant, context: &Context) {
        let since = self.asked_since(since);
        let (key, parking) = (self.socket.key(), Arc::clone(&context.parking));
        let waiting = wait.join(move || parking.nudge(key));
        self.deferral = Some(Deferral { waiting, since });
        self.deadline = since + context.config.queue_timeout;
    }

    /// A request whose head is whole goes to a worker, unless it waits for what another does.
    fn dispatch(&self) -> Flow {
        match &self.deferral {
            Some(deferral) if !deferral.waiting.is_over() => {
                // A client that has gone is reported again and again.
                if self.is_broken() {
                    return Flow::Close(CloseReason::PeerGone);
                }
                Flow::Wait(Interest::Nudge)
            }
            _ => Flow::Dispatch,
        }
    }

    /// True where some of a request has come, and not all.
    pub fn is_partial(&self) -> bool {
        matches!(self.phase, Phase::Head(_) | Phase::Body { .. })
    }

    /// The reason for its end, where that is decided already.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.phase {
            Phase::Lingering { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// True where nothing is owed to the client any more: between requests, or behind the last.
    pub fn is_dispensable(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Lingering { .. })
    }

    /// True where it can be closed to make room: it has been idle, or has lingered behind its last
    /// response, for a while.
    pub fn is_evictable(&self, now: Instant, config: &Config) -> bool {
        let wait = match self.phase {
            Phase::Idle => config.idle_timeout,
            Phase::Lingering { .. } => config::LINGER_TIMEOUT,
            _ => return false,
        };
        self.deadline + config::EVICTABLE_AFTER <= now + wait
    }

    /// True where it has waited too long.
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    /// True where it has been idle for a while, and nobody knows whether its peer has ended without
    /// another word: the end may have come with the last request.
    pub fn wants_a_look(&self, now: Instant, config: &Config) -> bool {
        self.is_unseen
            && self.is_idle()
            && self.deadline + config::SWEEP_INTERVAL <= now + config.idle_timeout
    }

    /// What a worker has it watched for. Most peers say nothing until they have their answer, and
    /// are heard when they do. Some end their side with their only request, and are to be found at
    /// once; whoever does so with a later one is found when it is looked at.
    fn interest_in_more(&mut self) -> Interest {
        let was_known = std::mem::replace(&mut self.is_known, true);
        self.is_unseen = was_known && self.is_drained && self.is_idle();
        if self.is_unseen { Interest::News } else { Interest::Readable }
    }

    /// Goes on from where it is until it would block or needs a worker.
    pub fn advance(self: Box<Self>, context: &mut Context) -> Step {
        self.follow(Flow::Again, context)
    }

    fn follow(mut self: Box<Self>, mut flow: Flow, context: &mut Context) -> Step {
        loop {
            flow = match flow {
                Flow::Again => self.step(context),
                Flow::Wait(interest) => {
                    if self.is_partial() {
                        self.socket.acknowledge();
                    }
                    return Step::Park(self, interest);
                }
                Flow::Dispatch => return Step::Dispatch(self),
                Flow::Fetch => return Step::Fetch(self),
                Flow::Close(reason) => return Step::Close(self, reason),
            };
        }
    }

    fn step(&mut self, context: &mut Context) -> Flow {
        match self.phase {
            Phase::Idle | Phase::Head(_) => self.read_head(context),
            Phase::Ready { .. } => self.dispatch(),
            Phase::Body { .. } => self.drop_body(context),
            Phase::Flushing { .. } => self.flush(context),
            Phase::Lingering { .. } => self.linger(context),
        }
    }

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
            Phase::Body { .. } => return self.refuse(Fault::BodyTimeout, context),
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

    /// True where the peer has reset the connection. One that has ended its side in order may
    /// still read: nothing tells a peer that has gone from one that will say no more.
    pub fn is_broken(&self) -> bool {
        self.socket.take_error().is_err()
    }

    /// Answers by a fault's page and ends, without ever blocking.
    pub fn refuse(mut self: Box<Self>, fault: Fault, context: &mut Context) -> Step {
        self.answer_fault(fault, Instant::now(), context);
        self.advance(context)
    }

    /// The fault's page is on its way from here on; the request has waited for it since then.
    fn answer_fault(&mut self, fault: Fault, since: Instant, context: &mut Context) {
        let (version, input) = (self.version(), self.input.as_slice());
        let answer = Answer::refusal(fault, version, input, since, context);
        if context.worker().is_some() {
            context.recorder.enter(Activity::Respond, Instant::now());
        }
        self.start_response(answer, context);
    }

    fn version(&self) -> Version {
        match &self.phase {
            Phase::Head(scanner) => scanner.version().unwrap_or(Version::Http11),
            Phase::Ready { version, .. } | Phase::Body { version, .. } => *version,
            _ => Version::Http11,
        }
    }

    /// Goes on with what had to be waited for. The time that this takes is not the client's.
    pub fn fetch(mut self: Box<Self>, since: Instant, context: &mut Context) -> Step {
        let flow = self.flush(context);
        if let Phase::Flushing { .. } = self.phase {
            self.deadline += since.elapsed();
        }
        match self.follow(flow, context) {
            // The socket has room, so the acceptor finds it at once, and queues it.
            Step::Dispatch(mut connection) => {
                connection.deadline = Instant::now() + context.config.write_timeout;
                Step::Park(connection, Interest::Writable)
            }
            step => step,
        }
    }

    /// Sends what there is room for.
    fn flush(&mut self, context: &mut Context) -> Flow {
        let Phase::Flushing { outgoing, after, record, begun, .. } = &mut self.phase else {
            return Flow::Again;
        };
        let failure = match outgoing.write(&self.socket, context.means(), || context.may_go_on()) {
            Ok(Progress::Done) => {
                let (after, now) = (*after, Instant::now());
                context.recorder.written(now.saturating_duration_since(*begun));
                account(outgoing, record.as_deref(), self.peer, "", context);
                return self.end_response(after, now, context);
            }
            Ok(Progress::Yielded | Progress::Blocked) => return Flow::Wait(Interest::Writable),
            Ok(Progress::Elsewhere) => return Flow::Fetch,
            Err(failure) => failure,
        };
        let (reason, error) = match &failure {
            Failure::Peer(error) => (CloseReason::PeerGone, error),
            Failure::Content(error) => (CloseReason::BodyFailed, error),
        };
        if let (Some(record), CloseReason::BodyFailed) = (&record, reason) {
            log::error!("cannot read what \"{}\" asks for: {error}", record.shown());
        }
        account(outgoing, record.as_deref(), self.peer, &error.to_string(), context);
        Flow::Close(reason)
    }

    /// A response is written: the next request, or the end.
    fn end_response(&mut self, after: After, now: Instant, context: &mut Context) -> Flow {
        if let Phase::Flushing { outgoing, .. } = std::mem::replace(&mut self.phase, Phase::Idle) {
            context.head = outgoing.into_buffer();
        }
        let (reason, lingers) = match after {
            After::Keep => {
                self.deadline = now + context.config.idle_timeout;
                return Flow::Again;
            }
            After::Close(reason) => (reason, false),
            After::Linger(reason) => (reason, true),
        };
        // The response's last bytes go with it.
        if self.socket.shutdown_write().is_err() {
            return Flow::Close(reason);
        }
        // Closing with unread bytes resets the connection, and the reset may overtake the
        // response; so may one that answers bytes still under way (RFC 9112, section 9.6).
        if !lingers && self.input.is_empty() && !self.has_unread_bytes() {
            return Flow::Close(reason);
        }
        self.input.clear();
        self.deadline = now + config::LINGER_TIMEOUT;
        self.phase = Phase::Lingering { left: config::LINGER_BYTES, reason };
        Flow::Again
    }

    fn has_unread_bytes(&self) -> bool {
        matches!(self.socket.read(&mut [0; 64]), Ok(1..))
    }
}

/// Counts what was sent of a response that has ended, and writes its line in the form that is
/// wanted.
fn account(
    outgoing: &Outgoing,
    record: Option<&Record>,
    peer: SocketAddr,
    trouble: &str,
    context: &Context,
) {
    context.recorder.count_many(Counter::BytesSent, outgoing.sent());
    let sent = outgoing.content_sent();
    let form = context.config.access_log;
    if let (Some(record), true) = (record, form != AccessLog::Off) {
        log::info!(target: access_log::TARGET, "{}", record.line(form, peer, sent, trouble));
    }
}
