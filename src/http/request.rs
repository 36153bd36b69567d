//! Parses a request head.

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

/// Storage for the parsed header fields of one request: on the caller's stack if there are few.
#[derive(Debug)]
pub struct FieldSlots<'b> {
    few: [Header<'b>; FEW_FIELDS],
    /// Room for all that are allowed, made for those who need it.
    many: Vec<Header<'b>>,
}

/// Browsers send 10 to 20. All slots are written for each request, so they should not be many more.
const FEW_FIELDS: usize = 24;

/// Copied for each request, which takes fewer instructions than a loop that fills it.
static EMPTY_SLOTS: [Header<'static>; FEW_FIELDS] = [httparse::EMPTY_HEADER; FEW_FIELDS];

impl Default for FieldSlots<'_> {
    fn default() -> Self {
        Self { few: EMPTY_SLOTS, many: Vec::new() }
    }
}

/// The request methods that are registered and in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "RFC 9110, section 9.3, and RFC 5789 define the methods")]
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
    /// Any other method: see [`Request::method_name`]. The server answers 501, unless the handler
    /// accepts such methods (`Accepts::with_unknown_methods`).
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

/// Where a request comes from, which worker serves it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The address of the client, or of the last proxy.
    pub peer: SocketAddr,
    /// The number of the worker that serves the request, from 1; 0 if none does, because the
    /// handler needs no time for it.
    pub worker: usize,
    /// How long the request waited in the queue.
    pub waited: Duration,
    /// How much longer the client waits, if the server knows.
    pub time_left: Option<Duration>,
}

impl Arrival {
    /// For a request that does not come from a connection.
    pub const NONE: Self = Self {
        peer: SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        worker: 0,
        waited: Duration::ZERO,
        time_left: None,
    };
}

/// A complete and valid request, with its body if the handler accepts one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request<'b> {
    /// The method.
    pub method: Method,
    /// The target.
    pub target: Target<'b>,
    /// The protocol version.
    pub version: Version,
    /// The connection persists after the response (RFC 9112, section 9.3).
    pub(crate) persistent: bool,
    method_name: &'b [u8],
    fields: &'b [Header<'b>],
    body: &'b [u8],
    arrival: Arrival,
    /// What the parameters of a route's pattern stand for, by their names.
    params: &'b [(&'b str, &'b str)],
}

impl<'b> Request<'b> {
    /// Parses a complete head, as [`super::head::HeadScanner`] delimits it.
    ///
    /// # Errors
    ///
    /// If the head is malformed, or ends elsewhere than `head`: then scanner and parser would
    /// disagree on where the message ends.
    #[doc(hidden)]
    pub fn parse(head: &'b [u8], slots: &'b mut FieldSlots<'b>) -> Result<Self, Fault> {
        let (line, fields) = split_request_line(head);
        let RequestLine { method, target, version } = RequestLine::parse(line)?;
        let (method, method_name) = (Method::parse(method), method);
        // An HTTP/0.9 request has no fields. What follows its line does not belong to it.
        let fields = if version == Version::Http09 { b"\r\n" } else { fields };
        let FieldSlots { few, many } = slots;
        let parsed = match httparse::parse_headers(fields, few) {
            Err(httparse::Error::TooManyHeaders) => {
                many.resize(config::HEADER_FIELDS, httparse::EMPTY_HEADER);
                httparse::parse_headers(fields, many)
            }
            parsed => parsed,
        };
        let fields = match parsed {
            Ok(httparse::Status::Complete((end, found))) if end == fields.len() => found,
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Ok(_) | Err(_) => return Err(Fault::HeaderField),
        };
        // Behind CONNECT, a client may send the bytes of a tunnel, which must not be taken for
        // requests (RFC 9110, section 9.3.6).
        let persistent = is_persistent(version, fields)? && method != Method::Connect;
        let (body, arrival, params) = (&b""[..], Arrival::NONE, &[]);
        Ok(Self { method, target, version, persistent, method_name, fields, body, arrival, params })
    }

    /// Adds the body and the arrival.
    #[must_use]
    #[doc(hidden)]
    pub fn with_body(self, body: &'b [u8], arrival: Arrival) -> Self {
        Self { body, arrival, ..self }
    }

    /// The request for a handler that is mounted under the first `segments` segments of the path,
    /// by a pattern with these parameters.
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

