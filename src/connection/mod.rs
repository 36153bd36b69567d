//! A connection's life: its phases, and one step for each that runs until it would block.
//!
//! A connection is one value that owns its socket. It is on one thread's stack, in the parking
//! table or in a channel; it moves, and nobody shares it. The acceptor calls
//! [`Connection::advance`] when the peer is ready and [`Connection::expire`] when it was not for
//! too long; a worker calls [`Connection::serve`], and a fetcher [`Connection::fetch`]. Each gives
//! a [`Step`]: where the connection goes next.

mod context;
mod input;
mod eviction;
mod incoming;
mod outgoing;
mod flushing;
mod deadlines;
mod deferral;
mod vetting;
mod exchange;

use crate::access_log::Record;
use crate::admission::{Place, Share};
use crate::config::{self, Config};
use crate::http::Version;
use crate::http::body::BodySkipper;
use crate::http::fault::Fault;
use crate::http::head::HeadScanner;
use crate::memory::Claim;
use crate::metrics::{Activity, CloseReason, ConnectionPhase};
use crate::parking::{Interest, Parked, Socket};
use deferral::Deferral;
use eviction::Taken;
use exchange::Answer;
use input::Input;
use outgoing::Outgoing;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

pub use context::{Context, Role, Shared};
pub use eviction::Standing;

/// What waits in the queue: a connection with a whole request head.
#[derive(Debug)]
pub struct Job {
    /// The connection.
    pub connection: Box<Connection>,
    /// When it was queued.
    pub since: Instant,
}

/// What is done by those who may wait for it.
#[derive(Debug)]
pub enum Errand {
    /// A response goes on with what takes time to be had.
    Fetch {
        /// The connection.
        connection: Box<Connection>,
        /// When it was handed over.
        since: Instant,
    },
    /// Descriptors are needed: the handler lets go of those that it holds for speed alone.
    GiveWay,
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
    /// Some of a request has come on it.
    has_asked: bool,
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

#[derive(Debug)]
enum Phase {
    /// Between requests.
    Idle,
    /// Some bytes of a head have come.
    Head(HeadScanner),
    /// The input starts with a whole head of this length, and its body, if any, was dropped or
    /// not looked at yet: queued or in service.
    Ready { head: usize, version: Version, dropped: Dropped },
    /// Behind the head comes a body to drop, of which so many bytes came in the current window.
    Body { head: usize, version: Version, skipper: BodySkipper, then: Dropped, came: u64 },
    /// A response is on its way.
    Flushing {
        outgoing: Outgoing,
        after: After,
        record: Option<Box<Record>>,
        begun: Instant,
        /// Bytes that were sent when the current window began.
        sent_before: u64,
        /// For what it holds while it waits for its reader.
        claim: Option<Claim>,
        taken: Taken,
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
            has_asked: false,
            is_known: false,
            is_drained: false,
            is_unseen: false,
            deferral: None,
            _place: place,
        })
    }

    /// Where it is parked when it is.
    pub fn key(&self) -> usize {
        self.socket.key()
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
                Flow::Wait(_) | Flow::Fetch if !self.claim_response(context) => {
                    Flow::Close(CloseReason::NoMemory)
                }
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
}
