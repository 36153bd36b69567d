//! The options of `capacity_plan`.

use crate::plan::{Service, Want};
use crate::values;
use lab::program::{EXIT_CODES, Options};
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  busy       rate times delay divided by workers; at 0.95, waits are long
  p99        falls a lot with one more worker near the minimum, and hardly beyond it
  refused    the queue holds half of the deadline: with enough workers it never gets full
  machines   two pools of half the size need more workers than one

Service times are constant by default; arrivals are a Poisson process. All figures are those of a
pool with a bounded queue, at any load. They are exact for exponential service (M/M/c/K). For
constant service, waits are exact as long as nearly nothing is refused (M/D/c); otherwise an
interpolation (M/D/c/K) gives the refused share within 2 % of it, and the waits within 7 %.

--verify runs a real pool and compares it with these figures. A figure fails if it differs by more
than the largest deviation of 200 ideal pools with other random arrivals: by chance alone, that is
one run in a hundred for each figure.";

/// Computes the minimum number of workers that answers a load in time, and the effect of one fewer.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "capacity_plan", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Arrival rate in requests per second
    #[arg(long, short, value_name = "N", default_value = "1000", value_parser = values::rate)]
    rate: f64,

    /// Service time of each request (the worker's delay), for example 10ms
    #[arg(long, value_name = "D", default_value = "10ms", value_parser = values::duration)]
    delay: Duration,

    /// Target for the 99th percentile of the latency [default: 2.5 D]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    p99: Option<Duration>,

    /// Time that clients wait for a response; sets the queue and the queue timeout [default: 20 D]
    #[arg(long, value_name = "T", value_parser = values::duration)]
    deadline: Option<Duration>,

    /// Maximum share of refused requests, for example .001
    #[arg(long, value_name = "SHARE", default_value = "0.001", value_parser = below_one)]
    refuse: f64,

    /// Distribution of the service times
    #[arg(long, value_enum, default_value_t = Service::Constant)]
    service: Service,

    /// Maximum number of workers per machine
    #[arg(long, value_name = "W", default_value = "256", value_parser = machine)]
    pub per_machine: u32,

    /// Run a real pool with the plan, and compare the results
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
                    "no pool answers within {time:?} if the service takes {delay:?} (choose {what} \
                 of at least the delay)"
                ));
            }
        }
        if self.verify && service != Service::Constant {
            return Err("a real pool has a constant delay (remove --service or --verify)".into());
        }
        Ok(Want { rate, delay, p99, deadline, refuse, service })
    }
}

fn below_one(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("it must be a number from 0 to below 1".to_owned()),
    }
}

fn machine(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(workers @ 1..=4096) => Ok(workers),
        _ => Err("it must be 1 to 4096 workers".to_owned()),
    }
}
