//! A response while it is sent: as the socket has room, within the memory budget, and accounted
//! for.

use super::allowance::{Allowance, Continues, most_in_flight};
use super::eviction::Taken;
use super::origin::Origin;
use super::outgoing::{Outgoing, Unsent};
use super::pace::Full;
use super::sending::{Failure, Progress};
use super::{Connection, Context, Next, Phase};
use crate::access_log::{self, From, Record};
use crate::config::{self, AccessLog, Config};
use crate::lane::Waiting;
use crate::memory::{Claim, MemoryUse};
use crate::metrics::{Activity, CloseReason, Counter};
use crate::notes::note;
use crate::parking::Interest;
use crate::throttle::Pause;
use std::time::Instant;

/// A response while it is sent.
#[derive(Debug)]
pub(super) struct Flushing {
    outgoing: Outgoing,
    after: After,
    record: Option<Box<Record>>,
    begun: Instant,
    /// Bytes sent when the current window began.
    sent_before: u64,
    /// Bytes that the client had read then.
    read_before: i64,
    /// For the memory that it holds while the client is slow.
    claim: Option<Claim>,
    taken: Taken,
    /// When the socket was full last.
    full: Option<Full>,
    /// Its handler is not asked for the next piece before this time.
    retry_at: Option<Instant>,
    /// What the next piece waits for. It is kept until the piece is made, because it keeps a permit
    /// for it.
    waiting: Option<Waiting>,
}

/// Bytes of a response that moved in a window of time.
#[derive(Debug, Clone, Copy)]
struct Moved {
    /// To the kernel.
    sent: u64,
    /// From the kernel to the client.
    read: u64,
}

/// What follows a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request.
    Keep,
    /// Close, for this reason.
    Close(CloseReason),
    /// Close for this reason, once the peer has closed its side: more bytes of it may be on their
    /// way.
    Linger(CloseReason),
}

impl Flushing {
    pub(super) fn new(
        outgoing: Outgoing,
        after: After,
        record: Option<Box<Record>>,
        begun: Instant,
    ) -> Self {
        let (taken, sent_before, read_before) = (Taken::nothing(begun), 0, 0);
        let (claim, full, retry_at, waiting) = (None, None, None, None);
        Self {
            outgoing,
            after,
            record,
            begun,
            sent_before,
            read_before,
            claim,
            taken,
            full,
            retry_at,
            waiting,
        }
    }

    /// True if the next thing is to send: it waits neither for a handler nor for other work.
    pub(super) fn is_sending(&self) -> bool {
        self.retry_at.is_none() && self.waiting.is_none() && !self.outgoing.needs_handler()
    }

    /// How much of it the client has read.
    pub(super) fn taken(&self) -> &Taken {
        &self.taken
    }

    /// The bytes of content sent, and those that are left; none if nobody knows.
    pub(super) fn content(&self) -> (u64, Option<u64>) {
        (self.outgoing.content_sent(), self.outgoing.content_left())
    }

