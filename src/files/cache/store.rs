//! Storage for cache entries, bounded by weight and looked up by borrowed keys.

use super::{CacheLimits, CachedFile, Neighbour};
use crate::config;
use crate::files::held::Held;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, OptionsBuilder, Weighter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// The key of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) path: Arc<[u8]>,
    pub(super) is_index: bool,
}

/// A borrowed key, so that a lookup allocates nothing.
#[derive(Clone, Copy)]
pub(super) struct KeyRef<'a> {
    pub(super) path: &'a [u8],
    pub(super) is_index: bool,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef { path: &self.path, is_index: self.is_index }.hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
        self.is_index.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.path == &*key.path && self.is_index == key.is_index
    }
}

/// Cached files, bounded by weight, and names that do not exist.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) entries: Cache<Key, Arc<CachedFile>, Weight, DefaultHashBuilder, DropUnlocked>,
    /// Names that do not exist, and the time of the check.
    pub(super) missing: Cache<Key, Instant>,
    /// The weight of an open file. Memory and descriptors share one budget: an open file weighs so
    /// much that the allowed number of them fills it.
    of_descriptor: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Weight;

impl Weighter<Key, Arc<CachedFile>> for Weight {
    fn weight(&self, _: &Key, entry: &Arc<CachedFile>) -> u64 {
        entry.weight
    }
}

/// Collects evicted entries and drops them after the lock is released, because dropping one may
/// close files.
#[derive(Debug, Clone)]
pub(super) struct DropUnlocked;

impl Lifecycle<Key, Arc<CachedFile>> for DropUnlocked {
    type RequestState = Vec<Arc<CachedFile>>;

    fn on_evict(&self, dropped: &mut Self::RequestState, _: Key, entry: Arc<CachedFile>) {
        dropped.push(entry);
    }
}

impl Store {
    pub(super) fn new(limits: CacheLimits) -> Self {
        let CacheLimits { bytes, descriptors } = limits;
        // If none may be open, an open file weighs more than the whole budget.
        let of_descriptor = match descriptors {
            0 => bytes.saturating_add(1),
            most => bytes.div_ceil(most as u64).max(config::CACHE_OVERHEAD),
        };
        // Each shard must have room for several of the largest entries.
        let largest = (config::SMALL_FILE + config::CACHE_OVERHEAD).max(of_descriptor);
        let room = usize::try_from(bytes / (16 * largest).max(1)).unwrap_or(usize::MAX);
        let wanted = 4 * thread::available_parallelism().map_or(1, usize::from);
        let typical = usize::try_from(bytes / config::CACHE_TYPICAL).unwrap_or(usize::MAX);
        let mut options = OptionsBuilder::new();
        options
            .shards(prev_power_of_two(wanted.min(room)))
            .estimated_items_capacity(typical)
            .weight_capacity(bytes);
        #[allow(clippy::expect_used, reason = "it fails only without a capacity")]
        let options = options.build().expect("both capacities are given");
        let entries =
            Cache::with_options(options, Weight, DefaultHashBuilder::default(), DropUnlocked);
        Self { entries, missing: Cache::new(config::CACHE_MISSING), of_descriptor }
    }

    /// True if a recent check found no file of this name.
    pub(super) fn is_missing(&self, wanted: KeyRef<'_>, now: Instant) -> bool {
        let checked = self.missing.get(&wanted);
        checked.is_some_and(|at| now.saturating_duration_since(at) < config::CACHE_FRESH)
    }

    pub(super) fn note_missing(&self, wanted: KeyRef<'_>, now: Instant) {
        if wanted.path.len() <= config::CACHE_MISSING_BYTES {
            let key = Key { path: wanted.path.into(), is_index: wanted.is_index };
            self.missing.insert(key, now);
        }
    }

    pub(super) fn put(&self, mut entry: CachedFile) -> Arc<CachedFile> {
        entry.weight = self.weight(&entry);
        let entry = Arc::new(entry);
        self.entries.insert(entry.key.clone(), Arc::clone(&entry));
        entry
    }

    fn weight(&self, entry: &CachedFile) -> u64 {
        let held = |held: &Held| {
            let content = if held.is_open() { self.of_descriptor } else { held.content().length() };
            content.saturating_add(config::CACHE_OVERHEAD)
        };
        let neighbours = entry.neighbours.iter().map(|neighbour| match neighbour {
            Neighbour::There(neighbour) => held(neighbour),
            Neighbour::Unknown | Neighbour::Absent => 0,
        });
        let names = (entry.key.path.len() + entry.path.as_bytes().len()) as u64;
        neighbours.chain([held(&entry.held), names]).fold(0, u64::saturating_add)
    }
}

fn prev_power_of_two(number: usize) -> usize {
    1 << number.max(1).ilog2()
}
