//! The sizes of responses, by what was asked for, so that the smallest can be served first.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of sizes that are remembered. Two that share a place forget one another, which costs
/// their order and nothing else.
const PLACES: usize = 1 << 14;

/// Bits of a place that tell what was asked for; the others are the size.
const TAG_BITS: u32 = 24;

/// The sizes of the latest responses, by request line. It has a fixed size.
#[derive(Debug)]
pub struct Sizes {
    places: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Sizes {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { places, hasher: RandomState::new() }
    }
}

impl Sizes {
    /// The bytes of the latest response to this request line; 0 if there is none that is known.
    pub fn expected(&self, line: &[u8]) -> u64 {
        let (place, tag) = self.place(line);
        let found = place.load(Relaxed);
        if found >> (u64::BITS - TAG_BITS) == tag { found & Self::MOST } else { 0 }
    }

    /// Remembers the bytes of a response to this request line.
    pub fn learn(&self, line: &[u8], size: u64) {
        let (place, tag) = self.place(line);
        place.store(tag << (u64::BITS - TAG_BITS) | size.min(Self::MOST), Relaxed);
    }

    /// The largest size that fits, 1 TiB.
    const MOST: u64 = (1 << (u64::BITS - TAG_BITS)) - 1;

    fn place(&self, line: &[u8]) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(line);
        let at = hash as usize % PLACES;
        // An empty place has the tag 0 and the size 0, which is what an unknown one has.
        (&self.places[at], hash >> (u64::BITS - TAG_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_size_of_each_line_is_known() {
        let sizes = Sizes::default();
        assert_eq!(sizes.expected(b"GET /a HTTP/1.1"), 0);
        sizes.learn(b"GET /a HTTP/1.1", 500);
        sizes.learn(b"GET /a HTTP/1.1", 700);
        assert_eq!(sizes.expected(b"GET /a HTTP/1.1"), 700);
        assert_eq!(sizes.expected(b"HEAD /a HTTP/1.1"), 0);
        sizes.learn(b"GET /huge HTTP/1.1", u64::MAX);
        assert_eq!(sizes.expected(b"GET /huge HTTP/1.1"), Sizes::MOST);
    }

    #[test]
    fn many_lines_take_no_more_memory_and_most_are_known() {
        let sizes = Sizes::default();
        let line = |number: u64| format!("GET /{number} HTTP/1.1");
        for number in 1..=4096 {
            sizes.learn(line(number).as_bytes(), number);
        }
        let known = (1..=4096).filter(|&of| sizes.expected(line(of).as_bytes()) == of).count();
        assert!(known > 3000, "{known}");
        let wrong = (1..=4096).map(|of| (of, sizes.expected(line(of).as_bytes())));
        assert_eq!(wrong.filter(|&(of, found)| found != 0 && found != of).count(), 0);
        for number in 0..100_000 {
            sizes.learn(line(number).as_bytes(), number);
        }
        assert_eq!(sizes.places.len(), PLACES);
    }
}