    /// The bytes per second that were sent lately.
    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        self.taken.rate(self.begun, self.outgoing.sent(), now)
    }

    /// What is kept of its request.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_deref()
    }

    /// Takes out what is not sent, if dropping it would run code of a handler.
    fn take_unsent(&mut self) -> Option<Unsent> {
        self.outgoing.take_unsent()
    }

    /// Begins a new window. Returns the bytes that moved in the last one: to the kernel, and from
    /// the kernel to the client. The kernel can hold more for a client that was fast than it may
    /// for one that is slow. It then takes nothing new until the client has read the difference.
    fn end_window(&mut self) -> Moved {
        let (sent, read) = (self.outgoing.sent(), self.taken.bytes());
        let moved = Moved {
            sent: sent - self.sent_before,
            read: u64::try_from(read - self.read_before).unwrap_or(0),
        };
        (self.sent_before, self.read_before) = (sent, read);
        moved
    }

    /// True if the client has taken what the limits let it have: its socket is not full, and what
    /// the kernel holds for it can be on its way.
    fn keeps_up(&self, limits: Option<u64>) -> bool {
        let sent = self.outgoing.sent();
        let held = u64::try_from(sent as i64 - self.taken.bytes()).unwrap_or(0);
        !self.full.is_some_and(|full| full.is_at(sent)) && limits.is_some_and(|most| held <= most)
    }

    /// True if it holds memory that it has claimed.
    pub(super) fn holds_memory(&self) -> bool {
        self.claim.is_some()
    }

    /// Counts the bytes sent and writes the line of the access log; `trouble` is the error, if any.
    pub(super) fn account(&self, origin: &Origin, trouble: &str, context: &Context) {
        context.recorder.count_many(Counter::BytesSent, self.outgoing.sent());
        let sent = self.outgoing.content_sent();
        let form = context.config.access_log;
        if let (Some(record), true) = (&self.record, form != AccessLog::Off) {
            let from = From {
                peer: origin.peer(),
                client: origin.client(),
                request_id: origin.request_id(),
            };
            note!(target: access_log::TARGET, Info, "{}", record.line(form, from, sent, trouble));
        }
    }

    /// Claims the memory that it holds while the client is slow; false if that does not fit.
    fn claim(&mut self, context: &Context) -> bool {
        let held = self.outgoing.held() + self.record.as_deref().map_or(0, Record::held);
        if let Some(claim) = &mut self.claim {
            // The next piece of a stream can be larger than the one before.
            return claim.resize(held);
        }
        self.claim = context.config.memory.claim(MemoryUse::Responses, held);
        self.claim.is_some()
    }
}

impl Connection {
    /// Claims the memory that a response holds while the client is slow; false if that does not
    /// fit. A response that is sent at once needs no claim.
    pub(super) fn claim_response(&mut self, context: &Context) -> bool {
        let Phase::Flushing(flushing) = &mut self.phase else { return true };
        let fits = flushing.claim(context);
        if !fits {
            flushing.account(&self.origin, "no memory to hold it for its reader", context);
        }
        fits
    }

    /// Continues a response on a fetcher or a worker. The time since `since` is not the client's,
    /// so the deadline moves by it.
    pub fn advance_response(&mut self, since: Instant, context: &mut Context) -> Next {
        if context.worker().is_some() {
            context.recorder.enter(Activity::Respond, Instant::now());
        }
        let next = self.advance(context);
        if let Phase::Flushing(_) = self.phase {
            self.deadline += since.elapsed();
        }
        next
    }

    /// True if it is time to ask the handler for the next piece again.
    pub(super) fn wants_retry(&self, now: Instant) -> bool {
        matches!(&self.phase, Phase::Flushing(flushing)
            if flushing.retry_at.is_some_and(|retry_at| retry_at <= now))
    }

    /// Has the handler asked for the next piece again at `then`.
    pub fn retry_at(&mut self, then: Instant) -> Next {
        if let Phase::Flushing(flushing) = &mut self.phase {
            flushing.retry_at = Some(then);
        }
        Next::Park(Interest::Nudge)
    }

    /// Waits until the handler can be asked again. A client that has gone is reported again and
    /// again, so the connection closes then.
    fn wait_for_retry(&mut self, context: &Context) -> Option<Next> {
        let Phase::Flushing(flushing) = &self.phase else { return None };
        let is_early = flushing.retry_at.is_some_and(|retry_at| Instant::now() < retry_at);
        let waits = flushing.waiting.as_ref().is_some_and(|waiting| !waiting.is_over());
        if !is_early && !waits {
            return None;
        }
        if !self.is_broken() {
            if waits {
                self.deadline = Instant::now() + context.config.write_timeout;
            }
            return Some(Next::Park(Interest::Nudge));
        }
        flushing.account(&self.origin, "the client has gone", context);
        Some(Next::Close(CloseReason::PeerGone))
    }

