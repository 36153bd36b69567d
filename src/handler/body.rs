//! The content of a response: bytes, files and streams.

use crate::config::SMALL_FILE;
use crate::lane::Wait;
use crate::notes::note;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The content of a response.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A part of a file.
    File(FileSlice),
    /// Pieces that are produced while the client receives them.
    Stream(Stream),
    /// Several bodies in sequence.
    Sequence(VecDeque<Body>),
}

/// Content that an iterator produces piece by piece, each one after the last has been sent. Only
/// workers advance the iterator, and each piece is a job of its own: a slow one occupies a worker
/// and delays only its own response.
///
/// An empty piece means that there is nothing yet. The server asks again after about a quarter of a
/// second, without a worker in the meantime.
///
/// ```
/// use cws::{Request, Response, Stream};
/// use std::io::{BufReader, Read};
///
/// // The output of a program, as it comes.
/// let log = |_: &Request<'_>| {
///     let mut reader = BufReader::new(std::io::Cursor::new(b"a line\n".repeat(1000)));
///     let pieces = std::iter::from_fn(move || {
///         let mut piece = vec![0; 8192];
///         let length = reader.read(&mut piece).ok().filter(|&length| length > 0)?;
///         piece.truncate(length);
///         Some(piece.into())
///     });
///     Response::stream("text/plain", Stream::chunked(pieces))
/// };
/// # fn is_handler(_: impl cws::Handler) {}
/// # is_handler(log);
/// ```
pub struct Stream {
    /// None if it is unknown.
    left: Option<u64>,
    /// Always there until it is dropped.
    pieces: Option<Box<dyn Iterator<Item = Made> + Send>>,
    /// The bytes of memory that the iterator holds.
    holds: u64,
}

impl Stream {
    /// Content of `length` bytes in all. What exceeds the length is cut off. If there is less, the
    /// connection closes early, by which the client knows.
    pub fn new(length: u64, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        let pieces = Box::new(pieces.map(Made::Bytes));
        Self { left: Some(length), pieces: Some(pieces), holds: 0 }
    }

    /// The same of other pieces than bytes.
    #[cfg(feature = "files")]
    pub(crate) fn of_pieces(
        length: u64,
        pieces: impl Iterator<Item = Made> + Send + 'static,
    ) -> Self {
        Self { left: Some(length), pieces: Some(Box::new(pieces)), holds: 0 }
    }

    /// Content of unknown length: chunked in HTTP/1.1 (RFC 9112, section 7.1), and delimited by the
    /// end of the connection in HTTP/1.0.
    pub fn chunked(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { left: None, pieces: Some(Box::new(pieces.map(Made::Bytes))), holds: 0 }
    }

    /// States the bytes of memory that the iterator holds, which the server cannot know. They are
    /// claimed from `Config::memory` while the response waits for its client.
    #[must_use]
    pub fn holding(mut self, bytes: u64) -> Self {
        self.holds = bytes;
        self
    }

    /// True if all content of a known length has been produced.
    pub(crate) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// The next piece, which is empty if there is nothing yet; none at the end. The error is that
    /// there is less than was announced, or that the iterator panicked.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Made>> {
        if self.is_over() {
            return Ok(None);
        }
        let Some(pieces) = &mut self.pieces else { return Ok(None) };
        let piece = catch_unwind(AssertUnwindSafe(|| pieces.next()))
            .map_err(|_| io::Error::other("the stream panicked"))?;
        if let Some(Made::Failed(error)) = piece {
            return Err(error);
        }
        let Some(left) = &mut self.left else { return Ok(piece) };
        let Some(mut piece) = piece else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended early"));
        };
        *left -= piece.cut(*left);
        Ok(Some(piece))
    }
}

/// What an iterator of a stream makes.
#[derive(Debug)]
#[cfg_attr(not(feature = "files"), allow(dead_code, reason = "archives are of files"))]
pub(crate) enum Made {
    /// Content; if it is empty, there is nothing yet.
    Bytes(Bytes),
    /// Content that is sent like that of any file.
    File(FileSlice),
    /// The iterator is to be asked again at the end of this wait.
    Wait(Wait),
    /// The content cannot be made.
    Failed(io::Error),
}

impl Made {
    /// Cuts it to `most` bytes, and returns the bytes that it has then.
    fn cut(&mut self, most: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => {
                bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
                bytes.len() as u64
            }
            Self::File(slice) => {
                slice.length = slice.length.min(most);
                slice.length
            }
            Self::Wait(_) | Self::Failed(_) => 0,
        }
    }
}

