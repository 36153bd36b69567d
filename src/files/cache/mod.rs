//! A cache of files that are requested often. A change to a file shows within a second.

mod store;
mod known;

pub use known::Known;

use super::loaded::LoadedFile;
use super::root::{Found, NotServed, Root};
use crate::config;
use crate::files::residency::is_in_memory;
use crate::http::coding::Coding;
use crate::http::target::DecodedPath;
use crate::lane::{Lane, Permit};
use std::fs::{File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;
use store::{Absence, CacheKey, CacheKeyRef, Store};

/// The files beneath a root. With a cache, files that are requested often are kept between
/// requests.
///
/// The kernel resolves each name beneath the root again when the last check is older than
/// [`config::CACHE_FRESH`], so that replaced files, links and permissions are noticed. If the file
/// is unchanged, its cached content stays. Names that do not exist are remembered in a small cache
/// of their own, so that requests for them evict no file. No lock is held during a system call.
#[derive(Debug)]
pub struct Files {
    root: Root,
    cache: Option<Store>,
    /// Limits how many workers wait for a disk at once.
    cold: Lane,
    hasher: RandomState,
}

/// The bounds of a cache.
///
/// It needs the feature `files`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of content, names and metadata.
    pub bytes: u64,
    /// Open files.
    pub descriptors: usize,
}

impl CacheLimits {
    /// The cache size for this memory budget: a quarter of it, at most 64 MiB.
    pub fn bytes_within(memory: u64) -> u64 {
        (memory / 4).min(config::CACHE_BYTES)
    }

    /// The number of cached open files for this descriptor limit: a sixteenth of it, at most 1024.
    pub fn descriptors_within(descriptors: usize) -> usize {
        (descriptors / 16).min(config::CACHE_DESCRIPTORS_MOST)
    }
}

impl Default for CacheLimits {
    /// The defaults of a program that sets no limits.
    fn default() -> Self {
        Self { bytes: config::CACHE_BYTES, descriptors: config::CACHE_DESCRIPTORS }
    }
}

/// What a path names.
#[derive(Debug)]
pub enum Lookup {
    /// A regular file.
    File(Arc<CachedFile>),
    /// A directory.
    Directory,
}

/// True if what was checked then need not be checked again.
fn is_recent(checked: Instant, now: Instant) -> bool {
    now.saturating_duration_since(checked) < config::CACHE_FRESH
}

/// A file that a path was resolved to, and the time of that check.
#[derive(Debug)]
pub struct CachedFile {
    key: CacheKey,
    /// The path of the file. It differs from the key's path if that is a directory with an index.
    path: DecodedPath,
    /// The time just before the last check of the file.
    checked: Instant,
    loaded: Arc<LoadedFile>,
    forms: [Precompressed; Coding::PRECOMPRESSED.len()],
    weight: u64,
}

/// A precompressed form of a file, such as `a.js.gz` for `a.js`.
#[derive(Debug, Clone)]
enum Precompressed {
    /// Not looked up yet.
    Unknown,
    Absent,
    Present(Arc<LoadedFile>),
}

impl CachedFile {
    /// The path of the file.
    pub fn path(&self) -> &DecodedPath {
        &self.path
    }

    /// The content and metadata of the file.
    pub fn loaded(&self) -> &Arc<LoadedFile> {
        &self.loaded
    }

    /// A copy for the store, as of a check at this time.
    fn checked_at(&self, checked: Instant) -> Self {
        let (key, path, forms) = (self.key.clone(), self.path.clone(), self.forms.clone());
        Self { key, path, checked, loaded: Arc::clone(&self.loaded), forms, weight: 0 }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        is_recent(self.checked, now) && self.loaded.is_unchanged()
    }

    /// True if the file or one of its forms is kept open.
    pub fn holds_descriptors(&self) -> bool {
        let is_open =
            |form: &Precompressed| matches!(form, Precompressed::Present(file) if file.is_open());
        self.loaded.is_open() || self.forms.iter().any(is_open)
    }
}

