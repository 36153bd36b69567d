//! The content of a response: bytes, files, and what is made while it is sent.

use crate::config::SMALL_FILE;
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
    /// Bytes of a file.
    File(FileSlice),
    /// Bytes that are made as the peer takes them.
    Stream(Stream),
    /// One after another.
    Sequence(VecDeque<Body>),
}

/// Content that is made piece by piece, the next one when the last is sent. Workers alone run it,
/// and each piece is a job of its own: one that takes long holds a worker, and delays its own
/// response alone.
pub struct Stream {
    /// None where nobody knows.
    left: Option<u64>,
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl Stream {
    /// Content of `length` bytes in all, from these pieces. What is beyond that length is cut off;
    /// where there is less, the connection ends early, by which the client knows.
    pub fn new(length: u64, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { left: Some(length), pieces: Box::new(pieces) }
    }

    /// Content of a length that is not known before it ends: chunked in HTTP/1.1 (RFC 9112,
    /// section 7.1), and ended by the end of the connection in HTTP/1.0.
    pub fn chunked(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { left: None, pieces: Box::new(pieces) }
    }

    /// True where all that was announced has been given.
    pub(crate) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// The next piece with bytes in it; none at the end. The error is that there is less than was
    /// announced, or that the iterator panicked.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        if self.is_over() {
            return Ok(None);
        }
        let pieces = &mut self.pieces;
        let next = AssertUnwindSafe(|| pieces.find(|piece| !piece.is_empty()));
        let piece = catch_unwind(next).map_err(|_| io::Error::other("its stream panicked"))?;
        let Some(left) = &mut self.left else { return Ok(piece) };
        let Some(mut piece) = piece else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended early"));
        };
        piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= piece.len() as u64;
        Ok(Some(piece))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("left", &self.left).finish_non_exhaustive()
    }
}

/// A stretch of an open file.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<File>,
    /// Its first byte to send.
    pub offset: u64,
    /// The number of bytes to send.
    pub length: u64,
}

impl Body {
    /// True where some of it is still to be read or made, which can fail.
    pub fn may_fail(&self) -> bool {
        match self {
            Self::Empty | Self::Bytes(_) => false,
            Self::File(_) | Self::Stream(_) => true,
            Self::Sequence(parts) => parts.iter().any(Self::may_fail),
        }
    }

    /// The bytes of memory that it holds: content in memory that is shared with others is theirs,
    /// unless it is so small that a copy would be no matter.
    pub(crate) fn held(&self) -> u64 {
        match self {
            Self::Bytes(bytes) if bytes.len() <= SMALL_FILE as usize || bytes.is_unique() => {
                bytes.len() as u64
            }
            Self::Empty | Self::File(_) | Self::Bytes(_) => 0,
            Self::Stream(_) => size_of::<Stream>() as u64,
            Self::Sequence(parts) => parts.iter().map(Self::held).sum(),
        }
    }

    /// The number of bytes; none where it is not known before the end.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(slice) => Some(slice.length),
            Self::Stream(stream) => stream.left,
            Self::Sequence(parts) => parts.iter().map(Self::length).sum(),
        }
    }
}
