//! Decodes the body of a message: where it ends, and the data in its chunks.

use super::fault::Fault;
use super::framing::BodyLength;
use super::is_token_byte;
use crate::config;
use core::ops::Range;

/// An incremental decoder of a body that arrives in pieces of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyDecoder {
    state: BodyState,
    /// Bytes of data that are still allowed.
    left: u64,
    /// Bytes of chunk framing that are still allowed: a body of small chunks is mostly framing.
    framing_left: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BodyState {
    /// The rest of a body of known length, or of a chunk, which a CRLF follows.
    Data { left: u64, chunk: bool },
    /// A chunk-size line: the size so far, its digits, the bytes of the line, and its part.
    Size { size: u64, digits: u8, line: usize, part: SizePart },
    /// The CRLF after a chunk's data, or the LF that ends a size line.
    Crlf { lf_only: bool, then: AfterCrlf },
    /// A line of the trailer section: its part, and the bytes of the section.
    Trailer { part: TrailerPart, section: usize },
    /// The body is complete.
    Done,
}

/// The part of a chunk-size line that has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SizePart {
    Digits,
    /// White space, which only an extension may follow.
    Space,
    Extension,
}

/// The part of a trailer field's line that has been reached. The fields are dropped. They are
/// checked all the same: a line that is no field may be meant as a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrailerPart {
    Start,
    Name,
    Value,
    /// The CR that ends the line.
    Cr,
}

/// What follows the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterCrlf {
    Size,
    Data(u64),
    Trailer,
    End,
}

/// What a piece of a body contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the piece that belong to the body.
    pub taken: usize,
    /// Bytes of data among them.
    pub data: usize,
}

impl BodyDecoder {
    /// A decoder for a body of this length with at most `limit` bytes of data.
    ///
    /// # Errors
    ///
    /// If the length is known and exceeds the limit.
    pub fn new(length: BodyLength, limit: u64) -> Result<Self, Fault> {
        let state = match length {
            BodyLength::Known(0) => BodyState::Done,
            BodyLength::Known(left) if left > limit => return Err(Fault::BodyTooLarge),
            BodyLength::Known(left) => BodyState::Data { left, chunk: false },
            BodyLength::Chunked => BodyState::SIZE,
        };
        let framing_left = limit.saturating_add(config::TRAILER_BYTES as u64);
        Ok(Self { state, left: limit, framing_left })
    }

