//! The options of `fleet`.

use crate::policy::Policy;
use crate::values;
use lab::program::{EXIT_CODES, Options};
use lab::trial::TrialOptions;
use std::time::Duration;

const LESSON: &str = "\
What to look at:
  pooled        one queue for all workers of all servers: no balancer does better without knowing
                how long each request takes
  round robin   the same, if all requests take the same time: on every path, not on average
  random        several times the wait: each server is a small pool of its own
  two choices   one look at two servers removes most of that
  weights       servers of different sizes tell HAProxy what they can take, and come to the same
                utilisation
  restart       a server that says that it stops, and serves on for longer than the balancer needs
                to hear it, loses nothing
  kill          what a killed server was doing is lost, unless the balancer may ask another one";

/// Puts servers behind HAProxy: compares five ways to choose a server with a simulation and with
/// theory, restarts each server under load, and kills one.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "fleet", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Number of servers
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(2..=8))]
    servers: u8,

    /// Number of workers of each server
    #[arg(long, short, value_name = "W", default_value = "2", value_parser = values::at_least_one)]
    pub workers: usize,

    /// Delay of each request
    #[arg(long, value_name = "D", default_value = "20ms", value_parser = values::duration)]
    pub delay: Duration,

    /// Runs of each policy, at the same time, each with its own servers and arrivals
    #[arg(long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u8).range(2..=10))]
    runs: u8,

    #[command(flatten)]
    pub trial: TrialOptions,

    #[command(flatten)]
    pub common: Options,
}

/// The load of the comparison and of the restart, as a multiple of the capacity.
pub const LOAD: f64 = 0.9;

/// With one of three servers gone, this is .9 of the capacity of the rest.
pub const LOAD_OF_KILL: f64 = 0.6;

/// A server serves on for this long after it is told to stop: as in the comment of the
/// configuration, longer than HAProxy takes to know.
pub const DRAIN_DELAY: Duration = Duration::from_secs(2);

impl Args {
    pub fn servers(&self) -> usize {
        self.servers.into()
    }

    /// The workers of all servers.
    pub fn pool(&self) -> usize {
        self.servers() * self.workers
    }

    /// The length of each run of the comparison.
    pub fn length(&self) -> Duration {
        Duration::from_millis(if self.common.quick { 1000 } else { 3000 })
    }

    /// The seeds of the runs of a policy.
    pub fn seeds(&self) -> Vec<u64> {
        (0..self.runs).map(|number| self.common.seed.wrapping_add(number.into())).collect()
    }

    /// How often as many runs as there are seeds are made of a policy. The one with an exact law is
    /// measured twice as often, so that the interval of its mean is narrow.
    pub fn times(&self, policy: Policy) -> u64 {
        if policy == Policy::RoundRobin && !self.common.quick { 2 } else { 1 }
    }
}
