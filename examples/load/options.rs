//! The options of `load`, and the plan that they describe.

use crate::values;
use clap::Parser;
use lab::arrivals::{ARRIVALS_MOST, Arrivals, Rate, Stop};
use lab::load::{Advice, Client, Connections, Pause, Population, Retries, Target, Think};
use lab::program::{EXIT_CODES, Options};
use std::path::Path;
use std::time::Duration;

const ABOUT: &str = "\
Generates load on an HTTP server and reports the outcome of each request.

In an open loop (--rate), requests start at their intended times, like those of independent users. A
server that stalls gets them anyway, and each latency counts from the intended start. In a closed
loop (--clients), each client waits for its answer before it sends the next request: a server that
stalls then gets fewer requests, and the percentiles hide the stall.";

const EXAMPLES: &str = "\
Examples:
  load                                               a pool in this process: 4 workers at 5ms
  load --rate 700                                    this pool near its capacity of 800/s
  load --rate 500 http://127.0.0.1:8080/testfile     another server, one connection per request
  load --rate 5000 --connections 64 URL              keep-alive, at most 64 connections
  load --arrivals burst:2000,3s,1s --rate 300 URL    300/s, but 2000/s from 3s to 4s
  load --arrivals ramp:100 --rate 900 URL            from 100/s to 900/s
  load --arrivals trace:FILE URL                     starts in seconds, one a line
  load --clients 64 --think 20ms URL                 a closed loop
  load --rate 900 --patience 100ms --retries 3 --backoff 50ms URL";

/// Generates load on an HTTP server and reports the outcome of each request
#[derive(Debug, Parser)]
#[command(name = "load", version, long_about = ABOUT)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// URL to request, http://HOST:PORT/PATH [default: a pool in this process]
    #[arg(value_name = "URL")]
    url: Option<String>,

    /// The same as the argument URL, for consistency with the other programs
    #[arg(long = "url", value_name = "URL", conflicts_with = "url")]
    other_url: Option<String>,

    /// Open loop: arrival rate in requests per second [default: 400]
    #[arg(short, long, value_name = "N", value_parser = values::rate, conflicts_with = "clients")]
    pub rate: Option<f64>,

    /// Arrival process: poisson, constant, ramp:FROM (from this rate to --rate),
    /// burst:PEAK,START,LENGTH, or trace:FILE (start times in seconds, one per line)
    #[arg(
        short,
        long,
        value_name = "PROCESS",
        default_value = "poisson",
        conflicts_with = "clients"
    )]
    pub arrivals: String,

    /// Closed loop: number of clients that each wait for the answer before the next request
    #[arg(long, value_name = "N", value_parser = values::at_least_one)]
    pub clients: Option<usize>,

    /// Mean think time of a client between an answer and its next request (exponentially
    /// distributed)
    #[arg(long, value_name = "DURATION", value_parser = values::duration, requires = "clients")]
    pub think: Option<Duration>,

    /// Keep-alive: maximum number of connections kept between requests [default: a new connection
    /// per request; in a closed loop, one per client]
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one)]
    pub connections: Option<usize>,

    /// Duration of the load [default: 10s, or 1s with --quick]
    #[arg(short, long, value_name = "DURATION", value_parser = values::duration)]
    pub duration: Option<Duration>,

    /// Number of requests, instead of a duration
    #[arg(short = 'n', long, value_name = "N", value_parser = values::at_least_one,
        conflicts_with = "duration")]
    pub requests: Option<usize>,

    /// Timeout of each request; then the client hangs up
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "10s")]
    pub patience: Duration,

    /// Number of retries after a failed or refused try
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retries: u32,

    /// Random pause before a retry: the upper bound starts at this value and doubles with each
    /// retry, up to 32 times the value
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub backoff: Option<Duration>,

    /// Wait at least as long as Retry-After says
    #[arg(long)]
    pub honour_retry_after: bool,

    /// Number of worker threads of the pool in this process
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one, default_value_t = 4,
        conflicts_with_all = ["url", "other_url"])]
    pub workers: usize,

    /// Delay of each request in the pool in this process
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "5ms",
        conflicts_with_all = ["url", "other_url"])]
    pub delay: Duration,

    /// Check that the 99th percentile of the latency, including failures, is at most this
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub p99: Option<Duration>,

    /// Check that at most this percentage of the requests fails
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub allow_failures: f64,

    #[command(flatten)]
    pub common: Options,
}

/// When requests start.
pub enum Plan {
    /// At given times.
    Open(Vec<Duration>),
    /// When these clients have their answers.
    Closed(Population, Stop),
}

impl Plan {
    /// Its duration, as far as it is known in advance.
    pub fn length(&self) -> Duration {
        match self {
            Self::Open(starts) => starts.last().copied().unwrap_or_default(),
            Self::Closed(_, Stop::After(length)) => *length,
            Self::Closed(_, Stop::Count(_)) => Duration::ZERO,
        }
    }
}

impl Args {
    const RATE: f64 = 400.0;

