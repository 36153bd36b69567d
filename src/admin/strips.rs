//! What each worker did between two samples, over the last minute.

use crate::config;
use crate::metrics::{Activity, Snapshot, WorkerTimes};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

/// The activities of a cell; the rest of its time was idle.
const SHOWN: [Activity; 3] = [Activity::Parse, Activity::Handle, Activity::Respond];

/// Shares of a worker's time, each between 0 and 1: parse, handle, respond.
pub(super) type Shares = [f64; SHOWN.len()];

/// The shares in each interval between samples. Up to [`config::STRIPS`] workers have a row each.
/// More of them are sorted by how busy they were, and each row is the mean of some of them.
#[derive(Debug, Default)]
pub(super) struct Strips {
    columns: VecDeque<Column>,
}

/// The interval that ends at this time. The shares are in 255ths, so that a minute of it is small.
#[derive(Debug)]
struct Column {
    at: Duration,
    cells: Box<[[u8; SHOWN.len()]]>,
}

/// The shares of each worker between two snapshots.
pub(super) fn shares(before: &Snapshot, after: &Snapshot) -> Vec<Shares> {
    let elapsed = after.at.saturating_sub(before.at).as_secs_f64();
    let of = |(earlier, later): (&WorkerTimes, &WorkerTimes)| {
        SHOWN.map(|activity| {
            let spent = later.spent(activity).saturating_sub(earlier.spent(activity));
            if elapsed > 0.0 { (spent.as_secs_f64() / elapsed).min(1.0) } else { 0.0 }
        })
    };
    before.workers.iter().zip(&after.workers).map(of).collect()
}

impl Strips {
    /// Adds the interval between two samples.
    pub(super) fn add(&mut self, before: &Snapshot, after: &Snapshot) {
        if self.columns.len() == config::SAMPLES {
            self.columns.pop_front();
        }
        let cells = bands(shares(before, after))
            .iter()
            .map(|shares| shares.map(|share| (share * 255.0).round() as u8))
            .collect();
        self.columns.push_back(Column { at: after.at, cells });
    }

    /// As JSON: in each column, six hexadecimal digits for each row.
    pub(super) fn json(&self, workers: usize) -> Value {
        let columns = self.columns.iter().map(|column| {
            let mut cells = String::with_capacity(6 * column.cells.len());
            for [parse, handle, respond] in &column.cells {
                let _ = write!(cells, "{parse:02x}{handle:02x}{respond:02x}");
            }
            json!({ "at": column.at.as_secs_f64(), "cells": cells })
        });
        json!({
            "rows": workers.min(config::STRIPS),
            "sorted": workers > config::STRIPS,
            "columns": columns.collect::<Vec<_>>(),
        })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let of = |column: &Column| size_of::<Column>() + size_of_val::<[_]>(&column.cells);
        self.columns.iter().map(of).sum()
    }
}

/// At most [`config::STRIPS`] rows: if there are more workers, the busiest first.
fn bands(mut workers: Vec<Shares>) -> Vec<Shares> {
    let count = workers.len();
    if count <= config::STRIPS {
        return workers;
    }
    let busy = |shares: &Shares| shares.iter().sum::<f64>();
    workers.sort_by(|one, other| busy(other).total_cmp(&busy(one)));
    let row = |band: usize| {
        let some = &workers[band * count / config::STRIPS..(band + 1) * count / config::STRIPS];
        std::array::from_fn(|of| {
            some.iter().map(|shares| shares[of]).sum::<f64>() / some.len() as f64
        })
    };
    (0..config::STRIPS).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::time::Instant;

    #[test]
    fn a_strip_has_the_time_of_each_activity() {
        let metrics = Metrics::new(2, 0);
        let one = metrics.recorder(1);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        one.enter(Activity::Parse, at(0));
        let before = metrics.snapshot(0);
        one.enter(Activity::Handle, at(100));
        one.enter(Activity::Idle, at(300));
        let mut after = metrics.snapshot(0);
        after.at = before.at + Duration::from_millis(400);
        let found = shares(&before, &after);
        assert!((found[0][1] - 0.5).abs() < 1e-6, "{found:?}");
        assert_eq!(found[1], [0.0; 3]);
        let mut strips = Strips::default();
        strips.add(&before, &after);
        let json = strips.json(2);
        let cells = json["columns"][0]["cells"].as_str().unwrap_or_default();
        assert_eq!((cells.len(), &cells[2..]), (12, "8000000000"));
    }

    #[test]
    fn many_workers_are_bands_that_keep_the_mean() {
        let workers: Vec<Shares> = (0..130).map(|n| [0.0, f64::from(n % 10) / 10.0, 0.0]).collect();
        let rows = bands(workers);
        assert_eq!(rows.len(), config::STRIPS);
        assert!(rows.is_sorted_by(|one, other| one[1] >= other[1]), "the busiest come first");
        let mean = rows.iter().map(|row| row[1]).sum::<f64>() / rows.len() as f64;
        assert!((mean - 0.45).abs() < 0.02, "{mean}");
    }
}
