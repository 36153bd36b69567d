//! A slot for one parked connection, under its own lock.

use super::primitives::Mutex;
use std::io;
use std::sync::PoisonError;

/// The slot of one descriptor number.
#[derive(Debug)]
pub struct Slot<T>(Mutex<SlotState<T>>);

#[derive(Debug)]
struct SlotState<T> {
    connection: Option<Box<T>>,
    /// Notes for the connection that parks here next. There are none while one is parked.
    notes: Notes,
}

/// Events and nudges that came while a slot was empty.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Notes {
    /// There was an event. What it reported may be gone.
    pub missed: bool,
    /// There was a nudge. It must be reported in any case.
    pub nudged: bool,
}

impl<T> Slot<T> {
    /// An empty slot.
    pub fn new() -> Self {
        Self(Mutex::new(SlotState { connection: None, notes: Notes::default() }))
    }

    /// Arms the connection and stores it. If arming fails, returns it.
    ///
    /// The event may come before this returns. The thread that receives it then waits for the lock,
    /// which is held across at most one system call that does not block.
    pub fn put(
        &self,
        mut connection: Box<T>,
        arm: impl FnOnce(&mut T, Notes) -> io::Result<()>,
    ) -> Result<(), (Box<T>, io::Error)> {
        self.with(|state| {
            debug_assert!(state.connection.is_none(), "a descriptor has one owner");
            match arm(&mut connection, std::mem::take(&mut state.notes)) {
                Ok(()) => {
                    state.connection = Some(connection);
                    Ok(())
                }
                Err(error) => Err((connection, error)),
            }
        })
    }

    /// Takes out the connection for an event, unless it `stays`. If there is none, leaves a note.
    pub fn take_unless(&self, stays: impl FnOnce(&mut T) -> bool) -> Option<Box<T>> {
        self.with(|state| {
            state.notes.missed = state.connection.is_none();
            state.connection.take_if(|connection| !stays(connection))
        })
    }

    /// Takes out the connection if it is `wanted`.
    pub fn take_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<Box<T>> {
        self.with(|state| state.connection.take_if(|connection| wanted(connection)))
    }

    /// Arms the connection again. If there is none, leaves a note, so that the next one is
    /// reported.
    pub fn nudge(&self, arm: impl FnOnce(&mut T) -> io::Result<()>) -> io::Result<()> {
        self.with(|state| match &mut state.connection {
            Some(connection) => arm(connection),
            None => {
                state.notes.nudged = true;
                Ok(())
            }
        })
    }

    /// Calls `look` with the connection, if there is one.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.with(|state| state.connection.as_deref().map(look))
    }

    fn with<R>(&self, action: impl FnOnce(&mut SlotState<T>) -> R) -> R {
        // The value is valid at every moment, so a panic elsewhere cannot have left it half
        // changed.
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
