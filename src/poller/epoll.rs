//! `epoll`, and a wakeup.

use super::{Readiness, Trigger};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::Timespec;
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// The key of wakeups, which no descriptor has.
const WAKEUP: u64 = u64::MAX;

/// Watches sockets for one thread that waits, and any that add to them or wake it.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    /// An eventfd(2), which is readable from a wakeup on until it is read.
    wakeup: OwnedFd,
}

impl Poller {
    /// Its waits end up to a millisecond late.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wakeup = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wakeup, EventData::new_u64(WAKEUP), EventFlags::IN)?;
        Ok(Self { epoll, wakeup })
    }

    /// Watches a source until it is deleted.
    pub fn add(
        &self,
        source: &(impl AsFd + AsRawFd),
        key: usize,
        readiness: Option<Readiness>,
        trigger: Trigger,
    ) -> io::Result<()> {
        let flags = flags(readiness, trigger);
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(key as u64), flags)?)
    }

    /// Changes what a source is watched for, and looks whether it is ready.
    pub fn modify(
        &self,
        source: &(impl AsFd + AsRawFd),
        key: usize,
        readiness: Option<Readiness>,
        trigger: Trigger,
    ) -> io::Result<()> {
        let flags = flags(readiness, trigger);
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(key as u64), flags)?)
    }

    /// Forgets a source, which must happen before its descriptor's number can be given to another.
    pub fn delete(&self, source: &(impl AsFd + AsRawFd)) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Waits until a source is ready, a wakeup comes or the time is over.
    pub fn wait(&self, ready: &mut ReadyKeys, timeout: Duration) -> io::Result<()> {
        let ReadyKeys(events) = ready;
        events.clear();
        // One that is too long to be told is none at all.
        let until = Timespec::try_from(timeout).ok();
        match epoll::wait(&self.epoll, spare_capacity(events), until.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if events.iter().any(|event| event.data.u64() == WAKEUP) {
            match rustix::io::read(&self.wakeup, &mut [0; 8]) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Ends the current wait, or the next one.
    pub fn wake(&self) -> io::Result<()> {
        match rustix::io::write(&self.wakeup, &1_u64.to_ne_bytes()) {
            // It is full of wakeups.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn flags(readiness: Option<Readiness>, trigger: Trigger) -> EventFlags {
    let readiness = match readiness {
        None => EventFlags::empty(),
        Some(Readiness::Readable) => EventFlags::IN,
        Some(Readiness::Writable) => EventFlags::OUT,
        Some(Readiness::Either) => EventFlags::IN | EventFlags::OUT,
    };
    match trigger {
        Trigger::Edge => readiness | EventFlags::ET,
        Trigger::Level => readiness,
    }
}

/// Room for the keys of one wait.
pub struct ReadyKeys(Vec<Event>);

impl ReadyKeys {
    /// Room for so many keys at once.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity.max(1)))
    }

    /// The keys found by the last wait.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let keys = self.0.iter().map(|event| event.data.u64());
        keys.filter(|key| *key != WAKEUP).map(|key| key as usize)
    }
}

impl fmt::Debug for ReadyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
