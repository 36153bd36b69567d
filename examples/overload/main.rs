//! Compares the goodput of queue policies under overload, for services that are constant, that
//! vary, and that become slower while the server runs.
//!
//! ```text
//! cargo run --release --example overload
//! ```

mod options;
mod policy;
mod service;
mod measure;
mod together;
mod cells;
mod show;
mod change;
mod lanes;
mod burst;

#[path = "../shared/options.rs"]
mod values;

use cells::Cell;
use lab::evidence::Findings;
use lab::moments::Moments;
use lab::program::{self, Program};
use lab::trace::Trace;
use measure::Bench;
use options::Args;
use policy::Policy;
use service::Service;
use std::error::Error;
use std::process::ExitCode;

const LEAD: &str = "Beyond W/D the pool cannot answer all requests in time. Without a queue limit \
    it answers none: each request is served after its client has hung up. Goodput is the rate of \
    complete 200 responses within the patience T of the intended start, divided by the true \
    capacity.";

/// The minimum goodput with queue limit and timeout under overload, where D is as the server was
/// told; and the maximum without a limit.
const KEPT: f64 = 0.93;
const KEPT_QUICK: f64 = 0.8;
const LOST: f64 = 0.1;

/// How much the twin may be off.
const TWIN_OFF: f64 = 0.05;
const TWIN_OFF_QUICK: f64 = 0.15;

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut program = Program::new(&args.common, "Overload and queue limits", LEAD);
    let bench = Bench::new(&args)?;
    program.text(&show::introduction(&bench));
    let cells = cells::measure(&bench)?;
    let mut trace = args.common.csv.as_deref().map(Trace::create).transpose()?;
    if let Some(trace) = &mut trace {
        trace_all(trace, &cells)?;
    }
    for service in Service::ALL {
        show::goodput(&mut program, &bench, service, &cells)?;
    }
    if args.url.is_none() {
        change::show(&mut program, &bench, &cells)?;
        lanes::show(&mut program, &bench, &cells)?;
        burst::run(&mut program, &bench, trace.as_mut())?;
    }
    check(&mut program, &bench, &cells);
    if let Some(trace) = trace {
        trace.finish()?;
    }
    program.finish()
}

fn trace_all(trace: &mut Trace, cells: &[Cell]) -> Result<(), Box<dyn Error>> {
    for cell in cells {
        for (number, run) in cell.runs.iter().enumerate() {
            if let Some(kept) = &run.kept {
                trace.add(&format!("{}, run {}", cell.name(), number + 1), &kept.outcomes)?;
            }
        }
    }
    Ok(())
}

fn check(program: &mut Program, bench: &Bench<'_>, cells: &[Cell]) {
    let (kept, twin_off) =
        if bench.is_quick() { (KEPT_QUICK, TWIN_OFF_QUICK) } else { (KEPT, TWIN_OFF) };
    for cell in cells {
        let (name, goodput) = (cell.name(), cell.goodput());
        let is_told_right = cell.service == Service::Constant && cell.times >= 1.1;
        let least = match cell.policy {
            Policy::BoundAndAge | Policy::AsItRuns if is_told_right => Some(kept),
            _ => cell.promise(bench),
        };
        let spoilt = cell.spoilt();
        if let (Some(why), true) = (&spoilt, least.is_some() || cell.policy == Policy::Unbounded) {
            program.spoilt(format!("{name}: {why}"));
        }
        let shown = show::mean(&goodput);
        if let Some(least) = least {
            let what = format!("{name}: goodput {shown}, at least {least} required");
            program.check_least(what, &goodput, least);
        }
        if cell.policy == Policy::Unbounded && cell.times > 1.0 {
            let what = format!("{name}: goodput {shown}, at most {LOST} expected");
            program.check_most(what, &goodput, LOST);
        }
    }
    let off: Vec<Moments> = cells.iter().filter_map(Cell::off).collect();
    if let Some(most) = off.iter().map(|off| off.mean().abs()).reduce(f64::max) {
        let mut findings = Findings::default();
        findings.near_of(
            format!(
                "the twin's goodput, with and without bound, is off by {most:.3} at most, \
                 {twin_off} allowed"
            ),
            &off,
            0.0,
            twin_off,
        );
        program.conclude(findings);
    }
    compare(program, cells);
}

/// Where the server was told another D, the measured bounds keep more than the told ones do.
fn compare(program: &mut Program, cells: &[Cell]) {
    let slower = cells.iter().filter(|cell| cell.service == Service::Slower(6));
    for told in slower.clone().filter(|cell| cell.policy == Policy::BoundAndAge) {
        let is_same = |cell: &&Cell| cell.policy == Policy::FAIR && cell.times == told.times;
        let Some(fair) = slower.clone().find(is_same) else { continue };
        // Both have the same arrivals, so each pair of runs is compared.
        let pairs = fair.runs.iter().zip(&told.runs);
        let gain: Moments = pairs.map(|(fair, told)| fair.goodput - told.goodput).collect();
        program.check_least(
            format!(
                "{}: goodput from the measured S is higher by {} than from the D that it was \
                 told, higher required",
                fair.name(),
                show::mean(&gain)
            ),
            &gain,
            0.0,
        );
    }
}
