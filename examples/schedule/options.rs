//! The options of `schedule`.

use crate::sizes::{self, Size};
use crate::values;
use lab::program::{EXIT_CODES, Options};
use lab::trial::TrialOptions;
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  fifo            all wait equally long, so a short request waits for many times its own service
  lifo            the same mean wait, and a longest wait several times as long
  smallest first  the least mean wait there is without interrupting a service: nearly all requests
                  are short, and only the few long ones wait for them
  fair            each size is a client here, and clients take turns by the time that they have
                  had. It protects clients from one another; short requests gain less than with
                  smallest first, since a service that has begun is not interrupted

The sizes are clients of 127.0.0.0/8, all of which are local on Linux.";

/// Requests of very different sizes at one pool, in four orders of service: who waits for whom.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "schedule", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Number of workers; theory knows one
    #[arg(long, short, value_name = "W", default_value = "1", value_parser = values::at_least_one)]
    pub workers: usize,

    /// Service time of the smallest size; each of the others takes twice as long as the one before
    #[arg(long, value_name = "D", default_value = "1ms", value_parser = values::duration)]
    unit: Duration,

    /// Number of sizes
    #[arg(long, value_name = "N", default_value = "8",
          value_parser = clap::value_parser!(u32).range(2..=12))]
    sizes: u32,

    /// Offered load over the capacity
    #[arg(long, value_name = "RHO", default_value = "0.7", value_parser = utilisation)]
    pub utilisation: f64,

    #[command(flatten)]
    pub trial: TrialOptions,

    #[command(flatten)]
    pub common: Options,
}

impl Args {
    pub fn sizes(&self) -> Vec<Size> {
        Size::all(self.unit, self.sizes)
    }

    /// Requests per second of all sizes.
    pub fn rate(&self, sizes: &[Size]) -> f64 {
        self.utilisation * self.workers as f64 / sizes::moment(sizes, 1)
    }

    /// The number of runs of the real pools.
    pub fn runs(&self) -> u8 {
        8
    }

    /// How many of them take place side by side, each with a pool for each order.
    pub fn at_once(&self) -> usize {
        2
    }

    /// How often some of them take place side by side.
    pub fn batches(&self) -> u32 {
        usize::from(self.runs()).div_ceil(self.at_once()) as u32
    }

    /// The length of each.
    pub fn length(&self) -> Duration {
        Duration::from_millis(if self.common.quick { 1500 } else { 12_000 })
    }

    /// Requests of each simulation, and their number.
    pub fn simulated(&self) -> (u64, u64) {
        if self.common.quick { (20_000, 8) } else { (150_000, 10) }
    }
}

fn utilisation(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.05..=0.95).contains(&share) => Ok(share),
        _ => Err("it must be a number from 0.05 to 0.95".to_owned()),
    }
}
