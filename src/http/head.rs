//! Finds the end of a request head in bytes that arrive in pieces of any size.

use super::fault::Fault;
use super::framing::{Framing, FramingFields};
use super::{Version, is_token_byte};
use crate::config;

/// The result of a scan of the bytes received so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// More bytes may complete the head.
    Partial,
    /// The head is complete and has this length. A body or the next head follows it.
    Complete(usize),
    /// The bytes do not start a valid head, whatever follows them.
    Refused(Fault),
}

/// An incremental scanner: it remembers where it stopped and examines each byte once.
///
/// It does not parse the head. It finds the empty line, enforces the limits and records the fields
/// that frame the message. It refuses at once what no later byte can repair: a first byte that
/// starts no method, a first line without a version, a control character. Such a refusal therefore
/// does not wait for a deadline. Lines end in CRLF or in a single LF (RFC 9112, section 2.2).
#[derive(Debug, Clone, Default)]
pub struct HeadScanner {
    at: usize,
    line_start: usize,
    version: Option<Version>,
    fields: FramingFields,
}

/// The limits of a request head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub head: usize,
    /// Bytes of the request target.
    pub target: usize,
    /// Accept a line `GET target` as a complete HTTP/0.9 request.
    pub http09: bool,
}

/// The length of the empty lines at the start of `bytes`. A server skips them before a request line
/// (RFC 9112, section 2.2).
pub fn empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\n', ..] => at += 1,
            _ => return at,
        }
    }
}

impl HeadScanner {
    /// Continues the scan where the last call stopped. `bytes` holds everything received of this
    /// head so far, without the empty lines before it.
    pub fn scan(&mut self, bytes: &[u8], limits: HeadLimits) -> Scan {
        if self.at == 0 && bytes.first().is_some_and(|&first| !is_token_byte(first)) {
            return Scan::Refused(Fault::NotHttp);
        }
        loop {
            let most = match self.version {
                None => limits.head.min(limits.first_line()),
                Some(_) => limits.head,
            };
            let ahead = bytes.get(self.at..bytes.len().min(most)).unwrap_or_default();
            self.at += first_control(ahead).unwrap_or(ahead.len());
            let Some(&byte) = bytes.get(self.at) else { return Scan::Partial };
            if self.at >= most {
                return Scan::Refused(self.too_long(bytes, limits));
            }
            match (byte, bytes.get(self.at + 1)) {
                (b'\n', _) => {}
                (b'\r', Some(b'\n')) if self.at + 1 < most => self.at += 1,
                // The limit lies between the two.
                (b'\r', Some(b'\n')) => return Scan::Refused(self.too_long(bytes, limits)),
                // The next byte decides whether this is a line end.
                (b'\r', None) => return Scan::Partial,
                (b'\t', _) if self.version.is_some() => {
                    self.at += 1;
                    continue;
                }
                _ => return Scan::Refused(self.forbidden_byte(byte)),
            }
            let line = trim_cr(&bytes[self.line_start..self.at]);
            self.at += 1;
            self.line_start = self.at;
            match self.end_line(line, limits) {
                Ok(false) => {}
                Ok(true) => return Scan::Complete(self.at),
                Err(fault) => return Scan::Refused(fault),
            }
        }
    }

    /// The version of the request line, once that line is complete. A refusal is sent in it.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The framing of the message whose head is complete.
    pub fn framing(&self) -> Result<Framing, Fault> {
        self.fields.framing(self.version.unwrap_or(Version::Http11))
    }

    /// Takes a line in; true if it is the last one.
    fn end_line(&mut self, line: &[u8], limits: HeadLimits) -> Result<bool, Fault> {
        if self.version.is_some() {
            if line.is_empty() {
                return Ok(true);
            }
            self.fields.add_line(line);
            return Ok(false);
        }
        self.version = line_version(line);
        match self.version {
            Some(_) => Ok(false),
            None if limits.http09 && is_simple(line) => {
                self.version = Some(Version::Http09);
                Ok(true)
            }
            None => Err(Fault::RequestLine),
        }
    }

    /// The fault of a head that exceeds a limit at this point.
    fn too_long(&self, bytes: &[u8], limits: HeadLimits) -> Fault {
        let line = &bytes[..bytes.len().min(limits.first_line())];
        match self.version {
            Some(_) => Fault::HeadTooLarge,
            None if !line[..line.len().min(config::METHOD_BYTES + 1)].contains(&b' ') => {
                Fault::Method
            }
            None => Fault::TargetTooLong,
        }
    }

    fn forbidden_byte(&self, byte: u8) -> Fault {
        match (self.version, byte) {
            (Some(_), _) => Fault::HeaderField,
            (None, b'\r') => Fault::RequestLine,
            (None, _) => Fault::NotHttp,
        }
    }
}

impl HeadLimits {
    /// Bytes of the longest first line: method, target, version and what separates them.
    fn first_line(&self) -> usize {
        self.target.saturating_add(config::METHOD_BYTES + "  HTTP/1.1\r\n".len())
    }
}

