//! Shows who waits for whom under a heavy tail, in four orders of service.
//!
//! ```text
//! cargo run --release --example schedule
//! ```

mod ideal;
mod judge;
mod measure;
mod options;
mod show;
mod sizes;

#[path = "../shared/options.rs"]
mod values;

use lab::program::{self, Program};
use lab::trace::Trace;
use lab::trial;
use measure::{Measured, ORDERS, SIMULATED};
use options::Args;
use sizes::moment;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const LEAD: &str = "Most requests are short and most of the work is in a few long ones, as files, \
    queries and reports are. Then the order of service decides: in the order of arrival, a short \
    request waits for the long ones before it, for many times its own service.";

const CAPTION: &str = "The mean time to an answer over the service, by size; lines are the steady \
    state of ideal pools, marks are measured.";

/// The time that repeated measurements may take, and with `--quick`.
const SPARE: Duration = Duration::from_secs(10);
const SPARE_QUICK: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let spare = if args.common.quick { SPARE_QUICK } else { SPARE };
    let mut program = Program::new(&args.common, "Four orders of service", LEAD).with_spare(spare);
    let sizes = args.sizes();
    let (mean, square) = (moment(&sizes, 1), moment(&sizes, 2));
    program.text(&format!(
        "W = {}; {} sizes from {:?} to {:?}, of mean {:.2} ms and coefficient of variation {:.2}; \
         {:.0} requests a second, a utilisation of {}. {} runs of {:?} in each order, side by side \
         and with the same arrivals. Times are in milliseconds; slowdown is the time to an answer \
         over the service.",
        args.workers,
        sizes.len(),
        sizes[0].time,
        sizes[sizes.len() - 1].time,
        mean * 1e3,
        (square / mean.powi(2) - 1.0).sqrt(),
        args.rate(&sizes),
        args.utilisation,
        args.runs(),
        args.length()
    ));
    if let Some(count) = args.trial.twins {
        trial::run(&mut program, count, &ideal::FAULTS, |number, fault| {
            ideal::judged(&args, &sizes, number, fault)
        });
        return program.finish();
    }
    let measured = measure::measure(&mut program, &args, &sizes)?;
    write_trace(&args, &measured)?;
    program.heading("Measured");
    program.table(&show::runs(&measured));
    let over: Vec<String> =
        measured.iter().map(|of| format!("{:.0} us", of.over.as_secs_f64() * 1e6)).collect();
    program.text(&format!(
        "\nThe twins have the same arrivals, and services that are longer than nominal by what was \
         measured: {}. As in the server, the next request is chosen when the one before it starts.",
        over.join(", ")
    ));
    program.heading("In the long run");
    let steady = measure::steady(&args, &sizes, SIMULATED, args.common.seed);
    let shown = &steady[..ORDERS.len()];
    let theory = judge::theory(&args, &sizes);
    program.table(&show::steady(shown, theory.as_ref().map(|theory| &theory.means)));
    program.text(
        "\nIdeal pools that choose the next request when a worker is free, with 95 % intervals. \
         Theory is that of one worker: Pollaczek and Khinchine for fifo, whose mean wait lifo \
         shares, and Cobham for smallest first.",
    );
    program.heading("By size");
    program.table(&show::by_size(&sizes, &measured, shown));
    program.chart(&show::chart(&sizes, &measured, shown), CAPTION)?;
    for (of, (name, ..)) in measured.iter().zip(ORDERS) {
        if let Some(why) = &of.spoilt {
            program.spoilt(format!("the runs of {name}: {why}"));
        }
    }
    program.conclude(judge::runs(&args, &measured));
    program.conclude(judge::simulations(&args, &sizes, &steady));
    program.finish()
}

fn write_trace(args: &Args, measured: &[Measured]) -> Result<(), Box<dyn Error>> {
    let Some(path) = args.common.csv.as_deref() else { return Ok(()) };
    let mut trace = Trace::create(path)?;
    for (of, (name, ..)) in measured.iter().zip(ORDERS) {
        for (number, outcomes) in of.outcomes.iter().enumerate() {
            trace.add(&format!("{name}, size {number}"), outcomes)?;
        }
    }
    Ok(trace.finish()?)
}
