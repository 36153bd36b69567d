//! Request to response: the trait, the response it gives, and the back-end delay.

use crate::config::SMALL_FILE;
use crate::html;
use crate::http::fault::Fault;
use crate::http::request::Request;
use crate::http::response::is_valid_field;
use crate::http::status::Status;
use crate::lane::Wait;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Answers requests; called by all workers at once.
///
/// It runs on a worker and holds it while it runs: that is the service time. A panic is caught:
/// the client gets a 500, and the worker goes on.
pub trait Handler: Send + Sync + 'static {
    /// The response to a request. The content of a response to HEAD is not sent.
    fn handle(&self, request: &Request<'_>) -> Response;

    /// The system is out of descriptors: lets go of those that are held for speed alone.
    fn give_way(&self) {}

    /// Lets go of what nobody asks for any more. A thread that may wait calls it about once a
    /// second.
    fn tend(&self) {}

    /// Header fields, each with its line end, for the responses that the server makes itself: its
    /// refusals.
    fn common_fields(&self) -> Bytes {
        Bytes::new()
    }
}

impl<F> Handler for F
where
    F: Fn(&Request<'_>) -> Response + Send + Sync + 'static,
{
    fn handle(&self, request: &Request<'_>) -> Response {
        self(request)
    }
}

/// A response: a status, header fields, content.
///
/// `Date`, `Server`, `Content-Length` and `Connection` are the server's to add.
#[derive(Debug)]
pub struct Response {
    status: Status,
    fields: Vec<u8>,
    /// Fields that were serialised before, and that other responses share.
    prepared: Bytes,
    body: Body,
    /// It is not the response yet: the handler is to be asked again when this is over.
    wait: Option<Wait>,
    /// It is not told how long the content would be.
    is_of_unknown_length: bool,
}

/// Fields that the server sets itself: those that frame the message, `Date` and `Server`.
pub const OWN_FIELDS: &[&str] = &[
    "Connection",
    "Content-Length",
    "Date",
    "Keep-Alive",
    "Server",
    "Trailer",
    "Transfer-Encoding",
];

/// The content of a response.
#[derive(Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a file.
    File(FileSlice),
    /// Bytes that are made as the peer takes them.
    Stream(Stream),
    /// One after another.
    Sequence(VecDeque<Body>),
}

/// Content of a known length that is made piece by piece, the next one when the last is sent: by
/// the thread that sends it, so a piece must be quick to make, and none may wait for anything.
pub struct Stream {
    left: u64,
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl Stream {
    /// Content of `length` bytes in all, from these pieces.
    pub fn new(length: u64, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { left: length, pieces: Box::new(pieces) }
    }

    /// The next piece with bytes in it; none when all were given, or when there are fewer than
    /// were announced. What is beyond the announced length is cut off.
    pub(crate) fn next_piece(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut piece = self.pieces.find(|piece| !piece.is_empty())?;
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= piece.len() as u64;
        Some(piece)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("left", &self.left).finish_non_exhaustive()
    }
}

/// A stretch of an open file.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<File>,
    /// Its first byte to send.
    pub offset: u64,
    /// The number of bytes to send.
    pub length: u64,
}

impl Body {
    /// True where some of it is still to be read or made, which can fail.
    pub fn may_fail(&self) -> bool {
        match self {
            Self::Empty | Self::Bytes(_) => false,
            Self::File(_) | Self::Stream(_) => true,
            Self::Sequence(parts) => parts.iter().any(Self::may_fail),
        }
    }

    /// The bytes of memory that it holds: content in memory that is shared with others is theirs,
    /// unless it is so small that a copy would be no matter.
    pub(crate) fn held(&self) -> u64 {
        match self {
            Self::Bytes(bytes) if bytes.len() <= SMALL_FILE as usize || bytes.is_unique() => {
                bytes.len() as u64
            }
            Self::Empty | Self::File(_) | Self::Bytes(_) => 0,
            Self::Stream(_) => size_of::<Stream>() as u64,
            Self::Sequence(parts) => parts.iter().map(Self::held).sum(),
        }
    }

    /// The number of bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(slice) => slice.length,
            Self::Stream(stream) => stream.left,
            Self::Sequence(parts) => parts.iter().map(Self::length).sum(),
        }
    }
}

impl Response {
    /// A response without content.
    pub fn new(status: Status) -> Self {
        Self::prepared(status, &Bytes::new())
    }

