//! A response's way to its reader: sent as there is room, held within the budget, accounted for.

use super::eviction::Taken;
use super::outgoing::{Failure, Outgoing, Progress};
use super::{Connection, Context, Next, Phase};
use crate::access_log::{self, Record};
use crate::config::{self, AccessLog, Config};
use crate::memory::{Claim, MemoryUse};
use crate::metrics::{Activity, CloseReason, Counter};
use crate::notes::note;
use crate::parking::Interest;
use std::net::SocketAddr;
use std::time::Instant;

/// A response on its way.
#[derive(Debug)]
pub(super) struct Flushing {
    outgoing: Outgoing,
    after: After,
    record: Option<Box<Record>>,
    begun: Instant,
    /// Bytes that were sent when the current window began.
    sent_before: u64,
    /// For what it holds while it waits for its reader.
    claim: Option<Claim>,
    taken: Taken,
}

/// What follows a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request.
    Keep,
    /// The end, for this reason.
    Close(CloseReason),
    /// The end, once the peer has ended its side too: it may have more under way.
    Linger(CloseReason),
}

impl Flushing {
    pub(super) fn new(
        outgoing: Outgoing,
        after: After,
        record: Option<Box<Record>>,
        begun: Instant,
    ) -> Self {
        let (taken, sent_before, claim) = (Taken::nothing(begun), 0, None);
        Self { outgoing, after, record, begun, sent_before, claim, taken }
    }

    /// How far its client has taken it.
    pub(super) fn taken(&self) -> &Taken {
        &self.taken
    }

    /// True where it holds memory that it has claimed.
    pub(super) fn holds_memory(&self) -> bool {
        self.claim.is_some()
    }

    /// Counts what was sent of it, since it has ended, and writes its line in the form that is
    /// wanted.
    pub(super) fn account(&self, peer: SocketAddr, trouble: &str, context: &Context) {
        context.recorder.count_many(Counter::BytesSent, self.outgoing.sent());
        let sent = self.outgoing.content_sent();
        let form = context.config.access_log;
        if let (Some(record), true) = (&self.record, form != AccessLog::Off) {
            note!(target: access_log::TARGET, Info, "{}", record.line(form, peer, sent, trouble));
        }
    }

    /// Claims what it holds while it waits for its reader; false where that does not fit.
    fn claim(&mut self, context: &Context) -> bool {
        if self.claim.is_none() {
            let held = self.outgoing.held() + self.record.as_deref().map_or(0, Record::held);
            self.claim = context.config.memory.claim(MemoryUse::Responses, held);
        }
        self.claim.is_some()
    }
}

impl Connection {
    /// Claims what a response holds that waits for its reader; false where that does not fit. One
    /// that is sent at once is in one thread's hands and needs no claim.
    pub(super) fn claim_response(&mut self, context: &Context) -> bool {
        let Phase::Flushing(flushing) = &mut self.phase else { return true };
        let fits = flushing.claim(context);
        if !fits {
            flushing.account(self.peer, "no memory to hold it for its reader", context);
        }
        fits
    }

    /// A fetcher or a worker goes on with what had to be waited for. The time that this takes is
    /// not the client's.
    pub fn go_on_sending(&mut self, since: Instant, context: &mut Context) -> Next {
        if context.worker().is_some() {
            context.recorder.enter(Activity::Respond, Instant::now());
        }
        let next = self.flush(context);
        if let Phase::Flushing(_) = self.phase {
            self.deadline += since.elapsed();
        }
        match next {
            Some(next) if self.claim_response(context) => next,
            Some(_) => Next::Close(CloseReason::NoMemory),
            None => self.advance(context),
        }
    }

    /// Sends what there is room for.
    pub(super) fn flush(&mut self, context: &mut Context) -> Option<Next> {
        let Phase::Flushing(flushing) = &mut self.phase else { return None };
        let outgoing = &mut flushing.outgoing;
        let failure = match outgoing.write(&self.socket, context.means(), || context.may_go_on()) {
            Ok(Progress::Done) => {
                let (after, now) = (flushing.after, Instant::now());
                context.recorder.written(now.saturating_duration_since(flushing.begun));
                flushing.account(self.peer, "", context);
                return self.end_response(after, now, context);
            }
            Ok(Progress::Yielded | Progress::Blocked) => {
                flushing.taken.look(&self.socket, flushing.outgoing.sent());
                return Some(Next::Park(Interest::Writable));
            }
            Ok(Progress::OnDisk) => return Some(Next::Fetch),
            Ok(Progress::Unmade) => return Some(Next::Produce),
            Err(failure) => failure,
        };
        let (reason, error) = match &failure {
            Failure::Peer(error) => (CloseReason::PeerGone, error),
            Failure::Content(error) => (CloseReason::BodyFailed, error),
        };
        if let (Some(record), CloseReason::BodyFailed) = (&flushing.record, reason) {
            note!(Error, "cannot read what \"{}\" asks for: {error}", record.shown());
        }
        flushing.account(self.peer, &error.to_string(), context);
        Some(Next::Close(reason))
    }

    /// A response is written: the next request, or the end.
    fn end_response(&mut self, after: After, now: Instant, context: &mut Context) -> Option<Next> {
        if let Phase::Flushing(flushing) = std::mem::replace(&mut self.phase, Phase::Idle) {
            context.head = flushing.outgoing.into_buffer();
        }
        let (reason, lingers) = match after {
            After::Keep => {
                self.deadline = now + context.config.idle_timeout;
                return None;
            }
            After::Close(reason) => (reason, false),
            After::Linger(reason) => (reason, true),
        };
        // Closing with unread bytes resets the connection, and the reset may overtake the
        // response; so may one that answers bytes still under way (RFC 9112, section 9.6).
        if !lingers && self.input.is_empty() && !self.has_unread_bytes() {
            return Some(Next::Close(reason));
        }
        // The response's last bytes go with it.
        if self.socket.shutdown_write().is_err() {
            return Some(Next::Close(reason));
        }
        self.input.clear();
        self.deadline = now + config::LINGER_TIMEOUT;
        self.phase = Phase::Lingering { left: config::LINGER_BYTES, reason };
        None
    }

    /// A window of the write timeout has ended: goes on if the client took enough in it. A full
    /// socket reports room again when a good part of it is free, which at a low rate can take
    /// longer than the window; so what had become free was filled before this counts.
    pub(super) fn end_write_window(&mut self, interest: Interest, context: &Context) -> Next {
        let Phase::Flushing(flushing) = &mut self.phase else { return Next::Park(interest) };
        let Config { min_rate, write_timeout, .. } = *context.config;
        let least = (min_rate as f64 * write_timeout.as_secs_f64()) as u64;
        let sent = flushing.outgoing.sent();
        if sent - flushing.sent_before < least.max(1) {
            flushing.account(self.peer, "not taken in time", context);
            return Next::Close(CloseReason::WriteTimeout);
        }
        flushing.sent_before = sent;
        self.deadline = Instant::now() + write_timeout;
        Next::Park(interest)
    }

    /// Ends it for this reason, once that is counted. A response's last bytes go with the end of
    /// this side, ahead of the reset that bytes which come right now would bring about.
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
