//! HTTP/1.x as values: bytes in, values out and back; no sockets, files, threads or clocks.

pub mod status;
pub mod fault;
pub mod target;
pub mod framing;
pub mod head;
pub mod body;
pub mod request;
#[cfg(any(feature = "files", feature = "internals"))]
pub mod conditional;
#[cfg(any(feature = "files", feature = "internals"))]
pub mod coding;
#[cfg(any(feature = "files", feature = "internals"))]
pub mod range;
pub mod response;

/// The protocol version that a request was made in, and that its response carries.
///
/// A later minor version is treated as 1.1 (RFC 9110, section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/0.9: a line `GET target`, answered by the bare content (RFC 1945, section 4.1).
    Http09,
    /// HTTP/1.0: one request a connection, unless asked otherwise.
    Http10,
    /// HTTP/1.1: connections persist, unless asked otherwise.
    Http11,
}

impl Version {
    /// The version as a status line spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http09 => "HTTP/0.9",
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// True for the bytes of a `token` (RFC 9110, section 5.6.2): methods and field names.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
