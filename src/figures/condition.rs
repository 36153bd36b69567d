//! The state of a pool over an interval, as one sentence that says what to do.

use super::Figures;
use super::units::{percent, rate, time};
use std::fmt;
use std::time::Duration;

/// From this load on, a pool counts as saturated. Within a few seconds, nothing distinguishes a
/// load just below the capacity from one just above.
const SATURATED: f64 = 0.98;

/// From this load on, queue waits grow fast: at 0.8, the mean wait for a single worker is four
/// service times (M/M/1: rho / (1 - rho)).
const CLOSE: f64 = 0.8;

/// From this utilisation on, the workers are the bottleneck.
const BUSY: f64 = 0.9;

/// The state of a pool over an interval. It displays as a sentence that says what to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// Its kind.
    pub kind: ConditionKind,
    workers: usize,
    elapsed: Duration,
    offered: f64,
    shed: f64,
    capacity: Option<f64>,
    load: f64,
    service: Duration,
    waiting: usize,
    bound: usize,
    age: Duration,
}

/// The kinds of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConditionKind {
    /// No requests arrived.
    Idle,
    /// The load is well below the capacity.
    Normal,
    /// The load is just below the capacity.
    NearSaturation,
    /// Requests were shed although the workers had idle time: they arrived in bursts.
    Overflowing,
    /// The load is at the capacity or above it.
    Saturated,
}

impl ConditionKind {
    /// The label in JSON, on the live page and in the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Normal => "normal",
            Self::NearSaturation => "near saturation",
            Self::Overflowing => "overflowing",
            Self::Saturated => "saturated",
        }
    }
}

impl Figures {
    /// The state of the pool.
    pub fn condition(&self) -> Condition {
        let busy = self.utilisation.total();
        let load = self.load().unwrap_or(0.0);
        let kind = if self.offered == 0.0 && busy == 0.0 {
            ConditionKind::Idle
        } else if busy >= BUSY
            && (self.shed > 0.0 || (load.max(busy) >= SATURATED && self.waiting > 0))
        {
            ConditionKind::Saturated
        } else if self.shed > 0.0 {
            ConditionKind::Overflowing
        } else if load.max(busy) >= CLOSE {
            ConditionKind::NearSaturation
        } else {
            ConditionKind::Normal
        };
        Condition {
            kind,
            workers: self.workers,
            elapsed: self.elapsed,
            offered: self.offered,
            shed: self.shed_share(),
            capacity: self.capacity,
            load,
            service: self.service.mean.unwrap_or_default(),
            waiting: self.waiting,
            bound: self.bound,
            age: self.age,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.kind.label();
        let (pool, are) = match self.workers {
            1 => ("1 worker".to_owned(), "is"),
            workers => (format!("{workers} workers"), "are"),
        };
        let (offered, waiting) = (rate(self.offered), self.waiting);
        let capacity = format!(
            "capacity is {} requests/s ({pool}, {} each)",
            rate(self.capacity.unwrap_or_default()),
            time(self.service)
        );
        let (load, shed) = (percent(self.load), percent(self.shed));
        match self.kind {
            ConditionKind::Idle => {
                let seconds = self.elapsed.as_secs().max(1);
                write!(f, "{word}: no requests in the last {seconds} s")
            }
            _ if self.capacity.is_none() => write!(
                f,
                "{word}: {pool} {are} busy, no request has finished yet, {waiting} waiting"
            ),
            ConditionKind::Normal | ConditionKind::NearSaturation if self.offered == 0.0 => {
                write!(f, "{word}: no new requests, {pool} {are} still busy with earlier ones")
            }
            ConditionKind::Normal => {
                write!(f, "{word}: {offered} requests/s offered, {load} of capacity; {capacity}")
            }
            ConditionKind::NearSaturation => write!(
                f,
                "{word}: {offered} requests/s offered, {load} of capacity; {capacity}; queue waits \
                 grow fast from here"
            ),
            ConditionKind::Overflowing => write!(
                f,
                "{word}: {shed} of requests shed although {pool} had idle time on average: \
                 requests arrive in bursts; let more wait, or add workers"
            ),
            ConditionKind::Saturated => {
                write!(f, "{word}: {offered} requests/s offered; {capacity}; ")?;
                match self.shed {
                    0.0 => write!(f, "{waiting} waiting")?,
                    _ => {
                        let (bound, age) = (self.bound, time(self.age));
                        write!(f, "{shed} shed: at most {bound} wait, for at most {age}")?;
                    }
                }
                write!(f, "; add workers or reduce the service time")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Times, Utilisation};

    fn figures(workers: usize, offered: f64, shed: f64, waiting: usize) -> Figures {
        let service = Duration::from_millis(50);
        let capacity = workers as f64 / service.as_secs_f64();
        let handled = (offered - shed).min(capacity);
        let mean = (handled > 0.0).then_some(service);
        Figures {
            elapsed: Duration::from_secs(5),
            workers,
            offered,
            immediate: 0.0,
            handled,
            shed,
            queue_full: shed,
            expired: 0.0,
            too_many_connections: 0.0,
            no_memory: 0.0,
            utilisation: Utilisation { handle: handled / capacity, ..Utilisation::default() },
            queue_wait: Times::default(),
            service: Times { mean, ..Times::default() },
            capacity: mean.map(|_| capacity),
            service_variation: None,
            expected_queue_wait: None,
            expected_queue_wait_range: None,
            little: None,
            waiting,
            bound: 20,
            age: Duration::from_millis(100),
        }
    }

    #[test]
    fn each_condition_has_its_sentence() {
        let rows = [
            (figures(2, 0.0, 0.0, 0), "idle: no requests in the last 5 s"),
            (
                figures(2, 12.0, 0.0, 0),
                "normal: 12 requests/s offered, 30 % of capacity; capacity is 40 requests/s \
                 (2 workers, 50 ms each)",
            ),
            (
                figures(1, 18.0, 0.0, 3),
                "near saturation: 18 requests/s offered, 90 % of capacity; capacity is 20 \
                 requests/s (1 worker, 50 ms each); queue waits grow fast from here",
            ),
            (
                figures(2, 20.0, 5.0, 0),
                "overflowing: 25 % of requests shed although 2 workers had idle time on average: \
                 requests arrive in bursts; let more wait, or add workers",
            ),
            (
                figures(2, 102.6, 62.6, 8),
                "saturated: 103 requests/s offered; capacity is 40 requests/s (2 workers, 50 ms \
                 each); 61 % shed: at most 20 wait, for at most 100 ms; add workers or reduce the \
                 service time",
            ),
            (
                figures(2, 44.0, 0.0, 17),
                "saturated: 44 requests/s offered; capacity is 40 requests/s (2 workers, 50 ms \
                 each); 17 waiting; add workers or reduce the service time",
            ),
        ];
        for (figures, sentence) in rows {
            assert_eq!(figures.condition().to_string(), sentence);
        }
    }

    #[test]
    fn a_pool_that_has_finished_nothing_yet() {
        let mut busy = figures(2, 0.0, 0.0, 7);
        busy.utilisation.handle = 1.0;
        let mut last = figures(2, 0.0, 0.0, 0);
        (last.utilisation.handle, last.capacity) = (0.2, Some(40.0));
        let still_busy = "normal: no new requests, 2 workers are still busy with earlier ones";
        assert_eq!(last.condition().to_string(), still_busy);
        let sentence = "saturated: 2 workers are busy, no request has finished yet, 7 waiting";
        assert_eq!(busy.condition().to_string(), sentence);
    }
}
