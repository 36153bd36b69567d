//! The search for the end of a request head in bytes that come in pieces of any size.

use super::fault::Fault;
use super::{Version, is_token_byte};
use crate::config;

/// What the bytes seen so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// A head may yet come of them.
    Partial,
    /// The first so many bytes are a whole head; what follows is a body or the next head.
    Complete(usize),
    /// No continuation can make a head of them.
    Refused(Fault),
}

/// A search that remembers where it stopped, so that each byte is looked at once.
///
/// It does not parse: it finds the empty line, bounds what precedes it, and turns away what
/// cannot become a request, so that no refusal is left to a deadline. Lines end in CRLF or in a
/// single LF (RFC 9112, section 2.2); a CR elsewhere is refused.
#[derive(Debug, Clone, Default)]
pub struct HeadScanner {
    at: usize,
    line_start: usize,
    /// Where the target starts, once the method has ended.
    target_start: Option<usize>,
    target_ended: bool,
    version: Option<Version>,
}

/// The bounds of a head, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// The whole head.
    pub head: usize,
    /// The request target alone.
    pub target: usize,
    /// A line `GET target` is a whole request, of HTTP/0.9.
    pub http09: bool,
}

/// The number of leading bytes that are empty lines, which a server skips before a request line
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
    /// Looks at what `bytes` has beyond the last call. `bytes` is all that has come of this head,
    /// without empty lines before it.
    pub fn scan(&mut self, bytes: &[u8], limits: HeadLimits) -> Scan {
        loop {
            self.at += self.plain_run(bytes, limits);
            let Some(&byte) = bytes.get(self.at) else { return Scan::Partial };
            if self.at >= limits.head {
                return Scan::Refused(Fault::HeadTooLarge);
            }
            let outcome = match self.version {
                None => self.request_line_byte(byte, bytes, limits),
                Some(_) => self.field_byte(byte, bytes),
            };
            match outcome {
                Byte::Next => self.at += 1,
                Byte::Wait => return Scan::Partial,
                Byte::Refused(fault) => return Scan::Refused(fault),
                Byte::End => return Scan::Complete(self.at + 1),
            }
        }
    }

    /// The number of bytes ahead that decide nothing, which is nearly all of them: those within a
    /// field line, or within a target of permitted length.
    fn plain_run(&self, bytes: &[u8], limits: HeadLimits) -> usize {
        let ahead = |most: usize| bytes.get(self.at..bytes.len().min(most)).unwrap_or_default();
        match (self.version, self.target_start) {
            (Some(_), _) => run_of(ahead(limits.head), |byte| byte >= b' ' && byte != 0x7f),
            (None, Some(start)) if !self.target_ended => {
                let most = limits.head.min(start.saturating_add(limits.target));
                run_of(ahead(most), |byte| byte > b' ' && byte != 0x7f)
            }
            _ => 0,
        }
    }

    /// The version that the request line named, once it was seen: the one to answer a refusal in.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    fn request_line_byte(&mut self, byte: u8, bytes: &[u8], limits: HeadLimits) -> Byte {
        match byte {
            b'\n' => match line_version(trim_cr(&bytes[..self.at])) {
                None if limits.http09 && is_simple(trim_cr(&bytes[..self.at])) => {
                    self.version = Some(Version::Http09);
                    Byte::End
                }
                Some(version) => {
                    self.version = Some(version);
                    self.line_start = self.at + 1;
                    Byte::Next
                }
                None => Byte::Refused(Fault::RequestLine),
            },
            b'\r' => cr(bytes, self.at, Fault::RequestLine),
            b' ' if self.at > 0 && self.target_start.is_none() => {
                self.target_start = Some(self.at + 1);
                Byte::Next
            }
            b' ' if self.target_start.is_some() => {
                self.target_ended = true;
                Byte::Next
            }
            0..=b' ' | 0x7f => Byte::Refused(Fault::NotHttp),
            _ if self.target_ended => Byte::Next,
            _ if self.target_start.is_some_and(|start| self.at - start >= limits.target) => {
                Byte::Refused(Fault::TargetTooLong)
            }
            _ if self.target_start.is_some() => Byte::Next,
            _ if !is_token_byte(byte) => Byte::Refused(Fault::NotHttp),
            _ if self.at >= config::METHOD_BYTES => Byte::Refused(Fault::Method),
            _ => Byte::Next,
        }
    }

    fn field_byte(&mut self, byte: u8, bytes: &[u8]) -> Byte {
        match byte {
            b'\n' => {
                if trim_cr(&bytes[self.line_start..self.at]).is_empty() {
                    return Byte::End;
                }
                self.line_start = self.at + 1;
                Byte::Next
            }
            b'\r' => cr(bytes, self.at, Fault::HeaderField),
            b'\t' => Byte::Next,
            0..=0x1f | 0x7f => Byte::Refused(Fault::HeaderField),
            _ => Byte::Next,
        }
    }
}

