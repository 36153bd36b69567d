//! Opening files beneath a root directory, or not at all.

use crate::http::target::DecodedPath;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A directory whose contents may be served; nothing outside it can be reached through it.
///
/// Confinement is the kernel's (`openat2` with `RESOLVE_BENEATH`), or a walk of the same effect
/// where the kernel lacks it: `..`, absolute links and links that lead out are refused while the
/// path is resolved, so that no race between a check and its use exists.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
}

/// What a path names.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(File, Metadata),
    /// A directory.
    Directory,
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
        Ok(Self { dir })
    }

    /// Opens what `path` names.
    pub fn find(&self, path: &DecodedPath) -> Result<Found, NotServed> {
        if path.as_bytes().is_empty() {
            return Ok(Found::Directory);
        }
        self.open_beneath(path.as_bytes())
    }

    /// Opens what `name` is in the directory that `path` names.
    pub fn find_in(&self, path: &DecodedPath, name: &str) -> Result<Found, NotServed> {
        let mut joined = path.as_bytes().to_vec();
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name.as_bytes());
        self.open_beneath(&joined)
    }

    fn open_beneath(&self, relative: &[u8]) -> Result<Found, NotServed> {
        let mut options = OpenOptions::new();
        // Opening a FIFO or a terminal must neither block nor take it over.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        options.read(true).custom_flags(flags.bits() as i32);
        let opened = self.dir.open_with(OsStr::from_bytes(relative), &options);
        let file = opened.map_err(NotServed::from_open)?.into_std();
        let metadata = file.metadata().map_err(NotServed::Failed)?;
        match metadata.file_type() {
            kind if kind.is_file() => Ok(Found::File(file, metadata)),
            kind if kind.is_dir() => Ok(Found::Directory),
            _ => Err(NotServed::Forbidden),
        }
    }
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
