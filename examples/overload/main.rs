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
mod judge;
mod change;
mod lanes;
mod burst;
mod ideal;

#[path = "../shared/options.rs"]
mod values;

use cells::Cell;
use lab::program::{self, Program};
use lab::trace::Trace;
use lab::trial;
use measure::Bench;
use options::Args;
use service::Service;
use std::error::Error;
use std::process::ExitCode;

const LEAD: &str = "Beyond W/D the pool cannot answer all requests in time. Without a queue limit \
    it answers none: each request is served after its client has hung up. Goodput is the rate of \
    complete 200 responses within the patience T of the intended start, divided by the true \
    capacity.";

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut program = Program::new(&args.common, "Overload and queue limits", LEAD);
    let bench = Bench::new(&args)?;
    program.text(&show::introduction(&bench));
    if let Some(count) = args.trial.twins {
        trial::run(&mut program, count, &ideal::FAULTS, |number, fault| {
            ideal::judged(&bench, number, fault)
        });
        return program.finish();
    }
    let cells = cells::measure(&bench, &|cells, places| cells::real(&bench, cells, places))?;
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
    for cell in cells.iter().filter(|cell| judge::is_judged(&bench, cell)) {
        if let Some(why) = cell.spoilt() {
            program.spoilt(format!("{}: {why}", cell.name()));
        }
    }
    program.conclude(judge::judge(&bench, &cells));
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
