//! A simulated poller that behaves as epoll(7).
//!
//! A file is queued when an event occurs, or when it is ready as it is added or modified. A wait
//! polls each queued file again, reports those that are ready for their interest, and keeps the
//! level-triggered ones queued.

use crate::kernel::{File, Flags, HUP, IN, OUT, Source, lock};
use shuttle::sync::{Arc, Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Readable,
    Writable,
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Edge,
    Level,
}

#[derive(Debug)]
pub struct Poller(Arc<Watch>);

/// The poller as files see it.
#[derive(Debug, Default)]
pub struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<WatchedFile>,
    queue: VecDeque<Arc<File>>,
    wakeup: bool,
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<File>,
    key: usize,
    flags: Flags,
    trigger: Trigger,
}

impl State {
    fn entry(&mut self, file: &Arc<File>) -> Option<&mut WatchedFile> {
        self.entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.file, file))
    }

    fn enqueue(&mut self, file: &Arc<File>) {
        if !self.queue.iter().any(|queued| Arc::ptr_eq(queued, file)) {
            self.queue.push_back(Arc::clone(file));
        }
    }
}

impl Watch {
    /// An event has occurred at a file.
    pub fn notice(&self, file: &Arc<File>, flags: Flags) {
        let mut state = lock(&self.state);
        if state.entry(file).is_some_and(|entry| entry.flags & flags != 0) {
            state.enqueue(file);
            self.changed.notify_all();
        }
    }
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::default()))
    }

    pub fn add(
        &self,
        source: &impl Source,
        key: usize,
        readiness: Option<Readiness>,
        trigger: Trigger,
    ) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        let file = Arc::clone(source.file());
        assert!(state.entry(&file).is_none(), "it was added before");
        file.set_watch(Some(Arc::clone(&self.0)));
        state.entries.push(WatchedFile { file, key, flags: flags(readiness), trigger });
        drop(state);
        self.modify(source, key, readiness, trigger)
    }

    pub fn modify(
        &self,
        source: &impl Source,
        key: usize,
        readiness: Option<Readiness>,
        trigger: Trigger,
    ) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        let entry = state.entry(source.file()).expect("it was added");
        let flags = flags(readiness);
        *entry = WatchedFile { file: Arc::clone(source.file()), key, flags, trigger };
        if source.file().poll() & flags != 0 {
            state.enqueue(source.file());
            self.0.changed.notify_all();
        }
        Ok(())
    }

    pub fn delete(&self, source: &impl Source) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        assert!(state.entry(source.file()).is_some(), "it was added");
        state.entries.retain(|entry| !Arc::ptr_eq(&entry.file, source.file()));
        state.queue.retain(|queued| !Arc::ptr_eq(queued, source.file()));
        source.file().set_watch(None);
        Ok(())
    }

    /// Never comes: see [`Poller::wait`].
    pub fn set_alarm(&self, _after: Duration) -> io::Result<()> {
        Ok(())
    }

    /// Waits forever, or not at all if the timeout is zero. So an event that only a timeout or an
    /// alarm would find counts as lost.
    pub fn wait(&self, ready: &mut ReadyKeys, timeout: Option<Duration>) -> io::Result<()> {
        let ReadyKeys(keys, most) = ready;
        keys.clear();
        let mut state = lock(&self.0.state);
        loop {
            for _ in 0..state.queue.len() {
                if keys.len() == *most {
                    break;
                }
                let Some(file) = state.queue.pop_front() else { break };
                let entry = state.entry(&file).expect("a deleted file is not queued");
                if file.poll() & entry.flags == 0 {
                    continue;
                }
                keys.push(entry.key);
                if entry.trigger == Trigger::Level {
                    state.enqueue(&file);
                }
            }
            let wakeup = std::mem::take(&mut state.wakeup);
            if wakeup || !keys.is_empty() || timeout == Some(Duration::ZERO) {
                return Ok(());
            }
            state = self.0.changed.wait(state).expect("no thread panics while it holds the lock");
        }
    }

    pub fn wake(&self) -> io::Result<()> {
        lock(&self.0.state).wakeup = true;
        self.0.changed.notify_all();
        Ok(())
    }
}

fn flags(readiness: Option<Readiness>) -> Flags {
    HUP | match readiness {
        None => 0,
        Some(Readiness::Readable) => IN,
        Some(Readiness::Writable) => OUT,
        Some(Readiness::Either) => IN | OUT,
    }
}

#[derive(Debug)]
pub struct ReadyKeys(Vec<usize>, usize);

impl ReadyKeys {
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity), capacity)
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

#[derive(Debug)]
pub struct Watched<S: Source> {
    source: S,
    key: usize,
    poller: Arc<Poller>,
}

impl<S: Source> Watched<S> {
    pub fn new(
        source: S,
        key: usize,
        readiness: Readiness,
        poller: &Arc<Poller>,
    ) -> io::Result<Self> {
        poller.add(&source, key, Some(readiness), Trigger::Level)?;
        Ok(Self { source, key, poller: Arc::clone(poller) })
    }

    pub fn key(&self) -> usize {
        self.key
    }

    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<S: Source> Drop for Watched<S> {
    fn drop(&mut self) {
        self.poller.delete(&self.source).expect("it was added");
    }
}
