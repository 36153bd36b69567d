//! The client: one HTTP/1.0 request from a port of choice, its response passed on byte for byte.
//!
//! [`ResponseFraming`] alone decides where a response ends, and does no I/O; `connection` opens
//! and closes sockets; [`fetch`] joins the two. Neither head nor body is ever changed, and no
//! body is ever held.

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

/// The path asked for unless another is given, without a leading slash.
pub const DEFAULT_PATH: &str = "testfile";

/// How long the client waits without progress unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client with a fixed port waits, after a whole response, for the server's FIN.
///
/// The FIN of a server that closes at all is one round trip behind its last byte; one second
/// also covers its first retransmission (RFC 6298 section 2).
pub const FIN_WAIT: Duration = Duration::from_secs(1);

/// Bytes read from the connection, and passed on, at once.
const READ_BUFFER: usize = 64 * 1024;

/// One request: whom to ask, from where, for what, and how long to wait.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The server's name or address.
    pub host: Host,
    /// The server's port.
    pub port: u16,
    /// The port to connect from; the system chooses one when there is none.
    pub client_port: Option<u16>,
    /// What to ask for.
    pub path: RequestPath,
    /// Asks with HEAD, for the head alone.
    pub head_only: bool,
    /// The longest time without progress: connecting to one address, writing, or reading.
    /// Not zero. Looking the name up takes as long as the system's resolver does.
    pub timeout: Duration,
    /// With a client port, the longest wait for the server to close; see [`FIN_WAIT`].
    pub fin_wait: Duration,
}

impl Fetch {
    /// A GET of [`DEFAULT_PATH`] with the default waits, from a port of the system's choice.
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

    /// The request's bytes: the request line of RFC 1945 section 5.1, and no header field.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let method = if self.head_only { "HEAD" } else { "GET" };
        format!("{method} {} HTTP/1.0\r\n\r\n", self.path.0).into_bytes()
    }
}

/// A host name or an IP address; an IPv6 address with or without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// The host as a resolver takes it, without brackets.
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
            return Err(Unfit("a host is a name or an IP address"));
        }
        Ok(Self(name.to_owned()))
    }
}

/// A path that fits into a request line, sent exactly as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath(String);

impl FromStr for RequestPath {
    type Err = Unfit;

    /// Refuses what would end the path, or the request line, early (RFC 9112 section 3).
    fn from_str(text: &str) -> Result<Self, Unfit> {
        if text.is_empty() {
            return Err(Unfit("a path has at least one character"));
        }
        if text.contains(|c: char| c == ' ' || c.is_control()) {
            return Err(Unfit("a path has no space and no control character (write %20)"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why a text is not a [`Host`] or a [`RequestPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(&'static str);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unfit {}

/// How a fetch ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole response has been passed on.
    Complete {
        /// The final status code; none when the reply was not HTTP.
        status: Option<u16>,
    },
    /// The reader of the output went away: it has all it wanted.
    OutputClosed,
}

/// Sends the request and passes the response on to `out` as it arrives, flushed at each read.
///
/// What had arrived before an error has been passed on, too.
///
/// # Errors
/// Every way not to get a whole response, see [`FetchError`].
pub fn fetch(fetch: &Fetch, out: &mut dyn Write) -> Result<Outcome, FetchError> {
    let mut stream = connection::open(fetch)?;
    let reset = send(&mut stream, fetch)?;
    let outcome = receive(&mut stream, reset, fetch, out)?;
    if fetch.client_port.is_some() && outcome != Outcome::OutputClosed {
        connection::let_server_close(stream, fetch.fin_wait.min(fetch.timeout));
    }
    Ok(outcome)
}

/// Sends the request, and returns the reset when the server has hung up on it.
///
/// A server may answer before it is asked, and close: an overloaded one does. Its answer is still
/// there to be read, so hanging up is no error yet.
fn send(to: &mut impl Write, fetch: &Fetch) -> Result<Option<io::Error>, FetchError> {
    let Err(error) = to.write_all(&fetch.request()) else {
        return Ok(None);
    };
    match error.kind() {
        // The system reports a reset once; reading will show an ordinary end behind the answer.
        io::ErrorKind::ConnectionReset => Ok(Some(error)),
        // The server had closed in order before; reading shows the same end.
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

/// A socket's timeout reads as `WouldBlock` or, on other systems, as `TimedOut`.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that fails each write with an error of the kind.
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

    /// What comes of a request that cannot be written, when these bytes and an end can be read.
    fn answer_to(kind: io::ErrorKind, mut bytes: &[u8]) -> Result<Outcome, FetchError> {
        let reset = send(&mut Failing(kind), &any())?;
        receive(&mut bytes, reset, &any(), &mut io::sink())
    }

    #[test]
    fn an_answer_sent_before_the_server_hung_up_counts() {
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
