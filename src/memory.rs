//! One budget in bytes for all memory that clients can make the server hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A use of the memory budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryUse {
    /// Open connections, with the small fixed amount that each one has.
    Connections,
    /// Request heads that exceed this amount, and the bytes that follow them.
    Heads,
    /// Responses that wait for slow clients, and their log records.
    Responses,
    /// Directory listings, and the lists of what is in archives.
    Listings,
    /// Cached files.
    Files,
    /// Log lines that are not written yet.
    Log,
}

impl MemoryUse {
    /// All values.
    pub const ALL: [Self; 6] =
        [Self::Connections, Self::Heads, Self::Responses, Self::Listings, Self::Files, Self::Log];

    /// The part of a budget that this use may take. Listings may take half: slow readers of
    /// changing directories can keep listings for long, and must leave enough for other requests.
    fn most_within(self, budget: u64) -> u64 {
        if self == Self::Listings { budget / 2 } else { budget }
    }

    /// The name in metrics and on pages.
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

/// A memory budget in bytes, which all its clones share. Code that needs memory claims it first,
/// and does without if the claim is refused. So the sum of all claims never exceeds the limit.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: u64,
    total: AtomicU64,
    uses: [AtomicU64; MemoryUse::ALL.len()],
    refused: AtomicU64,
}

/// The state of a budget at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryState {
    /// The bytes held for each use, in the order of [`MemoryUse::ALL`].
    pub held: [u64; MemoryUse::ALL.len()],
    /// The limit in bytes.
    pub bound: u64,
    /// The number of claims refused so far.
    pub refused: u64,
}

impl MemoryState {
    /// The bytes held for all uses.
    pub fn held_in_all(&self) -> u64 {
        self.held.iter().sum()
    }
}

/// A claim on bytes of a budget. Dropping it gives them back.
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

    /// Claims `bytes`. `None` if they do not fit.
    pub fn claim(&self, of: MemoryUse, bytes: u64) -> Option<Claim> {
        let mut claim = Claim { memory: self.clone(), of, bytes: 0 };
        claim.resize(bytes).then_some(claim)
    }

    /// The limit in bytes.
    pub fn most(&self) -> u64 {
        self.0.most
    }

    /// The bytes held now for all uses.
    pub fn held(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// The bytes held now for one use.
    pub fn held_for(&self, of: MemoryUse) -> u64 {
        self.0.uses[of as usize].load(Relaxed)
    }

    /// True if `bytes` more would fit now.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.held().saturating_add(bytes) <= self.0.most
    }

    /// The number of claims refused so far.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// The state of the budget at this moment.
    pub fn state(&self) -> MemoryState {
        let held = MemoryUse::ALL.map(|of| self.held_for(of));
        MemoryState { held, bound: self.most(), refused: self.refused() }
    }

    fn grow(&self, of: MemoryUse, bytes: u64) -> bool {
        let Inner { most, total, uses, refused } = &*self.0;
        // A claim that does not fit must not change the sum, not even briefly: another that fits
        // would be refused.
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
    /// Changes the claim to `bytes`. If they do not fit, changes nothing and returns false.
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

    /// The size of the claim in bytes.
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
    fn a_claim_that_does_not_fit_is_refused_and_counted() {
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
    fn listings_may_take_only_half_of_the_budget() {
        let memory = Memory::new(100);
        let mut listings = memory.claim(MemoryUse::Listings, 50).expect("half");
        assert!(!listings.resize(51) && memory.claim(MemoryUse::Listings, 1).is_none());
        assert_eq!((memory.refused(), memory.held()), (2, 50));
        let _heads = memory.claim(MemoryUse::Heads, 50).expect("the other half");
    }

    proptest! {
        #[test]
        fn the_sum_of_claims_never_exceeds_the_limit(
            sizes in prop::collection::vec(0u64..60, 0..40)
        ) {
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
