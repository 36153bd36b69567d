//! The reasons to refuse a request, with their status and their text for the client.

use super::status::Status;

/// Why the server refuses a request: an error in the request, or a limit of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The bytes are not HTTP/1.x, for example a TLS handshake.
    NotHttp,
    /// The first line is not `method SP target SP version`.
    RequestLine,
    /// The target has a byte, a percent-encoding or a form that is not allowed.
    Target,
    /// A header field is malformed, folded, or has a forbidden byte.
    HeaderField,
    /// `Host` is missing, repeated or malformed.
    Host,
    /// `Content-Length` and `Transfer-Encoding` leave the end of the body in doubt.
    Framing,
    /// A chunk or the trailer section of a chunked body is malformed.
    Chunk,
    /// The client closed its sending side before the request was complete.
    Truncated,
    /// The request head did not arrive in time.
    HeadTimeout,
    /// The request body did not arrive in time.
    BodyTimeout,
    /// The body exceeds its limit.
    BodyTooLarge,
    /// The target exceeds its limit.
    TargetTooLong,
    /// The head exceeds its limit, or has too many fields.
    HeadTooLarge,
    /// `Expect` has a value other than `100-continue`.
    Expectation,
    /// The handler panicked.
    Panic,
    /// The server does not implement the method.
    Method,
    /// The server does not implement the transfer coding.
    Coding,
    /// The queue of requests is full.
    QueueFull,
    /// The request waited in the queue for too long.
    Expired,
    /// The client's address has as many connections as the limit allows.
    TooManyConnections,
    /// The memory budget has no room for the request or its response.
    NoMemory,
    /// The major version is not 1.
    Version,
}

impl Fault {
    /// True if the cause is temporary, so that the same request may succeed later.
    pub fn is_passing(self) -> bool {
        self.status() == Status::SERVICE_UNAVAILABLE
    }

    /// True if the queue is the cause. The request was read whole then, so its connection can stay
    /// open.
    pub fn is_of_queue(self) -> bool {
        matches!(self, Self::QueueFull | Self::Expired)
    }

    /// The status of the response.
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

    /// The text of the error page, for people: what is wrong, and what to do about it.
    pub fn explain(self) -> &'static str {
        match self {
            Self::NotHttp => {
                "This is not an HTTP/1.x request. Does the client speak TLS or HTTP/2 to this port?"
            }
            Self::RequestLine => {
                "The request line is malformed. It must be: method, space, target, space, version."
            }
            Self::Target => {
                "The request target is malformed, or its form does not suit the method and version."
            }
            Self::HeaderField => {
                "A header field is malformed. It must be a name, a colon and a value on one line."
            }
            Self::Host => "An HTTP/1.1 request needs exactly one valid Host field.",
            Self::Framing => {
                "The length of the request body is malformed or ambiguous. Send one Content-Length \
                 or, in HTTP/1.1, one Transfer-Encoding that ends in chunked."
            }
            Self::Chunk => "The chunked request body is malformed.",
            Self::Truncated => "The connection ended before the request was complete.",
            Self::HeadTimeout => "The request head took too long to arrive.",
            Self::BodyTimeout => "The request body took too long to arrive.",
            Self::BodyTooLarge => "The request body is larger than this server accepts.",
            Self::TargetTooLong => "The request target is longer than this server accepts.",
            Self::HeadTooLarge => {
                "The header fields are too many or larger than this server accepts."
            }
            Self::Expectation => "This server supports no expectation other than 100-continue.",
            Self::Panic => "The server failed while it processed the request.",
            Self::Method => "This server does not implement the request method.",
            Self::Coding => {
                "This server does not implement the transfer coding of the request body."
            }
            Self::QueueFull => "The server is busy and its queue is full. Try again shortly.",
            Self::Expired => {
                "The server is busy: the request waited too long in its queue. Try again shortly."
            }
            Self::NoMemory => "The server has reached its memory limit. Try again shortly.",
            Self::TooManyConnections => {
                "Your address has too many open connections, or requests in progress. Wait until \
                 some have ended, then try again."
            }
            Self::Version => "This server supports HTTP/1.0 and HTTP/1.1 only.",
        }
    }
}
