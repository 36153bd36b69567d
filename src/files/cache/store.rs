//! Storage for cache entries, bounded by weight and looked up by borrowed keys.

use super::{CacheLimits, CachedFile, Lookup, Precompressed};
use crate::config;
use crate::files::loaded::LoadedFile;
use crate::files::root::NotServed;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, OptionsBuilder, Weighter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// The key of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CacheKey {
    pub(super) path: Arc<[u8]>,
    pub(super) is_index: bool,
}

/// A borrowed key, so that a lookup allocates nothing.
#[derive(Clone, Copy)]
pub(super) struct CacheKeyRef<'a> {
    pub(super) path: &'a [u8],
    pub(super) is_index: bool,
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        CacheKeyRef { path: &self.path, is_index: self.is_index }.hash(state);
    }
}

impl Hash for CacheKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
        self.is_index.hash(state);
    }
}

impl Equivalent<CacheKey> for CacheKeyRef<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        self.path == &*key.path && self.is_index == key.is_index
    }
}

/// Why a name is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// It does not exist.
    Missing,
    /// It is a directory; the key of an index says that the directory has none.
    Directory,
}

impl From<Absence> for Result<Lookup, NotServed> {
    fn from(absence: Absence) -> Self {
        match absence {
            Absence::Missing => Err(NotServed::NotFound),
            Absence::Directory => Ok(Lookup::Directory),
        }
    }
}

/// Cached files, bounded by weight, and names that are no files.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) entries: Cache<CacheKey, Arc<CachedFile>, Weight, DefaultHashBuilder, DropUnlocked>,
    /// Names that are no files, and the time of the check.
    pub(super) absent: Cache<CacheKey, (Absence, Instant)>,
    /// The weight of an open file. Memory and descriptors share one budget: an open file weighs so
    /// much that the allowed number of them fills it.
    open_weight: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Weight;

impl Weighter<CacheKey, Arc<CachedFile>> for Weight {
    fn weight(&self, _: &CacheKey, entry: &Arc<CachedFile>) -> u64 {
        entry.weight
    }
}

/// Collects evicted entries and drops them after the lock is released, because dropping one may
/// close files.
#[derive(Debug, Clone)]
pub(super) struct DropUnlocked;

impl Lifecycle<CacheKey, Arc<CachedFile>> for DropUnlocked {
    type RequestState = Vec<Arc<CachedFile>>;

    fn on_evict(&self, dropped: &mut Self::RequestState, _: CacheKey, entry: Arc<CachedFile>) {
        dropped.push(entry);
    }
}

impl Store {
    pub(super) fn new(limits: CacheLimits) -> Self {
        let CacheLimits { bytes, descriptors } = limits;
        // If none may be open, an open file weighs more than the whole budget.
        let open_weight = match descriptors {
            0 => bytes.saturating_add(1),
            most => bytes.div_ceil(most as u64).max(config::CACHE_OVERHEAD),
        };
        // Each shard must have room for several of the largest entries.
        let largest = (config::SMALL_FILE + config::CACHE_OVERHEAD).max(open_weight);
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
        Self { entries, absent: Cache::new(config::CACHE_MISSING), open_weight }
    }

    /// What the last check found under this name, if that was no file, and when that was.
    pub(super) fn absence(&self, wanted: CacheKeyRef<'_>) -> Option<(Absence, Instant)> {
        self.absent.get(&wanted)
    }

    pub(super) fn note_absence(&self, wanted: CacheKeyRef<'_>, absence: Absence, now: Instant) {
        if wanted.path.len() <= config::CACHE_MISSING_BYTES {
            let key = CacheKey { path: wanted.path.into(), is_index: wanted.is_index };
            self.absent.insert(key, (absence, now));
        }
    }

    pub(super) fn put(&self, mut entry: CachedFile) -> Arc<CachedFile> {
        entry.weight = self.weight(&entry);
        let entry = Arc::new(entry);
        self.entries.insert(entry.key.clone(), Arc::clone(&entry));
        entry
    }

    fn weight(&self, entry: &CachedFile) -> u64 {
        let weight = |file: &LoadedFile| {
            let content = if file.is_open() { self.open_weight } else { file.content().length() };
            content.saturating_add(config::CACHE_OVERHEAD)
        };
        let forms = entry.forms.iter().map(|form| match form {
            Precompressed::Present(form) => weight(form),
            Precompressed::Unknown | Precompressed::Absent => 0,
        });
        let names = (entry.key.path.len() + entry.path.as_bytes().len()) as u64;
        forms.chain([weight(&entry.loaded), names]).fold(0, u64::saturating_add)
    }
}

fn prev_power_of_two(number: usize) -> usize {
    1 << number.max(1).ilog2()
}
