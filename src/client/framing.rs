//! Where a response ends: a pure state machine over its bytes, fed in any split, without I/O.

use crate::http::body::BodyDecoder;
use crate::http::framing::BodyLength;
use std::fmt;

/// The longest response head, in bytes, that is read before giving up; interim heads count too.
///
/// Servers and proxies in common use stop at 8 to 64 KiB, so a longer head is not a head.
pub const MAX_HEAD: usize = 64 * 1024;

/// The most header fields a response head may have.
const MAX_FIELDS: usize = 256;

/// What every HTTP/1.x response begins with (RFC 9112 section 4).
const MARK: &[u8] = b"HTTP/";

/// Follows one response from its first byte to its end.
///
/// It holds at most [`MAX_HEAD`] bytes, and nothing of the body.
#[derive(Debug)]
pub struct ResponseFraming {
    asked: Asked,
    /// The head, as far as it has come; the last one when there were interim ones before it.
    head: Vec<u8>,
    /// The bytes of all heads so far.
    head_bytes: usize,
    /// What the head says of the connection.
    persistent: bool,
    state: State,
}

/// What the request was, as far as it concerns its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A HEAD.
    Head,
    /// A GET of version 1.0, to which nobody should answer in chunks.
    Http10,
    /// A GET of version 1.1.
    Http11,
}

#[derive(Debug)]
enum State {
    /// Reading a head.
    Head { interim: bool },
    /// Reading a body of known length.
    Sized { status: u16, length: u64, left: u64 },
    /// Reading chunks.
    Chunked { status: u16, chunks: BodyDecoder },
    /// Reading until the peer closes; no status when the reply is not HTTP.
    UntilClose { status: Option<u16> },
    /// The response has ended.
    Complete { status: u16 },
    /// The bytes cannot be a response.
    Broken(Fault),
}

/// Why bytes are not one whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The peer closed before it had sent a byte.
    NoAnswer,
    /// The peer closed within the head, this many bytes after its begin.
    HeadCut(usize),
    /// The peer closed within a body whose length, in bytes, it had announced.
    BodyCut {
        /// Body bytes that came.
        received: u64,
        /// Body bytes that `Content-Length` promised.
        length: u64,
    },
    /// The peer closed before the last chunk of a body.
    ChunksCut,
    /// The chunks of a body are malformed (RFC 9112 section 7.1).
    BadChunks,
    /// The head is longer than [`MAX_HEAD`].
    HeadTooLong,
    /// The head is no HTTP/1.x head, for the parser's reason.
    HeadMalformed(&'static str),
    /// `Content-Length` is not one number (RFC 9112 section 6.3, rule 5).
    BadLength,
}

impl fmt::Display for Fault {
    /// One line: what happened, and in parentheses what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str(
                "the server closed the connection without an answer \
                 (look into the server's log, or try again)",
            ),
            Self::HeadCut(bytes) => write!(
                f,
                "the connection closed within the head, after {bytes} bytes of it \
                 (the response is incomplete; try again)"
            ),
            Self::BodyCut { received, length } => write!(
                f,
                "the connection closed after {received} of {length} body bytes \
                 (the response is incomplete; try again)"
            ),
            Self::ChunksCut => f.write_str(
                "the connection closed before the last chunk of the body \
                 (the response is incomplete; try again)",
            ),
            Self::BadChunks => f.write_str(
                "the chunks of its body are malformed (the server is at fault; tell its owner)",
            ),
            Self::HeadTooLong => write!(
                f,
                "its head is longer than {MAX_HEAD} bytes (does an HTTP server listen there?)"
            ),
            Self::HeadMalformed(error) => {
                write!(f, "its head is malformed: {error} (does an HTTP/1.x server listen there?)")
            }
            Self::BadLength => f.write_str(
                "its Content-Length is not one number (the server is at fault; tell its owner)",
            ),
        }
    }
}

impl std::error::Error for Fault {}

impl ResponseFraming {
    /// Starts before the first byte of the response; `head_only` when the request was a HEAD.
    #[must_use]
    pub fn new(head_only: bool) -> Self {
        Self::of(if head_only { Asked::Head } else { Asked::Http10 })
    }

