//! Where a response ends: a pure state machine over its bytes, fed in any split, without I/O.

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
    head_only: bool,
    /// The bytes of all heads so far.
    head_bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Reading a head; `seen` is what has come of it.
    Head { seen: Vec<u8>, interim: bool },
    /// Reading a body of known length.
    Sized { status: u16, length: u64, left: u64 },
    /// Reading until the peer closes; no status when the reply is not HTTP.
    UntilClose { status: Option<u16> },
    /// The response has ended.
    Complete { status: u16 },
    /// The bytes cannot be a response.
    Broken(Fault),
}

/// Why bytes are not one whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The head is longer than [`MAX_HEAD`].
    HeadTooLong,
    /// The head is no HTTP/1.x head, for the parser's reason.
    HeadMalformed(httparse::Error),
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
        Self { head_only, head_bytes: 0, state: State::fresh_head(false) }
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
            State::Head { seen, interim: false } if seen.is_empty() => Err(Fault::NoAnswer),
            State::Head { seen, interim: false } if seen.len() < MARK.len() => Ok(None),
            State::Head { seen, .. } => Err(Fault::HeadCut(seen.len())),
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
        let State::Head { seen, interim } = &mut self.state else {
            return 0;
        };
        for (index, &byte) in bytes.iter().enumerate() {
            if seen.len() < MARK.len() && byte != MARK[seen.len()] {
                if *interim {
                    self.state = State::Broken(Fault::HeadMalformed(httparse::Error::Version));
                    return index;
                }
                self.state = State::UntilClose { status: None };
                return index;
            }
            if self.head_bytes == MAX_HEAD {
                self.state = State::Broken(Fault::HeadTooLong);
                return index;
            }
            seen.push(byte);
            self.head_bytes += 1;
            // A line may end in a lone LF (RFC 9112 section 2.2).
            if seen.ends_with(b"\n\r\n") || seen.ends_with(b"\n\n") {
                self.state = after_head(seen, self.head_only).unwrap_or_else(State::Broken);
                return index + 1;
            }
        }
        bytes.len()
    }
}

impl State {
    fn fresh_head(interim: bool) -> Self {
        Self::Head { seen: Vec::new(), interim }
    }
}

/// What follows a whole head: RFC 9112 section 6.3, rules 1 to 8, as they concern this client.
fn after_head(head: &[u8], head_only: bool) -> Result<State, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = lenient().parse_response(&mut response, head).map_err(Fault::HeadMalformed)?;
    let (httparse::Status::Complete(end), Some(status)) = (parsed, response.code) else {
        return Err(Fault::HeadMalformed(httparse::Error::NewLine));
    };
    if end != head.len() {
        return Err(Fault::HeadMalformed(httparse::Error::NewLine));
    }
    match status {
        // Interim: the final response follows (RFC 9110 section 15.2).
        100..=199 => return Ok(State::fresh_head(true)),
        204 | 304 => return Ok(State::Complete { status }),
        _ if head_only => return Ok(State::Complete { status }),
        _ => {}
    }
    let named = |name: &'static str| {
        let fields = response.headers.iter();
        fields.filter(move |field| field.name.eq_ignore_ascii_case(name))
    };
    // No server should send a transfer coding to an HTTP/1.0 request. The coded bytes are
    // printed as they are, and it overrides Content-Length; so the close is what ends them.
    if named("transfer-encoding").next().is_some() {
        return Ok(State::UntilClose { status: Some(status) });
    }
    Ok(match content_length(named("content-length").map(|field| field.value))? {
        None => State::UntilClose { status: Some(status) },
        Some(0) => State::Complete { status },
        Some(length) => State::Sized { status, length, left: length },
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
