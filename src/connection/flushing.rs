//! A response's way to its reader: sent as there is room, held within the budget, accounted for.

use super::outgoing::{Failure, Outgoing, Progress};
use super::{After, Connection, Context, Flow, Phase, Step};
use crate::access_log::{self, Record};
use crate::config::{self, AccessLog};
use crate::memory::MemoryUse;
use crate::metrics::{CloseReason, Counter};
use crate::parking::Interest;
use std::net::SocketAddr;
use std::time::Instant;

impl Connection {
    /// Claims what a response holds that waits for its reader; false where that does not fit. One
    /// that is sent at once is in one thread's hands and needs no claim.
    pub(super) fn claim_response(&mut self, context: &Context) -> bool {
        let Phase::Flushing { outgoing, record, claim: claim @ None, .. } = &mut self.phase else {
            return true;
        };
        let held = outgoing.held() + record.as_deref().map_or(0, Record::held);
        *claim = context.config.memory.claim(MemoryUse::Responses, held);
        if claim.is_none() {
            let trouble = "no memory to hold it for its reader";
            account(outgoing, record.as_deref(), self.peer, trouble, context);
        }
        claim.is_some()
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
    pub(super) fn flush(&mut self, context: &mut Context) -> Flow {
        let Phase::Flushing { outgoing, after, record, begun, taken, .. } = &mut self.phase else {
            return Flow::Again;
        };
        let failure = match outgoing.write(&self.socket, context.means(), || context.may_go_on()) {
            Ok(Progress::Done) => {
                let (after, now) = (*after, Instant::now());
                context.recorder.written(now.saturating_duration_since(*begun));
                account(outgoing, record.as_deref(), self.peer, "", context);
                return self.end_response(after, now, context);
            }
            Ok(Progress::Yielded | Progress::Blocked) => {
                taken.look(&self.socket, outgoing.sent());
                return Flow::Wait(Interest::Writable);
            }
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
        // Closing with unread bytes resets the connection, and the reset may overtake the
        // response; so may one that answers bytes still under way (RFC 9112, section 9.6).
        if !lingers && self.input.is_empty() && !self.has_unread_bytes() {
            return Flow::Close(reason);
        }
        // The response's last bytes go with it.
        if self.socket.shutdown_write().is_err() {
            return Flow::Close(reason);
        }
        self.input.clear();
        self.deadline = now + config::LINGER_TIMEOUT;
        self.phase = Phase::Lingering { left: config::LINGER_BYTES, reason };
        Flow::Again
    }

    /// Ends it for this reason, once that is counted. A response's last bytes go with the end of
    /// this side, ahead of the reset that bytes which come right now would bring about.
    pub fn end(self: Box<Self>, reason: CloseReason) {
        if reason == CloseReason::Completed
            && let Err(error) = self.socket.shutdown_write()
        {
            log::debug!("cannot end a connection in order: {error}");
        }
    }

    fn has_unread_bytes(&self) -> bool {
        matches!(self.socket.read(&mut [0; 64]), Ok(1..))
    }
}

/// Counts what was sent of a response that has ended, and writes its line in the form that is
/// wanted.
pub(super) fn account(
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
