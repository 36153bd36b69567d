//! A connection's socket, and the readiness that the poller reports for it.

use super::primitives::{Shutdown, TcpStream};
use super::slot::Notes;
use crate::notes::note;
use crate::poller::{Poller, Readiness, Trigger};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

/// What a parked connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes from the peer, or the end of its stream.
    Readable,
    /// The same, but only what comes from now on. This needs no system call if the previous
    /// interest was also in reading. It is for connections that have read everything, or will read
    /// again in time.
    News,
    /// Room for bytes to the peer. A socket that has room is reported at once, so this also passes
    /// a connection on to the acceptor without waiting.
    Writable,
    /// A time, which the caller watches itself. Bytes from the peer, errors and hang-ups are
    /// reported as they are for `News`.
    Timer,
    /// A nudge: see `Parking::nudge`. Errors and hang-ups are reported as well.
    Nudge,
    /// Its turn, at which the acceptor takes it whatever happens. Events until then are dropped.
    Turn,
}

impl Interest {
    fn readiness(self) -> Option<Readiness> {
        match self {
            Self::Readable | Self::News | Self::Timer => Some(Readiness::Readable),
            Self::Writable => Some(Readiness::Writable),
            Self::Nudge | Self::Turn => None,
        }
    }
}

/// A connection's non-blocking stream, of TCP or of a UNIX socket. From the first time it is parked
/// until it is dropped, the poller watches it.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    poller: Option<Arc<Poller>>,
    /// The poller reports readability.
    reports_news: bool,
}

impl Socket {
    /// Wraps a non-blocking stream.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, poller: None, reports_news: false }
    }

    /// The key for events and nudges (`Parking::nudge`): the descriptor's number.
    pub fn key(&self) -> usize {
        self.stream.as_raw_fd() as usize
    }

    /// True if the poller watches it.
    pub(super) fn is_watched(&self) -> bool {
        self.poller.is_some()
    }

    /// Reads the bytes that are there.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(into)
    }

    /// Writes as much of one buffer as there is room for.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    /// Writes as much as there is room for.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.stream).write_vectored(slices)
    }

    /// Acknowledges received bytes at once, where the system would wait for a response to send with
    /// the acknowledgement. The peer may be waiting to send more. UNIX sockets need none.
    #[cold]
    pub fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::net::sockopt::set_tcp_quickack(&self.stream, true)
            && error != rustix::io::Errno::OPNOTSUPP
        {
            note!(Debug, "cannot set TCP_QUICKACK: {error} (the peer may send late)");
        }
    }

    /// Ends the stream to the peer. The peer may still send.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Returns a pending error, such as a reset by the peer or a failed connect.
    pub fn take_error(&self) -> io::Result<()> {
        self.stream.take_error()?.map_or(Ok(()), Err)
    }

    /// Makes the poller report the interest, and at once whatever `notes` record. A turn is the
    /// caller's to give, and the connection is then looked at in any case.
    pub(super) fn arm(
        &mut self,
        poller: &Arc<Poller>,
        interest: Interest,
        notes: Notes,
    ) -> io::Result<()> {
        if interest == Interest::Turn {
            // The caller drops what is reported meanwhile, so the next interest is armed.
            self.reports_news = false;
            return Ok(());
        }
        let needs_no_look = matches!(interest, Interest::News | Interest::Timer);
        if needs_no_look && self.reports_news && notes == Notes::default() {
            return Ok(());
        }
        let readiness = if notes.nudged { Some(Readiness::Either) } else { interest.readiness() };
        self.watch(poller, readiness)
    }

    /// Makes the poller report this readiness and no other, and check it now.
    pub(super) fn watch(
        &mut self,
        poller: &Arc<Poller>,
        readiness: Option<Readiness>,
    ) -> io::Result<()> {
        self.reports_news = readiness == Some(Readiness::Readable);
        if self.poller.is_some() {
            return poller.modify(&self.stream, self.key(), readiness, Trigger::Edge);
        }
        poller.add(&self.stream, self.key(), readiness, Trigger::Edge)?;
        self.poller = Some(Arc::clone(poller));
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Socket {
    /// Removes the descriptor from the poller before its number can be reused.
    fn drop(&mut self) {
        if let Some(poller) = &self.poller
            && let Err(error) = poller.delete(&self.stream)
        {
            note!(Debug, "cannot remove a connection from the poller: {error}");
        }
    }
}
