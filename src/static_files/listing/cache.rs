//! A cache of directory entries. One request reads a directory, and all requests of the next second
//! use the result.

use super::markup::{put_end, put_row, put_script, put_start};
use super::readme::Readme;
use super::view::{SortKey, View};
use crate::config;
use crate::files::entries::{DirectoryEntry, Entries};
use crate::files::loaded::Stamp;
use crate::files::root::{Directory, NotServed, Root};
use crate::http::target::DecodedPath;
use crate::lane::Lane;
use crate::lock::lock;
use crate::memory::{Claim, Memory, MemoryUse};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// The entries of a directory, and what its pages have in common. It lives as long as its last
/// reader, and so does the claim on its memory.
#[derive(Debug)]
pub(super) struct Listing {
    path: DecodedPath,
    entries: Entries,
    /// The number of entries at the front that are directories.
    directories: usize,
    /// The order of the entries by size and by time. `entries` itself is in order by name.
    orders: [OnceLock<Order>; 2],
    /// The total length of all rows in bytes, as HTML and as JSON.
    rows: [OnceLock<u64>; 2],
    readme: Option<Readme>,
}

/// Indices of entries in order, and the claim on their memory.
#[derive(Debug)]
struct Order(Vec<u32>, #[allow(dead_code, reason = "its drop releases the memory")] Claim);

impl Listing {
    pub(super) fn new(path: &DecodedPath, entries: Entries, readme: Option<Readme>) -> Self {
        let directories = entries.as_slice().partition_point(|entry| entry.is_directory);
        let (orders, rows) = Default::default();
        Self { path: path.clone(), entries, directories, orders, rows, readme }
    }

    pub(super) fn path(&self) -> &DecodedPath {
        &self.path
    }

    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The README as it is on a page of this view; empty if there is none.
    pub(super) fn readme(&self, view: View) -> &[u8] {
        self.readme.as_ref().filter(|_| !view.json).map_or(&[], Readme::html)
    }

    /// The entry at `place` of a view that was prepared.
    pub(super) fn entry(&self, place: usize, view: View) -> Option<&DirectoryEntry> {
        let entries = self.entries.as_slice();
        // Directories come first in any view. Descending order reverses each of the two groups.
        let place = match place {
            at if at >= entries.len() => return None,
            at if !view.descending => at,
            at if at < self.directories => self.directories - 1 - at,
            at => self.directories + entries.len() - 1 - at,
        };
        match self.order(view.key) {
            None => entries.get(place),
            Some(order) => entries.get(*order.get()?.0.get(place)? as usize),
        }
    }

    /// The length in bytes of a page that was prepared.
    pub(super) fn length(&self, view: View) -> u64 {
        let mut count = Count(0);
        // Counting cannot fail.
        let _ = put_start(&mut count, &self.path, view);
        let _ = put_end(&mut count, &self.path, &self.entries, view);
        let _ = put_script(&mut count, view);
        let readme = self.readme(view).len() as u64;
        count.0 + readme + self.rows[usize::from(view.json)].get().copied().unwrap_or_default()
    }

    fn order(&self, key: SortKey) -> Option<&OnceLock<Order>> {
        match key {
            SortKey::Name => None,
            SortKey::Size => Some(&self.orders[0]),
            SortKey::Time => Some(&self.orders[1]),
        }
    }

    fn is_ready(&self, view: View) -> bool {
        let has_order = self.order(view.key).is_none_or(|order| order.get().is_some());
        has_order && self.rows[usize::from(view.json)].get().is_some()
    }

    /// Computes what pages of this view need. This takes time for many entries.
    pub(super) fn prepare(&self, view: View, memory: &Memory) -> Result<(), NotServed> {
        if let Some(slot) = self.order(view.key)
            && slot.get().is_none()
        {
            let order = self.sorted(view.key, memory).ok_or(NotServed::Busy)?;
            let _ = slot.set(order);
        }
        self.rows[usize::from(view.json)].get_or_init(|| {
            let mut count = Count(0);
            for (place, entry) in self.entries.as_slice().iter().enumerate() {
                let _ = put_row(&mut count, &self.entries, entry, place, view);
            }
            count.0
        });
        Ok(())
    }

    fn sorted(&self, key: SortKey, memory: &Memory) -> Option<Order> {
        let entries = self.entries.as_slice();
        let bytes = entries.len() * size_of::<u32>();
        let claim = memory.claim(MemoryUse::Listings, bytes as u64)?;
        let mut order = Vec::new();
        order.try_reserve_exact(entries.len()).ok()?;
        order.extend(0..u32::try_from(entries.len()).ok()?);
        order.sort_unstable_by_key(|&at| {
            let entry = &entries[at as usize];
            let by_key = match key {
                SortKey::Name => 0,
                SortKey::Size => entry.size,
                SortKey::Time => entry.modified.map_or(0, |nanos| nanos.unsigned_abs() + 1),
            };
            (!entry.is_directory, by_key, at)
        });
        Some(Order(order, claim))
    }
}

/// Counts the bytes that are written into it.
struct Count(u64);

impl fmt::Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len() as u64;
        Ok(())
    }
}

