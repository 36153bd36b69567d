//! Log lines of a thread that must not wait for the logger.
//!
//! The logger belongs to the embedder and may block. The acceptor hands its lines to a thread that
//! may wait. All other threads call the logger directly.

use crate::memory::{Claim, Memory, MemoryUse};
use crossbeam_channel::{Receiver, Sender, bounded};
use log::{Level, Record};
use std::cell::RefCell;
use std::fmt::Arguments;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most lines that may wait for the logger.
const LINES: usize = 4096;

thread_local! {
    static OUTBOX: RefCell<Option<Outbox>> = const { RefCell::new(None) };
}

/// A line that waits for the logger.
#[derive(Debug)]
struct Line {
    level: Level,
    target: &'static str,
    text: String,
    _claim: Claim,
}

/// Sends the lines of a thread that must not wait.
#[derive(Debug)]
pub struct Outbox {
    lines: Sender<Line>,
    memory: Memory,
    lost: Arc<AtomicU64>,
}

/// Receives those lines and calls the logger.
#[derive(Debug)]
pub struct Inbox {
    lines: Receiver<Line>,
    lost: Arc<AtomicU64>,
}

/// A connected pair; waiting lines are claimed from `memory`.
pub fn outbox(memory: Memory) -> (Outbox, Inbox) {
    let (sender, receiver) = bounded(LINES);
    let lost = Arc::new(AtomicU64::new(0));
    (Outbox { lines: sender, memory, lost: Arc::clone(&lost) }, Inbox { lines: receiver, lost })
}

impl Outbox {
    /// Takes this thread's lines from now on.
    pub fn take_over(self) {
        OUTBOX.set(Some(self));
    }

    fn send(&self, level: Level, target: &'static str, text: Arguments<'_>) {
        let text = text.to_string();
        let sent = match self.memory.claim(MemoryUse::Log, text.capacity() as u64) {
            Some(claim) => self.lines.try_send(Line { level, target, text, _claim: claim }),
            None => return self.lose(),
        };
        if sent.is_err() {
            self.lose();
        }
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Relaxed);
    }
}

impl Inbox {
    /// Logs lines until the outbox is dropped.
    pub fn run(self) {
        for Line { level, target, text, _claim } in &self.lines {
            emit(level, target, format_args!("{text}"));
            let lost = self.lost.swap(0, Relaxed);
            if lost > 0 {
                let text = format_args!("{lost} log lines are lost: the logger is too slow");
                emit(Level::Warn, module_path!(), text);
            }
        }
    }
}

/// Logs a line, or hands it to the thread that may wait. See [`note`].
pub fn log(level: Level, target: &'static str, text: Arguments<'_>) {
    if level > log::max_level() {
        return;
    }
    // A thread that ends has no thread-locals any more.
    let is_sent = OUTBOX.try_with(|outbox| match &*outbox.borrow() {
        Some(outbox) => {
            outbox.send(level, target, text);
            true
        }
        None => false,
    });
    if is_sent != Ok(true) {
        emit(level, target, text);
    }
}

/// Calls the logger. One that panics loses its line, and ends no thread of the server.
fn emit(level: Level, target: &'static str, text: Arguments<'_>) {
    let call =
        || log::logger().log(&Record::builder().level(level).target(target).args(text).build());
    // There is no logger to tell of it.
    let _ = catch_unwind(AssertUnwindSafe(call));
}

/// Like `log::log!`, for code that the acceptor runs too: `note!(Warn, "text {}", value)`.
macro_rules! note {
    (target: $target:expr, $level:ident, $($text:tt)+) => {
        $crate::notes::log(log::Level::$level, $target, format_args!($($text)+))
    };
    ($level:ident, $($text:tt)+) => {
        $crate::notes::log(log::Level::$level, module_path!(), format_args!($($text)+))
    };
}
pub(crate) use note;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_as_lost() {
        let memory = Memory::new(1000);
        let (outbox, inbox) = outbox(memory.clone());
        outbox.send(Level::Info, "a", format_args!("{}", "x".repeat(600)));
        outbox.send(Level::Info, "a", format_args!("{}", "x".repeat(600)));
        assert_eq!((inbox.lines.len(), outbox.lost.load(Relaxed)), (1, 1));
        assert!(memory.held_for(MemoryUse::Log) >= 600);
        for _ in 0..2 * LINES {
            outbox.send(Level::Info, "a", format_args!(""));
        }
        assert_eq!((inbox.lines.len(), outbox.lost.load(Relaxed)), (LINES, LINES as u64 + 2));
        drop(outbox);
        inbox.run();
        assert_eq!(memory.held(), 0);
    }
}
