//! One state of one file: its content in memory or an open descriptor, and its metadata.

use crate::config;
use bytes::Bytes;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// A file as it was when it was opened. The value never changes, even if the file does.
#[derive(Debug)]
pub struct LoadedFile {
    content: Content,
    stamp: Stamp,
    modified: Option<SystemTime>,
    /// The file is unchanged for so long that a further change would show in its times.
    is_settled: bool,
    /// The content is unchanged for so long that an entity tag or a date may name this state.
    is_still: bool,
    /// The metadata gave the true size. Files whose content is generated on reading, such as those
    /// in `/proc`, report another size.
    is_sized: bool,
    description: OnceLock<Description>,
}

/// The bytes of a file. Small files are read into memory, large ones are sent from the file.
#[derive(Debug, Clone)]
pub enum Content {
    /// The whole content.
    Memory(Bytes),
    /// An open file and its length.
    File {
        /// The file.
        file: Arc<File>,
        /// The length in bytes.
        length: u64,
    },
}

/// The header fields for one state of a file, prepared once.
#[derive(Debug)]
pub struct Description {
    /// The media type.
    pub media_type: String,
    /// The fields of a response that carries the whole file, each with its line end.
    pub fields: Bytes,
}

/// Identifies one state of a file or directory: device, inode, length and times. Programs can set
/// the time of the content back (`mtime`), but not the time of the inode (`ctime`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: i128,
    changed: i128,
}

impl Stamp {
    /// The stamp for `metadata`.
    pub fn of(metadata: &Metadata) -> Self {
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The stamp for what `statx(2)` tells.
    #[cfg(target_os = "linux")]
    pub fn of_statx(stat: &rustix::fs::Statx) -> Self {
        let nanos = |time: &rustix::fs::StatxTimestamp| {
            i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
        };
        Self {
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            length: stat.stx_size,
            modified: nanos(&stat.stx_mtime),
            changed: nanos(&stat.stx_ctime),
        }
    }

    /// The length of the file and the time of its last change, in nanoseconds since 1970.
    pub fn length_and_time(&self) -> (u64, i128) {
        (self.length, self.modified)
    }

    /// True if a change after `now` would show in the times.
    fn is_settled(&self, now: SystemTime) -> bool {
        is_over(self.modified.max(self.changed), now)
    }

    /// True if nobody was writing to the file at `now`.
    ///
    /// The kernel sets the time of a file before it copies the written bytes. So content can change
    /// under a time that stays the same afterwards, and a tag made at that moment would later name
    /// the new content. This does not notice a single write that takes longer than
    /// [`config::CACHE_SETTLE`].
    ///
    /// The time of the inode does not matter here. Every write sets the time of the content, and
    /// programs that set it back, such as `rsync` and `tar`, have finished writing by then. A time
    /// in the future does not tell when the last write was.
    fn is_still(&self, now: SystemTime) -> bool {
        is_over(self.modified, now)
    }
}

/// True if `time` is at least [`config::CACHE_SETTLE`] before `now`.
pub fn is_over(time: i128, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    time + config::CACHE_SETTLE.as_nanos() as i128 <= now.as_nanos() as i128
}

impl LoadedFile {
    /// Loads a file that was just opened.
    ///
    /// A small file is read until its stamp is the same before and after, so that the content in
    /// memory is of one state. A file that keeps changing is sent from the descriptor, like a large
    /// one. A file that has another size than its metadata gives, as in `/proc` and `/sys`, is read
    /// to its end.
    pub fn load(file: File, metadata: &Metadata) -> io::Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
        let now = SystemTime::now();
        let mut stamp = Stamp::of(metadata);
        let mut modified = metadata.modified().ok();
        for _ in 0..config::STEADY_READS {
            if stamp.length > config::SMALL_FILE {
                break;
            }
            let content = read_at(&file, 0, stamp.length)?;
            let ends = content.len() as u64 == stamp.length && is_end(&file, stamp.length)?;
            let metadata = file.metadata()?;
            let after = Stamp::of(&metadata);
            if !ends && after.length == stamp.length {
                let content = Content::Memory(read_unsized(&file)?.into());
                return Ok(Self { is_sized: false, ..Self::new(content, after, None, now) });
            }
            if after == stamp && ends {
                return Ok(Self::new(Content::Memory(content.into()), stamp, modified, now));
            }
            (stamp, modified) = (after, metadata.modified().ok());
        }
        let content = Content::File { file: Arc::new(file), length: stamp.length };
        Ok(Self::new(content, stamp, modified, now))
    }

