//! Input in pieces: bodies, responses, and pipelined requests.

use super::{choices, pieces, ways_to_cut};
use cws::client::{Fault as ClientFault, ResponseFraming};
use cws::config;
use cws::http::body::BodyDecoder;
use cws::http::fault::Fault;
use cws::http::framing::{BodyLength, Framing};
use cws::http::head::{HeadLimits, HeadScanner, Scan, empty_lines};
use cws::http::request::{FieldSlots, Request};

/// The bytes that belong to the body, and whether it has ended.
fn skip(length: BodyLength, limit: u64, pieces: &[&[u8]]) -> Result<(usize, bool), Fault> {
    let mut decoder = BodyDecoder::new(length, limit)?;
    let mut taken = 0;
    for piece in pieces {
        let count = decoder.skip(piece)?;
        assert!(count == piece.len() || (count < piece.len() && decoder.is_done()));
        taken += count;
    }
    Ok((taken, decoder.is_done()))
}

/// A body ends where its framing says in any split, and never exceeds the limit.
pub fn body(bytes: &[u8]) {
    let ways: Vec<_> = ways_to_cut(bytes).iter().map(|ends| pieces(bytes, ends)).collect();
    let length = bytes.len() as u64;
    let known = [0, length / 2, length, length + 1].map(BodyLength::Known);
    for length in known.into_iter().chain([BodyLength::Chunked]) {
        let limits =
            if length == BodyLength::Chunked { &[8, 64, config::BODY_BYTES][..] } else { &[64] };
        for &limit in limits {
            let whole = skip(length, limit, &[bytes]);
            for pieces in &ways {
                assert_eq!(skip(length, limit, pieces), whole, "{length:?}, {limit}: {pieces:?}");
            }
            if let Ok((taken, _)) = whole {
                // At most as much framing as data, and a trailer section.
                let most = 2 * limit + config::TRAILER_BYTES as u64;
                assert!(taken as u64 <= most, "{taken} bytes taken, {limit} of data allowed");
            }
        }
    }
    if bytes.len() < config::TRAILER_BYTES {
        let end = match skip(BodyLength::Chunked, config::BODY_BYTES, &[bytes]) {
            Ok((taken, true)) => Some(taken),
            Ok((_, false)) | Err(_) => None,
        };
        assert_eq!(end, end_of_chunks(bytes), "by the RFC");
    }
    round_trip(bytes);
}

/// The end of a complete chunked body by RFC 9112, section 7.1. `None` for any other.
fn end_of_chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let line = |at: &mut usize| {
        let rest = bytes.get(*at..)?;
        let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
        *at += length + 2;
        let line = &rest[..length];
        line.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f)).then_some(line)
    };
    loop {
        let size = line(&mut at).filter(|line| line.len() < config::CHUNK_LINE_BYTES)?;
        let (digits, extension) = match size.iter().position(|&byte| byte == b';') {
            Some(at) => (size[..at].trim_ascii_end(), true),
            None => (size, false),
        };
        let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
        let size = usize::from_str_radix(text, 16).ok().filter(|_| text.len() <= 16)?;
        assert!(extension || !text.ends_with(' '));
        if size == 0 {
            while !line(&mut at)?.is_empty() {}
            return Some(at);
        }
        at = at.checked_add(size)?;
        if bytes.get(at..at.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
}

/// A chunked body is read to the end of its last chunk and no further, and gives the original
/// bytes.
fn round_trip(data: &[u8]) {
    let mut random = choices(data);
    let mut chunked = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(random.usize(1..=rest.len()));
        let extension = ["", ";a", " ;b=\"c\""][random.usize(..3)];
        chunked.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
        rest = tail;
    }
    chunked.extend_from_slice([&b"0\r\n\r\n"[..], b"00;x\r\nA: b\r\n\r\n"][random.usize(..2)]);
    let end = chunked.len();
    chunked.extend_from_slice(b"GET / HTTP/1.1\r\n");
    if end < config::BODY_BYTES as usize {
        let cut = random.usize(..=end);
        let (first, second) = chunked.split_at(cut);
        let outcome = skip(BodyLength::Chunked, config::BODY_BYTES, &[first, second]);
        assert_eq!(outcome, Ok((end, true)));
        let mut decoder = BodyDecoder::new(BodyLength::Chunked, data.len() as u64).expect("a body");
        let mut decoded = Vec::new();
        let mut pieces = [first.to_vec(), second.to_vec()];
        for piece in &mut pieces {
            let step = decoder.decode(piece).expect("as much data as allowed");
            decoded.extend_from_slice(&piece[..step.data]);
        }
        assert!(decoder.is_done() && decoded == data);
    }
}

/// How a response was parsed: bytes taken, outcome, last head, persistence.
type Followed = (usize, Result<Option<u16>, ClientFault>, Vec<u8>, bool);

fn follow(framing: &mut ResponseFraming, pieces: &[&[u8]]) -> Followed {
    let mut taken = 0;
    for piece in pieces {
        let count = framing.feed(piece);
        taken += count;
        match framing.verdict() {
            Some(verdict) => assert_eq!(verdict.map(Some), framing.finish()),
            None => assert_eq!(count, piece.len(), "an unfinished response takes all bytes"),
        }
    }
    (taken, framing.finish(), framing.head().to_vec(), framing.is_persistent())
}

