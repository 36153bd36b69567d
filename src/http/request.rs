//! A request head from its bytes.

use super::fault::Fault;
use super::framing::elements;
use super::head::is_simple;
use super::target::{Target, is_authority};
use super::{Version, is_token_byte};
use crate::config;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use httparse::Header;
use std::borrow::Cow;

/// Room for the parsed header fields of one request; it lives on the caller's stack.
#[derive(Debug)]
pub struct FieldSlots<'b>([Header<'b>; config::HEADER_FIELDS]);

impl Default for FieldSlots<'_> {
    fn default() -> Self {
        Self([httparse::EMPTY_HEADER; config::HEADER_FIELDS])
    }
}

/// The methods that are registered and in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "RFC 9110, section 9.3, and RFC 5789 say what each means")]
#[non_exhaustive]
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
    /// Any other: see [`Request::method_name`]. It is answered by 501, unless the handler wants it
    /// (`Accepts::with_unknown_methods`).
    Other,
}

impl Method {
    /// The method of this name, whose case matters.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }
}

/// Who sent a request, and how it came to the worker that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The number of the worker that serves it, from 1.
    pub worker: usize,
    /// How long it waited in the queue.
    pub waited: Duration,
    /// How long its client waits from now on, where that is known.
    pub time_left: Option<Duration>,
}

impl Arrival {
    /// Of a request that came by no connection.
    pub const NONE: Self = Self {
        peer: SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        worker: 0,
        waited: Duration::ZERO,
        time_left: None,
    };
}

/// A whole request: its head was read and found good, and so much of its body is there as the
/// handler takes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request<'b> {
    /// What is to be done.
    pub method: Method,
    /// What it is to be done to.
    pub target: Target<'b>,
    /// The version the client spoke.
    pub version: Version,
    /// The client wants the connection kept (RFC 9112, section 9.3).
    pub(crate) persistent: bool,
    method_name: &'b [u8],
    fields: &'b [Header<'b>],
    body: &'b [u8],
    arrival: Arrival,
    /// What the parameters of a route's pattern stand for, by their names.
    params: &'b [(&'b str, &'b str)],
}

impl<'b> Request<'b> {
    /// Reads a whole head, as [`super::head::HeadScanner`] delimits it.
    pub fn parse(head: &'b [u8], slots: &'b mut FieldSlots<'b>) -> Result<Self, Fault> {
        let (line, fields) = split_request_line(head);
        let RequestLine { method, target, version } = RequestLine::parse(line)?;
        let (method, method_name) = (Method::parse(method), method);
        // A simple request has no fields; what is behind it is not a request's.
        let fields = if version == Version::Http09 { b"\r\n" } else { fields };
        let fields = match httparse::parse_headers(fields, &mut slots.0) {
            Ok(httparse::Status::Complete((_, fields))) => fields,
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Ok(httparse::Status::Partial) | Err(_) => return Err(Fault::HeaderField),
        };
        let persistent = is_persistent(version, fields)?;
        let (body, arrival, params) = (&b""[..], Arrival::NONE, &[]);
        Ok(Self { method, target, version, persistent, method_name, fields, body, arrival, params })
    }

    /// Adds the body, and how the request came.
    #[must_use]
    pub fn with_body(self, body: &'b [u8], arrival: Arrival) -> Self {
        Self { body, arrival, ..self }
    }

    /// The request as it is for a handler that is mounted under the first `segments` segments of
    /// its path, by a pattern with these parameters.
    #[cfg(feature = "routes")]
    pub(crate) fn routed<'a>(
        &'a self,
        segments: usize,
        params: &'a [(&'a str, &'a str)],
    ) -> Request<'a> {
        let target = Target { path: self.target.path.beneath(segments), ..self.target };
        Request { target, params, ..*self }
    }

    /// The request without its body.
    #[cfg(feature = "routes")]
    pub(crate) fn without_body(self) -> Self {
        Self { body: b"", ..self }
    }

    /// What the parameter `name` of the route's pattern stands for in the path, decoded: for
    /// `/items/{id}` the `7` of `/items/7`. Never empty; none where the pattern has no such
    /// parameter.
    pub fn param(&self, name: &str) -> Option<&'b str> {
        self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// All parameters of the route's pattern, from left to right.
    pub fn params(&self) -> &'b [(&'b str, &'b str)] {
        self.params
    }

    /// The method as it was sent: a token (RFC 9110, section 9.1), whose case matters.
    pub fn method_name(&self) -> &'b str {
        // A token is ASCII.
        std::str::from_utf8(self.method_name).unwrap_or_default()
    }

    /// The decoded segments of the path, as text; none where one of them is not UTF-8.
    pub fn segments(&self) -> Option<Vec<&str>> {
        self.target.path.segments().map(|segment| std::str::from_utf8(segment).ok()).collect()
    }

    /// The pairs of the query, decoded as `application/x-www-form-urlencoded` (WHATWG URL,
    /// section 5.1): `+` is a space, and what is not UTF-8 is replaced.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'b, str>, Cow<'b, str>)> {
        form_urlencoded::parse(self.target.query.unwrap_or_default())
    }

    /// The value of the first pair of the query with this name.
    pub fn query(&self, name: &str) -> Option<Cow<'b, str>> {
        self.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The body, without its transfer coding; empty where the handler takes none (see
    /// `Accepts`).
    pub fn body(&self) -> &'b [u8] {
        self.body
    }

    /// The address at the other end of the connection: of the client, or of a proxy.
    pub fn peer(&self) -> SocketAddr {
        self.arrival.peer
    }

    /// The number of the worker that serves it, from 1.
    pub fn worker(&self) -> usize {
        self.arrival.worker
    }

    /// How long it waited in the queue.
    pub fn waited(&self) -> Duration {
        self.arrival.waited
    }

    /// How long its client waits for the response, from the call of the handler on; none where
    /// the server was not told (`Config::patience`).
    pub fn time_left(&self) -> Option<Duration> {
        self.arrival.time_left
    }

    /// All header fields, in the order they came; values are without white space around them.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.fields.iter().map(|field| (field.name, field.value.trim_ascii()))
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

