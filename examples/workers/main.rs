//! The number of workers: what a bigger pool gains, and what no bound at all costs.
//!
//! ```text
//! cargo run --release --example workers
//! ```
//!
//! The same load per worker on pools of 1 to 16, then the load at which each of them makes its
//! clients wait for the same time; and beside the pool a server with a thread for each connection.

mod equal;
mod memory;
mod threads;
mod unbounded;

#[path = "../shared/options.rs"]
mod values;

#[path = "../shared/pool.rs"]
mod pool;

use clap::Parser;
use lab::program::{self, EXIT_CODES, Options, Program};
use lab::trace::Trace;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const ABOUT: &str = "\
Shows what the number of workers does, and what a thread for each connection does instead.

At the same utilisation, a request waits less in a bigger pool: it must find all workers busy to
wait at all, and the next one is free sooner. Or the other way round: for the same wait, a big pool
may run hotter than a small one. That is why one pool of 16 needs fewer machines than 4 of 4.

A thread for each connection has no such number to choose, and no bound. A connection that does
nothing costs a thread's memory; and past what the back-end carries, threads pile up, each request
waits for all that came before, and what is done at last is done for clients that have hung up.

There is no --url: the pools are those of this process.";

const EXAMPLES: &str = "\
Examples:
  workers                     pools of 1, 2, 4, 8 and 16 at utilisation .8
  workers --utilisation 0.5
  workers --html page.html    with the charts";

/// Shows what the number of workers does, and what a thread for each connection does instead
#[derive(Debug, Parser)]
#[command(name = "workers", version, long_about = ABOUT)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Args {
    /// Back-end delay of each request, D
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "10ms")]
    delay: Duration,

    /// Utilisation of the pools, between 0.1 and 0.95
    #[arg(long, value_name = "RHO", value_parser = utilisation, default_value = "0.8")]
    utilisation: f64,

    /// Connections that are open and do nothing, beside the load
    #[arg(long, value_name = "N", value_parser = values::at_least_one, default_value_t = 1000)]
    idle: usize,

    #[command(flatten)]
    common: Options,
}

impl Args {
    /// The service time by which lateness is judged: in a short form, as if it were longer.
    fn judged(&self) -> Duration {
        if self.common.quick { 4 * self.delay } else { self.delay }
    }
}

fn utilisation(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rho) if (0.1..=0.95).contains(&rho) => Ok(rho),
        Ok(_) => Err("a utilisation between 0.1 and 0.95 is needed".to_owned()),
        Err(_) => Err("it is not a number".to_owned()),
    }
}

fn main() -> ExitCode {
    program::run(show)
}

fn show(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let lead = "Pools of one to many workers at the same utilisation and at the same wait, and a \
                server with a thread for each connection.";
    let mut program = Program::new(&args.common, "The number of workers", lead);
    let mut trace = args.common.csv.as_deref().map(Trace::create).transpose()?;
    equal::show(&args, &mut program, trace.as_mut())?;
    unbounded::show(&args, &mut program, trace.as_mut())?;
    if let Some(trace) = trace {
        trace.finish()?;
    }
    program.finish()
}
