//! HTTP/1.x as pure functions on bytes and values, without sockets, files, threads or clocks.

pub mod status;
pub mod fault;
pub mod target;
pub mod framing;
pub mod head;
pub mod body;
pub mod request;
pub mod patience;
#[cfg(any(feature = "files", feature = "internals"))]
pub mod conditional;
#[cfg(any(feature = "files", feature = "internals"))]
pub mod coding;
#[cfg(any(feature = "files", feature = "internals"))]
pub mod range;
pub mod response;

/// The protocol version of a request, and of its response.
///
/// A later minor version is treated as 1.1 (RFC 9110, section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/0.9: the request is a line `GET target`, and the response is the content alone
    /// (RFC 1945, section 4.1).
    Http09,
    /// HTTP/1.0: one request per connection, unless the client asks to keep it.
    Http10,
    /// HTTP/1.1: the connection persists, unless one side asks to close it.
    Http11,
}

impl Version {
    /// The version as in a status line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http09 => "HTTP/0.9",
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// True for the bytes of a `token`, such as a method or a field name (RFC 9110, section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
