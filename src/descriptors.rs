//! Open descriptors: the limit, the reserve for files, and errors of shortage.

use crate::config;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Raises the process's limit of open descriptors to the hard limit. Returns the new limit.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::warn!(
                "cannot raise the limit of open descriptors: {error} (fewer connections are accepted)"
            );
        }
    }
    descriptor_limit()
}

/// The process's limit of open descriptors. If there is no limit, a large number.
pub fn descriptor_limit() -> usize {
    let most = config::CONNECTIONS_MOST;
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).map_or(most, |limit| limit.min(most))
}

/// True if a call failed because the process or the system is short of descriptors or memory.
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Reserves the last descriptors for files, so that a client whose connection was accepted also
/// gets the file that it requests.
///
/// The system gives out the lowest free number (open(2)). So the number of a new connection tells
/// whether the reserve is in use, and no count or system call is needed before that.
#[derive(Debug)]
pub struct Reserve {
    /// The first descriptor number of the reserve.
    from: RawFd,
    /// How many connections were open when one of them got a reserved number. While more than half
    /// as many are open, reserved numbers may be in use, so a connection with a lower number does
    /// not mean that the reserve is free.
    touched_at: Option<usize>,
}

impl Reserve {
    /// Reserves `wanted` of `limit` descriptors, but at most a quarter.
    pub fn new(limit: usize, wanted: usize) -> Self {
        let from = limit - wanted.min(limit / 4);
        Self { from: RawFd::try_from(from).unwrap_or(RawFd::MAX), touched_at: None }
    }

    /// Notes the descriptor of a new connection; `open` connections are open now.
    pub fn note(&mut self, got: &impl AsRawFd, open: usize) {
        if got.as_raw_fd() >= self.from {
            self.touched_at = Some(open);
        }
    }

    /// Fails if a connection beside `open` others would take a reserved descriptor. `any` is any
    /// open descriptor.
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
    fn the_reserve_is_at_most_a_quarter_of_the_limit() {
        for (limit, wanted, from) in [(1024, 5, 1019), (40, 5, 35), (40, 4096, 30), (3, 5, 3)] {
            assert_eq!(Reserve::new(limit, wanted).from, from, "{limit}, {wanted}");
        }
    }

    #[test]
    fn the_next_number_is_checked_while_the_reserve_may_be_in_use() -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let mut plenty = Reserve { from: RawFd::MAX, touched_at: None };
        plenty.note(&file, 10);
        assert_eq!(plenty.touched_at, None);
        let mut used_up = Reserve { from: 0, touched_at: None };
        assert!(used_up.check(&file, 10).is_ok(), "no reserved number was noted yet");
        used_up.note(&file, 10);
        assert!(used_up.check(&file, 6).is_err_and(|error| is_shortage(&error)));
        let mut left_again = Reserve { from: RawFd::MAX, ..used_up };
        assert!(left_again.check(&file, 6).is_ok());
        assert_eq!(left_again.touched_at, Some(10), "the reserve may still be in use");
        assert!(used_up.check(&file, 5).is_ok());
        assert_eq!(used_up.touched_at, None);
        Ok(())
    }
}
