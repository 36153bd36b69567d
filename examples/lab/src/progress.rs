//! A progress bar for a run of known length, if standard error is a terminal.

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Shorter runs show no bar.
const SHORTEST: Duration = Duration::from_secs(2);

/// The update interval of the bar.
const TICK: Duration = Duration::from_millis(200);

/// A progress bar that disappears when this is dropped.
#[derive(Debug)]
pub struct Progress {
    // Dropping the sender ends the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows a bar named `what` that is full after the `expected` time.
    pub fn start(what: &str, expected: Duration) -> Self {
        if expected < SHORTEST || !io::stderr().is_terminal() {
            return Self { running: None, thread: None };
        }
        let bar = ProgressBar::new(expected.as_millis() as u64);
        let style = ProgressStyle::with_template("{msg} {bar:30} {percent:>3} %");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        let (running, ended) = bounded::<()>(0);
        let begun = Instant::now();
        let show = move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                bar.set_position(begun.elapsed().as_millis() as u64);
            }
            bar.finish_and_clear();
        };
        // Without a thread there is no bar; the run continues.
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show).ok();
        Self { running: Some(running), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // A failure of the bar does not matter.
            let _ = thread.join();
        }
    }
}
