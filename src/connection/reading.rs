//! Reading and framing: a message from the first byte of its head to the last byte of its body.
//!
//! A worker calls this as well, for pipelined requests that are already buffered. Only the acceptor
//! reads from sockets.

use super::{Connection, Context, Message, Next, Phase};
use crate::config::{self, Config};
use crate::http::Version;
use crate::http::body::BodyDecoder;
use crate::http::fault::Fault;
use crate::http::framing::{BodyLength, Framing};
use crate::http::head::{HeadLimits, HeadScanner, Scan, empty_lines};
use crate::http::patience::patience;
use crate::http::request::{RequestLine, split_request_line};
use crate::metrics::{CloseReason, Counter};
use crate::notes::note;
use crate::parking::Interest;
use std::io::{self, ErrorKind, IoSlice};
use std::time::{Duration, Instant};

/// A body of which a part has arrived. The input holds the head, then the decoded bytes that are
/// kept, then bytes that are not decoded yet.
#[derive(Debug)]
pub(super) struct Body {
    message: Message,
    decoder: BodyDecoder,
    /// The handler takes it. Otherwise it is dropped.
    is_kept: bool,
    /// Bytes that arrived in the current window.
    came: u64,
}

impl Body {
    /// The protocol version for the response.
    pub(super) fn version(&self) -> Version {
        self.message.version
    }

    /// Bytes that arrived in the current window.
    pub(super) fn came(&self) -> u64 {
        self.came
    }
}

impl Connection {
    /// Looks for a whole head in the buffer, then reads. Most peers are silent until they have
    /// their response, so one that was answered just now is not read again if its socket was empty.
    pub(super) fn read_head(&mut self, was_answered: bool, context: &mut Context) -> Option<Next> {
        let (mut more, mut again) = (true, false);
        loop {
            if let Some(message) = self.scan(context) {
                return Some(Next::Serve(message));
            }
            if !matches!(self.phase, Phase::Idle | Phase::Head(_)) {
                return None;
            }
            if !context.reads() || was_answered && self.has_read_all {
                return Some(Next::Park(self.interest_in_more()));
            }
            if !more {
                return Some(Next::Park(Interest::Readable));
            }
            self.is_unseen = false;
            match self.read(context) {
                // A short read has emptied the socket. After two full reads it is another
                // connection's turn, because a client can send empty lines without end.
                Ok(_) => more = !self.has_read_all && !std::mem::replace(&mut again, true),
                Err(next) => return next,
            }
        }
    }

    /// Reads once and returns the number of bytes. The error is the result for
    /// [`Connection::advance`] if there are none.
    pub(super) fn read(&mut self, context: &mut Context) -> Result<usize, Option<Next>> {
        let read = loop {
            match self.socket.read(&mut context.read_buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(self.end_early(context)),
            Ok(count) => {
                context.recorder.count_many(Counter::BytesReceived, count as u64);
                self.has_read_all = count < context.read_buffer.len();
                let bytes = &context.read_buffer[..count];
                if self.input.push(bytes, &context.config.memory).is_err() {
                    // The client can retry when others hold less memory. The error response needs
                    // none of these bytes.
                    self.answer_fault(Fault::NoMemory, Instant::now(), context);
                    self.input.clear();
                    return Err(None);
                }
                Ok(count)
            }
            Err(error) => Err(Some(read_failed(&error))),
        }
    }

    /// Looks for the end of a head in the buffer. Returns the message if it is whole. Otherwise the
    /// phase says what is missing.
    fn scan(&mut self, context: &mut Context) -> Option<Message> {
        let mut begins_now = false;
        if let Phase::Idle = self.phase {
            self.input.consume(empty_lines(self.input.as_slice()));
            if matches!(self.input.as_slice(), b"" | b"\r") {
                return None;
            }
            self.phase = Phase::Head(HeadScanner::default());
            self.has_asked = true;
            begins_now = true;
        }
        let Phase::Head(scanner) = &mut self.phase else {
            return None;
        };
        let Config { head_bytes: head, target_bytes: target, http09, .. } = *context.config;
        match scanner.scan(self.input.as_slice(), HeadLimits { head, target, http09 }) {
            Scan::Partial => {
                // Most heads arrive in one piece, which saves asking for the time.
                if begins_now {
                    self.deadline = Instant::now() + context.config.header_timeout;
                }
                None
            }
            Scan::Complete(head) => {
                let (version, framing) = (scanner.version(), scanner.framing());
                if self.origin.looks_at_heads() {
                    self.origin.begin(&self.input.as_slice()[..head], context);
                }
                if begins_now {
                    context.recorder.head_came_whole();
                } else {
                    context.recorder.head_read(self.head_time(context));
                }
                let version = version.unwrap_or(Version::Http11);
                framing
                    .and_then(|framing| self.begin_message(head, version, framing, context))
                    .unwrap_or_else(|fault| self.refuse_reading(fault, context))
            }
            Scan::Refused(fault) => self.refuse_reading(fault, context),
        }
    }

    /// The time since the first byte of this head.
    fn head_time(&self, context: &Context) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        context.config.header_timeout.saturating_sub(left)
    }

