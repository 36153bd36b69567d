//! One state of one file: its content in memory or its open descriptor, and what is known of it.

use crate::config;
use bytes::Bytes;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// A file as it was when it was opened; it never changes, whatever becomes of the file.
#[derive(Debug)]
pub struct Held {
    content: Content,
    stamp: Stamp,
    modified: Option<SystemTime>,
    /// Another change would show in its times.
    is_settled: bool,
    /// It was still for so long that a tag or a date may name this state.
    is_still: bool,
    /// Its size was that of its content; otherwise the content is made when it is read.
    is_sized: bool,
    description: OnceLock<Description>,
}

/// The bytes of a file: small ones in memory, large ones where they are.
#[derive(Debug, Clone)]
pub enum Content {
    /// All of them.
    Memory(Bytes),
    /// The open file, and how many it has.
    File {
        /// The file.
        file: Arc<File>,
        /// Its bytes.
        length: u64,
    },
}

/// What responses say of a state, prepared once.
#[derive(Debug)]
pub struct Description {
    /// What it is.
    pub media_type: String,
    /// The fields of a response that carries the whole of it, each with its line end.
    pub fields: Bytes,
}

/// What tells one state of a file or a directory from another: which one, how long, changed when.
/// The time of the last change of its inode cannot be set back as that of its content can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: i128,
    changed: i128,
}

impl Stamp {
    /// That of what this was said of.
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

    /// True where a change after `now` would show in the times.
    fn is_settled(&self, now: SystemTime) -> bool {
        is_over(self.modified.max(self.changed), now)
    }

    /// True where nobody was writing at `now`. The kernel sets the time of a file before it copies
    /// what is written, so content is in flux under a time that it keeps afterwards; whatever was
    /// given for it then would name the new content later. A write that takes longer than
    /// [`config::CACHE_SETTLE`] is not noticed by this.
    ///
    /// The time of the inode need not be looked at: no write leaves that of the content alone, and
    /// who sets it back, as `rsync` and `tar` do, has done with writing. One in the future says
    /// nothing of when that was.
    fn is_still(&self, now: SystemTime) -> bool {
        is_over(self.modified, now)
    }
}

/// True where a change at `time` was long enough before `now`.
fn is_over(time: i128, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    time + config::CACHE_SETTLE.as_nanos() as i128 <= now.as_nanos() as i128
}

impl Held {
    /// Takes up a file that was just opened.
    ///
    /// A small one is read until two looks at its times agree, so that what is in memory is one
    /// state of it. One that does not hold still is sent from where it is, as a large one. One that
    /// has another size than it tells, as those of `/proc` and `/sys` do, is read to its end.
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

    /// True where a file with this metadata is this state, beyond doubt: one that was changed just
    /// before it was held might have been changed again within the same tick of the file system's
    /// clock.
    pub fn is_state_of(&self, metadata: &Metadata) -> bool {
        self.is_settled && self.is_sized && self.stamp == Stamp::of(metadata)
    }

    /// True where this metadata is of the file that it was taken from, changed or not.
    pub fn is_file_of(&self, metadata: &Metadata) -> bool {
        let Stamp { device, inode, .. } = Stamp::of(metadata);
        (device, inode) == (self.stamp.device, self.stamp.inode)
    }

    /// True where it may serve other requests; what is made when it is read may not.
    pub fn may_be_kept(&self) -> bool {
        self.is_sized
    }

    /// True where what is held is still what it was held for. What is in memory always is; an open
    /// file may have been written, shortened or removed since.
    pub fn is_whole(&self) -> bool {
        match &self.content {
            Content::Memory(_) => true,
            Content::File { file, .. } => {
                file.metadata().is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
            }
        }
    }

