//! The options of `load`.

use crate::plan::Stage;
use crate::values;
use clap::{Parser, Subcommand};
use cws::ServiceTime;
use lab::load::{Advice, Client, Connections, Field, Mix, Pause, Retries, Target};
use lab::program::Options;
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "\
Generates load on an HTTP server and reports the outcome of each request.

In an open loop (--rate, --stage, --replay), requests start at their intended times, like those of
independent users. A server that stalls gets them anyway, and each latency counts from the intended
start. In a closed loop (--clients), each client waits for its answer before it sends the next
request: a server that stalls then gets fewer requests, and the percentiles hide the stall.

The command `load compare A.json B.json` compares two runs that were saved with --json.";

const EXAMPLES: &str = "\
Examples:
  load                                            a pool in this process: 4 workers at 5ms
  load --rate 700                                 this pool near its capacity of 800/s
  load --rate 500 http://127.0.0.1:8080/testfile  another server, one connection per request
  load --rate 5000 --connections 64 URL           keep-alive, at most 64 connections
  load --clients 64 --think 20ms URL              a closed loop
  load --body @form.txt -H 'Content-Type: text/plain' URL
                                                  a POST
  load --target 'GET / 5' --target 'POST /notes 1 @note.json' http://127.0.0.1:8080/
                                                  five of six requests are a GET
  load --rate 900 --ramp 100 URL                  from 100/s to 900/s
  load --rate 300 --burst 2000,3s,1s URL          300/s, but 2000/s from 3s to 4s
  load --stage 10s:500,30s:500,0s:2000,5s:2000,10s:0 URL
                                                  up to 500/s, hold, jump to 2000/s, down
  load --replay access.json --speed 10 URL        a log, ten times as fast
  load --json a.json --hgrm a.hgrm URL            the run in files; - is standard output
  load compare a.json b.json                      is b slower, or is it the noise?
  load --rate 900 --patience 100ms --retries 3 --backoff 50ms URL

A target is [METHOD] URL [WEIGHT] [@BODYFILE]; a path alone is on the server of the URL.";

const EXIT_CODES: &str = "\
Exit code: 0 all checks hold; 1 a check failed, the run failed, or B.json is worse; 2 wrong usage;
3 no result: the machine was disturbed, or there are too few requests to compare. A run is never
repeated, so that the server gets each request once.";

const COMPARE: &str = "\
Examples:
  load compare before.json after.json
  load compare a1.json,a2.json,a3.json b1.json,b2.json,b3.json
                                      runs differ even without a reason: several of each kind

Exit code: 0 B is no worse than A, 1 B is worse or a file cannot be read, 2 wrong usage, 3 there are
too few requests to tell.";

/// Generates load on an HTTP server and reports the outcome of each request
#[derive(Debug, Parser)]
#[command(name = "load", version, long_about = ABOUT)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(override_usage = "load [OPTIONS] [URL]\n       load compare [OPTIONS] A.json B.json")]
pub struct Args {
    #[command(subcommand)]
    pub task: Option<Task>,

    /// URL to request, http://HOST:PORT/PATH [default: a pool in this process]
    #[arg(value_name = "URL")]
    url: Option<String>,

    /// The same as the argument URL, for consistency with the other programs
    #[arg(long = "url", value_name = "URL", conflicts_with = "url")]
    other_url: Option<String>,

    #[command(flatten, next_help_heading = "Requests")]
    pub requests: Requests,

    #[command(flatten, next_help_heading = "When requests start")]
    pub times: Times,

    #[command(flatten, next_help_heading = "Connections and retries")]
    pub behaviour: Behaviour,

    #[command(flatten, next_help_heading = "The pool in this process")]
    pub pool: Pool,

    #[command(flatten, next_help_heading = "Checks")]
    pub limits: Limits,

    #[command(flatten, next_help_heading = "Output")]
    pub files: Files,

    #[command(flatten, next_help_heading = "Options of all programs")]
    pub common: Options,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Compares two saved runs: differences with intervals, and whether they exceed the noise
    Compare(Compare),
}

