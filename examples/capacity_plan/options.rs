//! What `capacity_plan` is asked for.

use crate::plan::{Service, Want};
use crate::values;
use lab::program::{EXIT_CODES, Options};
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  busy       rate times delay over workers; a plan at .95 is not thrifty but slow
  p99        falls by a lot with one more worker near the least number, and by nothing beyond it
  refused    the queue's bound is half of the patience: with enough workers it is never reached
  machines   two pools of half the size need more workers than one

Service times are constant unless told otherwise; the arrivals are a Poisson process. The waits of
constant service are exact (M/D/c), and so are those of exponential service (M/M/c); the share that
is refused is an approximation by the tail of the queue without a bound.";

/// Finds the least number of workers that answers a load in time, and what one fewer would cost.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "capacity_plan", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Requests a second that come
    #[arg(long, short, value_name = "N", default_value = "1000", value_parser = values::rate)]
    rate: f64,

    /// What each takes a worker, as 10ms
    #[arg(long, value_name = "D", default_value = "10ms", value_parser = values::duration)]
    delay: Duration,

    /// Time within which 99 of 100 are to be answered [default: 2.5 D]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    p99: Option<Duration>,

    /// Time for which clients wait at all: sets queue and queue timeout [default: 20 D]
    #[arg(long, value_name = "T", value_parser = values::duration)]
    deadline: Option<Duration>,

    /// Share of the requests that may be refused, as .001
    #[arg(long, value_name = "SHARE", default_value = "0.001", value_parser = below_one)]
    refuse: f64,

    /// How the service times are spread
    #[arg(long, value_enum, default_value_t = Service::Constant)]
    service: Service,

    /// Most workers that one machine runs
    #[arg(long, value_name = "W", default_value = "256", value_parser = machine)]
    pub per_machine: u32,

    /// Run a real pool at this point, and lay what it does beside the plan
    #[arg(long)]
    pub verify: bool,

    #[command(flatten)]
    pub common: Options,
}

impl Args {
    pub fn want(&self) -> Result<Want, String> {
        let Self { rate, delay, refuse, service, .. } = *self;
        let p99 = self.p99.unwrap_or(delay.mul_f64(2.5));
        let deadline = self.deadline.unwrap_or(delay * 20);
        for (what, time) in [("a p99", p99), ("a deadline", deadline)] {
            if time < delay {
                return Err(format!(
                    "no pool answers within {time:?} what takes {delay:?} (ask for {what} of at \
                     least the delay)"
                ));
            }
        }
        if self.verify && service != Service::Constant {
            return Err("a real pool has a constant delay (leave out --service or --verify)".into());
        }
        Ok(Want { rate, delay, p99, deadline, refuse, service })
    }
}

fn below_one(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to below 1".to_owned()),
    }
}

fn machine(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(workers @ 1..=4096) => Ok(workers),
        _ => Err("a machine has 1 to 4096 workers".to_owned()),
    }
}
