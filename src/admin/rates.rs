//! What the process and its responses take: rates by status class, bytes, refusals, CPU.

use crate::metrics::{Counter, Snapshot};
use serde_json::{Map, Value, json};
use std::time::Duration;

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Rates of an interval, per second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    /// Responses with status 2xx to 5xx.
    classes: [f64; CLASSES.len()],
    bytes_sent: f64,
    /// Requests refused for each of [`Counter::REASONS`].
    refused: [f64; Counter::REASONS.len()],
}

impl Rates {
    /// The rates between two snapshots of one server.
    pub(super) fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let elapsed = after.at.saturating_sub(before.at).as_secs_f64();
        let rate = |before: u64, after: u64| match elapsed > 0.0 {
            true => after.saturating_sub(before) as f64 / elapsed,
            false => 0.0,
        };
        let of = |counter| rate(before.get(counter), after.get(counter));
        Self {
            classes: [2, 3, 4, 5]
                .map(|class| rate(before.responses(class), after.responses(class))),
            bytes_sent: of(Counter::BytesSent),
            refused: Counter::REASONS.map(of),
        }
    }

    /// As an object of JSON.
    pub(super) fn json(&self) -> Value {
        let classes: Map<String, Value> = CLASSES
            .iter()
            .zip(self.classes)
            .map(|(class, rate)| ((*class).to_owned(), rate.into()))
            .collect();
        let refused: Map<String, Value> = Counter::REASONS
            .iter()
            .zip(self.refused)
            .map(|(reason, rate)| (reason.label().to_owned(), rate.into()))
            .collect();
        json!({ "responses": classes, "bytes_sent": self.bytes_sent, "refused": refused })
    }
}

/// The CPU time that this process has used, by all its threads.
pub(super) fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(used.tv_nsec).unwrap_or_default())
}

/// The cores that this process kept busy over an interval.
pub(super) fn cores(before: (Duration, Duration), after: (Duration, Duration)) -> f64 {
    let elapsed = after.0.saturating_sub(before.0).as_secs_f64();
    match elapsed > 0.0 {
        true => after.1.saturating_sub(before.1).as_secs_f64() / elapsed,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::Status;
    use crate::metrics::Metrics;

    #[test]
    fn rates_are_counts_over_the_elapsed_time() {
        let metrics = Metrics::new(1, 0);
        let [acceptor, worker] = [0, 1].map(|thread| metrics.recorder(thread));
        let before = metrics.snapshot(0);
        (0..8).for_each(|_| worker.responded(Status::OK));
        worker.responded(Status::NOT_FOUND);
        worker.count_many(Counter::BytesSent, 4000);
        acceptor.count(Counter::QueueFull);
        let mut after = metrics.snapshot(0);
        after.at = before.at + Duration::from_secs(4);
        let rates = Rates::between(&before, &after).json();
        assert_eq!(rates["responses"], json!({"2xx": 2.0, "3xx": 0.0, "4xx": 0.25, "5xx": 0.0}));
        assert_eq!(rates["bytes_sent"], json!(1000.0));
        assert_eq!(rates["refused"]["queue_full"], json!(0.25));
        // An interval without length has no rates, and no division by nought.
        let none = Rates::between(&after, &after).json();
        assert_eq!(none["responses"]["2xx"], json!(0.0));
    }

    #[test]
    fn the_processor_time_grows_and_gives_cores() {
        let before = cpu_time();
        let sum = (0..200_000_u64).fold(0, |sum, number| sum ^ number.wrapping_mul(sum | 7));
        assert!(std::hint::black_box(sum) < u64::MAX && cpu_time() > before);
        let at = Duration::from_secs;
        assert_eq!(cores((at(10), at(1)), (at(14), at(7))), 1.5);
        assert_eq!(cores((at(10), at(1)), (at(10), at(7))), 0.0);
    }
}
