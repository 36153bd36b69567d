//! Bytes that arrived on a connection and are not used yet.

use crate::config;
use crate::memory::{Claim, Memory, MemoryUse};

/// A buffer that is consumed at the front and grows at the back, within a memory budget.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// For the capacity, if it exceeds [`config::KEPT_BYTES`], which every connection has.
    claim: Option<Claim>,
}

/// The budget has no memory for these bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoMemory;

impl Input {
    /// The bytes that are not used yet.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// True if all bytes are used.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// True if it holds more memory than every connection has.
    pub(super) fn holds_memory(&self) -> bool {
        self.claim.is_some()
    }

    /// Appends all of `bytes`, or nothing if the budget has no room for them.
    pub(super) fn push(&mut self, bytes: &[u8], memory: &Memory) -> Result<(), NoMemory> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            self.grow(needed, memory)?;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes room for `needed` bytes in all. It doubles the capacity up to the size of one read,
    /// and adds an eighth beyond, so that bytes that trickle in are not copied each time.
    fn grow(&mut self, needed: usize, memory: &Memory) -> Result<(), NoMemory> {
        let held = self.bytes.capacity();
        let grown = (2 * held).min(config::READ_BYTES).max(held + held / 8);
        let capacity = needed.max(grown).max(config::KEPT_BYTES);
        if capacity > config::KEPT_BYTES {
            let fits = match &mut self.claim {
                Some(claim) => claim.resize(capacity as u64),
                None => {
                    self.claim = memory.claim(MemoryUse::Heads, capacity as u64);
                    self.claim.is_some()
                }
            };
            if !fits {
                return Err(NoMemory);
            }
        }
        // The system can refuse what the budget allows.
        self.bytes.try_reserve_exact(capacity - self.bytes.len()).map_err(|_| NoMemory)
    }

    /// Removes `count` bytes from the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// The bytes behind the first `kept` ones.
    pub(super) fn behind_mut(&mut self, kept: usize) -> &mut [u8] {
        &mut self.bytes[self.start + kept..]
    }

    /// Removes `count` bytes behind the first `kept` ones.
    pub(super) fn remove(&mut self, kept: usize, count: usize) {
        let from = self.start + kept;
        self.bytes.drain(from..from + count);
    }

    /// Removes all bytes, and frees memory that an idle connection should not hold.
    pub(super) fn clear(&mut self) {
        self.start = 0;
        if self.bytes.capacity() > config::KEPT_BYTES {
            self.bytes = Vec::new();
            self.claim = None;
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
        let (mut input, memory) = (Input::default(), Memory::new(1 << 20));
        input.push(b"head body next", &memory).expect("room");
        input.remove(5, 5);
        assert_eq!(input.as_slice(), b"head next");
        input.consume(5);
        input.push(b"!", &memory).expect("room");
        assert_eq!(input.as_slice(), b"next!");
        input.consume(5);
        assert!(input.is_empty());
    }

    #[test]
    fn a_waiting_connection_holds_little() {
        let (mut input, memory) = (Input::default(), Memory::new(1 << 20));
        input.push(&[0; config::KEPT_BYTES * 4], &memory).expect("room");
        assert_eq!(memory.held(), config::KEPT_BYTES as u64 * 4);
        input.consume(config::KEPT_BYTES * 4);
        assert!(input.bytes.capacity() <= config::KEPT_BYTES);
        assert_eq!(memory.held(), 0);
    }

    /// The claim equals the capacity, whatever the sizes of the pieces.
    #[test]
    fn what_is_held_is_claimed() {
        for step in [1, 7, 500, 5000] {
            let (mut input, memory) = (Input::default(), Memory::new(40_000));
            let mut sent = 0;
            while input.push(&vec![b'x'; step], &memory) == Ok(()) {
                sent += step;
                let held = if input.bytes.capacity() > config::KEPT_BYTES {
                    input.bytes.capacity() as u64
                } else {
                    0
                };
                assert_eq!(memory.held(), held, "{step}");
            }
            assert_eq!(input.as_slice().len(), sent, "what did not fit is not there");
            assert!(sent + 2 * step > 40_000 - config::READ_BYTES, "{sent}");
            drop(input);
            assert_eq!(memory.held(), 0);
        }
    }
}
