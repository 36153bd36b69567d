//! The options of `fairness`.

use crate::values;
use lab::program::{EXIT_CODES, Options};
use lab::trial::TrialOptions;
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  fifo          who asks more often gets more: a client with 90 % of the requests has 90 % of the
                answers, and the others fail although they ask for little
  lifo          the same, with shorter waits for those that are answered
  fair          clients take turns: who asks for less than a fair share gets all of it, at once;
                the greedy one gets what is left, which is as much as there is
  connections   with fifo a client's share grows with its connections; with fair it does not
  a browser     six connections are no greed: nobody notices them

The clients are addresses of 127.0.0.0/8, all of which are local on Linux.";

/// Greedy and polite clients at one pool of W workers with delay D, in three orders of service: who
/// gets how many answers, and how soon.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "fairness", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Number of workers
    #[arg(long, short, value_name = "W", default_value = "4", value_parser = values::at_least_one)]
    pub workers: usize,

    /// Delay of each request
    #[arg(long, value_name = "D", default_value = "20ms", value_parser = values::duration)]
    pub delay: Duration,

    /// Number of runs of each case, each with its own random arrivals [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=50))]
    runs: Option<u8>,

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

    /// The number of runs of each case.
    pub fn runs(&self) -> u8 {
        self.runs.unwrap_or(5)
    }
}
