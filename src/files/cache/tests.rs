//! Tests of the cache.

use super::*;
#[cfg(target_os = "linux")]
use crate::files::residency::lives_in_memory;

fn files(dir: &tempfile::TempDir, bytes: u64, descriptors: usize) -> Files {
    let root = Root::open(dir.path()).expect("a root");
    Files::new(root, Some(CacheLimits { bytes, descriptors }))
}

fn find(files: &Files, path: &str) -> Option<Arc<CachedFile>> {
    match files.find(&DecodedPath::decode(path.as_bytes()).expect("a path")) {
        Ok(Lookup::File(entry)) => Some(entry),
        _ => None,
    }
}

fn store(files: &Files) -> &Store {
    files.cache.as_ref().expect("a cache")
}

fn put(dir: &tempfile::TempDir, name: &str, length: usize) {
    std::fs::write(dir.path().join(name), vec![b'x'; length]).expect("written");
}

#[test]
fn the_cache_is_bounded_in_bytes_and_in_descriptors() {
    let dir = tempfile::tempdir().expect("a directory");
    let most = 8;
    for (bytes, length) in [(1 << 20, 10_000), (1 << 20, 100_000), (40_000, 10_000)] {
        let files = files(&dir, bytes, most);
        for number in 0..300 {
            let name = format!("file{number}");
            put(&dir, &name, length);
            assert!(find(&files, &name).is_some());
        }
        let entries = &store(&files).entries;
        assert!(!entries.is_empty(), "{length}: some are cached");
        assert!(entries.weight() <= bytes.next_multiple_of(entries.num_shards() as u64));
        let open = entries.iter().filter(|(_, entry)| entry.holds_descriptors()).count();
        assert!(open <= most, "{open} of {length} are open");
        let content: u64 = entries.iter().map(|(_, e)| e.loaded().content().length()).sum();
        assert!(length > 50_000 || content <= bytes, "{content} bytes are cached");
    }
}

/// A request whose file is on disk needs a permit. If there is none, it waits without a worker.
#[cfg(target_os = "linux")]
#[test]
fn a_request_for_a_file_on_disk_waits_for_a_permit() {
    let dir = tempfile::tempdir().expect("a directory");
    put(&dir, "file", 10_000);
    let file = File::open(dir.path().join("file")).expect("a file");
    file.sync_all().expect("a disk");
    if lives_in_memory(&file) {
        return;
    }
    // A probe makes the kernel read the page, so the file is out of memory for one probe only.
    let forget = || {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("a file");
    };
    let path = DecodedPath::decode(b"file").expect("a path");
    // A page that somebody else looks at, or that is being read, cannot be dropped yet.
    let waits = |_| {
        let files = files(&dir, 1 << 20, 8).with_workers(2);
        let permit = files.cold.enter(1).expect("free");
        forget();
        matches!(files.find(&path), Err(NotServed::Pending(_))).then_some((files, permit))
    };
    let (files, permit) = (0..1000).find_map(waits).expect("a wait");
    let is_pending = || {
        forget();
        matches!(files.permit_for(&file, 5000, 10, b"file"), Err(NotServed::Pending(_)))
    };
    assert!((0..1000).any(|_| is_pending()));
    drop(permit);
    assert!(find(&files, "file").is_some());
    let _permit = files.cold.enter(1).expect("the permit was released");
    assert!(find(&files, "file").is_some(), "it is cached");
}

#[test]
fn names_that_do_not_exist_evict_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    put(&dir, "there", 10);
    let files = files(&dir, 1 << 20, 8);
    let before = find(&files, "there").expect("a file");
    for number in 0..10_000 {
        assert!(find(&files, &format!("missing{number}")).is_none());
    }
    assert_eq!(store(&files).entries.len(), 1);
    assert!(find(&files, &"x".repeat(config::CACHE_MISSING_BYTES + 1)).is_none());
    let absent = &store(&files).absent;
    assert!(absent.len() <= config::CACHE_MISSING + absent.num_shards());
    assert!(absent.iter().all(|(key, _)| key.path.len() <= config::CACHE_MISSING_BYTES));
    let after = find(&files, "there").expect("a file");
    assert!(Arc::ptr_eq(before.loaded(), after.loaded()) || !before.loaded().is_unchanged());
}

