//! Opens files beneath a root directory, and nothing outside it.

use super::entries::{Entries, NoRoom};
use super::glance::{Glance, glance};
use super::loaded::Stamp;
use crate::http::target::DecodedPath;
use crate::lane::{NoPermit, Wait};
use crate::memory::Memory;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};

/// A directory whose contents are served. Nothing outside it can be reached through it.
///
/// The kernel enforces this (`openat2` with `RESOLVE_BENEATH`), or a walk with the same effect on
/// kernels that lack it. `..`, absolute links and links that lead out are refused while the path is
/// resolved, so there is no race between a check and its use.
///
/// A link that is absolute, or that leads out and back in, is resolved to its target's name beneath
/// the root. That name is then opened like any other.
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

/// An open directory, ready to be read.
#[derive(Debug)]
pub struct Directory {
    file: File,
    relative: PathBuf,
    stamp: Stamp,
}

impl Directory {
    /// Identifies this state of the directory. It does not change when a file in the directory
    /// does.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Tells which of its files may be read.
    pub fn rights(&self) -> io::Result<Rights> {
        Ok(Rights(self.file.try_clone()?))
    }
}

/// What this process may do with the files of a directory.
#[derive(Debug)]
pub struct Rights(File);

impl Rights {
    /// False if the file `name` may not be read. A link that leads somewhere else by then is not
    /// followed by those who read it, so the answer gives nothing away.
    pub fn may_read(&self, name: &[u8]) -> bool {
        use rustix::fs::{Access, accessat};
        let answer = accessat(&self.0, name, Access::READ_OK, AtFlags::EACCESS);
        !matches!(answer, Err(Errno::ACCESS | Errno::PERM))
    }
}

/// Why a path is not served.
#[derive(Debug)]
pub enum NotServed {
    /// No file has this name.
    NotFound,
    /// The file may not be read, lies outside the root, or is not a regular file (a FIFO, a device,
    /// a socket).
    Forbidden,
    /// The metadata gives a wrong size, and the file is too long to be read before it is sent.
    Unsized,
    /// The memory or the permits that this takes are in use by other requests.
    Busy,
    /// The request must wait for a permit or for another request, and be served then.
    Pending(Wait),
    /// The system is short of descriptors or memory.
    Exhausted(io::Error),
    /// Reading failed.
    Failed(io::Error),
}

impl Root {
    /// Opens the directory at `path` as the root.
    pub fn open(path: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(Self { dir, path: path.canonicalize()?, follows_links: false })
    }

    /// Follows symbolic links even if they lead out of the root.
    pub fn following_links(mut self) -> Self {
        self.follows_links = true;
        self
    }

    /// What the name `path`, followed by `suffix`, stands for, if that can be told without a disk.
    pub fn glance(&self, path: &DecodedPath, suffix: &str) -> Option<Glance> {
        if path.as_bytes().is_empty() {
            return suffix.is_empty().then_some(Glance::Directory);
        }
        let relative = [path.as_bytes(), suffix.as_bytes()].concat();
        glance(&self.dir, &relative, self.follows_links)
    }

    /// Opens the file at `path`.
    pub fn find(&self, path: &DecodedPath) -> Result<Found, NotServed> {
        if path.as_bytes().is_empty() {
            return Ok(Found::Directory);
        }
        self.open_beneath(path.as_bytes())
    }

    /// Opens the file whose name is `path` followed by `suffix`.
    pub fn find_beside(&self, path: &DecodedPath, suffix: &str) -> Result<Found, NotServed> {
        self.open_beneath(&[path.as_bytes(), suffix.as_bytes()].concat())
    }

    /// Opens the file `name` in the directory at `path`.
    pub fn find_in(&self, path: &DecodedPath, name: &str) -> Result<Found, NotServed> {
        // `name` comes from the configuration and must be a single segment.
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

    /// Opens the regular file at `relative`, which consists of names that were read from
    /// directories.
    pub fn open_file(&self, relative: &[u8]) -> Result<(File, fs::Metadata), NotServed> {
        match self.open_beneath(relative)? {
            Found::File(file, metadata) => Ok((file, metadata)),
            Found::Directory => Err(NotServed::Forbidden),
        }
    }

    /// The same root for another owner.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (dir, path, follows_links) =
            (self.dir.try_clone()?, self.path.clone(), self.follows_links);
        Ok(Self { dir, path, follows_links })
    }

    /// Opens the directory at `path`.
    pub fn open_directory(&self, path: &DecodedPath) -> Result<Directory, NotServed> {
        let relative = if path.as_bytes().is_empty() { b"." } else { path.as_bytes() };
        self.open_linked_directory(relative)
    }

    /// The same for a path in bytes.
    pub fn open_linked_directory(&self, relative: &[u8]) -> Result<Directory, NotServed> {
        self.open_directory_at(relative, OFlags::DIRECTORY)
    }

