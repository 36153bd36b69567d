//! One line for all: first in, first out, or last in, first out.

use super::discipline::{Charge, Discipline, Entry, Victim, position, take_expired};
use std::collections::VecDeque;
use std::fmt::Debug;

/// One line, in order of arrival.
#[derive(Debug)]
pub struct Line<T> {
    entries: VecDeque<Entry<T>>,
    newest_first: bool,
}

impl<T> Line<T> {
    /// First in, first out.
    pub fn oldest_first() -> Self {
        Self { entries: VecDeque::new(), newest_first: false }
    }

    /// Last in, first out.
    pub fn newest_first() -> Self {
        Self { entries: VecDeque::new(), newest_first: true }
    }
}

impl<T: Debug + Send> Discipline<T> for Line<T> {
    fn admit(&mut self, entry: Entry<T>) {
        self.entries.push_back(entry);
    }

    fn next(&mut self) -> Option<(Entry<T>, Option<Charge>)> {
        let next =
            if self.newest_first { self.entries.pop_back() } else { self.entries.pop_front() };
        next.map(|entry| (entry, None))
    }

    fn replace(&mut self, newcomer: Entry<T>, victim: Victim) -> Option<Entry<T>> {
        self.entries.push_back(newcomer);
        let at = position(self.entries.len(), victim, |at| self.entries[at].stays)?;
        self.entries.remove(at)
    }

    fn expire(&mut self, is_over: &dyn Fn(&Entry<T>) -> bool) -> Vec<Entry<T>> {
        let mut expired = Vec::new();
        take_expired(&mut self.entries, is_over, &mut expired);
        expired
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}
