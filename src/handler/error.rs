//! The return values of handlers: conversions to responses, and errors.

use super::body::Body;
use super::response::Response;
use crate::http::status::Status;
use crate::notes::note;
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;

/// Converts the return value of a handler to a response.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not turn into a response",
    note = "these do: `Response`, `Status`, `(Status, _)`, text, bytes, `cws::Error`",
    note = "so does a `Result` of two of them; `?` turns any error into `cws::Error`"
)]
pub trait IntoResponse {
    /// The response.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

/// An error page for 4xx and 5xx, and no content for the rest.
impl IntoResponse for Status {
    fn into_response(self) -> Response {
        match self.class() {
            4.. => Response::error(self, ""),
            _ => Response::new(self),
        }
    }
}

/// 200 with plain text.
impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

/// 200 with plain text.
impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

/// 200 with bytes (`application/octet-stream`).
impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Response::new(Status::OK)
            .with_known_field("Content-Type", "application/octet-stream")
            .with_body(Body::Bytes(self.into()))
    }
}

/// A 200 of bytes (`application/octet-stream`).
impl IntoResponse for Bytes {
    fn into_response(self) -> Response {
        Response::ok("application/octet-stream", self)
    }
}

/// A 200 of plain text.
impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Response {
        Response::text(self.into_owned())
    }
}

/// A 204.
impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new(Status::NO_CONTENT)
    }
}

/// A response with another status.
impl<T: IntoResponse> IntoResponse for (Status, T) {
    fn into_response(self) -> Response {
        self.1.into_response().with_status(self.0)
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(response) => response.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

/// The failure of a handler: a status and an explanation for the client, and a cause for the log.
///
/// The `?` operator converts any error to a 500. The client sees a general text, and the log gets
/// the error.
pub struct Error {
    status: Status,
    explanation: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with this status. `explanation` is plain text for the client.
    pub fn new(status: Status, explanation: impl Into<String>) -> Self {
        Self { status, explanation: explanation.into(), cause: None }
    }

    /// Adds the cause, which goes to the log and not to the client.
    #[must_use]
    pub fn with_cause(self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// The status of the response.
    pub fn status(&self) -> Status {
        self.status
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self::new(
            Status::INTERNAL_SERVER_ERROR,
            "The server failed while it processed the request.",
        )
        .with_cause(cause)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            note!(
                Error,
                "a handler failed, the client gets status {}: {cause}",
                self.status.code()
            );
        }
        Response::error(self.status, &self.explanation)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, explanation, cause } = self;
        f.debug_struct("Error")
            .field("status", status)
            .field("explanation", explanation)
            .field("cause", cause)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.code(), self.explanation)
    }
}
