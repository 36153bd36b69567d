//! Why a request is refused: one enum that gives the status, the page's text and the log's word.

use super::status::Status;

/// What is wrong with a request, or with the moment at which it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Bytes that no HTTP/1.x request starts with: binary noise, a TLS hello.
    NotHttp,
    /// A first line that is not `method SP target SP version`.
    RequestLine,
    /// A target with a byte, an escape or a form that is not allowed.
    Target,
    /// A header field that is malformed, folded, or has a forbidden byte.
    HeaderField,
    /// No `Host`, several, or a malformed one.
    Host,
    /// `Content-Length` or `Transfer-Encoding` that leave the body's end in doubt.
    Framing,
    /// A malformed chunk in a chunked body.
    Chunk,
    /// The client ended its side in the middle of a request.
    Truncated,
    /// The request head did not come in time.
    HeadTimeout,
    /// The request body did not come in time.
    BodyTimeout,
    /// A body longer than this server drops.
    BodyTooLarge,
    /// A target longer than the limit.
    TargetTooLong,
    /// A head longer than the limit, or with too many fields.
    HeadTooLarge,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// The handler panicked.
    Panic,
    /// A method that this server does not know.
    Method,
    /// A transfer coding that this server does not know.
    Coding,
    /// No place in the queue.
    QueueFull,
    /// Waited in the queue for too long.
    Expired,
    /// The client's address has all the connections that it may have.
    TooManyConnections,
    /// No memory for the request or its response.
    NoMemory,
    /// A major version other than 1.
    Version,
}

impl Fault {
    /// True where the same request may well succeed later.
    pub fn is_passing(self) -> bool {
        self.status() == Status::SERVICE_UNAVAILABLE
    }

    /// The status that the fault asks for.
    pub fn status(self) -> Status {
        match self {
            Self::NotHttp
            | Self::RequestLine
            | Self::Target
            | Self::HeaderField
            | Self::Host
            | Self::Framing
            | Self::Chunk
            | Self::Truncated => Status::BAD_REQUEST,
            Self::HeadTimeout | Self::BodyTimeout => Status::REQUEST_TIMEOUT,
            Self::BodyTooLarge => Status::CONTENT_TOO_LARGE,
            Self::TargetTooLong => Status::URI_TOO_LONG,
            Self::HeadTooLarge => Status::HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => Status::EXPECTATION_FAILED,
            Self::Panic => Status::INTERNAL_SERVER_ERROR,
            Self::Method | Self::Coding => Status::NOT_IMPLEMENTED,
            Self::QueueFull | Self::Expired | Self::TooManyConnections | Self::NoMemory => {
                Status::SERVICE_UNAVAILABLE
            }
            Self::Version => Status::VERSION_NOT_SUPPORTED,
        }
    }

    /// A sentence for the person at the other end.
    pub fn explain(self) -> &'static str {
        match self {
            Self::NotHttp => "The bytes sent are not an HTTP request.",
            Self::RequestLine => {
                "The first line must be a method, a target and a version, one space between them."
            }
            Self::Target => "The request target is malformed or names nothing that can be served.",
            Self::HeaderField => "A header field is malformed.",
            Self::Host => "An HTTP/1.1 request needs exactly one valid Host field.",
            Self::Framing => "The length of the request's body is malformed or ambiguous.",
            Self::Chunk => "The request's chunked body is malformed.",
            Self::Truncated => "The request ended before its head or body was complete.",
            Self::HeadTimeout => "The request's head took too long to arrive.",
            Self::BodyTimeout => "The request's body took too long to arrive.",
            Self::BodyTooLarge => "The request's body is larger than this server accepts.",
            Self::TargetTooLong => "The request target is longer than this server accepts.",
            Self::HeadTooLarge => {
                "The request's header fields are larger than this server accepts."
            }
            Self::Expectation => "This server meets no expectation but 100-continue.",
            Self::Panic => "The server failed while it handled the request.",
            Self::Method => "This server does not know the request's method.",
            Self::Coding => "This server does not know the request's transfer coding.",
            Self::QueueFull => "All workers are busy and the queue is full. Try again shortly.",
            Self::Expired => "The request waited too long for a worker. Try again shortly.",
            Self::NoMemory => "The server holds as much as it may. Try again shortly.",
            Self::TooManyConnections => "Your address has as many connections as it may have.",
            Self::Version => "This server speaks HTTP/1.0 and HTTP/1.1.",
        }
    }
}
