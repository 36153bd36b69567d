//! Sizes of requests under a heavy tail: each twice as long as the one before, and rarer.

use std::time::Duration;

/// The tail index: the share of the requests that are longer than t falls as t^-1.2.
const TAIL: f64 = 1.2;

/// A size of requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// The service time.
    pub time: Duration,
    /// The share of all requests.
    pub share: f64,
}

impl Size {
    /// This many sizes, the first of which takes `unit`.
    pub fn all(unit: Duration, count: u32) -> Vec<Self> {
        let weight = |number: u32| 2f64.powf(-TAIL * f64::from(number));
        let sum: f64 = (0..count).map(weight).sum();
        (0..count)
            .map(|number| Self { time: unit * 2u32.pow(number), share: weight(number) / sum })
            .collect()
    }
}

/// The n-th moment of the service time in seconds.
pub fn moment(sizes: &[Size], n: i32) -> f64 {
    sizes.iter().map(|size| size.share * size.time.as_secs_f64().powi(n)).sum()
}
