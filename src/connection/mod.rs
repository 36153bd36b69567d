//! A connection while it waits for its peer: its phases, and one step for each.
//!
//! A connection is one value that owns its socket. It is on a thread's stack, in the parking table
//! or in a channel. It moves, and nobody shares it. [`Connection::advance`] takes it from phase to
//! phase until it would block. The [`Next`] that `advance` returns says who continues. A whole
//! message turns the connection into an [`Exchange`], which a worker serves.

mod date;
mod input;
#[cfg(feature = "proxy")]
mod refusals;
mod threads;
mod sending;
mod allowance;
mod outgoing;
mod renewal;
mod context;
mod origin;
mod eviction;
mod pace;
mod flushing;
mod answer;
mod reading;
#[cfg(feature = "proxy")]
mod announced;
mod deadlines;
mod transfers;
mod exchange;
mod own;
mod immediate;

use crate::admission::{Place, Share};
use crate::config::{self, Config};
use crate::http::Version;
use crate::http::fault::Fault;
use crate::http::head::HeadScanner;
use crate::lane::Waiting;
use crate::metrics::{CloseReason, ConnectionPhase};
use crate::parking::{Interest, Parked, Socket};
use allowance::Quota;
use flushing::Flushing;
use input::Input;
use origin::Origin;
use pace::Pace;
use reading::Body;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub use context::{Context, Errand, Shared, Work};
pub use eviction::Standing;
pub use exchange::Exchange;
pub use renewal::{Renewal, Renewed};
pub use transfers::Transfer;

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    input: Input,
    phase: Phase,
    pace: Pace,
    /// What it has of the limits of rates, if there are any.
    quota: Option<Box<Quota>>,
    deadline: Instant,
    /// At least one byte of a request has arrived.
    has_asked: bool,
    /// It has been served before.
    is_known: bool,
    /// The last read emptied the socket.
    has_read_all: bool,
    /// It was parked without another read: see [`Connection::wants_a_look`].
    is_unseen: bool,
    /// The acceptor has its key in the line of those that go on with a response.
    is_in_line: bool,
    // Last, so that the socket closes before its place is free.
    origin: Origin,
}

const _: () = assert!(
    size_of::<Connection>()
        + size_of::<Quota>()
        + config::KEPT_BYTES
        + config::FORWARDED_KEPT
        + config::REQUEST_ID_BYTES
        + 128
        <= config::CONNECTION_BYTES as usize,
    "an idle connection holds no more than is claimed for it"
);

/// What a connection waits for, with the data for that.
#[derive(Debug)]
enum Phase {
    /// The rest of its PROXY header.
    #[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "no connection has one"))]
    Announced,
    /// A request. A connection in service is in this phase, too.
    Idle,
    /// The rest of a request head.
    Head(HeadScanner),
    /// The rest of a request body.
    Body(Body),
    /// A worker, or the end of other work: the message is whole.
    Whole(Message),
    /// Room in the socket for the rest of a response.
    Flushing(Flushing),
    /// The peer to close. This side is closed. Up to `left` more bytes are read and dropped.
    Lingering { left: usize, reason: CloseReason },
}

/// A whole message at the start of the input.
#[derive(Debug)]
pub struct Message {
    /// The length of its head, in bytes.
    head: usize,
    /// The length of its decoded body behind the head, in bytes; 0 if the body was dropped.
    body: usize,
    /// The protocol version for the response.
    version: Version,
    /// The client holds its body back until it is asked for it (`Expect: 100-continue`).
    holds_body_back: bool,
    /// How long its client waits for the response, if the request says so and this is shorter than
    /// the configured patience.
    patience: Option<Duration>,
    /// When it was first queued, if a worker has already taken it and its handler deferred it.
    queued: Option<Instant>,
    /// Since when it waits for room in the queue.
    blocked: Option<Instant>,
    /// What it waits for. After the wait this is a reservation: it holds the permit until the
    /// handler has asked for it, so it lives as long as the message.
    waiting: Option<Waiting>,
}

/// Who continues with a connection.
#[derive(Debug)]
pub enum Next {
    /// The poller. The connection is parked until an event or a nudge.
    Park(Interest),
    /// A worker, which serves the message.
    Serve(Message),
    /// A worker, which makes the next piece of the response.
    Produce,
    /// A fetcher, which reads the next piece of the response from a disk.
    Fetch,
    /// Nobody: the connection closes.
    Close(CloseReason),
}

impl Parked for Connection {
    fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

impl Connection {
    /// A newly accepted connection; `stream` must be non-blocking.
    pub fn new(stream: TcpStream, peer: SocketAddr, place: Place, config: &Config) -> Box<Self> {
        let (phase, wait) = match config.takes_proxy_headers() {
            true => (Phase::Announced, config.header_timeout),
            false => (Phase::Idle, config.idle_timeout),
        };
        Box::new(Self {
            socket: Socket::new(stream),
            input: Input::default(),
            phase,
            pace: Pace::default(),
            quota: None,
            deadline: Instant::now() + wait,
            has_asked: false,
            is_known: false,
            has_read_all: false,
            is_unseen: false,
            is_in_line: false,
            origin: Origin::new(peer, place, config),
        })
    }

    /// The first step of a connection: it closes one that may not be served at all.
    pub fn welcome(&mut self, context: &mut Context) -> Next {
        #[cfg(feature = "proxy")]
        if let Phase::Announced = self.phase
            && !self.origin.is_trusted()
        {
            return self.refuse_untrusted(context);
        }
        match self.origin.share() {
            // Over twice the limit: close without a response.
            Share::FarExceeded => Next::Close(CloseReason::Refused),
            Share::Within | Share::Exceeded => self.advance(context),
        }
    }

