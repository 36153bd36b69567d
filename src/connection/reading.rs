//! Who reads, frames: the head of a message and its body, up to where the message ends.
//!
//! A worker steps through here as well, on what is buffered; it never reads from a socket.

use super::{Connection, Context, Message, Next, Phase};
use crate::config::{self, Config};
use crate::http::Version;
use crate::http::body::BodyDecoder;
use crate::http::fault::Fault;
use crate::http::framing::{BodyLength, Framing};
use crate::http::head::{HeadLimits, HeadScanner, Scan, empty_lines};
use crate::http::request::{RequestLine, split_request_line};
use crate::metrics::{CloseReason, Counter};
use crate::notes::note;
use crate::parking::Interest;
use std::io::{self, ErrorKind, IoSlice};
use std::time::{Duration, Instant};

/// A body of which a part has come. Behind the head in the input is what is kept of it, and behind
/// that what was not looked at yet.
#[derive(Debug)]
pub(super) struct Body {
    message: Message,
    decoder: BodyDecoder,
    /// The handler wants it.
    is_kept: bool,
    /// Bytes that came in the current window.
    came: u64,
}

impl Body {
    /// The version to answer in.
    pub(super) fn version(&self) -> Version {
        self.message.version
    }

    /// Bytes that came in the current window.
    pub(super) fn came(&self) -> u64 {
        self.came
    }
}

impl Connection {
    /// Looks for a whole head in what is buffered, then in what has come.
    pub(super) fn read_head(&mut self, context: &mut Context) -> Option<Next> {
        let (mut more, mut again) = (true, false);
        loop {
            match self.scan(context) {
                Scanned::Partial => {}
                Scanned::PhaseChanged => return None,
                Scanned::Whole(message) => return Some(Next::Serve(message)),
            }
            if !context.reads() {
                return Some(Next::Park(self.interest_in_more()));
            }
            if !more {
                return Some(Next::Park(Interest::Readable));
            }
            self.is_unseen = false;
            match self.read(context) {
                // A short read has emptied the socket; after two full ones, others get their turn
                // (empty lines can come without end).
                Ok(_) => more = !self.has_read_all && !std::mem::replace(&mut again, true),
                Err(next) => return next,
            }
        }
    }

    /// Reads what has come, once, and gives its length. The error is how to go on where there is
    /// nothing, in the terms of [`Connection::advance`].
    fn read(&mut self, context: &mut Context) -> Result<usize, Option<Next>> {
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
                    // The client may try again when others hold less. The refusal needs nothing of
                    // what has come.
                    self.answer_fault(Fault::NoMemory, Instant::now(), context);
                    self.input.clear();
                    return Err(None);
                }
                Ok(count)
            }
            Err(error) => Err(Some(read_failed(&error))),
        }
    }

    /// Looks for the end of a head in what is buffered.
    fn scan(&mut self, context: &mut Context) -> Scanned {
        let mut begins_now = false;
        if let Phase::Idle = self.phase {
            self.input.consume(empty_lines(self.input.as_slice()));
            if matches!(self.input.as_slice(), b"" | b"\r") {
                return Scanned::Partial;
            }
            self.phase = Phase::Head(HeadScanner::default());
            self.has_asked = true;
            begins_now = true;
        }
        let Phase::Head(scanner) = &mut self.phase else {
            return Scanned::PhaseChanged;
        };
        let Config { head_bytes: head, target_bytes: target, http09, .. } = *context.config;
        match scanner.scan(self.input.as_slice(), HeadLimits { head, target, http09 }) {
            Scan::Partial => {
                // Most heads come whole, and the clock need not be asked.
                if begins_now {
                    self.deadline = Instant::now() + context.config.header_timeout;
                }
                Scanned::Partial
            }
            Scan::Complete(head) => {
                let (version, framing) = (scanner.version(), scanner.framing());
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

    /// The time since the first byte of the head that is being read.
    fn head_time(&self, context: &Context) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        context.config.header_timeout.saturating_sub(left)
    }

    fn refuse_reading(&mut self, fault: Fault, context: &mut Context) -> Scanned {
        self.answer_fault(fault, Instant::now(), context);
        Scanned::PhaseChanged
    }

    /// The head is complete. The message is, too, unless its body has still to come.
    fn begin_message(
        &mut self,
        head: usize,
        version: Version,
        framing: Framing,
        context: &mut Context,
    ) -> Result<Scanned, Fault> {
        let message = Message { head, body: 0, version, holds_body_back: false, queued: None };
        if framing.body == BodyLength::Known(0) {
            self.phase = Phase::Idle;
            return Ok(Scanned::Whole(message));
        }
        let wanted = self.body_limit(head, context);
        let is_kept = wanted > 0;
        let most = if is_kept { wanted } else { context.config.body_bytes };
        let decoder = BodyDecoder::new(framing.body, most)?;
        if framing.expects_continue && self.input.as_slice().len() == head {
            if !is_kept {
                // The final status comes instead of 100 (RFC 9110, section 10.1.1).
                self.phase = Phase::Idle;
                return Ok(Scanned::Whole(Message { holds_body_back: true, ..message }));
            }
            self.send_continue();
        }
        self.phase = Phase::Body(Body { message, decoder, is_kept, came: 0 });
        match self.decode()? {
            Some(message) => Ok(Scanned::Whole(message)),
            None => {
                self.deadline = Instant::now() + context.config.body_timeout;
                Ok(Scanned::PhaseChanged)
            }
        }
    }

    /// The bytes of a body that the handler takes for the head that is buffered. A head that is
    /// malformed has none: its worker refuses it.
    fn body_limit(&self, head: usize, context: &Context) -> u64 {
        if !context.accepts.takes_bodies() {
            return 0;
        }
        let (line, _) = split_request_line(&self.input.as_slice()[..head]);
        RequestLine::parse(line).map_or(0, |line| context.accepts.body_limit(&line.target.path))
    }

    /// Asks for the body (RFC 9110, section 15.2.1). Where there is no room for that, the client
    /// sends it after a while without being asked.
    fn send_continue(&self) {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        match self.socket.write(&[IoSlice::new(interim)]) {
            Ok(sent) if sent == interim.len() => {}
            // What follows would be read as the rest of it.
            Ok(_) => _ = self.socket.shutdown_write(),
            Err(error) => note!(Debug, "cannot ask for a body: {error}"),
        }
    }

    /// Decodes what is buffered of a body; gives the message where that completes it.
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
        let message = *message;
        self.phase = Phase::Idle;
        Ok(Some(message))
    }

    /// Reads what has come of a body: all of it makes the message whole.
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

    /// The peer has ended its side while a request was awaited or under way.
    fn end_early(&mut self, context: &mut Context) -> Option<Next> {
        if self.is_idle() {
            return Some(Next::Close(CloseReason::PeerClosed));
        }
        // It may have ended its sending side alone, and deserves to be told.
        self.answer_fault(Fault::Truncated, Instant::now(), context);
        None
    }

    /// A window of the body timeout has ended, and what has come was read: goes on if it is enough.
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

    /// Drops what still comes, until the peer ends its side too.
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

/// What a look at the input found.
enum Scanned {
    /// More has to come.
    Partial,
    Whole(Message),
    /// A body has to come, or the answer is on its way.
    PhaseChanged,
}

fn read_failed(error: &io::Error) -> Next {
    match error.kind() {
        ErrorKind::WouldBlock => Next::Park(Interest::Readable),
        _ => Next::Close(CloseReason::PeerGone),
    }
}