    /// Opens the directory at `relative`, which consists of names that were read from directories,
    /// unless it is a link.
    pub fn open_subdirectory(&self, relative: &[u8]) -> Result<Directory, NotServed> {
        self.open_directory_at(relative, OFlags::DIRECTORY | OFlags::NOFOLLOW)
    }

    fn open_directory_at(&self, relative: &[u8], flags: OFlags) -> Result<Directory, NotServed> {
        let relative = PathBuf::from(OsStr::from_bytes(relative));
        let file = self.open_name(&relative, flags).map_err(NotServed::from_open)?;
        let metadata = file.metadata().map_err(NotServed::Failed)?;
        // A removed directory can still be open. It is empty and has no name.
        if unix::MetadataExt::nlink(&metadata) == 0 {
            return Err(NotServed::NotFound);
        }
        Ok(Directory { file, relative, stamp: Stamp::of(&metadata) })
    }

    /// Reads a directory: the files and directories whose names are `wanted`, at most `most` of
    /// them. Links appear as their targets. Anything that cannot be served is left out.
    pub fn read_directory(
        &self,
        directory: Directory,
        most: usize,
        memory: &Memory,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Entries, NotServed> {
        let no_room = |NoRoom| NotServed::Busy;
        let Directory { file, relative, .. } = directory;
        let failed = |error: Errno| NotServed::Failed(error.into());
        // The path is stored twice: as the key of the listing and in its page.
        let path_bytes = 2 * relative.as_os_str().len() as u64;
        let mut found = Entries::within(memory, path_bytes).map_err(no_room)?;
        let mut entries = rustix::fs::Dir::new(file).map_err(failed)?;
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || !wanted(name.to_bytes()) {
                continue;
            }
            if found.as_slice().len() == most {
                found.truncated = true;
                break;
            }
            // Resolving a link beneath the root is expensive, and only links need it: any other
            // entry is in this very directory. Entries that have vanished, or links that lead out,
            // are skipped.
            let attributes = match entry.file_type() {
                FileType::RegularFile | FileType::Directory | FileType::Unknown => {
                    let at = entries.fd().map_err(failed)?;
                    statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
                        .map(|stat| Attributes::of(&stat))
                        .ok()
                }
                FileType::Symlink => Some(Attributes::link()),
                _ => None,
            };
            let linked = || self.look(&relative.join(OsStr::from_bytes(name.to_bytes()))).ok();
            let attributes = attributes.and_then(|attributes| match attributes.kind {
                FileType::Symlink => linked(),
                _ => Some(attributes),
            });
            if let Some(Attributes { kind, size, modified }) = attributes
                && matches!(kind, FileType::RegularFile | FileType::Directory)
            {
                let is_directory = kind == FileType::Directory;
                found.push(name.to_bytes(), is_directory, size, modified).map_err(no_room)?;
            }
        }
        found.finish();
        Ok(found)
    }

    /// Opens a file by name for reading, with `flags` added.
    fn open_name(&self, relative: &Path, flags: OFlags) -> io::Result<File> {
        if self.follows_links {
            // This is relative to the directory opened at start, even if another one has its name
            // by now.
            let flags = flags | OFlags::CLOEXEC;
            let open = || rustix::fs::openat(&self.dir, relative, flags, Mode::empty());
            return Ok(File::from(rustix::io::retry_on_intr(open)?));
        }
        let mut options = OpenOptions::new();
        OpenOptionsExt::custom_flags(options.read(true), flags.bits() as i32);
        let opened = match self.dir.open_with(relative, &options) {
            Err(error) if is_escape(&error) => {
                self.dir.open_with(self.resolve_link(relative, error)?, &options)
            }
            opened => opened,
        };
        opened.map(cap_std::fs::File::into_std)
    }

    /// The metadata of a file, without opening it.
    fn look(&self, relative: &Path) -> io::Result<Attributes> {
        #[cfg(target_os = "linux")]
        let attributes =
            Attributes::of(&rustix::fs::fstat(self.open_name(relative, OFlags::PATH)?)?);
        #[cfg(not(target_os = "linux"))]
        let attributes = self.look_by_name(relative)?;
        Ok(attributes)
    }

    #[cfg(not(target_os = "linux"))]
    fn look_by_name(&self, relative: &Path) -> io::Result<Attributes> {
        if self.follows_links {
            return Ok(Attributes::of(&statat(&self.dir, relative, AtFlags::empty())?));
        }
        let metadata = match self.dir.metadata(relative) {
            Err(error) if is_escape(&error) => {
                self.dir.metadata(self.resolve_link(relative, error)?)
            }
            metadata => metadata,
        }?;
        Ok(Attributes::of_metadata(&metadata))
    }