#[derive(Debug, clap::Args)]
#[command(override_usage = "load compare [OPTIONS] A.json B.json", after_help = COMPARE)]
pub struct Compare {
    /// The earlier run, as --json writes it; several runs of the same kind with commas
    #[arg(value_name = "A.json")]
    pub earlier: Paths,

    /// The later run, or several
    #[arg(value_name = "B.json")]
    pub later: Paths,

    /// Differences up to this percentage are noise, whatever the intervals say
    #[arg(long, value_name = "PERCENT", value_parser = values::percentage, default_value = "1")]
    pub tolerance: f64,

    /// Seed of the random runs from which the intervals follow
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write an HTML page with the chart, the table and the check to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the chart as an SVG file into this folder
    #[arg(long, value_name = "FOLDER")]
    svg: Option<PathBuf>,
}

impl Compare {
    /// Those that all programs have.
    pub fn common(&self) -> Options {
        let (seed, html, svg) = (self.seed, self.html.clone(), self.svg.clone());
        Options { quick: false, seed, html, csv: None, svg }
    }
}

/// Files with commas between them, at least one.
#[derive(Debug, Clone)]
pub struct Paths(pub Vec<PathBuf>);

impl From<&str> for Paths {
    fn from(text: &str) -> Self {
        Self(text.split(',').map(PathBuf::from).collect())
    }
}

#[derive(Debug, clap::Args)]
pub struct Requests {
    /// Method [default: GET, or POST with a body]
    #[arg(short = 'X', long, visible_short_alias = 'm', value_name = "METHOD",
        conflicts_with_all = ["target", "targets", "replay"])]
    pub method: Option<String>,

    /// Body of the request: text, @FILE, or @- for standard input. With targets: of each POST, PUT
    /// and PATCH without a file of its own. At most 64 MiB
    #[arg(short, long, value_name = "TEXT|@FILE")]
    pub body: Option<String>,

    /// Header field of each request; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub fields: Vec<Field>,

    /// One of several targets, '[METHOD] URL [WEIGHT] [@BODYFILE]'; repeatable. Each request is
    /// drawn by the weights
    #[arg(short, long, value_name = "TARGET")]
    pub target: Vec<String>,

    /// File with a target on each line; lines that begin with # are comments
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Times {
    /// Open loop: arrival rate in requests per second [default: 400]
    #[arg(short, long, value_name = "N", value_parser = values::rate, conflicts_with = "clients")]
    pub rate: Option<f64>,

    /// Arrival process: poisson, constant, or trace:FILE (start times in seconds, one per line)
    #[arg(
        short,
        long,
        value_name = "PROCESS",
        default_value = "poisson",
        conflicts_with = "clients"
    )]
    pub arrivals: String,

    /// The rate changes evenly from this one to --rate, within the duration
    #[arg(long, value_name = "FROM", value_parser = values::rate,
        conflicts_with_all = ["clients", "requests"])]
    pub ramp: Option<f64>,

    /// The rate is PEAK for a while, as 2000,3s,1s: from 3s on for 1s; repeatable
    #[arg(long, value_name = "PEAK,START,LENGTH", conflicts_with = "clients")]
    pub burst: Vec<String>,

    /// The rate changes evenly to RATE within LENGTH, from --rate or from zero; several with commas
    /// or repeated. A length of 0s is a jump
    #[arg(long, value_name = "LENGTH:RATE", value_delimiter = ',',
        conflicts_with_all = ["clients", "ramp", "duration", "requests"])]
    pub stage: Vec<Stage>,

    /// Replays an access log: JSON, common or combined format
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["clients", "rate", "arrivals", "ramp", "burst", "stage", "target",
            "targets"])]
    pub replay: Option<PathBuf>,

    /// The log's time passes this many times as fast
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = values::factor,
        requires = "replay")]
    pub speed: f64,

    /// Methods that are replayed
    #[arg(
        long,
        value_name = "METHODS",
        default_value = "GET,HEAD",
        value_delimiter = ',',
        requires = "replay"
    )]
    pub replay_methods: Vec<String>,

    /// Closed loop: number of clients that each wait for the answer before the next request
    #[arg(long, value_name = "N", value_parser = values::at_least_one)]
    pub clients: Option<usize>,

    /// Mean think time of a client between an answer and its next request (exponentially
    /// distributed)
    #[arg(long, value_name = "DURATION", value_parser = values::duration, requires = "clients")]
    pub think: Option<Duration>,

    /// Duration of the load [default: 10s, or 1s with --quick; a whole log]
    #[arg(short, long, value_name = "DURATION", value_parser = values::duration)]
    pub duration: Option<Duration>,

    /// Number of requests, instead of a duration
    #[arg(short = 'n', long, value_name = "N", value_parser = values::at_least_one,
        conflicts_with = "duration")]
    pub requests: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub struct Behaviour {
    /// Keep-alive: maximum number of connections kept between requests [default: a new connection
    /// per request; in a closed loop, one per client]
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one)]
    pub connections: Option<usize>,

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
}

