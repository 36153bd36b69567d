//! Samples of a server over the last minute.

use crate::config;
use crate::figures::Figures;
use crate::metrics::Snapshot;
use std::collections::VecDeque;
use std::time::Duration;

/// The samples of the last minute.
#[derive(Debug)]
pub(super) struct History {
    latest: Snapshot,
    /// Snapshots over a few seconds and over a minute: an interval's figures need the one at its
    /// start.
    now: Marks,
    minute: Marks,
    points: VecDeque<Point>,
}

/// Evenly spaced snapshots over an interval, and one from its start.
#[derive(Debug)]
struct Marks {
    interval: Duration,
    snapshots: VecDeque<Snapshot>,
}

/// The figures between a sample and the one before it, for the chart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// Time since the server's start.
    pub(super) at: Duration,
    pub(super) offered: f64,
    pub(super) handled: f64,
    pub(super) shed: f64,
    pub(super) utilisation: f64,
    pub(super) waiting: usize,
    /// From the mean service time of the last few seconds.
    pub(super) capacity: Option<f64>,
}

impl Marks {
    fn new(interval: Duration, first: &Snapshot) -> Self {
        Self { interval, snapshots: VecDeque::from([first.clone()]) }
    }

    fn add(&mut self, snapshot: &Snapshot) {
        let spacing = self.interval / config::MARKS;
        let due = self.snapshots.back().is_none_or(|last| last.at + spacing <= snapshot.at);
        if due {
            self.snapshots.push_back(snapshot.clone());
        }
        // The first snapshot is the interval's start, so the second must lie within the interval.
        while self.snapshots.get(1).is_some_and(|next| next.at + self.interval <= snapshot.at) {
            self.snapshots.pop_front();
        }
    }

    fn until(&self, snapshot: &Snapshot) -> Figures {
        Figures::between(self.snapshots.front().unwrap_or(snapshot), snapshot)
    }
}

impl History {
    pub(super) fn new(first: &Snapshot) -> Self {
        Self {
            latest: first.clone(),
            now: Marks::new(config::NOW, first),
            minute: Marks::new(config::MINUTE, first),
            points: VecDeque::new(),
        }
    }

    /// Adds a sample.
    pub(super) fn add(&mut self, snapshot: Snapshot) {
        let figures = Figures::between(&self.latest, &snapshot);
        self.now.add(&snapshot);
        self.minute.add(&snapshot);
        if self.points.len() == config::SAMPLES {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            at: snapshot.at,
            offered: figures.offered,
            handled: figures.handled,
            shed: figures.shed,
            utilisation: figures.utilisation.total(),
            waiting: figures.waiting,
            capacity: self.now.until(&snapshot).capacity,
        });
        self.latest = snapshot;
    }

    /// The figures of the few seconds before `snapshot`.
    pub(super) fn now(&self, snapshot: &Snapshot) -> Figures {
        self.now.until(snapshot)
    }

    /// The figures of the minute before `snapshot`.
    pub(super) fn minute(&self, snapshot: &Snapshot) -> Figures {
        self.minute.until(snapshot)
    }

    /// The samples, the oldest first.
    pub(super) fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn no_more_than_a_minute_is_kept() {
        let metrics = Metrics::new(1, 0);
        let at = |seconds: f64| {
            let mut snapshot = metrics.snapshot(0);
            snapshot.at = Duration::from_secs_f64(seconds);
            snapshot
        };
        let mut history = History::new(&at(0.0));
        for sample in 1..=400 {
            history.add(at(f64::from(sample) / 2.0));
            let elapsed = f64::from(sample) / 2.0;
            let [now, minute] = [history.now(&history.latest), history.minute(&history.latest)];
            let (now, minute) = (now.elapsed.as_secs_f64(), minute.elapsed.as_secs_f64());
            assert!(now <= 5.5 && now >= elapsed.min(5.0), "{now} s are now at {elapsed}");
            assert!(minute < 66.5 && minute >= elapsed.min(60.0), "a minute has {minute} s");
        }
        assert_eq!(history.points().count(), config::SAMPLES);
        let kept = history.now.snapshots.len() + history.minute.snapshots.len();
        assert!(kept <= 2 * (config::MARKS as usize + 2), "{kept} snapshots");
    }
}
