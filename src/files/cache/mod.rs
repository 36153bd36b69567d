//! Files that are asked for often, held between requests, never served a second after a change.

mod shelf;

use super::held::Held;
use super::root::{Found, NotServed, Root};
use crate::config;
use crate::files::residency::is_in_memory;
use crate::http::coding::Coding;
use crate::http::target::DecodedPath;
use crate::lane::{Lane, Turn};
use shelf::{Asked, Key, Shelf};
use std::fs::{File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

/// The files beneath a root. Those in demand are held, if there is a cache.
///
/// Each is looked up by the kernel, beneath the root, when it was last looked up longer than
/// [`config::CACHE_FRESH`] ago, so that replaced files, links and permissions are noticed; if it is
/// found in the same state, what is held of it stays. Of what is not there a few names are held,
/// among themselves, so that asking for it puts nothing out. Nothing is locked while the system is
/// asked.
#[derive(Debug)]
pub struct Files {
    root: Root,
    cache: Option<Shelf>,
    /// Who reads what is not in memory waits for a disk.
    cold: Lane,
    hasher: RandomState,
}

/// The bounds of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of content, names, and what is known of files.
    pub bytes: u64,
    /// Open files.
    pub descriptors: usize,
}

impl Default for CacheLimits {
    /// What a program that does not say gets.
    fn default() -> Self {
        Self { bytes: config::CACHE_BYTES, descriptors: config::CACHE_DESCRIPTORS }
    }
}

/// What a path names.
#[derive(Debug)]
pub enum Lookup {
    /// A regular file.
    File(Arc<Entry>),
    /// A directory.
    Directory,
}

/// What one path was found to name, and when.
#[derive(Debug)]
pub struct Entry {
    key: Key,
    /// The path of the file; another than the key's where that is a directory with an index.
    path: DecodedPath,
    /// When it was asked for, so at least as long ago as it was seen.
    checked: Instant,
    held: Arc<Held>,
    neighbours: [Neighbour; Coding::PRECOMPRESSED.len()],
    weight: u64,
}

/// A file that holds another in some coding.
#[derive(Debug, Clone)]
enum Neighbour {
    /// Nobody has asked for it.
    Unknown,
    Absent,
    There(Arc<Held>),
}

impl Entry {
    /// The path of the file.
    pub fn path(&self) -> &DecodedPath {
        &self.path
    }

    /// The file.
    pub fn held(&self) -> &Arc<Held> {
        &self.held
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.checked) < config::CACHE_FRESH && self.held.is_whole()
    }

    fn holds_descriptors(&self) -> bool {
        let coded =
            |neighbour: &Neighbour| matches!(neighbour, Neighbour::There(held) if held.is_open());
        self.held.is_open() || self.neighbours.iter().any(coded)
    }
}

impl Files {
    /// The files beneath `root`, held within `limits` if there are any.
    pub fn new(root: Root, limits: Option<CacheLimits>) -> Self {
        let cache = Self::new_shelf(limits);
        let cold = Lane::new((config::processors() / 2).max(1), config::LANE_WAITING);
        Self { root, cache, cold, hasher: RandomState::new() }
    }

    fn new_shelf(limits: Option<CacheLimits>) -> Option<Shelf> {
        limits.filter(|limits| limits.bytes > 0).map(Shelf::new)
    }

    /// The same files, where at most half of so many workers wait for a disk; one may in any case.
    pub fn with_workers(self, workers: usize) -> Self {
        Self { cold: Lane::new((workers / 2).max(1), config::LANE_WAITING), ..self }
    }

    /// The same files, held within other limits.
    pub fn with_cache(self, limits: Option<CacheLimits>) -> Self {
        Self { cache: Self::new_shelf(limits), ..self }
    }

    /// The root, to be changed before it is in use.
    pub fn map_root(self, change: impl FnOnce(Root) -> Root) -> Self {
        Self { root: change(self.root), ..self }
    }

    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What `path` names.
    pub fn find(&self, path: &DecodedPath) -> Result<Lookup, NotServed> {
        let asked = Asked { path: path.as_bytes(), of_index: false };
        self.look_up(asked, || self.root.find(path).map(|found| (path.clone(), found)))
    }