#[derive(Debug, clap::Args)]
pub struct Pool {
    /// Number of worker threads of the pool in this process
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one, default_value_t = 4,
        conflicts_with_all = ["url", "other_url"])]
    pub workers: usize,

    /// Service time of each request in the pool in this process: a time, or a law such as exp:5ms
    #[arg(long, value_name = "SERVICE", value_parser = values::service, default_value = "5ms",
        conflicts_with_all = ["url", "other_url"])]
    pub delay: ServiceTime,
}

#[derive(Debug, clap::Args)]
pub struct Limits {
    /// Check that the 99th percentile of the latency, including failures, is at most this
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub p99: Option<Duration>,

    /// Check that at most this percentage of the requests fails
    #[arg(long, value_name = "PERCENT", value_parser = values::percentage, default_value = "0")]
    pub allow_failures: f64,
}

#[derive(Debug, clap::Args)]
pub struct Files {
    /// Write all figures in JSON to this file; with -, to standard output, and the text to standard
    /// error
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,

    /// Write the percentile distribution of the latencies in milliseconds to this file, or with -
    /// to standard output, as HdrHistogram does
    #[arg(long, value_name = "FILE|-")]
    pub hgrm: Option<PathBuf>,
}

impl Files {
    /// Whether standard output is for one of the files.
    pub fn take_stdout(&self) -> Result<bool, String> {
        let takes =
            |path: &Option<PathBuf>| path.as_deref().is_some_and(|path| path.as_os_str() == "-");
        match (takes(&self.json), takes(&self.hgrm)) {
            (true, true) => {
                Err("--json - and --hgrm - need standard output both (name a file)".into())
            }
            (json, hgrm) => Ok(json || hgrm),
        }
    }
}

impl Args {
    /// The URL to request. `None` for the pool in this process.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref().or(self.other_url.as_deref())
    }

    /// How connections are used.
    pub fn connections(&self) -> Connections {
        match (self.behaviour.connections, self.times.clients) {
            (Some(most), _) | (None, Some(most)) => Connections::Kept(most),
            (None, None) => Connections::NewEach,
        }
    }

    /// The behaviour of each client.
    pub fn client(&self, target: &Target, requests: Mix) -> Client {
        let Behaviour { patience, retries, backoff, honour_retry_after, .. } = self.behaviour;
        let pause = match backoff {
            None => Pause::AtOnce,
            Some(first) => Pause::Backoff { first, most: 32 * first, seed: self.common.seed },
        };
        let advice = if honour_retry_after { Advice::Honoured } else { Advice::Ignored };
        let retries = Retries { most: retries, pause, advice, ..Retries::NONE };
        Client { retries, requests, ..target.client(self.connections(), patience) }
    }

    /// The sentence about the load in the report.
    pub fn describe(&self, target: &Target, what: &str) -> String {
        let who = match self.url() {
            Some(_) => format!("http://{}", target.host),
            None => format!(
                "a pool of {} workers at {} in this process, which carries {:.0} requests/s",
                self.pool.workers,
                self.pool.delay,
                self.pool.workers as f64 / self.pool.delay.mean().as_secs_f64()
            ),
        };
        let connections = match self.connections() {
            Connections::NewEach => "a new connection for each request".to_owned(),
            Connections::Kept(1) => "one connection, kept open".to_owned(),
            Connections::Kept(most) => format!("at most {most} connections, kept open"),
        };
        format!("Load on {who}: {what}; {connections}.")
    }
}
