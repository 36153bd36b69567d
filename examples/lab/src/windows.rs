//! The requests of a load by the time at which they were meant to start.

use crate::hdr::Times;
use crate::load::Outcome;
use std::time::Duration;

/// The length of a window in a short load.
const SHORTEST: Duration = Duration::from_millis(10);

/// The largest number of windows. More than ten, and at most a few dozen, are the right number of
/// parts of a run to judge how much its figures vary (B. W. Schmeiser, Batch size effects in the
/// analysis of simulation output, Operations Research 30, 1982).
const MOST: usize = 40;

/// The requests that were meant to start within a window of time.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// The number of requests, including failed ones.
    pub requests: u64,
    /// The latencies of the successful ones, from the intended start.
    pub latencies: Times,
}

impl Window {
    /// The latency within which this fraction of all its requests was answered; failures count as
    /// the slowest.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        self.latencies.quantile_of(quantile, self.requests)
    }
}

/// Windows of equal length, at least 20 for a load that takes a second, and at most 40. Their
/// length doubles when there would be more, so that the length of the load need not be known.
#[derive(Debug, Clone)]
pub struct Windows {
    length: Duration,
    windows: Vec<Window>,
}

impl Default for Windows {
    fn default() -> Self {
        Self { length: SHORTEST, windows: Vec::new() }
    }
}

impl Windows {
    /// Adds a request.
    pub fn add(&mut self, outcome: &Outcome) {
        let at = self.place(outcome.intended);
        let window = &mut self.windows[at];
        window.requests += 1;
        if outcome.is_success() {
            window.latencies.record(outcome.latency());
        }
    }

    /// The index of the window of this time, which exists then.
    fn place(&mut self, time: Duration) -> usize {
        loop {
            let at = time.div_duration_f64(self.length) as usize;
            if at < MOST {
                if at >= self.windows.len() {
                    self.windows.resize_with(at + 1, Window::default);
                }
                return at;
            }
            self.halve();
        }
    }

    /// Merges each window with the next one.
    fn halve(&mut self) {
        self.length *= 2;
        let mut merged: Vec<Window> = Vec::with_capacity(MOST);
        for (number, window) in self.windows.drain(..).enumerate() {
            match merged.last_mut().filter(|_| number % 2 == 1) {
                Some(last) => {
                    last.requests += window.requests;
                    last.latencies.add(&window.latencies);
                }
                None => merged.push(window),
            }
        }
        self.windows = merged;
    }

    /// The length of each window.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// The windows in the order of time.
    pub fn all(&self) -> &[Window] {
        &self.windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Answer, ServerTiming};

    fn outcome(intended: Duration, latency: Duration, answer: Answer) -> Outcome {
        Outcome {
            intended,
            lateness: Duration::ZERO,
            connection_wait: Duration::ZERO,
            begun: Some(intended),
            connected: None,
            first_byte: None,
            ended: intended + latency,
            answer,
            tries: 1,
            bytes: 0,
            server: ServerTiming::default(),
            message: 0,
        }
    }

    /// However long the load is, no request is lost, and each is in the window of its start.
    #[test]
    fn windows_become_longer_with_the_load() {
        for seconds in [1_u64, 7, 60, 5000] {
            let mut windows = Windows::default();
            // Requests end in another order than they started.
            for number in (0..1000_u32).rev() {
                let start = Duration::from_secs(seconds).mul_f64(f64::from(number) / 1000.0);
                let answer = Answer::Status(if number % 10 == 0 { 500 } else { 200 });
                windows.add(&outcome(start, Duration::from_millis(number.into()), answer));
            }
            let all = windows.all();
            assert!((20..=MOST).contains(&all.len()), "{seconds}: {}", all.len());
            assert_eq!(all.iter().map(|window| window.requests).sum::<u64>(), 1000);
            assert_eq!(all.iter().map(|window| window.latencies.count()).sum::<u64>(), 900);
            // The latency is the request's number: the windows' ranges follow one another.
            let ends = all.iter().filter_map(|window| window.latencies.most());
            assert!(ends.is_sorted(), "{seconds}");
            let share = windows.length().as_secs_f64() / seconds as f64;
            assert!((all[0].requests as f64 - share * 1000.0).abs() <= 1.0, "{seconds}");
        }
    }

    #[test]
    fn a_quantile_that_falls_on_failures_has_no_value() {
        let mut windows = Windows::default();
        let millis = Duration::from_millis;
        windows.add(&outcome(millis(1), millis(5), Answer::Status(200)));
        windows.add(&outcome(millis(1), millis(5), Answer::TimedOut));
        let window = &windows.all()[0];
        assert!(window.quantile(0.5).is_some() && window.quantile(0.6).is_none());
    }
}
