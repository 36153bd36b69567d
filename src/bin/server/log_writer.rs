//! Writes log lines on its own thread, so that no other thread waits for a terminal or a disk.

use crate::whole_lines::WholeLines;
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The largest number of lines that wait to be written. Further lines are dropped and counted.
const LINES: usize = 16 * 1024;

/// The least time between batches. Meanwhile lines collect, and nobody has to wake the writer.
const COLLECT: Duration = Duration::from_millis(5);

/// At the end: the longest wait for lines that are not written yet.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// The writer's thread and its channel.
#[derive(Debug)]
pub struct LogWriter {
    sink: LogSink,
    /// What the thread begins with. Lines wait until it runs.
    idle: Mutex<Option<Idle>>,
}

/// A writer whose thread has not started.
#[derive(Debug)]
struct Idle {
    name: &'static str,
    waiting: Receiver<Message>,
    target: Target,
}

/// Accepts lines for the writer's thread.
#[derive(Debug, Clone)]
pub struct LogSink {
    messages: Sender<Message>,
    backlog: Arc<Backlog>,
}

/// The size of the lines that wait, and the number of lines that were dropped.
#[derive(Debug)]
struct Backlog {
    /// Bytes of the lines that wait.
    bytes: AtomicUsize,
    /// The limit of `bytes`.
    most: usize,
    /// Dropped lines that have not been reported yet.
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(Box<[u8]>),
    /// The file was renamed: reopen it under its name.
    Reopen,
    /// Acknowledges, by being dropped, that all earlier lines are written.
    End(Sender<()>),
}

/// The destination of lines.
#[derive(Debug)]
enum Target {
    Stderr,
    File(PathBuf, File),
}

impl LogWriter {
    /// Writes to standard error. At most `bytes` of lines wait for it.
    pub fn to_stderr(bytes: usize) -> Self {
        Self::new("log", Target::Stderr, bytes)
    }

    /// Appends to a file, which is opened now. At most `bytes` of lines wait for it.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened; `BrokenPipe` for a FIFO without a reader.
    pub fn to_file(path: &Path, bytes: usize) -> io::Result<Self> {
        Ok(Self::new("access-log", Target::File(path.to_owned(), open(path)?), bytes))
    }

    fn new(name: &'static str, target: Target, bytes: usize) -> Self {
        let (sink, waiting) = LogSink::new(LINES, bytes);
        Self { sink, idle: Mutex::new(Some(Idle { name, waiting, target })) }
    }

    /// Starts the thread that writes, if it does not run yet.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn start(&self) -> io::Result<()> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Idle { name, waiting, target }) = idle else { return Ok(()) };
        let backlog = Arc::clone(&self.sink.backlog);
        let write = move || write_all(&waiting, &backlog, target);
        thread::Builder::new().name(name.to_owned()).spawn(write)?;
        Ok(())
    }

    /// A new handle that accepts lines.
    pub fn sink(&self) -> LogSink {
        self.sink.clone()
    }

    /// Waits until all lines so far are written, for at most [`FINISH_TIMEOUT`] at each step.
    pub fn finish(&self) {
        // A server that did not start has lines that say why.
        if self.start().is_err() {
            return;
        }
        let (done, all_written) = bounded(0);
        if self.sink.messages.send_timeout(Message::End(done), FINISH_TIMEOUT).is_ok() {
            // The result does not matter: the sender is dropped, or the time is up.
            let _ = all_written.recv_timeout(FINISH_TIMEOUT);
        }
    }
}

impl LogSink {
    fn new(lines: usize, bytes: usize) -> (Self, Receiver<Message>) {
        let (messages, waiting) = bounded(lines);
        let backlog =
            Backlog { bytes: AtomicUsize::new(0), most: bytes, dropped: AtomicU64::new(0) };
        (Self { messages, backlog: Arc::new(backlog) }, waiting)
    }

