//! Clients that wait for their answers: what a closed-loop test shows of a pool, and what it hides.
//!
//! ```text
//! cargo run --release --example closed_loop
//! ```
//!
//! N clients ask, wait for the answer, think for Z, and ask again. First the number of clients is
//! raised past the knee: throughput and response time follow the asymptotes of queueing theory, and
//! nothing is ever overloaded. Then a server stalls once, and two clocks look at it.

mod bounds;
mod stall;

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
What a test with clients that wait for their answers shows of a pool, and what it hides.

A pool of W workers at delay D carries W/D requests a second. N clients that think for Z between an
answer and their next request ask for at most N/(D+Z) a second: so the throughput is the smaller of
the two, and the response time at least D, and at least ND/W - Z. The lines cross at
N* = W (1 + Z/D) clients. Beyond it each client adds the same time to what all wait, and no request
more. Such a test cannot overload a server: the slower it is, the less it is asked.

That is also why it hides a stall. While the server stalls, clients that wait for it ask nothing, so
that N slow requests are all that the percentiles see of it. Users do not wait for one another. An
open loop, which counts from the intended start, sees all of those who came meanwhile.";

const EXAMPLES: &str = "\
Examples:
  closed_loop                          4 workers at 10ms, in this process
  closed_loop --workers 8 --delay 5ms
  closed_loop --html page.html         with the charts
  closed_loop --url http://127.0.0.1:8080/testfile --workers 4 --delay 10ms
                                       of a server with these workers and this delay";

/// Shows what a closed-loop test shows of a pool, and what it hides
#[derive(Debug, Parser)]
#[command(name = "closed_loop", version, long_about = ABOUT)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Args {
    /// Worker threads, W
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one, default_value_t = 4)]
    workers: usize,

    /// Back-end delay of each request, D
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "10ms")]
    delay: Duration,

    /// A running server with these workers and this delay, in the place of one in this process; the
    /// stall is then left out
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    #[command(flatten)]
    common: Options,
}

impl Args {
    /// The service time by which lateness is judged: in a short form, as if it were longer.
    fn judged(&self) -> Duration {
        if self.common.quick { 4 * self.delay } else { self.delay }
    }
}

fn main() -> ExitCode {
    program::run(show)
}

fn show(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let lead = "Clients that wait for their answers: throughput and response time against their \
                number, and one stall seen by two clocks.";
    let mut program = Program::new(&args.common, "Closed loop", lead);
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