#[test]
fn with_no_descriptors_allowed_no_large_file_is_cached() {
    let dir = tempfile::tempdir().expect("a directory");
    put(&dir, "large", 100_000);
    let files = files(&dir, 1 << 20, 0);
    assert!(find(&files, "large").is_some());
    assert_eq!(store(&files).entries.len(), 0);
}

#[test]
fn give_way_closes_open_files_and_keeps_those_in_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    put(&dir, "large", 100_000);
    put(&dir, "small", 10);
    let files = files(&dir, 1 << 20, 8);
    assert!(find(&files, "large").is_some() && find(&files, "small").is_some());
    assert_eq!(store(&files).entries.len(), 2);
    files.give_way();
    let left: Vec<_> = store(&files).entries.iter().map(|(key, _)| key.path).collect();
    assert_eq!(left, [Arc::from(&b"small"[..])]);
}

/// A request looks them up one after the other.
#[test]
fn all_forms_that_a_request_looks_up_are_known_afterwards() {
    let dir = tempfile::tempdir().expect("a directory");
    ["a.js", "a.js.gz"].iter().for_each(|name| put(&dir, name, 100));
    let files = files(&dir, 1 << 20, 4);
    let entry = find(&files, "a.js").expect("there");
    for coding in Coding::PRECOMPRESSED {
        files.precompressed(&entry, coding).expect("in memory");
    }
    let entry = find(&files, "a.js").expect("there");
    let known = Coding::PRECOMPRESSED.map(|coding| files.known_form(&entry, coding));
    let is_there = known.map(|form| form.expect("it was looked up").is_some());
    assert_eq!(is_there, Coding::PRECOMPRESSED.map(|coding| coding == Coding::Gzip));
}

#[test]
fn a_precompressed_form_is_looked_up_once_whether_it_exists_or_not() {
    let dir = tempfile::tempdir().expect("a directory");
    put(&dir, "a.js", 100);
    put(&dir, "a.js.gz", 10);
    let files = files(&dir, 1 << 20, 8);
    let entry = find(&files, "a.js").expect("a file");
    assert!(files.precompressed(&entry, Coding::Brotli).expect("in memory").is_none());
    let entry = find(&files, "a.js").expect("a file");
    assert!(files.precompressed(&entry, Coding::Gzip).expect("in memory").is_some());
    let entry = find(&files, "a.js").expect("a file");
    assert!(matches!(
        entry.forms,
        [Precompressed::Absent, Precompressed::Unknown, Precompressed::Present(_)]
    ));
    assert_eq!(store(&files).entries.len(), 1, "the forms are part of their file's entry");
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
    // Pretend that it has been cached for a long time.
    let mut loaded = LoadedFile::load(file, &metadata).expect("readable");
    loaded.settle();
    let checked = Instant::now().checked_sub(2 * config::CACHE_FRESH).expect("uptime");
    let key = CacheKey { path: path.as_bytes().into(), is_index: false };
    let forms = [const { Precompressed::Unknown }; 3];
    let loaded = Arc::new(loaded);
    let entry = CachedFile { key, path, checked, loaded: Arc::clone(&loaded), forms, weight: 0 };
    store(&files).put(entry);
    let found = find(&files, "old").expect("a file");
    assert!(Arc::ptr_eq(found.loaded(), &loaded), "it is unchanged, and kept");
    assert!(found.checked > checked);
    put(&dir, "old", 11);
    store(&files).put(CachedFile {
        key: found.key.clone(),
        path: found.path.clone(),
        checked,
        loaded,
        forms: found.forms.clone(),
        weight: 0,
    });
    let found = find(&files, "old").expect("a file");
    assert_eq!(found.loaded().content().length(), 11, "it has changed, and was read again");
}

#[test]
fn descriptors_set_how_many_files_are_held_open() {
    let rows = [(1 << 20, 1024), (20_000, 1024), (1024, 64), (40, 2), (15, 0), (0, 0)];
    for (descriptors, files) in rows {
        assert_eq!(CacheLimits::descriptors_within(descriptors), files, "{descriptors}");
    }
}
