//! Samples of a server over the last minute, and coarser ones over the last hour.

use super::heat::Heat;
use super::hour::Hour;
use super::rates::{self, Rates};
use super::strips::{Shares, Strips, shares};
use crate::config;
use crate::figures::Figures;
use crate::metrics::Snapshot;
use std::collections::VecDeque;
use std::time::Duration;

/// The samples of the last minute, and what is kept for longer. All of it is bounded.
#[derive(Debug)]
pub(super) struct History {
    latest: Snapshot,
    /// Snapshots over a few seconds and over a minute: an interval's figures need the one at its
    /// start.
    now: Marks,
    minute: Marks,
    points: VecDeque<Point>,
    pub(super) strips: Strips,
    pub(super) heat: Heat,
    pub(super) hour: Hour,
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
    /// Utilisation, mean and 99th percentile of the queue wait in the last few seconds: the point
    /// on the curve of waits.
    pub(super) recent_utilisation: f64,
    pub(super) wait: Option<Duration>,
    pub(super) late: Option<Duration>,
    /// The CPU time that the process has used.
    cpu: Duration,
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

    /// The snapshot at the interval's start.
    fn start(&self) -> &Snapshot {
        self.snapshots.front().expect("a first snapshot, and none is dropped without a next one")
    }

    fn until(&self, snapshot: &Snapshot) -> Figures {
        Figures::between(self.start(), snapshot)
    }
}

impl History {
    pub(super) fn new(first: &Snapshot) -> Self {
        Self {
            latest: first.clone(),
            now: Marks::new(config::NOW, first),
            minute: Marks::new(config::MINUTE, first),
            points: VecDeque::new(),
            strips: Strips::default(),
            heat: Heat::new(first),
            hour: Hour::new(first, rates::cpu_time()),
        }
    }

    /// Adds a sample.
    pub(super) fn add(&mut self, snapshot: Snapshot) {
        let figures = Figures::between(&self.latest, &snapshot);
        let cpu = rates::cpu_time();
        self.strips.add(&self.latest, &snapshot);
        self.heat.add(&snapshot);
        self.hour.add(&snapshot, cpu);
        self.now.add(&snapshot);
        self.minute.add(&snapshot);
        if self.points.len() == config::SAMPLES {
            self.points.pop_front();
        }
        let recent = self.now.until(&snapshot);
        self.points.push_back(Point {
            at: snapshot.at,
            offered: figures.offered,
            handled: figures.handled,
            shed: figures.shed,
            utilisation: figures.utilisation.total(),
            waiting: figures.waiting,
            capacity: recent.capacity,
            recent_utilisation: recent.utilisation.total(),
            wait: recent.queue_wait.mean,
            late: recent.queue_wait.p99,
            cpu,
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

    /// The rates of the few seconds before `snapshot`, and of the minute before it.
    pub(super) fn rates(&self, snapshot: &Snapshot) -> [Rates; 2] {
        [&self.now, &self.minute].map(|marks| Rates::between(marks.start(), snapshot))
    }

    /// What each worker did in the few seconds before `snapshot`.
    pub(super) fn shares(&self, snapshot: &Snapshot) -> Vec<Shares> {
        shares(self.now.start(), snapshot)
    }

    /// The squared coefficient of variation of the gaps between arrivals in the last minute.
    pub(super) fn arrival_variation(&self) -> Option<f64> {
        self.latest.arrival_variation_since(self.minute.start())
    }

    /// The cores that the process kept busy in the few seconds before the latest sample.
    pub(super) fn cores(&self) -> f64 {
        let (Some(last), Some(first)) = (self.points.back(), self.points.front()) else {
            return 0.0;
        };
        let is_before = |point: &&Point| point.at + config::NOW <= last.at;
        let start = self.points.iter().rev().find(is_before).unwrap_or(first);
        rates::cores((start.at, start.cpu), (last.at, last.cpu))
    }

    /// The latest sample.
    pub(super) fn latest(&self) -> &Snapshot {
        &self.latest
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
    /// The records of a day, of a pool with many workers, take less than 200 KiB.
    #[test]
    fn what_is_kept_is_bounded() {
        let metrics = Metrics::new(100, 0);
        let mut snapshot = metrics.snapshot(0);
        let mut history = History::new(&snapshot);
        for _ in 0..4000 {
            snapshot.at += Duration::from_secs(20);
            history.add(snapshot.clone());
        }
        let points = history.points.len() * size_of::<Point>();
        let [strips, heat, hour] =
            [history.strips.bytes(), history.heat.bytes(), history.hour.bytes()];
        let all = points + strips + heat + hour;
        let told = format!("points {points}, strips {strips}, heat {heat}, hour {hour}");
        assert!(all < 200 << 10 && [points, strips, heat, hour].iter().all(|&of| of > 0), "{told}");
    }
}
