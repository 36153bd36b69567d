//! A load generator for any HTTP URL.
//!
//! ```text
//! cargo run --release --example load -- --rate 500 http://127.0.0.1:8080/testfile
//! ```
//!
//! It starts each request at its intended time, independent of the other requests, and measures
//! each latency from that time: this is what an independent user sees.

mod options;
mod plan;
mod targets;
mod tally;
mod show;
mod save;
mod compare;

#[path = "../shared/options.rs"]
mod values;

#[path = "../shared/pool.rs"]
mod pool;

use cws::{Config, Server};
use lab::live::Live;
use lab::load::{Client, Conduct, Target};
use lab::numbers::percent;
use lab::program::{self, Program};
use lab::trace::Trace;
use options::{Args, Task};
use plan::Plan;
use save::Outputs;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tally::Tally;
use targets::{Named, Targets};

fn main() -> ExitCode {
    program::run(|args: Args| match &args.task {
        Some(Task::Compare(options)) => compare::run(options),
        None => measure(&args),
    })
}

/// What is sent, and when.
struct Load {
    target: Target,
    plan: Plan,
    client: Client,
    names: Vec<Named>,
    /// The sentence about it.
    words: String,
}

impl Load {
    fn of(args: &Args, server: Option<&Server>) -> Result<Self, Box<dyn Error>> {
        let plan = Plan::of(&args.times, args.common.quick, args.common.seed)?;
        let target = match (args.url(), server) {
            (Some(url), _) => Target::find(url)?,
            (None, Some(server)) => Target::new(server.addresses()[0], "/"),
            (None, None) => return Err("no server".into()),
        };
        let targets = Targets::of(&args.requests, &target, args.connections(), args.common.seed)?;
        let what = match plan {
            Plan::Replay(..) => plan.describe(),
            Plan::Open(..) | Plan::Closed(..) => {
                format!("{}; {}", targets.describe(), plan.describe())
            }
        };
        let words = args.describe(&target, &what);
        let client = args.client(&target, targets.mix);
        Ok(Self { target, plan, client, names: targets.names, words })
    }
}

fn measure(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let is_quiet = args.files.take_stdout()?;
    let server = match args.url() {
        Some(_) => None,
        None => Some(pool::start(args.pool.workers, args.pool.delay.clone(), Config::default())?),
    };
    let load = Load::of(args, server.as_ref())?;
    let lead = "Each latency counts from the intended start of its request. Failures are part of \
                the sample: they count as the slowest requests.";
    let outputs = Outputs::create(&args.files)?;
    let trace = args.common.csv.as_deref().map(Trace::create).transpose()?;
    let mut program = Program::new(&args.common, "Load", lead);
    if is_quiet {
        program = program.on_stderr();
    }
    program.text(&load.words);
    if let Plan::Replay(_, survey) = &load.plan {
        survey.exceptions().iter().for_each(|text| program.text(&format!("Of the log, {text}.")));
    }
    // Where the server is another program, what it does is no disturbance of the machine.
    let (tally, conduct) = match &server {
        Some(_) => program.watched(|| run(args, &load))?,
        None => run(args, &load)?,
    };
    if let Some(mut trace) = trace {
        trace.add("load", &tally.outcomes)?;
        trace.finish()?;
    }
    if tally.was_stopped() {
        program.text(&format!("It was ended early, after {:.2?}.", conduct.length()));
    }
    show::show(&mut program, &tally, &load.names, &conduct)?;
    check(&mut program, args, &tally, &conduct);
    outputs.save(&program, &load.words, &tally, &load.names, &conduct)?;
    program.finish()
}

/// Runs the load once. An interrupt ends it early, and a second one the program.
fn run(args: &Args, load: &Load) -> Result<(Tally, Conduct), Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    let live = Live::start(load.plan.length());
    let tally = Tally::new(load.names.len(), args.common.csv.is_some(), stop);
    let mut tally = tally.shown_by(live.gauge());
    let client = &load.client;
    let conduct = match &load.plan {
        Plan::Open(starts, _) => client.open_loop_into(starts, &mut tally)?,
        Plan::Closed(population, stop) => client.closed_loop_into(population, *stop, &mut tally)?,
        Plan::Replay(log, _) => {
            let body = targets::body(&args.requests)?;
            let (host, fields) = (load.target.host.clone(), args.requests.fields.clone());
            let connections = args.connections();
            let (feed, reader) = log.feed(move |entry| {
                let (method, path) = (&entry.method, &entry.path);
                targets::replayed(method, path, &host, &fields, body.as_deref(), connections)
            })?;
            let conduct = client.replay_into(feed, &mut tally)?;
            reader.join().map_err(|_| "the reader of the log panicked")??;
            conduct
        }
    };
    Ok((tally, conduct))
}

/// The time that the lateness of the starts is compared with: the 99th percentile of the latencies.
/// Without any, lateness changes no latency, and only the patience limits it.
fn judged(tally: &Tally, patience: Duration) -> Duration {
    tally.latencies.quantile(0.99).unwrap_or(patience)
}

/// A request that waits for one of the generator's own connections has a latency that says nothing
/// of the server.
fn check_connections(program: &mut Program, most: Duration, tally: &Tally) {
    let waited = tally.connection_wait.quantile(0.99).unwrap_or_default();
    let holds = waited <= most;
    let advice = if holds { "" } else { " (raise --connections, or reduce the load)" };
    program.check(
        format!(
            "the generator had enough connections: 99 % waited at most {waited:.2?} for one, \
             {most:.2?} allowed{advice}"
        ),
        holds,
    );
}

fn check(program: &mut Program, args: &Args, tally: &Tally, conduct: &Conduct) {
    let judged = judged(tally, args.behaviour.patience);
    let most = Conduct::tolerance(judged);
    let late = conduct.lateness().quantile(0.99).unwrap_or_default();
    match &conduct.spoilt(judged)[..] {
        [] => program.check(
            format!("requests started on time: 99 % at most {late:.2?} late, {most:.2?} allowed"),
            late <= most,
        ),
        reasons => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            program.spoilt(reasons.join("; "));
        }
    }
    check_connections(program, most, tally);
    let summary = &tally.summary;
    let failed = summary.count() - summary.success_count();
    let share = failed as f64 / summary.count().max(1) as f64;
    let allowed = args.limits.allow_failures;
    program.check(
        format!(
            "{failed} of {} requests failed, {}, at most {} allowed",
            summary.count(),
            percent(share),
            percent(allowed)
        ),
        share <= allowed && summary.count() > 0,
    );
    if let Some(most) = args.limits.p99 {
        let p99 = tally.latencies.quantile_of(0.99, summary.count());
        let said = p99
            .map_or("infinite (too many requests failed)".to_owned(), |p99| format!("{p99:.2?}"));
        program.check(
            format!("the 99th percentile is {said}, at most {most:?} allowed"),
            p99.is_some_and(|p99| p99 <= most),
        );
    }
}
