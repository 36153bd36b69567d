//! A connection's socket, and how it is watched.

use super::primitives::{Shutdown, TcpStream};
use super::slot::Notes;
use crate::poller::{Poller, Readiness, Trigger};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

/// What a parked connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes from the peer, or its end.
    Readable,
    /// The same, but those alone that come from now on. That costs nothing where the last interest
    /// was alike, so it is for those who have read all, or will look again in time.
    News,
    /// Room for bytes to the peer. A socket that has room is reported at once, which makes this
    /// also the way to hand a connection on without waiting.
    Writable,
    /// A nudge: see `Parking::nudge`. Errors and hang-ups are reported all the same.
    Nudge,
}

impl Interest {
    fn readiness(self) -> Option<Readiness> {
        match self {
            Self::Readable | Self::News => Some(Readiness::Readable),
            Self::Writable => Some(Readiness::Writable),
            Self::Nudge => None,
        }
    }
}

/// A connection's non-blocking stream; once parked, it is known to the poller until it is dropped.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    poller: Option<Arc<Poller>>,
    /// The poller reports what can be read.
    reports_news: bool,
}

impl Socket {
    /// Wraps a stream that does not block.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, poller: None, reports_news: false }
    }

    /// The key of its reports, and of nudges (`Parking::nudge`): its descriptor's number.
    pub fn key(&self) -> usize {
        self.stream.as_raw_fd() as usize
    }

    /// The poller knows it.
    pub(super) fn is_watched(&self) -> bool {
        self.poller.is_some()
    }

    /// Reads what is there.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(into)
    }

    /// Writes what there is room for.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.stream).write_vectored(slices)
    }

    /// Tells the peer at once what has come, where the system would wait for an answer to tell it
    /// with: it may be waiting to send more.
    #[cold]
    pub fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::net::sockopt::set_tcp_quickack(&self.stream, true) {
            log::debug!("cannot acknowledge: {error}");
        }
    }

    /// Ends this side; the peer may go on sending.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// The error that is pending, if one is: the peer's reset, or a failed connect.
    pub fn take_error(&self) -> io::Result<()> {
        self.stream.take_error()?.map_or(Ok(()), Err)
    }

    /// Has the poller report what it is parked for, and at once what `notes` tell of.
    pub(super) fn arm(
        &mut self,
        poller: &Arc<Poller>,
        interest: Interest,
        notes: Notes,
    ) -> io::Result<()> {
        if interest == Interest::News && self.reports_news && notes == Notes::default() {
            return Ok(());
        }
        let readiness = if notes.nudged { Some(Readiness::Either) } else { interest.readiness() };
        self.watch(poller, readiness)
    }

    /// Has the poller report this readiness and no other, and look whether it is there.
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
    /// The poller must forget a descriptor before its number can be given to another.
    fn drop(&mut self) {
        if let Some(poller) = &self.poller
            && let Err(error) = poller.delete(&self.stream)
        {
            log::debug!("cannot stop watching a connection: {error}");
        }
    }
}