/// A response ends at the same place in any split, and no following bytes belong to it.
pub fn client(bytes: &[u8]) {
    let kinds = [
        || ResponseFraming::new(false),
        || ResponseFraming::new(true),
        ResponseFraming::http11 as fn() -> ResponseFraming,
    ];
    let ways: Vec<_> = ways_to_cut(bytes).iter().map(|ends| pieces(bytes, ends)).collect();
    for new in kinds {
        let mut framing = new();
        let whole = follow(&mut framing, &[bytes]);
        let (taken, end, head, persistent) = &whole;
        for pieces in &ways {
            assert_eq!(follow(&mut new(), pieces), whole, "{pieces:?}");
        }
        let is_over = framing.verdict().is_some();
        assert!(*taken == bytes.len() || is_over);
        assert_eq!(follow(&mut new(), &[&bytes[..*taken]]).0, *taken);
        let is_final = matches!(end, Ok(Some(status)) if !(100..200).contains(status));
        assert!(!persistent || is_final, "only a complete response persists");
        assert!(head.len() <= cws::client::MAX_HEAD);
        if is_over {
            assert_eq!(framing.feed(b"HTTP/1.1 200 OK\r\n\r\n"), 0);
            assert_eq!(framing.finish(), *end, "following bytes change nothing");
        }
        framing.restart();
        assert_eq!(follow(&mut framing, &[bytes]), whole, "it can be restarted");
    }
}

/// The results of parsing a connection's bytes as a server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Request { head: Vec<u8>, framing: Framing, body: usize },
    Refused(Fault),
}

/// A connection without a socket: parses its requests in order.
#[derive(Default)]
struct Dialogue {
    input: Vec<u8>,
    next: Next,
    seen: Vec<Seen>,
}

#[derive(Default)]
enum Next {
    #[default]
    Idle,
    Head(HeadScanner),
    Body {
        head: Vec<u8>,
        framing: Framing,
        decoder: BodyDecoder,
        taken: usize,
    },
    Over,
}

impl Dialogue {
    fn of(pieces: &[&[u8]]) -> Self {
        let mut dialogue = Self::default();
        for piece in pieces {
            dialogue.input.extend_from_slice(piece);
            while dialogue.step().unwrap_or_else(|fault| dialogue.refuse(fault)) {}
        }
        dialogue
    }

    fn refuse(&mut self, fault: Fault) -> bool {
        self.seen.push(Seen::Refused(fault));
        self.next = Next::Over;
        false
    }

    /// Parses the next part. Returns false if more bytes are needed.
    fn step(&mut self) -> Result<bool, Fault> {
        let (head, target) = (config::HEAD_BYTES, config::TARGET_BYTES);
        let limits = HeadLimits { head, target, http09: false };
        match &mut self.next {
            Next::Over => return Ok(false),
            Next::Idle => {
                self.input.drain(..empty_lines(&self.input));
                if matches!(&self.input[..], b"" | b"\r") {
                    return Ok(false);
                }
                self.next = Next::Head(HeadScanner::default());
            }
            Next::Head(scanner) => {
                let end = match scanner.scan(&self.input, limits) {
                    Scan::Partial => return Ok(false),
                    Scan::Refused(fault) => return Err(fault),
                    Scan::Complete(end) => end,
                };
                let head: Vec<u8> = self.input.drain(..end).collect();
                let mut slots = FieldSlots::default();
                let framing = scanner.framing()?;
                Request::parse(&head, &mut slots)?;
                let decoder = BodyDecoder::new(framing.body, config::BODY_BYTES)?;
                self.next = Next::Body { head, framing, decoder, taken: 0 };
            }
            Next::Body { head, framing, decoder, taken } => {
                let count = decoder.skip(&self.input)?;
                self.input.drain(..count);
                *taken += count;
                if !decoder.is_done() {
                    return Ok(false);
                }
                let (head, framing, body) = (std::mem::take(head), *framing, *taken);
                self.seen.push(Seen::Request { head, framing, body });
                self.next = Next::Idle;
            }
        }
        Ok(true)
    }

    /// The bytes that wait for more, unless the connection has ended.
    fn rest(&self) -> Option<&[u8]> {
        (!matches!(self.next, Next::Over)).then_some(&self.input)
    }
}

/// A connection's bytes are the same requests in any split, pipelined or not.
pub fn dialogue(bytes: &[u8]) {
    let whole = Dialogue::of(&[bytes]);
    for ends in ways_to_cut(bytes) {
        let in_pieces = Dialogue::of(&pieces(bytes, &ends));
        assert_eq!(in_pieces.seen, whole.seen, "cut at {ends:?}");
        assert_eq!(in_pieces.rest(), whole.rest(), "cut at {ends:?}");
    }
    let refused = whole.seen.iter().filter(|seen| matches!(seen, Seen::Refused(_))).count();
    assert!(refused <= 1 && (refused == 0 || whole.rest().is_none()), "a refusal is the end");
}
