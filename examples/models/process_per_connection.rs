//! A process for each connection: the server forks, and the child serves the client.
//!
//! As many requests at a time as there are clients. A child that fails harms no other client. Each
//! costs a process: page tables, a copy of each page that it writes, and the time of `fork`.

use crate::conversation::converse;
use crate::duty::Duty;
use crate::parent;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::io;
use std::net::TcpListener;
use std::process;

/// The calling process must have no other threads: `fork` copies only the calling one, and a lock
/// that another one holds would stay locked in the child.
pub fn serve(listener: TcpListener, duty: &Duty) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        reap();
        match fork() {
            Ok(None) => {
                drop(listener);
                parent::follow();
                // An error of one client does not concern the server.
                let _ = converse(stream, duty);
                process::exit(0);
            }
            // The child has the connection. Without one, for want of memory or processes, this
            // client is dropped, and others may end and leave room.
            Ok(Some(_)) | Err(_) => drop(stream),
        }
    }
}

/// Collects the children that have ended, so that none stays as a zombie until the server ends.
fn reap() {
    while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
}

/// `None` in the child.
#[allow(unsafe_code, reason = "no crate that is used here wraps fork")]
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread, so the child is a whole copy and may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(Pid::from_raw(child)),
    }
}
