//! Exchanges with a server that may answer anything, or nothing: each ends at a deadline.

use socket2::SockRef;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The most bytes of one reply: beyond it, a server that never stops is cut.
const REPLY_BYTES: usize = 16 << 20;

/// The same for a large file.
const LARGE_BYTES: usize = 1 << 30;

/// The most bytes of a head.
const HEAD_BYTES: usize = 64 << 10;

/// How long to wait for bytes after a whole reply, or for the end of its connection.
const SURPLUS: Duration = Duration::from_millis(30);

/// A connection with a deadline for all that happens on it.
pub struct Connection {
    stream: TcpStream,
    deadline: Instant,
    most_bytes: usize,
}

/// What a server has said to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Reply(Reply),
    /// Bytes that are no HTTP response.
    Rubbish(Vec<u8>),
    /// No byte until the connection ended or the deadline came.
    Nothing(End),
}

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server has closed the connection.
    Closed,
    /// Or has reset it.
    Reset,
    /// The deadline came.
    TimedOut,
    /// More bytes came than any answer has.
    Endless,
    /// It accepted no connection.
    Refused,
    /// All bytes that `Content-Length` announces have arrived, and the connection stays open.
    Complete,
}

/// A response, as far as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub line: String,
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub end: End,
    /// What is wrong with the form of its head.
    pub flaw: Option<&'static str>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection was closed without an answer",
            Self::Reset => "the connection was reset",
            Self::TimedOut => "no answer in time",
            Self::Endless => "it does not stop sending",
            Self::Refused => "the connection was refused",
            Self::Complete => "the answer is whole",
        })
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => {
                let end = if reply.has_end() { "" } else { ", and no end" };
                write!(f, "{}, {} bytes{end}", reply.line, reply.body.len())
            }
            Self::Rubbish(bytes) => {
                let start = &bytes[..bytes.len().min(24)];
                write!(f, "no HTTP response: {} bytes, \"{}\"", bytes.len(), start.escape_ascii())
            }
            Self::Nothing(end) => end.fmt(f),
        }
    }
}

impl Heard {
    /// The status of a reply.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Reply(reply) => Some(reply.status),
            _ => None,
        }
    }

    /// Whether it is a response with status 200 that has an end, be its length right or not.
    pub fn is_ok(&self) -> bool {
        match self {
            Self::Reply(reply) => reply.status == 200 && reply.has_end(),
            _ => false,
        }
    }

    /// Why it is not a whole 200 with this body, if it is not.
    pub fn fault(&self, body: &[u8]) -> Option<String> {
        let reply = match self {
            Self::Reply(reply) if reply.status == 200 => reply,
            other => return Some(other.to_string()),
        };
        let error = reply.length_error();
        error.or_else(|| (reply.body != body).then(|| "other bytes than in the file".to_owned()))
    }
}

impl Reply {
    fn has_end(&self) -> bool {
        !matches!(self.end, End::TimedOut | End::Endless)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let named = |(field, _): &&(String, String)| field.eq_ignore_ascii_case(name);
        self.fields.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// The announced length of the body. `None` without a valid one.
    pub fn length(&self) -> Option<usize> {
        self.field("content-length")?.parse().ok()
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|coding| coding.contains("chunked"))
    }

    /// What is wrong with the length of the body.
    pub fn length_error(&self) -> Option<String> {
        let came = self.body.len();
        match (self.length(), self.end) {
            (Some(length), _) if length == came => None,
            (Some(length), _) => Some(format!("Content-Length says {length}, and {came} came")),
            (None, End::Closed) => None,
            (None, end) => Some(format!("without a length, and {end}")),
        }
    }
}

impl Connection {
    pub fn open(server: SocketAddr, patience: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + patience;
        let stream = TcpStream::connect_timeout(&server, patience)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, deadline, most_bytes: REPLY_BYTES })
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Sends all bytes, or as many as the server takes until the deadline. Returns their number.
    pub fn send(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut sent = 0;
        while sent < bytes.len() {
            let written = self.left().and_then(|left| {
                self.stream.set_write_timeout(Some(left))?;
                self.stream.write(&bytes[sent..])
            });
            match written {
                Ok(0) => return (sent, Err(ErrorKind::WriteZero.into())),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (sent, Err(error)),
            }
        }
        (sent, Ok(()))
    }

    /// Ends the sending side.
    pub fn finish(&self) {
        // A server may have closed the connection already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes the connection with a reset, as a client that is killed or loses its network.
    pub fn vanish(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads some bytes at most.
    pub fn read(&mut self, some: &mut [u8], patience: Duration) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.left()?.min(patience)))?;
            match self.stream.read(some) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Reads a reply until it is whole and the connection ends, or only until it is whole.
    pub fn hear(&mut self, to_the_end: bool) -> Heard {
        let mut bytes = Vec::new();
        let mut some = vec![0; 64 << 10];
        let mut is_whole = false;
        let end = loop {
            let patience = if is_whole { SURPLUS } else { Duration::MAX };
            match self.read(&mut some, patience) {
                Ok(0) => break End::Closed,
                Ok(count) => bytes.extend_from_slice(&some[..count]),
                Err(_) if is_whole => break End::Complete,
                Err(error) => {
                    let is_timeout =
                        matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
                    break if is_timeout { End::TimedOut } else { End::Reset };
                }
            }
            is_whole = is_whole || is_complete(&bytes);
            if is_whole && !to_the_end {
                break End::Complete;
            }
            if bytes.len() > self.most_bytes {
                break End::Endless;
            }
        };
        parse(&bytes, end)
    }
}

