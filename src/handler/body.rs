//! The content of a response: bytes, files, and what is made while it is sent.

use crate::config::SMALL_FILE;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

/// The content of a response.
#[derive(Debug, Default)]
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

/// Content of a known length that is made piece by piece, the next one when the last is sent: by
/// the thread that sends it, so a piece must be quick to make, and none may wait for anything.
pub struct Stream {
    left: u64,
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl Stream {
    /// Content of `length` bytes in all, from these pieces.
    pub fn new(length: u64, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { left: length, pieces: Box::new(pieces) }
    }

    /// The next piece with bytes in it; none when all were given, or when there are fewer than
    /// were announced. What is beyond the announced length is cut off.
    pub(crate) fn next_piece(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut piece = self.pieces.find(|piece| !piece.is_empty())?;
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= piece.len() as u64;
        Some(piece)
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

    /// The number of bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(slice) => slice.length,
            Self::Stream(stream) => stream.left,
            Self::Sequence(parts) => parts.iter().map(Self::length).sum(),
        }
    }
}
