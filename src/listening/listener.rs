//! A socket that listens: bound here, or passed by another process.

use super::file::{self, SocketFile};
use super::{StartError, bind};
use rustix::net::{AddressFamily, Shutdown, SocketAddrAny, SocketType, getsockname, sockopt};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A socket on which a server accepts connections: see `Server::start_on`.
///
/// It is bound by this process, or it was passed by another one: a service manager that activates
/// services by their sockets, or an earlier process of the same program.
///
/// ```
/// use cws::{Config, Listener, Request, Response, Server};
///
/// let listeners = Listener::bind(&["127.0.0.1:0".parse()?])?;
/// let hello = |_: &Request<'_>| Response::text("hello\n");
/// let server = Server::start_on(listeners, Config::default(), hello)?;
/// # server.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: Address,
    /// The file of a UNIX socket, if the server removes it at its end.
    file: Option<SocketFile>,
    /// The file is also removed when the listener is dropped before a server has it.
    is_new: bool,
    is_kept: bool,
}

/// Where clients find it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Tcp(SocketAddr),
    /// For an abstract name (unix(7)), the name with `@` in front.
    Unix(PathBuf),
}

impl Listener {
    /// Listens on all these addresses; with port 0, on one free port for all of them.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<Self>, StartError> {
        bind::listen(addresses)
    }

    /// Listens on the UNIX socket `path`, whose file gets the permissions `mode`, such as `0o660`.
    /// A client needs the permission to write.
    ///
    /// A file that an earlier process has left there is replaced. It is an error if somebody
    /// listens on it. The file is removed when the server stops listening.
    pub fn bind_unix(path: impl Into<PathBuf>, mode: u32) -> Result<Self, StartError> {
        let path = path.into();
        let (socket, file) = match file::listen(&path, mode) {
            Ok(listening) => listening,
            Err(error) => return Err(StartError::ListenUnix(path, error)),
        };
        Ok(Self {
            socket: socket.into(),
            address: Address::Unix(path),
            file: Some(file),
            is_new: true,
            is_kept: false,
        })
    }

    /// Takes over a socket that listens already: of TCP, or a UNIX socket for streams.
    pub fn adopt(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        let wrong = |what| io::Error::new(ErrorKind::InvalidInput, what);
        let kind = sockopt::socket_type(&socket)?;
        let address =
            known_address(getsockname(&socket)?)
                .filter(|_| kind == SocketType::STREAM)
                .ok_or_else(|| wrong("it is neither a TCP socket nor a UNIX socket for streams"))?;
        // Apple's systems do not tell.
        #[cfg(target_os = "linux")]
        if !sockopt::socket_acceptconn(&socket)? {
            return Err(wrong("it does not listen"));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        let listener = Self { socket, address, file: None, is_new: false, is_kept: false };
        listener.prepare();
        Ok(listener)
    }

    /// Another process keeps this socket when the server ends, such as a service manager that
    /// listens for the next one. So the server does not end it for all: it only closes its own copy
    /// of it, and those who connect meanwhile wait for the next process.
    #[must_use]
    pub fn kept_elsewhere(mut self) -> Self {
        self.is_kept = true;
        self
    }

    /// True if another process keeps the socket.
    pub fn is_kept_elsewhere(&self) -> bool {
        self.is_kept
    }

    /// Has the server remove the file of a UNIX socket that was passed when it stops listening.
    #[must_use]
    pub fn with_file(mut self) -> Self {
        if let Address::Unix(path) = &self.address {
            self.file = SocketFile::at(path).ok();
        }
        self
    }

    /// Its address, with the actual port. `None` for a UNIX socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        }
    }

    /// The path of a UNIX socket.
    pub fn path(&self) -> Option<&Path> {
        match &self.address {
            Address::Tcp(_) => None,
            Address::Unix(path) => Some(path),
        }
    }

    /// Stops listening, for all processes that have this socket, and removes the file of a UNIX
    /// socket.
    pub fn close(mut self) {
        self.end();
    }

    /// Closes this process's copy alone: another one continues. The file of a UNIX socket stays.
    pub fn hand_over(mut self) {
        self.leave();
    }

    /// A TCP socket that was bound here.
    pub(super) fn of_tcp(socket: OwnedFd) -> io::Result<Self> {
        let address = known_address(getsockname(&socket)?)
            .ok_or_else(|| io::Error::other("the socket has no address"))?;
        let listener = Self { socket, address, file: None, is_new: true, is_kept: false };
        listener.prepare();
        // One that was passed keeps what its maker chose.
        if listener.address().is_some_and(|of| of.ip().to_canonical().is_loopback()) {
            super::leave_unpaced(&listener.socket);
        }
        Ok(listener)
    }

    /// Sets what its connections inherit.
    fn prepare(&self) {
        if self.address().is_none() {
            return;
        }
        if let Err(error) = sockopt::set_tcp_nodelay(&self.socket, true) {
            log::debug!("cannot set TCP_NODELAY: {error} (continuing without it)");
        }
        super::acknowledge_with_answer(&self.socket);
        super::bound_unsent(&self.socket);
    }

    /// Makes the kernel hand over connections only when their first bytes have come, or stops doing
    /// so. UNIX sockets have no such option.
    pub(crate) fn defer(&self, deferred: bool) {
        if self.address().is_some() {
            super::defer_accept(&self.socket, deferred);
        }
    }

    /// Stops new connections for all processes that have this socket, and removes its file. Those
    /// that have begun wait to be accepted. Returns true if some of them may still be on their way.
    pub(crate) fn end(&mut self) -> bool {
        if self.address().is_some() {
            return super::stop_new_connections(&self.socket);
        }
        // The kernel refuses others, and still hands over those that wait.
        if let Err(error) = rustix::net::shutdown(&self.socket, Shutdown::Read) {
            log::debug!("cannot stop new connections: {error}");
        }
        if let Some(file) = self.file.take() {
            file.remove();
        }
        false
    }

    /// Leaves the socket and its file to another process. This one closes its copy.
    pub(crate) fn leave(&mut self) {
        self.file = None;
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The address of a listening socket. `None` if it is of another family, or has no name.
fn known_address(address: SocketAddrAny) -> Option<Address> {
    if address.address_family() != AddressFamily::UNIX {
        return SocketAddr::try_from(address).ok().map(Address::Tcp);
    }
    let address = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    if let Some(path) = address.path() {
        return Some(Address::Unix(OsStr::from_bytes(path.to_bytes()).into()));
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = address.abstract_name() {
        return Some(Address::Unix(format!("@{}", name.escape_ascii()).into()));
    }
    None
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = self.file.take().filter(|_| self.is_new) {
            file.remove();
        }
    }
}
