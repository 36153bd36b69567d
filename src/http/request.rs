//! Parses a request head.

use super::fault::Fault;
use super::framing::elements;
use super::head::is_simple;
use super::target::{Target, is_authority};
use super::{Version, is_token_byte};
use crate::config;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
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

/// Stands for the peer of a UNIX socket, which has no address. No peer of a TCP socket has it.
pub const UNIX_PEER: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Where a request comes from, which worker serves it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival<'b> {
    /// The address at the other end of the connection: the client's, or the last proxy's.
    pub peer: SocketAddr,
    /// The address of the client, as far as trusted proxies tell it.
    pub client: SocketAddr,
    /// The identifier of the request; empty if it has none.
    pub id: &'b str,
    /// The number of the worker that serves the request, from 1; 0 if none does, because the
    /// handler needs no time for it.
    pub worker: usize,
    /// How long the request waited in the queue.
    pub waited: Duration,
    /// How much longer the client waits, if the server knows.
    pub time_left: Option<Duration>,
}

impl Arrival<'_> {
    /// For a request that does not come from a connection.
    pub const NONE: Self = Self {
        peer: UNIX_PEER,
        client: UNIX_PEER,
        id: "",
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
    arrival: Arrival<'b>,
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
        Ok(Self {
            method,
            target,
            version,
            persistent,
            method_name,
            fields,
            body: b"",
            arrival: Arrival::NONE,
            params: &[],
        })
    }

    /// Adds the body and the arrival.
    #[must_use]
    #[doc(hidden)]
    pub fn with_body(self, body: &'b [u8], arrival: Arrival<'b>) -> Self {
        Self { body, arrival, ..self }
    }

    /// The request for a handler of what is beneath the first `segments` segments of the path. They
    /// become part of the path's [`prefix`](super::target::DecodedPath::prefix). It is what
    /// `Routes::mount` does, for those who choose among handlers themselves.
    ///
    /// ```
    /// use cws::{Request, Response};
    ///
    /// let files = |request: &Request<'_>| {
    ///     Response::text(String::from_utf8_lossy(request.target.path.as_bytes()).into_owned())
    /// };
    /// let handler = move |request: &Request<'_>| {
    ///     match request.target.path.segments().next() {
    ///         // For /files/a/b it is a/b.
    ///         Some(b"files") => files(&request.beneath(1)),
    ///         _ => Response::text("see /files/\n"),
    ///     }
    /// };
    /// # fn is_handler(_: impl cws::Handler) {}
    /// # is_handler(handler);
    /// ```
    pub fn beneath(&self, segments: usize) -> Request<'_> {
        let target = Target { path: self.target.path.beneath(segments), ..self.target };
        Request { target, ..*self }
    }

    /// The request for a handler that is mounted under the first `segments` segments of the path,
    /// by a pattern with these parameters.
    #[cfg(feature = "routes")]
    pub(crate) fn routed<'a>(
        &'a self,
        segments: usize,
        params: &'a [(&'a str, &'a str)],
    ) -> Request<'a> {
        Request { params, ..self.beneath(segments) }
    }

    /// The request without its body.
    #[cfg(feature = "routes")]
    pub(crate) fn without_body(&self) -> Request<'b> {
        Request { body: b"", target: self.target.clone(), ..*self }
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

    /// The address at the other end of the connection: the client's, or that of the last proxy
    /// before the server. It is `0.0.0.0:0` for a peer of a UNIX socket, which has no address.
    pub fn peer(&self) -> SocketAddr {
        self.arrival.peer
    }

    /// The address of the client: what a trusted proxy says in a PROXY header
    /// (`Config::proxy_protocol`) or in a field (`Config::client_address`), otherwise that of the
    /// peer. The last trusted proxy stands for a client whose address it does not tell. An IPv4
    /// address that is mapped into IPv6 is returned as IPv4.
    pub fn client(&self) -> IpAddr {
        self.arrival.client.ip().to_canonical()
    }

    /// The identifier of the request, if requests have one (`Config::request_id`). The access log
    /// has it, and so has the field `X-Request-Id` of the response.
    pub fn request_id(&self) -> Option<&'b str> {
        Some(self.arrival.id).filter(|id| !id.is_empty())
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
mod tests;
