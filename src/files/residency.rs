//! Tests whether a range of a file is in the page cache, so that sending it does not wait for a
//! disk.

use crate::config;
use std::fs::File;

/// True if `length` bytes of a file can be read without waiting for a disk, as far as the kernel
/// tells.
///
/// `preadv2(2)` with `RWF_NOWAIT` reads only what is in memory. For the rest, the kernel starts to
/// read ahead. This function probes one byte in each [`config::PROBE_STRIDE`], and the last byte,
/// because files come into memory in ranges of about that size. If the range `goes_on` behind one
/// that was in memory, its first byte need not be probed. A page that is missing between two
/// probes, or is evicted before it is sent, makes the sender wait.
#[cfg(target_os = "linux")]
pub fn is_in_memory(file: &File, offset: u64, length: u64, goes_on: bool) -> bool {
    let Some(last) = length.checked_sub(1) else { return true };
    let probes = (0..last).step_by(config::PROBE_STRIDE).skip(goes_on.into());
    let mut probes = probes.chain([last]);
    probes.all(|at| probe(file, offset + at))
}

#[cfg(target_os = "linux")]
fn probe(file: &File, offset: u64) -> bool {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    use std::io::IoSliceMut;
    let mut byte = [0];
    match preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
        Err(Errno::AGAIN) => false,
        // This file system does not support the flag. It may be slow, unless it lives in memory.
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => lives_in_memory(file),
        // The sender will find an error or the end of the file.
        _ => true,
    }
}

/// True if the file system is tmpfs or ramfs.
#[cfg(target_os = "linux")]
pub(super) fn lives_in_memory(file: &File) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::fstatfs(file)
        .is_ok_and(|of| matches!(of.f_type as u64 & 0xffff_ffff, TMPFS | RAMFS))
}

/// Other systems offer no way to ask.
#[cfg(not(target_os = "linux"))]
pub fn is_in_memory(_file: &File, _offset: u64, _length: u64, _goes_on: bool) -> bool {
    let _ = config::PROBE_STRIDE;
    true
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_file_dropped_from_the_page_cache_is_not_in_memory() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&vec![1; 1 << 20]).expect("written");
        file.sync_all().expect("a disk");
        assert!(is_in_memory(&file, 0, 1 << 20, false), "just written");
        assert!(is_in_memory(&file, 1 << 20, 5, false), "beyond the end");
        assert!(is_in_memory(&file, 5, 0, false), "an empty range");
        if lives_in_memory(&file) {
            return;
        }
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("a file");
        assert!(!is_in_memory(&file, 0, 1 << 20, false));
        file.read_at(&mut [0; 100], 0).expect("a file");
        assert!(is_in_memory(&file, 0, 100, false), "read again");
    }
}
