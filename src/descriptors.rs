//! What the process may hold open: how much, how much of it is taken, and when it runs short.

use crate::config;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Raises the process's limit of open descriptors as far as it may, and gives the new limit.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::warn!("cannot raise the limit of open descriptors: {error}");
        }
    }
    descriptor_limit()
}

/// The process's limit of open descriptors, or a large number where there is none.
pub fn descriptor_limit() -> usize {
    let most = config::CONNECTIONS_MOST;
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).map_or(most, |limit| limit.min(most))
}

/// True where a call failed as the system is short of descriptors or memory, for the process or at
/// all.
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Keeps the last descriptors from connections, so that a client who got one also gets the file
/// that it asks for.
///
/// The system gives out the lowest free number (open(2)), so the number of a new connection tells
/// whether the last ones have come up; nothing need be asked or counted before that.
#[derive(Debug)]
pub struct Reserve {
    /// The first of the numbers that are kept back.
    from: RawFd,
    /// How many connections were open when one of them was given out, as long as there may be
    /// about as many. While there are, a free number below says nothing about a second one.
    touched_at: Option<usize>,
}

impl Reserve {
    /// Keeps `wanted` descriptors back out of `limit`, but leaves the most to connections.
    pub fn new(limit: usize, wanted: usize) -> Self {
        let from = limit - wanted.min(limit / 4);
        Self { from: RawFd::try_from(from).unwrap_or(RawFd::MAX), touched_at: None }
    }

    /// Notes the descriptor that a connection got, with `open` of them open.
    pub fn note(&mut self, got: &impl AsRawFd, open: usize) {
        if got.as_raw_fd() >= self.from {
            self.touched_at = Some(open);
        }
    }

    /// Fails where a connection beside `open` others would take a descriptor that is kept back.
    /// `any` is whatever is open.
    pub fn check(&mut self, any: impl AsFd, open: usize) -> io::Result<()> {
        match self.touched_at {
            Some(touched_at) if open > touched_at / 2 => {
                let next = fcntl_dupfd_cloexec(any, 0)?.as_raw_fd();
                if next < self.from { Ok(()) } else { Err(Errno::MFILE.into()) }
            }
            _ => {
                self.touched_at = None;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_back() {
        for (limit, wanted, from) in [(1024, 5, 1019), (40, 5, 35), (40, 4096, 30), (3, 5, 3)] {
            assert_eq!(Reserve::new(limit, wanted).from, from, "{limit}, {wanted}");
        }
    }

    #[test]
    fn the_system_is_asked_while_the_last_ones_may_be_in_use() -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let mut plenty = Reserve { from: RawFd::MAX, touched_at: None };
        plenty.note(&file, 10);
        assert_eq!(plenty.touched_at, None);
        let mut used_up = Reserve { from: 0, touched_at: None };
        assert!(used_up.check(&file, 10).is_ok(), "nobody knows yet");
        used_up.note(&file, 10);
        assert!(used_up.check(&file, 6).is_err_and(|error| is_shortage(&error)));
        let mut left_again = Reserve { from: RawFd::MAX, ..used_up };
        assert!(left_again.check(&file, 6).is_ok());
        assert_eq!(left_again.touched_at, Some(10), "there may be one, but no more");
        assert!(used_up.check(&file, 5).is_ok());
        assert_eq!(used_up.touched_at, None);
        Ok(())
    }
}