    fn new(content: Content, stamp: Stamp, modified: Option<SystemTime>, now: SystemTime) -> Self {
        let (is_settled, is_still) = (stamp.is_settled(now), stamp.is_still(now));
        let description = OnceLock::new();
        Self { content, stamp, modified, is_settled, is_still, is_sized: true, description }
    }

    /// True if a file with this metadata is certainly in this state. A file that was changed just
    /// before it was loaded may have changed again within the same tick of the file system's clock,
    /// so this is false for it.
    pub fn is_state_of(&self, metadata: &Metadata) -> bool {
        self.has_stamp(Stamp::of(metadata))
    }

    /// The same for a file with this stamp.
    pub fn has_stamp(&self, stamp: Stamp) -> bool {
        self.is_settled && self.is_sized && self.stamp == stamp
    }

    /// True if this metadata is of the same file, changed or not.
    pub fn is_file_of(&self, metadata: &Metadata) -> bool {
        let Stamp { device, inode, .. } = Stamp::of(metadata);
        (device, inode) == (self.stamp.device, self.stamp.inode)
    }

    /// True if it may serve other requests. Content that is generated on reading may not.
    pub fn is_cacheable(&self) -> bool {
        self.is_sized
    }

    /// True if the content is still that of this state. This always holds for content in memory. An
    /// open file may have been written to, truncated or removed since.
    pub fn is_unchanged(&self) -> bool {
        match &self.content {
            Content::Memory(_) => true,
            Content::File { file, .. } => {
                file.metadata().is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
            }
        }
    }

    /// Marks the state as old enough to be compared by its times.
    #[cfg(test)]
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }

    /// The content.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The time of the last change of the content.
    pub fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// An opaque entity tag for this state, and the time of its last change. `None` if the file was
    /// changed too recently.
    ///
    /// The tag is made of the length and the time of change. Copies of a tree share these (`rsync
    /// -a`, `tar`, image layers), so servers behind one load balancer send the same tags. An inode
    /// number differs from machine to machine. The price: a file that replaces another of the same
    /// length and the same time, to the nanosecond, has the same tag. A date has this weakness too.
    pub fn validators(&self) -> Option<(String, Option<SystemTime>)> {
        let Stamp { length, modified, .. } = self.stamp;
        let is_named = self.is_still && self.is_sized;
        is_named.then(|| (format!("{length:x}-{modified:x}"), self.modified))
    }

    /// Reads bytes of this state into memory. `None` if the file has changed since or cannot be
    /// read.
    pub fn read(&self, first: u64, length: u64) -> Option<Bytes> {
        match &self.content {
            Content::Memory(bytes) => {
                let end = usize::try_from(first.checked_add(length)?).ok()?;
                (end <= bytes.len()).then(|| bytes.slice(first as usize..end))
            }
            Content::File { file, .. } => {
                // A write sets the time before it changes the content, so content that is read
                // under the old time is the old content.
                let part = read_at(file, first, length).ok()?;
                (part.len() as u64 == length && self.is_unchanged()).then(|| part.into())
            }
        }
    }

    /// The first bytes of the content, enough to guess the media type.
    pub fn start(&self) -> Bytes {
        match &self.content {
            Content::Memory(bytes) => bytes.slice(..bytes.len().min(config::SNIFF_BYTES)),
            Content::File { file, length } => {
                let most = (*length).min(config::SNIFF_BYTES as u64);
                read_at(file, 0, most).unwrap_or_default().into()
            }
        }
    }

    /// The description. The first caller prepares it.
    pub fn description(&self, prepare: impl FnOnce() -> Description) -> &Description {
        self.description.get_or_init(prepare)
    }

    /// True if the description is prepared.
    pub fn is_described(&self) -> bool {
        self.description.get().is_some()
    }

    /// True if the content is still that of this state, as far as the kernel knows without a disk.
    pub fn is_known_unchanged(&self, state: impl FnOnce(&File) -> Option<Stamp>) -> bool {
        match &self.content {
            Content::Memory(_) => true,
            Content::File { file, .. } => state(file) == Some(self.stamp),
        }
    }

    /// True if it keeps a descriptor open.
    pub fn is_open(&self) -> bool {
        matches!(self.content, Content::File { .. })
    }
}

