//! Who may measure now: three programs at a time, or one alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The places of programs that measure. Programs wait for most of their time, so that three need
/// less than half of two processors.
static MEASURING: [Mutex<()>; 3] = [const { Mutex::new(()) }; 3];

/// The number of programs that measure now, and the number that have started so far.
static COUNT: Mutex<(usize, u64)> = Mutex::new((0, 0));

/// The right to measure, until this is dropped.
pub struct Permit {
    _places: Vec<MutexGuard<'static, ()>>,
    /// The number that had started, if no other program measured then.
    alone_as: Option<u64>,
}

impl Permit {
    /// Shares the machine with at most two other programs.
    pub fn shared() -> Self {
        let free = MEASURING.iter().find_map(|place| place.try_lock().ok());
        Self::with(vec![free.unwrap_or_else(|| lock(&MEASURING[0]))])
    }

    /// Shares the machine with no other program.
    pub fn alone() -> Self {
        // A thread that holds one place waits for no other, so there is no deadlock.
        Self::with(MEASURING.iter().map(lock).collect())
    }

    fn with(places: Vec<MutexGuard<'static, ()>>) -> Self {
        let mut count = lock(&COUNT);
        let (now, begun) = &mut *count;
        *now += 1;
        *begun += 1;
        Self { _places: places, alone_as: (*now == 1).then_some(*begun) }
    }

    pub fn had_company(&self) -> bool {
        self.alone_as != Some(lock(&COUNT).1)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        lock(&COUNT).0 -= 1;
    }
}

/// A failed test leaves the lock usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
