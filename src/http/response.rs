//! Writes the head of a response.

use super::Version;
use super::status::Status;

/// The contents of a response head.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a> {
    /// The version of the request.
    pub version: Version,
    /// The status code.
    pub status: Status,
    /// Serialised header fields, each with its line end.
    pub fields: [&'a [u8]; 2],
    /// How the head gives the length of the content.
    pub length: Length,
    /// The server closes the connection after this response.
    pub close: bool,
    /// Write a `Server` field.
    pub server_field: bool,
}

/// How a response gives the length of its content (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// In bytes.
    Known(u64),
    /// By the chunked transfer coding.
    Chunked,
    /// Not at all: the status has no content, the request is HEAD, or the end of the connection
    /// delimits the content.
    Untold,
}

/// The value of `Server`.
const SERVER: &str = concat!("cws/", env!("CARGO_PKG_VERSION"));

impl ResponseHead<'_> {
    /// Appends the head and its empty line to `into`. `date` is the current time as an IMF-fixdate.
    pub fn write_to(&self, date: &[u8], into: &mut Vec<u8>) {
        if self.version == Version::Http09 {
            // An HTTP/0.9 response has no head.
            return;
        }
        into.extend_from_slice(self.version.as_str().as_bytes());
        let mut number = itoa::Buffer::new();
        let code = number.format(self.status.code()).as_bytes();
        push(into, [b" ", code, b" ", self.status.reason().as_bytes()]);
        if self.server_field {
            push(into, [b"\r\nServer: ", SERVER.as_bytes()]);
        }
        push(into, [b"\r\nDate: ", date]);
        into.extend_from_slice(b"\r\n");
        push(into, self.fields);
        match self.length {
            _ if self.status.forbids_content() => {}
            Length::Known(length) => {
                into.extend_from_slice(b"Content-Length: ");
                into.extend_from_slice(number.format(length).as_bytes());
                into.extend_from_slice(b"\r\n");
            }
            Length::Chunked => into.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Length::Untold => {}
        }
        into.extend_from_slice(match (self.close, self.version) {
            (true, _) => b"Connection: close\r\n\r\n",
            (false, Version::Http10) => b"Connection: keep-alive\r\n\r\n",
            (false, _) => b"\r\n",
        });
    }
}

fn push<const N: usize>(into: &mut Vec<u8>, parts: [&[u8]; N]) {
    for part in parts {
        into.extend_from_slice(part);
    }
}

/// True if `name` and `value` form exactly one field: no byte ends it early or starts another.
pub fn is_valid_field(name: &str, value: &[u8]) -> bool {
    let value_byte = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    !name.is_empty() && name.bytes().all(super::is_token_byte) && value.iter().all(value_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, status: Status, close: bool) -> String {
        let mut bytes = Vec::new();
        ResponseHead {
            version,
            status,
            fields: [b"A: ", b"b\r\n"],
            length: Length::Known(1234567890),
            close,
            server_field: true,
        }
        .write_to(b"now", &mut bytes);
        String::from_utf8(bytes).expect("ASCII")
    }

    #[test]
    fn a_head_has_the_fields_of_its_version_and_status() {
        let server = format!("Server: {SERVER}\r\nDate: now\r\nA: b\r\n");
        let length = "Content-Length: 1234567890\r\n";
        assert_eq!(
            head(Version::Http11, Status::OK, false),
            format!("HTTP/1.1 200 OK\r\n{server}{length}\r\n")
        );
        assert_eq!(
            head(Version::Http10, Status::OK, false),
            format!("HTTP/1.0 200 OK\r\n{server}{length}Connection: keep-alive\r\n\r\n")
        );
        assert_eq!(
            head(Version::Http11, Status::NOT_FOUND, true),
            format!("HTTP/1.1 404 Not Found\r\n{server}{length}Connection: close\r\n\r\n")
        );
        assert_eq!(
            head(Version::Http11, Status::NOT_MODIFIED, false),
            format!("HTTP/1.1 304 Not Modified\r\n{server}\r\n")
        );
    }

    #[test]
    fn fields_that_would_split_a_response_are_invalid() {
        assert!(is_valid_field("Location", b"/a%0d"));
        assert!(!is_valid_field("Location", b"/a\r\nSet-Cookie: b"));
        assert!(!is_valid_field("Bad Name", b"a"));
        assert!(!is_valid_field("", b"a"));
    }
}
