//! A load generator for any HTTP URL.
//!
//! ```text
//! cargo run --release --example load -- --rate 500 http://127.0.0.1:8080/testfile
//! ```
//!
//! It starts each request at its intended time, independent of the other requests, and measures
//! each latency from that time: this is what an independent user sees.

mod options;
mod tally;

#[path = "../shared/options.rs"]
mod values;

#[path = "../shared/pool.rs"]
mod pool;

use cws::Config;
use lab::load::{Client, Conduct, Outcome, Target};
use lab::numbers::percent;
use lab::program::{self, Program};
use lab::progress::Progress;
use lab::trace::Trace;
use options::{Args, Plan};
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use tally::Tally;

fn main() -> ExitCode {
    program::run(measure)
}

fn measure(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let plan = args.plan()?;
    let server = match args.url() {
        Some(_) => None,
        None => Some(pool::start(args.workers, args.delay, Config::default())?),
    };
    let target = match (args.url(), &server) {
        (Some(url), _) => Target::find(url)?,
        (None, Some(server)) => Target::new(server.addresses()[0], "/"),
        (None, None) => return Err("no server".into()),
    };
    let lead = "Each latency counts from the intended start of its request. Failures are part of \
                the sample: they count as the slowest requests.";
    let mut program = Program::new(&args.common, "Load", lead);
    program.text(&args.describe(&target, &plan));
    let client = args.client(&target);
    let keep = args.common.csv.is_some();
    let ((tally, conduct), spoilt) = program.until_sound(|| {
        let (tally, conduct) = run_once(&client, &plan, keep)?;
        let reasons = conduct.spoilt(judged(&tally, args.patience));
        let reasons = reasons.iter().map(ToString::to_string).collect();
        Ok::<_, Box<dyn Error>>(((tally, conduct), reasons))
    })?;
    if let Some(path) = &args.common.csv {
        let mut trace = Trace::create(path)?;
        trace.add("load", &tally.outcomes)?;
        trace.finish()?;
    }
    tally.show(&mut program, &conduct)?;
    check(&mut program, &args, &tally, &conduct, spoilt);
    program.finish()
}

/// The time that the lateness of the starts is compared with: the 99th percentile of the latencies.
/// Without any, lateness changes no latency, and only the patience limits it.
fn judged(tally: &Tally, patience: Duration) -> Duration {
    tally.summary.successes().quantile(0.99).unwrap_or(patience)
}

fn run_once(client: &Client, plan: &Plan, keep: bool) -> Result<(Tally, Conduct), Box<dyn Error>> {
    let mut tally = Tally::new(plan.length());
    let _progress = Progress::start("load", plan.length());
    let mut each = |outcome: Outcome| tally.add(&outcome, keep);
    let conduct = match plan {
        Plan::Open(starts) => client.open_loop_into(starts, &mut each)?,
        Plan::Closed(population, stop) => client.closed_loop_into(population, *stop, &mut each)?,
    };
    Ok((tally, conduct))
}

/// A request that waits for one of the generator's own connections has a latency that says nothing
/// of the server.
fn check_connections(program: &mut Program, args: &Args, tally: &Tally) {
    let waited = tally.connection_wait.quantile(0.99).unwrap_or_default();
    let most = Conduct::tolerance(judged(tally, args.patience));
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

fn check(
    program: &mut Program,
    args: &Args,
    tally: &Tally,
    conduct: &Conduct,
    spoilt: Option<String>,
) {
    match spoilt {
        Some(reasons) => program.spoilt(reasons),
        None => {
            let late = conduct.lateness().quantile(0.99).unwrap_or_default();
            let most = Conduct::tolerance(judged(tally, args.patience));
            program.check(
                format!(
                    "requests started on time: 99 % at most {late:.2?} late, {most:.2?} allowed"
                ),
                late <= most,
            );
        }
    }
    check_connections(program, args, tally);
    let summary = &tally.summary;
    let failed = summary.count() - summary.success_count();
    let share = failed as f64 / summary.count().max(1) as f64;
    let allowed = args.allow_failures / 100.0;
    program.check(
        format!(
            "{failed} of {} requests failed, {}, at most {} allowed",
            summary.count(),
            percent(share),
            percent(allowed)
        ),
        share <= allowed && summary.count() > 0,
    );
    if let Some(most) = args.p99 {
        let p99 = summary.quantile(0.99);
        let said = p99
            .map_or("infinite (too many requests failed)".to_owned(), |p99| format!("{p99:.2?}"));
        program.check(
            format!("the 99th percentile is {said}, at most {most:?} allowed"),
            p99 <= Some(most) && p99.is_some(),
        );
    }
}
