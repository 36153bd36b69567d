//! Room for one parked connection, under its own lock.

use super::primitives::Mutex;
use std::io;
use std::sync::PoisonError;

/// The slot of a descriptor's number.
#[derive(Debug)]
pub struct Slot<T>(Mutex<Bay<T>>);

#[derive(Debug)]
struct Bay<T> {
    guest: Option<Box<T>>,
    /// For who parks here next; there are none while somebody is here.
    notes: Notes,
}

/// What came while a slot was empty.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Notes {
    /// An event, of what is still there or not.
    pub missed: bool,
    /// A nudge, which is reported whatever is there.
    pub nudged: bool,
}

impl<T> Slot<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(Mutex::new(Bay { guest: None, notes: Notes::default() }))
    }

    /// Has the guest armed, and takes it in; gives it back if that fails.
    ///
    /// The event may be found before this returns: the finder then waits for the lock, which is
    /// held across one system call at the most, which does not block.
    pub fn put(
        &self,
        mut guest: Box<T>,
        arm: impl FnOnce(&mut T, Notes) -> io::Result<()>,
    ) -> Result<(), (Box<T>, io::Error)> {
        self.with(|bay| {
            debug_assert!(bay.guest.is_none(), "a descriptor has one owner");
            match arm(&mut guest, std::mem::take(&mut bay.notes)) {
                Ok(()) => {
                    bay.guest = Some(guest);
                    Ok(())
                }
                Err(error) => Err((guest, error)),
            }
        })
    }

    /// Takes out the guest of an event, or notes that nobody was there to take.
    pub fn take(&self) -> Option<Box<T>> {
        self.with(|bay| {
            let guest = bay.guest.take();
            bay.notes.missed = guest.is_none();
            guest
        })
    }

    /// Takes out the guest if it is wanted.
    pub fn take_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<Box<T>> {
        self.with(|bay| bay.guest.take_if(|guest| wanted(guest)))
    }

    /// Has the guest armed anew, or notes that the next one is to be reported.
    pub fn nudge(&self, arm: impl FnOnce(&mut T) -> io::Result<()>) -> io::Result<()> {
        self.with(|bay| match &mut bay.guest {
            Some(guest) => arm(guest),
            None => {
                bay.notes.nudged = true;
                Ok(())
            }
        })
    }

    /// Looks at the guest.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.with(|bay| bay.guest.as_deref().map(look))
    }

    fn with<R>(&self, duty: impl FnOnce(&mut Bay<T>) -> R) -> R {
        // The value is whole at every moment, so a panic elsewhere cannot have spoiled it.
        duty(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
