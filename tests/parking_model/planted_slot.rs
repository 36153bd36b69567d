//! A copy of `src/parking/slot.rs` with bugs that a test can switch on.

use super::primitives::Mutex;
use std::cell::Cell;
use std::io;
use std::sync::PoisonError;

/// The bug that is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    None,
    /// An event that finds the slot empty leaves no note.
    EventLeavesNoNote,
    /// `put` arms the connection before it takes the lock to store it.
    ArmsUnlocked,
    /// `put` ignores the notes.
    NotesIgnored,
    /// A nudge that finds the slot empty leaves no note.
    NudgeLeavesNoNote,
    /// An event that finds the slot empty removes the note of a nudge.
    EventRemovesNudge,
    /// A nudge leaves a note even if a connection is parked, and does not arm it.
    NudgeOnlyNotes,
}

thread_local! {
    /// A thread-local is enough: all threads of a model run on one thread of the system.
    pub static BUG: Cell<Bug> = const { Cell::new(Bug::None) };
}

fn has(bug: Bug) -> bool {
    BUG.get() == bug
}

#[derive(Debug)]
pub struct Slot<T>(Mutex<SlotState<T>>);

#[derive(Debug)]
struct SlotState<T> {
    connection: Option<Box<T>>,
    notes: Notes,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Notes {
    pub missed: bool,
    pub nudged: bool,
}

impl<T> Slot<T> {
    pub fn new() -> Self {
        Self(Mutex::new(SlotState { connection: None, notes: Notes::default() }))
    }

    pub fn put(
        &self,
        mut connection: Box<T>,
        arm: impl FnOnce(&mut T, Notes) -> io::Result<()>,
    ) -> Result<(), (Box<T>, io::Error)> {
        if has(Bug::ArmsUnlocked) {
            let notes = self.with(|state| std::mem::take(&mut state.notes));
            if let Err(error) = arm(&mut connection, notes) {
                return Err((connection, error));
            }
            self.with(|state| state.connection = Some(connection));
            return Ok(());
        }
        self.with(|state| {
            let mut notes = std::mem::take(&mut state.notes);
            if has(Bug::NotesIgnored) {
                notes = Notes::default();
            }
            match arm(&mut connection, notes) {
                Ok(()) => {
                    state.connection = Some(connection);
                    Ok(())
                }
                Err(error) => Err((connection, error)),
            }
        })
    }

    pub fn take_unless(&self, stays: impl FnOnce(&mut T) -> bool) -> Option<Box<T>> {
        self.with(|state| {
            let is_empty = state.connection.is_none();
            state.notes.missed = is_empty && !has(Bug::EventLeavesNoNote);
            state.notes.nudged &= !has(Bug::EventRemovesNudge);
            state.connection.take_if(|connection| !stays(connection))
        })
    }

    pub fn take_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<Box<T>> {
        self.with(|state| state.connection.take_if(|connection| wanted(connection)))
    }

    pub fn nudge(&self, arm: impl FnOnce(&mut T) -> io::Result<()>) -> io::Result<()> {
        self.with(|state| match &mut state.connection {
            Some(connection) if !has(Bug::NudgeOnlyNotes) => arm(connection),
            _ => {
                state.notes.nudged = !has(Bug::NudgeLeavesNoNote);
                Ok(())
            }
        })
    }

    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.with(|state| state.connection.as_deref().map(look))
    }

    fn with<R>(&self, action: impl FnOnce(&mut SlotState<T>) -> R) -> R {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