impl Drop for Stream {
    /// A destructor of the iterator that panics costs nobody anything else.
    fn drop(&mut self) {
        let pieces = self.pieces.take();
        if catch_unwind(AssertUnwindSafe(|| drop(pieces))).is_err() {
            note!(Error, "a stream panicked when it was dropped");
        }
    }
}

impl From<Stream> for Body {
    fn from(stream: Stream) -> Self {
        Self::Stream(stream)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("left", &self.left).finish_non_exhaustive()
    }
}

/// A part of an open file.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<File>,
    /// The position of the first byte to send.
    pub offset: u64,
    /// The number of bytes to send.
    pub length: u64,
}

impl Body {
    /// True if a part has yet to be read or produced, which can fail.
    pub fn may_fail(&self) -> bool {
        match self {
            Self::Empty | Self::Bytes(_) => false,
            Self::File(_) | Self::Stream(_) => true,
            Self::Sequence(parts) => parts.iter().any(Self::may_fail),
        }
    }

    /// True if it can fail, or if sending it may last. Operators see what it is meanwhile.
    pub(crate) fn may_last(&self) -> bool {
        match self {
            Self::Empty => false,
            Self::Bytes(bytes) => bytes.len() > SMALL_FILE as usize,
            Self::File(_) | Self::Stream(_) => true,
            Self::Sequence(parts) => parts.iter().any(Self::may_last),
        }
    }

    /// The bytes of memory that this body holds. Content that is shared does not count, as its
    /// other owner accounts for it, unless it is small.
    pub(crate) fn held(&self) -> u64 {
        match self {
            Self::Bytes(bytes) if bytes.len() <= SMALL_FILE as usize || bytes.is_unique() => {
                bytes.len() as u64
            }
            Self::Empty | Self::File(_) | Self::Bytes(_) => 0,
            Self::Stream(stream) => size_of::<Stream>() as u64 + stream.holds,
            Self::Sequence(parts) => parts.iter().map(Self::held).sum(),
        }
    }

    /// True if part of it is made by a stream.
    pub(crate) fn has_stream(&self) -> bool {
        match self {
            Self::Stream(_) => true,
            Self::Sequence(parts) => parts.iter().any(Self::has_stream),
            Self::Empty | Self::Bytes(_) | Self::File(_) => false,
        }
    }

    /// The length in bytes; none if it is unknown until the end.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(slice) => Some(slice.length),
            Self::Stream(stream) => stream.left,
            // A sum that overflows is unknown, too: a wrong one would frame the response wrongly.
            Self::Sequence(parts) => {
                parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.length()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Body {
        Body::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn the_length_of_a_sequence_is_the_sum_of_its_parts() {
        let sequence = |parts: Vec<Body>| Body::Sequence(parts.into()).length();
        let stream = |length| Body::Stream(Stream::new(length, std::iter::empty()));
        assert_eq!(sequence(vec![]), Some(0));
        assert_eq!(sequence(vec![bytes("abc"), Body::Empty, stream(4)]), Some(7));
        let chunked = Body::Stream(Stream::chunked(std::iter::empty()));
        assert_eq!(sequence(vec![bytes("abc"), chunked]), None);
        assert_eq!(sequence(vec![stream(u64::MAX), stream(0)]), Some(u64::MAX));
        assert_eq!(sequence(vec![stream(u64::MAX), bytes("a")]), None, "the sum overflows");
    }

    #[test]
    fn a_stream_yields_exactly_its_announced_length_or_fails() {
        let pieces = || ["", "abc", "", "def"].map(|text| Bytes::from_static(text.as_bytes()));
        let all = |mut stream: Stream| {
            let mut all = Vec::new();
            while let Some(piece) = stream.next_piece()? {
                let Made::Bytes(piece) = piece else { panic!("{piece:?}") };
                all.extend_from_slice(&piece);
            }
            io::Result::Ok(all)
        };
        for length in 0..=6 {
            let found = all(Stream::new(length, pieces().into_iter())).expect("enough pieces");
            assert_eq!(found, &b"abcdef"[..length as usize]);
        }
        let short = all(Stream::new(7, pieces().into_iter())).map_err(|error| error.kind());
        assert_eq!(short, Err(io::ErrorKind::UnexpectedEof));
        let found = all(Stream::chunked(pieces().into_iter())).expect("no length to fall short of");
        assert_eq!(found, b"abcdef");
        assert!(all(Stream::chunked(std::iter::from_fn(|| panic!("on purpose")))).is_err());
    }
}
