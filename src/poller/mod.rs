//! Reports which sockets are ready: `epoll` on Linux, and the `polling` crate elsewhere.
//!
//! `polling` also works on Linux, but makes five system calls for each wait: it sets a timer, arms
//! the timer and its wakeup, waits, and reads the wakeup. This is noticeable when few requests
//! share a wait.

#[cfg(target_os = "linux")]
mod epoll;
// Compiled for tests on Linux too, so that it keeps working.
#[cfg(any(test, not(target_os = "linux")))]
mod portable;

use crate::notes::note;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

#[cfg(target_os = "linux")]
pub use epoll::{Poller, ReadyKeys};
#[cfg(not(target_os = "linux"))]
pub use portable::{Poller, ReadyKeys};

/// The readiness that a source is watched for. Errors and hang-ups are always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// There are bytes, a connection, or the end of the stream.
    Readable,
    /// There is room for bytes.
    Writable,
    /// Readable or writable.
    Either,
}

/// How often a source is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Once when it is added or modified, if it is ready then, and once for each later event.
    Edge,
    /// In every wait while it is ready.
    Level,
}

/// A source, such as a listener, that every wait reports while it is ready. Dropping it stops that.
#[derive(Debug)]
pub struct Watched<S: AsFd + AsRawFd> {
    source: S,
    key: usize,
    poller: Arc<Poller>,
}

impl<S: AsFd + AsRawFd> Watched<S> {
    /// Watches `source` and reports it under `key`.
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

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The source, to change it. Its descriptor must stay the same.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Changes the readiness to report; `None` reports only errors and hang-ups.
    pub fn set_readiness(&self, readiness: Option<Readiness>) -> io::Result<()> {
        self.poller.modify(&self.source, self.key, readiness, Trigger::Level)
    }
}

impl<S: AsFd + AsRawFd> Drop for Watched<S> {
    fn drop(&mut self) {
        if let Err(error) = self.poller.delete(&self.source) {
            note!(Debug, "cannot remove a listener from the poller: {error}");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// Both implementations must behave alike.
    macro_rules! poller_tests {
        ($implementation:ident) => {
            mod $implementation {
                use crate::poller::$implementation::{Poller, ReadyKeys};
                use crate::poller::{Readiness, Trigger};
                use std::io::{Read, Write};
                use std::os::unix::net::UnixStream;
                use std::time::{Duration, Instant};

                const LONG: Duration = Duration::from_secs(20);
                const NONE: [usize; 0] = [];

                fn keys(poller: &Poller, wait: impl Into<Option<Duration>>) -> Vec<usize> {
                    let mut ready = ReadyKeys::with_capacity(8);
                    poller.wait(&mut ready, wait.into()).expect("a poller");
                    let mut keys: Vec<_> = ready.iter().collect();
                    keys.sort_unstable();
                    keys
                }

                fn pair() -> (UnixStream, UnixStream) {
                    UnixStream::pair().expect("two sockets")
                }

                #[test]
                fn edge_triggered_sources_are_reported_once_and_level_triggered_ones_in_each_wait()
                {
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
                    // Modifying a source checks its readiness again.
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
                fn waits_end_at_a_wakeup_or_at_the_timeout() {
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

                #[test]
                fn an_alarm_ends_one_wait_and_a_later_one_replaces_it() {
                    let (poller, soon) =
                        (Poller::new().expect("a poller"), Duration::from_millis(5));
                    for _ in 0..3 {
                        let start = Instant::now();
                        poller.set_alarm(LONG).expect("a poller");
                        poller.set_alarm(soon).expect("a poller");
                        assert_eq!(keys(&poller, None), NONE);
                        let took = start.elapsed();
                        assert!(took >= soon && took < LONG, "{took:?}");
                    }
                    // It has come, so it ends no other wait.
                    let start = Instant::now();
                    assert_eq!(keys(&poller, 2 * soon), NONE);
                    assert!(start.elapsed() >= 2 * soon);
                    // One that comes while nobody waits is not lost.
                    poller.set_alarm(Duration::ZERO).expect("a poller");
                    while start.elapsed() < 3 * soon {
                        std::thread::yield_now();
                    }
                    assert_eq!(keys(&poller, None), NONE);
                }
            }
        };
    }

    poller_tests!(epoll);
    poller_tests!(portable);
}
