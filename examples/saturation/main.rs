//! A fixed-size pool near its capacity and above it: measured, simulated, and in theory.
//!
//! ```text
//! cargo run --release --example saturation
//! ```

mod measure;
mod options;
mod show;

#[path = "../shared/options.rs"]
mod values;

#[path = "../shared/pool.rs"]
mod pool;

#[path = "../shared/settled.rs"]
mod settled;

use lab::numbers::percent;
use lab::program::{self, Program};
use lab::trace::Trace;
use measure::{Bench, Run};
use options::{Args, Pattern};
use std::error::Error;
use std::process::ExitCode;

const LEAD: &str = "W workers that each take D for a request carry at most W/D requests per \
    second. Below that, random arrivals make requests wait, more and more as the load approaches \
    W/D. Above it, the queue grows as long as the load lasts. Each latency counts from the \
    intended start of its request.";

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut program = Program::new(&args.common, "Saturation of a fixed pool", LEAD);
    let bench = Bench::new(&args)?;
    program.text(&bench.describe());
    let runs = bench.all(&mut program)?;
    if let Some(path) = &args.common.csv {
        let mut trace = Trace::create(path)?;
        runs.iter().try_for_each(|run| trace.add(&run.name(), &run.outcomes))?;
        trace.finish()?;
    }
    show::all(&mut program, &bench, &runs)?;
    check(&mut program, &bench, &runs);
    program.finish()
}

fn check(program: &mut Program, bench: &Bench, runs: &[Run]) {
    let tolerance = bench.tolerance();
    for run in runs {
        if let Some(why) = &run.spoilt {
            program.spoilt(format!("the run {}: {why}", run.name()));
        }
    }
    for run in runs.iter().filter(|run| run.load.times > 1.0) {
        let share = run.carried / bench.capacity_of(run);
        let name = run.name();
        let least = 1.0 - tolerance.carried;
        program.check(
            format!("{name}: carried {share:.3} of W/D (D as measured), at least {least} required"),
            share >= least,
        );
    }
    // The largest residual of all runs.
    let largest = |of: &dyn Fn(&Run) -> Option<f64>| {
        let residuals = runs.iter().filter_map(of);
        residuals.map(f64::abs).reduce(f64::max)
    };
    let laws: [(&str, Option<f64>); 2] = [
        ("utilisation law, U = X D / W", largest(&|run| run.inside.as_ref().map(|i| i.law))),
        ("Little's law, L = lambda W", largest(&|run| run.inside.as_ref().map(|i| i.little))),
    ];
    for (law, residual) in laws {
        if let Some(residual) = residual {
            let [off, most] = [residual, tolerance.law].map(percent);
            let what = format!("{law}: off by {off} at most, {most} allowed");
            program.check(what, residual <= tolerance.law);
        }
    }
    for run in runs {
        let (measured, twin) = (run.waits.mean(), run.twin.mean());
        let off = measured.abs_diff(twin);
        let most = twin.mul_f64(tolerance.twin).max(run.service.mul_f64(tolerance.floor));
        program.check(
            format!(
                "{}: mean wait {measured:.2?}, the twin's {twin:.2?}, the difference is {off:.2?}, \
                 at most {most:.2?} allowed",
                run.name()
            ),
            off <= most,
        );
    }
    let wait_at = |pattern: Pattern| {
        let mut of = runs.iter().filter(|run| run.load.pattern == pattern);
        let same_load = |run: &&Run| (run.load.times - options::CONSTANT_LOAD).abs() < 1e-9;
        of.find(same_load).map(|run| run.waits.mean())
    };
    if let (Some(chance), Some(even)) = (wait_at(Pattern::Poisson), wait_at(Pattern::Constant)) {
        program.check(
            format!(
            "at the same load of {}, requests wait {even:.2?} with constant gaps and {chance:.2?} \
                 with random arrivals: randomness causes the wait",
                options::CONSTANT_LOAD
            ),
            even * 2 < chance,
        );
    }
}