    /// The decoded value of the parameter `name` of the route's pattern: for `/items/{id}` and the
    /// path `/items/7`, `id` is `7`. A value is never empty. Returns none if the pattern has no
    /// such parameter.
    pub fn param(&self, name: &str) -> Option<&'b str> {
        self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// All parameters of the route's pattern, from left to right.
    pub fn params(&self) -> &'b [(&'b str, &'b str)] {
        self.params
    }

    /// The method as the client sent it: a case-sensitive token (RFC 9110, section 9.1).
    pub fn method_name(&self) -> &'b str {
        // A token is ASCII.
        std::str::from_utf8(self.method_name).unwrap_or_default()
    }

    /// The decoded segments of the path as text; none if one of them is not UTF-8.
    pub fn segments(&self) -> Option<Vec<&str>> {
        self.target.path.segments().map(|segment| std::str::from_utf8(segment).ok()).collect()
    }

    /// The pairs of the query, decoded as `application/x-www-form-urlencoded` (WHATWG URL,
    /// section 5.1): `+` is a space, and invalid UTF-8 is replaced.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'b, str>, Cow<'b, str>)> {
        form_urlencoded::parse(self.target.query.unwrap_or_default())
    }

    /// The value of the first query pair with this name.
    pub fn query(&self, name: &str) -> Option<Cow<'b, str>> {
        self.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The body without its transfer coding; empty if the handler accepts none (see `Accepts`).
    pub fn body(&self) -> &'b [u8] {
        self.body
    }

    /// The address of the client, or of the last proxy before the server.
    pub fn peer(&self) -> SocketAddr {
        self.arrival.peer
    }

    /// The number of the worker that serves the request, from 1; 0 if none does, because the
    /// handler needs no time for it.
    pub fn worker(&self) -> usize {
        self.arrival.worker
    }

    /// How long the request waited in the queue.
    pub fn waited(&self) -> Duration {
        self.arrival.waited
    }

    /// How long the client still waits for the response when the handler is called; none if the
    /// configuration does not say how long clients wait (`Config::patience`).
    pub fn time_left(&self) -> Option<Duration> {
        self.arrival.time_left
    }

    /// All header fields in their order, with the white space around values removed.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.fields.iter().map(|field| (field.name, field.value.trim_ascii()))
    }

    /// The value of the first field with this name, with the white space around it removed. Names
    /// are case-insensitive.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields_named(name).next()
    }

    /// True if the request has a range or a precondition, so that it may not ask for the whole.
    pub fn is_conditional(&self) -> bool {
        let is_condition =
            |name: &str| name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("If-"));
        self.fields
            .iter()
            .any(|field| is_condition(field.name) || field.name.eq_ignore_ascii_case("Range"))
    }

    /// The values of all fields with this name, in their order.
    pub fn fields_named(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    }
}

/// The first line of a request.
#[derive(Debug)]
pub struct RequestLine<'b> {
    /// The method, a token.
    pub method: &'b [u8],
    /// The target.
    pub target: Target<'b>,
    /// The version; HTTP/0.9 if the line has none.
    pub version: Version,
}

