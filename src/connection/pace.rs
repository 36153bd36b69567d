//! How many unsent bytes the kernel buffers for a client: more for one that reads fast.

use crate::config;
use crate::listening;
use crate::memory::{Claim, Memory, MemoryUse};
use crate::parking::Socket;
use std::time::{Duration, Instant};

/// The bound on the unsent bytes of a connection. All its responses share it.
#[derive(Debug)]
pub(super) struct Pace {
    bound: usize,
    /// For what exceeds [`config::UNSENT_BYTES`].
    grant: Option<Claim>,
}

/// A moment at which the socket was full during a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Full {
    /// The bytes of the response sent by then.
    sent: u64,
    at: Instant,
}

impl Full {
    /// True if nothing was sent since.
    pub(super) fn is_at(self, sent: u64) -> bool {
        self.sent == sent
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { bound: config::UNSENT_BYTES, grant: None }
    }
}

impl Pace {
    /// The socket is full. Between the moment `before` and now the client has taken what was sent
    /// meanwhile, so its speed is known, and the bound follows from it.
    pub(super) fn note_full(
        &mut self,
        before: Option<Full>,
        sent: u64,
        socket: &Socket,
        budget: &Memory,
    ) -> Full {
        let now = Full { sent, at: Instant::now() };
        if let Some(before) = before.filter(|before| sent > before.sent) {
            self.follow(sent - before.sent, now.at - before.at, socket, budget);
        }
        now
    }

    /// Has the bound follow the speed of a client that took so many bytes in this time. It grows
    /// only if the budget for all connections has room.
    pub(super) fn follow(&mut self, bytes: u64, time: Duration, socket: &Socket, budget: &Memory) {
        let Some(bound) = changed(self.bound, bytes, time) else { return };
        let extra = (bound - config::UNSENT_BYTES) as u64;
        let fits = match &mut self.grant {
            Some(grant) => grant.resize(extra),
            None => {
                self.grant = budget.claim(MemoryUse::Responses, extra);
                self.grant.is_some()
            }
        };
        if fits && listening::set_unsent_bound(socket, bound) {
            self.bound = bound;
        }
    }
}

/// The next bound for a client that took so many bytes in this time; none if it differs little.
fn changed(bound: usize, bytes: u64, time: Duration) -> Option<usize> {
    let rate = bytes as f64 / time.as_secs_f64().max(1e-6);
    let wanted = (rate * config::UNSENT_TIME.as_secs_f64()) as usize;
    let wanted = wanted.clamp(config::UNSENT_BYTES, config::UNSENT_BYTES_MOST);
    // Each change costs a system call.
    (wanted >= 2 * bound || wanted <= bound / 2).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::sending::tests::pair;

    #[test]
    fn the_bound_follows_the_speed_of_the_reader() {
        let (least, most) = (config::UNSENT_BYTES, config::UNSENT_BYTES_MOST);
        let second = Duration::from_secs(1);
        let fast = 100 * most as u64;
        assert_eq!(changed(least, fast, second), Some(most));
        assert_eq!(changed(most, fast, second), None);
        assert_eq!(changed(least, least as u64, second), None, "slow");
        assert_eq!(changed(most, least as u64, second), Some(least), "it has become slow");
        assert_eq!(changed(least, fast, Duration::ZERO), Some(most));
    }

    /// What all connections may have together is never exceeded, and comes back.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_bounds_of_all_connections_fit_into_their_budget() {
        let (least, most) = (config::UNSENT_BYTES, config::UNSENT_BYTES_MOST);
        let budget = Memory::new(2 * most as u64);
        let (socket, _reader) = pair();
        let fast = |pace: &mut Pace| {
            pace.follow(1 << 40, Duration::from_secs(1), &socket, &budget);
            pace.bound
        };
        let mut all: [Pace; 3] = Default::default();
        assert_eq!(all.each_mut().map(fast), [most, most, least], "the last one found no room");
        assert_eq!(budget.held(), 2 * (most - least) as u64);
        all[0].follow(1, Duration::from_secs(1), &socket, &budget);
        assert_eq!((all[0].bound, fast(&mut all[2])), (least, most), "it has become slow");
        drop(all);
        assert_eq!(budget.held(), 0);
    }
}
