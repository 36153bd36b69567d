//! The entries of a directory: names, kinds, sizes and times, in memory that is claimed for them.

use super::natural;
use crate::config;
use crate::memory::{Claim, Memory, MemoryUse};

/// One entry of a directory. The name is stored in [`Entries`], because there may be many entries
/// and they may be kept for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The position of the name in `Entries::names`.
    name_start: u32,
    name_length: u16,
    /// True for a directory, false for a regular file.
    pub is_directory: bool,
    /// The size in bytes.
    pub size: u64,
    /// The time of the last change in nanoseconds since 1970. `None` if it does not fit.
    pub modified: Option<i64>,
}

/// The entries of a directory.
#[derive(Debug)]
pub struct Entries {
    /// All names, concatenated. A name may hold any bytes.
    names: Vec<u8>,
    entries: Vec<DirectoryEntry>,
    /// The directory has more entries than were asked for.
    pub truncated: bool,
    claim: Claim,
    /// The part of the claim that is not for entries, in bytes.
    beside: u64,
}

/// The memory budget has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl Entries {
    /// An empty list. It claims its memory from `memory` as entries are added, and `beside` bytes
    /// for what the caller keeps along with it.
    pub fn within(memory: &Memory, beside: u64) -> Result<Self, NoRoom> {
        let beside = beside + config::LISTING_OVERHEAD;
        let claim = memory.claim(MemoryUse::Listings, beside).ok_or(NoRoom)?;
        Ok(Self { names: Vec::new(), entries: Vec::new(), truncated: false, claim, beside })
    }

    /// The entries.
    pub fn as_slice(&self) -> &[DirectoryEntry] {
        &self.entries
    }

    /// The name of `entry`.
    pub fn name(&self, entry: &DirectoryEntry) -> &[u8] {
        let start = entry.name_start as usize;
        &self.names[start..start + usize::from(entry.name_length)]
    }

    /// Adds an entry. A name that is longer than any file system allows is skipped.
    pub fn push(
        &mut self,
        name: &[u8],
        is_directory: bool,
        size: u64,
        modified: Option<i64>,
    ) -> Result<(), NoRoom> {
        let start = u32::try_from(self.names.len());
        if let (Ok(name_start), Ok(name_length)) = (start, u16::try_from(name.len())) {
            make_room(&mut self.names, name.len(), &mut self.claim)?;
            make_room(&mut self.entries, 1, &mut self.claim)?;
            self.names.extend_from_slice(name);
            self.entries.push(DirectoryEntry {
                name_start,
                name_length,
                is_directory,
                size,
                modified,
            });
        }
        Ok(())
    }

    /// Keeps the entries for which `is_kept` is true. Their names stay in memory.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&[u8], &DirectoryEntry) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| is_kept(self.name(entry), entry));
        self.entries = entries;
    }

    /// Sorts the entries: directories first, then by name in the natural order. Gives back memory
    /// that was reserved for growth.
    pub fn finish(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|one, other| {
            let of_kind = other.is_directory.cmp(&one.is_directory);
            of_kind.then_with(|| natural::compare(self.name(one), self.name(other)))
        });
        self.entries = entries;
        self.entries.shrink_to_fit();
        self.names.shrink_to_fit();
        let taken = self.names.capacity() + self.entries.capacity() * size_of::<DirectoryEntry>();
        self.claim.resize(self.beside + taken as u64);
    }

    /// True if both lists look the same to clients.
    pub fn is_same_as(&self, others: &Self) -> bool {
        self.truncated == others.truncated
            && self.entries.len() == others.entries.len()
            && self.entries.iter().zip(&others.entries).all(|(one, other)| {
                let facts =
                    |entry: &DirectoryEntry| (entry.is_directory, entry.size, entry.modified);
                facts(one) == facts(other) && self.name(one) == others.name(other)
            })
    }
}

/// Makes room for `more` items. It doubles the capacity, so that adding is cheap on average.
fn make_room<T>(items: &mut Vec<T>, more: usize, claim: &mut Claim) -> Result<(), NoRoom> {
    if items.capacity() - items.len() >= more {
        return Ok(());
    }
    let additional = more.max(items.len()).max(1024 / size_of::<T>().max(1));
    let grown = items.len() + additional - items.capacity();
    if !claim.resize(claim.bytes() + (grown * size_of::<T>()) as u64) {
        return Err(NoRoom);
    }
    items.try_reserve_exact(additional).map_err(|_| NoRoom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_claimed_as_entries_are_added_and_released_with_them() {
        let memory = Memory::new(2 << 20);
        let mut entries = Entries::within(&memory, 0).expect("room");
        let name = [b'n'; 246];
        let count = (0..).take_while(|_| entries.push(&name, false, 1, None).is_ok()).count();
        let held = |entries: &Entries| {
            entries.names.capacity() + entries.entries.capacity() * size_of::<DirectoryEntry>()
        };
        assert!(count > 1500, "{count} names fit");
        assert!(held(&entries) as u64 <= memory.held() && memory.held() <= memory.most());
        assert!(memory.refused() == 1 && entries.as_slice().len() == count);
        entries.finish();
        assert_eq!(memory.held(), held(&entries) as u64 + config::LISTING_OVERHEAD);
        assert!(memory.held() < (count as u64 + 100) * 300, "no spare capacity is kept");
        drop(entries);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn lists_with_the_same_entries_are_equal_whatever_order_they_were_added_in() {
        let memory = Memory::new(1 << 20);
        let made = |names: [&str; 3], size| {
            let mut entries = Entries::within(&memory, 0).expect("room");
            for name in names {
                entries.push(name.as_bytes(), name == "dir", size, Some(1)).expect("room");
            }
            entries.finish();
            entries
        };
        let one = made(["b", "a", "dir"], 1);
        assert_eq!(one.as_slice().iter().map(|entry| one.name(entry)).next(), Some(&b"dir"[..]));
        assert!(one.is_same_as(&made(["dir", "a", "b"], 1)));
        assert!(!one.is_same_as(&made(["dir", "a", "b"], 2)));
        assert!(!one.is_same_as(&made(["dir", "a", "c"], 1)));
    }
}
