//! Requests, responses and statuses of the `http` crate, for handlers that were written for it.

use crate::handler::OWN_FIELDS;
use crate::handler::{Accepts, Body, Error, FieldError, Handler, IntoResponse, Response};
use crate::http::Version;
use crate::http::request::Request;
use crate::http::status::Status;
use crate::http::target::Form;
use crate::http::target::SEGMENT;
use crate::routes::Endpoint;
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use bytes::Bytes;
use percent_encoding::percent_encode;
use std::fmt;

/// The request with its borrowed body. The client's address is an extension of the type
/// [`SocketAddr`](std::net::SocketAddr). In a mounted handler, the path is the part below the
/// prefix.
impl<'b> TryFrom<&Request<'b>> for ::http::Request<&'b [u8]> {
    /// If the `http` crate does not accept a part of the request, such as a path with a bare `<`.
    type Error = ::http::Error;

    fn try_from(request: &Request<'b>) -> Result<Self, ::http::Error> {
        let mut converted = ::http::Request::new(request.body());
        *converted.method_mut() = ::http::Method::from_bytes(request.method_name().as_bytes())?;
        *converted.uri_mut() = uri(request)?;
        *converted.version_mut() = match request.version {
            Version::Http09 => ::http::Version::HTTP_09,
            Version::Http10 => ::http::Version::HTTP_10,
            Version::Http11 => ::http::Version::HTTP_11,
        };
        *converted.headers_mut() = request.try_into()?;
        converted.extensions_mut().insert(request.peer());
        Ok(converted)
    }
}

/// The request with a copy of its body. The rest is as in the borrowed form.
impl TryFrom<&Request<'_>> for ::http::Request<Bytes> {
    /// If the `http` crate does not accept a part of the request, such as a path with a bare `<`.
    type Error = ::http::Error;

    fn try_from(request: &Request<'_>) -> Result<Self, ::http::Error> {
        let borrowed: ::http::Request<&[u8]> = request.try_into()?;
        Ok(borrowed.map(Bytes::copy_from_slice))
    }
}

/// All header fields, in their original order.
impl TryFrom<&Request<'_>> for HeaderMap {
    /// If the `http` crate does not accept a field.
    type Error = ::http::Error;

    fn try_from(request: &Request<'_>) -> Result<Self, ::http::Error> {
        let mut fields = Self::new();
        for (name, value) in request.fields() {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            fields.try_append(name, HeaderValue::from_bytes(value)?)?;
        }
        Ok(fields)
    }
}

fn uri(request: &Request<'_>) -> Result<Uri, ::http::Error> {
    let target = &request.target;
    let is_whole = target.path.prefix().is_empty();
    match target.form {
        Form::Origin | Form::Absolute | Form::Asterisk | Form::Authority if is_whole => {
            Ok(Uri::try_from(target.raw)?)
        }
        _ => {
            let mut path = String::new();
            for segment in target.path.segments() {
                path.push('/');
                path.extend(percent_encode(segment, SEGMENT));
            }
            if target.path.is_directory() || path.is_empty() {
                path.push('/');
            }
            let mut path = path.into_bytes();
            if let Some(query) = target.query {
                path.push(b'?');
                path.extend_from_slice(query);
            }
            Ok(Uri::try_from(path)?)
        }
    }
}

/// The response without the fields that the server sets itself ([`OWN_FIELDS`]). If it cannot be
/// sent, for example because its status is 1xx, this is logged and the client gets a 500.
impl<B: Into<Bytes>> IntoResponse for ::http::Response<B> {
    fn into_response(self) -> Response {
        let (parts, body) = self.into_parts();
        respond(parts.status, &parts.headers, body.into()).into_response()
    }
}

