//! The PROXY header at the start of a connection, with which a trusted proxy says whose connection
//! it is.

use super::{Connection, Context, Next, Phase};
use crate::admission::Share;
use crate::metrics::CloseReason;
use crate::notes::note;
use crate::parking::Interest;
use crate::proxy::header::{self, Announcement, Source};
use std::time::Instant;

impl Connection {
    /// Reads the header. None: it is whole, and the first request can follow.
    #[cold]
    pub(super) fn read_announcement(&mut self, context: &mut Context) -> Option<Next> {
        loop {
            match header::read(self.input.as_slice()) {
                Announcement::Partial => {}
                Announcement::Complete(length, source) => {
                    self.input.consume(length);
                    return self.take_source(source, context);
                }
                Announcement::Refused(why) => return Some(self.refuse_announcement(why, context)),
            }
            if !context.reads() {
                return Some(Next::Park(Interest::Readable));
            }
            match self.read(context) {
                Ok(_) => {}
                Err(next @ Some(Next::Park(_))) => {
                    if !self.input.is_empty() {
                        self.socket.acknowledge();
                    }
                    return next;
                }
                Err(next) => return next,
            }
        }
    }

    fn take_source(&mut self, source: Source, context: &Context) -> Option<Next> {
        match source {
            Source::Client(address) => self.origin.announce(address, &context.config),
            // It is somebody else's connection, so nothing in it is the proxy's word.
            Source::Unknown => self.origin.trust(false, &context.config),
            Source::Proxy => self.origin.trust(true, &context.config),
        }
        self.phase = Phase::Idle;
        self.deadline = Instant::now() + context.config.idle_timeout;
        if self.input.is_empty() {
            // The proxy may wait for that before it sends more.
            self.socket.acknowledge();
        }
        let is_far_exceeded = self.origin.share() == Share::FarExceeded;
        is_far_exceeded.then_some(Next::Close(CloseReason::Refused))
    }

    /// Refuses a connection that no trusted proxy has made.
    pub(super) fn refuse_untrusted(&self, context: &mut Context) -> Next {
        let todo = "it is not a trusted proxy (name it with --trusted-proxy if it is)";
        self.tell_refusal(todo, context);
        Next::Close(CloseReason::UntrustedPeer)
    }

    /// Refuses a connection of a proxy that says nothing valid about it.
    pub(super) fn refuse_announcement(&self, why: &str, context: &mut Context) -> Next {
        self.tell_refusal(why, context);
        Next::Close(CloseReason::ProxyHeader)
    }

    fn tell_refusal(&self, why: &str, context: &mut Context) {
        let peer = self.origin.peer();
        match context.refusals.count(Instant::now()) {
            Some(0) => note!(Warn, "refused a connection of {peer}: {why}"),
            Some(untold) => {
                note!(Warn, "refused a connection of {peer}: {why}; and {untold} others before it");
            }
            None => note!(Debug, "refused a connection of {peer}: {why}"),
        }
    }
}
