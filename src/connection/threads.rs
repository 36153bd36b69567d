//! The kinds of threads that step connections, and what they may do.

/// A kind of thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread {
    /// It waits for events only, and sends while its turn lasts.
    Acceptor,
    /// It waits for jobs only, and sends while no other job waits.
    Worker(usize),
    /// It may wait for disks.
    Fetcher,
}

impl Thread {
    /// True if it may wait for a disk.
    pub(super) fn reads_disks(self) -> bool {
        self == Self::Fetcher
    }

    /// True if it comes back to the connections whose turn is over.
    pub(super) fn has_turns(self) -> bool {
        self == Self::Acceptor
    }

    /// True if it may run code of a handler.
    pub(super) fn runs_handlers(self) -> bool {
        matches!(self, Self::Worker(_))
    }
}
