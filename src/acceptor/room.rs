//! Room for others when places or memory run out: who has brought least gives up theirs.

use super::Acceptor;
use crate::config;
use crate::connection::{Standing, Step};
use std::sync::Arc;
use std::time::Instant;

/// Those who go first, as the last look at all connections found them.
#[derive(Debug)]
pub(super) struct Candidates {
    /// Where they are parked; who has brought least comes last.
    found: Vec<(Standing, usize)>,
    /// They are looked for again from then on. A look costs time for each connection, and under
    /// attack each new client asks for one: looks are rare enough that they take a small share of
    /// the acceptor's time, however many connections there are.
    pub(super) next_look: Instant,
    /// The same for those who hold memory.
    next_relief: Instant,
}

impl Candidates {
    pub(super) fn new(now: Instant) -> Self {
        Self { found: Vec::new(), next_look: now, next_relief: now }
    }
}

impl Acceptor {
    /// Closes the connection that has brought least; false where all keep their places for now.
    pub(super) fn make_room(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.candidates.next_look {
            self.look_for_candidates(now);
        }
        while let Some((_, key)) = self.candidates.found.pop() {
            if self.displace(key, now) {
                return true;
            }
        }
        false
    }

    /// Closes the connection of a key, if it may be; true where it is gone.
    fn displace(&mut self, key: usize, now: Instant) -> bool {
        let config = Arc::clone(&self.context.config);
        let candidate = self.parking.take_if(key, |of| of.standing(now, &config).is_some());
        let Some(connection) = candidate else { return false };
        // What has come is read before it is judged.
        let step = match connection.advance(&mut self.context) {
            Step::Park(connection, interest) => match connection.standing(now, &config) {
                Some(_) => connection.give_up_place(&mut self.context),
                None => Step::Park(connection, interest),
            },
            step => step,
        };
        let is_gone = matches!(step, Step::Close(..));
        self.carry_out(step);
        is_gone
    }

    /// Keeps some memory free for those who come next: where it runs short, those who hold some and
    /// have brought least give up theirs. Idle connections hold too little to be of use.
    pub(super) fn relieve_memory(&mut self) {
        let config = Arc::clone(&self.context.config);
        let spare = config.memory.most() / config::MEMORY_SPARE;
        let now = Instant::now();
        if config.memory.has_room(spare) || now < self.candidates.next_relief {
            return;
        }
        let mut found = Vec::new();
        self.parking.for_each(|key, connection| {
            let standing = connection.standing(now, &config).filter(|_| connection.holds_memory());
            found.extend(standing.map(|standing| (standing, key)));
        });
        found.sort_unstable();
        let pause = config::LOOK_PAUSE.max(now.elapsed() * config::LOOK_SHARE);
        self.candidates.next_relief = now + pause;
        for (_, key) in found {
            if config.memory.has_room(2 * spare) {
                return;
            }
            self.displace(key, now);
        }
    }

    fn look_for_candidates(&mut self, now: Instant) {
        let config = Arc::clone(&self.context.config);
        let found = &mut self.candidates.found;
        found.clear();
        self.parking.for_each(|key, connection| {
            found.extend(connection.standing(now, &config).map(|standing| (standing, key)));
        });
        found.sort_unstable_by(|one, other| other.cmp(one));
        let pause = config::LOOK_PAUSE.max(now.elapsed() * config::LOOK_SHARE);
        self.candidates.next_look = now + pause;
    }
}
