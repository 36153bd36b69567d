//! A poller over the `polling` crate.

use super::{Readiness, Trigger};
use polling::{Event, Events, PollMode};
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Watches sockets for one thread that waits. Any thread may add sockets or wake it.
#[derive(Debug)]
pub struct Poller(polling::Poller);

impl Poller {
    /// A poller that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(polling::Poller::new()?))
    }

    /// Watches a source until it is deleted.
    #[allow(unsafe_code, reason = "the poller cannot know how long a descriptor stays open")]
    pub fn add(
        &self,
        source: &(impl AsFd + AsRawFd),
        key: usize,
        readiness: Option<Readiness>,
        trigger: Trigger,
    ) -> io::Result<()> {
        let event = event(key, readiness);
        // SAFETY: the descriptor must be deleted from the poller before it is closed. Every caller
        // owns the descriptor, holds a handle on the poller, and deletes it in `drop`.
        unsafe { self.0.add_with_mode(source, event, mode(trigger)) }
    }

    /// Changes the readiness that a source is watched for, and checks it.
    pub fn modify(
        &self,
        source: &(impl AsFd + AsRawFd),
        key: usize,
        readiness: Option<Readiness>,
        trigger: Trigger,
    ) -> io::Result<()> {
        self.0.modify_with_mode(source, event(key, readiness), mode(trigger))
    }

    /// Removes a source. Call this before its descriptor is closed, because the number may be
    /// reused.
    pub fn delete(&self, source: &(impl AsFd + AsRawFd)) -> io::Result<()> {
        self.0.delete(source)
    }

    /// Waits until a source is ready, a wakeup comes or the timeout expires.
    pub fn wait(&self, ready: &mut ReadyKeys, timeout: Duration) -> io::Result<()> {
        let ReadyKeys(events) = ready;
        events.clear();
        match self.0.wait(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends the current wait, or the next one.
    pub fn wake(&self) -> io::Result<()> {
        self.0.notify()
    }
}

fn event(key: usize, readiness: Option<Readiness>) -> Event {
    match readiness {
        None => Event::none(key),
        Some(Readiness::Readable) => Event::readable(key),
        Some(Readiness::Writable) => Event::writable(key),
        Some(Readiness::Either) => Event::all(key),
    }
}

fn mode(trigger: Trigger) -> PollMode {
    match trigger {
        Trigger::Edge => PollMode::Edge,
        Trigger::Level => PollMode::Level,
    }
}

/// The keys that one wait reports.
pub struct ReadyKeys(Events);

impl ReadyKeys {
    /// Room for `capacity` keys.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Events::with_capacity(NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN)))
    }

    /// The keys that the last wait reported.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|event| event.key)
    }
}

impl fmt::Debug for ReadyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
