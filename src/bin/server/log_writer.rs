//! Writes log lines from a thread of its own: whoever logs never waits for a terminal or a disk.

use crate::whole_lines::WholeLines;
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Lines that may wait to be written, however short; more are dropped and counted.
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
    backlog: Arc<Backlog>,
}

/// What waits to be written, and what could not wait.
#[derive(Debug)]
struct Backlog {
    /// Bytes of the lines that were handed over and are not written yet.
    bytes: AtomicUsize,
    /// What they may be.
    most: usize,
    /// Lines that were lost and not told of yet.
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(Box<[u8]>),
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
    /// Starts a thread that writes to standard error; so many bytes of lines may wait for it.
    pub fn to_stderr(bytes: usize) -> io::Result<Self> {
        Self::start("log", Target::Stderr, bytes)
    }

    /// Starts a thread that appends to a file; so many bytes of lines may wait for it.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened; `BrokenPipe` for a FIFO that nobody reads.
    pub fn to_file(path: &Path, bytes: usize) -> io::Result<Self> {
        Self::start("access-log", Target::File(path.to_owned(), open(path)?), bytes)
    }

    fn start(name: &str, target: Target, bytes: usize) -> io::Result<Self> {
        let (sink, waiting) = LogSink::new(LINES, bytes);
        let backlog = Arc::clone(&sink.backlog);
        let write = move || write_all(&waiting, &backlog, target);
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
    fn new(lines: usize, bytes: usize) -> (Self, Receiver<Message>) {
        let (messages, waiting) = bounded(lines);
        let backlog =
            Backlog { bytes: AtomicUsize::new(0), most: bytes, dropped: AtomicU64::new(0) };
        (Self { messages, backlog: Arc::new(backlog) }, waiting)
    }

    /// Hands over a line, or drops it where too much waits: a log must not hold up what it tells
    /// of.
    pub fn put(&self, line: Vec<u8>) {
        let Self { messages, backlog } = self;
        // Without what the vector holds beyond its length, so that what is counted is what is held.
        let line = line.into_boxed_slice();
        let length = line.len();
        if !backlog.admit(length) {
            backlog.dropped.fetch_add(1, Relaxed);
        } else if messages.try_send(Message::Line(line)).is_err() {
            backlog.release(length);
            backlog.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Goes on in a new file, if it is a file that is written; what was handed over before goes
    /// to the old one.
    pub fn reopen(&self) {
        // Should this not fit, the writer has been stuck for so long that it matters little.
        let _ = self.messages.send_timeout(Message::Reopen, FINISH_TIMEOUT);
    }
}

impl Backlog {
    /// Counts so many bytes, if there is room for them.
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
                    "cannot reopen {}: {error} (lines go to the old file)",
                    path.display()
                ),
            }
        }
    }
}

/// Opens a file to append to. A FIFO without a reader is an error and no wait for one.
fn open(path: &Path) -> io::Result<File> {
    let nonblock = OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(nonblock.bits().cast_signed());
    let file = options.open(path).map_err(|error| {
        let is_fifo = || fs::metadata(path).is_ok_and(|of| of.file_type().is_fifo());
        if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) && is_fifo() {
            return io::Error::new(ErrorKind::BrokenPipe, "nobody reads this FIFO");
        }
        error
    })?;
    // Nobody but the writer's own thread waits for what is slow from here on.
    fcntl_setfl(&file, fcntl_getfl(&file)? - nonblock)?;
    Ok(file)
}

/// Writes what comes until all senders are gone, as much at a time as waits; a target that fails
/// loses whole lines and nothing else.
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
                    // The old file has what it has.
                    let lost = lost + lines.give_up_rest();
                    account(&mut lines, backlog, lost);
                    lines.target().reopen();
                }
                Message::End(done) => {
                    write_batch(&mut lines, backlog);
                    // There may be no later time for it.
                    tell(&mut lines, backlog);
                    drop(done);
                }
            }
        }
        write_batch(&mut lines, backlog);
    }
}

/// Makes room for what is written, and counts what is lost.
fn account(lines: &mut WholeLines<Target>, backlog: &Backlog, lost: u64) {
    backlog.release(lines.take_done());
    backlog.dropped.fetch_add(lost, Relaxed);
}

/// Writes what has gathered, and tells of the lines that were lost before it.
fn write_batch(lines: &mut WholeLines<Target>, backlog: &Backlog) {
    let lost = lines.write_out();
    account(lines, backlog, lost);
    if lost == 0 {
        tell(lines, backlog);
    }
}

/// Tells of the lines that were lost, if any were.
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
        // A line of another form would only puzzle what reads the file.
        Target::File(path, _) => log::warn!("{}: {lost} lines were lost", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::RecvTimeoutError;

    /// A bound in bytes that no test reaches.
    const ENOUGH: usize = 1 << 20;

    /// Writes to a file until all lines that wait are written; gives what is in it.
    fn written(sink: LogSink, waiting: &Receiver<Message>) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let target = Target::File(path.clone(), open(&path).expect("a file"));
        let backlog = Arc::clone(&sink.backlog);
        drop(sink);
        write_all(waiting, &backlog, target);
        assert_eq!(backlog.dropped.load(Relaxed), 0, "told of");
        assert_eq!(backlog.bytes.load(Relaxed), 0, "nothing waits");
        fs::read_to_string(&path).expect("written")
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let (sink, waiting) = LogSink::new(2, ENOUGH);
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            sink.put(line.into());
        }
        assert_eq!(sink.backlog.dropped.load(Relaxed), 2);
        assert_eq!(written(sink, &waiting), "one\ntwo\n");
    }

    /// Few long lines or many short ones: what waits is never more than was allowed.
    #[test]
    fn the_bound_in_bytes_holds_whatever_the_length_of_a_line() {
        const MOST: usize = 100_000;
        for length in [1, 10, 99, 1000, 64 * 1024, MOST, MOST + 1] {
            let (sink, waiting) = LogSink::new(LINES, MOST);
            // What a vector has in reserve is not kept.
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
            assert_eq!(lost as usize + held.len(), count, "{length}: each is counted");
        }
    }

    #[test]
    fn room_comes_back_when_lines_are_written() {
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
    fn a_fifo_that_nobody_reads_is_an_error_at_once() {
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
        // A reader that comes without waiting for a writer.
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let mut reader = options.open(&path).expect("the reader's end");
        let writer = LogWriter::to_file(&path, ENOUGH).expect("a reader is there");
        writer.sink().put(b"a line\n".to_vec());
        // Reopened where the reader is still there, and where it has gone.
        writer.sink().reopen();
        writer.sink().put(b"another\n".to_vec());
        writer.finish();
        let mut text = [0; 15];
        io::Read::read_exact(&mut reader, &mut text).expect("both lines");
        assert_eq!(&text, b"a line\nanother\n");
        drop(reader);
        writer.sink().reopen();
        let (done, all_written) = bounded(0);
        writer.0.messages.send(Message::End(done)).expect("the writer");
        let outcome = all_written.recv_timeout(Duration::from_secs(20));
        assert_eq!(outcome, Err(RecvTimeoutError::Disconnected), "it does not hang");
    }

    #[test]
    fn a_moved_file_is_followed_by_a_new_one() {
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
