//! The number of workers: the benefit of a larger pool, and the cost of having no limit.
//!
//! ```text
//! cargo run --release --example workers
//! ```
//!
//! Runs pools of 1 to 16 workers at the same utilisation, and then at the same wait. Compares the
//! pool with a server that has one thread per connection.

mod equal;
mod memory;
mod threads;
mod unbounded;

#[path = "../shared/options.rs"]
mod values;

#[path = "../shared/pool.rs"]
mod pool;

#[path = "../shared/theory.rs"]
mod theory;

use clap::Parser;
use cws::ServiceTime;
use lab::program::{self, EXIT_CODES, Options, Program};
use lab::trace::Trace;
use lab::trial::TrialOptions;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const ABOUT: &str = "\
Shows the effect of the number of workers, and compares the pool with one thread per connection.

At the same utilisation, requests wait less in a larger pool: a request waits only if all workers
are busy, and then the next one is free sooner. In other words, for the same wait a larger pool may
have a higher utilisation. So one pool of 16 workers carries more than 4 pools of 4.

One thread per connection needs no such number, but has no limit. An idle connection costs the
memory of a thread. Beyond the capacity of the back-end, threads pile up, each request waits for all
earlier ones, and in the end the server answers clients that have hung up.

There is no --url: the pools run in this process.";

const EXAMPLES: &str = "\
Examples:
  workers                     pools of 1, 2, 4, 8 and 16 at utilisation .8
  workers --utilisation 0.5
  workers --service exp:10ms  services that vary
  workers --twins 200         how often do the checks raise a false alarm?
  workers --html page.html    with the charts";

/// Shows the effect of the number of workers, and compares the pool with one thread per connection
#[derive(Debug, Parser)]
#[command(name = "workers", version, long_about = ABOUT)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Args {
    /// Delay of each request, D
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "10ms")]
    delay: Duration,

    /// Law of the service time instead, for example exp:10ms; D is its mean
    #[arg(long, value_name = "LAW", value_parser = values::service)]
    service: Option<ServiceTime>,

    /// Utilisation of the pools, between 0.1 and 0.95
    #[arg(long, value_name = "RHO", value_parser = utilisation, default_value = "0.8")]
    utilisation: f64,

    /// Number of idle connections, in addition to the load
    #[arg(long, value_name = "N", value_parser = values::at_least_one, default_value_t = 1000)]
    idle: usize,

    #[command(flatten)]
    trial: TrialOptions,

    #[command(flatten)]
    common: Options,
}

impl Args {
    /// The law of the service time.
    fn service(&self) -> ServiceTime {
        self.service.clone().unwrap_or_else(|| self.delay.into())
    }

    /// The service time for the check of lateness: longer in the short form.
    fn judged(&self) -> Duration {
        if self.common.quick { 4 * self.delay } else { self.delay }
    }
}

fn utilisation(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rho) if (0.1..=0.95).contains(&rho) => Ok(rho),
        Ok(_) => Err("it must be between 0.1 and 0.95".to_owned()),
        Err(_) => Err("it must be a number".to_owned()),
    }
}

fn main() -> ExitCode {
    program::run(show)
}

fn show(mut args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let lead = "Pools of different sizes at the same utilisation and at the same wait, and a \
                server with one thread per connection.";
    let mut program = Program::new(&args.common, "The number of workers", lead);
    args.delay = args.service().mean();
    if let Some(count) = args.trial.twins {
        equal::on_trial(&args, &mut program, count)?;
        return program.finish();
    }
    let mut trace = args.common.csv.as_deref().map(Trace::create).transpose()?;
    equal::show(&args, &mut program, trace.as_mut())?;
    unbounded::show(&args, &mut program, trace.as_mut())?;
    if let Some(trace) = trace {
        trace.finish()?;
    }
    program.finish()
}
