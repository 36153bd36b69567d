//! Tests of archives without a server: their lengths, their limits, and who makes them.

use super::desk::{ArchiveLimits, Desk};
use super::making::Making;
use super::tree::Tree;
use super::{Format, disposition, tar, zip};
use crate::files::entries::Entries;
use crate::files::root::Root;
use crate::handler::Made;
use crate::memory::Memory;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A file: name, size and time in seconds.
type File = (Vec<u8>, u64, u64);

/// The tree of a folder `a` with these files, and of folders beneath it.
fn tree(folders: &[(&str, Vec<File>)]) -> Tree {
    let memory = Memory::new(1 << 30);
    let mut tree = Tree::new(&memory, b"", b"a").expect("room");
    for (number, (path, files)) in folders.iter().enumerate() {
        let mut entries = Entries::within(&memory, 0).expect("room");
        for (name, size, seconds) in files {
            let nanos = i64::try_from(seconds * 1_000_000_000).ok();
            entries.push(name, false, *size, nanos).expect("room");
        }
        entries.finish();
        if number > 0 {
            tree.add(path.as_bytes().into(), 1).expect("room");
        }
        tree.fill(number, entries, Some(0));
    }
    tree
}

/// The bytes of an archive without the content of its files, and the length with it.
fn written(tree: &Tree, format: Format) -> (Vec<u8>, u64) {
    let (mut bytes, mut content) = (Vec::new(), 0);
    for item in tree.items() {
        match format {
            Format::Tar => {
                tar::put_head(&item, &mut bytes);
                bytes.resize(bytes.len() + tar::padding(item.size), 0);
            }
            Format::Zip => {
                zip::put_head(&item, 7, &mut bytes);
                zip::put_tail(&item, 7, &mut bytes);
            }
        }
        content += item.size;
    }
    match format {
        Format::Tar => bytes.resize(bytes.len() + tar::END, 0),
        Format::Zip => {
            let (mut directory, checksums) = (zip::Directory::default(), vec![7; 70_000]);
            while directory.put_next(tree, &checksums, &mut bytes) {}
        }
    }
    let length = bytes.len() as u64 + content;
    (bytes, length)
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(1..=255_u8, 1..12),
        "[a-z\u{e4}\u{1f980}\\\\]{1,60}".prop_map(String::into_bytes),
        (80..256_usize).prop_map(|length| vec![b'n'; length]),
    ]
}

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..2000_u64,
        65_530..65_540_u64,
        (1_u64 << 32) - 3..(1 << 32) + 3,
        (1_u64 << 33) - 3..(1 << 33) + 3,
        Just(1 << 50),
    ]
}

proptest! {
    #[test]
    fn the_announced_length_is_that_of_what_is_written(
        files in prop::collection::vec((names(), sizes(), 0..9_000_000_000_u64), 0..20),
        others in prop::collection::vec((names(), sizes(), 0..9_000_000_000_u64), 0..5),
    ) {
        let long = "b/".repeat(60) + "c";
        let tree = tree(&[("", files), ("x y", vec![]), (&long, others)]);
        for format in Format::ALL {
            let (_, length) = written(&tree, format);
            prop_assert_eq!(format.length_of(&tree), Some(length), "{:?}", format);
        }
    }
}

#[test]
fn a_tar_has_sizes_and_names_of_any_length() {
    let name = vec![b'n'; 200];
    let tree = tree(&[("", vec![(name.clone(), 9 << 30, 1_700_000_000)])]);
    let (bytes, _) = written(&tree, Format::Tar);
    // The folder, the long name's header and its text, and the file.
    let header = ::tar::Header::from_byte_slice(&bytes[3 * 512..4 * 512]);
    assert_eq!(header.size().expect("a size"), 9 << 30);
    assert_eq!(header.mtime().expect("a time"), 1_700_000_000);
    assert_eq!((header.mode().expect("a mode"), header.uid().expect("a user")), (0o644, 0));
    let long = ::tar::Header::from_byte_slice(&bytes[512..1024]);
    assert!(long.entry_type().is_gnu_longname());
    assert_eq!(bytes[1024..1024 + 203], [b"a/", &name[..], b"\0"].concat());
}

