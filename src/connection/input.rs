//! The bytes that came on a connection and were not used yet.

use crate::config;

/// A buffer whose front is used up and whose back grows.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    /// What has not been used.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// True where all was used.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Appends what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Uses up `count` bytes from the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// Uses up `count` bytes behind the first `kept`.
    pub(super) fn consume_behind(&mut self, kept: usize, count: usize) {
        let from = self.start + kept;
        self.bytes.drain(from..from + count);
    }

    /// Drops all, and gives back memory that a waiting connection should not hold.
    pub(super) fn clear(&mut self) {
        self.start = 0;
        if self.bytes.capacity() > config::KEPT_BYTES {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_and_back() {
        let mut input = Input::default();
        input.push(b"head body next");
        input.consume_behind(5, 5);
        assert_eq!(input.as_slice(), b"head next");
        input.consume(5);
        input.push(b"!");
        assert_eq!(input.as_slice(), b"next!");
        input.consume(5);
        assert!(input.is_empty());
    }

    #[test]
    fn a_waiting_connection_holds_little() {
        let mut input = Input::default();
        input.push(&[0; config::KEPT_BYTES * 4]);
        input.consume(config::KEPT_BYTES * 4);
        assert!(input.bytes.capacity() <= config::KEPT_BYTES);
    }
}