    fn refuse_reading(&mut self, fault: Fault, context: &mut Context) -> Option<Message> {
        self.answer_fault(fault, Instant::now(), context);
        None
    }

    /// The head is complete. The message is whole, unless more of its body has to arrive.
    fn begin_message(
        &mut self,
        head: usize,
        version: Version,
        framing: Framing,
        context: &mut Context,
    ) -> Result<Option<Message>, Fault> {
        let (queued, blocked, waiting) = (None, None, None);
        let (body, holds_body_back) = (0, false);
        let patience = self.patience(head, context);
        let message =
            Message { head, body, version, holds_body_back, patience, queued, blocked, waiting };
        if framing.body == BodyLength::Known(0) {
            self.phase = Phase::Idle;
            return Ok(Some(message));
        }
        let wanted = self.body_limit(head, context);
        let is_kept = wanted > 0;
        let most = if is_kept { wanted } else { context.config.body_bytes };
        let decoder = BodyDecoder::new(framing.body, most)?;
        if framing.expects_continue && self.input.as_slice().len() == head {
            if !is_kept {
                // The final response replaces the interim one (RFC 9110, section 10.1.1).
                self.phase = Phase::Idle;
                return Ok(Some(Message { holds_body_back: true, ..message }));
            }
            self.send_continue();
        }
        self.phase = Phase::Body(Body { message, decoder, is_kept, came: 0 });
        let message = self.decode()?;
        if message.is_none() {
            self.deadline = Instant::now() + context.config.body_timeout;
        }
        Ok(message)
    }

    /// The bytes of a body that the handler takes for the head in the buffer. It is 0 for a
    /// malformed head, which a worker refuses.
    fn body_limit(&self, head: usize, context: &Context) -> u64 {
        if !context.accepts.takes_bodies() {
            return 0;
        }
        let (line, _) = split_request_line(&self.input.as_slice()[..head]);
        RequestLine::parse(line).map_or(0, |line| context.accepts.body_limit(&line.target.path))
    }

    /// The patience in the head in the buffer, if it is shorter than the configured one.
    fn patience(&self, head: usize, context: &Context) -> Option<Duration> {
        let Config { patience: most, patience_field, .. } = &*context.config;
        let own = patience(&self.input.as_slice()[..head], patience_field.as_deref()?)?;
        most.is_none_or(|most| own < most).then_some(own)
    }

    /// Asks for the body (RFC 9110, section 15.2.1). If the socket has no room, the client sends it
    /// unasked after a while.
    fn send_continue(&self) {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        match self.socket.write(&[IoSlice::new(interim)]) {
            Ok(sent) if sent == interim.len() => {}
            // A client would take the next response for the rest of this one.
            Ok(_) => _ = self.socket.shutdown_write(),
            Err(error) => note!(Debug, "cannot ask for a body: {error}"),
        }
    }