#[test]
fn a_zip_has_64_bits_where_it_needs_them() {
    let wide = b"PK\x06\x06";
    let has = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
    let file = |number: usize| (format!("{number}").into_bytes(), 0, 0);
    let many = |count: usize| tree(&[("", (1..count).map(file).collect())]);
    for (tree, is_wide) in [
        (tree(&[("", vec![(b"f".to_vec(), 1000, 0)])]), false),
        (tree(&[("", vec![(b"f".to_vec(), (1 << 32) - 1, 0)])]), true),
        (tree(&[("", vec![(b"f".to_vec(), 3 << 30, 0), (b"g".to_vec(), 3 << 30, 0)])]), true),
        (many(65_534), false),
        (many(65_535), true),
    ] {
        let (bytes, length) = written(&tree, Format::Zip);
        assert_eq!(has(&bytes, wide), is_wide);
        assert_eq!(Format::Zip.length_of(&tree), Some(length));
    }
}

#[test]
fn what_cannot_be_counted_has_no_length() {
    for size in [u64::MAX, u64::MAX - 600] {
        let tree = tree(&[("", vec![(b"f".to_vec(), size, 0), (b"g".to_vec(), size, 0)])]);
        assert_eq!(Format::ALL.map(|of| of.length_of(&tree)), [None, None]);
    }
}

/// Hostile names, and a name in a zip cannot be a path on any system.
#[test]
fn names_stay_within_their_field() {
    let tree = tree(&[("", vec![(b"..\\..\\evil".to_vec(), 0, 0)])]);
    let (zip, _) = written(&tree, Format::Zip);
    let has = |text: &[u8]| zip.windows(text.len()).any(|part| part == text);
    assert!(has(b"a/.._.._evil") && !has(b"..\\"));
    let rows: [(&[u8], &str); 4] = [
        (b"plain-1.2 x", "attachment; filename=\"plain-1.2 x.tar\""),
        (b"a\"b\\c", "attachment; filename=\"a_b_c.tar\"; filename*=UTF-8''a%22b%5Cc.tar"),
        (
            b"a\r\nX: b",
            "attachment; filename=\"a__X_ b.tar\"; filename*=UTF-8''a%0D%0AX%3A%20b.tar",
        ),
        (b"\xff", "attachment; filename=\"_.tar\"; filename*=UTF-8''%EF%BF%BD.tar"),
    ];
    for (name, field) in rows {
        assert_eq!(disposition(name, "tar"), field);
    }
}

/// The first piece that an archive makes now.
fn first(desk: &Desk, tree: &Arc<Tree>, root: &Root) -> (Making, Option<Made>) {
    let place = desk.place().expect("a place");
    let (tree, root) = (Arc::clone(tree), root.try_clone().expect("a root"));
    let mut making = Making::new((tree, root), (desk.clone(), place), Format::Tar, 0, Vec::new());
    let made = making.next();
    (making, made)
}

#[test]
fn half_of_the_workers_make_pieces_at_most_and_others_wait_for_a_permit() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = Root::open(dir.path()).expect("a root");
    let tree = Arc::new(tree(&[("", vec![])]));
    for (workers, permits) in [(1, 1), (2, 1), (3, 1), (4, 2), (9, 4)] {
        let desk = Desk::new(Memory::new(1 << 20), ArchiveLimits::new(workers));
        let places: Vec<_> = (0..permits).map(|_| desk.place().expect("a place")).collect();
        let mut held: Vec<_> =
            places.iter().map(|place| desk.enter(place).expect("a permit")).collect();
        let (mut making, made) = first(&desk, &tree, &root);
        let Some(Made::Wait(wait)) = made else { panic!("{made:?} with {workers} workers") };
        let waiting = wait.join(|| ());
        assert!(!waiting.is_over());
        drop(held.pop());
        assert!(waiting.is_over());
        assert!(matches!(making.next(), Some(Made::Bytes(bytes)) if bytes.len() == 1536));
        drop(waiting);
    }
}

#[test]
fn a_walk_is_shared_and_is_done_in_turns() {
    let dir = tempfile::tempdir().expect("a directory");
    for number in 0..300 {
        std::fs::create_dir(dir.path().join(number.to_string())).expect("made");
    }
    let root = Root::open(dir.path()).expect("a root");
    let desk = Desk::new(Memory::new(64 << 20), ArchiveLimits::new(1));
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).expect("uptime");
    let ask = |since| loop {
        match desk.tree(&root, (b"", b"files"), since, |_| true) {
            Ok(tree) => return tree,
            Err(super::NoTree::NotServed(crate::files::root::NotServed::Pending(wait))) => {
                assert!(wait.join(|| ()).is_over(), "it goes on at once");
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    let tree = ask(long_ago);
    assert_eq!(tree.items().count(), 301);
    assert!(Arc::ptr_eq(&tree, &ask(long_ago)));
    assert!(!Arc::ptr_eq(&tree, &ask(Instant::now())), "a walk of now was wanted");
    desk.tend();
    assert!(desk.memory().held() > 0);
    drop(tree);
}
