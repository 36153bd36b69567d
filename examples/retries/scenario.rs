//! A burst on a base load, and what is said about it.

use crate::options::Args;
use lab::arrivals::{Arrivals, Rate, Stop};
use lab::moments::Moments;
use lab::simulation::Sent;
use std::time::Duration;

/// A load has recovered when this share of it is good.
const RECOVERED: f64 = 0.9;

/// The windows in which the share is taken begin this far apart, in units of D.
const STEP: u32 = 5;

/// Requests that are meant to start in this last part of a load, in units of D, do not count: when
/// the load has ended, their last tries meet an empty pool. Four tries take 40 D.
pub const TAIL: u32 = 40;

/// A load of `base` times the capacity, and `size` times that for the length of the burst. Times
/// are in units of D.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    pub base: f64,
    pub size: f64,
    /// When the burst begins.
    pub begin: u32,
    /// How long it is.
    pub length: u32,
    /// How long the load goes on after the burst.
    pub after: u32,
    /// The length of the windows in which the goodput must be back.
    pub window: u32,
}

/// The figures of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// The share of the requests that are good, late after the burst.
    pub good: f64,
    /// The good requests per second then, over W/D.
    pub goodput: f64,
    /// The time from the end of the burst until the load has recovered, in units of D. Infinite if
    /// it has not.
    pub recovery: f64,
    /// Tries per request, of the whole run.
    pub amplification: f64,
}

impl Scenario {
    pub fn end(&self) -> u32 {
        self.begin + self.length
    }

    /// When the load ends.
    pub fn over(&self) -> u32 {
        self.end() + self.after
    }

    pub fn starts(&self, args: &Args, seed: u64) -> Vec<Duration> {
        let [begin, length, over] =
            [self.begin, self.length, self.over()].map(|times| args.delay * times);
        let base = self.base * args.capacity();
        let rate = Rate::burst(base, self.size * base, begin, length);
        Arrivals::poisson(rate, seed).starts(Stop::After(over))
    }

    /// The share of the requests that are good among those that are meant to start in a time
    /// interval. All of none is good.
    pub fn share(&self, args: &Args, sent: &[Sent], from: u32, to: u32) -> f64 {
        let (count, good) = self.count(args, sent, from, to);
        if count == 0 { 1.0 } else { good as f64 / count as f64 }
    }

    /// The requests per second in a time interval, and the good ones, over the capacity.
    pub fn rates(&self, args: &Args, sent: &[Sent], from: u32, to: u32) -> (f64, f64) {
        let (count, good) = self.count(args, sent, from, to);
        let whole = args.workers as f64 * f64::from(to - from);
        (count as f64 / whole, good as f64 / whole)
    }

    fn count(&self, args: &Args, sent: &[Sent], from: u32, to: u32) -> (usize, usize) {
        let interval = args.delay * from..args.delay * to;
        let within = || sent.iter().filter(|sent| interval.contains(&sent.intended));
        (within().count(), within().filter(|sent| sent.answered.is_some()).count())
    }

    pub fn figures(&self, args: &Args, sent: &[Sent]) -> Figures {
        let counted = self.over() - TAIL;
        let late = counted - self.after / 3;
        let tries: u32 = sent.iter().map(|sent| sent.tries).sum();
        let good = self.share(args, sent, late, counted);
        // The first window in which the share is high enough, if it stays so.
        let mut windows = (self.end()..=counted - self.window).step_by(STEP as usize);
        let back = windows.find(|&from| {
            good >= RECOVERED && self.share(args, sent, from, from + self.window) >= RECOVERED
        });
        Figures {
            good,
            goodput: self.rates(args, sent, late, counted).1,
            recovery: back.map_or(f64::INFINITY, |from| f64::from(from - self.end())),
            amplification: f64::from(tries) / sent.len().max(1) as f64,
        }
    }
}

/// The mean of a figure over runs, with its interval.
pub fn over_runs(figures: &[Figures], of: impl Fn(&Figures) -> f64) -> Moments {
    figures.iter().map(of).collect()
}

/// A mean with half the width of its interval.
pub fn shown(moments: &Moments, decimals: usize) -> String {
    if !moments.mean().is_finite() {
        return "never".to_owned();
    }
    match moments.count() {
        0 | 1 => format!("{:.decimals$}", moments.mean()),
        _ => format!("{:.decimals$} ±{:.decimals$}", moments.mean(), moments.half_width()),
    }
}
