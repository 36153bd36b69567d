//! Bytes that arrive in pieces: bodies, responses and pipelined requests.

use super::heads::{check_against_httparse, framing_of};
use super::{choices, pieces, ways_to_split};
use cws::client::Fault as ClientFault;
use cws::internals::ResponseFraming;
use cws::internals::config;
use cws::internals::http::body::BodyDecoder;
use cws::internals::http::fault::Fault;
use cws::internals::http::framing::{BodyLength, Framing};
use cws::internals::http::head::{HeadLimits, HeadScanner, Scan, empty_lines};
use cws::internals::http::request::{FieldSlots, Request};
use cws::internals::http::{Version, is_token_byte};

/// The number of bytes that belong to the body, and whether it is complete.
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

/// The same numbers and the data, decoded in place.
fn decode(
    length: BodyLength,
    limit: u64,
    pieces: &[&[u8]],
) -> Result<(usize, bool, Vec<u8>), Fault> {
    let mut decoder = BodyDecoder::new(length, limit)?;
    let (mut taken, mut data) = (0, Vec::new());
    for piece in pieces {
        let mut piece = piece.to_vec();
        let decoded = decoder.decode(&mut piece)?;
        assert!(decoded.data <= decoded.taken && decoded.taken <= piece.len());
        taken += decoded.taken;
        data.extend_from_slice(&piece[..decoded.data]);
        assert!(data.len() as u64 <= limit);
    }
    Ok((taken, decoder.is_done(), data))
}

/// A body ends where its framing says, however it is split, and stays within its limit.
pub fn body(bytes: &[u8]) {
    let ways: Vec<_> = ways_to_split(bytes).iter().map(|ends| pieces(bytes, ends)).collect();
    let length = bytes.len() as u64;
    let known = [0, length / 2, length, length + 1].map(BodyLength::Known);
    for length in known.into_iter().chain([BodyLength::Chunked]) {
        let limits =
            if length == BodyLength::Chunked { &[8, 64, config::BODY_BYTES][..] } else { &[64] };
        for &limit in limits {
            let whole = skip(length, limit, &[bytes]);
            for pieces in &ways {
                assert_eq!(skip(length, limit, pieces), whole, "{length:?}, {limit}: {pieces:?}");
                let decoded = decode(length, limit, pieces);
                assert_eq!(decoded, decode(length, limit, &[bytes]), "{pieces:?}");
                assert_eq!(decoded.map(|(taken, is_done, _)| (taken, is_done)), whole);
            }
            if let Ok((taken, _)) = whole {
                // The framing has the same limit as the data, plus a trailer section.
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
        assert_eq!(end, end_of_chunks(bytes), "reference");
    }
    round_trip(bytes);
}

/// A reference for the end of a chunked body (RFC 9112, section 7.1); none if it is not complete or
/// malformed.
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
            loop {
                let field = line(&mut at)?;
                if field.is_empty() {
                    return Some(at);
                }
                let name = &field[..field.iter().position(|&byte| byte == b':')?];
                if name.is_empty() || !name.iter().all(|&byte| is_token_byte(byte)) {
                    return None;
                }
            }
        }
        at = at.checked_add(size)?;
        if bytes.get(at..at.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
}

/// Data that is encoded in chunks is decoded to the same data, and the decoder stops at the end of
/// the body.
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
            let step = decoder.decode(piece).expect("data within the limit");
            decoded.extend_from_slice(&piece[..step.data]);
        }
        assert!(decoder.is_done() && decoded == data);
    }
}

/// The bytes taken, the end of the response, its last head, and whether the connection persists.
type Followed = (usize, Result<Option<u16>, ClientFault>, Vec<u8>, bool);

fn follow(framing: &mut ResponseFraming, pieces: &[&[u8]]) -> Followed {
    let mut taken = 0;
    for piece in pieces {
        let count = framing.feed(piece);
        taken += count;
        match framing.verdict() {
            Some(verdict) => assert_eq!(verdict.map(Some), framing.finish()),
            None => assert_eq!(count, piece.len(), "an incomplete response takes all bytes"),
        }
    }
    (taken, framing.finish(), framing.head().to_vec(), framing.is_persistent())
}

/// A response ends in the same place however it is split, and what follows does not belong to it.
pub fn client(bytes: &[u8]) {
    let kinds = [
        || ResponseFraming::new(false),
        || ResponseFraming::new(true),
        ResponseFraming::http11 as fn() -> ResponseFraming,
    ];
    let ways: Vec<_> = ways_to_split(bytes).iter().map(|ends| pieces(bytes, ends)).collect();
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
        assert!(head.len() <= cws::internals::MAX_HEAD);
        if is_over {
            assert_eq!(framing.feed(b"HTTP/1.1 200 OK\r\n\r\n"), 0);
            assert_eq!(framing.finish(), *end, "what follows does not change it");
        }
        framing.restart();
        assert_eq!(follow(&mut framing, &[bytes]), whole, "a restart resets it");
    }
}

/// What a server finds in the bytes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Request { head: Vec<u8>, framing: Framing, body: usize },
    Refused(Fault),
}

/// The server's side of a connection without a socket.
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

    /// Takes one step with the bytes received; false if it needs more of them.
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

    /// The bytes of an incomplete request, unless the connection has ended.
    fn rest(&self) -> Option<&[u8]> {
        (!matches!(self.next, Next::Over)).then_some(&self.input)
    }
}

/// The bytes of a connection are the same requests however they are split, and a second parser
/// finds the same ones.
pub fn dialogue(bytes: &[u8]) {
    let whole = Dialogue::of(&[bytes]);
    for ends in ways_to_split(bytes) {
        let in_pieces = Dialogue::of(&pieces(bytes, &ends));
        assert_eq!(in_pieces.seen, whole.seen, "split at {ends:?}");
        assert_eq!(in_pieces.rest(), whole.rest(), "split at {ends:?}");
    }
    check_places(bytes, &whole.seen);
    let refused = whole.seen.iter().filter(|seen| matches!(seen, Seen::Refused(_))).count();
    assert!(
        refused <= 1 && (refused == 0 || whole.rest().is_none()),
        "a refusal ends the connection"
    );
}

/// Other parsers find the same heads and bodies in the same places: nothing in one request can be
/// taken for the start of another.
fn check_places(bytes: &[u8], seen: &[Seen]) {
    let mut at = 0;
    for seen in seen {
        let Seen::Request { head, framing, body } = seen else { return };
        at += empty_lines(&bytes[at..]);
        let rest = &bytes[at..];
        let mut slots = FieldSlots::default();
        let request = Request::parse(head, &mut slots).expect("a request that was accepted");
        assert_ne!(request.version, Version::Http09);
        assert_eq!(framing_of(&request), *framing);
        if std::str::from_utf8(request.target.raw).is_ok() {
            check_against_httparse(rest, head.len(), &request);
        }
        let length = match framing.body {
            BodyLength::Known(length) => usize::try_from(length).ok(),
            BodyLength::Chunked => end_of_chunks(&rest[head.len()..]),
        };
        assert_eq!(length, Some(*body));
        at += head.len() + body;
    }
}
