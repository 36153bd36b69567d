//! The server's logger: diagnostics for people, and the access log for people or programs.

use crate::log_writer::{LogSink, LogWriter};
use env_logger::{Target, WriteStyle};
use log::{LevelFilter, Log, Metadata, Record};
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The log target of access lines.
const ACCESS: &str = "access";

/// The bytes of most access lines: a longer one needs another allocation.
const LINE_BYTES: usize = 256;

/// The writers of the logger. Call `finish` before the process ends.
#[derive(Debug)]
pub struct Logging {
    diagnostics: LogWriter,
    outputs: Arc<RwLock<Outputs>>,
    /// Bytes of lines that may wait to be written.
    bytes: usize,
}

/// How much is logged, and where.
#[derive(Debug)]
pub struct Outputs {
    general: env_logger::Logger,
    /// Where access lines go, without a prefix; none if they are ordinary records.
    access: Option<LogSink>,
    /// The file of access lines.
    file: Option<(PathBuf, LogWriter)>,
}

/// What is to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The level, which `RUST_LOG` may override.
    pub level: LevelFilter,
    /// Access lines are written without a prefix and at any level. They always are in a file.
    pub is_bare: bool,
    /// The file of access lines; none for standard error.
    pub file: Option<&'a Path>,
}

/// Sends access lines to their own writer without a prefix, and all other records to `env_logger`.
struct Router(Arc<RwLock<Outputs>>);

impl Logging {
    /// Takes lines, which are written once [`Logging::write`] is called. At most `bytes` of them
    /// wait to be written, over all writers; further lines are dropped and counted.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened (`BrokenPipe` for a FIFO without a reader).
    pub fn start(wanted: Wanted<'_>, bytes: usize) -> io::Result<Self> {
        // Half each: if the file is stuck, errors that report it must still fit.
        let each = if wanted.file.is_some() { bytes / 2 } else { bytes };
        let diagnostics = LogWriter::to_stderr(each);
        let outputs = Outputs::open(wanted, &diagnostics, bytes)?;
        let most = outputs.level();
        let outputs = Arc::new(RwLock::new(outputs));
        if log::set_boxed_logger(Box::new(Router(Arc::clone(&outputs)))).is_ok() {
            log::set_max_level(most);
        }
        Ok(Self { diagnostics, outputs, bytes })
    }

    /// Starts the threads that write. Before that, lines wait: a process that confines itself does
    /// so before it has threads.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn write(&self) -> io::Result<()> {
        self.diagnostics.start()?;
        read(&self.outputs).write()
    }

    /// Opens what is wanted, without logging there yet.
    ///
    /// # Errors
    ///
    /// As for [`Logging::start`], or if the system refuses a thread.
    pub fn open(&self, wanted: Wanted<'_>) -> io::Result<Outputs> {
        let outputs = Outputs::open(wanted, &self.diagnostics, self.bytes)?;
        outputs.write()?;
        Ok(outputs)
    }

    /// Logs there from now on. Lines that wait are still written where they belong.
    pub fn replace(&self, outputs: Outputs) {
        log::set_max_level(outputs.level());
        let mut current = self.outputs.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, outputs);
        drop(current);
        if let Some((_, file)) = &old.file {
            file.finish();
        }
    }

    /// Opens the access log's file again: it was renamed.
    pub fn reopen(&self) {
        if let Some((_, file)) = &read(&self.outputs).file {
            file.sink().reopen();
        }
    }

    /// Waits until all lines are written, for a limited time.
    pub fn finish(&self) {
        if let Some((_, file)) = &read(&self.outputs).file {
            file.finish();
        }
        self.diagnostics.finish();
    }
}

impl Outputs {
    fn open(wanted: Wanted<'_>, diagnostics: &LogWriter, bytes: usize) -> io::Result<Self> {
        let Wanted { level, is_bare, file } = wanted;
        let open = |path: &Path| -> io::Result<_> {
            Ok((path.to_owned(), LogWriter::to_file(path, bytes / 2)?))
        };
        let file = file.map(open).transpose()?;
        let mut builder = env_logger::Builder::new();
        builder.filter_level(level).parse_default_env();
        builder.target(Target::Pipe(Box::new(diagnostics.sink())));
        // The logger writes through a thread, so it cannot detect the terminal itself.
        if io::stderr().is_terminal() && std::env::var_os("RUST_LOG_STYLE").is_none() {
            builder.write_style(WriteStyle::Always);
        }
        let lines = file.as_ref().map_or(diagnostics, |(_, file)| file).sink();
        let access = (is_bare || file.is_some()).then_some(lines);
        Ok(Self { general: builder.build(), access, file })
    }

    /// Starts the thread that writes to the file.
    fn write(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |(_, file)| file.start())
    }

    /// The level of the most detailed record that goes anywhere.
    fn level(&self) -> LevelFilter {
        let access = if self.access.is_some() { LevelFilter::Info } else { LevelFilter::Off };
        self.general.filter().max(access)
    }
}

fn read(outputs: &RwLock<Outputs>) -> RwLockReadGuard<'_, Outputs> {
    outputs.read().unwrap_or_else(PoisonError::into_inner)
}

impl Log for Router {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let outputs = read(&self.0);
        let is_access = outputs.access.is_some() && metadata.target() == ACCESS;
        is_access || outputs.general.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let outputs = read(&self.0);
        match &outputs.access {
            Some(sink) if record.target() == ACCESS => {
                let mut line = String::with_capacity(LINE_BYTES);
                // Writing into a `String` cannot fail.
                let _ = writeln!(line, "{}", record.args());
                sink.put(line.into_bytes());
            }
            _ => outputs.general.log(record),
        }
    }

    fn flush(&self) {}
}
