//! The options of `saturation`, and its loads.

use crate::values;
use lab::program::{EXIT_CODES, Options};
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  carried    rises with the load up to W/D, and stays there
  wait       is nearly zero at half load, and rises steeply from .8 on: at .95 it is twelve times
             as long as at .7
  the twin   has no sockets, threads or clocks, only the arrivals and one service time, and waits
             as long as the real pool: queueing alone causes the wait
  band       the random variation of runs of this length: a single run is not the truth
  constant   the same load with constant gaps hardly waits";

/// Load of the run with constant arrivals.
pub const CONSTANT_LOAD: f64 = 0.9;

/// Loads a pool of W workers with delay D from a third of its capacity to overload, and compares
/// the measurements with queueing theory.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "saturation", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Number of workers
    #[arg(long, short, value_name = "W", default_value = "4", value_parser = values::at_least_one)]
    pub workers: usize,

    /// Delay of each request, for example 5ms [default: 5ms, with --quick 20ms]
    #[arg(long, value_name = "D", value_parser = values::duration)]
    delay: Option<Duration>,

    /// Measure this running server instead; its workers and delay are given by the other options
    #[arg(long)]
    pub url: Option<String>,

    #[command(flatten)]
    pub common: Options,
}

/// The load of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The load as a multiple of the capacity.
    pub times: f64,
    pub pattern: Pattern,
}

/// The arrival process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    Poisson,
    Constant,
}

impl Args {
    /// Longer in the short form: there, the machine's overhead must be a smaller share of it.
    pub fn delay(&self) -> Duration {
        let millis = if self.common.quick { 20 } else { 5 };
        self.delay.unwrap_or(Duration::from_millis(millis))
    }

    /// The length of each run.
    pub fn length(&self) -> Duration {
        match self.common.quick {
            true => Duration::from_millis(600),
            false => Duration::from_millis(4000),
        }
    }

    pub fn loads(&self) -> Vec<Load> {
        let times: &[f64] = match self.common.quick {
            true => &[0.5, CONSTANT_LOAD, 1.2],
            false => &[0.3, 0.5, 0.7, 0.8, CONSTANT_LOAD, 0.95, 1.05, 1.2],
        };
        let by_chance = times.iter().map(|&times| Load { times, pattern: Pattern::Poisson });
        let evenly = Load { times: CONSTANT_LOAD, pattern: Pattern::Constant };
        by_chance.chain([evenly]).collect()
    }
}
