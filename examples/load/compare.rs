//! `load compare`: two saved runs beside each other.

use crate::options::Compare;
use crate::show::{tail, tail_axes};
use lab::chart::{Chart, Colour, Shape};
use lab::comparison::{Line, Measure, Verdict, compare, is_correlated};
use lab::evidence;
use lab::numbers::percent;
use lab::program::Program;
use lab::saved::Saved;
use lab::table::Table;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Compares the runs of two files.
pub fn run(options: &Compare) -> Result<ExitCode, Box<dyn Error>> {
    let paths = [&options.earlier, &options.later];
    let [earlier, later] = paths.map(|path| Saved::read(path));
    let runs = [earlier?, later?];
    let names = names(paths.map(|path| path.as_path()));
    let lead = "The intervals contain all true differences at once in 95 of 100 comparisons. They \
                know how much each run varies within itself; they do not know what else changed \
                between the runs.";
    let mut program = Program::new(&options.common, "Comparison", lead);
    for (name, run) in names.iter().zip(&runs) {
        program.text(&format!("{name}: {}", run.load));
    }
    let samples = [runs[0].sample(), runs[1].sample()];
    let lines = compare(&samples[0], &samples[1], options.common.seed);
    program.table(&table(&lines, &names));
    for remark in remarks(&runs, &names) {
        program.text(&remark);
    }
    for (name, sample) in names.iter().zip(&samples) {
        if is_correlated(sample) {
            program.text(&format!(
                "{name}: its latencies drift or come in waves that are longer than a window of \
                 {:?}, so that its intervals are too narrow (make a longer run).",
                Duration::from_secs_f64(sample.window)
            ));
        }
    }
    if runs.iter().all(|run| run.successes > 0) {
        program.chart(&chart(&runs, &names), "From the intended start.")?;
    }
    let (what, verdict) = conclusion(&lines, &names);
    let mut findings = evidence::Findings::default();
    findings.add(what, verdict);
    program.conclude(findings);
    program.finish()
}

/// Names of the files, with their folders if the names are the same.
fn names(paths: [&Path; 2]) -> [String; 2] {
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).display().to_string();
    let short = paths.map(name);
    if short[0] == short[1] { paths.map(|path| path.display().to_string()) } else { short }
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
fn remarks(runs: &[Saved; 2], names: &[String; 2]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (run, name) in runs.iter().zip(names) {
        if run.interrupted {
            remarks.push(format!("{name} was ended before its time."));
        }
        let broken = run.checks.iter().filter(|check| check.verdict != "ok");
        for check in broken {
            remarks.push(format!("In {name}: CHECK {} ... {}", check.what, check.verdict));
        }
    }
    if runs[0].machine != runs[1].machine {
        let [earlier, later] = [&runs[0].machine, &runs[1].machine];
        remarks.push(format!("The machines differ: {earlier}; {later}."));
    }
    remarks
}

fn chart(runs: &[Saved; 2], names: &[String; 2]) -> Chart {
    let (across, up) = tail_axes();
    let title = "Latency by percentile in two runs";
    let chart = Chart::new(title, "Latency by the share of slower requests", across, up);
    let line = |run: &Saved| tail(&run.latencies(), run.requests);
    chart.with(&names[0], Colour::Blue, Shape::Dashed(line(&runs[0]))).with(
        &names[1],
        Colour::Red,
        Shape::Line(line(&runs[1])),
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
