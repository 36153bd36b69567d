//! One state of one file: its content in memory or its open descriptor, and what is known of it.

use crate::config;
use bytes::Bytes;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// A file as it was when it was opened; it never changes, whatever becomes of the file.
#[derive(Debug)]
pub struct Held {
    content: Content,
    stamp: Stamp,
    modified: Option<SystemTime>,
    is_settled: bool,
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

/// What tells one state of a file from another: which file, how long, changed when. The time of
/// the last change of its inode cannot be set back as that of its content can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: i128,
    changed: i128,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
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
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let grain = config::CACHE_SETTLE.as_nanos() as i128;
        self.modified.max(self.changed) + grain <= now.as_nanos() as i128
    }
}

impl Held {
    /// Takes up a file that was just opened.
    ///
    /// A small one is read until two looks at its times agree, so that what is in memory is one
    /// state of it. One that does not hold still is sent from where it is, as a large one.
    pub fn load(file: File, metadata: &Metadata) -> io::Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "a file's times are the wall clock's")]
        let now = SystemTime::now();
        let mut stamp = Stamp::of(metadata);
        let mut modified = metadata.modified().ok();
        for _ in 0..config::STEADY_READS {
            if stamp.length > config::SMALL_FILE {
                break;
            }
            let content = read_up_to(&file, stamp.length)?;
            let metadata = file.metadata()?;
            let after = Stamp::of(&metadata);
            if after == stamp && content.len() as u64 == stamp.length {
                return Ok(Self::new(Content::Memory(content.into()), stamp, modified, now));
            }
            (stamp, modified) = (after, metadata.modified().ok());
        }
        let content = Content::File { file: Arc::new(file), length: stamp.length };
        Ok(Self::new(content, stamp, modified, now))
    }

    fn new(content: Content, stamp: Stamp, modified: Option<SystemTime>, now: SystemTime) -> Self {
        let is_settled = stamp.is_settled(now);
        Self { content, stamp, modified, is_settled, description: OnceLock::new() }
    }

    /// True where a file with this metadata is this state, beyond doubt: one that was changed just
    /// before it was held might have been changed again within the same tick of the file system's
    /// clock.
    pub fn is_state_of(&self, metadata: &Metadata) -> bool {
        self.is_settled && self.stamp == Stamp::of(metadata)
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

    /// An opaque tag: which file, of which length, changed when. It is strong as long as a file
    /// that is changed in place gets a new time.
    pub fn tag(&self) -> String {
        let Stamp { inode, length, modified, .. } = self.stamp;
        format!("{inode:x}-{length:x}-{modified:x}")
    }

    /// The first bytes, as far as they say what it is.
    pub fn start(&self) -> Bytes {
        match &self.content {
            Content::Memory(bytes) => bytes.slice(..bytes.len().min(config::SNIFF_BYTES)),
            Content::File { file, length } => {
                let most = (*length).min(config::SNIFF_BYTES as u64);
                read_up_to(file, most).unwrap_or_default().into()
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

/// The first `length` bytes of a file, or as many as it has by now.
fn read_up_to(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; length as usize];
    let mut filled = 0;
    while filled < content.len() {
        match file.read_at(&mut content[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content)
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
}
