//! The files of a run: JSON and the percentile distribution.

use crate::options::Files;
use crate::tally::Tally;
use crate::targets::Named;
use lab::csv::WriteError;
use lab::load::Conduct;
use lab::program::{Program, machine};
use lab::saved::{Percentiles, Saved, SavedCheck, SavedWindow, Target, pairs};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The files that the options ask for. They are created before the load, which would be in vain if
/// they could not be written.
pub struct Outputs {
    json: Option<Output>,
    hgrm: Option<Output>,
}

impl Outputs {
    /// Creates the files.
    pub fn create(files: &Files) -> Result<Self, WriteError> {
        let create = |path: &Option<PathBuf>| path.as_deref().map(Output::create).transpose();
        Ok(Self { json: create(&files.json)?, hgrm: create(&files.hgrm)? })
    }

    /// Writes them.
    pub fn save(
        self,
        program: &Program,
        load: &str,
        tally: &Tally,
        names: &[Named],
        conduct: &Conduct,
    ) -> Result<(), WriteError> {
        if let Some(hgrm) = self.hgrm {
            hgrm.write(|out| tally.latencies.write_percentiles(out))?;
        }
        if let Some(json) = self.json {
            let saved = saved(program, load, tally, names, conduct);
            json.write(|out| saved.write_to(out))?;
        }
        Ok(())
    }
}

/// A file that is open, or standard output.
struct Output {
    path: PathBuf,
    out: BufWriter<Box<dyn Write>>,
}

impl Output {
    fn create(path: &Path) -> Result<Self, WriteError> {
        let out: io::Result<Box<dyn Write>> = match path.as_os_str() == "-" {
            true => Ok(Box::new(io::stdout())),
            false => File::create(path).map(|file| Box::new(file) as Box<dyn Write>),
        };
        let out = out.map_err(|error| WriteError::new(path, error))?;
        Ok(Self { path: path.to_owned(), out: BufWriter::new(out) })
    }

    fn write(
        mut self,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        let written = content(&mut self.out).and_then(|()| self.out.flush());
        written.map_err(|error| WriteError::new(&self.path, error))
    }
}

fn saved(
    program: &Program,
    load: &str,
    tally: &Tally,
    names: &[Named],
    conduct: &Conduct,
) -> Saved {
    let summary = &tally.summary;
    let seconds = conduct.length().as_secs_f64();
    let a_second = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
    let target = |(named, of): (&Named, &crate::tally::OfTarget)| Target {
        name: named.name.clone(),
        requests: of.requests,
        failures: of.requests - of.latencies.count(),
        latency: Percentiles::among(&of.latencies, of.requests),
    };
    let windows = tally.windows.all().iter().map(|window| SavedWindow {
        requests: window.requests,
        histogram_ns: pairs(&window.latencies),
    });
    let answers = summary.answers().iter();
    let checks = program.checks();
    Saved {
        format: Saved::FORMAT,
        program: format!("load {}", env!("CARGO_PKG_VERSION")),
        options: std::env::args().skip(1).collect(),
        load: load.to_owned(),
        machine: machine(),
        interrupted: tally.was_stopped(),
        seconds,
        requests: summary.count(),
        successes: summary.success_count(),
        failures: summary.count() - summary.success_count(),
        successes_per_second: a_second(summary.success_count() as f64),
        bytes_per_second: a_second(summary.bytes() as f64),
        tries: summary.tries(),
        reconnects: conduct.reconnects(),
        answers: answers.map(|(answer, &count)| (answer.to_string(), count)).collect(),
        latency: Percentiles::among(&tally.latencies, summary.count()),
        from_sending: Percentiles::of(&tally.from_sending),
        connection_wait: Percentiles::of(&tally.connection_wait),
        lateness: Percentiles::of(conduct.lateness()),
        server_queue_wait: Percentiles::of(&tally.queue_wait),
        server_handle: Percentiles::of(&tally.handle),
        targets: names.iter().zip(&tally.targets).map(target).collect(),
        histogram_ns: pairs(&tally.latencies),
        window_seconds: tally.windows.length().as_secs_f64(),
        windows: windows.collect(),
        checks: checks
            .map(|(what, said)| SavedCheck { what: what.to_owned(), verdict: said.to_owned() })
            .collect(),
    }
}