    /// Waits until the handler may make the next piece.
    fn wait_for_permit(&mut self, context: &Context) -> Next {
        let Phase::Flushing(flushing) = &mut self.phase else { return Next::Produce };
        let Some(wait) = flushing.outgoing.take_wait() else { return Next::Produce };
        flushing.end_window();
        self.deadline = Instant::now() + context.config.write_timeout;
        flushing.waiting = Some(wait.join(context.waker_of(&self.socket)));
        Next::Park(Interest::Nudge)
    }

    /// Waits until the limits let it go on. Meanwhile an event says that bytes have come, or that
    /// the client has gone.
    #[cold]
    fn wait_for_allowance(&self, context: &Context) -> Next {
        if !self.is_broken() {
            return Next::Park(Interest::Timer);
        }
        if let Phase::Flushing(flushing) = &self.phase {
            flushing.account(&self.origin, "the client has gone", context);
        }
        Next::Close(CloseReason::PeerGone)
    }

    /// Waits for room in the socket, or for another turn.
    fn wait_to_go_on(&mut self, progress: &Progress, context: &Context) -> Next {
        let Phase::Flushing(flushing) = &mut self.phase else {
            return Next::Park(Interest::Writable);
        };
        let sent = flushing.outgoing.sent();
        flushing.taken.look(&self.socket, flushing.begun, sent);
        if *progress == Progress::Blocked {
            let full = self.pace.note_full(flushing.full, sent, &self.socket, &context.unsent);
            flushing.full = Some(full);
        } else if context.thread.has_turns() {
            return Next::Park(Interest::Turn);
        }
        // Other threads pass a connection on to the acceptor.
        Next::Park(Interest::Writable)
    }

    /// Sends as much as the socket has room for, and the limits allow.
    pub(super) fn flush(&mut self, context: &mut Context) -> Option<Next> {
        if self.is_paused() {
            return Some(self.wait_for_allowance(context));
        }
        if let Some(next) = self.wait_for_retry(context) {
            return Some(next);
        }
        let Phase::Flushing(flushing) = &mut self.phase else { return None };
        flushing.retry_at = None;
        let outgoing = &mut flushing.outgoing;
        let mut allowance = Allowance::new(&mut self.quota, &context.config, &context.throttle);
        let (thread, may_continue) = (context.thread, || context.may_continue());
        let written = outgoing.write(&self.socket, thread, &mut allowance, may_continue);
        let pause = allowance.end(|| match written {
            Ok(Progress::OnDisk | Progress::AtHandler) => Continues::OtherThread,
            Ok(Progress::Paused | Progress::Yielded | Progress::AtPermit) => Continues::Server,
            _ => Continues::Client,
        });
        if context.worker().is_some() {
            flushing.waiting = None;
        }
        let failure = match written {
            Ok(Progress::Done) => {
                let (after, now) = (flushing.after, Instant::now());
                context.recorder.written(now.saturating_duration_since(flushing.begun));
                flushing.account(&self.origin, "", context);
                return self.end_response(after, now, context);
            }
            Ok(progress @ (Progress::Yielded | Progress::Blocked)) => {
                return Some(self.wait_to_go_on(&progress, context));
            }
            Ok(Progress::Paused) => {
                let sent = flushing.outgoing.sent();
                flushing.taken.look(&self.socket, flushing.begun, sent);
                self.pause(pause.unwrap_or(Pause::Turn), &context.throttle);
                return Some(Next::Park(Interest::Timer));
            }
            Ok(Progress::OnDisk) => return Some(Next::Fetch),
            Ok(Progress::AtHandler) => return Some(Next::Produce),
            Ok(Progress::NothingYet) => {
                // A new window begins: it is not the client that is waited for.
                flushing.end_window();
                let now = Instant::now();
                self.deadline = now + context.config.write_timeout;
                return Some(self.retry_at(now + config::SWEEP_INTERVAL));
            }
            Ok(Progress::AtPermit) => return Some(self.wait_for_permit(context)),
            Err(failure) => failure,
        };
        let (reason, error) = match &failure {
            Failure::Peer(error) => (CloseReason::PeerGone, error),
            Failure::Content(error) => (CloseReason::BodyFailed, error),
        };
        if let (Some(record), CloseReason::BodyFailed) = (&flushing.record, reason) {
            note!(Error, "cannot read what \"{}\" asks for: {error}", record.shown());
        }
        flushing.account(&self.origin, &error.to_string(), context);
        Some(Next::Close(reason))
    }

