//! Opening files beneath a root directory, or not at all.

use crate::http::target::DecodedPath;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A directory whose contents may be served; nothing outside it can be reached through it.
///
/// Confinement is the kernel's (`openat2` with `RESOLVE_BENEATH`), or a walk of the same effect
/// where the kernel lacks it: `..`, absolute links and links that lead out are refused while the
/// path is resolved, so that no race between a check and its use exists.
///
/// An absolute link, or one that leads out and in again, is resolved to the name that it has
/// beneath the root, and that is opened as any other.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    path: PathBuf,
    follows_links: bool,
}

/// What a path names.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(File, fs::Metadata),
    /// A directory.
    Directory,
}

/// One name in a directory, without the name: there may be many, and they may be held for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where its name is among the names of [`Entries`].
    name_start: u32,
    name_length: u16,
    /// It is a directory; otherwise it is a regular file.
    pub is_directory: bool,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in nanoseconds since 1970; none where that is out of reach.
    pub modified: Option<i64>,
}

/// What a directory has.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// All names, of any bytes, one behind the other.
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// There are more than were asked for.
    pub truncated: bool,
}

impl Entries {
    /// The entries.
    pub fn as_slice(&self) -> &[Entry] {
        &self.entries
    }

    /// The name of one of them.
    pub fn name(&self, entry: &Entry) -> &[u8] {
        let start = entry.name_start as usize;
        &self.names[start..start + usize::from(entry.name_length)]
    }

    /// Adds one; a name that is longer than any file system has is left out.
    pub fn push(&mut self, name: &[u8], is_directory: bool, size: u64, modified: Option<i64>) {
        let start = u32::try_from(self.names.len());
        if let (Ok(name_start), Ok(name_length)) = (start, u16::try_from(name.len())) {
            self.names.extend_from_slice(name);
            self.entries.push(Entry { name_start, name_length, is_directory, size, modified });
        }
    }

    /// Sorts them by an order that may look at their names.
    pub fn sort_by(&mut self, order: impl Fn((&[u8], &Entry), (&[u8], &Entry)) -> Ordering) {
        let mut entries = std::mem::take(&mut self.entries);
        entries
            .sort_unstable_by(|one, other| order((self.name(one), one), (self.name(other), other)));
        self.entries = entries;
        // They may be held for as long as their reader takes.
        self.entries.shrink_to_fit();
        self.names.shrink_to_fit();
    }
}

/// Why a path is not served.
#[derive(Debug)]
pub enum NotServed {
    /// Nothing has that name.
    NotFound,
    /// It may not be read, leads out of the root, or is no file (a FIFO, a device, a socket).
    Forbidden,
    /// The system is out of descriptors or memory for now.
    Exhausted(io::Error),
    /// Reading failed.
    Failed(io::Error),
}

impl Root {
    /// Opens the root itself.
    pub fn open(path: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(Self { dir, path: path.canonicalize()?, follows_links: false })
    }

    /// Follows links wherever they lead.
    pub fn following_links(mut self) -> Self {
        self.follows_links = true;
        self
    }

    /// Opens what `path` names.
    pub fn find(&self, path: &DecodedPath) -> Result<Found, NotServed> {
        if path.as_bytes().is_empty() {
            return Ok(Found::Directory);
        }
        self.open_beneath(path.as_bytes())
    }

    /// Opens what has the name of `path` with `suffix` behind it.
    pub fn find_beside(&self, path: &DecodedPath, suffix: &str) -> Result<Found, NotServed> {
        self.open_beneath(&[path.as_bytes(), suffix.as_bytes()].concat())
    }

