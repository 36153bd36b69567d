//! Simulated locks and a simulated channel for the queue.

use shuttle::sync::{Condvar, MutexGuard as ShuttleGuard};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LockResult};

pub use shuttle::sync::atomic::AtomicUsize;

shuttle::thread_local! {
    /// The number of locks that this thread holds.
    static HELD: Cell<usize> = Cell::new(0);
}

fn assert_no_lock(what: &str) {
    assert_eq!(HELD.with(Cell::get), 0, "a lock is held while a thread {what}");
}

/// A lock that knows which thread holds it.
#[derive(Debug)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

pub struct MutexGuard<'l, T>(ShuttleGuard<'l, T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        HELD.with(|held| held.set(held.get() + 1));
        Ok(MutexGuard(guard))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() - 1));
    }
}

/// A bounded channel with the contract of crossbeam's, as far as the queue uses it.
#[derive(Debug)]
struct Channel<T> {
    state: shuttle::sync::Mutex<State<T>>,
    /// An item has come, or the last sender has gone.
    changed: Condvar,
    slots: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    senders: usize,
}

impl<T> Channel<T> {
    fn state(&self) -> ShuttleGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub fn bounded<T>(slots: usize) -> (Sender<T>, Receiver<T>) {
    assert!(slots > 0, "the queue has no channel without slots");
    let state = shuttle::sync::Mutex::new(State { items: VecDeque::new(), senders: 1 });
    let channel = Arc::new(Channel { state, changed: Condvar::new(), slots });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

#[derive(Debug)]
pub struct Sender<T>(Arc<Channel<T>>);

#[derive(Debug)]
pub enum TrySendError<T> {
    Full(T),
    /// The receiver lives as long as the queue, so this does not occur.
    Disconnected(T),
}

impl<T> TrySendError<T> {
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Disconnected(item) => item,
        }
    }
}

impl<T> Sender<T> {
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        assert_no_lock("sends");
        let mut state = self.0.state();
        if state.items.len() == self.0.slots {
            return Err(TrySendError::Full(item));
        }
        state.items.push_back(item);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut state = self.0.state();
        state.senders -= 1;
        if state.senders == 0 {
            self.0.changed.notify_all();
        }
    }
}

#[derive(Debug)]
pub struct Receiver<T>(Arc<Channel<T>>);

/// Nothing is there, or nothing will come any more.
#[derive(Debug)]
pub struct Nothing;

impl<T> Receiver<T> {
    pub fn try_recv(&self) -> Result<T, Nothing> {
        self.0.state().items.pop_front().ok_or(Nothing)
    }

    pub fn recv(&self) -> Result<T, Nothing> {
        assert_no_lock("waits");
        let mut state = self.0.state();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Ok(item);
            }
            if state.senders == 0 {
                return Err(Nothing);
            }
            state = self.0.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    pub fn len(&self) -> usize {
        self.0.state().items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
