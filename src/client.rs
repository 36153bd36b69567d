//! The client: sends one HTTP/1.0 request, from a chosen port if asked, and passes the response on
//! byte for byte.
//!
//! It needs the feature `client`.
//!
//! [`ResponseFraming`] decides where a response ends and does no I/O. `connection` opens and closes
//! sockets. [`fetch`] joins the two. The client changes neither head nor body, and never holds a
//! whole body in memory.

pub(crate) mod framing;
mod error;
mod connection;

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;
use std::time::Duration;

pub use error::FetchError;
pub use framing::Fault;
use framing::ResponseFraming;

/// The default path, without a leading slash.
pub const DEFAULT_PATH: &str = "testfile";

/// The default limit for the time without progress.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// With a fixed client port: how long the client waits for the server's FIN after the response.
///
/// A server that closes the connection sends its FIN within one round trip of its last byte. One
/// second also covers the FIN's first retransmission (RFC 6298, section 2).
pub const FIN_WAIT: Duration = Duration::from_secs(1);

/// Bytes read from the connection and passed on at a time.
const READ_BUFFER: usize = 64 * 1024;

/// One request: the server, the client port, the path and the timeouts.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The server's name or address.
    pub host: Host,
    /// The server's port.
    pub port: u16,
    /// The local port. If `None`, the system chooses one.
    pub client_port: Option<u16>,
    /// The path to request.
    pub path: RequestPath,
    /// Send HEAD instead of GET.
    pub head_only: bool,
    /// The longest time without progress while connecting to one address, writing or reading. It
    /// must not be zero. It does not limit name resolution.
    pub timeout: Duration,
    /// With a client port: the longest wait for the server to close; see [`FIN_WAIT`].
    pub fin_wait: Duration,
}

impl Fetch {
    /// A GET of [`DEFAULT_PATH`] with the default timeouts, from a port that the system chooses.
    #[must_use]
    pub fn new(host: Host, port: u16) -> Self {
        Self {
            host,
            port,
            client_port: None,
            path: RequestPath(DEFAULT_PATH.to_owned()),
            head_only: false,
            timeout: DEFAULT_TIMEOUT,
            fin_wait: FIN_WAIT,
        }
    }

    /// The bytes of the request: a request line (RFC 1945, section 5.1) and no header fields.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let method = if self.head_only { "HEAD" } else { "GET" };
        format!("{method} {} HTTP/1.0\r\n\r\n", self.path.0).into_bytes()
    }
}

/// A host name or an IP address. An IPv6 address may have brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// The host without brackets, as a resolver takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let name = inner.unwrap_or(text);
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Unfit("the host must be a name or an IP address"));
        }
        Ok(Self(name.to_owned()))
    }
}

/// A request path, sent exactly as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath(String);

impl FromStr for RequestPath {
    type Err = Unfit;

