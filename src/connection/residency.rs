//! Whether a stretch of a file is in memory, so that sending it waits for no disk.

use crate::config;
use crate::handler::FileSlice;
use std::fs::File;

/// True where the next `most` bytes of a slice can be sent without waiting for a disk, as far as
/// the kernel tells.
///
/// `preadv2(2)` with `RWF_NOWAIT` reads what is in memory and nothing else. One byte is asked for
/// in each [`config::PROBE_STRIDE`], and the last one: files come into memory, and leave it, by
/// stretches that are as long or longer.
#[cfg(target_os = "linux")]
pub(super) fn is_in_memory(slice: &FileSlice, most: u64) -> bool {
    let length = slice.length.min(most);
    let Some(last) = length.checked_sub(1) else { return true };
    let offsets = (0..last).step_by(config::PROBE_STRIDE).chain([last]);
    offsets.map(|offset| slice.offset + offset).all(|offset| probe(&slice.file, offset))
}

#[cfg(target_os = "linux")]
fn probe(file: &File, offset: u64) -> bool {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    use std::io::IoSliceMut;
    let mut byte = [0];
    match preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
        Err(Errno::AGAIN) => false,
        // A file system that cannot tell may be slow, unless memory is all it is.
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => lives_in_memory(file),
        // What is wrong with it, or that it ends here, is for whoever sends it to find.
        _ => true,
    }
}

/// True for tmpfs and ramfs.
#[cfg(target_os = "linux")]
fn lives_in_memory(file: &File) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::fstatfs(file)
        .is_ok_and(|of| matches!(of.f_type as u64 & 0xffff_ffff, TMPFS | RAMFS))
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_in_memory(_slice: &FileSlice, _most: u64) -> bool {
    let _ = (config::PROBE_STRIDE, None::<File>);
    true
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    #[test]
    fn a_file_that_was_dropped_from_memory_is_not_there() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&vec![1; 1 << 20]).expect("written");
        file.sync_all().expect("a disk");
        let slice = |file, offset, length| FileSlice { file, offset, length };
        let file = Arc::new(file);
        let whole = || slice(Arc::clone(&file), 0, 1 << 20);
        assert!(is_in_memory(&whole(), 1 << 20), "just written");
        assert!(is_in_memory(&slice(Arc::clone(&file), 1 << 20, 5), 5), "beyond the end");
        assert!(is_in_memory(&slice(Arc::clone(&file), 5, 0), 5), "nothing");
        if lives_in_memory(&file) {
            return;
        }
        let advice = rustix::fs::Advice::DontNeed;
        rustix::fs::fadvise(&*file, 0, None, advice).expect("a file");
        assert!(!is_in_memory(&whole(), 1 << 20));
        std::os::unix::fs::FileExt::read_at(&*file, &mut [0; 100], 0).expect("a file");
        assert!(is_in_memory(&slice(Arc::clone(&file), 0, 100), 100), "read again");
    }
}