    /// The name of a link's target beneath the root. If the target is outside, returns the error
    /// `escape`. If it does not exist, returns that error.
    fn resolve_link(&self, relative: &Path, escape: io::Error) -> io::Result<PathBuf> {
        let target = self.path.join(relative).canonicalize()?;
        match target.strip_prefix(&self.path) {
            // The dot is for a link to the root itself, whose path is empty.
            Ok(beneath) => Ok(Path::new(".").join(beneath)),
            Err(_) => Err(escape),
        }
    }

    /// Opens a regular file, and nothing else. Opening a FIFO would unblock its writer, which would
    /// lose its reader a moment later.
    fn open_beneath(&self, relative: &[u8]) -> Result<Found, NotServed> {
        let relative = Path::new(OsStr::from_bytes(relative));
        // Reopen the very file whose type was checked: another may have its name by then.
        #[cfg(target_os = "linux")]
        let (attributes, reopen) = {
            let place = self.open_name(relative, OFlags::PATH).map_err(NotServed::from_open)?;
            let stat = rustix::fs::fstat(&place).map_err(|e| NotServed::Failed(e.into()))?;
            (Attributes::of(&stat), move |flags| reopen(&place, flags))
        };
        #[cfg(not(target_os = "linux"))]
        let (attributes, reopen) = (self.look(relative).map_err(NotServed::from_open)?, |_| {
            Err(io::Error::from(ErrorKind::Unsupported))
        });
        match attributes.kind {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(Found::Directory),
            _ => return Err(NotServed::Forbidden),
        }
        // If the file has become a FIFO or a terminal, opening must neither block nor acquire a
        // controlling terminal.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let by_name = |_| self.open_name(relative, flags);
        let file = reopen(flags).or_else(by_name).map_err(NotServed::from_open)?;
        let metadata = file.metadata().map_err(NotServed::Failed)?;
        match metadata.file_type() {
            kind if kind.is_file() => Ok(Found::File(file, metadata)),
            kind if kind.is_dir() => Ok(Found::Directory),
            _ => Err(NotServed::Forbidden),
        }
    }
}

/// Opens for reading the file behind a descriptor that was opened with `O_PATH`. Needs `/proc`;
/// fails where it is not mounted.
#[cfg(target_os = "linux")]
fn reopen(place: &File, flags: OFlags) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    unix::OpenOptionsExt::custom_flags(options.read(true), flags.bits() as i32);
    options.open(format!("/proc/self/fd/{}", place.as_raw_fd()))
}

/// Metadata of a name that is not open.
struct Attributes {
    kind: FileType,
    size: u64,
    /// In nanoseconds since 1970. `None` if it does not fit.
    modified: Option<i64>,
}

impl Attributes {
    #[allow(clippy::unnecessary_cast, reason = "the types differ from system to system")]
    fn of(stat: &rustix::fs::Stat) -> Self {
        let seconds = stat.st_mtime as i64;
        let nanos = seconds.checked_mul(1_000_000_000);
        let nanos = nanos.and_then(|nanos| nanos.checked_add(stat.st_mtime_nsec as i64));
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: nanos.filter(|&nanos| nanos >= 0),
        }
    }

    /// A link whose target is not resolved yet.
    fn link() -> Self {
        Self { kind: FileType::Symlink, size: 0, modified: None }
    }

    #[cfg(not(target_os = "linux"))]
    fn of_metadata(metadata: &cap_std::fs::Metadata) -> Self {
        let kind = match metadata.file_type() {
            kind if kind.is_file() => FileType::RegularFile,
            kind if kind.is_dir() => FileType::Directory,
            _ => FileType::Unknown,
        };
        let modified = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
        let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = since.and_then(|time| i64::try_from(time.as_nanos()).ok());
        Self { kind, size: metadata.len(), modified }
    }
}

/// True if resolving a name led out of the root.
fn is_escape(error: &io::Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

impl From<NoPermit> for NotServed {
    fn from(refusal: NoPermit) -> Self {
        match refusal {
            NoPermit::Wait(wait) => Self::Pending(wait),
            NoPermit::Full => Self::Busy,
        }
    }
}

impl NotServed {
    /// The reason for a failed read of an open file.
    pub fn from_read(error: io::Error) -> Self {
        match error.kind() {
            // The file has no end: a read waits for more.
            ErrorKind::WouldBlock => Self::Forbidden,
            ErrorKind::FileTooLarge => Self::Unsized,
            ErrorKind::OutOfMemory => Self::Exhausted(error),
            _ => Self::Failed(error),
        }
    }

    fn from_open(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Self::NotFound,
            // `ENXIO`: a socket cannot be opened. `ELOOP`: the links form a loop.
            Some(Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::LOOP) => Self::Forbidden,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Self::Exhausted(error),
            _ if error.kind() == ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Failed(error),
        }
    }
}
