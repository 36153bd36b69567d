//! What is known without a disk: files that the cache has in memory or open, and names that it has
//! checked lately or that the kernel has in memory.

use super::store::{Absence, CacheKeyRef, Store};
use super::{CachedFile, Files, Precompressed, is_recent};
use crate::files::glance::{self, Glance};
use crate::files::loaded::LoadedFile;
use crate::http::coding::Coding;
use crate::http::target::DecodedPath;
use std::sync::Arc;
use std::time::Instant;

/// What is known of a path without a disk.
#[derive(Debug)]
pub enum Known {
    /// A file whose content is in memory, or which is open.
    File(Arc<CachedFile>),
    /// There is nothing.
    Missing,
    /// A directory.
    Directory,
}

impl Files {
    /// The file or directory at `path`, if that is known without a disk.
    pub fn known(&self, path: &DecodedPath) -> Option<Known> {
        let (store, now) = (self.cache.as_ref()?, Instant::now());
        let wanted = CacheKeyRef { path: path.as_bytes(), is_index: false };
        if let Some(entry) = store.entries.get(&wanted) {
            return self.checked(store, entry, now).map(Known::File);
        }
        let (absence, checked) = store.absence(wanted)?;
        let (known, glance) = match absence {
            Absence::Missing => (Known::Missing, Glance::Nothing),
            Absence::Directory => (Known::Directory, Glance::Directory),
        };
        if !is_recent(checked, now) {
            if self.root.glance(path, "")? != glance {
                return None;
            }
            store.note_absence(wanted, absence, now);
        }
        Some(known)
    }

    /// The index of the directory at `path`, if it is the `first` of the names for it and is known
    /// without a disk.
    pub fn known_index(&self, path: &DecodedPath, first: &str) -> Option<Arc<CachedFile>> {
        let (store, now) = (self.cache.as_ref()?, Instant::now());
        let wanted = CacheKeyRef { path: path.as_bytes(), is_index: true };
        let entry = store.entries.get(&wanted)?;
        // Another name is the index only while those before it are absent.
        let is_first = entry.path.segments().last() == Some(first.as_bytes());
        if is_first || is_recent(entry.checked, now) {
            return self.checked(store, entry, now);
        }
        None
    }

    /// The precompressed form of `entry` in `coding`, or that there is none, if the cache knows.
    pub fn known_form(
        &self,
        entry: &CachedFile,
        coding: Coding,
    ) -> Option<Option<Arc<LoadedFile>>> {
        let at = Coding::PRECOMPRESSED.iter().position(|known| *known == coding);
        match at.map(|at| &entry.forms[at]) {
            None | Some(Precompressed::Absent) => Some(None),
            Some(Precompressed::Present(loaded)) => {
                loaded.is_known_unchanged(glance::state).then(|| Some(Arc::clone(loaded)))
            }
            Some(Precompressed::Unknown) => None,
        }
    }

    /// An entry, if its file is unchanged. Its names are checked again if their last check is not
    /// recent.
    fn checked(
        &self,
        store: &Store,
        entry: Arc<CachedFile>,
        now: Instant,
    ) -> Option<Arc<CachedFile>> {
        if !entry.loaded.is_known_unchanged(glance::state) {
            return None;
        }
        if is_recent(entry.checked, now) {
            return Some(entry);
        }
        let is_unchanged = |suffix, loaded: &LoadedFile| {
            let seen = self.root.glance(&entry.path, suffix);
            matches!(seen, Some(Glance::File(stamp)) if loaded.has_stamp(stamp))
        };
        let mut forms = Coding::PRECOMPRESSED.iter().zip(&entry.forms);
        let are_unchanged = forms.all(|(coding, form)| match form {
            Precompressed::Unknown => true,
            Precompressed::Absent => {
                self.root.glance(&entry.path, coding.suffix()) == Some(Glance::Nothing)
            }
            Precompressed::Present(loaded) => is_unchanged(coding.suffix(), loaded),
        });
        if !are_unchanged || !is_unchanged("", &entry.loaded) {
            return None;
        }
        Some(store.put(entry.checked_at(now)))
    }
}
