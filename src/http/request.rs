//! A request head from its bytes.

use super::fault::Fault;
use super::framing::Framing;
use super::head::is_simple;
use super::target::Target;
use super::{Version, is_token_byte};
use crate::config;
use httparse::Header;

/// Room for the parsed header fields of one request; it lives on the caller's stack.
pub type FieldSlots<'b> = [Header<'b>; config::HEADER_FIELDS];

/// Empty [`FieldSlots`].
pub const NO_FIELDS: FieldSlots<'static> = [httparse::EMPTY_HEADER; config::HEADER_FIELDS];

/// The methods that are known; any other is answered by 501.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "RFC 9110, section 9.3, and RFC 5789 say what each means")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

impl Method {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => return None,
        })
    }
}

/// A request whose head was read and found good.
#[derive(Debug)]
pub struct Request<'b> {
    /// What is to be done.
    pub method: Method,
    /// What it is to be done to.
    pub target: Target<'b>,
    /// The version the client spoke.
    pub version: Version,
    /// Where the message ends and what follows it.
    pub framing: Framing,
    fields: &'b [Header<'b>],
}

impl<'b> Request<'b> {
    /// Reads a whole head, as [`super::head::HeadScanner`] delimits it.
    pub fn parse(head: &'b [u8], slots: &'b mut FieldSlots<'b>) -> Result<Self, Fault> {
        let (line, fields) = split_request_line(head);
        // The preface of HTTP/2 (RFC 9113, section 3.4) is made to look like a request to us.
        if line == b"PRI * HTTP/2.0" {
            return Err(Fault::NotHttp);
        }
        let mut words = line.split(|&byte| byte == b' ');
        let words = [words.next(), words.next(), words.next(), words.next()];
        let (method, target, version) = match words {
            [Some(method), Some(target), Some(version), None] => {
                (method, target, parse_version(version)?)
            }
            [Some(method), Some(target), None, None] if is_simple(line) => {
                (method, target, Version::Http09)
            }
            _ => return Err(Fault::RequestLine),
        };
        if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
            return Err(Fault::RequestLine);
        }
        let target = Target::parse(target, method, version)?;
        let method = Method::parse(method).ok_or(Fault::Method)?;
        // A simple request has no fields; what is behind it is not a request's.
        let fields = if version == Version::Http09 { b"\r\n" } else { fields };
        let fields = match httparse::parse_headers(fields, slots) {
            Ok(httparse::Status::Complete((_, fields))) => fields,
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Ok(httparse::Status::Partial) | Err(_) => return Err(Fault::HeaderField),
        };
        let framing = Framing::of(version, fields)?;
        Ok(Self { method, target, version, framing, fields })
    }

    /// The value of the first field of that name, in any case, without white space around it.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields_named(name).next()
    }

    /// True where a field may ask for anything but the whole: a range, or a condition.
    pub fn is_conditional(&self) -> bool {
        let is_condition =
            |name: &str| name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("If-"));
        self.fields
            .iter()
            .any(|field| is_condition(field.name) || field.name.eq_ignore_ascii_case("Range"))
    }

    /// The values of all fields of that name, in the order they came.
    pub fn fields_named(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    }
}

/// The first line of `head` without its line end, and the bytes behind it.
pub fn split_request_line(head: &[u8]) -> (&[u8], &[u8]) {
    let end = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
    let line = &head[..end];
    (line.strip_suffix(b"\r").unwrap_or(line), &head[(end + 1).min(head.len())..])
}

/// `HTTP/1.x`; any other major version is refused by 505.
fn parse_version(bytes: &[u8]) -> Result<Version, Fault> {
    match bytes {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            if *major == b'1' {
                Ok(Version::Http11)
            } else {
                Err(Fault::Version)
            }
        }
        _ => Err(Fault::RequestLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(head: &str) -> Result<(Method, Version), Fault> {
        let mut slots = NO_FIELDS;
        Request::parse(head.as_bytes(), &mut slots).map(|r| (r.method, r.version))
    }

    #[test]
    fn request_lines() {
        use Method::{Get, Head};
        use Version::{Http10, Http11};
        let rows = [
            ("GET testfile HTTP/1.0\r\n\r\n", Ok((Get, Http10))),
            ("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", Ok((Head, Http11))),
            ("GET / HTTP/1.0\n\n", Ok((Get, Http10))),
            ("GET / HTTP/1.7\r\nHost: h\r\n\r\n", Ok((Get, Http11))),
            ("GET / HTTP/2.0\r\n\r\n", Err(Fault::Version)),
            ("GET / HTTP/0.9\r\n\r\n", Err(Fault::Version)),
            ("GET  / HTTP/1.0\r\n\r\n", Err(Fault::RequestLine)),
            ("GET / a HTTP/1.0\r\n\r\n", Err(Fault::RequestLine)),
            ("GET / http/1.0\r\n\r\n", Err(Fault::RequestLine)),
            ("get / HTTP/1.0\r\n\r\n", Err(Fault::Method)),
            ("BREW / HTTP/1.0\r\n\r\n", Err(Fault::Method)),
            ("GET testfile HTTP/1.1\r\nHost: h\r\n\r\n", Err(Fault::Target)),
        ];
        for (head, expected) in rows {
            assert_eq!(parse(head), expected, "{head:?}");
        }
    }

    #[test]
    fn malformed_fields_are_refused() {
        let many = "A: b\r\n".repeat(config::HEADER_FIELDS + 1);
        let rows = [
            ("Host : h\r\n", Fault::HeaderField),
            ("Host: h\r\n folded\r\n", Fault::HeaderField),
            ("Host: h\r\n\tfolded\r\n", Fault::HeaderField),
            (" Host: h\r\n", Fault::HeaderField),
            ("Host: h\r\nno colon\r\n", Fault::HeaderField),
            ("Host: h\r\n: empty\r\n", Fault::HeaderField),
            ("Host: h\r\nA: b\0c\r\n", Fault::HeaderField),
            ("Host: h\r\nA: b\rc\r\n", Fault::HeaderField),
            ("Host: h\r\nA\u{e9}: b\r\n", Fault::HeaderField),
            (many.as_str(), Fault::HeadTooLarge),
        ];
        for (fields, expected) in rows {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(parse(&head), Err(expected), "{fields:?}");
        }
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let mut slots = NO_FIELDS;
        let head = b"GET / HTTP/1.0\r\nAccept:  a \r\nACCEPT: b\r\n\r\n";
        let request = Request::parse(head, &mut slots).expect("a good head");
        assert_eq!(request.field("accept"), Some(&b"a"[..]));
        assert_eq!(request.fields_named("Accept").count(), 2);
        assert_eq!(request.field("host"), None);
    }

    /// Pieces of which requests, good and bad, are made.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(b"GET ".to_vec()),
            Just(b"/a%2e".to_vec()),
            Just(b" HTTP/1.1\r\n".to_vec()),
            Just(b"Host: a\r\n".to_vec()),
            Just(b"Content-Length: 5\r\n".to_vec()),
            Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..12),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_a_fault(pieces in prop::collection::vec(piece(), 0..12)) {
            let head = pieces.concat();
            let mut slots = NO_FIELDS;
            match Request::parse(&head, &mut slots) {
                Ok(request) => {
                    let hosts = request.fields_named("host").count();
                    prop_assert!(hosts == 1 || request.version < Version::Http11);
                    prop_assert!(request.target.path.segments().all(|name| name != b".."));
                }
                Err(fault) => prop_assert!(fault.status().class() >= 4),
            }
        }
    }
}
