//! What goes wrong in a handler, and what turns into a response.

use super::body::Body;
use super::response::Response;
use crate::http::status::Status;
use std::fmt;

/// What a handler may return: anything that turns into a response.
pub trait IntoResponse {
    /// The response.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

/// The bare status for 1xx to 3xx, and a small page for an error.
impl IntoResponse for Status {
    fn into_response(self) -> Response {
        match self.class() {
            4.. => Response::error(self, ""),
            _ => Response::new(self),
        }
    }
}

/// A 200 of plain text.
impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

/// A 200 of plain text.
impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

/// A 200 of bytes (`application/octet-stream`).
impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Response::new(Status::OK)
            .with_known_field("Content-Type", "application/octet-stream")
            .with_body(Body::Bytes(self.into()))
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

/// Why a handler could not answer: the status and the words for the client, and what the log is
/// told beside that.
///
/// `?` makes one of any error: a 500 that tells the client nothing and the log everything.
pub struct Error {
    status: Status,
    explanation: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this status; `explanation` is plain text for the client.
    pub fn new(status: Status, explanation: impl Into<String>) -> Self {
        Self { status, explanation: explanation.into(), cause: None }
    }

    /// Adds what brought it about, for the log alone.
    #[must_use]
    pub fn with_cause(self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// The status that the client gets.
    pub fn status(&self) -> Status {
        self.status
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self::new(Status::INTERNAL_SERVER_ERROR, "The server failed while it handled the request.")
            .with_cause(cause)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            log::error!("a handler answers {}: {cause}", self.status.code());
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