    /// Continues until somebody else has to. This is the only way into the step of a phase.
    pub fn advance(&mut self, context: &mut Context) -> Next {
        let mut was_answered = false;
        self.is_in_line = false;
        loop {
            // None: the phase has changed.
            let next = match &self.phase {
                #[cfg(feature = "proxy")]
                Phase::Announced => self.read_announcement(context),
                #[cfg(not(feature = "proxy"))]
                Phase::Announced => Some(Next::Close(CloseReason::ProxyHeader)),
                Phase::Idle | Phase::Head(_) => self.read_head(was_answered, context),
                Phase::Body(_) => self.read_body(context),
                Phase::Whole(_) => Some(self.wait_for_turn()),
                Phase::Flushing(_) => {
                    was_answered = true;
                    self.flush(context)
                }
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

    /// Starts the error response for `fault`, after which the connection closes. Never blocks.
    pub fn refuse(&mut self, fault: Fault, context: &mut Context) -> Next {
        self.answer_fault(fault, Instant::now(), context);
        self.advance(context)
    }

    /// Keeps a message for the acceptor to queue. The socket has room, so the poller reports it at
    /// once.
    pub(super) fn requeue(&mut self, message: Message, context: &Context) -> Next {
        self.phase = Phase::Whole(message);
        self.deadline = Instant::now() + context.config.write_timeout;
        Next::Park(Interest::Writable)
    }

    /// Gives a whole message to a worker, unless it waits for other work to end.
    fn wait_for_turn(&mut self) -> Next {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Whole(message) if message.waiting.as_ref().is_some_and(|of| !of.is_over()) => {
                self.phase = Phase::Whole(message);
                // The poller reports a peer that has gone again and again.
                match self.is_broken() {
                    true => Next::Close(CloseReason::PeerGone),
                    false => Next::Park(Interest::Nudge),
                }
            }
            // The same holds for one that waits for room in the queue.
            Phase::Whole(message) if message.blocked.is_some() && self.is_broken() => {
                Next::Close(CloseReason::PeerGone)
            }
            Phase::Whole(message) => Next::Serve(message),
            phase => {
                self.phase = phase;
                Next::Park(Interest::Readable)
            }
        }
    }

    /// The key under which it is parked.
    pub fn key(&self) -> usize {
        self.socket.key()
    }

    /// True between requests: closing it now loses nothing.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Its phase as others see it while it is parked.
    pub fn phase(&self) -> ConnectionPhase {
        match self.phase {
            Phase::Announced | Phase::Idle => ConnectionPhase::Idle,
            Phase::Head(_) => ConnectionPhase::ReadingHead,
            Phase::Body(_) => ConnectionPhase::ReadingBody,
            Phase::Whole(_) => ConnectionPhase::Queued,
            Phase::Flushing(_) => ConnectionPhase::Flushing,
            Phase::Lingering { .. } => ConnectionPhase::Lingering,
        }
    }

    /// The client that it belongs to, among which the queue is fair.
    pub fn client(&self) -> IpAddr {
        self.origin.key()
    }

    /// True if its client has more connections than allowed, or more requests in progress.
    pub fn is_one_too_many(&self) -> bool {
        self.origin.share() != Share::Within
    }

    /// Since when its message waits for room in the queue, if it does.
    pub fn blocked_since(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Whole(message) => message.blocked,
            _ => None,
        }
    }

    /// True if its message waits for room in the queue.
    pub fn is_blocked(&self) -> bool {
        self.blocked_since().is_some()
    }

    /// True if part of a request has arrived.
    pub fn is_partial(&self) -> bool {
        matches!(self.phase, Phase::Head(_) | Phase::Body(_))
    }

    /// The close reason, if it is already decided.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.phase {
            Phase::Lingering { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// True if the server owes the client nothing: between requests, or after the last response.
    pub fn is_dispensable(&self) -> bool {
        matches!(self.phase, Phase::Announced | Phase::Idle | Phase::Lingering { .. })
    }

    /// True if its deadline has passed, or if it is time to ask its handler again.
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline <= now || self.wants_retry(now)
    }

    /// True if the next thing that it does is to go on sending a response.
    pub fn is_sending(&self) -> bool {
        matches!(&self.phase, Phase::Flushing(flushing) if flushing.is_sending())
            && !self.is_paused()
    }

    /// Puts it in the line of those that send; false if it is there already.
    pub fn joins_line(&mut self) -> bool {
        !std::mem::replace(&mut self.is_in_line, true)
    }

    /// True if it has been idle for a while and may have closed unnoticed: the peer's FIN can
    /// arrive together with its last request.
    pub fn wants_a_look(&self, now: Instant, config: &Config) -> bool {
        self.is_unseen
            && self.is_idle()
            && self.deadline + config::SWEEP_INTERVAL <= now + config.idle_timeout
    }

    /// What a worker has the poller report. Most peers are silent until they have their response. A
    /// peer that closes after its first request is noticed at once. One that closes after a later
    /// request is noticed by [`Connection::wants_a_look`], which saves a system call for each
    /// request.
    fn interest_in_more(&mut self) -> Interest {
        let was_known = std::mem::replace(&mut self.is_known, true);
        self.is_unseen = was_known && self.has_read_all && self.is_idle();
        if self.is_unseen { Interest::News } else { Interest::Readable }
    }

    /// True if the peer has reset the connection. A peer that has only closed its sending side may
    /// still read.
    fn is_broken(&self) -> bool {
        self.socket.take_error().is_err()
    }

    /// The protocol version for a response while no message is in service.
    fn version(&self) -> Version {
        match &self.phase {
            Phase::Head(scanner) => scanner.version().unwrap_or(Version::Http11),
            Phase::Body(body) => body.version(),
            Phase::Whole(message) => message.version,
            _ => Version::Http11,
        }
    }
}
