//! A fixed-size pool near its capacity and above it: measured, simulated, and in theory.
//!
//! ```text
//! cargo run --release --example saturation
//! ```

mod judge;
mod measure;
mod options;
mod show;
mod variation;

#[path = "../shared/options.rs"]
mod values;

#[path = "../shared/pool.rs"]
mod pool;

#[path = "../shared/theory.rs"]
mod theory;

#[path = "../shared/settled.rs"]
mod settled;

use lab::program::{self, Program};
use lab::trace::Trace;
use measure::{Bench, plain};
use options::Args;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const LEAD: &str = "W workers that each take D for a request carry at most W/D requests per \
    second. Below that, random arrivals make requests wait, more and more as the load approaches \
    W/D. Above it, the queue grows as long as the load lasts. Each latency counts from the \
    intended start of its request.";

/// The time for repeated measurements.
const SPARE: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut program = Program::new(&args.common, "Saturation of a fixed pool", LEAD);
    if let Some(count) = args.trial.twins {
        judge::on_trial(&mut program, &Bench::within(&args, Duration::ZERO), count);
        return program.finish();
    }
    if !args.common.quick {
        program = program.with_spare(SPARE);
    }
    let bench = Bench::new(&args).map_err(plain)?;
    program.text(&bench.describe());
    let runs = bench.all(&mut program).map_err(plain)?;
    let longer = args.longer();
    let counted = Bench::within(&longer, bench.waking);
    let counted = if args.url.is_some() { Ok(Vec::new()) } else { counted.counted(&mut program) };
    let counted = counted.map_err(plain)?;
    if let Some(path) = &args.common.csv {
        let mut trace = Trace::create(path)?;
        runs.iter().try_for_each(|run| trace.add(&run.load.name(), &run.outcomes))?;
        trace.finish()?;
    }
    show::all(&mut program, &bench, &runs)?;
    let findings = judge::judge(&bench, &runs, &counted);
    program.conclude(findings);
    variation::show(&mut program, &bench)?;
    program.finish()
}