/// The directories that were read in the last second, and those whose listings are still being
/// sent.
///
/// A listing is fresh while the stamp of its directory is unchanged, for at most
/// [`config::CACHE_FRESH`]: the stamp does not show changes to the files in the directory. If a new
/// reading finds the same entries, it is dropped and the old one stays in use, so that all readers
/// share its memory.
#[derive(Debug)]
pub(crate) struct Listings {
    memory: Memory,
    lane: Lane,
    hasher: RandomState,
    readings: Mutex<HashMap<Box<[u8]>, Reading>>,
}

/// A listing, the stamp of the directory before it was read, and the time of the reading.
#[derive(Debug, Clone)]
struct Reading {
    listing: Arc<Listing>,
    stamp: Stamp,
    begun: Instant,
}

impl Listings {
    /// An empty cache. It takes its memory from `memory`, and lets at most half of the `workers`
    /// read directories.
    pub(crate) fn new(memory: Memory, workers: usize) -> Self {
        let (lane, hasher) = (lane(workers), RandomState::new());
        Self { memory, lane, hasher, readings: Mutex::default() }
    }

    pub(crate) fn with_memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    pub(crate) fn with_workers(self, workers: usize) -> Self {
        Self { lane: lane(workers), ..self }
    }

    /// Returns the listing of a directory with this stamp, if it needs no work.
    pub(super) fn ready(
        &self,
        path: &DecodedPath,
        stamp: Stamp,
        view: View,
    ) -> Option<Arc<Listing>> {
        let listing = self.fresh(path, stamp)?;
        listing.is_ready(view).then_some(listing)
    }

    /// Reads the directory, with its README if `readme`, and prepares the view. If no permit is
    /// free, the error says what to wait for.
    pub(super) fn make_ready(
        &self,
        root: &Root,
        path: &DecodedPath,
        directory: Directory,
        view: View,
        wanted: impl Fn(&[u8]) -> bool,
        readme: bool,
    ) -> Result<Arc<Listing>, NotServed> {
        let permit = self.lane.enter(self.hasher.hash_one(path.as_bytes()))?;
        // Another request may have read it since `ready` was called.
        let listing = match self.fresh(path, directory.stamp()) {
            Some(listing) => listing,
            None => self.read(root, path, directory, wanted, readme)?,
        };
        listing.prepare(view, &self.memory)?;
        drop(permit);
        Ok(listing)
    }

    /// Drops old listings, except those that are being sent: they cost no extra memory, and the
    /// next reading may find them unchanged.
    pub(crate) fn tend(&self) {
        self.drop_unused(|reading| reading.begun.elapsed() >= config::CACHE_FRESH);
    }

    fn fresh(&self, path: &DecodedPath, stamp: Stamp) -> Option<Arc<Listing>> {
        let readings = lock(&self.readings);
        let reading = readings.get(path.as_bytes())?;
        let is_fresh = reading.stamp == stamp && reading.begun.elapsed() < config::CACHE_FRESH;
        is_fresh.then(|| Arc::clone(&reading.listing))
    }

    fn read(
        &self,
        root: &Root,
        path: &DecodedPath,
        directory: Directory,
        wanted: impl Fn(&[u8]) -> bool,
        readme: bool,
    ) -> Result<Arc<Listing>, NotServed> {
        let (stamp, begun) = (directory.stamp(), Instant::now());
        let most = config::LISTING_ENTRIES;
        let read = root.read_directory(directory, most, &self.memory, &wanted);
        let entries = match read {
            // The memory is full. Drop cached listings, fresh ones too, and try again.
            Err(NotServed::Busy) if self.drop_unused(|_| true) => {
                root.read_directory(root.open_directory(path)?, most, &self.memory, &wanted)?
            }
            read => read?,
        };
        let readme = match readme {
            true => Readme::of(root, path, &entries, &self.memory)?,
            false => None,
        };
        let before =
            lock(&self.readings).get(path.as_bytes()).map(|known| Arc::clone(&known.listing));
        let listing = match before {
            Some(listing) if listing.readme == readme && listing.entries.is_same_as(&entries) => {
                listing
            }
            _ => Arc::new(Listing::new(path, entries, readme)),
        };
        let reading = Reading { listing: Arc::clone(&listing), stamp, begun };
        let replaced = lock(&self.readings).insert(path.as_bytes().into(), reading);
        // Drop it without the lock: it may hold megabytes.
        drop(replaced);
        Ok(listing)
    }