/// The number of leading bytes that are as wanted. Whole blocks are looked at without a branch for
/// each byte, which the compiler makes a few instructions of.
fn run_of(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    const BLOCK: usize = 16;
    let is_plain = |block: &&[u8]| block.iter().fold(true, |all, &byte| all & wanted(byte));
    let blocks = bytes.chunks_exact(BLOCK).take_while(is_plain).count();
    let rest = &bytes[blocks * BLOCK..];
    blocks * BLOCK + rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len())
}

/// What one byte decides.
enum Byte {
    Next,
    Wait,
    End,
    Refused(Fault),
}

/// A CR is good only before a LF, which may not have come yet.
fn cr(bytes: &[u8], at: usize, fault: Fault) -> Byte {
    match bytes.get(at + 1) {
        None => Byte::Wait,
        Some(b'\n') => Byte::Next,
        Some(_) => Byte::Refused(fault),
    }
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// True for the one line of an HTTP/0.9 request.
pub fn is_simple(line: &[u8]) -> bool {
    line.strip_prefix(b"GET ").is_some_and(|target| !target.is_empty() && !target.contains(&b' '))
}

/// The version to answer in, if the line ends in one.
fn line_version(line: &[u8]) -> Option<Version> {
    let (before, version) = line.split_last_chunk::<9>()?;
    if !before.contains(&b' ') {
        return None; // Two words: what looks like a version is the target.
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
    fn heads_and_what_cannot_become_one() {
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
            (b"G\xc3T / HTTP/1.1\r\n", Scan::Refused(Fault::NotHttp)),
            (b"GET /a\0b HTTP/1.1\r\n", Scan::Refused(Fault::NotHttp)),
            (b"GET / HTTP/1.1\rX", Scan::Refused(Fault::RequestLine)),
            (b" GET / HTTP/1.1\r\n", Scan::Refused(Fault::NotHttp)),
            (b"GET / HTTP/1.1\r\nA: \0", Scan::Refused(Fault::HeaderField)),
            (b"GET / HTTP/1.1\r\nA: b\rc", Scan::Refused(Fault::HeaderField)),
            (long_target.as_bytes(), Scan::Refused(Fault::TargetTooLong)),
            (long_head.as_bytes(), Scan::Refused(Fault::HeadTooLarge)),
            (long_method.as_bytes(), Scan::Refused(Fault::Method)),
            (exact.as_bytes(), Scan::Complete(exact.len())),
            (above.as_bytes(), Scan::Refused(Fault::TargetTooLong)),
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
    fn simple_requests_are_for_those_who_want_them() {
        let simple = |line: &[u8], http09| {
            HeadScanner::default().scan(line, HeadLimits { http09, ..LIMITS })
        };
        assert_eq!(simple(b"GET /a\r\nmore", true), Scan::Complete(8));
        assert_eq!(simple(b"GET /a\n", true), Scan::Complete(7));
        assert_eq!(simple(b"GET /a\n", false), Scan::Refused(Fault::RequestLine));
        assert_eq!(simple(b"GET HTTP/1.1\r\n", true), Scan::Complete(14));
        assert_eq!(simple(b"GET HTTP/1.1\r\n", false), Scan::Refused(Fault::RequestLine));
        for line in [&b"HEAD /a\n"[..], b"GET \n", b"GET\n", b"GET /a b\n", b"get /a\n"] {
            assert_eq!(simple(line, true), Scan::Refused(Fault::RequestLine));
        }
    }

    #[test]
    fn empty_lines_are_counted_whole() {
        assert_eq!(empty_lines(b"\r\n\n\r\nGET"), 5);
        assert_eq!(empty_lines(b"\rGET"), 0);
        assert_eq!(empty_lines(b"\r"), 0);
        assert_eq!(empty_lines(b""), 0);
    }

    proptest! {
        #[test]
        fn no_split_changes_the_outcome(
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
        }
    }
}