/// The position of the first control character. Eight bytes are tested at a time.
fn first_control(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, &word) in words.iter().enumerate() {
        let controls = controls(u64::from_le_bytes(word));
        if controls != 0 {
            return Some(at * 8 + controls.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(u8::is_ascii_control)?;
    Some(words.len() * 8 + at)
}

/// The highest bit of each byte that is a control character. Above the lowest one that is set, bits
/// can be wrong, because a subtraction borrows from the next byte (Anderson, "Bit Twiddling Hacks",
/// "Determine if a word has a byte less than n").
fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below_space = word.wrapping_sub(ONES * 0x20);
    let delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES);
    (below_space | delete) & !word & (ONES * 0x80)
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// True for the one line of an HTTP/0.9 request.
pub fn is_simple(line: &[u8]) -> bool {
    line.strip_prefix(b"GET ").is_some_and(|target| !target.is_empty() && !target.contains(&b' '))
}

/// The version at the end of a request line: the response is sent in it.
fn line_version(line: &[u8]) -> Option<Version> {
    let (before, version) = line.split_last_chunk::<9>()?;
    if !before.contains(&b' ') {
        return None; // Of two words, the second is the target, even if it looks like a version.
    }
    match version {
        b" HTTP/1.0" => Some(Version::Http10),
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Some(Version::Http11)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::framing::BodyLength;
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { head: 256, target: 64, http09: false };

    fn whole(bytes: &[u8]) -> Scan {
        HeadScanner::default().scan(bytes, LIMITS)
    }

    /// Feeds growing prefixes, as a connection does, until the outcome is final.
    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Scan {
        let mut scanner = HeadScanner::default();
        for &cut in cuts.iter().chain([&bytes.len()]) {
            let outcome = scanner.scan(&bytes[..cut.min(bytes.len())], LIMITS);
            if outcome != Scan::Partial {
                return outcome;
            }
        }
        Scan::Partial
    }

    #[test]
    fn heads_are_complete_partial_or_refused() {
        let long_target = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200));
        let exact = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(63));
        let above = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(64));
        let long_head = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(300));
        let long_method = format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(40));
        let rows: &[(&[u8], Scan)] = &[
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", Scan::Complete(27)),
            (b"GET testfile HTTP/1.0\r\n\r\n", Scan::Complete(25)),
            (b"GET / HTTP/1.0\n\n", Scan::Complete(16)),
            (b"GET / HTTP/1.1\r\nA:\tb\r\n\r\n", Scan::Complete(24)),
            (b"", Scan::Partial),
            (b"GET", Scan::Partial),
            (b"GET / HTTP/1.1\r\n\r", Scan::Partial),
            (b"GET / HTTP/1.1\r\nA: b\r\n", Scan::Partial),
            (b"\x16\x03\x01\x02\x00", Scan::Refused(Fault::NotHttp)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Scan::Refused(Fault::RequestLine)),
            (b"GET /\r\n", Scan::Refused(Fault::RequestLine)),
            (b"\xc3T / HTTP/1.1\r\n", Scan::Refused(Fault::NotHttp)),
            (b"G\xc3T / HTTP/1.1\r\n", Scan::Partial),
            (b"GET /a\0b HTTP/1.1\r\n", Scan::Refused(Fault::NotHttp)),
            (b"GET / HTTP/1.1\rX", Scan::Refused(Fault::RequestLine)),
            (b" GET / HTTP/1.1\r\n", Scan::Refused(Fault::NotHttp)),
            (b"GET / HTTP/1.1\r\nA: \0", Scan::Refused(Fault::HeaderField)),
            (b"GET / HTTP/1.1\r\nA: b\rc", Scan::Refused(Fault::HeaderField)),
            (long_target.as_bytes(), Scan::Refused(Fault::TargetTooLong)),
            (long_head.as_bytes(), Scan::Refused(Fault::HeadTooLarge)),
            (long_method.as_bytes(), Scan::Complete(long_method.len())),
            (&[b'A'; 200], Scan::Refused(Fault::Method)),
            (exact.as_bytes(), Scan::Complete(exact.len())),
            (above.as_bytes(), Scan::Complete(above.len())),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Scan::Complete(18)),
        ];
        for (bytes, expected) in rows {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(whole(bytes), *expected, "{text:?}");
            let every: Vec<usize> = (0..bytes.len()).collect();
            assert_eq!(in_pieces(bytes, &every), *expected, "byte by byte: {text:?}");
        }
    }

    #[test]
    fn a_complete_head_gives_the_framing_of_its_message() {
        let framing = |fields: &str| {
            let mut scanner = HeadScanner::default();
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\nbody");
            for end in 0..=head.len() {
                if let Scan::Complete(_) = scanner.scan(&head.as_bytes()[..end], LIMITS) {
                    return scanner.framing();
                }
            }
            panic!("{head:?} is complete");
        };
        let known = |length| Ok(BodyLength::Known(length));
        let rows = [
            ("", known(0)),
            ("A: b\r\ncontent-length: 5\r\nC: d\r\n", known(5)),
            ("Content-Length: 5\nContent-Length: 6\r\n", Err(Fault::Framing)),
            ("Transfer-Encoding: chunked\r\n", Ok(BodyLength::Chunked)),
            ("X-Content-Length: 5\r\n", known(0)),
        ];
        for (fields, expected) in rows {
            assert_eq!(framing(fields).map(|framing| framing.body), expected, "{fields:?}");
        }
    }

    /// A client that sends byte by byte costs no more than one that sends the head at once.
    #[test]
    fn each_byte_is_examined_once() {
        let fields = "A: b\r\nC:\td\n".repeat(15);
        let head = format!("GET /a HTTP/1.1\r\n{fields}\r\n");
        let mut scanner = HeadScanner::default();
        for end in 0..head.len() {
            assert_eq!(scanner.scan(&head.as_bytes()[..end], LIMITS), Scan::Partial);
            // It steps back over a CR alone, whose meaning depends on the next byte.
            let stopped = end - usize::from(head[..end].ends_with('\r'));
            assert_eq!(scanner.at, stopped, "after {end} bytes");
        }
        assert_eq!(scanner.scan(head.as_bytes(), LIMITS), Scan::Complete(head.len()));
    }

    #[test]
    fn http09_requests_are_accepted_only_if_enabled() {
        let simple = |line: &[u8], http09| {
            HeadScanner::default().scan(line, HeadLimits { http09, ..LIMITS })
        };
        assert_eq!(simple(b"GET /a\r\nmore", true), Scan::Complete(8));
        assert_eq!(simple(b"GET /a\n", true), Scan::Complete(7));
        assert_eq!(simple(b"GET /a\n", false), Scan::Refused(Fault::RequestLine));
        assert_eq!(simple(b"GET HTTP/1.1\r\n", true), Scan::Complete(14));
        assert_eq!(simple(b"GET HTTP/1.1\r\n", false), Scan::Refused(Fault::RequestLine));
        let mut scanner = HeadScanner::default();
        let with_field = b"GET /a\r\nContent-Length: 5\r\n\r\nhello";
        let limits = HeadLimits { http09: true, ..LIMITS };
        assert_eq!(scanner.scan(with_field, limits), Scan::Complete(8));
        let framing = scanner.framing().map(|framing| framing.body);
        assert_eq!((scanner.version(), framing), (Some(Version::Http09), Ok(BodyLength::Known(0))));
        for line in [&b"HEAD /a\n"[..], b"GET \n", b"GET\n", b"GET /a b\n", b"get /a\n"] {
            assert_eq!(simple(line, true), Scan::Refused(Fault::RequestLine));
        }
    }

    #[test]
    fn only_complete_empty_lines_are_counted() {
        assert_eq!(empty_lines(b"\r\n\n\r\nGET"), 5);
        assert_eq!(empty_lines(b"\rGET"), 0);
        assert_eq!(empty_lines(b"\r"), 0);
        assert_eq!(empty_lines(b""), 0);
    }

    /// Each byte value at each position of a word, before and behind each other one.
    #[test]
    fn the_first_control_character_is_found_next_to_any_byte() {
        for byte in 0..=u8::MAX {
            for other in [0, b'\t', 0x1f, b' ', b'a', 0x7e, 0x7f, 0x80, 0x9f, 0xa0, 0xff] {
                for at in 0..17 {
                    let mut bytes = [b'a'; 19];
                    (bytes[at], bytes[at + 1]) = (byte, other);
                    let expected = bytes.iter().position(u8::is_ascii_control);
                    assert_eq!(first_control(&bytes), expected, "{bytes:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_control_character_is_found(
            bytes in prop::collection::vec(
                prop_oneof![8 => b' '..=u8::MAX, 1 => any::<u8>()], 0..80
            ),
        ) {
            let expected = bytes.iter().position(|&byte| byte < b' ' || byte == 0x7f);
            prop_assert_eq!(first_control(&bytes), expected);
        }

        #[test]
        fn the_outcome_does_not_depend_on_how_the_bytes_are_split(
            bytes in prop::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), Just(b'A'), any::<u8>()
            ], 0..400),
            prefix in prop_oneof![Just(""), Just("GET / HTTP/1.1\r\n"), Just("GET /")],
            mut cuts in prop::collection::vec(0usize..420, 0..8),
        ) {
            let mut all = prefix.as_bytes().to_vec();
            all.extend(bytes);
            cuts.sort_unstable();
            prop_assert_eq!(in_pieces(&all, &cuts), whole(&all));
            // Byte by byte, no word is looked at.
            let every: Vec<usize> = (0..all.len()).collect();
            prop_assert_eq!(in_pieces(&all, &every), whole(&all));
        }
    }
}
