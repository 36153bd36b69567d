//! The shared frame of the programs: options, output, checks, exit codes.

use crate::chart::Chart;
use crate::cli;
use crate::csv::WriteError;
use crate::evidence::{Findings, Verdict};
use crate::machine::Watch;
use crate::moments::Moments;
use crate::report::Report;
use crate::table::Table;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, io};

/// Exit code if the machine was too busy to measure, or the runs differ too much: neither success
/// nor failure.
pub const SPOILT: u8 = 3;

/// The largest number of attempts for a measurement that the machine disturbs.
const ATTEMPTS: usize = 5;

/// The time that all repeated measurements of a program may take together, so that it ends within a
/// minute. A program may set another limit.
const SPARE: Duration = Duration::from_secs(14);
const SPARE_QUICK: Duration = Duration::from_secs(3);

/// The explanation of exit codes in each program's help.
pub const EXIT_CODES: &str = "\
Exit code: 0 all checks hold, 1 a check failed or the run failed, 2 wrong usage, 3 no result: the \
machine was disturbed, or the runs differ too much. A measurement is repeated if the machine was \
disturbed, whatever it shows. A claim that rests on chance fails wrongly in 1 of 1000 runs.";

/// Columns and rows of a chart on the terminal.
const TEXT_CHART: (usize, usize) = (64, 14);

/// Options of every program.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Run for a few seconds: fewer requests, wider tolerances
    #[arg(long)]
    pub quick: bool,

    /// Seed of the random arrivals and choices; the same seed gives the same arrivals
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Write an HTML page with the charts, tables and checks to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Write a line for each request, with its times, to this CSV file
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write each chart as an SVG file into this folder
    #[arg(long, value_name = "FOLDER")]
    pub svg: Option<PathBuf>,
}

/// The output of a program while it runs.
#[derive(Debug)]
pub struct Program {
    name: String,
    html: Option<PathBuf>,
    svg: Option<PathBuf>,
    report: Report,
    /// Standard output has something else, so that text goes to standard error.
    on_stderr: bool,
    findings: Findings,
    /// The instrument that sees disturbances, if there is one.
    watch: Option<Watch>,
    /// What disturbed the machine in the last attempts of measurements.
    disturbances: Vec<String>,
    measurements: usize,
    repeated: usize,
    /// The remaining time for repeated measurements.
    spare: Duration,
}

/// Runs a program: parses its options, and turns an error into one line and an exit code.
pub fn run<A: clap::Parser>(body: impl FnOnce(A) -> Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    let name = A::command().get_name().to_owned();
    match A::try_parse() {
        Ok(arguments) => {
            cws::raise_descriptor_limit();
            body(arguments).unwrap_or_else(|error| cli::failure(&name, &error.to_string()))
        }
        Err(error) => cli::usage(&name, &error, None),
    }
}

/// A short description of the machine.
pub fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = format!("{} {}", std::env::consts::OS, kernel.trim());
    format!("{} processors, {}", num_cpus::get(), system.trim())
}

impl Program {
    /// The empty output of a program, with its title and introduction.
    pub fn new(options: &Options, title: &str, lead: &str) -> Self {
        let mut report = Report::new(title, lead);
        let command: Vec<String> = std::env::args().skip(1).collect();
        let command = if command.is_empty() { "no options".to_owned() } else { command.join(" ") };
        let version = env!("CARGO_PKG_VERSION");
        report.text(&format!(
            "Version {version}, {}; {command}; seed {}.",
            machine(),
            options.seed
        ));
        let program = std::env::args().next().unwrap_or_default();
        let name = Path::new(&program).file_stem().unwrap_or_default().to_string_lossy();
        let Options { html, svg, .. } = options.clone();
        Self {
            name: name.into_owned(),
            html,
            svg,
            report,
            on_stderr: false,
            findings: Findings::default(),
            watch: Watch::start(),
            disturbances: Vec::new(),
            measurements: 0,
            repeated: 0,
            spare: if options.quick { SPARE_QUICK } else { SPARE },
        }
    }

    /// Sets the time that all repeated measurements may take together.
    pub fn with_spare(self, spare: Duration) -> Self {
        Self { spare, ..self }
    }

    /// Prints all text on standard error, since standard output is for something else.
    pub fn on_stderr(self) -> Self {
        Self { on_stderr: true, ..self }
    }

    /// Prints lines on the terminal only.
    pub fn say(&mut self, text: &str) {
        // If the reader has gone, the output is not needed.
        let _ = match self.on_stderr {
            true => writeln!(io::stderr(), "{text}"),
            false => writeln!(io::stdout(), "{text}"),
        };
    }

    /// Prints a sentence on the terminal and on the page.
    pub fn text(&mut self, text: &str) {
        self.say(text);
        self.report.text(text);
    }

