//! What clients can make the server hold in memory: one bound in bytes for all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What memory is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryUse {
    /// Open connections, each with the little that it always has.
    Connections,
    /// Request heads that are larger than that little, and what came behind them.
    Heads,
    /// Responses that wait for their readers, with what is to be logged of them.
    Responses,
    /// The entries of directories.
    Listings,
    /// Files that are asked for often.
    Files,
    /// Log lines that wait to be written.
    Log,
}

impl MemoryUse {
    /// Every value.
    pub const ALL: [Self; 6] =
        [Self::Connections, Self::Heads, Self::Responses, Self::Listings, Self::Files, Self::Log];

    /// The part of a budget that this use may take: readers of directories that change may keep
    /// what they read for long, and leave enough for those who ask for anything else.
    fn most_within(self, budget: u64) -> u64 {
        if self == Self::Listings { budget / 2 } else { budget }
    }

    /// The word that metrics and pages use.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Heads => "heads",
            Self::Responses => "responses",
            Self::Listings => "listings",
            Self::Files => "files",
            Self::Log => "log",
        }
    }
}

/// A budget of bytes, shared by all who hold some. Whoever needs more claims it first, and does
/// without where the claim is refused; so the sum never exceeds the bound.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: u64,
    total: AtomicU64,
    uses: [AtomicU64; MemoryUse::ALL.len()],
    refused: AtomicU64,
}

/// A budget at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryState {
    /// Bytes that are held, for each use in the order of [`MemoryUse::ALL`].
    pub held: [u64; MemoryUse::ALL.len()],
    /// The largest number of bytes that may be held.
    pub bound: u64,
    /// Claims that were refused so far.
    pub refused: u64,
}

impl MemoryState {
    /// Bytes that are held for everything.
    pub fn held_in_all(&self) -> u64 {
        self.held.iter().sum()
    }
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping it gives the bytes back"]
pub struct Claim {
    memory: Memory,
    of: MemoryUse,
    bytes: u64,
}

impl Memory {
    /// A budget of `most` bytes.
    pub fn new(most: u64) -> Self {
        let (total, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { most, total, uses: Default::default(), refused }))
    }

    /// Holds `bytes` more, if they fit.
    pub fn claim(&self, of: MemoryUse, bytes: u64) -> Option<Claim> {
        let mut claim = Claim { memory: self.clone(), of, bytes: 0 };
        claim.resize(bytes).then_some(claim)
    }

    /// The bound.
    pub fn most(&self) -> u64 {
        self.0.most
    }

    /// Bytes that are held now, for everything.
    pub fn held(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// Bytes that are held now for one use.
    pub fn held_for(&self, of: MemoryUse) -> u64 {
        self.0.uses[of as usize].load(Relaxed)
    }

    /// True where so many bytes more would fit now.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.held().saturating_add(bytes) <= self.0.most
    }

    /// Claims that were refused.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// What is held at this moment.
    pub fn state(&self) -> MemoryState {
        let held = MemoryUse::ALL.map(|of| self.held_for(of));
        MemoryState { held, bound: self.most(), refused: self.refused() }
    }

    fn grow(&self, of: MemoryUse, bytes: u64) -> bool {
        let Inner { most, total, uses, refused } = &*self.0;
        // A claim that does not fit changes nothing, for others may fit meanwhile.
        let grow = |held: &AtomicU64, most: u64| {
            let grown = |held: u64| held.checked_add(bytes).filter(|&grown| grown <= most);
            held.fetch_update(Relaxed, Relaxed, grown).is_ok()
        };
        let use_most = of.most_within(*most);
        if !grow(&uses[of as usize], use_most) {
            refused.fetch_add(1, Relaxed);
            return false;
        }
        if !grow(total, *most) {
            uses[of as usize].fetch_sub(bytes, Relaxed);
            refused.fetch_add(1, Relaxed);
            return false;
        }
        true
    }

    fn shrink(&self, of: MemoryUse, bytes: u64) {
        self.0.total.fetch_sub(bytes, Relaxed);
        self.0.uses[of as usize].fetch_sub(bytes, Relaxed);
    }
}

impl Claim {
    /// Holds `bytes` from now on; false, and no change, where they do not fit.
    pub fn resize(&mut self, bytes: u64) -> bool {
        if bytes > self.bytes {
            if !self.memory.grow(self.of, bytes - self.bytes) {
                return false;
            }
        } else if bytes < self.bytes {
            self.memory.shrink(self.of, self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }

    /// The bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let memory = Memory::new(100);
        let mut heads = memory.claim(MemoryUse::Heads, 60).expect("room");
        assert!(memory.claim(MemoryUse::Log, 41).is_none());
        let log = memory.claim(MemoryUse::Log, 40).expect("room");
        assert_eq!((memory.held(), memory.held_for(MemoryUse::Log)), (100, 40));
        assert!(!heads.resize(61) && heads.bytes() == 60);
        assert_eq!(memory.refused(), 2);
        drop(log);
        assert!(heads.resize(100) && !memory.has_room(1));
        assert!(heads.resize(10) && memory.has_room(90) && !memory.has_room(u64::MAX));
        drop(heads);
        assert_eq!((memory.held(), memory.held_for(MemoryUse::Heads)), (0, 0));
    }

    #[test]
    fn listings_leave_half_to_others() {
        let memory = Memory::new(100);
        let mut listings = memory.claim(MemoryUse::Listings, 50).expect("half");
        assert!(!listings.resize(51) && memory.claim(MemoryUse::Listings, 1).is_none());
        assert_eq!((memory.refused(), memory.held()), (2, 50));
        let _heads = memory.claim(MemoryUse::Heads, 50).expect("the other half");
    }

    proptest! {
        #[test]
        fn the_sum_never_exceeds_the_bound(sizes in prop::collection::vec(0u64..60, 0..40)) {
            let memory = Memory::new(100);
            let mut claims = Vec::new();
            for (at, &size) in sizes.iter().enumerate() {
                let of = MemoryUse::ALL[at % MemoryUse::ALL.len()];
                match memory.claim(of, size) {
                    Some(claim) => claims.push(claim),
                    None => drop(claims.pop()),
                }
                let sum: u64 = claims.iter().map(Claim::bytes).sum();
                prop_assert!(memory.held() == sum && sum <= 100);
            }
        }
    }
}
