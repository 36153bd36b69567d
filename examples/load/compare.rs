//! `load compare`: two saved runs beside each other.

use crate::options::{Compare, Paths};
use crate::show::{tail, tail_axes};
use lab::chart::{Chart, Colour, Shape};
use lab::comparison::{Line, Measure, Sample, Verdict, compare, is_correlated};
use lab::evidence;
use lab::hdr::Times;
use lab::numbers::percent;
use lab::program::Program;
use lab::saved::{Saved, SavedError};
use lab::table::Table;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const LEAD: &str = "Is the later run better or worse, or is the difference within the noise? The \
                    intervals contain all true differences at once in 95 of 100 comparisons.";

/// Runs of the same kind.
struct Side {
    /// The names of the files.
    names: Vec<String>,
    runs: Vec<Saved>,
}

impl Side {
    fn read(paths: &[PathBuf], with_folders: bool) -> Result<Self, SavedError> {
        let name = |path: &PathBuf| match path.file_name().filter(|_| !with_folders) {
            Some(name) => name.display().to_string(),
            None => path.display().to_string(),
        };
        let runs: Result<_, _> = paths.iter().map(|path| Saved::read(path)).collect();
        Ok(Self { names: paths.iter().map(name).collect(), runs: runs? })
    }

    /// The name of all runs together.
    fn name(&self) -> String {
        match &self.names[..] {
            [one] => one.clone(),
            several => format!("{} and {} more", several[0], several.len() - 1),
        }
    }

    fn samples(&self) -> Vec<Sample> {
        self.runs.iter().map(Saved::sample).collect()
    }
}

/// Compares the runs of two files, or of several on each side.
pub fn run(options: &Compare) -> Result<ExitCode, Box<dyn Error>> {
    let Compare { earlier: Paths(earlier), later: Paths(later), tolerance, .. } = options;
    let common = options.common();
    let with_folders = earlier[0].file_name() == later[0].file_name();
    let sides = [Side::read(earlier, with_folders)?, Side::read(later, with_folders)?];
    let names = sides.each_ref().map(Side::name);
    let mut program = Program::new(&common, "Comparison", LEAD);
    for side in &sides {
        for (name, run) in side.names.iter().zip(&side.runs) {
            program.text(&format!("{name}: {}", run.load));
        }
    }
    let samples = sides.each_ref().map(Side::samples);
    let lines = compare(&samples[0], &samples[1], *tolerance, common.seed);
    program.table(&table(&lines, &names));
    program.text(match sides.iter().all(|side| side.runs.len() > 1) {
        true => "The intervals follow from the differences between the runs of a side.",
        false => {
            "The intervals follow from the differences within a run. They know nothing of what \
             changes from run to run (for that, give several runs of each kind, with commas)."
        }
    });
    remarks(&sides).iter().for_each(|remark| program.text(remark));
    if sides.iter().flat_map(|side| &side.runs).all(|run| run.successes > 0) {
        program.chart(&chart(&sides, &names), "From the intended start.")?;
    }
    let (what, verdict) = conclusion(&lines, &names);
    let mut findings = evidence::Findings::default();
    findings.add(what, verdict);
    program.conclude(findings);
    program.finish()
}

fn name_of(measure: Measure) -> String {
    match measure {
        Measure::Answered => "answered a second".to_owned(),
        Measure::Failed => "failed".to_owned(),
        Measure::Mean => "mean latency".to_owned(),
        Measure::Quantile(quantile) => format!("p{}", quantile * 100.0),
    }
}

fn said(measure: Measure, value: Option<f64>) -> String {
    match (measure, value) {
        (_, None) => "none".to_owned(),
        (Measure::Answered, Some(value)) => format!("{value:.1}"),
        (Measure::Failed, Some(value)) => percent(value),
        (_, Some(value)) => format!("{:.2?}", Duration::from_secs_f64(value)),
    }
}

fn verdict_of(line: &Line) -> &'static str {
    match line.verdict {
        Verdict::WithinNoise => "within the noise",
        Verdict::Better => "BETTER",
        Verdict::Worse => "WORSE",
        Verdict::Unknown => "too few requests",
    }
}

