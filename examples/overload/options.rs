//! What `overload` is asked for.

use crate::values;
use lab::program::{EXIT_CODES, Options};
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  no bound      just past the knee the queue is longer than anybody waits; all work is for nobody
  503 at T      what is let in is answered at the very end of the patience, and a little more is
                too late
  503 at T/2    what is let in is good, what is not is told so at once
  age T/2       the same if D is not what it was said to be; the bound alone counts on it
  the burst     refused clients try again: without a bound the pool never gets rid of the tries
                that were given up, even when the load is below the knee again";

/// Offers a pool of W workers at delay D more than it carries, m times, under four policies, to
/// clients with a patience of T; then a burst, with clients that try again.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "overload", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Workers of the pool
    #[arg(long, short, value_name = "W", default_value = "4", value_parser = values::at_least_one)]
    pub workers: usize,

    /// What each request takes a worker, as 10ms [default: 10ms, with --quick 20ms]
    #[arg(long, value_name = "D", value_parser = values::duration)]
    delay: Option<Duration>,

    /// How long a client waits before it hangs up [default: 10 D]
    #[arg(long, value_name = "T", value_parser = values::duration)]
    patience: Option<Duration>,

    /// A server that runs, as it is, whose workers and delay are those given
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
