//! Where a request's body ends and whether the connection goes on after its response.

use super::Version;
use super::fault::Fault;
use super::target::is_authority;
use crate::config;
use httparse::Header;

/// What the header fields say of the message itself, read in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// The client wants the connection kept (RFC 9112, section 9.3).
    pub persistent: bool,
    /// The body that follows the head.
    pub body: BodyLength,
    /// The client waits for `100 (Continue)` before it sends the body.
    pub expects_continue: bool,
}

/// How the length of a request's body is told (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes; 0 where no field says otherwise.
    Known(u64),
    /// By its chunks.
    Chunked,
}

impl Framing {
    /// Reads the fields that frame a message; refuses every ambiguity.
    pub fn of(version: Version, fields: &[Header<'_>]) -> Result<Self, Fault> {
        let mut host = None;
        let mut length = None;
        let mut chunked = None;
        let mut connection = ConnectionOptions::default();
        let mut expects_continue = false;
        for field in fields {
            let value = field.value.trim_ascii();
            match field.name.len() {
                4 if field.name.eq_ignore_ascii_case("host") => {
                    if host.replace(value).is_some() || !is_authority(value) {
                        return Err(Fault::Host);
                    }
                }
                6 if field.name.eq_ignore_ascii_case("expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Fault::Expectation);
                    }
                    // A 1.0 client cannot have meant it (RFC 9110, section 10.1.1).
                    expects_continue = version == Version::Http11;
                }
                10 if field.name.eq_ignore_ascii_case("connection") => connection.add(value),
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    let value = decimal(value).ok_or(Fault::Framing)?;
                    if length.replace(value).is_some_and(|before| before != value) {
                        return Err(Fault::Framing);
                    }
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    if chunked.replace(value).is_some() {
                        return Err(Fault::Framing);
                    }
                }
                _ => {}
            }
        }
        if version == Version::Http11 && host.is_none() {
            return Err(Fault::Host);
        }
        let body = match (chunked, length) {
            (None, length) => BodyLength::Known(length.unwrap_or(0)),
            // Both at once, or a coding in 1.0, is how requests are smuggled (section 6.1).
            (Some(_), Some(_)) => return Err(Fault::Framing),
            (Some(_), None) if version == Version::Http10 => return Err(Fault::Framing),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => BodyLength::Chunked,
            (Some(coding), None) if coding.to_ascii_lowercase().ends_with(b"chunked") => {
                return Err(Fault::Coding);
            }
            (Some(_), None) => return Err(Fault::Framing),
        };
        Ok(Self {
            persistent: connection.persistent(version),
            body,
            expects_continue,
        })
    }
}

#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
}

