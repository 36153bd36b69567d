//! Which clients had the most of something lately, in a bounded amount of memory.
//!
//! The counters are those of Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient computation
//! of frequent and top-k elements in data streams", ICDT 2005): a client without a counter takes
//! the smallest one over, and remembers what it has inherited. A client with more than 1/64 of the
//! total always has a counter.

use crate::config;
use std::net::IpAddr;
use std::time::Instant;

/// Amounts by client, of the period that runs and of the one before. So it covers one to two
/// periods of [`config::RECENT`], and forgets what is older.
#[derive(Debug, Default)]
pub struct Recent {
    current: Top,
    previous: Top,
    /// When the current period began.
    since: Option<Instant>,
}

/// The largest amounts of one period.
#[derive(Debug, Default)]
struct Top {
    counters: Vec<Counter>,
    total: u64,
}

#[derive(Debug)]
struct Counter {
    client: IpAddr,
    amount: u64,
    /// The part of the amount that may belong to others.
    inherited: u64,
}

impl Recent {
    /// Adds an amount to a client's.
    pub fn add(&mut self, client: IpAddr, amount: u64, now: Instant) {
        self.forget(now);
        self.current.add(client, amount);
    }

    /// Forgets what is old at `now`.
    pub fn forget(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let periods = now.saturating_duration_since(since).as_nanos() / config::RECENT.as_nanos();
        if periods > 0 {
            let ended = std::mem::take(&mut self.current);
            self.previous = if periods == 1 { ended } else { Top::default() };
            self.since = Some(now);
        }
    }

    /// What a client had, at least. It is exact while there are no more clients than counters.
    pub fn of(&self, client: IpAddr) -> u64 {
        self.current.of(client).saturating_add(self.previous.of(client))
    }

    /// What all clients had.
    pub fn total(&self) -> u64 {
        self.current.total.saturating_add(self.previous.total)
    }

    /// The clients that had the most, at most this many, without an order.
    pub fn busiest(&self, most: usize) -> impl Iterator<Item = IpAddr> {
        let counters = self.current.counters.iter().chain(&self.previous.counters);
        let mut clients: Vec<IpAddr> = counters.map(|counter| counter.client).collect();
        clients.sort_unstable();
        clients.dedup();
        clients.sort_by_cached_key(|&client| std::cmp::Reverse(self.of(client)));
        clients
            .into_iter()
            .filter(|&client| self.of(client) > 0)
            .take(most)
            .collect::<Vec<_>>()
            .into_iter()
    }
}

impl Top {
    fn add(&mut self, client: IpAddr, amount: u64) {
        self.total = self.total.saturating_add(amount);
        if let Some(counter) = self.counters.iter_mut().find(|of| of.client == client) {
            counter.amount = counter.amount.saturating_add(amount);
            return;
        }
        let fresh = |inherited: u64| Counter {
            client,
            amount: inherited.saturating_add(amount),
            inherited,
        };
        if self.counters.len() < config::RECENT_CLIENTS {
            self.counters.push(fresh(0));
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|of| of.amount) {
            *least = fresh(least.amount);
        }
    }

    fn of(&self, client: IpAddr) -> u64 {
        let counter = self.counters.iter().find(|of| of.client == client);
        counter.map_or(0, |counter| counter.amount - counter.inherited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn client(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn amounts_are_exact_while_clients_are_few() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        for round in 0..100 {
            for number in 0..config::RECENT_CLIENTS as u32 {
                if round % (number + 1) == 0 {
                    recent.add(client(number), 2, now);
                }
            }
        }
        assert_eq!((recent.of(client(0)), recent.of(client(1))), (200, 100));
        assert_eq!(recent.of(client(63)), 4);
        assert_eq!(recent.of(client(64)), 0);
        let busiest: Vec<IpAddr> = recent.busiest(2).collect();
        assert_eq!(busiest, [client(0), client(1)]);
    }

    /// Half a million clients come once each, and one sends a tenth of all. Its amount is near the
    /// truth and never above it, nobody else is blamed for much, and the memory stays the same.
    #[test]
    fn one_that_is_busy_is_found_among_many_and_nobody_is_blamed_for_others() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        let greedy = client(u32::MAX);
        for number in 0..500_000 {
            recent.add(client(number), 1, now);
            if number % 9 == 0 {
                recent.add(greedy, 1, now);
            }
        }
        let (sent, total) = (500_000_u64.div_ceil(9), recent.total());
        assert_eq!(total, 500_000 + sent);
        assert_eq!(recent.busiest(1).collect::<Vec<_>>(), [greedy]);
        let found = recent.of(greedy);
        assert!(found <= sent && found >= sent - total / 64, "{found} of {sent}");
        let others = recent.busiest(100).filter(|&of| of != greedy);
        assert_eq!(others.map(|of| recent.of(of)).max(), Some(1));
        assert_eq!(recent.current.counters.len(), config::RECENT_CLIENTS);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        let at = |periods: f64| start + config::RECENT.mul_f64(periods);
        recent.add(client(1), 5, start);
        recent.add(client(1), 2, at(0.9));
        recent.add(client(2), 3, at(1.1));
        assert_eq!((recent.of(client(1)), recent.of(client(2)), recent.total()), (7, 3, 10));
        recent.forget(at(2.2));
        assert_eq!((recent.of(client(1)), recent.of(client(2)), recent.total()), (0, 3, 3));
        recent.forget(at(4.3));
        assert_eq!((recent.busiest(10).count(), recent.total()), (0, 0));
        // A clock that stands still is no error.
        recent.add(client(1), 1, start + Duration::from_nanos(1));
        assert_eq!(recent.of(client(1)), 1);
    }
}
