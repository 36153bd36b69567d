//! Tells which sockets are ready: `epoll` on Linux, and elsewhere what the `polling` crate has
//! there.
//!
//! `polling` is to be had on Linux too, but takes five system calls a wait: it sets a timer, arms
//! that and its own wakeup, waits, and reads the wakeup. Where few requests share a wait it shows.

#[cfg(target_os = "linux")]
mod epoll;
// Compiled for tests as well, so that it is not forgotten here.
#[cfg(any(test, not(target_os = "linux")))]
mod portable;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

#[cfg(target_os = "linux")]
pub use epoll::{Poller, ReadyKeys};
#[cfg(not(target_os = "linux"))]
pub use portable::{Poller, ReadyKeys};

/// What a source is watched for. Errors and hang-ups are reported with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Bytes, a connection or an end has come.
    Readable,
    /// There is room for bytes.
    Writable,
    /// One of these.
    Either,
}

/// How often a source is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Once when it is added or modified, if it is ready, and when more comes up.
    Edge,
    /// In every wait, as long as it is ready.
    Level,
}

/// A source, a listener for instance, that is reported for as long as it is ready.
#[derive(Debug)]
pub struct Watched<S: AsFd + AsRawFd> {
    source: S,
    key: usize,
    poller: Arc<Poller>,
}

impl<S: AsFd + AsRawFd> Watched<S> {
    /// Has it reported under this key from now on.
    pub fn new(
        source: S,
        key: usize,
        readiness: Readiness,
        poller: &Arc<Poller>,
    ) -> io::Result<Self> {
        poller.add(&source, key, Some(readiness), Trigger::Level)?;
        Ok(Self { source, key, poller: Arc::clone(poller) })
    }

    /// The key of its reports.
    pub fn key(&self) -> usize {
        self.key
    }

    /// What is watched.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Has this reported from now on, or nothing.
    pub fn set_readiness(&self, readiness: Option<Readiness>) -> io::Result<()> {
        self.poller.modify(&self.source, self.key, readiness, Trigger::Level)
    }
}

impl<S: AsFd + AsRawFd> Drop for Watched<S> {
    fn drop(&mut self) {
        if let Err(error) = self.poller.delete(&self.source) {
            log::debug!("cannot stop watching a socket: {error}");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// Both ways must do the same.
    macro_rules! tests_of {
        ($way:ident) => {
            mod $way {
                use crate::poller::$way::{Poller, ReadyKeys};
                use crate::poller::{Readiness, Trigger};
                use std::io::{Read, Write};
                use std::os::unix::net::UnixStream;
                use std::time::{Duration, Instant};

                const LONG: Duration = Duration::from_secs(20);
                const NONE: [usize; 0] = [];

                fn keys(poller: &Poller, wait: Duration) -> Vec<usize> {
                    let mut ready = ReadyKeys::with_capacity(8);
                    poller.wait(&mut ready, wait).expect("a poller");
                    let mut keys: Vec<_> = ready.iter().collect();
                    keys.sort_unstable();
                    keys
                }

                fn pair() -> (UnixStream, UnixStream) {
                    UnixStream::pair().expect("two sockets")
                }

                #[test]
                fn reports_what_is_ready_as_often_as_it_is_to() {
                    let poller = Poller::new().expect("a poller");
                    let ((mut a, edge), (mut b, mut level)) = (pair(), pair());
                    let readable = Readiness::Readable;
                    poller.add(&edge, 3, Some(readable), Trigger::Edge).expect("added");
                    poller.add(&level, 5, Some(readable), Trigger::Level).expect("added");
                    assert_eq!(keys(&poller, Duration::ZERO), NONE);
                    a.write_all(b"x").expect("connected");
                    b.write_all(b"x").expect("connected");
                    assert_eq!(keys(&poller, LONG), [3, 5]);
                    assert_eq!(keys(&poller, LONG), [5]);
                    a.write_all(b"x").expect("connected");
                    assert_eq!(keys(&poller, LONG), [3, 5]);
                    // Asking anew is another look.
                    poller.modify(&edge, 4, Some(readable), Trigger::Edge).expect("modified");
                    poller.modify(&level, 5, None, Trigger::Level).expect("modified");
                    assert_eq!(keys(&poller, LONG), [4]);
                    let writable = Some(Readiness::Writable);
                    poller.modify(&edge, 4, writable, Trigger::Edge).expect("modified");
                    poller.modify(&level, 5, Some(readable), Trigger::Level).expect("modified");
                    assert_eq!(keys(&poller, LONG), [4, 5]);
                    let either = Some(Readiness::Either);
                    poller.modify(&edge, 4, either, Trigger::Edge).expect("modified");
                    assert_eq!(keys(&poller, LONG), [4, 5]);
                    level.read_exact(&mut [0]).expect("a byte");
                    poller.delete(&edge).expect("deleted");
                    a.write_all(b"x").expect("connected");
                    assert_eq!(keys(&poller, Duration::ZERO), NONE);
                }

                #[test]
                fn a_wakeup_ends_one_wait_and_a_timeout_any() {
                    let poller = Poller::new().expect("a poller");
                    poller.wake().expect("a poller");
                    poller.wake().expect("a poller");
                    let start = Instant::now();
                    assert_eq!(keys(&poller, LONG), NONE);
                    assert!(start.elapsed() < LONG);
                    for wait in [Duration::from_micros(300), Duration::from_millis(20)] {
                        let start = Instant::now();
                        assert_eq!(keys(&poller, wait), NONE);
                        assert!(start.elapsed() >= wait);
                    }
                    std::thread::scope(|scope| {
                        scope.spawn(|| poller.wake().expect("a poller"));
                        let start = Instant::now();
                        assert_eq!(keys(&poller, LONG), NONE);
                        assert!(start.elapsed() < LONG);
                    });
                }
            }
        };
    }

    tests_of!(epoll);
    tests_of!(portable);
}