    /// Opens what `name` is in the directory that `path` names.
    pub fn find_in(&self, path: &DecodedPath, name: &str) -> Result<Found, NotServed> {
        // A name is one segment, whoever gave it.
        if name.contains('/') || matches!(name, "" | "." | "..") {
            return Err(NotServed::NotFound);
        }
        let mut joined = path.as_bytes().to_vec();
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name.as_bytes());
        self.open_beneath(&joined)
    }

    /// What is in the directory that `path` names, in no order: the files and directories whose
    /// names are `wanted`, `most` at most. Links are what they lead to, and what cannot be served
    /// is left out.
    pub fn list(
        &self,
        path: &DecodedPath,
        most: usize,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Entries, NotServed> {
        let relative = if path.as_bytes().is_empty() { b"." } else { path.as_bytes() };
        let relative = Path::new(OsStr::from_bytes(relative));
        let dir = self.open_dir(relative).map_err(NotServed::from_open)?;
        // One that was removed is empty, and not there.
        if dir.dir_metadata().map_err(NotServed::Failed)?.nlink() == 0 {
            return Err(NotServed::NotFound);
        }
        let mut found = Entries::default();
        for entry in dir.entries().map_err(NotServed::Failed)? {
            let name = entry.map_err(NotServed::Failed)?.file_name();
            if !wanted(name.as_bytes()) {
                continue;
            }
            if found.entries.len() == most {
                found.truncated = true;
                break;
            }
            // What vanished meanwhile, or leads out, is not there.
            let linked = || self.metadata(&relative.join(&name));
            let Some(metadata) = dir.metadata(&name).ok().or_else(linked) else { continue };
            if metadata.is_file() || metadata.is_dir() {
                let since_epoch = metadata.modified().ok().and_then(|modified| {
                    modified.into_std().duration_since(SystemTime::UNIX_EPOCH).ok()
                });
                let modified = since_epoch.and_then(|time| i64::try_from(time.as_nanos()).ok());
                found.push(name.as_bytes(), metadata.is_dir(), metadata.len(), modified);
            }
        }
        Ok(found)
    }

    fn open_dir(&self, relative: &Path) -> io::Result<Dir> {
        if self.follows_links {
            return Dir::open_ambient_dir(self.path.join(relative), ambient_authority());
        }
        match self.dir.open_dir(relative) {
            Err(error) if is_escape(&error) => {
                self.dir.open_dir(self.resolve_link(relative, error)?)
            }
            opened => opened,
        }
    }

    /// The metadata of what a link leads to.
    fn metadata(&self, relative: &Path) -> Option<Metadata> {
        if self.follows_links {
            let metadata = fs::metadata(self.path.join(relative)).ok()?;
            return Some(Metadata::from_just_metadata(metadata));
        }
        match self.dir.metadata(relative) {
            Err(error) if is_escape(&error) => {
                self.dir.metadata(self.resolve_link(relative, error).ok()?).ok()
            }
            metadata => metadata.ok(),
        }
    }

    /// The name that what a link leads to has beneath the root. Where it leads out, the error is
    /// `escape`; where it leads to nothing, that is the error.
    fn resolve_link(&self, relative: &Path, escape: io::Error) -> io::Result<PathBuf> {
        let target = self.path.join(relative).canonicalize()?;
        match target.strip_prefix(&self.path) {
            // The dot is for a link to the root itself.
            Ok(beneath) => Ok(Path::new(".").join(beneath)),
            Err(_) => Err(escape),
        }
    }

    fn open_beneath(&self, relative: &[u8]) -> Result<Found, NotServed> {
        let relative = Path::new(OsStr::from_bytes(relative));
        // Opening a FIFO or a terminal must neither block nor take it over.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
        let opened = if self.follows_links {
            let mut options = fs::OpenOptions::new();
            unix::OpenOptionsExt::custom_flags(options.read(true), flags);
            options.open(self.path.join(relative))
        } else {
            let mut options = OpenOptions::new();
            OpenOptionsExt::custom_flags(options.read(true), flags);
            match self.dir.open_with(relative, &options) {
                Err(error) if is_escape(&error) => self
                    .resolve_link(relative, error)
                    .and_then(|beneath| self.dir.open_with(beneath, &options)),
                opened => opened,
            }
            .map(cap_std::fs::File::into_std)
        };
        let file = opened.map_err(NotServed::from_open)?;
        let metadata = file.metadata().map_err(NotServed::Failed)?;
        match metadata.file_type() {
            kind if kind.is_file() => Ok(Found::File(file, metadata)),
            kind if kind.is_dir() => Ok(Found::Directory),
            _ => Err(NotServed::Forbidden),
        }
    }
}

/// True where the resolution of a name led out of the root.
fn is_escape(error: &io::Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

impl NotServed {
    fn from_open(error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Self::NotFound,
            // A socket cannot be opened; a loop of links leads nowhere.
            Some(Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::LOOP) => Self::Forbidden,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Self::Exhausted(error),
            _ if error.kind() == ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Failed(error),
        }
    }
}