    /// Decodes the buffered bytes of a body; returns the message once it is whole.
    fn decode(&mut self) -> Result<Option<Message>, Fault> {
        let Phase::Body(Body { message, decoder, is_kept, .. }) = &mut self.phase else {
            return Ok(None);
        };
        let at = message.head + message.body;
        if *is_kept {
            let decoded = decoder.decode(self.input.behind_mut(at))?;
            self.input.remove(at + decoded.data, decoded.taken - decoded.data);
            message.body += decoded.data;
        } else {
            let taken = decoder.skip(self.input.behind_mut(at))?;
            self.input.remove(at, taken);
        }
        if !decoder.is_done() {
            return Ok(None);
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Body(body) => Ok(Some(body.message)),
            _ => Ok(None),
        }
    }

    /// Reads more of a body until the message is whole or the socket is empty.
    pub(super) fn read_body(&mut self, context: &mut Context) -> Option<Next> {
        let mut left = config::LINGER_BYTES;
        loop {
            if !context.reads() || left == 0 {
                return Some(Next::Park(Interest::Readable));
            }
            let count = match self.read(context) {
                Ok(count) => count,
                Err(next) => return next,
            };
            left = left.saturating_sub(count);
            if let Phase::Body(body) = &mut self.phase {
                body.came += count as u64;
            }
            match self.decode() {
                Ok(Some(message)) => return Some(Next::Serve(message)),
                Ok(None) => {}
                Err(fault) => {
                    self.answer_fault(fault, Instant::now(), context);
                    return None;
                }
            }
            if self.has_read_all {
                return Some(Next::Park(Interest::Readable));
            }
        }
    }

    /// The peer closed its sending side while a request was expected or incomplete.
    fn end_early(&mut self, context: &mut Context) -> Option<Next> {
        match self.phase {
            Phase::Idle => return Some(Next::Close(CloseReason::PeerClosed)),
            Phase::Announced if self.input.is_empty() => {
                return Some(Next::Close(CloseReason::PeerClosed));
            }
            Phase::Announced => return Some(Next::Close(CloseReason::ProxyHeader)),
            _ => {}
        }
        // It may still read, so it gets a response.
        self.answer_fault(Fault::Truncated, Instant::now(), context);
        None
    }

    /// A window of the body timeout has ended, and everything that had arrived was read. The
    /// connection continues if that was enough.
    pub(super) fn end_body_window(&mut self, context: &mut Context) -> Next {
        let Config { min_rate, body_timeout, .. } = *context.config;
        let least = (min_rate as f64 * body_timeout.as_secs_f64()) as u64;
        match &mut self.phase {
            Phase::Body(body) if body.came >= least.max(1) => body.came = 0,
            _ => return self.refuse_partial(context),
        }
        self.deadline = Instant::now() + body_timeout;
        Next::Park(Interest::Readable)
    }

    /// Drops what still arrives, until the peer closes.
    pub(super) fn linger(&mut self, context: &mut Context) -> Next {
        let Phase::Lingering { left, reason } = &mut self.phase else {
            return Next::Park(Interest::Readable);
        };
        if !context.reads() {
            return Next::Park(Interest::Readable);
        }
        loop {
            let read = self.socket.read(&mut context.read_buffer);
            let count = *read.as_ref().unwrap_or(&0);
            context.recorder.count_many(Counter::BytesReceived, count as u64);
            match read {
                Ok(0) => return Next::Close(*reason),
                Ok(count) if count >= *left => return Next::Close(*reason),
                Ok(count) => *left -= count,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return Next::Park(Interest::Readable),
                    _ => return Next::Close(*reason),
                },
            }
        }
    }
}

fn read_failed(error: &io::Error) -> Next {
    match error.kind() {
        ErrorKind::WouldBlock => Next::Park(Interest::Readable),
        _ => Next::Close(CloseReason::PeerGone),
    }
}