    /// The same for a GET of version 1.1, whose response may come in chunks.
    #[cfg(feature = "internals")]
    #[must_use]
    pub fn http11() -> Self {
        Self::of(Asked::Http11)
    }

    fn of(asked: Asked) -> Self {
        let state = State::Head { interim: false };
        Self { asked, head: Vec::new(), head_bytes: 0, persistent: false, state }
    }

    /// Starts again before the next response of the same connection, to the same kind of request.
    #[cfg(feature = "internals")]
    pub fn restart(&mut self) {
        self.head.clear();
        self.head_bytes = 0;
        self.persistent = false;
        self.state = State::Head { interim: false };
    }

    /// The head from its status line to its empty line, as far as it has come.
    #[cfg(feature = "internals")]
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// True where the response is whole and another one may follow on its connection
    /// (RFC 9112 section 9.3).
    #[cfg(feature = "internals")]
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.persistent && matches!(self.state, State::Complete { .. })
    }

    /// Takes the next bytes of the connection and says how many of them, from the first on,
    /// belong to the response; the others come after its end or after the fault.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            let step = match &mut self.state {
                State::Head { .. } => self.feed_head(rest),
                State::Sized { status, left, .. } => {
                    let step = usize::try_from(*left).map_or(rest.len(), |n| n.min(rest.len()));
                    *left -= step as u64;
                    if *left == 0 {
                        self.state = State::Complete { status: *status };
                    }
                    step
                }
                State::Chunked { status, chunks } => {
                    let before = chunks.clone();
                    let Ok(step) = chunks.skip(rest) else {
                        self.state = State::Broken(Fault::BadChunks);
                        return taken + sound_part(before, rest);
                    };
                    if chunks.is_done() {
                        self.state = State::Complete { status: *status };
                    }
                    step
                }
                State::UntilClose { .. } => rest.len(),
                State::Complete { .. } | State::Broken(_) => break,
            };
            taken += step;
        }
        taken
    }

    /// The end, once the bytes alone tell it: the status of a whole response, or the fault.
    #[must_use]
    pub fn verdict(&self) -> Option<Result<u16, Fault>> {
        match self.state {
            State::Complete { status } => Some(Ok(status)),
            State::Broken(fault) => Some(Err(fault)),
            _ => None,
        }
    }

    /// The end when the peer closes here: the status, none for a reply that is not HTTP.
    ///
    /// # Errors
    /// The fault, when the response is incomplete or had a fault before (RFC 9112 section 8).
    pub fn finish(&self) -> Result<Option<u16>, Fault> {
        match &self.state {
            State::Head { interim: false } if self.head.is_empty() => Err(Fault::NoAnswer),
            State::Head { interim: false } if self.head.len() < MARK.len() => Ok(None),
            State::Head { .. } => Err(Fault::HeadCut(self.head.len())),
            State::Chunked { .. } => Err(Fault::ChunksCut),
            State::Sized { length, left, .. } => {
                Err(Fault::BodyCut { received: length - left, length: *length })
            }
            State::UntilClose { status } => Ok(*status),
            State::Complete { status } => Ok(Some(*status)),
            State::Broken(fault) => Err(*fault),
        }
    }

    /// Takes bytes up to the end of the head, or all of them when they are no head.
    ///
    /// The parser runs once, on the whole head: a verdict on a part would depend on the split.
    fn feed_head(&mut self, bytes: &[u8]) -> usize {
        let State::Head { interim } = self.state else {
            return 0;
        };
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            if self.head.len() < MARK.len() && rest[0] != MARK[self.head.len()] {
                self.state = if interim {
                    State::Broken(malformed(httparse::Error::Version))
                } else {
                    State::UntilClose { status: None }
                };
                return taken;
            }
            let room = MAX_HEAD - self.head_bytes;
            if room == 0 {
                self.state = State::Broken(Fault::HeadTooLong);
                return taken;
            }
            // The mark is compared byte by byte; behind it, a head can end with a line alone.
            let line = if self.head.len() < MARK.len() {
                1
            } else {
                rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1)
            };
            let step = line.min(room);
            self.head.extend_from_slice(&rest[..step]);
            self.head_bytes += step;
            taken += step;
            // A line may end in a lone LF (RFC 9112 section 2.2).
            if self.head.ends_with(b"\n\r\n") || self.head.ends_with(b"\n\n") {
                self.state = self.after_head().unwrap_or_else(State::Broken);
                return taken;
            }
        }
        taken
    }

    /// What follows a whole head: RFC 9112 section 6.3, rules 1 to 8, as they concern this client.
    fn after_head(&mut self) -> Result<State, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = lenient().parse_response(&mut response, &self.head);
        let parsed = parsed.map_err(malformed)?;
        let (httparse::Status::Complete(end), Some(status)) = (parsed, response.code) else {
            return Err(malformed(httparse::Error::NewLine));
        };
        if end != self.head.len() {
            return Err(malformed(httparse::Error::NewLine));
        }
        // Interim: the final response follows (RFC 9110 section 15.2).
        if (100..=199).contains(&status) {
            self.head.clear();
            return Ok(State::Head { interim: true });
        }
        self.persistent = persists(response.version == Some(1), response.headers);
        if matches!(status, 204 | 304) || self.asked == Asked::Head {
            return Ok(State::Complete { status });
        }
        body_after(status, response.headers, self.asked)
    }
}

