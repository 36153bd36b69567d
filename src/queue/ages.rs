//! How long a request may wait, and how many may.

use crate::config::{self, Config};
use std::time::Duration;

/// The longest useful wait of a request whose client waits for `patience` in all, where a service
/// takes `service` on average: min(T/2, .9 T - S), and no less than T/10. Before the first service
/// it is T/2.
///
/// Half the patience, because at the whole of it everybody is served just too late. What is left of
/// nine tenths of it after a service, because later than that the answer comes too late as well.
/// Not less than a tenth, because the average can be far above the service of most.
pub fn age(patience: Duration, service: Option<Duration>) -> Duration {
    let half = patience / 2;
    let Some(service) = service else { return half };
    half.min((patience / 10 * 9).saturating_sub(service)).max(patience / 10)
}

/// The number of requests that can wait until they are so old: `workers` end that many services in
/// this time. It counts those that begin in this time, so a request that is admitted has a chance.
pub fn bound(workers: usize, age: Duration, service: Duration) -> usize {
    let rounds = age.as_secs_f64() / service.as_secs_f64().max(1e-9);
    let most = (workers as f64 * rounds).ceil() as usize;
    most.clamp(workers, config::QUEUE_MOST)
}

/// The limits of a queue: those that are configured, and those that follow from the patience of
/// clients and the measured service time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    workers: usize,
    patience: Option<Duration>,
    queue: Option<usize>,
    queue_timeout: Option<Duration>,
}

impl Limits {
    /// The limits that a configuration sets.
    pub fn new(config: &Config) -> Self {
        let Config { workers, patience, queue, queue_timeout, .. } = *config;
        Self { workers, patience, queue, queue_timeout }
    }

    /// The longest wait of a request that brings a patience of its `own`, or of one that does not.
    pub fn age(&self, own: Option<Duration>, service: Option<Duration>) -> Duration {
        let patience = own.into_iter().chain(self.patience).min();
        let of_patience = patience.map(|patience| age(patience, service));
        match self.queue_timeout {
            Some(timeout) if own.is_none() => timeout,
            Some(timeout) => of_patience.map_or(timeout, |age| age.min(timeout)),
            None => of_patience.unwrap_or(config::QUEUE_TIMEOUT),
        }
    }

    /// A wait that is never too long, whatever the service time is.
    pub fn least_age(&self, own: Option<Duration>) -> Duration {
        self.age(own, Some(Duration::MAX))
    }

    /// The number of requests that may wait.
    pub fn bound(&self, service: Option<Duration>) -> usize {
        match (self.queue, self.patience, service) {
            (Some(queue), ..) => queue,
            (None, Some(_), Some(service)) => {
                bound(self.workers, self.age(None, Some(service)), service)
            }
            _ => config::QUEUE,
        }
    }

    /// How long a measured service time says something about the next one: ten times as long as
    /// clients wait.
    pub fn memory(&self) -> Duration {
        self.patience.map_or(Duration::MAX, |patience| patience.saturating_mul(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_follows_the_patience_and_the_service() {
        let millis = Duration::from_millis;
        let rows = [
            (200, None, 100),
            (200, Some(20), 100),
            (200, Some(60), 100),
            (200, Some(80), 100),
            (200, Some(120), 60),
            (200, Some(160), 20),
            (200, Some(10_000), 20),
            (0, Some(20), 0),
        ];
        for (patience, service, expected) in rows {
            let found = age(millis(patience), service.map(millis));
            assert_eq!(found, millis(expected), "T = {patience} ms, S = {service:?} ms");
        }
        assert!(age(Duration::MAX, Some(Duration::MAX)) <= Duration::MAX / 2);
    }

    #[test]
    fn the_bound_is_what_the_workers_serve_in_this_time() {
        let millis = Duration::from_millis;
        let rows = [(4, 100, 20, 20), (4, 60, 120, 4), (1, 100, 30, 4), (8, 100, 1000, 8)];
        for (workers, age, service, expected) in rows {
            assert_eq!(bound(workers, millis(age), millis(service)), expected);
        }
        assert_eq!(bound(4, millis(100), Duration::ZERO), config::QUEUE_MOST);
    }
}