impl Files {
    /// The files beneath `root`, cached within `limits`. `None` means no cache.
    pub fn new(root: Root, limits: Option<CacheLimits>) -> Self {
        let cache = Self::new_store(limits);
        let cold = Lane::new((num_cpus::get() / 2).max(1), config::LANE_WAITING);
        Self { root, cache, cold, hasher: RandomState::new() }
    }

    fn new_store(limits: Option<CacheLimits>) -> Option<Store> {
        limits.filter(|limits| limits.bytes > 0).map(Store::new)
    }

    /// Lets at most half of `workers` wait for a disk, but always one.
    pub fn with_workers(self, workers: usize) -> Self {
        Self { cold: Lane::new((workers / 2).max(1), config::LANE_WAITING), ..self }
    }

    /// Caches files within other limits.
    pub fn with_cache(self, limits: Option<CacheLimits>) -> Self {
        Self { cache: Self::new_store(limits), ..self }
    }

    /// Changes the root, before it is in use.
    pub fn map_root(self, change: impl FnOnce(Root) -> Root) -> Self {
        Self { root: change(self.root), ..self }
    }

    /// The root directory.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Looks up the file or directory at `path`.
    pub fn find(&self, path: &DecodedPath) -> Result<Lookup, NotServed> {
        let wanted = CacheKeyRef { path: path.as_bytes(), is_index: false };
        self.look_up(wanted, || self.root.find(path).map(|found| (path.clone(), found)))
    }

    /// Looks up the index of the directory at `path`: the first of `names` that is a file which may
    /// be served. If there are files of these names and none may be served, the index is forbidden.
    pub fn find_index(
        &self,
        path: &DecodedPath,
        names: &[String],
    ) -> Result<Option<Arc<CachedFile>>, NotServed> {
        let wanted = CacheKeyRef { path: path.as_bytes(), is_index: true };
        let found = self.look_up(wanted, || {
            let mut outcome = Ok((path.clone(), Found::Directory));
            for name in names {
                match self.root.find_in(path, name) {
                    Ok(Found::Directory) | Err(NotServed::NotFound) => {}
                    Ok(file) => return Ok((path.child(name), file)),
                    Err(NotServed::Forbidden) => outcome = Err(NotServed::Forbidden),
                    Err(other) => return Err(other),
                }
            }
            outcome
        })?;
        Ok(match found {
            Lookup::File(entry) => Some(entry),
            Lookup::Directory => None,
        })
    }

    /// Looks up the precompressed form of `entry` in `coding`.
    pub fn precompressed(
        &self,
        entry: &Arc<CachedFile>,
        coding: Coding,
    ) -> Result<Option<Arc<LoadedFile>>, NotServed> {
        let Some(at) = Coding::PRECOMPRESSED.iter().position(|known| *known == coding) else {
            return Ok(None);
        };
        match &entry.forms[at] {
            Precompressed::Absent => return Ok(None),
            Precompressed::Present(loaded) if loaded.is_unchanged() => {
                return Ok(Some(Arc::clone(loaded)));
            }
            Precompressed::Present(_) | Precompressed::Unknown => {}
        }
        let (found, _permit) = self.look_beside(&entry.path, coding, None)?;
        if let Some(store) = &self.cache
            && entry.loaded.is_cacheable()
        {
            // The same request, or another one, may have found other forms since it got `entry`.
            let wanted = CacheKeyRef { path: &entry.key.path, is_index: entry.key.is_index };
            let latest = store.entries.get(&wanted);
            let latest = latest.filter(|latest| Arc::ptr_eq(&latest.loaded, &entry.loaded));
            let latest = latest.as_deref().unwrap_or(entry);
            let mut copy = latest.checked_at(latest.checked);
            copy.forms[at] = found.clone();
            store.put(copy);
        }
        Ok(match found {
            Precompressed::Present(loaded) => Some(loaded),
            Precompressed::Absent | Precompressed::Unknown => None,
        })
    }

