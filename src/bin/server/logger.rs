//! The server's logger: diagnostics for people, access lines for whoever reads them.

use crate::log_writer::{LogSink, LogWriter};
use env_logger::{Target, WriteStyle};
use log::{LevelFilter, Log, Metadata, Record};
use std::io::{self, IsTerminal};
use std::path::Path;

/// The target of access lines.
const ACCESS: &str = "access";

/// The logger's writers, to be finished before the process ends.
#[derive(Debug)]
pub struct Logging {
    diagnostics: LogWriter,
    access: Option<LogWriter>,
}

/// Sends access lines their own way, as they are, and the rest to `env_logger`.
struct Router {
    general: env_logger::Logger,
    access: Option<LogSink>,
}

impl Logging {
    /// Starts to log at `level`, which `RUST_LOG` may override.
    ///
    /// Access lines are diagnostics like others, unless `bare`: then they are written without
    /// anything around them, to `file` or to standard error, whatever the level. So many `bytes` of
    /// lines may wait to be written, in all; more are dropped and counted.
    ///
    /// # Errors
    ///
    /// If `file` cannot be opened (`BrokenPipe` for a FIFO that nobody reads), or no thread can be
    /// started.
    pub fn start(
        level: LevelFilter,
        bare: bool,
        file: Option<&Path>,
        bytes: usize,
    ) -> io::Result<Self> {
        // A file that is stuck must not take the room of the errors that tell of it.
        let each = if file.is_some() { bytes / 2 } else { bytes };
        let diagnostics = LogWriter::to_stderr(each)?;
        let access = file.map(|file| LogWriter::to_file(file, each)).transpose()?;
        let mut builder = env_logger::Builder::new();
        builder.filter_level(level).parse_default_env();
        builder.target(Target::Pipe(Box::new(diagnostics.sink())));
        // The logger cannot see the terminal behind the writer.
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

    /// What to do when the access log's file was moved away.
    pub fn reopener(&self) -> impl Fn() + Send + 'static {
        let sink = self.access.as_ref().map(LogWriter::sink);
        move || {
            if let Some(sink) = &sink {
                sink.reopen();
            }
        }
    }

    /// Waits until all lines are written, but not for ever.
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
                sink.put(format!("{}\n", record.args()).into_bytes());
            }
            _ => self.general.log(record),
        }
    }

    fn flush(&self) {}
}