    /// Starts a section on the terminal and on the page.
    pub fn heading(&mut self, text: &str) {
        self.say(&format!("\n{text}"));
        self.report.heading(text);
    }

    /// Prints a table on the terminal and on the page.
    pub fn table(&mut self, table: &Table) {
        self.say(&format!("\n{}", table.to_string().trim_end()));
        self.report.table(table);
    }

    /// Adds a chart with a caption to the page.
    ///
    /// # Errors
    ///
    /// If the chart cannot be drawn.
    pub fn figure(&mut self, chart: &Chart, caption: &str) -> Result<(), Box<dyn Error>> {
        let image = chart.svg()?;
        if let Some(folder) = &self.svg {
            let path = folder.join(format!("{}-{}.svg", self.name, slug(&chart.title)));
            fs::write(&path, &image).map_err(|error| WriteError::new(&path, error))?;
        }
        self.report.figure(&image, caption);
        Ok(())
    }

    /// Adds a chart to the page and prints it on the terminal.
    ///
    /// # Errors
    ///
    /// If the chart cannot be drawn.
    pub fn chart(&mut self, chart: &Chart, caption: &str) -> Result<(), Box<dyn Error>> {
        let text = chart.text(TEXT_CHART.0, TEXT_CHART.1)?;
        self.say(&format!("\n{}", text.trim_end()));
        self.figure(chart, caption)
    }

    /// Records a check and whether it holds. `what` includes the measured figures.
    pub fn check(&mut self, what: impl Into<String>, holds: bool) {
        self.findings.check(what, holds);
    }

    /// Records whether a mean over runs is at least `least`, by the rules of [`crate::evidence`].
    /// `what` includes the measured figures.
    pub fn check_least(&mut self, what: impl Into<String>, mean: &Moments, least: f64) {
        self.findings.least(what, mean, least);
    }

    /// The same for a mean that is at most `most`.
    pub fn check_most(&mut self, what: impl Into<String>, mean: &Moments, most: f64) {
        self.findings.most(what, mean, most);
    }

    /// Records whether one mean over runs is larger than another one, by the same rules.
    pub fn check_more(&mut self, what: impl Into<String>, larger: &Moments, smaller: &Moments) {
        self.findings.more(what, larger, smaller);
    }

    /// Records findings that were made apart from the program.
    pub fn conclude(&mut self, findings: Findings) {
        self.findings.extend(findings);
    }

    /// Records that the machine disturbed a measurement, so that it shows nothing.
    pub fn spoilt(&mut self, why: impl Into<String>) {
        self.findings.add(why, Verdict::Spoilt);
    }

    /// Makes a measurement once, beside the instrument that sees disturbances of the machine.
    pub fn watched<T>(&mut self, measure: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let measured = measure();
        self.measurements += 1;
        self.disturbances.extend(self.disturbance_since(begun));
        measured
    }

    fn disturbance_since(&self, begun: Instant) -> Option<String> {
        self.watch.as_ref().and_then(|watch| watch.disturbance_since(begun))
    }

    /// Makes a measurement, and repeats it while the machine disturbs it and there is time. Whether
    /// it is repeated depends on how late its requests started and on what other programs did, and
    /// not on what it shows. Returns the last one, and why it is invalid if it is.
    ///
    /// # Errors
    ///
    /// The errors of the measurement.
    pub fn until_sound<T, E>(
        &mut self,
        mut measure: impl FnMut() -> Result<(T, Vec<String>), E>,
    ) -> Result<(T, Option<String>), E> {
        self.measurements += 1;
        let mut attempt = 1;
        loop {
            let begun = Instant::now();
            let (measured, reasons) = measure()?;
            let disturbance = self.disturbance_since(begun);
            if reasons.is_empty() && disturbance.is_none() {
                return Ok((measured, None));
            }
            // The next attempt takes about as long.
            let spare = self.spare.checked_sub(begun.elapsed());
            let Some(left) = spare.filter(|_| attempt < ATTEMPTS) else {
                self.disturbances.extend(disturbance);
                let why = (!reasons.is_empty()).then(|| reasons.join("; "));
                return Ok((measured, why));
            };
            self.spare = left;
            self.repeated += 1;
            attempt += 1;
        }
    }