impl ConnectionOptions {
    fn add(&mut self, list: &[u8]) {
        for option in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Digits and nothing else, within 64 bits.
fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A body that is read to be dropped; it remembers where in the body the last bytes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySkipper {
    state: State,
    left: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// So many bytes of a body of known length, or of a chunk (then followed by CRLF).
    Data { left: u64, chunk: bool },
    /// A chunk-size line: the size so far, its digits, and the bytes of the line.
    Size {
        size: u64,
        digits: u8,
        line: usize,
        extension: bool,
    },
    /// The CRLF after a chunk's data, or the LF that ends a size line.
    Crlf { lf_only: bool, then: After },
    /// A line of the trailer section: its bytes so far, and those of the section.
    Trailer { line: usize, section: usize },
    /// Nothing is left.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Size,
    Data(u64),
    Trailer,
    End,
}

impl BodySkipper {
    /// A skipper for a body of this length that drops at most `limit` bytes of it.
    pub fn new(length: BodyLength, limit: u64) -> Result<Self, Fault> {
        let state = match length {
            BodyLength::Known(0) => State::Done,
            BodyLength::Known(left) if left > limit => return Err(Fault::BodyTooLarge),
            BodyLength::Known(left) => State::Data { left, chunk: false },
            BodyLength::Chunked => State::SIZE,
        };
        Ok(Self { state, left: limit })
    }

    /// True when the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what belongs to the body from the front of `bytes`; gives the number of bytes taken.
    pub fn skip(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if let State::Data { left, chunk } = self.state {
                let taken = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - at);
                at += taken;
                let left = left - taken as u64;
                self.state = match (left, chunk) {
                    (0, false) => State::Done,
                    (0, true) => State::Crlf {
                        lf_only: false,
                        then: After::Size,
                    },
                    _ => State::Data { left, chunk },
                };
                continue;
            }
            self.framing_byte(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// One byte outside of data (RFC 9112, section 7.1); lines end in CRLF and nothing else here.
    fn framing_byte(&mut self, byte: u8) -> Result<(), Fault> {
        self.state = match (&self.state, byte) {
            (
                State::Size {
                    size,
                    digits,
                    line,
                    extension,
                },
                byte,
            ) => self.size_byte(*size, *digits, *line, *extension, byte)?,
            (
                State::Crlf {
                    lf_only: false,
                    then,
                },
                b'\r',
            ) => State::Crlf {
                lf_only: true,
                then: *then,
            },
            (
                State::Crlf {
                    lf_only: true,
                    then,
                },
                b'\n',
            ) => match then {
                After::Size => State::SIZE,
                After::Data(left) => State::Data {
                    left: *left,
                    chunk: true,
                },
                After::Trailer => State::Trailer {
                    line: 0,
                    section: 0,
                },
                After::End => State::Done,
            },
            (State::Trailer { line: 0, .. }, b'\r') => State::Crlf {
                lf_only: true,
                then: After::End,
            },
            (State::Trailer { section, .. }, _) if *section >= config::TRAILER_BYTES => {
                return Err(Fault::HeadTooLarge);
            }
            (State::Trailer { line, section }, b'\n') if *line > 0 => State::Trailer {
                line: 0,
                section: *section,
            },
            (State::Trailer { line, section }, b'\r' | b'\t' | b' '..=0x7e | 0x80..) => {
                State::Trailer {
                    line: line + 1,
                    section: section + 1,
                }
            }
            _ => return Err(Fault::Chunk),
        };
        Ok(())
    }

    fn size_byte(
        &mut self,
        size: u64,
        digits: u8,
        line: usize,
        extension: bool,
        byte: u8,
    ) -> Result<State, Fault> {
        if line >= config::CHUNK_LINE_BYTES {
            return Err(Fault::Chunk);
        }
        let line = line + 1;
        match byte {
            b'\r' if digits > 0 => {
                // The limit counts data, so it is checked before the data comes.
                self.left = self.left.checked_sub(size).ok_or(Fault::BodyTooLarge)?;
                let then = if size == 0 {
                    After::Trailer
                } else {
                    After::Data(size)
                };
                Ok(State::Crlf {
                    lf_only: true,
                    then,
                })
            }
            b';' | b' ' | b'\t' if digits > 0 && !extension => Ok(State::Size {
                size,
                digits,
                line,
                extension: true,
            }),
            b'\t' | b' '..=0x7e | 0x80.. if extension => Ok(State::Size {
                size,
                digits,
                line,
                extension,
            }),
            byte if !extension && digits < 16 => {
                let digit = (byte as char).to_digit(16).ok_or(Fault::Chunk)?;
                let size = size << 4 | u64::from(digit);
                Ok(State::Size {
                    size,
                    digits: digits + 1,
                    line,
                    extension,
                })
            }
            _ => Err(Fault::Chunk),
        }
    }
}

impl State {
    const SIZE: Self = Self::Size {
        size: 0,
        digits: 0,
        line: 0,
        extension: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framing(version: Version, fields: &[(&str, &str)]) -> Result<Framing, Fault> {
        let fields: Vec<Header<'_>> = fields
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        Framing::of(version, &fields)
    }

    #[test]
    fn lengths_and_persistence() {
        use BodyLength::{Chunked, Known};
        use Version::{Http10, Http11};
        type Row<'a> = (
            Version,
            &'a [(&'a str, &'a str)],
            Result<(bool, BodyLength), Fault>,
        );
        let host = ("Host", "h");
        let rows: &[Row] = &[
            (Http11, &[host], Ok((true, Known(0)))),
            (Http10, &[], Ok((false, Known(0)))),
            (
                Http10,
                &[("Connection", "foo, Keep-Alive")],
                Ok((true, Known(0))),
            ),
            (
                Http11,
                &[host, ("connection", "close")],
                Ok((false, Known(0))),
            ),
            (
                Http11,
                &[host, ("Connection", "keep-alive"), ("Connection", "close")],
                Ok((false, Known(0))),
            ),
            (
                Http11,
                &[host, ("Content-Length", "5")],
                Ok((true, Known(5))),
            ),
            (
                Http11,
                &[host, ("Content-Length", "5"), ("Content-Length", "5")],
                Ok((true, Known(5))),
            ),
            (
                Http11,
                &[host, ("Content-Length", "5"), ("Content-Length", "6")],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[host, ("Content-Length", "5, 5")],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[host, ("Content-Length", "+5")],
                Err(Fault::Framing),
            ),
            (Http11, &[host, ("Content-Length", "")], Err(Fault::Framing)),
            (
                Http11,
                &[host, ("Content-Length", "18446744073709551616")],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[host, ("Transfer-Encoding", "Chunked")],
                Ok((true, Chunked)),
            ),
            (
                Http11,
                &[host, ("Transfer-Encoding", "gzip, chunked")],
                Err(Fault::Coding),
            ),
            (
                Http11,
                &[host, ("Transfer-Encoding", "chunked, gzip")],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[
                    host,
                    ("Transfer-Encoding", "chunked"),
                    ("Transfer-Encoding", "chunked"),
                ],
                Err(Fault::Framing),
            ),
            (
                Http11,
                &[
                    host,
                    ("Transfer-Encoding", "chunked"),
                    ("Content-Length", "5"),
                ],
                Err(Fault::Framing),
            ),
            (
                Http10,
                &[("Transfer-Encoding", "chunked")],
                Err(Fault::Framing),
            ),
            (Http11, &[], Err(Fault::Host)),
            (Http11, &[host, host], Err(Fault::Host)),
            (Http11, &[("Host", "a b")], Err(Fault::Host)),
            (
                Http11,
                &[host, ("Expect", "magic")],
                Err(Fault::Expectation),
            ),
        ];
        for (version, fields, expected) in rows {
            let got = framing(*version, fields).map(|f| (f.persistent, f.body));
            assert_eq!(got, *expected, "{version:?} {fields:?}");
        }
    }

    fn skip(body: &[u8], limit: u64, cuts: &[usize]) -> Result<(usize, bool), Fault> {
        let mut skipper = BodySkipper::new(BodyLength::Chunked, limit)?;
        let mut taken = 0;
        for &cut in cuts.iter().chain([&body.len()]) {
            let cut = cut.clamp(taken, body.len());
            taken += skipper.skip(&body[taken..cut])?;
        }
        Ok((taken, skipper.is_done()))
    }

    #[test]
    fn chunked_bodies() {
        let endless = format!("5{}\r\n", "x".repeat(300));
        type Row<'a> = (&'a [u8], Result<(usize, bool), Fault>);
        let rows: &[Row] = &[
            (b"0\r\n\r\nGET", Ok((5, true))),
            (b"5\r\nhello\r\n0\r\n\r\n", Ok((15, true))),
            (
                b"A;name=\"v\"\r\n0123456789\r\n000\r\nT: v\r\n\r\n",
                Ok((37, true)),
            ),
            (b"5\r\nhel", Ok((6, false))),
            (b"\r\n", Err(Fault::Chunk)),
            (b"zz\r\n", Err(Fault::Chunk)),
            (b"-1\r\n", Err(Fault::Chunk)),
            (b"0x5\r\n", Err(Fault::Chunk)),
            (b"5\nhello", Err(Fault::Chunk)),
            (b"5\r\nhelloX", Err(Fault::Chunk)),
            (b"5;a\0\r\n", Err(Fault::Chunk)),
            (b"fffffffffffffffff\r\n", Err(Fault::Chunk)),
            (b"ffffffffffffffff\r\n", Err(Fault::BodyTooLarge)),
            (endless.as_bytes(), Err(Fault::Chunk)),
        ];
        for (body, expected) in rows {
            let text = String::from_utf8_lossy(body);
            assert_eq!(skip(body, 100, &[]), *expected, "{text:?}");
            let every: Vec<usize> = (0..body.len()).collect();
            assert_eq!(skip(body, 100, &every), *expected, "byte by byte: {text:?}");
        }
    }

    #[test]
    fn a_known_length_is_skipped_exactly() {
        let mut skipper = BodySkipper::new(BodyLength::Known(5), 10).expect("within the limit");
        assert_eq!(skipper.skip(b"abc"), Ok(3));
        assert_eq!(skipper.skip(b"deGET /"), Ok(2));
        assert!(skipper.is_done());
        let refused = BodySkipper::new(BodyLength::Known(11), 10);
        assert_eq!(refused, Err(Fault::BodyTooLarge));
    }

    proptest! {
        #[test]
        fn no_split_changes_a_chunked_body(
            body in prop::collection::vec(prop_oneof![
                Just(b"0\r\n".to_vec()), Just(b"3\r\nabc\r\n".to_vec()), Just(b"\r\n".to_vec()),
                Just(b"1;x\r\nz\r\n".to_vec()), prop::collection::vec(any::<u8>(), 0..6)
            ], 0..12),
            mut cuts in prop::collection::vec(0usize..80, 0..6),
        ) {
            let body = body.concat();
            cuts.sort_unstable();
            prop_assert_eq!(skip(&body, 8, &cuts), skip(&body, 8, &[]));
        }
    }
}
