//! Room for others when places or memory run out: the connections that have sent least close.

use super::Acceptor;
use crate::config;
use crate::connection::{Connection, Next, Standing};
use crate::memory::MemoryUse;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The connections that close first, as of the last search.
#[derive(Debug)]
pub(super) struct Candidates {
    /// Their keys in the parking table; the connection with the least standing comes last.
    found: Vec<(Standing, usize)>,
    /// The earliest time of the next search. A search visits every connection, and under attack
    /// each new client asks for one. So searches are rare enough to take a small share of the
    /// acceptor's time.
    pub(super) next_look: Instant,
    /// The same for a search for memory.
    next_relief: Instant,
}

impl Candidates {
    pub(super) fn new(now: Instant) -> Self {
        Self { found: Vec::new(), next_look: now, next_relief: now }
    }
}

impl Acceptor {
    /// Closes the connection with the least standing; false if all keep their places for now.
    pub(super) fn make_room(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.candidates.next_look {
            self.look_for_candidates(now);
        }
        while let Some((_, key)) = self.candidates.found.pop() {
            if self.displace(key, false, now) {
                return true;
            }
        }
        false
    }

    /// Closes the connection of a key, if it has a standing; true if it is closed.
    fn displace(&mut self, key: usize, lacks_memory: bool, now: Instant) -> bool {
        let config = Arc::clone(&self.context.config);
        let candidate = self.parking.take_if(key, |of| of.standing(now, &config).is_some());
        let Some(mut connection) = candidate else { return false };
        // Read what has arrived before judging.
        let mut next = connection.advance(&mut self.context);
        if matches!(next, Next::Park(_)) && connection.standing(now, &config).is_some() {
            next = connection.give_up_place(lacks_memory, &mut self.context);
        }
        let is_gone = matches!(next, Next::Close(_));
        self.carry_out(connection, next);
        is_gone
    }

    /// Keeps some memory free for the next requests. When memory is short, connections with little
    /// standing close: idle ones if idle connections hold most of it, otherwise those that hold
    /// more than the fixed amount of each connection.
    pub(super) fn relieve_memory(&mut self) {
        let memory = &self.context.config.memory;
        let (most, spare) = (memory.most(), memory.most() / config::MEMORY_SPARE);
        // The check of each round, and true in nearly all of them.
        if memory.has_room(spare) {
            return;
        }
        let now = Instant::now();
        if now < self.candidates.next_relief {
            return;
        }
        let memory = memory.clone();
        let of_idle = memory.held_for(MemoryUse::Connections) > most / 2;
        let (found, pause) = self.look(now, |connection, standing| match standing {
            Standing::Idle(_) => of_idle,
            _ => !of_idle && connection.holds_memory(),
        });
        self.candidates.next_relief = now + pause;
        for (_, key) in found.into_iter().rev() {
            if memory.has_room(2 * spare) {
                return;
            }
            self.displace(key, true, now);
        }
    }

    fn look_for_candidates(&mut self, now: Instant) {
        let (found, pause) = self.look(now, |_, _| true);
        self.candidates.found = found;
        self.candidates.next_look = now + pause;
    }

    /// The connections with a `wanted` standing, the least one last, and the pause before the next
    /// search.
    fn look(
        &self,
        now: Instant,
        wanted: impl Fn(&Connection, &Standing) -> bool,
    ) -> (Vec<(Standing, usize)>, Duration) {
        let config = &self.context.config;
        let mut found = Vec::new();
        self.parking.for_each(|key, connection| {
            let standing = connection.standing(now, config);
            let standing = standing.filter(|standing| wanted(connection, standing));
            found.extend(standing.map(|standing| (standing, key)));
        });
        found.sort_unstable_by(|one, other| other.cmp(one));
        (found, config::LOOK_PAUSE.max(now.elapsed() * config::LOOK_SHARE))
    }
}
