//! A copy of `src/parking/slot.rs` that makes a mistake on demand.

use super::primitives::Mutex;
use std::cell::Cell;
use std::io;
use std::sync::PoisonError;

/// What the slots do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    None,
    /// An event that finds nobody leaves no note.
    EventLeavesNoNote,
    /// The guest is armed first and put in afterwards, without the lock over both.
    ArmsUnlocked,
    /// Who parks does not heed what came meanwhile.
    NotesUnheeded,
    /// A nudge that finds nobody leaves no note.
    NudgeLeavesNoNote,
    /// An event that finds nobody takes a nudge's note away.
    EventDropsNudge,
    /// A nudge finds somebody, and is left for the next one all the same.
    NudgeOnlyNotes,
}

thread_local! {
    /// All threads of a model are one of the system.
    pub static BUG: Cell<Bug> = const { Cell::new(Bug::None) };
}

fn has(bug: Bug) -> bool {
    BUG.get() == bug
}

#[derive(Debug)]
pub struct Slot<T>(Mutex<Bay<T>>);

#[derive(Debug)]
struct Bay<T> {
    guest: Option<Box<T>>,
    notes: Notes,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Notes {
    pub missed: bool,
    pub nudged: bool,
}

impl<T> Slot<T> {
    pub fn new() -> Self {
        Self(Mutex::new(Bay { guest: None, notes: Notes::default() }))
    }

    pub fn put(
        &self,
        mut guest: Box<T>,
        arm: impl FnOnce(&mut T, Notes) -> io::Result<()>,
    ) -> Result<(), (Box<T>, io::Error)> {
        if has(Bug::ArmsUnlocked) {
            let notes = self.with(|bay| std::mem::take(&mut bay.notes));
            if let Err(error) = arm(&mut guest, notes) {
                return Err((guest, error));
            }
            self.with(|bay| bay.guest = Some(guest));
            return Ok(());
        }
        self.with(|bay| {
            let mut notes = std::mem::take(&mut bay.notes);
            if has(Bug::NotesUnheeded) {
                notes = Notes::default();
            }
            match arm(&mut guest, notes) {
                Ok(()) => {
                    bay.guest = Some(guest);
                    Ok(())
                }
                Err(error) => Err((guest, error)),
            }
        })
    }

    pub fn take(&self) -> Option<Box<T>> {
        self.with(|bay| {
            let guest = bay.guest.take();
            bay.notes.missed = guest.is_none() && !has(Bug::EventLeavesNoNote);
            bay.notes.nudged &= !has(Bug::EventDropsNudge);
            guest
        })
    }

    pub fn take_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<Box<T>> {
        self.with(|bay| bay.guest.take_if(|guest| wanted(guest)))
    }

    pub fn nudge(&self, arm: impl FnOnce(&mut T) -> io::Result<()>) -> io::Result<()> {
        self.with(|bay| match &mut bay.guest {
            Some(guest) if !has(Bug::NudgeOnlyNotes) => arm(guest),
            _ => {
                bay.notes.nudged = !has(Bug::NudgeLeavesNoNote);
                Ok(())
            }
        })
    }

    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.with(|bay| bay.guest.as_deref().map(look))
    }

    fn with<R>(&self, duty: impl FnOnce(&mut Bay<T>) -> R) -> R {
        duty(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
