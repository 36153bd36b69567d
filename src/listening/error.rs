//! Why a server did not start.

use super::policy::Policies;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid.
    Config(String),
    /// It cannot listen on this address.
    Listen(SocketAddr, io::Error),
    /// It cannot listen on the UNIX socket of this path.
    ListenUnix(PathBuf, io::Error),
    /// The system refused a thread, a descriptor or memory.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(reason) => write!(f, "cannot start {reason}"),
            Self::Listen(address, error) => {
                let (what, todo) = explain(*address, error);
                write!(f, "cannot listen on {address}: {what} ({todo})")
            }
            Self::ListenUnix(path, error) => {
                let (what, todo) = explain_unix(error);
                write!(f, "cannot listen on unix:{}: {what} ({todo})", path.display())
            }
            Self::System(error) => {
                write!(f, "cannot start the threads: {error} (try fewer workers)")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// What is wrong with an address, and what to do about it.
fn explain(address: SocketAddr, error: &io::Error) -> (String, String) {
    let (what, todo) = match error.kind() {
        ErrorKind::AddrInUse => {
            ("address already in use".to_owned(), "is another server running? choose another port")
        }
        ErrorKind::PermissionDenied => return Policies::now().explain(address.port(), error),
        ErrorKind::AddrNotAvailable => (
            "this machine has no such address".to_owned(),
            "choose one of its own, or 0.0.0.0 or :: for all",
        ),
        _ => (error.to_string(), "choose another address or port"),
    };
    (what, todo.to_owned())
}

/// The same for the path of a UNIX socket.
fn explain_unix(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        ErrorKind::AddrInUse => (
            "another process listens on it".to_owned(),
            "stop that one, take its place with --takeover, or choose another path",
        ),
        ErrorKind::AlreadyExists => {
            ("a file that is no socket is there".to_owned(), "remove it, or choose another path")
        }
        ErrorKind::NotFound => {
            ("no such directory".to_owned(), "create it, or choose another path")
        }
        ErrorKind::PermissionDenied => (
            "permission denied".to_owned(),
            "choose a directory in which this user can create files, and a file of its own",
        ),
        // ENAMETOOLONG: `sun_path` of unix(7).
        ErrorKind::InvalidFilename => {
            ("the path is too long".to_owned(), "choose one of at most 107 bytes")
        }
        _ => (error.to_string(), "choose another path"),
    }
}