    /// The URL to request. `None` for the pool in this process.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref().or(self.other_url.as_deref())
    }

    fn rate(&self) -> f64 {
        self.rate.unwrap_or(Self::RATE)
    }

    fn stop(&self) -> Stop {
        let length = Duration::from_secs(if self.common.quick { 1 } else { 10 });
        match self.requests {
            Some(count) => Stop::Count(count as u64),
            None => Stop::After(self.duration.unwrap_or(length)),
        }
    }

    /// When requests start, or an error in the options for it.
    pub fn plan(&self) -> Result<Plan, String> {
        if let Some(clients) = self.clients {
            let think = match self.think {
                None => Think::None,
                Some(mean) => Think::Exponential { mean, seed: self.common.seed },
            };
            return Ok(Plan::Closed(Population { clients, think }, self.stop()));
        }
        let starts = self.arrivals()?.starts(self.stop());
        match starts.len() {
            0 => Err("no request would start (raise the rate or the duration)".to_owned()),
            ARRIVALS_MOST.. => Err(format!("{ARRIVALS_MOST} requests are too many for one run")),
            _ => Ok(Plan::Open(starts)),
        }
    }

    fn arrivals(&self) -> Result<Arrivals, String> {
        let seed = self.common.seed;
        let wrong = |why: &str| format!("--arrivals {}: {why}", self.arrivals);
        let (kind, rest) = self.arrivals.split_once(':').unwrap_or((&self.arrivals, ""));
        let poisson = |rate| Ok(Arrivals::poisson(rate, seed));
        match (kind, rest) {
            ("poisson", "") => poisson(Rate::constant(self.rate())),
            ("constant", "") => Ok(Arrivals::constant(self.rate())),
            ("ramp", from) => {
                let from = values::rate(from).map_err(|error| wrong(&error))?;
                let Stop::After(length) = self.stop() else {
                    return Err(wrong("a ramp needs --duration instead of a number of requests"));
                };
                poisson(Rate::ramp(from, self.rate(), length))
            }
            ("burst", burst) => {
                let parts: Vec<&str> = burst.split(',').collect();
                let [peak, start, length] = parts[..] else {
                    return Err(wrong("write burst:PEAK,START,LENGTH, as burst:2000,3s,1s"));
                };
                let peak = values::rate(peak).map_err(|error| wrong(&error))?;
                let [start, length] = [start, length].map(values::duration);
                let start = start.map_err(|error| wrong(&error))?;
                let length = length.map_err(|error| wrong(&error))?;
                poisson(Rate::burst(self.rate(), peak, start, length))
            }
            ("trace", file) => trace(Path::new(file)).map(Arrivals::Trace),
            _ => Err(wrong("choose poisson, constant, ramp:.., burst:.. or trace:..")),
        }
    }

    /// The behaviour of each client.
    pub fn client(&self, target: &Target) -> Client {
        let connections = match (self.connections, self.clients) {
            (Some(most), _) | (None, Some(most)) => Connections::Kept(most),
            (None, None) => Connections::NewEach,
        };
        let pause = match self.backoff {
            None => Pause::AtOnce,
            Some(first) => Pause::Backoff { first, most: 32 * first, seed: self.common.seed },
        };
        let advice = if self.honour_retry_after { Advice::Honoured } else { Advice::Ignored };
        let retries = Retries { most: self.retries, pause, advice, ..Retries::NONE };
        Client { retries, ..target.client(connections, self.patience) }
    }

    /// A sentence that describes the load.
    pub fn describe(&self, target: &Target, plan: &Plan) -> String {
        let who = match self.url() {
            Some(_) => format!("http://{}{}", target.host, target.path),
            None => format!(
                "a pool of {} workers at {:?} in this process, which carries {:.0} requests/s",
                self.workers,
                self.delay,
                self.workers as f64 / self.delay.as_secs_f64()
            ),
        };
        let connections = match self.client(target).connections {
            Connections::NewEach => "a new connection for each request".to_owned(),
            Connections::Kept(1) => "one connection, kept open".to_owned(),
            Connections::Kept(most) => format!("at most {most} connections, kept open"),
        };
        let load = match plan {
            Plan::Open(starts) => {
                let seconds = plan.length().as_secs_f64().max(f64::MIN_POSITIVE);
                format!(
                    "{} requests in {seconds:.1}s, {:.1} a second, {}",
                    starts.len(),
                    starts.len() as f64 / seconds,
                    self.arrivals
                )
            }
            Plan::Closed(Population { clients, think }, _) => {
                format!("{clients} clients that think for {:?} between requests", think.mean())
            }
        };
        format!("Load on {who}: {load}; {connections}.")
    }
}

/// Start times in seconds, one per line, in order.
fn trace(file: &Path) -> Result<Vec<Duration>, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {shown}: {error} (check the name)"))?;
    let mut starts = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let start = line.trim().parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
        match start {
            Some(start) if starts.last().is_none_or(|last| *last <= start) => starts.push(start),
            _ => {
                return Err(format!(
                    "{shown}, line {number}: {line:?} must be a time in seconds, at or after the \
                     time before it"
                ));
            }
        }
    }
    Ok(starts)
}