    /// The checks so far, and what is said of each.
    pub fn checks(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.findings.all().iter().map(|finding| {
            let said = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Fail if self.disturbances.is_empty() => "FAIL",
                Verdict::Fail | Verdict::Spoilt => "FAIL (the machine was disturbed: no result)",
                Verdict::Unclear => "FAIL (the runs differ too much: no result)",
            };
            (finding.what.as_str(), said)
        })
    }

    /// Prints the checks, writes the page, and returns the exit code.
    ///
    /// # Errors
    ///
    /// If the page cannot be written.
    pub fn finish(mut self) -> Result<ExitCode, Box<dyn Error>> {
        let mut lines = String::new();
        for (what, said) in self.checks() {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "CHECK {what} ... {said}");
        }
        if let Some(conditions) = self.conditions() {
            let _ = writeln!(lines, "{conditions}");
        }
        self.say(&format!("\n{}", lines.trim_end()));
        self.report.heading("Checks");
        self.report.lines(&lines);
        if let Some(path) = self.html.take() {
            fs::write(&path, self.report.html()).map_err(|error| WriteError::new(&path, error))?;
            self.say(&format!("\nthe page was written to {}", path.display()));
        }
        Ok(self.exit_code())
    }

    /// What the instrument saw, if it saw anything.
    fn conditions(&self) -> Option<String> {
        let mut said = Vec::new();
        if self.repeated > 0 {
            said.push(format!(
                "{} measurements were repeated, since the machine was disturbed",
                self.repeated
            ));
        }
        if let Some(last) = self.disturbances.last() {
            let count = self.disturbances.len();
            said.push(format!(
                "{count} of {} were disturbed to the end: {last}",
                self.measurements
            ));
        }
        (!said.is_empty()).then(|| format!("The machine: {}.", said.join("; ")))
    }

    /// A disturbance explains failed checks, so it takes precedence. Runs that differ too much
    /// explain no other check.
    fn exit_code(&self) -> ExitCode {
        let is_disturbed = self.findings.has(Verdict::Spoilt) || !self.disturbances.is_empty();
        let has_failed = self.findings.has(Verdict::Fail);
        match (has_failed, is_disturbed) {
            (true, false) => ExitCode::FAILURE,
            (true, true) => ExitCode::from(SPOILT),
            (false, _) if self.findings.has(Verdict::Spoilt) => ExitCode::from(SPOILT),
            (false, _) if self.findings.has(Verdict::Unclear) => ExitCode::from(SPOILT),
            (false, _) => ExitCode::SUCCESS,
        }
    }
}

/// A title as part of a file name.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_file_names() {
        assert_eq!(
            slug("Latency against load: 99th percentile"),
            "latency-against-load-99th-percentile"
        );
        assert_eq!(slug("../a/b"), "a-b");
    }

    fn empty() -> Program {
        let options = Options { quick: true, seed: 1, html: None, csv: None, svg: None };
        Program::new(&options, "t", "l")
    }

    fn code_of(verdicts: &[Verdict], disturbances: &[&str]) -> ExitCode {
        let mut program = empty();
        verdicts.iter().for_each(|&verdict| program.findings.add("", verdict));
        program.disturbances = disturbances.iter().map(ToString::to_string).collect();
        program.exit_code()
    }

    #[test]
    fn the_exit_code_reports_the_checks() {
        // Exit codes cannot be compared, but their debug output can.
        let same = |code: ExitCode, number: u8| {
            format!("{code:?}") == format!("{:?}", ExitCode::from(number))
        };
        let code = |verdicts: &[Verdict]| code_of(verdicts, &[]);
        assert!(same(code(&[]), 0) && same(code(&[Verdict::Ok; 3]), 0));
        assert!(same(code(&[Verdict::Ok, Verdict::Fail]), 1));
        assert!(same(code(&[Verdict::Ok, Verdict::Unclear]), SPOILT));
        assert!(same(code(&[Verdict::Unclear, Verdict::Fail]), 1));
        assert!(same(code(&[Verdict::Fail, Verdict::Spoilt, Verdict::Ok]), SPOILT));
        // On a disturbed machine a failure shows nothing; what holds even so, holds.
        assert!(same(code_of(&[Verdict::Ok, Verdict::Fail], &["others"]), SPOILT));
        assert!(same(code_of(&[Verdict::Ok], &["others"]), 0));
    }

    /// The number of attempts if this attempt is the first valid one, and why the last one is
    /// invalid.
    fn attempts(spare: Duration, sound_from: usize) -> (usize, Option<String>) {
        let mut program = empty().with_spare(spare);
        // The machine may be busy with other tests.
        program.watch = None;
        let mut attempts = 0;
        let outcome = program.until_sound(|| {
            attempts += 1;
            let reasons = if attempts < sound_from { vec!["late".to_owned()] } else { vec![] };
            Ok::<_, io::Error>((attempts, reasons))
        });
        outcome.expect("no error")
    }

    #[test]
    fn a_disturbed_measurement_is_repeated_a_limited_number_of_times() {
        assert_eq!(attempts(SPARE, 1), (1, None));
        assert_eq!(attempts(SPARE, 3), (3, None));
        assert_eq!(attempts(SPARE, 9), (ATTEMPTS, Some("late".to_owned())));
    }

    #[test]
    fn a_disturbed_measurement_is_not_repeated_without_time() {
        assert_eq!(attempts(Duration::ZERO, 1), (1, None));
        assert_eq!(attempts(Duration::ZERO, 3), (1, Some("late".to_owned())));
    }
}
