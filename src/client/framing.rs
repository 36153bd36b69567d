//! Finds the end of a response: a state machine over its bytes, in any split, without I/O.

use crate::http::body::BodyDecoder;
use crate::http::framing::BodyLength;
use std::fmt;

/// The longest response head in bytes, interim heads included.
///
/// Common servers and proxies send at most 8 to 64 KiB.
pub const MAX_HEAD: usize = 64 * 1024;

/// The largest number of header fields in a response head.
const MAX_FIELDS: usize = 256;

/// The first bytes of every HTTP/1.x response (RFC 9112, section 4).
const MARK: &[u8] = b"HTTP/";

/// Follows one response from its first byte to its end.
///
/// It holds at most [`MAX_HEAD`] bytes, and no part of the body.
#[derive(Debug)]
pub struct ResponseFraming {
    asked: Asked,
    /// The bytes of the current head so far. Interim heads are dropped.
    head: Vec<u8>,
    /// The bytes of all heads so far, interim ones included.
    head_bytes: usize,
    /// Whether the head allows the connection to persist.
    persistent: bool,
    state: State,
}

/// What about the request affects how its response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// HEAD.
    Head,
    /// GET in HTTP/1.0, which must not be answered with chunks.
    Http10,
    /// GET in HTTP/1.1.
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
    /// Reading until the peer closes. There is no status if the reply is not HTTP.
    UntilClose { status: Option<u16> },
    /// The response is complete.
    Complete { status: u16 },
    /// The bytes are not a valid response.
    Broken(Fault),
}

/// Why bytes are not one complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer closed the connection without sending a byte.
    NoAnswer,
    /// The peer closed within the head, after this many bytes of it.
    HeadCut(usize),
    /// The peer closed before the body reached its announced length.
    BodyCut {
        /// Body bytes received.
        received: u64,
        /// The value of `Content-Length`.
        length: u64,
    },
    /// The peer closed before the last chunk.
    ChunksCut,
    /// The chunked body is malformed (RFC 9112, section 7.1).
    BadChunks,
    /// The head is longer than [`MAX_HEAD`].
    HeadTooLong,
    /// The head is not a valid HTTP/1.x head, for the parser's reason.
    HeadMalformed(httparse::Error),
    /// `Content-Length` is not a single number (RFC 9112, section 6.3, rule 5).
    BadLength,
}

impl fmt::Display for Fault {
    /// One line: what happened, and in parentheses what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str(
                "the server closed the connection without an answer \
                 (check the server's log, or try again)",
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
            Self::BadChunks => {
                f.write_str("its chunked body is malformed (the server is at fault; report it)")
            }
            Self::HeadTooLong => write!(
                f,
                "its head is longer than {MAX_HEAD} bytes (does an HTTP server listen there?)"
            ),
            Self::HeadMalformed(error) => {
                write!(f, "its head is malformed: {error} (does an HTTP/1.x server listen there?)")
            }
            Self::BadLength => f.write_str(
                "its Content-Length is not a single number (the server is at fault; report it)",
            ),
        }
    }
}

impl std::error::Error for Fault {}

impl ResponseFraming {
    /// Starts before the first byte of the response. `head_only` if the request was a HEAD.
    #[must_use]
    pub fn new(head_only: bool) -> Self {
        Self::of(if head_only { Asked::Head } else { Asked::Http10 })
    }

    /// For the response to a GET in HTTP/1.1, which may be chunked.
    #[must_use]
    pub fn http11() -> Self {
        Self::of(Asked::Http11)
    }

    fn of(asked: Asked) -> Self {
        let state = State::Head { interim: false };
        Self { asked, head: Vec::new(), head_bytes: 0, persistent: false, state }
    }

    /// Starts before the next response on the same connection, to a request of the same kind.
    pub fn restart(&mut self) {
        self.head.clear();
        self.head_bytes = 0;
        self.persistent = false;
        self.state = State::Head { interim: false };
    }

    /// The bytes of the head so far, from the status line to the empty line.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether the response is complete and another may follow on the connection (RFC 9112, section
    /// 9.3).
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.persistent && matches!(self.state, State::Complete { .. })
    }

    /// Takes the next bytes of the connection. Returns how many of them belong to the response; the
    /// others come after its end or after the fault.
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

    /// The outcome, once the bytes decide it: the status of a complete response, or the fault.
    #[must_use]
    pub fn verdict(&self) -> Option<Result<u16, Fault>> {
        match self.state {
            State::Complete { status } => Some(Ok(status)),
            State::Broken(fault) => Some(Err(fault)),
            _ => None,
        }
    }

    /// The outcome if the peer closes now: the status, or `None` if the reply is not HTTP.
    ///
    /// # Errors
    /// The fault, if the response is incomplete (RFC 9112, section 8) or was already faulty.
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

    /// Takes bytes up to the end of the head, or all of them if the head continues.
    ///
    /// The parser runs once, on the complete head. Parsing a part would make the result depend on
    /// how the bytes are split.
    fn feed_head(&mut self, bytes: &[u8]) -> usize {
        let State::Head { interim } = self.state else {
            return 0;
        };
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            if self.head.len() < MARK.len() && rest[0] != MARK[self.head.len()] {
                self.state = if interim {
                    State::Broken(Fault::HeadMalformed(httparse::Error::Version))
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
            // Compare the first bytes one by one. After that, a head can end only at a line end.
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

    /// What follows a complete head: RFC 9112, section 6.3, rules 1 to 8, as far as they apply
    /// here.
    fn after_head(&mut self) -> Result<State, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = lenient().parse_response(&mut response, &self.head);
        let parsed = parsed.map_err(Fault::HeadMalformed)?;
        let (httparse::Status::Complete(end), Some(status)) = (parsed, response.code) else {
            return Err(Fault::HeadMalformed(httparse::Error::NewLine));
        };
        if end != self.head.len() {
            return Err(Fault::HeadMalformed(httparse::Error::NewLine));
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

/// The values of the fields with this name.
fn values<'a>(
    fields: &'a [httparse::Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
}

/// Whether the fields allow the connection to persist (RFC 9112, section 9.3).
fn persists(is_http11: bool, fields: &[httparse::Header<'_>]) -> bool {
    let mut options = values(fields, "connection").flat_map(|value| value.split(|&b| b == b','));
    let mut has =
        |wanted: &[u8]| options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted));
    if is_http11 { !has(b"close") } else { has(b"keep-alive") }
}

fn body_after(status: u16, fields: &[httparse::Header<'_>], asked: Asked) -> Result<State, Fault> {
    let mut lines = values(fields, "transfer-encoding").peekable();
    if lines.peek().is_some() {
        // Transfer-Encoding overrides Content-Length. A body ends at the close if it is not
        // chunked, or if the request was HTTP/1.0, which does not allow chunks: its bytes are
        // passed on undecoded.
        let codings =
            lines.flat_map(|line| line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii));
        // Ignore empty elements (RFC 9110, section 5.6.1.2).
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

/// The number of bytes before the first malformed one.
fn sound_part(mut chunks: BodyDecoder, bytes: &[u8]) -> usize {
    bytes.chunks(1).take_while(|byte| chunks.skip(byte).is_ok()).count()
}

/// Tolerances that a user agent should have (RFC 9112, sections 4, 5.1 and 5.2).
fn lenient() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    config
}

/// The length that all values and list members agree on, or `None` without a value (RFC 9110,
/// section 8.6: repeated equal members count once).
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
