//! Writes log lines from a thread of its own: whoever logs never waits for standard error.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Lines that may wait to be written; more are dropped and counted.
const LINES: usize = 8192;

/// Longest wait, at the end, for what has not been written yet.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that writes, and the way to it.
#[derive(Debug)]
pub struct LogWriter {
    lines: Sender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// All before it is written when this is dropped.
    End(Sender<()>),
}

/// Where a logger writes its lines.
#[derive(Debug)]
pub struct LogSink {
    lines: Sender<Message>,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (lines, waiting) = bounded(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let write = move || write_all(&waiting, &counter, &mut io::stderr());
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(Self { lines, dropped })
    }

    /// A place to write lines to.
    pub fn sink(&self) -> LogSink {
        LogSink { lines: self.lines.clone(), dropped: Arc::clone(&self.dropped) }
    }

    /// Waits until all lines so far are written, but not for ever.
    pub fn finish(self) {
        let (done, all_written) = bounded(0);
        if self.lines.send_timeout(Message::End(done), FINISH_TIMEOUT).is_ok() {
            // It says nothing; it is dropped, or time is up.
            let _ = all_written.recv_timeout(FINISH_TIMEOUT);
        }
    }
}

impl Write for LogSink {
    /// Takes a line, or drops it where too many wait: the log must not hold up what it tells of.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes until all senders are gone, a batch at a time; a failing target loses lines
/// and nothing else.
fn write_all(waiting: &Receiver<Message>, dropped: &AtomicU64, target: &mut impl Write) {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut ended = Vec::new();
        for message in std::iter::once(first).chain(waiting.try_iter().take(LINES)) {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::End(done) => ended.push(done),
            }
        }
        let lost = dropped.swap(0, Relaxed);
        if lost > 0 {
            batch.extend_from_slice(format!("({lost} log lines were dropped)\n").as_bytes());
        }
        // Nobody is left to tell of a log that cannot be written.
        let _ = target.write_all(&batch).and_then(|()| target.flush());
        batch.clear();
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_told() {
        let (lines, waiting) = bounded(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut sink = LogSink { lines, dropped: Arc::clone(&dropped) };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            assert_eq!(sink.write(line.as_bytes()).expect("never fails"), line.len());
        }
        drop(sink);
        let mut written = Vec::new();
        write_all(&waiting, &dropped, &mut written);
        assert_eq!(written, b"one\ntwo\n(2 log lines were dropped)\n");
    }
}
