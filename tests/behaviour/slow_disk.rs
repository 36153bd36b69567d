//! Files on a slow disk that are not in memory: their readers wait for the disk, and other clients
//! do not.
#![cfg(feature = "cli")]
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use crate::support::limits::{Group, Polite};
use crate::support::{PATIENCE, RealServer, TESTFILE, connect};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The rate of the slow disk in bytes per second.
const RATE: u64 = 2 << 20;

/// The size of a cold file in bytes. The disk takes longer to read it than the test lasts.
const COLD: usize = 12 << 20;

/// How long the other client is watched: several pauses of the disk.
const WATCHED: Duration = Duration::from_millis(2500);

/// A median response time that is generous for a file in memory, and far below the pauses of the
/// disk.
const PROMPT: Duration = Duration::from_millis(100);

/// A folder on a disk that can be throttled, and the control group whose processes it throttles.
fn slow_folder() -> Option<(Group, tempfile::TempDir)> {
    let folders = [std::env::temp_dir(), PathBuf::from(env!("CARGO_TARGET_TMPDIR"))];
    for parent in folders {
        let folder = tempfile::tempdir_in(parent).unwrap();
        if let Some(group) = Group::with_slow_disk(folder.path(), RATE) {
            return Some((group, folder));
        }
    }
    eprintln!("skipped: no control group can throttle a disk on this machine");
    None
}

/// Writes a file of this size and drops it from the page cache.
fn put_cold(path: &Path, size: usize) {
    let mut file = File::create(path).unwrap();
    // No two blocks are alike, because some disks deduplicate.
    for number in 0..size / 8 {
        let word = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_ne_bytes();
        if number % 8192 == 0 {
            file.write_all(&word.repeat(8192)).unwrap();
        }
    }
    file.sync_all().unwrap();
    let advice = rustix::fs::Advice::DontNeed;
    rustix::fs::fadvise(&file, 0, None, advice).unwrap();
}

/// Reads a file at `rate` bytes per second or less until `is_over`, and counts the bytes.
fn read(address: SocketAddr, name: &str, rate: u64, is_over: &AtomicBool, came: &AtomicU64) {
    let mut stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    write!(stream, "GET /{name} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let (begun, mut buffer) = (Instant::now(), vec![0; 16 << 10]);
    while !is_over.load(Relaxed) {
        // Bytes that have not come by then are awaited again: the disk is slow.
        let count = stream.read(&mut buffer).unwrap_or(0);
        let all = came.fetch_add(count as u64, Relaxed) + count as u64;
        let due = begun + Duration::from_secs_f64(all as f64 / rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()).min(PATIENCE / 20));
    }
}

/// What a client reads.
#[derive(Clone, Copy)]
enum What {
    File,
    /// A zip of files that workers copy into it.
    Archive,
}

impl What {
    /// Puts one beneath `folder`, and returns its target.
    fn put(self, folder: &Path, number: usize) -> String {
        let path = folder.join(format!("cold{number}"));
        match self {
            Self::File => {
                put_cold(&path, COLD);
                format!("cold{number}")
            }
            Self::Archive => {
                fs::create_dir(&path).unwrap();
                (0..COLD >> 16).for_each(|file| put_cold(&path.join(file.to_string()), 1 << 16));
                format!("cold{number}/?archive=zip")
            }
        }
    }
}

/// The median response time for a file in memory, while `readers` clients each read something cold
/// at `rate`.
fn polite_beside(readers: usize, what: What, rate: u64) -> Option<Duration> {
    let (group, folder) = slow_folder()?;
    fs::write(folder.path().join("testfile"), TESTFILE).unwrap();
    fs::create_dir(folder.path().join("warm")).unwrap();
    let names: Vec<_> = (0..readers).map(|number| what.put(folder.path(), number)).collect();
    // Read the program into memory, so that its start does not wait for the disk.
    let program = env!("CARGO_BIN_EXE_server");
    assert!(!fs::read(program).unwrap().is_empty());
    let mut command = group.command(program);
    command.args(["--root", folder.path().to_str().unwrap(), "0", "--workers", "2", "--archive"]);
    let server = RealServer::spawn(command);
    let address = server.address();
    // A file in memory needs no worker. Those who make archives must leave one for a listing.
    let polite = match what {
        What::File => Polite::start(address),
        What::Archive => Polite::asking(address, "/warm/?format=json", None),
    };
    let is_over = AtomicBool::new(false);
    let came: Vec<_> = names.iter().map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for (name, came) in names.iter().zip(&came) {
            let is_over = &is_over;
            scope.spawn(move || read(address, name, rate, is_over, came));
        }
        std::thread::sleep(WATCHED);
        is_over.store(true, Relaxed);
    });
    let median = polite.finish();
    let came: u64 = came.iter().map(|came| came.load(Relaxed)).sum();
    assert!(came > 0, "the readers are served");
    if came > 2 * RATE * WATCHED.as_secs() {
        eprintln!("skipped: the control group does not throttle the disk ({came} bytes came)");
        return None;
    }
    Some(median)
}

#[test]
fn one_reader_of_a_cold_file_delays_no_other_client() {
    if let Some(median) = polite_beside(1, What::File, u64::MAX) {
        assert!(median < PROMPT, "a file in memory took {median:?}");
    }
}

#[test]
fn five_readers_of_cold_files_delay_no_other_client() {
    if let Some(median) = polite_beside(5, What::File, 1 << 20) {
        assert!(median < PROMPT, "a file in memory took {median:?}");
    }
}

/// At most half of the workers make archives, and wait for the disk meanwhile.
#[test]
fn four_readers_of_archives_of_cold_files_delay_no_other_client() {
    if let Some(median) = polite_beside(4, What::Archive, u64::MAX) {
        // Less than one pause of the disk, and far more than a listing takes.
        assert!(median < PROMPT / 4, "a listing took {median:?}");
    }
}