    /// Queues a line, or drops it if too much is waiting: logging must not delay what is logged.
    pub fn put(&self, line: Vec<u8>) {
        let Self { messages, backlog } = self;
        // Release the vector's spare capacity, so that the counted bytes are the held bytes.
        let line = line.into_boxed_slice();
        let length = line.len();
        if !backlog.admit(length) {
            backlog.dropped.fetch_add(1, Relaxed);
        } else if messages.try_send(Message::Line(line)).is_err() {
            backlog.release(length);
            backlog.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Reopens the file, if the destination is a file. Lines queued earlier go to the old file.
    pub fn reopen(&self) {
        // If the channel stays full for this long, the writer is stuck, and reopening changes
        // little.
        let _ = self.messages.send_timeout(Message::Reopen, FINISH_TIMEOUT);
    }
}

impl Backlog {
    /// Counts these bytes if they fit within the limit.
    fn admit(&self, length: usize) -> bool {
        let with = |bytes: usize| bytes.checked_add(length).filter(|&bytes| bytes <= self.most);
        self.bytes.fetch_update(Relaxed, Relaxed, with).is_ok()
    }

    fn release(&self, length: usize) {
        self.bytes.fetch_sub(length, Relaxed);
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

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => io::stderr().write(bytes),
            Self::File(_, file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target {
    fn reopen(&mut self) {
        if let Self::File(path, file) = self {
            match open(path) {
                Ok(new) => *file = new,
                Err(error) => log::error!(
                    "cannot reopen {}: {error} (log lines still go to the old file)",
                    path.display()
                ),
            }
        }
    }
}

/// Opens a file to append to. A FIFO without a reader is an error; this does not wait for one.
fn open(path: &Path) -> io::Result<File> {
    let nonblock = OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(nonblock.bits().cast_signed());
    let file = options.open(path).map_err(|error| {
        let is_fifo = || fs::metadata(path).is_ok_and(|of| of.file_type().is_fifo());
        if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) && is_fifo() {
            return io::Error::new(ErrorKind::BrokenPipe, "this FIFO has no reader");
        }
        error
    })?;
    // Blocking from here on: only the writer's own thread waits for a slow target.
    fcntl_setfl(&file, fcntl_getfl(&file)? - nonblock)?;
    Ok(file)
}

/// Writes lines in batches until all senders are gone. If a write fails, only whole lines are lost.
fn write_all(waiting: &Receiver<Message>, backlog: &Backlog, target: Target) {
    let mut lines = WholeLines::new(target);
    while let Ok(first) = waiting.recv() {
        for message in std::iter::once(first).chain(waiting.try_iter().take(LINES)) {
            match message {
                Message::Line(line) => {
                    let lost = lines.push(&line);
                    drop(line);
                    account(&mut lines, backlog, lost);
                }
                Message::Reopen => {
                    let lost = lines.write_out();
                    // The rest of a line that was cut stays missing in the old file.
                    let lost = lost + lines.give_up_rest();
                    account(&mut lines, backlog, lost);
                    lines.target().reopen();
                }
                Message::End(done) => {
                    write_batch(&mut lines, backlog);
                    // Report losses now: this may be the last chance.
                    tell(&mut lines, backlog);
                    drop(done);
                }
            }
        }
        write_batch(&mut lines, backlog);
        thread::sleep(COLLECT);
    }
}

/// Releases the bytes of lines that are done, and counts the lost lines.
fn account(lines: &mut WholeLines<Target>, backlog: &Backlog, lost: u64) {
    backlog.release(lines.take_done());
    backlog.dropped.fetch_add(lost, Relaxed);
}

/// Reports the lines lost so far, then writes the batch.
fn write_batch(lines: &mut WholeLines<Target>, backlog: &Backlog) {
    let lost = lines.write_out();
    account(lines, backlog, lost);
    if lost == 0 {
        tell(lines, backlog);
    }
}

/// Reports lost lines, if any.
fn tell(lines: &mut WholeLines<Target>, backlog: &Backlog) {
    let lost = backlog.dropped.swap(0, Relaxed);
    if lost == 0 {
        return;
    }
    match lines.target() {
        Target::Stderr => {
            let notice = format!("({lost} log lines were lost)\n");
            backlog.bytes.fetch_add(notice.len(), Relaxed);
            let untold = lines.push(notice.as_bytes()) + lines.write_out();
            account(lines, backlog, if untold > 0 { lost } else { 0 });
        }
        // The file is read by programs, which may not accept a line in another format.
        Target::File(path, _) => log::warn!("{}: {lost} lines were lost", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::RecvTimeoutError;

    /// A limit in bytes that no test reaches.
    const ENOUGH: usize = 1 << 20;

    /// Writes all waiting lines to a file, and returns its content.
    fn written(sink: LogSink, waiting: &Receiver<Message>) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let target = Target::File(path.clone(), open(&path).expect("a file"));
        let backlog = Arc::clone(&sink.backlog);
        drop(sink);
        write_all(waiting, &backlog, target);
        assert_eq!(backlog.dropped.load(Relaxed), 0, "all losses are reported");
        assert_eq!(backlog.bytes.load(Relaxed), 0, "no bytes wait");
        fs::read_to_string(&path).expect("written")
    }

    #[test]
    fn lines_that_do_not_fit_are_counted() {
        let (sink, waiting) = LogSink::new(2, ENOUGH);
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            sink.put(line.into());
        }
        assert_eq!(sink.backlog.dropped.load(Relaxed), 2);
        assert_eq!(written(sink, &waiting), "one\ntwo\n");
    }

    /// The limit holds for few long lines and for many short ones.
    #[test]
    fn the_limit_in_bytes_holds_for_any_line_length() {
        const MOST: usize = 100_000;
        for length in [1, 10, 99, 1000, 64 * 1024, MOST, MOST + 1] {
            let (sink, waiting) = LogSink::new(LINES, MOST);
            // The spare capacity of a vector is not kept.
            let mut line = Vec::with_capacity(2 * length);
            line.resize(length, b'x');
            let count = 2 * MOST / length + 2;
            for _ in 0..count {
                sink.put(line.clone());
            }
            let held: Vec<_> = waiting.try_iter().collect();
            let bytes = |message: &Message| match message {
                Message::Line(line) => line.len(),
                other => panic!("{other:?}"),
            };
            assert!(held.iter().map(bytes).sum::<usize>() <= MOST, "{length}");
            assert_eq!(held.len(), (MOST / length).min(LINES), "{length}");
            let lost = sink.backlog.dropped.load(Relaxed);
            assert_eq!(lost as usize + held.len(), count, "{length}: each line is held or counted");
        }
    }

    #[test]
    fn written_lines_make_room_for_new_ones() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let writer = LogWriter::to_file(&path, 10).expect("a file");
        for _ in 0..100 {
            writer.sink().put(b"ten bytes\n".to_vec());
            writer.finish();
        }
        assert_eq!(fs::read(&path).expect("written").len(), 1000);
    }

    #[test]
    fn a_fifo_without_a_reader_is_an_error_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .expect("a FIFO");
        let error = LogWriter::to_file(&path, ENOUGH).expect_err("no reader");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        // Open the reader without waiting for a writer.
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let mut reader = options.open(&path).expect("the reader's end");
        let writer = LogWriter::to_file(&path, ENOUGH).expect("a reader is there");
        writer.sink().put(b"a line\n".to_vec());
        // Reopen while the reader is there, and after it has gone.
        writer.sink().reopen();
        writer.sink().put(b"another\n".to_vec());
        writer.finish();
        let mut text = [0; 15];
        io::Read::read_exact(&mut reader, &mut text).expect("both lines");
        assert_eq!(&text, b"a line\nanother\n");
        drop(reader);
        writer.sink().reopen();
        let (done, all_written) = bounded(0);
        writer.sink.messages.send(Message::End(done)).expect("the writer");
        let outcome = all_written.recv_timeout(Duration::from_secs(20));
        assert_eq!(outcome, Err(RecvTimeoutError::Disconnected), "the writer does not hang");
    }

    #[test]
    fn after_a_rename_lines_go_to_a_new_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let writer = LogWriter::to_file(&path, ENOUGH).expect("a file");
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
