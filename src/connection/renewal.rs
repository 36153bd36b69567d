//! Settings that change while the server runs, and how its threads come to know.

use crate::config::Config;
use crate::lock;
use crate::queue::ages::Limits;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What is in force, for all threads. Each has a copy, and takes a new one between two jobs: when
/// nothing has changed, that costs a load of a number that nobody writes.
#[derive(Debug)]
pub struct Renewal {
    /// How many times something has changed.
    number: AtomicU64,
    latest: Mutex<Renewed>,
}

/// What can change.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// Limits and timeouts.
    pub config: Arc<Config>,
    /// The bounds of the queue, which follow from them.
    pub limits: Limits,
    /// Header fields for responses that the server makes itself.
    pub common_fields: Bytes,
}

impl Renewal {
    /// The settings of the start.
    pub fn new(first: Renewed) -> Self {
        Self { number: AtomicU64::new(0), latest: Mutex::new(first) }
    }

    /// What is in force.
    pub fn latest(&self) -> Renewed {
        lock::lock(&self.latest).clone()
    }

    /// Replaces what is in force by what `change` makes of it.
    pub fn change(&self, change: impl FnOnce(&Renewed) -> Renewed) {
        let mut latest = lock::lock(&self.latest);
        *latest = change(&latest);
        // Within the lock, so that a number is never newer than what a thread gets for it.
        self.number.fetch_add(1, Ordering::Release);
    }

    /// What is in force, if it is not what it was at the number `seen`.
    pub fn since(&self, seen: &mut u64) -> Option<Renewed> {
        let number = self.number.load(Ordering::Acquire);
        if std::mem::replace(seen, number) == number {
            return None;
        }
        Some(self.latest())
    }
}