    /// True if the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == BodyState::Done
    }

    /// Takes the bytes that belong to the body from the front of `bytes`, and returns their number.
    ///
    /// # Errors
    ///
    /// If the chunks are malformed or exceed the limit. The decoder is of no use after that.
    pub fn skip(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while let Some(data) = self.next_data(bytes, &mut at)? {
            at = data.end;
        }
        Ok(at)
    }

    /// Does the same as [`skip`](Self::skip), and also moves the data among the bytes taken to the
    /// front of `bytes`.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Fault> {
        let (mut at, mut data_length) = (0, 0);
        while let Some(data) = self.next_data(bytes, &mut at)? {
            at = data.end;
            bytes.copy_within(data.clone(), data_length);
            data_length += data.len();
        }
        Ok(Decoded { taken: at, data: data_length })
    }

    /// The next run of data in `bytes` from `at` on. Advances `at` past the framing before it.
    /// Returns none at the end of the bytes or of the body.
    fn next_data(&mut self, bytes: &[u8], at: &mut usize) -> Result<Option<Range<usize>>, Fault> {
        while *at < bytes.len() && self.state != BodyState::Done {
            if let BodyState::Data { left, chunk } = self.state {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - *at);
                let left = left - taken as u64;
                self.state = match (left, chunk) {
                    (0, false) => BodyState::Done,
                    (0, true) => BodyState::Crlf { lf_only: false, then: AfterCrlf::Size },
                    _ => BodyState::Data { left, chunk },
                };
                return Ok(Some(*at..*at + taken));
            }
            self.framing_left = self.framing_left.checked_sub(1).ok_or(Fault::BodyTooLarge)?;
            self.framing_byte(bytes[*at])?;
            *at += 1;
        }
        Ok(None)
    }

    /// Takes one byte of framing (RFC 9112, section 7.1). Only CRLF ends a line here.
    fn framing_byte(&mut self, byte: u8) -> Result<(), Fault> {
        self.state = match (&self.state, byte) {
            (BodyState::Size { size, digits, line, part }, byte) => {
                self.size_byte(*size, *digits, *line, *part, byte)?
            }
            (BodyState::Crlf { lf_only: false, then }, b'\r') => {
                BodyState::Crlf { lf_only: true, then: *then }
            }
            (BodyState::Crlf { lf_only: true, then }, b'\n') => match then {
                AfterCrlf::Size => BodyState::SIZE,
                AfterCrlf::Data(left) => BodyState::Data { left: *left, chunk: true },
                AfterCrlf::Trailer => BodyState::Trailer { part: TrailerPart::Start, section: 0 },
                AfterCrlf::End => BodyState::Done,
            },
            (BodyState::Trailer { part: TrailerPart::Start, .. }, b'\r') => {
                BodyState::Crlf { lf_only: true, then: AfterCrlf::End }
            }
            (BodyState::Trailer { section, .. }, _) if *section >= config::TRAILER_BYTES => {
                return Err(Fault::HeadTooLarge);
            }
            (BodyState::Trailer { part, section }, byte) => {
                BodyState::Trailer { part: part.next(byte)?, section: section + 1 }
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
        part: SizePart,
        byte: u8,
    ) -> Result<BodyState, Fault> {
        if line >= config::CHUNK_LINE_BYTES {
            return Err(Fault::Chunk);
        }
        let line = line + 1;
        let on = |part| Ok(BodyState::Size { size, digits, line, part });
        match (part, byte) {
            (SizePart::Digits | SizePart::Extension, b'\r') if digits > 0 => {
                // The limit is on data, so a chunk is refused before its data arrives.
                self.left = self.left.checked_sub(size).ok_or(Fault::BodyTooLarge)?;
                let then = if size == 0 { AfterCrlf::Trailer } else { AfterCrlf::Data(size) };
                Ok(BodyState::Crlf { lf_only: true, then })
            }
            (SizePart::Digits | SizePart::Space, b';') if digits > 0 => on(SizePart::Extension),
            (SizePart::Digits | SizePart::Space, b' ' | b'\t') if digits > 0 => on(SizePart::Space),
            (SizePart::Extension, b'\t' | b' '..=0x7e | 0x80..) => on(SizePart::Extension),
            (SizePart::Digits, byte) if digits < 16 => {
                let digit = (byte as char).to_digit(16).ok_or(Fault::Chunk)?;
                let size = size << 4 | u64::from(digit);
                Ok(BodyState::Size { size, digits: digits + 1, line, part })
            }
            _ => Err(Fault::Chunk),
        }
    }
}

impl BodyState {
    const SIZE: Self = Self::Size { size: 0, digits: 0, line: 0, part: SizePart::Digits };
}

impl TrailerPart {
    /// The part that `byte` leads to (RFC 9112, section 5).
    fn next(self, byte: u8) -> Result<Self, Fault> {
        match (self, byte) {
            (Self::Start | Self::Name, byte) if is_token_byte(byte) => Ok(Self::Name),
            (Self::Name, b':') => Ok(Self::Value),
            (Self::Value, b'\t' | b' '..=0x7e | 0x80..) => Ok(Self::Value),
            (Self::Value, b'\r') => Ok(Self::Cr),
            (Self::Cr, b'\n') => Ok(Self::Start),
            _ => Err(Fault::Chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn skip(body: &[u8], limit: u64, cuts: &[usize]) -> Result<(usize, bool), Fault> {
        let mut decoder = BodyDecoder::new(BodyLength::Chunked, limit)?;
        let mut taken = 0;
        for &cut in cuts.iter().chain([&body.len()]) {
            let cut = cut.clamp(taken, body.len());
            taken += decoder.skip(&body[taken..cut])?;
        }
        Ok((taken, decoder.is_done()))
    }

    /// The data, decoded in place from pieces, and whether the body is complete.
    fn decode(body: &[u8], limit: u64, cuts: &[usize]) -> Result<(Vec<u8>, bool), Fault> {
        let mut decoder = BodyDecoder::new(BodyLength::Chunked, limit)?;
        let (mut taken, mut data) = (0, Vec::new());
        for &cut in cuts.iter().chain([&body.len()]) {
            let mut piece = body[taken..cut.clamp(taken, body.len())].to_vec();
            let decoded = decoder.decode(&mut piece)?;
            taken += decoded.taken;
            data.extend_from_slice(&piece[..decoded.data]);
        }
        Ok((data, decoder.is_done()))
    }

    #[test]
    fn the_data_of_all_chunks_is_joined() {
        let body = b"5\r\nhello\r\n1;a\r\n \r\n00a\r\n0123456789\r\n0\r\nT: v\r\n\r\nGET /";
        let every: Vec<usize> = (0..body.len()).collect();
        for cuts in [&[][..], &every, &[9, 10, 30]] {
            assert_eq!(decode(body, 100, cuts), Ok((b"hello 0123456789".to_vec(), true)));
            assert_eq!(decode(body, 15, cuts), Err(Fault::BodyTooLarge));
        }
        assert_eq!(decode(b"5\r\nhel", 100, &[]), Ok((b"hel".to_vec(), false)));
    }

    #[test]
    fn chunked_bodies_end_or_are_refused() {
        let endless = format!("5;{}\r\n", "x".repeat(300));
        // Far more framing than data.
        let many = format!("1;{}\r\nx\r\n", "x".repeat(250)).repeat(99);
        type Row<'a> = (&'a [u8], Result<(usize, bool), Fault>);
        let rows: &[Row] = &[
            (b"0\r\n\r\nGET", Ok((5, true))),
            (b"5\r\nhello\r\n0\r\n\r\n", Ok((15, true))),
            (b"A;name=\"v\"\r\n0123456789\r\n000\r\nT: v\r\n\r\n", Ok((37, true))),
            (b"5\r\nhel", Ok((6, false))),
            (b"\r\n", Err(Fault::Chunk)),
            (b"1 ;a\r\nx\r\n0\r\n\r\n", Ok((14, true))),
            (b"1 0\r\n", Err(Fault::Chunk)),
            (b"1 \r\n", Err(Fault::Chunk)),
            (b"0\r\nT: v\n\r\n", Err(Fault::Chunk)),
            (b"0\r\nT: v\r\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\n\n", Err(Fault::Chunk)),
            (b"zz\r\n", Err(Fault::Chunk)),
            (b"-1\r\n", Err(Fault::Chunk)),
            (b"0x5\r\n", Err(Fault::Chunk)),
            (b"5\nhello", Err(Fault::Chunk)),
            (b"5\r\nhelloX", Err(Fault::Chunk)),
            (b"5;a\0\r\n", Err(Fault::Chunk)),
            (b"fffffffffffffffff\r\n", Err(Fault::Chunk)),
            (b"ffffffffffffffff\r\n", Err(Fault::BodyTooLarge)),
            (endless.as_bytes(), Err(Fault::Chunk)),
            (many.as_bytes(), Err(Fault::BodyTooLarge)),
            (b"5x\r\n", Err(Fault::Chunk)),
            (b" 5\r\n", Err(Fault::Chunk)),
            (b"+5\r\n", Err(Fault::Chunk)),
            (b"5_0\r\n", Err(Fault::Chunk)),
            (b";a\r\n", Err(Fault::Chunk)),
            (b"5\r", Ok((2, false))),
            (b"5\rhello", Err(Fault::Chunk)),
            (b"5;a\nhello\r\n", Err(Fault::Chunk)),
            (b"5;a\rb\r\nhello\r\n", Err(Fault::Chunk)),
            (b"5;a\r\rhello\r\n", Err(Fault::Chunk)),
            (b"5\r\nhello\n0\r\n\r\n", Err(Fault::Chunk)),
            (b"5\r\nhello\r0\r\n\r\n", Err(Fault::Chunk)),
            (b"5\r\nhello0\r\n\r\n", Err(Fault::Chunk)),
            (b"0000000000000000\r\n\r\n", Ok((20, true))),
            (b"00000000000000000\r\n\r\n", Err(Fault::Chunk)),
            (b"7fffffffffffffff\r\n", Err(Fault::BodyTooLarge)),
            // The sizes overflow only when they are added up.
            (b"1\r\nx\r\nffffffffffffffff\r\n", Err(Fault::BodyTooLarge)),
            (b"64\r\n", Ok((4, false))),
            (b"65\r\n", Err(Fault::BodyTooLarge)),
            (b"0\r\nA:\r\nB: c\xff\t\r\n\r\nGET", Ok((17, true))),
            (b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\nno colon\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\nT : v\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\n T: v\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\nT: v\r\n folded\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\n: v\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\nT\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\nT: a\0\r\n\r\n", Err(Fault::Chunk)),
            (b"0\r\nT: a\rb: c\r\n\r\n", Err(Fault::Chunk)),
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
        let mut decoder = BodyDecoder::new(BodyLength::Known(5), 10).expect("within the limit");
        assert_eq!(decoder.skip(b"abc"), Ok(3));
        assert_eq!(decoder.skip(b"deGET /"), Ok(2));
        assert!(decoder.is_done());
        let refused = BodyDecoder::new(BodyLength::Known(11), 10);
        assert_eq!(refused, Err(Fault::BodyTooLarge));
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_how_a_chunked_body_is_split(
            body in prop::collection::vec(prop_oneof![
                Just(b"0\r\n".to_vec()), Just(b"3\r\nabc\r\n".to_vec()), Just(b"\r\n".to_vec()),
                Just(b"1;x\r\nz\r\n".to_vec()), prop::collection::vec(any::<u8>(), 0..6)
            ], 0..12),
            mut cuts in prop::collection::vec(0usize..80, 0..6),
        ) {
            let body = body.concat();
            cuts.sort_unstable();
            prop_assert_eq!(skip(&body, 8, &cuts), skip(&body, 8, &[]));
            prop_assert_eq!(decode(&body, 8, &cuts), decode(&body, 8, &[]));
        }
    }
}
