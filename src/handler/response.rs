//! The response of a handler.

use super::body::{Body, Stream};
use crate::html;
use crate::http::fault::Fault;
use crate::http::response::is_valid_field;
use crate::http::status::Status;
use crate::lane::Wait;
use crate::notes::note;
use bytes::Bytes;
use std::fmt;

/// A response: status, header fields and content.
///
/// The server adds `Date`, `Server`, `Connection` and the fields that frame the content.
#[derive(Debug)]
#[must_use]
pub struct Response {
    status: Status,
    fields: Vec<u8>,
    /// Serialised fields that other responses share.
    prepared: Bytes,
    body: Body,
    /// The response is not ready: the server calls the handler again at the end of this wait.
    wait: Option<Wait>,
    /// The response does not give the length of the content.
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

/// Why a header field cannot be added.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldError {
    /// The name is not a token, or the value has a control character (RFC 9110, section 5).
    Malformed(String),
    /// The server sets this field itself: see [`OWN_FIELDS`].
    Own(String),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(name) => write!(
                f,
                "cannot add the header field {name:?}: its name or its value is malformed (names \
                 are tokens; values have no line ends and no other control characters)"
            ),
            Self::Own(name) => {
                write!(f, "cannot add the header field {name}: the server sets it itself")
            }
        }
    }
}

impl std::error::Error for FieldError {}

impl Response {
    /// A response without content.
    pub fn new(status: Status) -> Self {
        Self::prepared(status, &Bytes::new())
    }

    /// A response without content, with fields that are already serialised.
    pub(crate) fn prepared(status: Status, fields: &Bytes) -> Self {
        let (fields, prepared) = (Vec::new(), fields.clone());
        let (body, wait, is_of_unknown_length) = (Body::Empty, None, false);
        Self { status, fields, prepared, body, wait, is_of_unknown_length }
    }

    /// Sets the fields that are already serialised. They follow the others.
    pub(crate) fn with_prepared(mut self, fields: &Bytes) -> Self {
        self.prepared = fields.clone();
        self
    }

    /// 200 with content of this media type. A malformed media type is logged and left out.
    pub fn ok(media_type: &str, content: impl Into<Bytes>) -> Self {
        Self::new(Status::OK)
            .with_known_field("Content-Type", media_type)
            .with_body(Body::Bytes(content.into()))
    }

    /// 200 with plain text.
    pub fn text(content: impl Into<Bytes>) -> Self {
        Self::ok("text/plain; charset=utf-8", content)
    }

    /// 200 with HTML.
    pub fn html(content: impl Into<Bytes>) -> Self {
        Self::ok("text/html; charset=utf-8", content)
    }

    /// A 200 of the given media type, made while it is sent.
    pub fn stream(media_type: &str, content: Stream) -> Self {
        Self::ok(media_type, "").with_body(content)
    }

    /// A 200 of JSON that is already serialised.
    pub fn json(content: impl Into<Bytes>) -> Self {
        Self::ok("application/json", content)
    }

    /// A small error page, which looks like a listing. `explanation` is plain text that says what
    /// is wrong.
    pub fn error(status: Status, explanation: &str) -> Self {
        Self::error_beneath(None, status, explanation)
    }

    /// The same with a link to `parent`, a relative reference.
    pub(crate) fn error_beneath(
        parent: Option<&'static str>,
        status: Status,
        explanation: &str,
    ) -> Self {
        let (code, reason) = (status.code(), status.reason());
        let (explanation, style) = (html::escape(explanation), html::STYLE);
        let up = parent.map_or(String::new(), |parent| {
            format!("<p><a href=\"{parent}\">Parent directory</a></p>\n")
        });
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\">\
             <title>{code} {reason}</title>\n<style>{style}</style></head>\n\
             <body><h1>{code} {reason}</h1>\n<p>{explanation}</p>\n{up}</body></html>\n"
        );
        Self::new(status)
            .with_known_field("Content-Type", "text/html; charset=utf-8")
            .with_body(Body::Bytes(page.into()))
    }

    /// The error page of a fault.
    pub fn fault(fault: Fault) -> Self {
        Self::error(fault.status(), fault.explain())
    }

    /// Not a response yet: the connection waits, without a worker, for the result of
    /// [`Lane::enter`]. Then the server calls the handler again.
    ///
    /// [`Lane::enter`]: crate::lane::Lane::enter
    pub fn deferred(wait: Wait) -> Self {
        let response =
            Self::busy("The server is still preparing this response. Try again shortly.");
        Self { wait: Some(wait), ..response }
    }

    /// 503 that asks the client to try again in a second.
    pub(crate) fn busy(explanation: &str) -> Self {
        Self::error(Status::SERVICE_UNAVAILABLE, explanation).with_retry_after()
    }

    /// Asks the client to try again in a second.
    pub(crate) fn with_retry_after(self) -> Self {
        self.with_known_field("Retry-After", "1")
    }

    /// Takes the wait of a response that is not ready.
    pub(crate) fn take_wait(&mut self) -> Option<Wait> {
        self.wait.take()
    }

    /// Adds a header field after those with the same name.
    ///
    /// # Errors
    ///
    /// If the field is malformed, or the server sets it itself (see [`OWN_FIELDS`]).
    pub fn with_field(mut self, name: &str, value: &str) -> Result<Self, FieldError> {
        self.add_field(name, value)?;
        Ok(self)
    }

    /// Adds a field that the program itself defines. A field that cannot be added is a programming
    /// error: it is logged and left out.
    pub(crate) fn with_known_field(mut self, name: &str, value: &str) -> Self {
        if let Err(error) = self.add_field(name, value) {
            note!(Error, "{error}");
        }
        self
    }

    fn add_field(&mut self, name: &str, value: &str) -> Result<(), FieldError> {
        if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(FieldError::Own(name.to_owned()));
        }
        if !is_valid_field(name, value.as_bytes()) {
            return Err(FieldError::Malformed(name.to_owned()));
        }
        for part in [name, ": ", value, "\r\n"] {
            self.fields.extend_from_slice(part.as_bytes());
        }
        Ok(())
    }

    /// Leaves out the length of the content: for HEAD, if the length is expensive to compute.
    #[cfg(feature = "files")]
    pub(crate) fn without_length(self) -> Self {
        Self { is_of_unknown_length: true, ..self }
    }

    /// True if the response does not give the length of the content.
    pub(crate) fn is_of_unknown_length(&self) -> bool {
        self.is_of_unknown_length
    }

    /// Sets the status.
    pub fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// Sets the content.
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
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

    /// The added header fields, serialised.
    #[cfg(feature = "files")]
    pub(crate) fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// The added header fields, the prepared ones, and the content.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Bytes, Body) {
        (self.fields, self.prepared, self.body)
    }
}
