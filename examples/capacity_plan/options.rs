//! The options of `capacity_plan`.

use crate::log::Log;
use crate::plan::{Want, service_p99};
use crate::values;
use cws::ServiceTime;
use lab::program::{EXIT_CODES, Options};
use lab::steady::Effort;
use std::path::PathBuf;
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
interpolation (M/D/c/K) gives the refused share within 2 % of it, and the waits within 7 %. For
every other law they are simulated, with 95 % intervals; a plan meets its target with the whole
interval.

--log plans for the busiest minute of an access log in JSON, with the services that it has.

--verify runs a real pool and compares it with these figures. A figure fails if it differs by more
than the largest deviation of 200 ideal pools with other random arrivals: by chance alone, that is
one run in a hundred for each figure.";

/// Computes the minimum number of workers that answers a load in time, and the effect of one fewer.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "capacity_plan", version, after_help = format!("{LESSON}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// Arrival rate in requests per second [default: 1000, or that of the busiest minute of --log]
    #[arg(long, short, value_name = "N", value_parser = values::rate)]
    rate: Option<f64>,

    /// Service time of each request (the worker's delay), for example 10ms
    #[arg(long, value_name = "D", default_value = "10ms", value_parser = values::duration)]
    delay: Duration,

    /// Target for the 99th percentile of the latency [default: 1.5 D and the 99th percentile of the
    /// service, which is 2.5 D for constant service]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    p99: Option<Duration>,

    /// Time that clients wait for a response; sets the queue and the queue timeout [default: 20 D,
    /// and at least twice the target]
    #[arg(long, value_name = "T", value_parser = values::duration)]
    deadline: Option<Duration>,

    /// Maximum share of refused requests, for example .001
    #[arg(long, value_name = "SHARE", default_value = "0.001", value_parser = below_one)]
    refuse: f64,

    /// Law of the service times: constant or exponential, of mean D, or one with its own mean:
    /// lognormal:20ms,cv=2, pareto:20ms,tail=1.5[,most=10s], two:1ms,200ms,p=.01,
    /// uniform:1ms,9ms, hyper:20ms,cv=2, trace:FILE
    #[arg(long, value_name = "LAW", default_value = "constant", value_parser = service)]
    service: Service,

    /// Plan from an access log in JSON of this server: its arrivals and its services
    #[arg(long, value_name = "FILE", conflicts_with_all = ["service", "delay"])]
    log: Option<PathBuf>,

    /// Maximum number of workers per machine
    #[arg(long, value_name = "W", default_value = "256", value_parser = machine)]
    pub per_machine: u32,

    /// Run a real pool with the plan, and compare the results
    #[arg(long)]
    pub verify: bool,

    #[command(flatten)]
    pub common: Options,
}

/// The law of the service times, with or without a mean of its own.
#[derive(Debug, Clone)]
enum Service {
    Constant,
    Exponential,
    Law(ServiceTime),
}

fn service(text: &str) -> Result<Service, String> {
    match text {
        "constant" => Ok(Service::Constant),
        "exponential" => Ok(Service::Exponential),
        law if law.contains(':') => values::service(law).map(Service::Law),
        other => Err(format!(
            "it is {other:?}: write constant or exponential, or a law such as lognormal:20ms,cv=2"
        )),
    }
}

impl Args {
    /// What is asked for, and what was read of a log.
    pub fn want(&self) -> Result<(Want, Option<Log>), String> {
        let log = self.log.as_deref().map(Log::read).transpose()?;
        let service = match (&log, &self.service) {
            (Some(log), _) => log.service.clone(),
            (None, Service::Constant) => self.delay.into(),
            (None, Service::Exponential) => {
                ServiceTime::exponential(self.delay).map_err(|error| error.to_string())?
            }
            (None, Service::Law(law)) => law.clone(),
        };
        let delay = service.mean();
        if delay.is_zero() {
            return Err("the services take no time (choose others)".to_owned());
        }
        let rate = self.rate.or(log.as_ref().map(|log| log.busiest)).unwrap_or(1000.0);
        let p99 = self.p99.unwrap_or_else(|| usual_p99(&service));
        let deadline = self.deadline.unwrap_or((delay * 20).max(p99 * 2));
        for (what, time) in [("a p99", p99), ("a deadline", deadline)] {
            if time < delay {
                return Err(format!(
                    "no pool answers within {time:?} if the service takes {delay:?} (choose {what} \
                 of at least the delay)"
                ));
            }
        }
        let (requests, runs) = if self.common.quick { (15_000, 5) } else { (100_000, 6) };
        let effort = Effort { requests, runs, seed: self.common.seed };
        let refuse = self.refuse;
        Ok((Want { rate, delay, p99, deadline, refuse, service, effort }, log))
    }
}

/// One and a half services, and the service that 1 % exceed, in hundredths of a service.
fn usual_p99(service: &ServiceTime) -> Duration {
    let most = service.mean().mul_f64(1.5) + service_p99(service);
    let step = (service.mean() / 100).max(Duration::from_nanos(1));
    let steps = most.as_nanos().div_ceil(step.as_nanos());
    u32::try_from(steps).map_or(most, |steps| step * steps)
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
