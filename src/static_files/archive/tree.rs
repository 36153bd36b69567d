//! What is in an archive: the files and directories beneath a directory, as a walk has found them.

use crate::config;
use crate::files::entries::{DirectoryEntry, Entries, NoRoom};
use crate::files::loaded::is_over;
use crate::memory::{Claim, Memory, MemoryUse};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::time::SystemTime;

/// A directory and its files.
#[derive(Debug)]
pub(super) struct Folder {
    /// Its path beneath the root, without a slash at either end.
    pub(super) path: Box<[u8]>,
    /// In nanoseconds since 1970.
    pub(super) modified: Option<i64>,
    /// The number of directories above it in the archive.
    pub(super) depth: usize,
    /// None until it is read, and if it cannot be read: then it is not in the archive.
    pub(super) entries: Option<Entries>,
}

/// The folders of an archive, each behind the one that it is in.
#[derive(Debug)]
pub(super) struct Tree {
    /// The name of the first folder in the archive.
    top: Box<[u8]>,
    /// The length of the path of the first folder.
    base: usize,
    folders: Vec<Folder>,
    /// For the folders. Their entries have claims of their own.
    claim: Claim,
    /// Computed once.
    pub(super) lengths: [OnceLock<Option<u64>>; 2],
    tag: OnceLock<Option<String>>,
}

/// A file or directory in an archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'t> {
    top: &'t [u8],
    /// The path of its folder within the first one, and the slash before it.
    within: &'t [u8],
    slash: &'t [u8],
    folder: &'t [u8],
    /// The name in its folder; empty for the folder itself.
    name: &'t [u8],
    /// In bytes; 0 for a directory.
    pub(super) size: u64,
    /// In nanoseconds since 1970.
    pub(super) modified: Option<i64>,
}

/// The place of an item: the number of its folder, and its number in there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct At {
    folder: usize,
    item: usize,
}

impl Item<'_> {
    pub(super) fn is_directory(&self) -> bool {
        self.name.is_empty()
    }

    /// The length of `name`.
    pub(super) fn name_length(&self) -> usize {
        self.top.len() + self.slash.len() + self.within.len() + 1 + self.name.len()
    }

    /// The name in the archive, which is relative and has no dots among its segments. That of a
    /// directory ends in a slash.
    pub(super) fn name(&self) -> Vec<u8> {
        [self.top, self.slash, self.within, b"/", self.name].concat()
    }

    /// The path beneath the root.
    pub(super) fn path(&self) -> Vec<u8> {
        let slash: &[u8] = if self.folder.is_empty() { b"" } else { b"/" };
        [self.folder, slash, self.name].concat()
    }

    /// The time in whole seconds since 1970.
    pub(super) fn seconds(&self) -> u64 {
        self.modified.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(0) / 1_000_000_000
    }
}

impl Tree {
    /// The tree of the folder at `path`, which is named `top` in the archive.
    pub(super) fn new(memory: &Memory, path: &[u8], top: &[u8]) -> Result<Self, NoRoom> {
        let claim = memory.claim(MemoryUse::Listings, 0).ok_or(NoRoom)?;
        let (lengths, tag) = Default::default();
        let (base, folders) = (path.len(), Vec::new());
        let mut tree = Self { top: top.into(), base, folders, claim, lengths, tag };
        tree.add(path.into(), 0)?;
        Ok(tree)
    }

    /// Adds a folder that is not read yet, behind the one that it is in.
    pub(super) fn add(&mut self, path: Box<[u8]>, depth: usize) -> Result<(), NoRoom> {
        let bytes = self.claim.bytes() + (2 * size_of::<Folder>() + path.len()) as u64;
        if !self.claim.resize(bytes) {
            return Err(NoRoom);
        }
        self.folders.push(Folder { path, modified: None, depth, entries: None });
        Ok(())
    }

    /// The folders.
    pub(super) fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// Fills a folder that was read.
    pub(super) fn fill(&mut self, number: usize, entries: Entries, modified: Option<i64>) {
        if let Some(folder) = self.folders.get_mut(number) {
            (folder.entries, folder.modified) = (Some(entries), modified);
        }
    }

    /// The item at a place, or at the next place that has one; None behind the last.
    pub(super) fn item(&self, at: &mut At) -> Option<Item<'_>> {
        loop {
            let folder = self.folders.get(at.folder)?;
            if let Some(entries) = &folder.entries
                && let Some(item) = self.item_in(folder, entries, at.item)
            {
                return Some(item);
            }
            *at = At { folder: at.folder + 1, item: 0 };
        }
    }

    fn item_in<'t>(
        &'t self,
        folder: &'t Folder,
        entries: &'t Entries,
        number: usize,
    ) -> Option<Item<'t>> {
        let item = |name: &'t [u8], size, modified| {
            let (top, path) = (&*self.top, &*folder.path);
            let within = &path[self.base..];
            let within = within.strip_prefix(b"/").unwrap_or(within);
            let slash: &[u8] = if within.is_empty() { b"" } else { b"/" };
            Item { top, within, slash, folder: path, name, size, modified }
        };
        let Some(number) = number.checked_sub(1) else {
            return Some(item(&[], 0, folder.modified));
        };
        let entry = files(entries).get(number)?;
        Some(item(entries.name(entry), entry.size, entry.modified))
    }

    /// All items in order.
    pub(super) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let mut at = At::default();
        std::iter::from_fn(move || {
            let item = self.item(&mut at)?;
            at.item += 1;
            Some(item)
        })
    }

    /// Identifies this state of all that is in the archive, as far as names, sizes and times do.
    /// None if something may be changing: see [`config::CACHE_SETTLE`].
    pub(super) fn tag(&self, now: SystemTime) -> Option<&str> {
        self.tag.get_or_init(|| self.make_tag(now)).as_deref()
    }

    fn make_tag(&self, now: SystemTime) -> Option<String> {
        let mut halves = [DefaultHasher::new(), DefaultHasher::new()];
        halves[1].write_u8(1);
        for item in self.items() {
            if item.modified.is_some_and(|modified| !is_over(modified.into(), now)) {
                return None;
            }
            for half in &mut halves {
                (item.within, item.name, item.size, item.modified).hash(half);
            }
        }
        let [one, other] = halves.map(|half| half.finish());
        Some(format!("{one:016x}{other:016x}"))
    }
}

impl At {
    /// The place behind this one.
    pub(super) fn next(self) -> Self {
        Self { item: self.item + 1, ..self }
    }
}

/// The entries that are files; directories come before them.
pub(super) fn files(entries: &Entries) -> &[DirectoryEntry] {
    let entries = entries.as_slice();
    &entries[entries.partition_point(|entry| entry.is_directory)..]
}

const _: () = assert!(config::ARCHIVE_ENTRIES <= u32::MAX as usize);