    /// Closes the files that the cache keeps open, because descriptors are needed elsewhere.
    pub fn give_way(&self) {
        if let Some(store) = &self.cache {
            for (key, entry) in store.entries.iter() {
                if entry.holds_descriptors() {
                    let wanted = CacheKeyRef { path: &key.path, is_index: key.is_index };
                    store.entries.remove(&wanted);
                }
            }
        }
    }

    /// Closes files that have been removed or replaced since the last request for them, so that the
    /// file system can free their space. Files that are requested are checked then.
    pub fn tend(&self) {
        let Some(store) = &self.cache else { return };
        let now = Instant::now();
        for (key, entry) in store.entries.iter() {
            if entry.holds_descriptors() && !entry.is_fresh(now) && !self.is_in_place(&entry) {
                store.entries.remove(&CacheKeyRef { path: &key.path, is_index: key.is_index });
            }
        }
    }

    /// True if the files that an entry keeps open still have their names.
    fn is_in_place(&self, entry: &CachedFile) -> bool {
        let leads_to = |loaded: &LoadedFile, found: Result<Found, NotServed>| {
            !loaded.is_open()
                || matches!(found, Ok(Found::File(_, metadata)) if loaded.is_file_of(&metadata))
        };
        let beside = Coding::PRECOMPRESSED.iter().zip(&entry.forms);
        leads_to(&entry.loaded, self.root.find(&entry.path))
            && beside.into_iter().all(|(coding, form)| match form {
                Precompressed::Present(loaded) => {
                    leads_to(loaded, self.root.find_beside(&entry.path, coding.suffix()))
                }
                Precompressed::Unknown | Precompressed::Absent => true,
            })
    }

    /// Returns the cached file for `wanted`, or the result of `look`.
    fn look_up(
        &self,
        wanted: CacheKeyRef<'_>,
        look: impl Fn() -> Result<(DecodedPath, Found), NotServed>,
    ) -> Result<Lookup, NotServed> {
        let now = Instant::now();
        let known = self.cache.as_ref().and_then(|store| store.entries.get(&wanted));
        // Moved, not cloned: all workers write the count of an entry that many clients want.
        let known = match (known, &self.cache) {
            (Some(entry), _) if entry.is_fresh(now) => return Ok(Lookup::File(entry)),
            (None, Some(store)) => match store.absence(wanted) {
                Some((absence, checked)) if is_recent(checked, now) => return absence.into(),
                _ => None,
            },
            (known, _) => known,
        };
        let mut found = look();
        if let Err(NotServed::Exhausted(_)) = &found {
            self.give_way();
            found = look();
        }
        let known = known.as_ref();
        let outcome = found.and_then(|(path, found)| match found {
            Found::File(file, metadata) => {
                let (loaded, _permit) = match known.map(|entry| &entry.loaded) {
                    Some(loaded) if loaded.is_state_of(&metadata) => (Arc::clone(loaded), None),
                    _ => {
                        let (loaded, permit) = self.load(wanted.path, file, &metadata)?;
                        (Arc::new(loaded), permit)
                    }
                };
                Ok(Lookup::File(self.add_entry(wanted, path, now, loaded, known)))
            }
            Found::Directory => Ok(Lookup::Directory),
        });
        if let Some(store) = &self.cache {
            let is_cacheable = |entry: &CachedFile| entry.loaded.is_cacheable();
            if known.is_some()
                && !matches!(&outcome, Ok(Lookup::File(entry)) if is_cacheable(entry))
            {
                store.entries.remove(&wanted);
            }
            let absence = match outcome {
                Err(NotServed::NotFound) => Some(Absence::Missing),
                Ok(Lookup::Directory) => Some(Absence::Directory),
                _ => None,
            };
            if let Some(absence) = absence {
                store.note_absence(wanted, absence, now);
            }
        }
        outcome
    }

