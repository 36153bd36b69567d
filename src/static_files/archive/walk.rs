//! A walk through the directories beneath one, which finds what is in an archive.

use super::tree::{Tree, files};
use crate::config;
use crate::files::entries::{Entries, NoRoom};
use crate::files::root::{Directory, NotServed, Root};
use crate::memory::Memory;
use std::time::Instant;

/// A walk that may not be over.
#[derive(Debug)]
pub(super) struct Walk {
    tree: Tree,
    /// The number of the folder to read next.
    next: usize,
    /// The number of files and directories so far.
    found: usize,
    /// What could not be read: the first path, and the number.
    unread: Option<(Vec<u8>, usize)>,
}

/// Why a walk has no result.
#[derive(Debug)]
pub(super) enum NoTree {
    NotServed(NotServed),
    /// There is more than an archive may have: an explanation for the client.
    TooMuch(String),
}

impl From<NotServed> for NoTree {
    fn from(reason: NotServed) -> Self {
        Self::NotServed(reason)
    }
}

impl From<NoRoom> for NoTree {
    fn from(_: NoRoom) -> Self {
        Self::NotServed(NotServed::Busy)
    }
}

impl Walk {
    /// A walk from the directory at `path`, which is named `top` in the archive.
    pub(super) fn new(memory: &Memory, path: &[u8], top: &[u8]) -> Result<Self, NoTree> {
        Ok(Self { tree: Tree::new(memory, path, top)?, next: 0, found: 1, unread: None })
    }

    /// Goes on for a turn. Returns true at the end.
    ///
    /// A link to a file stands for the file, as in a listing. A link to a directory is left out: it
    /// could lead to a directory that it is in, without an end. So are hidden names, unless they
    /// are served, and what cannot be read.
    pub(super) fn go_on(
        &mut self,
        root: &Root,
        memory: &Memory,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<bool, NoTree> {
        let begun = Instant::now();
        while self.next < self.tree.folders().len() {
            self.read_next(root, memory, &wanted)?;
            self.next += 1;
            if begun.elapsed() >= config::ARCHIVE_TURN {
                break;
            }
        }
        Ok(self.next == self.tree.folders().len())
    }

    /// Reads one folder.
    fn read_next(
        &mut self,
        root: &Root,
        memory: &Memory,
        wanted: &impl Fn(&[u8]) -> bool,
    ) -> Result<(), NoTree> {
        let path = self.tree.folders()[self.next].path.clone();
        let opened = match self.next {
            0 if path.is_empty() => root.open_subdirectory(b"."),
            // The client's own path may lead through links, as that of a listing.
            0 => root.open_linked_directory(&path),
            _ => root.open_subdirectory(&path),
        };
        let read = opened.and_then(|directory| self.read(root, directory, memory, wanted));
        let (entries, modified) = match read {
            Ok(read) => read,
            // A short memory, or a first folder that cannot be read, is all that there is to say.
            Err(reason @ (NotServed::Busy | NotServed::Exhausted(_))) => return Err(reason.into()),
            Err(reason) if self.next == 0 => return Err(reason.into()),
            Err(_) => {
                self.leave_out(&path);
                return Ok(());
            }
        };
        if entries.truncated || self.found > config::ARCHIVE_ENTRIES {
            return Err(NoTree::TooMuch(format!(
                "This directory holds too much for an archive: more than {} names in one \
                 directory, or {} in all. Ask for a directory within it.",
                config::LISTING_ENTRIES,
                config::ARCHIVE_ENTRIES
            )));
        }
        self.add_folders(&path, &entries)?;
        self.tree.fill(self.next, entries, modified);
        Ok(())
    }

    fn read(
        &mut self,
        root: &Root,
        directory: Directory,
        memory: &Memory,
        wanted: &impl Fn(&[u8]) -> bool,
    ) -> Result<(Entries, Option<i64>), NotServed> {
        let path = self.tree.folders()[self.next].path.clone();
        let (_, modified) = directory.stamp().length_and_time();
        let rights = directory.rights().map_err(NotServed::Exhausted)?;
        let mut entries =
            root.read_directory(directory, config::LISTING_ENTRIES, memory, wanted)?;
        entries.retain(|name, entry| {
            let is_kept = entry.is_directory || rights.may_read(name);
            if !is_kept {
                self.leave_out(&[&path, &b"/"[..], name].concat());
            }
            is_kept
        });
        self.found += files(&entries).len();
        Ok((entries, i64::try_from(modified).ok().filter(|&nanos| nanos >= 0)))
    }

    fn add_folders(&mut self, path: &[u8], entries: &Entries) -> Result<(), NoTree> {
        let depth = self.tree.folders()[self.next].depth + 1;
        for entry in entries.as_slice().iter().take_while(|entry| entry.is_directory) {
            if depth > config::ARCHIVE_DEPTH {
                return Err(NoTree::TooMuch(format!(
                    "This directory is too deep for an archive: it has more than {} directories \
                     within one another. Ask for a directory within it.",
                    config::ARCHIVE_DEPTH
                )));
            }
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let path = [path, slash, entries.name(entry)].concat().into();
            self.tree.add(path, depth)?;
            self.found += 1;
        }
        Ok(())
    }

    fn leave_out(&mut self, path: &[u8]) {
        let (_, count) = self.unread.get_or_insert_with(|| (path.to_vec(), 0));
        *count += 1;
    }

    /// The result of a walk that is over.
    pub(super) fn finish(self) -> Tree {
        if let Some((first, count)) = self.unread {
            let first = first.escape_ascii();
            log::warn!(
                "an archive leaves out what cannot be read, or is a link to a directory: {first} \
                 and {} more",
                count - 1
            );
        }
        self.tree
    }
}
