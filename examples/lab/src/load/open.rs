//! The open loop: requests start at their intended times, independent of the other requests.

use super::crowd::{Demand, Due};
use std::time::Duration;

/// Start times that are known in advance.
#[derive(Debug)]
pub struct Open<'a> {
    starts: &'a [Duration],
}

impl<'a> Open<'a> {
    pub fn new(starts: &'a [Duration]) -> Self {
        Self { starts }
    }
}

impl Demand for Open<'_> {
    fn next(&self) -> Option<Duration> {
        self.starts.first().copied()
    }

    fn take(&mut self) -> Due {
        self.starts = self.starts.get(1..).unwrap_or_default();
        Due::Drawn
    }

    fn ended(&mut self, _: Duration) {}

    fn has_arrivals(&self) -> bool {
        true
    }
}
