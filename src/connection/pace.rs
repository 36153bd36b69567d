//! How many unsent bytes the kernel buffers for a client: more for one that reads fast.

use crate::config;
use crate::listening;
use crate::parking::Socket;
use std::time::{Duration, Instant};

/// The bound on the unsent bytes of a connection. All its responses share it.
#[derive(Debug)]
pub(super) struct Pace {
    bound: usize,
}

/// A moment at which the socket was full during a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Full {
    /// The bytes of the response sent by then.
    sent: u64,
    at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bound: config::UNSENT_BYTES }
    }
}

impl Pace {
    /// The socket is full. Between the moment `before` and now the client has taken what was sent
    /// meanwhile, so its speed is known, and the bound follows from it. `open` connections share
    /// the total.
    pub(super) fn note_full(
        &mut self,
        before: Option<Full>,
        sent: u64,
        socket: &Socket,
        open: usize,
    ) -> Full {
        let now = Full { sent, at: Instant::now() };
        let taken = before.map(|before| (sent - before.sent, now.at - before.at));
        if let Some((bytes, time)) = taken.filter(|(bytes, _)| *bytes > 0)
            && let Some(bound) = changed(self.bound, bytes, time, open)
            && listening::set_unsent_bound(socket, bound)
        {
            self.bound = bound;
        }
        now
    }
}

/// The next bound for a client that took so many bytes in this time; none if it differs little.
fn changed(bound: usize, bytes: u64, time: Duration, open: usize) -> Option<usize> {
    let rate = bytes as f64 / time.as_secs_f64().max(1e-6);
    let wanted = (rate * config::UNSENT_TIME.as_secs_f64()) as usize;
    let most = (config::UNSENT_TOTAL / open.max(1)).min(config::UNSENT_BYTES_MOST);
    let wanted = wanted.min(most).max(config::UNSENT_BYTES);
    // Each change costs a system call.
    (wanted >= 2 * bound || wanted <= bound / 2).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_the_speed_of_the_reader() {
        let (least, most) = (config::UNSENT_BYTES, config::UNSENT_BYTES_MOST);
        let second = Duration::from_secs(1);
        let fast = 100 * most as u64;
        assert_eq!(changed(least, fast, second, 1), Some(most));
        assert_eq!(changed(most, fast, second, 1), None);
        assert_eq!(changed(least, least as u64, second, 1), None, "slow");
        assert_eq!(changed(most, least as u64, second, 1), Some(least), "it has become slow");
        assert_eq!(changed(least, fast, Duration::ZERO, 1), Some(most));
    }

    #[test]
    fn many_connections_share_the_total() {
        let (least, fast) = (config::UNSENT_BYTES, 1 << 40);
        let second = Duration::from_secs(1);
        let share = config::UNSENT_TOTAL / (2 * least);
        assert_eq!(changed(least, fast, second, share), Some(2 * least));
        assert_eq!(changed(least, fast, second, share + 1), None);
        assert_eq!(changed(2 * least, fast, second, 2 * share), Some(least));
    }
}