/// A request's first line.
#[derive(Debug)]
pub struct RequestLine<'b> {
    /// The method, a token.
    pub method: &'b [u8],
    /// The target.
    pub target: Target<'b>,
    /// The version; 0.9 where there is none.
    pub version: Version,
}

impl<'b> RequestLine<'b> {
    /// Reads a line, without its line end (RFC 9112, section 3).
    pub fn parse(line: &'b [u8]) -> Result<Self, Fault> {
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
        if method.len() > config::METHOD_BYTES {
            return Err(Fault::Method);
        }
        Ok(Self { method, target: Target::parse(target, method, version)?, version })
    }
}

/// True where the client wants the connection kept (RFC 9112, section 9.3). A request of HTTP/1.1
/// without one valid `Host` is refused (section 3.2).
fn is_persistent(version: Version, fields: &[Header<'_>]) -> Result<bool, Fault> {
    let (mut has_host, mut close, mut keep_alive) = (false, false, false);
    for field in fields {
        match field.name.len() {
            4 if field.name.eq_ignore_ascii_case("host") => {
                let is_repeated = std::mem::replace(&mut has_host, true);
                if is_repeated || !is_authority(field.value.trim_ascii()) {
                    return Err(Fault::Host);
                }
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                for option in elements(field.value) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
    }
    if version == Version::Http11 && !has_host {
        return Err(Fault::Host);
    }
    Ok(!close && (version == Version::Http11 || keep_alive))
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
        let mut slots = FieldSlots::default();
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
            ("get / HTTP/1.0\r\n\r\n", Ok((Method::Other, Http10))),
            ("BREW / HTTP/1.0\r\n\r\n", Ok((Method::Other, Http10))),
            ("GET testfile HTTP/1.1\r\nHost: h\r\n\r\n", Err(Fault::Target)),
        ];
        for (head, expected) in rows {
            assert_eq!(parse(head), expected, "{head:?}");
        }
    }

    #[test]
    fn persistence() {
        use Version::{Http10, Http11};
        let rows = [
            (Http11, "Host: h\r\n", true),
            (Http11, "Host: h\r\nconnection: close\r\n", false),
            (Http11, "Host: h\r\nConnection: keep-alive\r\nConnection: close\r\n", false),
            (Http11, "Host: h\r\nConnection: , close\r\n", false),
            (Http11, "Host: h\r\nConnection: ,\r\n", true),
            (Http10, "Connection: ,keep-alive,\r\n", true),
            (Http10, "", false),
            (Http10, "Connection: foo, Keep-Alive\r\n", true),
            (Http10, "Connection: keep-alive, close\r\n", false),
        ];
        for (version, fields, expected) in rows {
            let head = format!("GET / {}\r\n{fields}\r\n", version.as_str());
            let mut slots = FieldSlots::default();
            let got = Request::parse(head.as_bytes(), &mut slots).map(|of| of.persistent);
            assert_eq!(got, Ok(expected), "{version:?} {fields:?}");
        }
    }

    #[test]
    fn hosts() {
        let rows = [
            ("", Err(Fault::Host)),
            ("Host: h\r\nHost: h\r\n", Err(Fault::Host)),
            ("Host: a b\r\n", Err(Fault::Host)),
            ("Host: h\r\n", Ok((Method::Get, Version::Http11))),
            ("Host:\r\n", Ok((Method::Get, Version::Http11))),
        ];
        for (fields, expected) in rows {
            assert_eq!(parse(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), expected, "{fields:?}");
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
        let mut slots = FieldSlots::default();
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
            let mut slots = FieldSlots::default();
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