/// One request on a connection of its own, and what comes until the connection ends.
pub fn ask(server: SocketAddr, request: &[u8], patience: Duration) -> Heard {
    ask_within(server, request, patience, REPLY_BYTES)
}

/// The same for a large file.
pub fn ask_large(server: SocketAddr, request: &[u8], patience: Duration) -> Heard {
    ask_within(server, request, patience, LARGE_BYTES)
}

fn ask_within(server: SocketAddr, request: &[u8], patience: Duration, most: usize) -> Heard {
    match Connection::open(server, patience) {
        Err(error) if error.kind() == ErrorKind::TimedOut => Heard::Nothing(End::TimedOut),
        Err(_) => Heard::Nothing(End::Refused),
        Ok(mut connection) => {
            connection.most_bytes = most;
            // A server may answer before it has read everything, and close.
            let _ = connection.send(request);
            connection.hear(true)
        }
    }
}

/// The end of the head, and of the empty line behind it. Lines may end without `\r`.
fn head_end(bytes: &[u8]) -> Option<(usize, usize)> {
    let start = &bytes[..bytes.len().min(HEAD_BYTES)];
    let find = |end: &[u8]| start.windows(end.len()).position(|window| window == end);
    let (strict, loose) = (find(b"\r\n\r\n"), find(b"\n\n"));
    match (strict, loose) {
        (Some(at), loose) if loose.is_none_or(|other| at < other) => Some((at, at + 4)),
        (_, Some(at)) => Some((at, at + 2)),
        _ => None,
    }
}

/// Whether the reply is whole by what its head says of its length.
fn is_complete(bytes: &[u8]) -> bool {
    let Some((_, body)) = head_end(bytes) else { return false };
    match parse(&bytes[..body], End::Complete) {
        Heard::Reply(reply) if reply.is_chunked() => bytes.ends_with(b"0\r\n\r\n"),
        Heard::Reply(reply) => reply.length().is_some_and(|length| bytes.len() - body >= length),
        _ => false,
    }
}

fn parse(bytes: &[u8], end: End) -> Heard {
    if bytes.is_empty() {
        return Heard::Nothing(end);
    }
    let Some((head, body)) = head_end(bytes) else { return Heard::Rubbish(bytes.to_vec()) };
    let Ok(text) = str::from_utf8(&bytes[..head]) else { return Heard::Rubbish(bytes.to_vec()) };
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    let status = words.get(1).and_then(|word| word.parse().ok()).filter(|s| (100..600).contains(s));
    let Some(status) = status.filter(|_| line.starts_with("HTTP/")) else {
        return Heard::Rubbish(bytes.to_vec());
    };
    let mut flaw = None;
    if !matches!(words[0], "HTTP/1.0" | "HTTP/1.1") {
        flaw = Some("the version is neither HTTP/1.0 nor HTTP/1.1");
    } else if words[1].len() != 3 {
        flaw = Some("the status has not three digits");
    }
    if text.matches('\n').count() != text.matches("\r\n").count() || body - head == 2 {
        flaw = Some("lines end with \\n instead of \\r\\n");
    }
    let mut fields = Vec::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && !name.contains(' ') => {
                fields.push((name.to_owned(), value.trim().to_owned()));
            }
            _ => flaw = Some("a line of the head is not \"Name: value\""),
        }
    }
    let mut reply = Reply { line, status, fields, body: bytes[body..].to_vec(), end, flaw };
    if reply.is_chunked() {
        match dechunk(&reply.body) {
            Some(whole) => {
                reply.fields.push(("Content-Length".to_owned(), whole.len().to_string()));
                reply.body = whole;
            }
            None if end != End::Complete => flaw = Some("its chunks are not whole"),
            None => {}
        }
        reply.flaw = flaw;
    }
    Heard::Reply(reply)
}

/// The content of a whole chunked body (RFC 9112, section 7.1).
fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}