    /// A response without content that has fields which were serialised before.
    pub(crate) fn prepared(status: Status, fields: &Bytes) -> Self {
        let (fields, prepared) = (Vec::new(), fields.clone());
        let (body, wait, is_of_unknown_length) = (Body::Empty, None, false);
        Self { status, fields, prepared, body, wait, is_of_unknown_length }
    }

    /// Sets the fields that were serialised before; they come behind the others.
    pub(crate) fn with_prepared(mut self, fields: &Bytes) -> Self {
        self.prepared = fields.clone();
        self
    }

    /// A 200 with content of the given media type.
    pub fn ok(media_type: &str, content: impl Into<Bytes>) -> Self {
        Self::new(Status::OK)
            .with_field("Content-Type", media_type)
            .with_body(Body::Bytes(content.into()))
    }

    /// A small page that says what was wrong; `explanation` is plain text.
    pub fn error(status: Status, explanation: &str) -> Self {
        let (code, reason) = (status.code(), status.reason());
        let explanation = html::escape(explanation);
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <title>{code} {reason}</title></head>\n\
             <body><h1>{code} {reason}</h1>\n<p>{explanation}</p></body></html>\n"
        );
        Self::new(status)
            .with_field("Content-Type", "text/html; charset=utf-8")
            .with_body(Body::Bytes(page.into()))
    }

    /// The page for a fault.
    pub fn fault(fault: Fault) -> Self {
        Self::error(fault.status(), fault.explain())
    }

    /// No response yet: the connection waits, without a worker, for what [`Lane::enter`] told to
    /// wait for; then the handler is asked again.
    ///
    /// [`Lane::enter`]: crate::lane::Lane::enter
    pub fn deferred(wait: Wait) -> Self {
        let response = Self::busy("The server is busy with what you asked for. Try again shortly.");
        Self { wait: Some(wait), ..response }
    }

    /// A 503 that asks to come back in a second.
    pub(crate) fn busy(explanation: &str) -> Self {
        Self::error(Status::SERVICE_UNAVAILABLE, explanation).with_field("Retry-After", "1")
    }

    /// What it waits for, if it is no response yet.
    pub(crate) fn take_wait(&mut self) -> Option<Wait> {
        self.wait.take()
    }

    /// Adds a header field.
    ///
    /// # Panics
    ///
    /// If the field is malformed or the server's own to set (see [`OWN_FIELDS`]), which only a
    /// mistake in the handler can bring about.
    pub fn with_field(mut self, name: &str, value: &str) -> Self {
        assert!(is_valid_field(name, value.as_bytes()), "a malformed field {name}: {value:?}");
        let is_own = OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name));
        assert!(!is_own, "{name} is the server's own to set");
        for part in [name, ": ", value, "\r\n"] {
            self.fields.extend_from_slice(part.as_bytes());
        }
        self
    }

    /// Has it say nothing of the length of its content: for HEAD, where that is dear to find out.
    pub(crate) fn without_length(self) -> Self {
        Self { is_of_unknown_length: true, ..self }
    }

    /// True where its length is not to be told.
    pub(crate) fn is_of_unknown_length(&self) -> bool {
        self.is_of_unknown_length
    }

    /// Sets the content.
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The content.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The header fields that were added, serialised.
    pub(crate) fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// The serialised header fields, those that were prepared before, and the content.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Bytes, Body) {
        (self.fields, self.prepared, self.body)
    }
}

/// A handler behind a back-end that takes its time: parse, delay, respond.
///
/// The delay is slept where the inner handler found what was asked for (200, 206 and 304), as a
/// database lookup would take it; what is refused or redirected needs no back-end.
#[derive(Debug)]
pub struct Delay<H> {
    delay: Duration,
    inner: H,
}

impl<H: Handler> Delay<H> {
    /// Puts a back-end of this service time behind `inner`.
    pub fn new(delay: Duration, inner: H) -> Self {
        Self { delay, inner }
    }
}

impl<H: Handler> Handler for Delay<H> {
    fn handle(&self, request: &Request<'_>) -> Response {
        let response = self.inner.handle(request);
        let found = [Status::OK, Status::PARTIAL_CONTENT, Status::NOT_MODIFIED];
        let found = found.contains(&response.status);
        if found && !self.delay.is_zero() {
            thread::sleep(self.delay);
        }
        response
    }

    fn give_way(&self) {
        self.inner.give_way();
    }

    fn tend(&self) {
        self.inner.tend();
    }

    fn common_fields(&self) -> Bytes {
        self.inner.common_fields()
    }
}
