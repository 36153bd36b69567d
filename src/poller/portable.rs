//! A poller over the `polling` crate.

use super::{Readiness, Trigger};
use crate::lock::lock;
use polling::{Event, Events, PollMode};
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Watches sockets for one thread that waits. Any thread may add sockets or wake it.
#[derive(Debug)]
pub struct Poller {
    poller: polling::Poller,
    /// When a wait has to end, if that is still to come.
    alarm: Mutex<Option<Instant>>,
}

impl Poller {
    /// A poller that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self { poller: polling::Poller::new()?, alarm: Mutex::new(None) })
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
        unsafe { self.poller.add_with_mode(source, event, mode(trigger)) }
    }

    /// Changes the readiness that a source is watched for, and checks it.
    pub fn modify(
        &self,
        source: &(impl AsFd + AsRawFd),
        key: usize,
        readiness: Option<Readiness>,
        trigger: Trigger,
    ) -> io::Result<()> {
        self.poller.modify_with_mode(source, event(key, readiness), mode(trigger))
    }

    /// Removes a source. Call this before its descriptor is closed, because the number may be
    /// reused.
    pub fn delete(&self, source: &(impl AsFd + AsRawFd)) -> io::Result<()> {
        self.poller.delete(source)
    }

    /// Ends the next wait after this time. It replaces an earlier alarm.
    pub fn set_alarm(&self, after: Duration) -> io::Result<()> {
        *lock(&self.alarm) = Instant::now().checked_add(after);
        Ok(())
    }

    /// Waits until a source is ready, a wakeup or the alarm comes, or the timeout expires, if there
    /// is one.
    pub fn wait(&self, ready: &mut ReadyKeys, timeout: Option<Duration>) -> io::Result<()> {
        let ReadyKeys(events) = ready;
        events.clear();
        let alarm = *lock(&self.alarm);
        let left = alarm.map(|alarm| alarm.saturating_duration_since(Instant::now()));
        let outcome = self.poller.wait(events, timeout.into_iter().chain(left).min());
        if alarm.is_some_and(|alarm| alarm <= Instant::now()) {
            *lock(&self.alarm) = None;
        }
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends the current wait, or the next one.
    pub fn wake(&self) -> io::Result<()> {
        self.poller.notify()
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