    /// A response is sent: starts with the next request, or ends the connection.
    fn end_response(&mut self, after: After, now: Instant, context: &mut Context) -> Option<Next> {
        if let Phase::Flushing(flushing) = std::mem::replace(&mut self.phase, Phase::Idle) {
            context.head = flushing.outgoing.into_buffer();
        }
        self.origin.end();
        let (reason, lingers) = match after {
            After::Keep => {
                self.deadline = now + context.config.idle_timeout;
                return None;
            }
            After::Close(reason) => (reason, false),
            After::Linger(reason) => (reason, true),
        };
        // Closing a socket with unread bytes resets the connection, and the reset can destroy the
        // response on its way. So can bytes that arrive later (RFC 9112, section 9.6).
        if !lingers && self.input.is_empty() && !self.has_unread_bytes() {
            return Some(Next::Close(reason));
        }
        // The last bytes of the response go out together with the FIN.
        if self.socket.shutdown_write().is_err() {
            return Some(Next::Close(reason));
        }
        self.input.clear();
        self.deadline = now + config::LINGER_TIMEOUT;
        self.phase = Phase::Lingering { left: config::LINGER_BYTES, reason };
        None
    }

    /// A window of the write timeout has ended. The connection continues if the client read enough
    /// in that window. At a low rate the socket can have room before the poller reports it, so the
    /// caller has already filled that room. What the limits withhold is not the client's fault: it
    /// also continues if it has read what they let it have.
    pub(super) fn end_write_window(&mut self, interest: Interest, context: &Context) -> Next {
        let Phase::Flushing(flushing) = &mut self.phase else { return Next::Park(interest) };
        let Config { min_rate, write_timeout, .. } = *context.config;
        let least = (min_rate as f64 * write_timeout.as_secs_f64()) as u64;
        let limits = most_in_flight(&context.config);
        let Moved { sent, read } = flushing.end_window();
        let moved = read.max(sent);
        // A client that has become slow may never fill its socket again.
        self.pace.follow(moved, write_timeout, &self.socket, &context.unsent);
        // Under a limit, the kernel takes for a while what the client does not read.
        let counts = if limits.is_some() { read } else { moved };
        if counts < least.max(1) && !flushing.keeps_up(limits) {
            flushing.account(&self.origin, "not taken in time", context);
            return Next::Close(CloseReason::WriteTimeout);
        }
        self.deadline = Instant::now() + write_timeout;
        Next::Park(interest)
    }

    /// Takes out the rest of a response, if dropping it would run code of a handler.
    pub(super) fn take_unsent(&mut self) -> Option<Unsent> {
        match &mut self.phase {
            Phase::Flushing(flushing) => flushing.take_unsent(),
            _ => None,
        }
    }

    /// Closes it for this reason, which is already counted. The FIN goes out first: a reset, caused
    /// by bytes that arrive now, would overtake the last bytes of the response.
    pub fn end(self: Box<Self>, reason: CloseReason) {
        if reason == CloseReason::Completed
            && let Err(error) = self.socket.shutdown_write()
        {
            note!(Debug, "cannot end a connection in order: {error}");
        }
    }

    fn has_unread_bytes(&self) -> bool {
        matches!(self.socket.read(&mut [0; 64]), Ok(1..))
    }
}
