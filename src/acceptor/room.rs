//! Room for new clients when all places are taken: who has brought least gives up theirs.

use super::Acceptor;
use crate::config;
use crate::connection::{Claim, Step};
use std::sync::Arc;
use std::time::Instant;

/// Those who go first, as the last look at all connections found them.
#[derive(Debug)]
pub(super) struct Candidates {
    /// Where they are parked; who has brought least comes last.
    found: Vec<(Claim, usize)>,
    /// They are looked for again from then on. A look costs time for each connection, and under
    /// attack each new client asks for one: looks are rare enough that they take a small share of
    /// the acceptor's time, however many connections there are.
    pub(super) next_look: Instant,
}

impl Candidates {
    pub(super) fn new(now: Instant) -> Self {
        Self { found: Vec::new(), next_look: now }
    }
}

impl Acceptor {
    /// Closes the connection that has brought least; false where all keep their places for now.
    pub(super) fn make_room(&mut self) -> bool {
        let config = Arc::clone(&self.context.config);
        let now = Instant::now();
        if now >= self.candidates.next_look {
            self.look_for_candidates(now);
        }
        while let Some((_, key)) = self.candidates.found.pop() {
            let candidate = self.parking.take_if(key, |of| of.claim(now, &config).is_some());
            let Some(connection) = candidate else { continue };
            // What has come is read before it is judged.
            let step = match connection.advance(&mut self.context) {
                Step::Park(connection, interest) => match connection.claim(now, &config) {
                    Some(_) => connection.give_up_place(&mut self.context),
                    None => Step::Park(connection, interest),
                },
                step => step,
            };
            let is_gone = matches!(step, Step::Close(..));
            self.carry_out(step);
            if is_gone {
                return true;
            }
        }
        false
    }

    fn look_for_candidates(&mut self, now: Instant) {
        let config = Arc::clone(&self.context.config);
        let found = &mut self.candidates.found;
        found.clear();
        self.parking.for_each(|key, connection| {
            found.extend(connection.claim(now, &config).map(|claim| (claim, key)));
        });
        found.sort_unstable_by(|one, other| other.cmp(one));
        let pause = config::LOOK_PAUSE.max(now.elapsed() * config::LOOK_SHARE);
        self.candidates.next_look = now + pause;
    }
}
