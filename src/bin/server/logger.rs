//! The server's logger: diagnostics for people, and the access log for people or programs.

use crate::log_writer::{LogSink, LogWriter};
use env_logger::{Target, WriteStyle};
use log::{LevelFilter, Log, Metadata, Record};
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::Path;

/// The log target of access lines.
const ACCESS: &str = "access";

/// The bytes of most access lines: a longer one needs another allocation.
const LINE_BYTES: usize = 256;

/// The writers of the logger. Call `finish` before the process ends.
#[derive(Debug)]
pub struct Logging {
    diagnostics: LogWriter,
    access: Option<LogWriter>,
}

/// Sends access lines to their own writer without a prefix, and all other records to `env_logger`.
struct Router {
    general: env_logger::Logger,
    access: Option<LogSink>,
}

impl Logging {
    /// Takes lines at `level`, which `RUST_LOG` may override. They are written once
    /// [`Logging::write`] is called.
    ///
    /// Access lines are ordinary log records unless `bare`. Then they are written without a prefix
    /// and at any level, to `file` or to standard error. At most `bytes` of lines wait to be
    /// written, over all writers; further lines are dropped and counted.
    ///
    /// # Errors
    ///
    /// If `file` cannot be opened (`BrokenPipe` for a FIFO without a reader).
    pub fn start(
        level: LevelFilter,
        bare: bool,
        file: Option<&Path>,
        bytes: usize,
    ) -> io::Result<Self> {
        // Half each: if the file is stuck, errors that report it must still fit.
        let each = if file.is_some() { bytes / 2 } else { bytes };
        let diagnostics = LogWriter::to_stderr(each);
        let access = file.map(|file| LogWriter::to_file(file, each)).transpose()?;
        let mut builder = env_logger::Builder::new();
        builder.filter_level(level).parse_default_env();
        builder.target(Target::Pipe(Box::new(diagnostics.sink())));
        // The logger writes through a thread, so it cannot detect the terminal itself.
        if io::stderr().is_terminal() && std::env::var_os("RUST_LOG_STYLE").is_none() {
            builder.write_style(WriteStyle::Always);
        }
        let general = builder.build();
        let lines = access.as_ref().unwrap_or(&diagnostics).sink();
        let router = Router { access: (bare || access.is_some()).then_some(lines), general };
        let access_level =
            if router.access.is_some() { LevelFilter::Info } else { LevelFilter::Off };
        let most = router.general.filter().max(access_level);
        if log::set_boxed_logger(Box::new(router)).is_ok() {
            log::set_max_level(most);
        }
        Ok(Self { diagnostics, access })
    }

    /// Starts the threads that write. Before that, lines wait: a process that confines itself does
    /// so before it has threads.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn write(&self) -> io::Result<()> {
        self.diagnostics.start()?;
        self.access.as_ref().map_or(Ok(()), LogWriter::start)
    }

    /// The action to take when the access log's file was renamed.
    pub fn reopener(&self) -> impl Fn() + Send + 'static {
        let sink = self.access.as_ref().map(LogWriter::sink);
        move || {
            if let Some(sink) = &sink {
                sink.reopen();
            }
        }
    }

    /// Waits until all lines are written, for a limited time.
    pub fn finish(&self) {
        if let Some(access) = &self.access {
            access.finish();
        }
        self.diagnostics.finish();
    }
}

impl Log for Router {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_access = self.access.is_some() && metadata.target() == ACCESS;
        is_access || self.general.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        match &self.access {
            Some(sink) if record.target() == ACCESS => {
                let mut line = String::with_capacity(LINE_BYTES);
                // Writing into a `String` cannot fail.
                let _ = writeln!(line, "{}", record.args());
                sink.put(line.into_bytes());
            }
            _ => self.general.log(record),
        }
    }

    fn flush(&self) {}
}