impl Content {
    /// The length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

/// Reads `length` bytes of a file, or fewer if it ends before.
fn read_at(file: &File, first: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut content = zeroes(length as usize)?;
    let mut filled = 0;
    while filled < content.len() {
        match read_once(file, &mut content[filled..], first + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    content.truncate(filled);
    Ok(content)
}

fn is_end(file: &File, at: u64) -> io::Result<bool> {
    Ok(read_once(file, &mut [0], at)? == 0)
}

/// Reads a file of unknown size, up to [`config::UNSIZED_FILE`] bytes.
fn read_unsized(file: &File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let more = read_at(file, content.len() as u64, config::SMALL_FILE)?;
        if (content.len() + more.len()) as u64 > config::UNSIZED_FILE {
            let reason =
                "the size is unknown until the file is read, and the file is too long for that";
            return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
        }
        content.try_reserve(more.len()).map_err(|_| ErrorKind::OutOfMemory)?;
        content.extend_from_slice(&more);
        if (more.len() as u64) < config::SMALL_FILE {
            return Ok(content);
        }
    }
}

fn read_once(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, at) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// A buffer of `count` zero bytes, or an error if memory is short.
fn zeroes(count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count).map_err(|_| ErrorKind::OutOfMemory)?;
    bytes.resize(count, 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn loaded(path: &std::path::Path) -> LoadedFile {
        let file = File::open(path).expect("a file");
        let metadata = file.metadata().expect("open");
        LoadedFile::load(file, &metadata).expect("readable")
    }

    #[test]
    fn small_files_are_read_into_memory_and_large_files_stay_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for (length, is_open) in [(0, false), (1, false), (16 * 1024, false), (16 * 1024 + 1, true)]
        {
            std::fs::write(&path, vec![b'x'; length]).expect("written");
            let loaded = loaded(&path);
            assert_eq!((loaded.content().length(), loaded.is_open()), (length as u64, is_open));
            assert_eq!(loaded.start().len(), length.min(config::SNIFF_BYTES));
        }
    }

    #[test]
    fn an_open_file_that_was_changed_or_removed_is_not_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let write = |length| std::fs::write(&path, vec![b'x'; length]).expect("written");
        write(50_000);
        let before = loaded(&path);
        assert!(before.is_unchanged());
        write(49_999);
        assert!(!before.is_unchanged(), "shortened in place");
        let before = loaded(&path);
        std::fs::remove_file(&path).expect("removed");
        assert!(!before.is_unchanged(), "removed");
    }

    #[test]
    fn a_state_is_trusted_once_the_settling_time_has_passed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, "x").expect("written");
        let metadata = std::fs::metadata(&path).expect("there");
        let stamp = Stamp::of(&metadata);
        #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
        let at = |ago: Duration| stamp.is_settled(SystemTime::now() + ago);
        assert!(!at(Duration::ZERO));
        assert!(at(config::CACHE_SETTLE));
        assert!(!loaded(&path).is_state_of(&metadata), "just written");
    }

    fn set_modified(path: &std::path::Path, time: SystemTime) {
        let file = File::options().write(true).open(path).expect("a file");
        file.set_modified(time).expect("set");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
    fn only_files_unchanged_for_a_while_have_validators() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for length in [1, 50_000] {
            std::fs::write(&path, vec![b'x'; length]).expect("written");
            assert_eq!(loaded(&path).validators(), None, "just written");
            #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
            let now = SystemTime::now();
            set_modified(&path, now - config::CACHE_SETTLE);
            let first = loaded(&path).validators().expect("still");
            set_modified(&path, now + Duration::from_secs(3600));
            assert_eq!(
                loaded(&path).validators(),
                None,
                "a time in the future does not tell when the file was written"
            );
            // A copy with the same time has the same tag, though its inode differs.
            let copy = dir.path().join("copy");
            std::fs::copy(&path, &copy).expect("copied");
            set_modified(&copy, now - config::CACHE_SETTLE);
            assert_eq!(loaded(&copy).validators().expect("still"), first);
        }
    }

    #[test]
    fn a_part_is_read_only_from_the_loaded_state() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for length in [1000, 50_000] {
            std::fs::write(&path, vec![b'a'; length]).expect("written");
            let loaded = loaded(&path);
            let end = length as u64 - 10;
            assert_eq!(loaded.read(end, 10).as_deref(), Some(&[b'a'; 10][..]));
            assert_eq!(loaded.read(end, 11), None, "beyond the end");
            std::fs::write(&path, vec![b'b'; length]).expect("written");
            let expected = (!loaded.is_open()).then_some(&[b'a'; 10][..]);
            assert_eq!(loaded.read(end, 10).as_deref(), expected, "{length}");
        }
    }
}
