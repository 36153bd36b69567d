//! The line that shows a load while it runs.
//!
//! The thread that drives the requests counts; another thread shows once a second what was counted
//! since. The first one never waits for the second: while the line is made, its latencies are left
//! out of it.

use crate::hdr::Times;
use crate::load::Outcome;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time that a line is about.
const TICK: Duration = Duration::from_secs(1);

/// What has happened so far.
#[derive(Debug, Default)]
pub struct Gauge {
    started: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
    /// The latencies since the last line.
    recent: Mutex<Times>,
}

/// The counts at a point in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    started: u64,
    ended: u64,
    failed: u64,
}

impl Gauge {
    /// A request has started.
    pub fn started(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    /// A request has ended.
    pub fn ended(&self, outcome: &Outcome) {
        self.ended.fetch_add(1, Relaxed);
        if !outcome.is_success() {
            self.failed.fetch_add(1, Relaxed);
        } else if let Ok(mut recent) = self.recent.try_lock() {
            recent.record(outcome.latency());
        }
    }

    fn counts(&self) -> Counts {
        // In this order no more requests end than have started.
        let [failed, ended] = [&self.failed, &self.ended].map(|count| count.load(Relaxed));
        Counts { started: self.started.load(Relaxed), ended, failed }
    }

    fn take_recent(&self) -> Times {
        mem::take(&mut *self.recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The line on standard error, if that is a terminal. It disappears when this is dropped.
#[derive(Debug)]
pub struct Live {
    // Dropping the sender ends the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    gauge: Option<Arc<Gauge>>,
}

impl Live {
    /// Shows a line that begins with the time since now, of `length` if that is known.
    pub fn start(length: Option<Duration>) -> Self {
        if !io::stderr().is_terminal() {
            return Self { running: None, thread: None, gauge: None };
        }
        let gauge = Arc::new(Gauge::default());
        let (running, ended) = bounded::<()>(0);
        let source = Arc::clone(&gauge);
        let show = move || {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            let begun = Instant::now();
            let mut last = Counts::default();
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let now = source.counts();
                bar.set_message(line(begun.elapsed(), length, last, now, &source.take_recent()));
                last = now;
            }
            bar.finish_and_clear();
        };
        // Without a thread there is no line; the load runs.
        let thread = thread::Builder::new().name("live".to_owned()).spawn(show).ok();
        Self { running: Some(running), thread, gauge: Some(gauge) }
    }

    /// What it shows, if it does.
    pub fn gauge(&self) -> Option<Arc<Gauge>> {
        self.gauge.clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // A failure of the line does not matter.
            let _ = thread.join();
        }
    }
}

/// The line about the second between two counts.
fn line(
    since: Duration,
    length: Option<Duration>,
    before: Counts,
    now: Counts,
    recent: &Times,
) -> String {
    let of = length.map_or(String::new(), |length| format!(" of {:.0}s", length.as_secs_f64()));
    let percentile =
        |quantile| recent.quantile(quantile).map_or("-".to_owned(), |time| format!("{time:.2?}"));
    format!(
        "{:.0}s{of}  {}/s  in flight {}  failed {} (all {})  p50 {}  p99 {}",
        since.as_secs_f64(),
        now.ended.saturating_sub(before.ended),
        now.started.saturating_sub(now.ended),
        now.failed.saturating_sub(before.failed),
        now.failed,
        percentile(0.5),
        percentile(0.99),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_about_the_last_second() {
        let before = Counts { started: 100, ended: 90, failed: 5 };
        let now = Counts { started: 510, ended: 500, failed: 6 };
        let mut recent = Times::default();
        (1..=100).for_each(|millis| recent.record(Duration::from_millis(millis)));
        let seconds = Duration::from_secs;
        let said = line(seconds(3), Some(seconds(10)), before, now, &recent);
        let expected = "3s of 10s  410/s  in flight 10  failed 1 (all 6)  p50 50.00ms  p99 99.02ms";
        assert_eq!(said, expected);
        let said = line(seconds(4), None, now, now, &Times::default());
        assert_eq!(said, "4s  0/s  in flight 10  failed 0 (all 6)  p50 -  p99 -");
    }

    /// The thread that drives the load does not wait while the line is made.
    #[test]
    fn counting_never_waits() {
        use crate::load::{Answer, ServerTiming};
        let gauge = Gauge::default();
        let outcome = Outcome {
            intended: Duration::ZERO,
            lateness: Duration::ZERO,
            connection_wait: Duration::ZERO,
            begun: None,
            connected: None,
            first_byte: None,
            ended: Duration::from_millis(1),
            answer: Answer::Status(200),
            tries: 1,
            bytes: 0,
            server: ServerTiming::default(),
            message: 0,
        };
        let shown = gauge.recent.lock().expect("the lock");
        gauge.started();
        gauge.ended(&outcome);
        assert_eq!(shown.count(), 0);
        drop(shown);
        gauge.ended(&outcome);
        gauge.ended(&Outcome { answer: Answer::TimedOut, ..outcome });
        assert_eq!(gauge.counts(), Counts { started: 1, ended: 3, failed: 1 });
        assert_eq!((gauge.take_recent().count(), gauge.take_recent().count()), (1, 0));
    }
}
