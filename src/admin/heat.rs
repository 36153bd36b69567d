//! How long requests waited and were served, by duration, over the last minutes.

use super::seconds;
use crate::config;
use crate::metrics::{Distribution, Snapshot};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// Upper bounds of the rows: four for each factor of ten, from 10 us to 100 s, and one without a
/// bound.
const ROWS: usize = 4 * 7 + 2;

/// The first upper bound, in seconds.
const FIRST: f64 = 1e-5;

/// The columns of a heat map.
#[derive(Debug)]
pub(super) struct Heat {
    last: Snapshot,
    columns: VecDeque<Column>,
}

#[derive(Debug)]
struct Column {
    at: Duration,
    queue_wait: Counts,
    service: Counts,
}

/// The durations of one column.
#[derive(Debug)]
struct Counts {
    rows: [u32; ROWS],
    p50: Option<Duration>,
    p99: Option<Duration>,
}

/// The upper bound of a row, in seconds.
fn bound(row: usize) -> f64 {
    FIRST * 10_f64.powf(row as f64 / 4.0)
}

impl Counts {
    fn of(distribution: &Distribution) -> Self {
        let mut below = 0;
        let rows = std::array::from_fn(|row| {
            let up_to = match row == ROWS - 1 {
                true => distribution.count(),
                false => distribution.count_up_to(Duration::from_secs_f64(bound(row))),
            };
            let count = up_to.saturating_sub(below);
            below = up_to.max(below);
            u32::try_from(count).unwrap_or(u32::MAX)
        });
        Self { rows, p50: distribution.quantile(0.5), p99: distribution.quantile(0.99) }
    }

    fn json(&self) -> Value {
        json!({ "counts": self.rows, "p50": seconds(self.p50), "p99": seconds(self.p99) })
    }
}

impl Heat {
    pub(super) fn new(first: &Snapshot) -> Self {
        Self { last: first.clone(), columns: VecDeque::new() }
    }

    /// Adds a sample. A column ends with the first sample after its time.
    pub(super) fn add(&mut self, snapshot: &Snapshot) {
        if snapshot.at < self.last.at + config::HEAT_STEP {
            return;
        }
        if self.columns.len() == config::HEAT_STEPS {
            self.columns.pop_front();
        }
        let of = |now: &Distribution, before| Counts::of(&now.since(before));
        self.columns.push_back(Column {
            at: snapshot.at,
            queue_wait: of(&snapshot.queue_wait, &self.last.queue_wait),
            service: of(&snapshot.service, &self.last.service),
        });
        self.last = snapshot.clone();
    }

    pub(super) fn json(&self) -> Value {
        let column = |column: &Column| {
            json!({
                "at": column.at.as_secs_f64(),
                "queue_wait": column.queue_wait.json(),
                "service": column.service.json(),
            })
        };
        json!({
            "step": config::HEAT_STEP.as_secs_f64(),
            "bounds": (0..ROWS - 1).map(bound).collect::<Vec<_>>(),
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
        })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.columns.len() * size_of::<Column>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_one_row() {
        let mut distribution = Distribution::default();
        for micros in [0, 3, 50, 1_000, 40_000, 40_001, 7_000_000, 900_000_000] {
            distribution.record(Duration::from_micros(micros));
        }
        let counts = Counts::of(&distribution);
        assert_eq!(counts.rows.iter().sum::<u32>(), 8);
        assert_eq!((counts.rows[0], counts.rows[ROWS - 1]), (2, 1));
        let row = counts.rows.iter().position(|&count| count == 2 && bound(0) < 1.0);
        assert_eq!(row, Some(0));
        let forty = (1..ROWS).find(|&row| counts.rows[row] == 2).unwrap_or(0);
        assert!(bound(forty - 1) < 0.04 && bound(forty) >= 0.04, "{}", bound(forty));
        assert!((bound(ROWS - 2) - 100.0).abs() < 1e-6);
    }
}
