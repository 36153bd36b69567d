//! A small simulated kernel: connections, listeners and descriptor numbers.
//!
//! Every lock is a point at which another thread may run. So what the real kernel does in steps
//! (queue the bytes, then call the watcher) is done in the same steps here.

use crate::poller::Watch;
use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};

/// Sets of readiness flags.
pub type Flags = u8;
pub const IN: Flags = 1;
pub const OUT: Flags = 2;
/// Errors and hang-ups, which are always reported.
pub const HUP: Flags = 4;
const ANY: Flags = IN | OUT | HUP;

/// A file that the poller can watch.
pub trait Source {
    fn file(&self) -> &Arc<File>;
}

/// The descriptor numbers in use. A new descriptor gets the lowest free number.
#[derive(Debug)]
pub struct Numbers(Mutex<Vec<bool>>);

impl Numbers {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Vec::new())))
    }

    pub fn lowest(&self) -> usize {
        let mut taken = lock(&self.0);
        let number = taken.iter().position(|taken| !taken).unwrap_or(taken.len());
        if number == taken.len() {
            taken.push(true);
        }
        taken[number] = true;
        number
    }

    pub fn free(&self, number: usize) {
        lock(&self.0)[number] = false;
    }
}

/// A connection, or a listener.
#[derive(Debug)]
pub struct File {
    state: Mutex<State>,
    /// Wakes the peer.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that the server has not read.
    inbox: usize,
    /// The peer has ended its stream.
    ended: bool,
    reset: bool,
    /// Bytes that the server may write.
    room: usize,
    /// The server found no room, and must be told when there is some.
    wants_room: bool,
    /// Bytes that the peer has not read.
    outbox: usize,
    /// The server has closed it.
    closed: bool,
    /// Connections that are not accepted yet.
    backlog: VecDeque<Arc<File>>,
    /// The poller that watches it.
    watch: Option<Arc<Watch>>,
}

/// The server's side.
impl File {
    pub fn new(room: usize) -> Arc<Self> {
        let state = State { room, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// As in tcp_poll(), a poll that finds no room requests an event for room.
    pub fn poll(&self) -> Flags {
        let mut state = lock(&self.state);
        if state.reset {
            return ANY;
        }
        state.wants_room |= state.room == 0;
        let readable = state.inbox > 0 || state.ended || !state.backlog.is_empty();
        (if readable { IN } else { 0 }) | (if state.room > 0 { OUT } else { 0 })
    }

    pub fn set_watch(&self, watch: Option<Arc<Watch>>) {
        lock(&self.state).watch = watch;
    }

    pub fn is_reset(&self) -> bool {
        lock(&self.state).reset
    }

    pub fn accept(&self) -> Option<Arc<File>> {
        lock(&self.state).backlog.pop_front()
    }

    pub fn read(&self, most: usize) -> io::Result<usize> {
        let mut state = lock(&self.state);
        let count = state.inbox.min(most);
        state.inbox -= count;
        match count {
            _ if state.reset => Err(ErrorKind::ConnectionReset.into()),
            0 if !state.ended => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(count),
        }
    }

    pub fn write(&self, count: usize) -> io::Result<usize> {
        let mut state = lock(&self.state);
        if state.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let count = count.min(state.room);
        if count == 0 {
            state.wants_room = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        state.room -= count;
        state.outbox += count;
        self.changed.notify_all();
        Ok(count)
    }

    pub fn close(&self) {
        let mut state = lock(&self.state);
        let watched = state.watch.is_some() && !std::thread::panicking();
        assert!(!watched, "the poller still watches a descriptor whose number may be reused");
        state.closed = true;
        self.changed.notify_all();
    }
}

/// The peer's side.
impl File {
    /// Connects, with `room` bytes for the server's answers.
    pub fn connect(self: &Arc<Self>, room: usize) -> Arc<File> {
        let connection = File::new(room);
        lock(&self.state).backlog.push_back(Arc::clone(&connection));
        self.call(IN);
        connection
    }

    pub fn send(self: &Arc<Self>, count: usize) {
        lock(&self.state).inbox += count;
        self.call(IN);
    }

    pub fn end(self: &Arc<Self>) {
        lock(&self.state).ended = true;
        self.call(ANY);
    }

    pub fn reset(self: &Arc<Self>) {
        lock(&self.state).reset = true;
        self.call(ANY);
    }

    /// Waits for a byte and takes it. Returns false if the server has closed instead.
    pub fn receive(self: &Arc<Self>) -> bool {
        let mut state = lock(&self.state);
        while state.outbox == 0 {
            if state.closed {
                return false;
            }
            state = self.changed.wait(state).expect("no thread panics while it holds the lock");
        }
        state.outbox -= 1;
        state.room += 1;
        let wants_room = std::mem::take(&mut state.wants_room);
        drop(state);
        if wants_room {
            self.call(OUT);
        }
        true
    }

    /// Waits for a byte, or until the server has closed it.
    pub fn wait_for_answer(&self) {
        let mut state = lock(&self.state);
        while state.outbox == 0 && !state.closed {
            state = self.changed.wait(state).expect("no thread panics while it holds the lock");
        }
    }

    /// Waits until the server has closed it.
    pub fn wait_for_close(&self) {
        let mut state = lock(&self.state);
        while !state.closed {
            state = self.changed.wait(state).expect("no thread panics while it holds the lock");
        }
    }

    /// Tells the poller about an event.
    fn call(self: &Arc<Self>, flags: Flags) {
        let watch = lock(&self.state).watch.clone();
        if let Some(watch) = watch {
            watch.notice(self, flags);
        }
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds the lock")
}
