//! A connection while it waits for its peer: its phases, and a step for each.
//!
//! A connection is one value that owns its socket. It is on one thread's stack, in the parking
//! table or in a channel; it moves, and nobody shares it. [`Connection::advance`] takes it from
//! phase to phase until it would block; the [`Next`] that it gives says who goes on with it. A
//! whole message makes an [`Exchange`] of it, which is a worker's to serve.

mod input;
mod outgoing;
mod context;
mod eviction;
mod flushing;
mod answer;
mod reading;
mod deadlines;
mod exchange;

use crate::admission::{Place, Share};
use crate::config::{self, Config};
use crate::http::Version;
use crate::http::fault::Fault;
use crate::http::head::HeadScanner;
use crate::lane::Waiting;
use crate::metrics::{CloseReason, ConnectionPhase};
use crate::parking::{Interest, Parked, Socket};
use flushing::Flushing;
use input::Input;
use reading::Body;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

pub use context::{Context, Errand, Job, Shared, Work};
pub use eviction::Standing;
pub use exchange::Exchange;

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
    /// The last read took all that had come.
    has_read_all: bool,
    /// It was parked without a look at what has come: see [`Connection::wants_a_look`].
    is_unseen: bool,
    // Last, so that the socket is closed before its place is given away.
    _place: Place,
}

/// What a connection waits for, with what that needs.
#[derive(Debug)]
enum Phase {
    /// A request. A connection that is served is in this phase too.
    Idle,
    /// The rest of a head.
    Head(HeadScanner),
    /// The rest of a body.
    Body(Body),
    /// Its turn: the message is whole.
    Whole(Whole),
    /// Room for the rest of a response.
    Flushing(Flushing),
    /// The peer's end. This side has ended; up to so many bytes that still come are dropped.
    Lingering { left: usize, reason: CloseReason },
}

/// A whole message, at the start of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The bytes of its head.
    head: usize,
    /// The bytes of its body behind the head, decoded; none where the body was dropped.
    body: usize,
    /// The version to answer in.
    version: Version,
    /// Its client has a body, and waits to be asked for it.
    holds_body_back: bool,
    /// When it was queued first, where it has been served before and came to no response.
    queued: Option<Instant>,
}

/// A whole message that waits for its turn, or for what another does.
#[derive(Debug)]
struct Whole {
    message: Message,
    waiting: Option<Waiting>,
}

/// Who goes on with a connection.
#[derive(Debug)]
pub enum Next {
    /// Its peer, or who nudges it: it is parked until then.
    Park(Interest),
    /// A worker serves the message that has come.
    Serve(Message),
    /// A worker makes the next piece of its response.
    Produce,
    /// A thread that may wait for a disk reads the next piece of its response.
    Fetch,
    /// Nobody.
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
            has_read_all: false,
            is_unseen: false,
            _place: place,
        })
    }

    /// Goes on from where it is until somebody else has to. The only way into a phase's step.
    pub fn advance(&mut self, context: &mut Context) -> Next {
        loop {
            // None: the phase has changed.
            let next = match &self.phase {
                Phase::Idle | Phase::Head(_) => self.read_head(context),
                Phase::Body(_) => self.read_body(context),
                Phase::Whole(_) => Some(self.wait_for_turn()),
                Phase::Flushing(_) => self.flush(context),
                Phase::Lingering { .. } => Some(self.linger(context)),
            };
            match next {
                None => {}
                Some(Next::Park(_) | Next::Fetch | Next::Produce)
                    if !self.claim_response(context) =>
                {
                    return Next::Close(CloseReason::NoMemory);
                }
                Some(Next::Park(interest)) => {
                    if self.is_partial() {
                        self.socket.acknowledge();
                    }
                    return Next::Park(interest);
                }
                Some(next) => return next,
            }
        }
    }

    /// Answers by a fault's page and ends, without ever blocking.
    pub fn refuse(&mut self, fault: Fault, context: &mut Context) -> Next {
        self.answer_fault(fault, Instant::now(), context);
        self.advance(context)
    }

    /// Keeps a message until its turn comes: it is parked, and found at once, since its socket has
    /// room.
    pub(super) fn hand_on(&mut self, message: Message, context: &Context) -> Next {
        self.keep(message, None);
        self.deadline = Instant::now() + context.config.write_timeout;
        Next::Park(Interest::Writable)
    }

    /// Keeps a message that is not being served.
    fn keep(&mut self, message: Message, waiting: Option<Waiting>) {
        self.phase = Phase::Whole(Whole { message, waiting });
    }

    /// Has its deadline pass at `then`, so that it goes on from there.
    pub fn try_again_at(&mut self, then: Instant) {
        self.deadline = self.deadline.min(then);
    }

    /// A whole message goes to a worker, unless it waits for what another does.
    fn wait_for_turn(&mut self) -> Next {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Whole(whole) if whole.waiting.as_ref().is_some_and(|of| !of.is_over()) => {
                self.phase = Phase::Whole(whole);
                // A client that has gone is reported again and again.
                match self.is_broken() {
                    true => Next::Close(CloseReason::PeerGone),
                    false => Next::Park(Interest::Nudge),
                }
            }
            Phase::Whole(whole) => Next::Serve(whole.message),
            phase => {
                self.phase = phase;
                Next::Park(Interest::Readable)
            }
        }
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
            Phase::Body(_) => ConnectionPhase::ReadingBody,
            Phase::Whole(_) => ConnectionPhase::Queued,
            Phase::Flushing(_) => ConnectionPhase::Flushing,
            Phase::Lingering { .. } => ConnectionPhase::Lingering,
        }
    }

    /// True where its client has more connections than it may.
    pub fn is_one_too_many(&self) -> bool {
        self.share != Share::Within
    }

    /// True where some of a request has come, and not all.
    pub fn is_partial(&self) -> bool {
        matches!(self.phase, Phase::Head(_) | Phase::Body(_))
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
        self.is_unseen = was_known && self.has_read_all && self.is_idle();
        if self.is_unseen { Interest::News } else { Interest::Readable }
    }

    /// True where the peer has reset the connection. One that has ended its side in order may
    /// still read: nothing tells a peer that has gone from one that will say no more.
    fn is_broken(&self) -> bool {
        self.socket.take_error().is_err()
    }

    /// The version to answer in while no message is whole.
    fn version(&self) -> Version {
        match &self.phase {
            Phase::Head(scanner) => scanner.version().unwrap_or(Version::Http11),
            Phase::Body(body) => body.version(),
            Phase::Whole(whole) => whole.message.version,
            _ => Version::Http11,
        }
    }
}
