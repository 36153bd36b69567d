//! A message's body in its transfer coding: where it ends, and what is in it.

use super::fault::Fault;
use super::framing::BodyLength;
use crate::config;
use core::ops::Range;

/// A body that comes in pieces of any size; it remembers where in the body the last one ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyDecoder {
    state: BodyState,
    /// Bytes of data that may still come.
    left: u64,
    /// Bytes of chunks' framing that may still come: a body of small chunks is mostly that.
    framing_left: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BodyState {
    /// So many bytes of a body of known length, or of a chunk (then followed by CRLF).
    Data { left: u64, chunk: bool },
    /// A chunk-size line: the size so far, its digits, the bytes of the line, and what may follow.
    Size { size: u64, digits: u8, line: usize, part: SizePart },
    /// The CRLF after a chunk's data, or the LF that ends a size line.
    Crlf { lf_only: bool, then: AfterCrlf },
    /// A line of the trailer section: its bytes so far, those of the section, and whether a CR
    /// was the last of them.
    Trailer { line: usize, section: usize, cr: bool },
    /// Nothing is left.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterCrlf {
    Size,
    Data(u64),
    Trailer,
    End,
}

/// What a piece of a body came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// The bytes that belong to the body.
    pub taken: usize,
    /// The bytes of data among them.
    pub data: usize,
}

impl BodyDecoder {
    /// A decoder for a body of this length that has at most `limit` bytes of data.
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

    /// True when the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == BodyState::Done
    }

    /// Takes what belongs to the body from the front of `bytes`; gives the number of bytes taken.
    pub fn skip(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while let Some(data) = self.next_data(bytes, &mut at)? {
            at = data.end;
        }
        Ok(at)
    }

    /// The same; moves the data in what was taken to the front of `bytes`, and gives its length
    /// too.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Fault> {
        let (mut at, mut data_length) = (0, 0);
        while let Some(data) = self.next_data(bytes, &mut at)? {
            at = data.end;
            bytes.copy_within(data.clone(), data_length);
            data_length += data.len();
        }
        Ok(Decoded { taken: at, data: data_length })
    }

    /// The next stretch of data in `bytes` from `at` on, which goes past the framing before it;
    /// none where the bytes or the body end.
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

    /// One byte outside of data (RFC 9112, section 7.1); lines end in CRLF and nothing else here.
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
                AfterCrlf::Trailer => BodyState::Trailer { line: 0, section: 0, cr: false },
                AfterCrlf::End => BodyState::Done,
            },
            (BodyState::Trailer { line: 0, .. }, b'\r') => {
                BodyState::Crlf { lf_only: true, then: AfterCrlf::End }
            }
            (BodyState::Trailer { section, .. }, _) if *section >= config::TRAILER_BYTES => {
                return Err(Fault::HeadTooLarge);
            }
            (BodyState::Trailer { section, cr: true, .. }, b'\n') => {
                BodyState::Trailer { line: 0, section: *section, cr: false }
            }
            (
                BodyState::Trailer { line, section, cr: false },
                b'\r' | b'\t' | b' '..=0x7e | 0x80..,
            ) => BodyState::Trailer { line: line + 1, section: section + 1, cr: byte == b'\r' },
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
                // The limit counts data, so it is checked before the data comes.
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

    /// The data, and whether the body has ended, decoded in place from pieces.
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
    fn data_is_found_between_the_chunks() {
        let body = b"5\r\nhello\r\n1;a\r\n \r\n00a\r\n0123456789\r\n0\r\nT: v\r\n\r\nGET /";
        let every: Vec<usize> = (0..body.len()).collect();
        for cuts in [&[][..], &every, &[9, 10, 30]] {
            assert_eq!(decode(body, 100, cuts), Ok((b"hello 0123456789".to_vec(), true)));
            assert_eq!(decode(body, 15, cuts), Err(Fault::BodyTooLarge));
        }
        assert_eq!(decode(b"5\r\nhel", 100, &[]), Ok((b"hel".to_vec(), false)));
    }

    #[test]
    fn chunked_bodies() {
        let endless = format!("5;{}\r\n", "x".repeat(300));
        // More framing than data by far.
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
            prop_assert_eq!(decode(&body, 8, &cuts), decode(&body, 8, &[]));
        }
    }
}
