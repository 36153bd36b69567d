//! The file of a UNIX socket: a stale one is replaced, and ours is removed at the end.

use crate::config;
use crate::notes::note;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;

/// The file of a listening socket of this process.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// What identifies it: another process may have put its own there since. No other file gets
    /// the number of the inode while the socket is open.
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// The file that is at `path` now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// Removes it, if it is still there.
    pub(super) fn remove(self) {
        // Nobody replaces it between the look and the removal.
        let _turn = lock_folder(&self.path, config::FOLDER_LOCK_LAST_TRIES);
        let Ok(found) = fs::symlink_metadata(&self.path) else { return };
        if (found.dev(), found.ino()) != (self.device, self.inode) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            note!(Warn, "cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

/// A non-blocking socket that listens at `path`, and its file with these permissions.
pub(super) fn listen(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    let address = SockAddr::unix(path).map_err(|_| ErrorKind::InvalidFilename)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // A socket that is bound and does not listen yet looks like a stale one, so that servers which
    // start at the same time take turns.
    let _turn = lock_folder(path, config::FOLDER_LOCK_TRIES)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path, &address)?;
            socket.bind(&address)?;
        }
        outcome => outcome?,
    }
    // Before it listens nobody can connect, whatever the permissions are.
    let file = SocketFile::at(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(config::BACKLOG)?;
    Ok((socket, file))
}

/// Removes a socket's file if nobody listens on it.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        // Somebody listens, even if the backlog is full or the type is another.
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// Locks the folder of a path until the file is dropped. `None` if this user may not read it, or if
/// somebody keeps a lock on it, which everybody can who may read it. Servers keep it for a moment.
fn lock_folder(path: &Path, tries: usize) -> io::Result<Option<OwnedFd>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // To open a FIFO would wait for another process.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(folder, flags, Mode::empty()) {
        Err(Errno::ACCESS) => return Ok(None),
        folder => folder?,
    };
    for _ in 0..tries {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => thread::sleep(config::FOLDER_LOCK_PAUSE),
            Err(Errno::INTR) => {}
            // A file system without locks.
            Err(_) => return Ok(None),
            Ok(()) => return Ok(Some(folder)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() -> io::Result<()> {
        let folder = folder();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path)?);
        assert!(path.exists(), "the file stays when nobody listens any more");
        let (_listening, _file) = listen(&path, 0o640)?;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o640);
        let error = listen(&path, 0o640).expect_err("somebody listens");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        UnixStream::connect(&path)?;
        let other = folder.path().join("datagrams");
        let _other = UnixDatagram::bind(&other)?;
        let error = listen(&other, 0o640).expect_err("somebody uses it");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        Ok(())
    }

    #[test]
    fn a_file_that_is_no_socket_stays() -> io::Result<()> {
        let folder = folder();
        let path = folder.path().join("notes");
        fs::write(&path, "mine")?;
        let error = listen(&path, 0o600).expect_err("a file is there");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path)?, b"mine");
        let error = listen(&folder.path().join("no/such"), 0o600).expect_err("no such folder");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = listen(&folder.path().join("x".repeat(108)), 0o600).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::InvalidFilename);
        Ok(())
    }

    #[test]
    fn only_the_own_file_is_removed() -> io::Result<()> {
        let folder = folder();
        let path = folder.path().join("socket");
        let (_socket, file) = listen(&path, 0o600)?;
        fs::rename(&path, folder.path().join("elsewhere"))?;
        let _other = UnixListener::bind(&path)?;
        file.remove();
        assert!(path.exists(), "another process listens there now");
        let (_socket, file) = listen(&folder.path().join("own"), 0o600)?;
        file.remove();
        assert!(!folder.path().join("own").exists());
        Ok(())
    }

    #[test]
    fn a_lock_that_somebody_keeps_stops_nobody() -> io::Result<()> {
        let folder = folder();
        let path = folder.path().join("socket");
        let _kept = lock_folder(&path, 1)?.expect("nobody has it");
        let (_socket, file) = listen(&path, 0o600)?;
        UnixStream::connect(&path)?;
        file.remove();
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn a_folder_that_is_a_fifo_is_an_error() -> io::Result<()> {
        use rustix::fs::{CWD, FileType, mknodat};
        let folder = folder();
        let fifo = folder.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0)?;
        listen(&fifo.join("socket"), 0o600).expect_err("no folder");
        Ok(())
    }

    #[test]
    fn a_server_that_ends_removes_no_file_of_the_next_one() -> io::Result<()> {
        let folder = folder();
        for round in 0..500 {
            let path = folder.path().join(format!("socket{round}"));
            let (ending, file) = listen(&path, 0o600)?;
            rustix::net::shutdown(&ending, rustix::net::Shutdown::Read)?;
            thread::scope(|scope| {
                scope.spawn(|| file.remove());
                scope.spawn(|| listen(&path, 0o600)).join().expect("no panic")
            })
            .map(|_next| UnixStream::connect(&path))??;
        }
        Ok(())
    }

    #[test]
    fn of_many_that_start_at_once_over_a_stale_file_one_listens() -> io::Result<()> {
        let folder = folder();
        for round in 0..20 {
            let path = folder.path().join(format!("socket{round}"));
            drop(UnixListener::bind(&path)?);
            let started: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| listen(&path, 0o600))).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            assert_eq!(started.iter().filter(|outcome| outcome.is_ok()).count(), 1);
            UnixStream::connect(&path)?;
        }
        Ok(())
    }
}