impl<'b> RequestLine<'b> {
    /// Parses a line without its line end (RFC 9112, section 3).
    pub fn parse(line: &'b [u8]) -> Result<Self, Fault> {
        // The preface of HTTP/2 looks like a request on purpose (RFC 9113, section 3.4).
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

/// True if the client wants to keep the connection (RFC 9112, section 9.3). An HTTP/1.1 request
/// without exactly one valid `Host` is refused (section 3.2).
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

/// The first line of `head` without its line end, and the bytes that follow.
pub fn split_request_line(head: &[u8]) -> (&[u8], &[u8]) {
    let end = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
    let line = &head[..end];
    (line.strip_suffix(b"\r").unwrap_or(line), &head[(end + 1).min(head.len())..])
}

/// Parses `HTTP/1.x`. Any other major version is refused with 505.
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
    use super::super::framing::BodyLength;
    use super::super::head::{HeadLimits, HeadScanner, Scan};
    use super::*;
    use proptest::prelude::*;

    fn parse(head: &str) -> Result<(Method, Version), Fault> {
        let mut slots = FieldSlots::default();
        Request::parse(head.as_bytes(), &mut slots).map(|r| (r.method, r.version))
    }

    #[test]
    fn request_lines_are_parsed_or_refused() {
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
    fn version_and_connection_field_determine_persistence() {
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
    fn the_bytes_behind_connect_are_not_requests() {
        let head = b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
        let mut slots = FieldSlots::default();
        let request = Request::parse(head, &mut slots).expect("a good head");
        assert!(!request.persistent);
    }

    #[test]
    fn an_http09_request_has_no_fields_and_does_not_persist() {
        let head = b"GET /a\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello";
        let mut slots = FieldSlots::default();
        let request = Request::parse(head, &mut slots).expect("a good head");
        assert_eq!((request.version, request.fields().count()), (Version::Http09, 0));
        assert!(!request.persistent);
    }

    #[test]
    fn a_head_that_ends_early_or_late_is_refused() {
        let head = "POST / HTTP/1.1\r\nHost: h\r\n\r\n";
        for end in 0..head.len() {
            assert!(parse(&head[..end]).is_err(), "{end}");
        }
        for behind in ["\r\n", "\n", "A: b\r\n\r\n", "GET / HTTP/1.1\r\n", "x"] {
            assert_eq!(parse(&format!("{head}{behind}")), Err(Fault::HeaderField), "{behind:?}");
        }
    }

    #[test]
    fn http11_needs_exactly_one_valid_host() {
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
            ("\tHost: h\r\n", Fault::HeaderField),
            ("Host\t: h\r\n", Fault::HeaderField),
            ("Host: h\r\nContent-Length : 5\r\n", Fault::HeaderField),
            ("Host: h\r\nContent-Length: 5\r\n 0\r\n", Fault::HeaderField),
            ("Host: h\r\nTransfer-Encoding:\r\n chunked\r\n", Fault::HeaderField),
            ("Host: h\r\nTransfer-Encoding:\n\tchunked\r\n", Fault::HeaderField),
            ("Host: h\r\n\u{feff}A: b\r\n", Fault::HeaderField),
            ("Host: h\r\nA: b\x7f\r\n", Fault::HeaderField),
            ("Host: h\r\nA: \x0bb\r\n", Fault::HeaderField),
            ("Host: h\r\nA: b\r\r\n", Fault::HeaderField),
            ("Host: h\r\nA:\rB: c\r\n", Fault::HeaderField),
            ("Host: h\r\nA\0: b\r\n", Fault::HeaderField),
            ("Host: h\r\nA\n: b\r\n", Fault::HeaderField),
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
    fn all_fields_are_found_however_many_there_are() {
        let of = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(count));
        for count in [0, 1, FEW_FIELDS, FEW_FIELDS + 1, config::HEADER_FIELDS] {
            let (head, mut slots) = (of(count), FieldSlots::default());
            let request = Request::parse(head.as_bytes(), &mut slots).expect("valid");
            assert_eq!(request.fields_named("a").count(), count);
            assert_eq!(request.fields().count(), count);
        }
        let (head, mut slots) = (of(config::HEADER_FIELDS + 1), FieldSlots::default());
        let refused = Request::parse(head.as_bytes(), &mut slots).map(|request| request.method);
        assert_eq!(refused, Err(Fault::HeadTooLarge));
    }

    #[test]
    fn field_names_are_case_insensitive() {
        let mut slots = FieldSlots::default();
        let head = b"GET / HTTP/1.0\r\nAccept:  a \r\nACCEPT: b\r\n\r\n";
        let request = Request::parse(head, &mut slots).expect("a good head");
        assert_eq!(request.field("accept"), Some(&b"a"[..]));
        assert_eq!(request.fields_named("Accept").count(), 2);
        assert_eq!(request.field("host"), None);
    }

    /// A piece of a valid or invalid request.
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

    /// A field line that frames a message, or that a lenient recipient takes for one that does.
    fn framing_line() -> impl Strategy<Value = String> {
        let start = prop::sample::select(vec!["", "", "", "", " ", "\t", "\r", "X-"]);
        let name = prop::sample::select(vec![
            "Content-Length",
            "CONTENT-LENGTH",
            "Transfer-Encoding",
            "transfer-encoding",
            "Transfer_Encoding",
            "Expect",
            "A",
        ]);
        let colon =
            prop::sample::select(vec![": ", ": ", ": ", ":", ":\t", " :", ":\r\n ", "=", ""]);
        let value = prop::sample::select(vec![
            "5",
            "5",
            "05",
            "6",
            "5, 5",
            "+5",
            "",
            "chunked",
            "chunked",
            "Chunked,",
            "gzip, chunked",
            "chunked\x0b",
            "\u{e9}",
            "100-continue",
        ]);
        let end = prop::sample::select(vec![
            "\r\n", "\r\n", "\r\n", "\n", " \r\n", "\r", "\r\r\n", "\0\r\n",
        ]);
        (start, name, colon, value, end).prop_map(|parts| {
            let (start, name, colon, value, end) = parts;
            [start, name, colon, value, end].concat()
        })
    }

    proptest! {
        /// The acceptor delimits a message by what the scanner finds, and a worker serves what the
        /// parser finds. A difference between the two is a means of request smuggling.
        #[test]
        fn scanner_and_parser_find_the_same_framing_fields(
            version in prop::sample::select(vec!["HTTP/1.1", "HTTP/1.0", "HTTP/1.7"]),
            lines in prop::collection::vec(framing_line(), 0..4),
        ) {
            let head = format!("POST / {version}\r\nHost: a\r\n{}\r\n", lines.concat());
            let limits = HeadLimits { head: 1 << 16, target: 100, http09: true };
            let mut scanner = HeadScanner::default();
            let end = match scanner.scan(head.as_bytes(), limits) {
                Scan::Complete(end) => end,
                Scan::Partial | Scan::Refused(_) => return Ok(()),
            };
            let mut slots = FieldSlots::default();
            let request = Request::parse(&head.as_bytes()[..end], &mut slots);
            let (Ok(framing), Ok(request)) = (scanner.framing(), request) else { return Ok(()) };
            let lengths: Vec<&[u8]> = request.fields_named("Content-Length").collect();
            let codings: Vec<&[u8]> = request.fields_named("Transfer-Encoding").collect();
            match framing.body {
                BodyLength::Chunked => {
                    prop_assert!(lengths.is_empty() && codings.len() == 1);
                    prop_assert!(request.version == Version::Http11);
                }
                BodyLength::Known(length) => {
                    prop_assert!(codings.is_empty());
                    prop_assert_eq!(length == 0, lengths.is_empty());
                    let is_it = |value: &&[u8]| matches!(
                        (length, *value), (5, b"5" | b"05") | (6, b"6")
                    );
                    prop_assert!(lengths.iter().all(is_it));
                }
            }
        }

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