    /// Asks for a permit to read this range of a file, if it has to come from a disk. The number of
    /// permits limits how many workers wait for disks, and each file, by its `name`, is read by one
    /// worker at a time. `None` if the range is in memory.
    pub fn permit_for(
        &self,
        file: &File,
        offset: u64,
        length: u64,
        name: &[u8],
    ) -> Result<Option<Permit>, NotServed> {
        if is_in_memory(file, offset, length, false) {
            return Ok(None);
        }
        Ok(Some(self.cold.enter(self.hasher.hash_one(name))?))
    }

    /// Loads a file: all of a small one, and the start of a large one. The permit, if one is
    /// needed, must last until other requests can find the result.
    fn load(
        &self,
        name: &[u8],
        file: File,
        metadata: &Metadata,
    ) -> Result<(LoadedFile, Option<Permit>), NotServed> {
        let permit = self.permit_for(&file, 0, metadata.len().min(config::SMALL_FILE), name)?;
        let loaded = LoadedFile::load(file, metadata).map_err(NotServed::from_read)?;
        if permit.is_some() {
            // Read the start now, so that describing the file finds it in memory.
            loaded.start();
        }
        Ok((loaded, permit))
    }

    /// Makes an entry for a file and puts it into the cache. It takes over the precompressed forms
    /// that were known, after another check of each.
    fn add_entry(
        &self,
        wanted: CacheKeyRef<'_>,
        path: DecodedPath,
        checked: Instant,
        loaded: Arc<LoadedFile>,
        known: Option<&Arc<CachedFile>>,
    ) -> Arc<CachedFile> {
        let mut forms = [const { Precompressed::Unknown }; Coding::PRECOMPRESSED.len()];
        let before = known.filter(|known| known.path == path).map(|known| &known.forms);
        for (at, before) in before.into_iter().flatten().enumerate() {
            forms[at] = match before {
                Precompressed::Unknown => Precompressed::Unknown,
                known => match self.look_beside(&path, Coding::PRECOMPRESSED[at], Some(known)) {
                    Ok((found, _permit)) => found,
                    Err(_later) => Precompressed::Unknown,
                },
            };
        }
        let key = match known {
            Some(known) => known.key.clone(),
            None => CacheKey { path: wanted.path.into(), is_index: wanted.is_index },
        };
        let entry = CachedFile { key, path, checked, loaded, forms, weight: 0 };
        match &self.cache {
            Some(store) if entry.loaded.is_cacheable() => store.put(entry),
            _ => Arc::new(entry),
        }
    }

    fn look_beside(
        &self,
        path: &DecodedPath,
        coding: Coding,
        known: Option<&Precompressed>,
    ) -> Result<(Precompressed, Option<Permit>), NotServed> {
        let Ok(Found::File(file, metadata)) = self.root.find_beside(path, coding.suffix()) else {
            return Ok((Precompressed::Absent, None));
        };
        if let Some(Precompressed::Present(loaded)) = known
            && loaded.is_state_of(&metadata)
        {
            return Ok((Precompressed::Present(Arc::clone(loaded)), None));
        }
        let name = [path.as_bytes(), coding.suffix().as_bytes()].concat();
        match self.load(&name, file, &metadata) {
            Ok((loaded, permit)) if loaded.is_cacheable() => {
                Ok((Precompressed::Present(Arc::new(loaded)), permit))
            }
            Ok(_generated) => Ok((Precompressed::Absent, None)),
            Err(later @ (NotServed::Pending(_) | NotServed::Busy)) => Err(later),
            Err(error) => {
                log::warn!(
                    "cannot read the {} form of a file: {error:?} (another form is sent)",
                    coding.token()
                );
                Ok((Precompressed::Absent, None))
            }
        }
    }
}

#[cfg(test)]
mod tests;
