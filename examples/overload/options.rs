//! The options of `overload`.

use crate::values;
use lab::program::{EXIT_CODES, Options};
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  no bound      beyond the knee the queue gets longer than clients wait: all work is useless
  503 at T      admitted requests are answered at the very end of the patience, often too late
  503 at T/2    admitted requests are answered in time, the others are refused at once
  age T/2       works even if D is not as configured; the queue limit alone relies on D
  the burst     refused clients retry: without a limit the pool never gets rid of tries that the
                clients gave up, even if the load is below the knee again";

/// Offers m times the capacity to a pool of W workers with delay D, under four queue policies, from
/// clients with a patience of T; then a burst, with clients that retry.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "overload", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Number of workers
    #[arg(long, short, value_name = "W", default_value = "4", value_parser = values::at_least_one)]
    pub workers: usize,

    /// Delay of each request, for example 10ms [default: 10ms, with --quick 20ms]
    #[arg(long, value_name = "D", value_parser = values::duration)]
    delay: Option<Duration>,

    /// Time that a client waits before it hangs up [default: 10 D]
    #[arg(long, value_name = "T", value_parser = values::duration)]
    patience: Option<Duration>,

    /// Measure this running server, as it is configured; its workers and delay are given by the
    /// other options
    #[arg(long)]
    pub url: Option<String>,

    #[command(flatten)]
    pub common: Options,
}

impl Args {
    pub fn delay(&self) -> Duration {
        let millis = if self.common.quick { 20 } else { 10 };
        self.delay.unwrap_or(Duration::from_millis(millis))
    }

    pub fn patience(&self) -> Duration {
        self.patience.unwrap_or(self.delay() * 10)
    }
}
