//! A closed-loop test of a pool: what it shows, and what it hides.
//!
//! ```text
//! cargo run --release --example closed_loop
//! ```
//!
//! N clients send a request, wait for the answer, think for the time Z, and repeat. First the
//! number of clients rises beyond the knee: throughput and response time follow the asymptotes of
//! queueing theory, and the pool is never overloaded. Then the server stalls once, and two clocks
//! measure the effect.

mod bounds;
mod judge;
mod stall;

#[path = "../shared/options.rs"]
mod values;

#[path = "../shared/pool.rs"]
mod pool;

#[path = "../shared/settled.rs"]
mod settled;

use clap::Parser;
use cws::ServiceTime;
use lab::program::{self, EXIT_CODES, Options, Program};
use lab::trace::Trace;
use lab::trial::TrialOptions;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const ABOUT: &str = "\
Shows what a closed-loop test can measure, and what it hides.

A pool of W workers with delay D carries W/D requests per second. N clients that think for the time
Z between an answer and their next request send at most N/(D+Z) per second. So the throughput is at
most the smaller of the two, and the response time is at least D, and at least ND/W - Z. The lines
cross at N* = W (1 + Z/D) clients. Beyond it, more clients only make all of them wait longer. Such a
test cannot overload a server: the slower the server is, the fewer requests it gets.

For the same reason it hides a stall. While the server stalls, its clients send nothing, so the
percentiles contain only N slow requests. Real users do not wait for one another. An open loop,
which measures from the intended start, sees all requests that arrive during the stall.";

const EXAMPLES: &str = "\
Examples:
  closed_loop                          4 workers at 10ms, in this process
  closed_loop --workers 8 --delay 5ms
  closed_loop --service exp:10ms       services that vary
  closed_loop --twins 200              how often do the checks raise a false alarm?
  closed_loop --html page.html         with the charts
  closed_loop --url http://127.0.0.1:8080/testfile --workers 4 --delay 10ms
                                       another server, with these workers and this delay";

/// Shows what a closed-loop test can measure, and what it hides
#[derive(Debug, Parser)]
#[command(name = "closed_loop", version, long_about = ABOUT)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Args {
    /// Number of worker threads, W
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one, default_value_t = 4)]
    workers: usize,

    /// Delay of each request, D
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "10ms")]
    delay: Duration,

    /// Law of the service time instead, for example exp:10ms; D is its mean
    #[arg(long, value_name = "LAW", value_parser = values::service)]
    service: Option<ServiceTime>,

    /// Measure this running server, which has these workers and this delay; skips the stall
    /// [default: a pool in this process]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

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

fn main() -> ExitCode {
    program::run(show)
}

fn show(mut args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let lead = "Clients that wait for their answers: throughput and response time against their \
                number, and one stall measured by two clocks.";
    let mut program = Program::new(&args.common, "Closed loop", lead);
    args.delay = args.service().mean();
    if let Some(count) = args.trial.twins {
        judge::on_trial(&args, &mut program, count);
        return program.finish();
    }
    let mut trace = args.common.csv.as_deref().map(Trace::create).transpose()?;
    bounds::show(&args, &mut program, trace.as_mut())?;
    if args.url.is_none() {
        stall::show(&args, &mut program, trace.as_mut())?;
    }
    if let Some(trace) = trace {
        trace.finish()?;
    }
    program.finish()
}
