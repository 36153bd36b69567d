//! A poller over `epoll`, with an eventfd for wakeups and a timerfd for the alarm.

use super::{Readiness, Trigger};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// The key of wakeups. No descriptor has this number.
const WAKEUP: u64 = u64::MAX;

/// The key of the alarm, likewise.
const ALARM: u64 = u64::MAX - 1;

/// Watches sockets for one thread that waits. Any thread may add sockets or wake it.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    /// An eventfd(2), readable after a wakeup until it is read.
    wakeup: OwnedFd,
    /// A timerfd(2), if the system gives one.
    alarm: io::Result<OwnedFd>,
}

impl Poller {
    /// A poller that watches nothing yet. Its waits may end up to a millisecond late.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wakeup = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wakeup, EventData::new_u64(WAKEUP), EventFlags::IN)?;
        let alarm = alarm(&epoll).map_err(io::Error::from);
        Ok(Self { epoll, wakeup, alarm })
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

    /// Changes the readiness that a source is watched for, and checks it.
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

    /// Removes a source. Call this before its descriptor is closed, because the number may be
    /// reused.
    pub fn delete(&self, source: &(impl AsFd + AsRawFd)) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Ends the current wait, or the next one, after this time. It replaces an earlier alarm.
    ///
    /// Whoever waits often sets this once, where a timeout starts and ends a timer in each wait.
    pub fn set_alarm(&self, after: Duration) -> io::Result<()> {
        let alarm = self.alarm.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        // Zero would mean never.
        let after = after.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(after).map_err(|_| Errno::INVAL)?;
        let time = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(alarm, TimerfdTimerFlags::empty(), &time)?;
        Ok(())
    }

    /// Waits until a source is ready, a wakeup or the alarm comes, or the timeout expires, if there
    /// is one.
    pub fn wait(&self, ready: &mut ReadyKeys, timeout: Option<Duration>) -> io::Result<()> {
        let ReadyKeys(events) = ready;
        events.clear();
        // A timeout that does not fit means none.
        let until = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
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
            // The counter is full: a wakeup is pending anyway.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A timer that `epoll` reports each time it expires, so that nobody has to read it.
fn alarm(epoll: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let alarm = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    epoll::add(epoll, &alarm, EventData::new_u64(ALARM), EventFlags::IN | EventFlags::ET)?;
    Ok(alarm)
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

/// The keys that one wait reports.
pub struct ReadyKeys(Vec<Event>);

impl ReadyKeys {
    /// Room for `capacity` keys.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity.max(1)))
    }

    /// The keys that the last wait reported.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let keys = self.0.iter().map(|event| event.data.u64());
        keys.filter(|key| !matches!(*key, WAKEUP | ALARM)).map(|key| key as usize)
    }
}

impl fmt::Debug for ReadyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