/// The values of the fields of this name.
fn values<'a>(
    fields: &'a [httparse::Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
}

/// What the fields say of the connection: RFC 9112 section 9.3.
fn persists(is_http11: bool, fields: &[httparse::Header<'_>]) -> bool {
    let mut options = values(fields, "connection").flat_map(|value| value.split(|&b| b == b','));
    let mut has =
        |wanted: &[u8]| options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted));
    if is_http11 { !has(b"close") } else { has(b"keep-alive") }
}

fn body_after(status: u16, fields: &[httparse::Header<'_>], asked: Asked) -> Result<State, Fault> {
    let mut lines = values(fields, "transfer-encoding").peekable();
    if lines.peek().is_some() {
        // A coding overrides Content-Length. The close ends what is not in chunks, and what a
        // request of version 1.0 should not get: those bytes are passed on as they are.
        let codings =
            lines.flat_map(|line| line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii));
        // Empty elements are no codings (RFC 9110 section 5.6.1.2).
        let last = codings.filter(|coding| !coding.is_empty()).last();
        let in_chunks = last.is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
        if asked != Asked::Http11 || !in_chunks {
            return Ok(State::UntilClose { status: Some(status) });
        }
        let chunks = BodyDecoder::new(BodyLength::Chunked, u64::MAX);
        return Ok(State::Chunked { status, chunks: chunks.map_err(|_| Fault::BadChunks)? });
    }
    Ok(match content_length(values(fields, "content-length"))? {
        None => State::UntilClose { status: Some(status) },
        Some(0) => State::Complete { status },
        Some(length) => State::Sized { status, length, left: length },
    })
}

/// The number of bytes before the one that breaks the chunks.
fn sound_part(mut chunks: BodyDecoder, bytes: &[u8]) -> usize {
    bytes.chunks(1).take_while(|byte| chunks.skip(byte).is_ok()).count()
}

/// The fault of a head that the parser refuses.
fn malformed(error: httparse::Error) -> Fault {
    use httparse::Error;
    Fault::HeadMalformed(match error {
        Error::HeaderName => "invalid header name",
        Error::HeaderValue => "invalid header value",
        Error::NewLine => "invalid new line",
        Error::Status => "invalid response status",
        Error::Token => "invalid token",
        Error::TooManyHeaders => "too many headers",
        Error::Version => "invalid HTTP version",
    })
}

/// What a user agent is asked to read past: RFC 9112 sections 4, 5.1 and 5.2.
fn lenient() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    config
}

/// The one length that all the field values and their list members agree on, none without a
/// value (RFC 9110 section 8.6: equal members count once).
fn content_length<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Option<u64>, Fault> {
    let mut agreed = None;
    for member in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        let digits = member.trim_ascii();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Fault::BadLength);
        }
        let text = str::from_utf8(digits).map_err(|_| Fault::BadLength)?;
        let length = text.parse::<u64>().map_err(|_| Fault::BadLength)?;
        if agreed.is_some_and(|other| other != length) {
            return Err(Fault::BadLength);
        }
        agreed = Some(length);
    }
    Ok(agreed)
}