    /// Refuses characters that would end the path or the request line (RFC 9112, section 3).
    fn from_str(text: &str) -> Result<Self, Unfit> {
        if text.is_empty() {
            return Err(Unfit("the path must not be empty"));
        }
        if text.contains(|c: char| c == ' ' || c.is_control()) {
            return Err(Unfit(
                "the path must not contain spaces or control characters (write %20)",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The error for a text that is not a valid [`Host`] or [`RequestPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(&'static str);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unfit {}

/// The outcome of a fetch that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The complete response was passed on.
    Complete {
        /// The final status code, or `None` if the reply was not HTTP.
        status: Option<u16>,
    },
    /// The reader of the output closed it: it wants no more.
    OutputClosed,
}

/// Sends the request and writes the response to `out` as it arrives. Flushes after each read.
///
/// On an error, the bytes that arrived before it have been written.
///
/// # Errors
/// Any reason for an incomplete response, see [`FetchError`].
pub fn fetch(fetch: &Fetch, out: &mut dyn Write) -> Result<Outcome, FetchError> {
    let mut stream = connection::open(fetch)?;
    let reset = send(&mut stream, fetch)?;
    let outcome = receive(&mut stream, reset, fetch, out)?;
    if fetch.client_port.is_some() && outcome != Outcome::OutputClosed {
        connection::let_server_close(stream, fetch.fin_wait.min(fetch.timeout));
    }
    Ok(outcome)
}

/// Sends the request. Returns the reset if the server has closed the connection.
///
/// An overloaded server may answer and close before it reads the request. Its answer can still be
/// read, so the close is not an error yet.
fn send(to: &mut impl Write, fetch: &Fetch) -> Result<Option<io::Error>, FetchError> {
    let Err(error) = to.write_all(&fetch.request()) else {
        return Ok(None);
    };
    match error.kind() {
        // The system reports a reset only once: later reads show an ordinary end after the answer.
        io::ErrorKind::ConnectionReset => Ok(Some(error)),
        // The server closed in order before; reading shows that end.
        io::ErrorKind::BrokenPipe => Ok(None),
        _ if is_timeout(&error) => {
            Err(FetchError::Stalled { action: "send the request", after: fetch.timeout })
        }
        _ => Err(FetchError::Send(error)),
    }
}

fn receive(
    from: &mut impl Read,
    reset: Option<io::Error>,
    fetch: &Fetch,
    out: &mut dyn Write,
) -> Result<Outcome, FetchError> {
    let mut framing = ResponseFraming::new(fetch.head_only);
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => {
                if let Some(error) = reset {
                    return Err(FetchError::Receive(error));
                }
                let status = framing.finish().map_err(FetchError::Response)?;
                return Ok(Outcome::Complete { status });
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_timeout(&error) => {
                let action = "receive the response";
                return Err(FetchError::Stalled { action, after: fetch.timeout });
            }
            Err(error) => return Err(FetchError::Receive(error)),
        };
        let taken = framing.feed(&buffer[..count]);
        match out.write_all(&buffer[..taken]).and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Outcome::OutputClosed);
            }
            Err(error) => return Err(FetchError::Output(error)),
        }
        if let Some(verdict) = framing.verdict() {
            let status = Some(verdict.map_err(FetchError::Response)?);
            return Ok(Outcome::Complete { status });
        }
    }
}

/// A socket timeout is reported as `WouldBlock` or, on some systems, as `TimedOut`.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer on which each write fails with this kind of error.
    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn any() -> Fetch {
        Fetch::new(Host("host".to_owned()), 80)
    }

    /// The result if the request cannot be written, but these bytes and an end can be read.
    fn answer_to(kind: io::ErrorKind, mut bytes: &[u8]) -> Result<Outcome, FetchError> {
        let reset = send(&mut Failing(kind), &any())?;
        receive(&mut bytes, reset, &any(), &mut io::sink())
    }

    #[test]
    fn an_answer_sent_before_the_server_closed_counts() {
        let sized = b"HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n";
        let open_ended = b"HTTP/1.0 503 Busy\r\n\r\nbusy";
        let busy = Outcome::Complete { status: Some(503) };
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset] {
            assert!(matches!(answer_to(kind, sized), Ok(outcome) if outcome == busy), "{kind}");
        }
        let closed = answer_to(io::ErrorKind::BrokenPipe, open_ended);
        assert!(matches!(closed, Ok(outcome) if outcome == busy));
        let reset = answer_to(io::ErrorKind::ConnectionReset, open_ended);
        assert!(matches!(reset, Err(FetchError::Receive(_))));
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_an_error() {
        let stalled = answer_to(io::ErrorKind::WouldBlock, b"");
        assert!(matches!(stalled, Err(FetchError::Stalled { action: "send the request", .. })));
        let failed = answer_to(io::ErrorKind::HostUnreachable, b"");
        assert!(matches!(failed, Err(FetchError::Send(_))));
    }
}