    /// The first of `names` that is a file which may be served in the directory that `path` names,
    /// if one is. Where there are only others it is forbidden.
    pub fn find_index(
        &self,
        path: &DecodedPath,
        names: &[String],
    ) -> Result<Option<Arc<Entry>>, NotServed> {
        let asked = Asked { path: path.as_bytes(), of_index: true };
        let found = self.look_up(asked, || {
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

    /// The file beside that of `entry` which holds it in `coding`, if there is one.
    pub fn neighbour(
        &self,
        entry: &Arc<Entry>,
        coding: Coding,
    ) -> Result<Option<Arc<Held>>, NotServed> {
        let Some(at) = Coding::PRECOMPRESSED.iter().position(|known| *known == coding) else {
            return Ok(None);
        };
        match &entry.neighbours[at] {
            Neighbour::Absent => return Ok(None),
            Neighbour::There(held) if held.is_whole() => return Ok(Some(Arc::clone(held))),
            Neighbour::There(_) | Neighbour::Unknown => {}
        }
        let (found, _turn) = self.look_beside(&entry.path, coding, None)?;
        if let Some(shelf) = &self.cache
            && entry.held.may_be_kept()
        {
            let mut neighbours = entry.neighbours.clone();
            neighbours[at] = found.clone();
            let (key, path) = (entry.key.clone(), entry.path.clone());
            let held = Arc::clone(&entry.held);
            shelf.put(Entry { key, path, checked: entry.checked, held, neighbours, weight: 0 });
        }
        Ok(match found {
            Neighbour::There(held) => Some(held),
            Neighbour::Absent | Neighbour::Unknown => None,
        })
    }

    /// Closes the files that are held open: descriptors are needed elsewhere.
    pub fn give_way(&self) {
        if let Some(shelf) = &self.cache {
            for (key, entry) in shelf.entries.iter() {
                if entry.holds_descriptors() {
                    let asked = Asked { path: &key.path, of_index: key.of_index };
                    shelf.entries.remove(&asked);
                }
            }
        }
    }

    /// Lets go of files that are held open and have gone, or have become others, since somebody
    /// asked for them last: their space is their owner's. What is asked for is looked at then.
    pub fn tend(&self) {
        let Some(shelf) = &self.cache else { return };
        let now = Instant::now();
        for (key, entry) in shelf.entries.iter() {
            if entry.holds_descriptors() && !entry.is_fresh(now) && !self.is_in_place(&entry) {
                shelf.entries.remove(&Asked { path: &key.path, of_index: key.of_index });
            }
        }
    }

    /// True where the files that an entry holds open are still what their names lead to.
    fn is_in_place(&self, entry: &Entry) -> bool {
        let leads_to = |held: &Held, found: Result<Found, NotServed>| {
            !held.is_open()
                || matches!(found, Ok(Found::File(_, metadata)) if held.is_file_of(&metadata))
        };
        let beside = Coding::PRECOMPRESSED.iter().zip(&entry.neighbours);
        leads_to(&entry.held, self.root.find(&entry.path))
            && beside.into_iter().all(|(coding, neighbour)| match neighbour {
                Neighbour::There(held) => {
                    leads_to(held, self.root.find_beside(&entry.path, coding.suffix()))
                }
                Neighbour::Unknown | Neighbour::Absent => true,
            })
    }

    /// What is held under `asked`, or what `look` finds.
    fn look_up(
        &self,
        asked: Asked<'_>,
        look: impl Fn() -> Result<(DecodedPath, Found), NotServed>,
    ) -> Result<Lookup, NotServed> {
        let now = Instant::now();
        let known = self.cache.as_ref().and_then(|shelf| shelf.entries.get(&asked));
        match (&known, &self.cache) {
            (Some(entry), _) if entry.is_fresh(now) => return Ok(Lookup::File(Arc::clone(entry))),
            (None, Some(shelf)) if shelf.is_missing(asked, now) => return Err(NotServed::NotFound),
            _ => {}
        }
        let mut found = look();
        if let Err(NotServed::Exhausted(_)) = &found {
            self.give_way();
            found = look();
        }
        let known = known.as_ref();
        let outcome = found.and_then(|(path, found)| match found {
            Found::File(file, metadata) => {
                let (held, _turn) = match known.map(|entry| &entry.held) {
                    Some(held) if held.is_state_of(&metadata) => (Arc::clone(held), None),
                    _ => {
                        let (held, turn) = self.load(asked.path, file, &metadata)?;
                        (Arc::new(held), turn)
                    }
                };
                Ok(Lookup::File(self.take_up(asked, path, now, held, known)))
            }
            Found::Directory => Ok(Lookup::Directory),
        });
        if let Some(shelf) = &self.cache {
            let is_held = |entry: &Entry| entry.held.may_be_kept();
            if known.is_some() && !matches!(&outcome, Ok(Lookup::File(entry)) if is_held(entry)) {
                shelf.entries.remove(&asked);
            }
            if matches!(outcome, Err(NotServed::NotFound)) {
                shelf.note_missing(asked, now);
            }
        }
        outcome
    }

    /// The turn of whoever reads this stretch of a file, if that has to come from a disk: so many
    /// may wait for one at a time, and each file, by its `name`, is waited for once.
    pub fn turn_at(
        &self,
        file: &File,
        offset: u64,
        length: u64,
        name: &[u8],
    ) -> Result<Option<Turn>, NotServed> {
        if is_in_memory(file, offset, length) {
            return Ok(None);
        }
        Ok(Some(self.cold.enter(self.hasher.hash_one(name))?))
    }

    /// Takes up a file. The start of it is read here, and all of a small one. The turn, if it takes
    /// one, lasts until others can find what was read.
    fn load(
        &self,
        name: &[u8],
        file: File,
        metadata: &Metadata,
    ) -> Result<(Held, Option<Turn>), NotServed> {
        let turn = self.turn_at(&file, 0, metadata.len().min(config::SMALL_FILE), name)?;
        let held = Held::load(file, metadata).map_err(NotServed::from_read)?;
        if turn.is_some() {
            // So that whoever describes it finds its start in memory.
            held.start();
        }
        Ok((held, turn))
    }

    /// An entry for what was found, held from now on; of what was known before it takes over the
    /// neighbours, after another look at them.
    fn take_up(
        &self,
        asked: Asked<'_>,
        path: DecodedPath,
        checked: Instant,
        held: Arc<Held>,
        known: Option<&Arc<Entry>>,
    ) -> Arc<Entry> {
        let mut neighbours = [const { Neighbour::Unknown }; Coding::PRECOMPRESSED.len()];
        let before = known.filter(|known| known.path == path).map(|known| &known.neighbours);
        for (at, before) in before.into_iter().flatten().enumerate() {
            neighbours[at] = match before {
                Neighbour::Unknown => Neighbour::Unknown,
                known => match self.look_beside(&path, Coding::PRECOMPRESSED[at], Some(known)) {
                    Ok((found, _turn)) => found,
                    Err(_later) => Neighbour::Unknown,
                },
            };
        }
        let key = match known {
            Some(known) => known.key.clone(),
            None => Key { path: asked.path.into(), of_index: asked.of_index },
        };
        let entry = Entry { key, path, checked, held, neighbours, weight: 0 };
        match &self.cache {
            Some(shelf) if entry.held.may_be_kept() => shelf.put(entry),
            _ => Arc::new(entry),
        }
    }

    fn look_beside(
        &self,
        path: &DecodedPath,
        coding: Coding,
        known: Option<&Neighbour>,
    ) -> Result<(Neighbour, Option<Turn>), NotServed> {
        let Ok(Found::File(file, metadata)) = self.root.find_beside(path, coding.suffix()) else {
            return Ok((Neighbour::Absent, None));
        };
        if let Some(Neighbour::There(held)) = known
            && held.is_state_of(&metadata)
        {
            return Ok((Neighbour::There(Arc::clone(held)), None));
        }
        let name = [path.as_bytes(), coding.suffix().as_bytes()].concat();
        match self.load(&name, file, &metadata) {
            Ok((held, turn)) if held.may_be_kept() => Ok((Neighbour::There(Arc::new(held)), turn)),
            Ok(_made_when_read) => Ok((Neighbour::Absent, None)),
            Err(later @ (NotServed::Pending(_) | NotServed::Busy)) => Err(later),
            Err(error) => {
                log::warn!("cannot read a file's {} form: {error:?}", coding.token());
                Ok((Neighbour::Absent, None))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::files::residency::lives_in_memory;

    fn files(dir: &tempfile::TempDir, bytes: u64, descriptors: usize) -> Files {
        let root = Root::open(dir.path()).expect("a root");
        Files::new(root, Some(CacheLimits { bytes, descriptors }))
    }

    fn find(files: &Files, path: &str) -> Option<Arc<Entry>> {
        match files.find(&DecodedPath::decode(path.as_bytes()).expect("a path")) {
            Ok(Lookup::File(entry)) => Some(entry),
            _ => None,
        }
    }

    fn shelf(files: &Files) -> &Shelf {
        files.cache.as_ref().expect("a cache")
    }

    fn put(dir: &tempfile::TempDir, name: &str, length: usize) {
        std::fs::write(dir.path().join(name), vec![b'x'; length]).expect("written");
    }

    #[test]
    fn what_is_held_is_bounded_in_bytes_and_in_descriptors() {
        let dir = tempfile::tempdir().expect("a directory");
        let most = 8;
        for (bytes, length) in [(1 << 20, 10_000), (1 << 20, 100_000), (40_000, 10_000)] {
            let files = files(&dir, bytes, most);
            for number in 0..300 {
                let name = format!("file{number}");
                put(&dir, &name, length);
                assert!(find(&files, &name).is_some());
            }
            let entries = &shelf(&files).entries;
            assert!(!entries.is_empty(), "{length}: some are held");
            assert!(entries.weight() <= bytes.next_multiple_of(entries.num_shards() as u64));
            let open = entries.iter().filter(|(_, entry)| entry.holds_descriptors()).count();
            assert!(open <= most, "{open} of {length} are open");
            let content: u64 = entries.iter().map(|(_, e)| e.held().content().length()).sum();
            assert!(length > 50_000 || content <= bytes, "{content} bytes are held");
        }
    }

    /// Whoever would wait for a disk takes a turn; where others have them all, no worker waits.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_not_in_memory_waits_for_its_turn() {
        let dir = tempfile::tempdir().expect("a directory");
        put(&dir, "file", 10_000);
        let file = File::open(dir.path().join("file")).expect("a file");
        file.sync_all().expect("a disk");
        if lives_in_memory(&file) {
            return;
        }
        // A look at what is not there has the kernel read it, so it is gone for one look only.
        let forget = || {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("a file");
        };
        let files = files(&dir, 1 << 20, 8).with_workers(2);
        let path = DecodedPath::decode(b"file").expect("a path");
        let turn = files.cold.enter(1).expect("free");
        forget();
        assert!(matches!(files.find(&path), Err(NotServed::Pending(_))));
        // What is being read just now cannot be forgotten yet.
        let is_pending = || {
            forget();
            matches!(files.turn_at(&file, 5000, 10, b"file"), Err(NotServed::Pending(_)))
        };
        assert!((0..1000).any(|_| is_pending()));
        drop(turn);
        assert!(find(&files, "file").is_some());
        let _turn = files.cold.enter(1).expect("given back");
        assert!(find(&files, "file").is_some(), "it is held");
    }

    #[test]
    fn what_is_not_there_fills_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        put(&dir, "there", 10);
        let files = files(&dir, 1 << 20, 8);
        let before = find(&files, "there").expect("a file");
        for number in 0..10_000 {
            assert!(find(&files, &format!("missing{number}")).is_none());
        }
        assert_eq!(shelf(&files).entries.len(), 1);
        assert!(find(&files, &"x".repeat(config::CACHE_MISSING_BYTES + 1)).is_none());
        let missing = &shelf(&files).missing;
        assert!(missing.len() <= config::CACHE_MISSING + missing.num_shards());
        assert!(missing.iter().all(|(key, _)| key.path.len() <= config::CACHE_MISSING_BYTES));
        let after = find(&files, "there").expect("a file");
        assert!(Arc::ptr_eq(before.held(), after.held()) || !before.held().is_whole());
    }

    #[test]
    fn no_descriptor_may_be_held_where_none_is_allowed() {
        let dir = tempfile::tempdir().expect("a directory");
        put(&dir, "large", 100_000);
        let files = files(&dir, 1 << 20, 0);
        assert!(find(&files, "large").is_some());
        assert_eq!(shelf(&files).entries.len(), 0);
    }

    #[test]
    fn open_files_give_way_and_others_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        put(&dir, "large", 100_000);
        put(&dir, "small", 10);
        let files = files(&dir, 1 << 20, 8);
        assert!(find(&files, "large").is_some() && find(&files, "small").is_some());
        assert_eq!(shelf(&files).entries.len(), 2);
        files.give_way();
        let left: Vec<_> = shelf(&files).entries.iter().map(|(key, _)| key.path).collect();
        assert_eq!(left, [Arc::from(&b"small"[..])]);
    }

    #[test]
    fn neighbours_are_looked_up_once_whether_there_or_not() {
        let dir = tempfile::tempdir().expect("a directory");
        put(&dir, "a.js", 100);
        put(&dir, "a.js.gz", 10);
        let files = files(&dir, 1 << 20, 8);
        let entry = find(&files, "a.js").expect("a file");
        assert!(files.neighbour(&entry, Coding::Brotli).expect("in memory").is_none());
        let entry = find(&files, "a.js").expect("a file");
        assert!(files.neighbour(&entry, Coding::Gzip).expect("in memory").is_some());
        let entry = find(&files, "a.js").expect("a file");
        assert!(matches!(
            entry.neighbours,
            [Neighbour::Absent, Neighbour::Unknown, Neighbour::There(_)]
        ));
        assert_eq!(shelf(&files).entries.len(), 1, "they are part of what they stand for");
    }

    #[test]
    fn an_unchanged_file_is_read_once() {
        let dir = tempfile::tempdir().expect("a directory");
        put(&dir, "old", 10);
        let file = std::fs::File::options().write(true).open(dir.path().join("old"));
        file.and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH)).expect("set");
        let files = files(&dir, 1 << 20, 8);
        let path = DecodedPath::decode(b"old").expect("a path");
        let Ok(Found::File(file, metadata)) = files.root.find(&path) else { panic!("a file") };
        // As if it had been held since long ago.
        let mut held = Held::load(file, &metadata).expect("readable");
        held.settle();
        let checked = Instant::now().checked_sub(2 * config::CACHE_FRESH).expect("uptime");
        let key = Key { path: path.as_bytes().into(), of_index: false };
        let neighbours = [const { Neighbour::Unknown }; 3];
        let held = Arc::new(held);
        let entry = Entry { key, path, checked, held: Arc::clone(&held), neighbours, weight: 0 };
        shelf(&files).put(entry);
        let found = find(&files, "old").expect("a file");
        assert!(Arc::ptr_eq(found.held(), &held), "compared, and kept");
        assert!(found.checked > checked);
        put(&dir, "old", 11);
        shelf(&files).put(Entry {
            key: found.key.clone(),
            path: found.path.clone(),
            checked,
            held,
            neighbours: found.neighbours.clone(),
            weight: 0,
        });
        let found = find(&files, "old").expect("a file");
        assert_eq!(found.held().content().length(), 11, "compared, and read again");
    }
}
