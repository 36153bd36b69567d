//! The options of `overload`.

use crate::values;
use lab::program::{EXIT_CODES, Options};
use lab::trial::TrialOptions;
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  no bound      beyond the knee the queue gets longer than clients wait: all work is useless
  503 at T      admitted requests are answered at the very end of the patience, often too late
  503 at T/2    admitted requests are answered in time, the others are refused at once
  age T/2       works even if D is not as configured; the queue limit alone relies on D
  from S        the server measures its service time S, and needs to be told T alone: D may vary,
                and become longer while it runs
  S over time   how long the estimate takes to follow, and what the clients get meanwhile
  the burst     refused clients retry: without a limit the pool never gets rid of tries that the
                clients gave up, even if the load is below the knee again";

/// Offers m times the capacity to a pool of W workers with delay D, under seven queue policies and
/// for four kinds of services, from clients with a patience of T; then a burst, with clients that
/// retry.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "overload", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Number of workers
    #[arg(long, short, value_name = "W", default_value = "4", value_parser = values::at_least_one)]
    pub workers: usize,

    /// Delay of each request, for example 10ms
    #[arg(long, value_name = "D", default_value = "20ms", value_parser = values::duration)]
    delay: Duration,

    /// Time that a client waits before it hangs up [default: 10 D]
    #[arg(long, value_name = "T", value_parser = values::duration)]
    patience: Option<Duration>,

    /// Runs of each measured policy at each load, with other arrivals each [default: 4, with
    /// --quick 3]
    #[arg(long, value_name = "N", value_parser = values::at_least_one)]
    runs: Option<usize>,

    /// Runs that take place at the same time
    #[arg(long, value_name = "N", default_value = "48", value_parser = values::at_least_one)]
    at_once: usize,

    /// Measure this running server, as it is configured; its workers and delay are given by the
    /// other options
    #[arg(long)]
    pub url: Option<String>,

    #[command(flatten)]
    pub trial: TrialOptions,

    #[command(flatten)]
    pub common: Options,
}

impl Args {
    pub fn delay(&self) -> Duration {
        self.delay
    }

    pub fn patience(&self) -> Duration {
        self.patience.unwrap_or(self.delay * 10)
    }

    pub fn runs(&self) -> u64 {
        let default = if self.common.quick { 3 } else { 4 };
        self.runs.unwrap_or(default) as u64
    }

    /// A server that runs elsewhere gets one load at a time.
    pub fn at_once(&self) -> usize {
        if self.url.is_some() { 1 } else { self.at_once.min(64) }
    }
}