fn respond(status: StatusCode, fields: &HeaderMap, body: Bytes) -> Result<Response, Error> {
    let mut response = Response::new(status.try_into()?);
    for (name, value) in fields {
        let name = name.as_str();
        if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            continue;
        }
        let value = std::str::from_utf8(value.as_bytes());
        let value = value.map_err(|_| FieldError::Malformed(name.to_owned()))?;
        response = response.with_field(name, value)?;
    }
    Ok(response.with_body(Body::Bytes(body)))
}

/// A status that no final response can have: below 200 or above 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinal(u16);

impl fmt::Display for NotFinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot respond with status {}: a final one is from 200 to 599", self.0)
    }
}

impl std::error::Error for NotFinal {}

impl TryFrom<StatusCode> for Status {
    type Error = NotFinal;

    fn try_from(status: StatusCode) -> Result<Self, NotFinal> {
        Self::new(status.as_u16()).ok_or(NotFinal(status.as_u16()))
    }
}

impl From<Status> for StatusCode {
    fn from(status: Status) -> Self {
        // Every status has three digits, so this cannot fail.
        Self::from_u16(status.code()).unwrap_or(Self::INTERNAL_SERVER_ERROR)
    }
}

/// The same as for a [`Status`].
impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Status::try_from(self).map_err(Error::from).into_response()
    }
}

/// A third form of an endpoint: a function that takes a request of the `http` crate.
impl<S, F, R> Endpoint<S, fn(::http::Request<Bytes>)> for F
where
    F: Fn(::http::Request<Bytes>) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    fn call(&self, request: &Request<'_>, _: &mut S) -> Response {
        call(request, self)
    }
}

fn call<R: IntoResponse>(
    request: &Request<'_>,
    function: impl Fn(::http::Request<Bytes>) -> R,
) -> Response {
    match request.try_into() {
        Ok(request) => function(request).into_response(),
        Err(error) => {
            let error: ::http::Error = error;
            Response::error(Status::BAD_REQUEST, &format!("This request is not accepted: {error}."))
        }
    }
}

/// A handler from a function that takes a request of the `http` crate. Bodies may have up to `most`
/// bytes; longer ones get 413.
///
/// It needs the feature `http`.
///
/// ```
/// use bytes::Bytes;
/// use cws::{Config, Server, from_http};
/// use http::{Request, Response};
///
/// fn echo(request: Request<Bytes>) -> Response<Bytes> {
///     Response::new(request.into_body())
/// }
///
/// let server = Server::start(Config::default(), from_http(64 << 10, echo))?;
/// # server.shutdown();
/// # Ok::<(), cws::StartError>(())
/// ```
pub fn from_http<F, R>(most: u64, function: F) -> FromHttp<F>
where
    F: Fn(::http::Request<Bytes>) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    FromHttp { most, function }
}

/// See [`from_http`].
///
/// It needs the feature `http`.
#[derive(Clone)]
pub struct FromHttp<F> {
    most: u64,
    function: F,
}

