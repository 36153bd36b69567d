//! Writes log lines from a thread of its own: whoever logs never waits for a terminal or a disk.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Lines that may wait to be written; more are dropped and counted.
const LINES: usize = 16 * 1024;

/// Longest wait, at the end, for what has not been written yet.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that writes, and the way to it.
#[derive(Debug)]
pub struct LogWriter(LogSink);

/// Where lines are handed over to be written.
#[derive(Debug, Clone)]
pub struct LogSink {
    messages: Sender<Message>,
    /// Lines that were lost and not told of yet.
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// The file was moved away: go on in a new one of its name.
    Reopen,
    /// All before it is written when this is dropped.
    End(Sender<()>),
}

/// Where lines end up.
enum Target {
    Stderr,
    File(PathBuf, File),
}

impl LogWriter {
    /// Starts a thread that writes to standard error.
    pub fn to_stderr() -> io::Result<Self> {
        Self::start("log", Target::Stderr)
    }

    /// Starts a thread that appends to a file.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        Self::start("access-log", Target::File(path.to_owned(), open(path)?))
    }

    fn start(name: &str, mut target: Target) -> io::Result<Self> {
        let (messages, waiting) = bounded(LINES);
        let sink = LogSink { messages, dropped: Arc::default() };
        let dropped = Arc::clone(&sink.dropped);
        let write = move || write_all(&waiting, &dropped, &mut target);
        thread::Builder::new().name(name.to_owned()).spawn(write)?;
        Ok(Self(sink))
    }

    /// A way to hand over lines.
    pub fn sink(&self) -> LogSink {
        self.0.clone()
    }

    /// Waits until all lines so far are written, but not for ever.
    pub fn finish(&self) {
        let (done, all_written) = bounded(0);
        if self.0.messages.send_timeout(Message::End(done), FINISH_TIMEOUT).is_ok() {
            // It says nothing; it is dropped, or time is up.
            let _ = all_written.recv_timeout(FINISH_TIMEOUT);
        }
    }
}

impl LogSink {
    /// Hands over a line, or drops it where too many wait: a log must not hold up what it tells
    /// of.
    pub fn put(&self, line: Vec<u8>) {
        if self.messages.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Goes on in a new file, if it is a file that is written; what was handed over before goes
    /// to the old one.
    pub fn reopen(&self) {
        // Should this not fit, the writer has been stuck for so long that it matters little.
        let _ = self.messages.send_timeout(Message::Reopen, FINISH_TIMEOUT);
    }
}

impl Write for LogSink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target {
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().write_all(batch),
            Self::File(_, file) => file.write_all(batch),
        }
    }

    fn reopen(&mut self) {
        if let Self::File(path, file) = self {
            match open(path) {
                Ok(new) => *file = new,
                Err(error) => log::error!("cannot reopen {}: {error}", path.display()),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Writes what comes until all senders are gone, as much at a time as waits; a target that fails
/// loses lines and nothing else.
fn write_all(waiting: &Receiver<Message>, dropped: &AtomicU64, target: &mut Target) {
    let mut batch = Vec::new();
    let mut lines = 0;
    while let Ok(first) = waiting.recv() {
        for message in std::iter::once(first).chain(waiting.try_iter().take(LINES)) {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(&line);
                    lines += 1;
                }
                Message::Reopen => {
                    write_batch(&mut batch, &mut lines, dropped, target);
                    target.reopen();
                }
                Message::End(done) => {
                    write_batch(&mut batch, &mut lines, dropped, target);
                    drop(done);
                }
            }
        }
        write_batch(&mut batch, &mut lines, dropped, target);
    }
}

/// Writes a batch of so many lines, and tells of those that were lost before it.
fn write_batch(batch: &mut Vec<u8>, lines: &mut u64, dropped: &AtomicU64, target: &mut Target) {
    let lost = dropped.swap(0, Relaxed);
    if !batch.is_empty() && target.write(batch).is_err() {
        dropped.fetch_add(lost + *lines, Relaxed);
    } else if lost > 0 {
        match target {
            Target::Stderr => {
                let _ = target.write(format!("({lost} log lines were lost)\n").as_bytes());
            }
            // A line of another form would only puzzle what reads the file.
            Target::File(path, _) => log::warn!("{}: {lost} lines were lost", path.display()),
        }
    }
    batch.clear();
    *lines = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let (messages, waiting) = bounded(2);
        let sink = LogSink { messages, dropped: Arc::default() };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            sink.put(line.into());
        }
        assert_eq!(sink.dropped.load(Relaxed), 2);
        let dropped = Arc::clone(&sink.dropped);
        drop(sink);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let mut target = Target::File(path.clone(), open(&path).expect("a file"));
        write_all(&waiting, &dropped, &mut target);
        assert_eq!(std::fs::read(&path).expect("written"), b"one\ntwo\n");
        assert_eq!(dropped.load(Relaxed), 0, "told of");
    }

    #[test]
    fn a_moved_file_is_followed_by_a_new_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let writer = LogWriter::to_file(&path).expect("a file");
        let sink = writer.sink();
        sink.put(b"old\n".to_vec());
        writer.finish();
        std::fs::rename(&path, dir.path().join("log.1")).expect("moved");
        sink.put(b"still old\n".to_vec());
        sink.reopen();
        sink.put(b"new\n".to_vec());
        writer.finish();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("a file");
        assert_eq!((read("log.1").as_str(), read("log").as_str()), ("old\nstill old\n", "new\n"));
    }
}