    /// Has it that the file was last changed long ago.
    #[cfg(test)]
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }

    /// The bytes.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// When it was last changed.
    pub fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// An opaque tag for this state, and when it began; none while it may not last.
    ///
    /// It is made of length and time of change, which copies of a tree have in common (`rsync -a`,
    /// `tar`, layers of images), so that the servers which share its load agree. An inode is of one
    /// machine. What that costs: a file that is put in the place of another of the same length and
    /// the same time to the nanosecond is taken for it, as it would be with a date.
    pub fn validators(&self) -> Option<(String, Option<SystemTime>)> {
        let Stamp { length, modified, .. } = self.stamp;
        let is_named = self.is_still && self.is_sized;
        is_named.then(|| (format!("{length:x}-{modified:x}"), self.modified))
    }

    /// Bytes of this state, in memory; none where the file has left it, or cannot be read.
    pub fn read(&self, first: u64, length: u64) -> Option<Bytes> {
        match &self.content {
            Content::Memory(bytes) => {
                let end = usize::try_from(first.checked_add(length)?).ok()?;
                (end <= bytes.len()).then(|| bytes.slice(first as usize..end))
            }
            Content::File { file, .. } => {
                // Writing sets the time first: what is read under the old one is the old content.
                let part = read_at(file, first, length).ok()?;
                (part.len() as u64 == length && self.is_whole()).then(|| part.into())
            }
        }
    }

    /// The first bytes, as far as they say what it is.
    pub fn start(&self) -> Bytes {
        match &self.content {
            Content::Memory(bytes) => bytes.slice(..bytes.len().min(config::SNIFF_BYTES)),
            Content::File { file, length } => {
                let most = (*length).min(config::SNIFF_BYTES as u64);
                read_at(file, 0, most).unwrap_or_default().into()
            }
        }
    }

    /// What was prepared by the first who asked.
    pub fn description(&self, prepare: impl FnOnce() -> Description) -> &Description {
        self.description.get_or_init(prepare)
    }

    /// True where it keeps a descriptor open.
    pub fn is_open(&self) -> bool {
        matches!(self.content, Content::File { .. })
    }
}

impl Content {
    /// The number of bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

/// `length` bytes of a file, or as many as it has by now.
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

/// All of a file whose size says nothing, if it is not too long.
fn read_unsized(file: &File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let more = read_at(file, content.len() as u64, config::SMALL_FILE)?;
        if (content.len() + more.len()) as u64 > config::UNSIZED_FILE {
            let reason = "its size is not known before it is read, and it is too long for that";
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

/// So many bytes of memory, if there are.
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

    fn held(path: &std::path::Path) -> Held {
        let file = File::open(path).expect("a file");
        let metadata = file.metadata().expect("open");
        Held::load(file, &metadata).expect("readable")
    }

    #[test]
    fn small_files_are_in_memory_and_large_ones_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for (length, is_open) in [(0, false), (1, false), (16 * 1024, false), (16 * 1024 + 1, true)]
        {
            std::fs::write(&path, vec![b'x'; length]).expect("written");
            let held = held(&path);
            assert_eq!((held.content().length(), held.is_open()), (length as u64, is_open));
            assert_eq!(held.start().len(), length.min(config::SNIFF_BYTES));
        }
    }

    #[test]
    fn an_open_file_that_was_touched_is_whole_no_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let write = |length| std::fs::write(&path, vec![b'x'; length]).expect("written");
        write(50_000);
        let before = held(&path);
        assert!(before.is_whole());
        write(49_999);
        assert!(!before.is_whole(), "shortened in place");
        let before = held(&path);
        std::fs::remove_file(&path).expect("removed");
        assert!(!before.is_whole(), "removed");
    }

    #[test]
    fn a_state_is_trusted_when_the_clock_has_moved_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, "x").expect("written");
        let metadata = std::fs::metadata(&path).expect("there");
        let stamp = Stamp::of(&metadata);
        #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
        let at = |ago: Duration| stamp.is_settled(SystemTime::now() + ago);
        assert!(!at(Duration::ZERO));
        assert!(at(config::CACHE_SETTLE));
        assert!(!held(&path).is_state_of(&metadata), "just written");
    }

    fn set_modified(path: &std::path::Path, time: SystemTime) {
        let file = File::options().write(true).open(path).expect("a file");
        file.set_modified(time).expect("set");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
    fn only_what_was_still_for_long_has_validators() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for length in [1, 50_000] {
            std::fs::write(&path, vec![b'x'; length]).expect("written");
            assert_eq!(held(&path).validators(), None, "just written");
            #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
            let now = SystemTime::now();
            set_modified(&path, now - config::CACHE_SETTLE);
            let first = held(&path).validators().expect("still");
            set_modified(&path, now + Duration::from_secs(3600));
            assert_eq!(held(&path).validators(), None, "nobody knows when that was");
            // A copy with the same time has the same tag; its inode is another.
            let copy = dir.path().join("copy");
            std::fs::copy(&path, &copy).expect("copied");
            set_modified(&copy, now - config::CACHE_SETTLE);
            assert_eq!(held(&copy).validators().expect("still"), first);
        }
    }

    #[test]
    fn parts_are_of_the_state_that_is_held_or_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for length in [1000, 50_000] {
            std::fs::write(&path, vec![b'a'; length]).expect("written");
            let held = held(&path);
            let end = length as u64 - 10;
            assert_eq!(held.read(end, 10).as_deref(), Some(&[b'a'; 10][..]));
            assert_eq!(held.read(end, 11), None, "beyond the end");
            std::fs::write(&path, vec![b'b'; length]).expect("written");
            let expected = (!held.is_open()).then_some(&[b'a'; 10][..]);
            assert_eq!(held.read(end, 10).as_deref(), expected, "{length}");
        }
    }
}