fn table(lines: &[Line], names: &[String; 2]) -> Table {
    let [earlier, later] = names;
    let mut table =
        Table::new(["", earlier, later, "difference", "interval", ""].map(str::to_owned));
    for line in lines {
        // Shares differ by points; everything else by a part of the earlier value.
        let scale = match (line.measure, line.values[0]) {
            (Measure::Failed, _) => Some(100.0),
            (_, Some(earlier)) if earlier > 0.0 => Some(100.0 / earlier),
            _ => None,
        };
        let unit = if line.measure == Measure::Failed { "points" } else { "%" };
        let (difference, interval) = match (line.difference(), scale) {
            (Some(difference), Some(scale)) => {
                let [low, high] =
                    [-1.0, 1.0].map(|side| (difference + side * line.half_width) * scale);
                let interval = match line.half_width.is_finite() {
                    true => format!("{low:+.2} to {high:+.2} {unit}"),
                    false => String::new(),
                };
                (format!("{:+.2} {unit}", difference * scale), interval)
            }
            _ => (String::new(), String::new()),
        };
        table.row([
            name_of(line.measure),
            said(line.measure, line.values[0]),
            said(line.measure, line.values[1]),
            difference,
            interval,
            verdict_of(line).to_owned(),
        ]);
    }
    table
}

/// What makes the runs less comparable.
fn remarks(sides: &[Side; 2]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (name, run) in sides.iter().flat_map(|side| side.names.iter().zip(&side.runs)) {
        if run.interrupted {
            remarks.push(format!("{name} was ended before its time."));
        }
        let broken = run.checks.iter().filter(|check| check.verdict != "ok");
        for check in broken {
            remarks.push(format!("In {name}: CHECK {} ... {}", check.what, check.verdict));
        }
        if is_correlated(&run.sample()) {
            remarks.push(format!(
                "{name}: its latencies drift or come in waves that are longer than a window of \
                 {:?}, so that its intervals are too narrow (make a longer run).",
                Duration::from_secs_f64(run.window_seconds)
            ));
        }
        if run.machine != sides[0].runs[0].machine {
            remarks.push(format!("{name} ran on another machine: {}.", run.machine));
        }
    }
    remarks
}

fn chart(sides: &[Side; 2], names: &[String; 2]) -> Chart {
    let (across, up) = tail_axes();
    let title = "Latency by percentile in two runs";
    let chart = Chart::new(title, "Latency by the share of slower requests", across, up);
    let line = |side: &Side| {
        let mut all = Times::default();
        side.runs.iter().for_each(|run| all.add(&run.latencies()));
        tail(&all, side.runs.iter().map(|run| run.requests).sum())
    };
    chart.with(&names[0], Colour::Blue, Shape::Dashed(line(&sides[0]))).with(
        &names[1],
        Colour::Red,
        Shape::Line(line(&sides[1])),
    )
}

fn conclusion(lines: &[Line], names: &[String; 2]) -> (String, evidence::Verdict) {
    let of = |verdict: Verdict| {
        let lines = lines.iter().filter(move |line| line.verdict == verdict);
        lines.map(|line| name_of(line.measure)).collect::<Vec<_>>()
    };
    let [earlier, later] = names;
    let (worse, better, unknown) = (of(Verdict::Worse), of(Verdict::Better), of(Verdict::Unknown));
    let listed = |what: &str, of: &[String]| match of {
        [] => String::new(),
        of => format!("; {what}: {}", of.join(", ")),
    };
    let differences = match (&worse[..], &better[..]) {
        ([], []) => "; all differences are within the noise".to_owned(),
        _ => listed("worse", &worse) + &listed("better", &better),
    };
    let claim = format!("{later} is no worse than {earlier}");
    match (worse.is_empty(), unknown.len() == lines.len()) {
        (_, true) => {
            (format!("{claim}; there are too few requests to tell"), evidence::Verdict::Unclear)
        }
        (true, _) => (claim + &differences, evidence::Verdict::Ok),
        (false, _) => (claim + &differences, evidence::Verdict::Fail),
    }
}