    /// Drops the listings that are not being sent and that `selected` picks. Returns true if there
    /// were any.
    fn drop_unused(&self, selected: impl Fn(&Reading) -> bool) -> bool {
        let is_unused =
            |reading: &Reading| Arc::strong_count(&reading.listing) == 1 && selected(reading);
        let mut readings = lock(&self.readings);
        let unused: Vec<_> = readings.extract_if(|_, reading| is_unused(reading)).collect();
        drop(readings);
        !unused.is_empty()
    }
}

fn lane(workers: usize) -> Lane {
    Lane::new((workers / 2).max(1), config::LANE_WAITING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CACHE_FRESH;

    const VIEW: View = View { key: SortKey::Name, descending: false, json: false, archives: false };

    fn ask(listings: &Listings, root: &Root, view: View) -> Result<Arc<Listing>, NotServed> {
        let path = DecodedPath::decode(b"/").expect("a path");
        let directory = root.open_directory(&path).expect("a directory");
        if let Some(listing) = listings.ready(&path, directory.stamp(), view) {
            return Ok(listing);
        }
        listings.make_ready(root, &path, directory, view, |_| true, true)
    }

    fn age(listings: &Listings) {
        for reading in lock(&listings.readings).values_mut() {
            reading.begun = reading.begun.checked_sub(CACHE_FRESH).expect("uptime");
        }
    }

    fn site() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("file"), "x").expect("written");
        let root = Root::open(dir.path()).expect("a root");
        (dir, root)
    }

    #[test]
    fn a_directory_is_read_again_after_a_change_or_after_a_second() {
        let (dir, root) = site();
        let listings = Listings::new(Memory::new(1 << 20), 2);
        let first = ask(&listings, &root, VIEW).expect("a listing");
        let again = ask(&listings, &root, VIEW).expect("a listing");
        assert!(Arc::ptr_eq(&first, &again));
        // A change to a file does not show in the stamp of its directory.
        std::fs::write(dir.path().join("file"), "longer").expect("written");
        let held = ask(&listings, &root, VIEW).expect("a listing");
        assert!(Arc::ptr_eq(&first, &held));
        age(&listings);
        let read = ask(&listings, &root, VIEW).expect("a listing");
        assert_eq!(read.entries().as_slice()[0].size, 6);
        // A reading that finds the same entries keeps the old listing in memory.
        age(&listings);
        let same = ask(&listings, &root, VIEW).expect("a listing");
        assert!(Arc::ptr_eq(&read, &same) && !Arc::ptr_eq(&first, &same));
        // The text of a README is part of it.
        for text in ["one", "two"] {
            std::fs::write(dir.path().join("README"), text).expect("written");
            age(&listings);
            let shown = ask(&listings, &root, VIEW).expect("a listing");
            let html = String::from_utf8_lossy(shown.readme(VIEW)).into_owned();
            assert!(html.contains(text), "{html}");
            assert!(shown.readme(View { json: true, ..VIEW }).is_empty());
        }
    }

    #[test]
    fn one_request_reads_a_directory_for_all_and_each_view_is_prepared_once() {
        let (_dir, root) = site();
        let listings = Listings::new(Memory::new(1 << 20), 2);
        let key = listings.hasher.hash_one(&b""[..]);
        let permit = listings.lane.enter(key).expect("free");
        assert!(matches!(ask(&listings, &root, VIEW), Err(NotServed::Pending(_))));
        drop(permit);
        ask(&listings, &root, VIEW).expect("a listing");
        // This view is ready and needs no permit. Another view does.
        let _permit = listings.lane.enter(key).expect("free");
        ask(&listings, &root, VIEW).expect("it is ready");
        let other = View { key: SortKey::Size, ..VIEW };
        assert!(matches!(ask(&listings, &root, other), Err(NotServed::Pending(_))));
    }

    #[test]
    fn old_listings_that_are_not_being_sent_are_dropped() {
        let (_dir, root) = site();
        let memory = Memory::new(1 << 20);
        let listings = Listings::new(memory.clone(), 2);
        let listing = ask(&listings, &root, VIEW).expect("a listing");
        age(&listings);
        listings.tend();
        assert_eq!(lock(&listings.readings).len(), 1, "it is being sent");
        drop(listing);
        let held = memory.held();
        listings.tend();
        assert!(lock(&listings.readings).is_empty() && held > 0 && memory.held() == 0);
        ask(&listings, &root, VIEW).expect("a listing");
        listings.tend();
        assert_eq!(lock(&listings.readings).len(), 1, "it is still fresh");
    }
}