impl<F> fmt::Debug for FromHttp<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromHttp").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<F, R> Handler for FromHttp<F>
where
    F: Fn(::http::Request<Bytes>) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        Ok(call(request, &self.function))
    }

    fn accepts(&self) -> Accepts {
        Accepts::nothing().with_bodies("/", self.most).with_unknown_methods()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Arrival, FieldSlots};
    use crate::routes::Routes;
    use std::net::SocketAddr;

    fn with_request<T>(head: &str, body: &[u8], look: impl FnOnce(&Request<'_>) -> T) -> T {
        let mut slots = FieldSlots::default();
        let request = Request::parse(head.as_bytes(), &mut slots).expect("a request");
        let arrival = Arrival { peer: SocketAddr::from(([192, 0, 2, 1], 7)), ..Arrival::NONE };
        look(&request.with_body(body, arrival))
    }

    #[test]
    fn a_request_keeps_all_its_parts() {
        let head = "BREW /a%20b/c?d=e%20f HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a:  2 \r\n\r\n";
        with_request(head, b"body", |request| {
            let converted: ::http::Request<&[u8]> = request.try_into().expect("a request");
            assert_eq!(converted.method(), "BREW");
            assert_eq!(converted.uri().path(), "/a%20b/c");
            assert_eq!(converted.uri().query(), Some("d=e%20f"));
            assert_eq!(converted.version(), ::http::Version::HTTP_11);
            let values: Vec<_> = converted.headers().get_all("x-a").iter().collect();
            assert_eq!(values, ["1", "2"]);
            assert_eq!(*converted.body(), b"body");
            assert_eq!(converted.extensions().get::<SocketAddr>(), Some(&request.peer()));
            let owned: ::http::Request<Bytes> = request.try_into().expect("a request");
            assert_eq!((owned.uri(), &owned.body()[..]), (converted.uri(), &b"body"[..]));
        });
    }

    #[test]
    fn targets_of_all_forms_are_uris() {
        let rows = [
            ("GET / HTTP/1.1", "/"),
            ("GET testfile HTTP/1.0", "/testfile"),
            ("GET http://h:80/a?b HTTP/1.1", "http://h:80/a?b"),
            ("OPTIONS * HTTP/1.1", "*"),
            ("CONNECT h:443 HTTP/1.1", "h:443"),
        ];
        for (line, expected) in rows {
            let uri = with_request(&format!("{line}\r\nHost: h\r\n\r\n"), b"", uri);
            assert_eq!(uri.expect("a URI").to_string(), expected, "{line}");
        }
        let head = "GET /p/a%20b/%ff/?q HTTP/1.1\r\nHost: h\r\n\r\n";
        let mounted = with_request(head, b"", |request| uri(&request.routed(1, &[])));
        assert_eq!(mounted.expect("a URI").to_string(), "/a%20b/%FF/?q");
    }

    #[test]
    fn a_response_keeps_all_but_what_the_server_sets_itself() {
        let response = ::http::Response::builder()
            .status(201)
            .header("Location", "/x")
            .header("Set-Cookie", "a")
            .header("Set-Cookie", "b")
            .header("Content-Length", "99")
            .header("Connection", "close")
            .body("made")
            .expect("a response")
            .into_response();
        assert_eq!(response.status(), Status::CREATED);
        let fields = String::from_utf8_lossy(response.fields()).into_owned();
        assert_eq!(fields, "location: /x\r\nset-cookie: a\r\nset-cookie: b\r\n");
        assert!(matches!(response.body(), Body::Bytes(bytes) if &bytes[..] == b"made"));
        for code in [100, 600, 999] {
            let mut response = ::http::Response::new("");
            *response.status_mut() = StatusCode::from_u16(code).expect("a status");
            assert_eq!(response.into_response().status(), Status::INTERNAL_SERVER_ERROR, "{code}");
        }
        assert_eq!(StatusCode::from(Status::NOT_FOUND), StatusCode::NOT_FOUND);
        assert_eq!(StatusCode::IM_A_TEAPOT.into_response().status().code(), 418);
    }

    #[test]
    fn a_function_of_the_other_crates_types_is_an_endpoint() {
        fn echo(request: ::http::Request<Bytes>) -> ::http::Response<Bytes> {
            ::http::Response::new(request.into_body())
        }
        let table = Routes::new().post("/echo", 9, echo).mount("/p", from_http(5, echo)).build();
        let table = table.expect("a table");
        for path in ["/echo", "/p/x"] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n\r\n");
            let response = with_request(&head, b"hello", |request| {
                table.handle(request, &mut table.state(1)).expect("a response")
            });
            assert!(matches!(response.body(), Body::Bytes(bytes) if &bytes[..] == b"hello"));
        }
        let head = "GET /< HTTP/1.1\r\nHost: h\r\n\r\n";
        let refused = with_request(head, b"", |request| {
            from_http(0, echo).handle(request, &mut ()).expect("a response")
        });
        assert_eq!(refused.status(), Status::BAD_REQUEST);
    }
}
