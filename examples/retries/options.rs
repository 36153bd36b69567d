//! The options of `retries`.

use crate::values;
use lab::program::{EXIT_CODES, Options};
use lab::trial::TrialOptions;
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  no bound      the burst is over, its retries are not: they keep up the backlog that makes them
                fail, and goodput stays at zero although the load is below the knee again
  backoff       moves the retries, and does not remove any: it prevents no such collapse
  budget        a client that fails often retries rarely: .1 of a retry for each success
  throttle      a client that is refused often does not even send its first tries
  deadline      the server drops what is too old and refuses what would be: then even clients that
                retry at once do no harm
  the map       from which base load, and from which burst on, the collapse stays";

/// Sends a burst on top of a base load to a pool of W workers with delay D, from clients that retry
/// in five ways; and simulates many more loads and bursts.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "retries", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Number of workers
    #[arg(long, short, value_name = "W", default_value = "4", value_parser = values::at_least_one)]
    pub workers: usize,

    /// Delay of each request
    #[arg(long, value_name = "D", default_value = "20ms", value_parser = values::duration)]
    pub delay: Duration,

    /// Number of runs of each case, each with its own random arrivals
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u8).range(2..=50))]
    runs: u8,

    #[command(flatten)]
    pub trial: TrialOptions,

    #[command(flatten)]
    pub common: Options,
}

impl Args {
    /// How long a client waits for an answer: T = 10 D.
    pub fn patience(&self) -> Duration {
        self.delay * 10
    }

    /// W/D in requests per second.
    pub fn capacity(&self) -> f64 {
        self.workers as f64 / self.delay.as_secs_f64()
    }

    /// The seeds of the runs of a case.
    pub fn seeds(&self) -> Vec<u64> {
        (0..self.runs).map(|number| self.common.seed.wrapping_add(number.into())).collect()
    }
}
