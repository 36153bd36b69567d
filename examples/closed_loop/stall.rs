//! One stall of a server, measured by a closed loop and from the intended start.

use crate::Args;
use crate::bounds::seeds;
use cws::{AccessLog, Config, Request, Response, Server};
use lab::arrivals::{Arrivals, Stop};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::load::{Client, Connections, Outcome, Population, Run, Target, Think};
use lab::moments::Moments;
use lab::numbers::{millis, percent};
use lab::program::Program;
use lab::progress::Progress;
use lab::table::Table;
use lab::trace::Trace;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

/// The length of the stall.
const STALL: Duration = Duration::from_millis(400);

/// The load, as a share of the capacity.
const LOAD: f64 = 0.5;

/// Requests with a longer wait were hit by the stall: at this load, no queue is this long.
const HIT: Duration = Duration::from_millis(100);

/// The runs of each loop. What a stall hits differs much from run to run.
const RUNS: u64 = 8;

/// Longer than any wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// The percentiles in the table.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 1.0];

pub fn show(
    args: &Args,
    program: &mut Program,
    trace: Option<&mut Trace>,
) -> Result<(), Box<dyn Error>> {
    // The stall hits one request of each client, that is 2.5 W. In so many services those are less
    // than one in twenty.
    let length = Duration::from_millis(if args.common.quick { 1500 } else { 5000 });
    let length = length.max(args.delay * 150);
    let rate = LOAD * args.workers as f64 / args.delay.as_secs_f64();
    let share = STALL.div_duration_f64(length);
    program.heading("One stall, two clocks");
    program.text(&format!(
        "At {rate:.0} requests a second, {LOAD} of the capacity, the server stalls once for \
         {STALL:?} within {length:?}: {} of the time.",
        percent(share)
    ));
    let _progress = Progress::start("one stall", 2 * length);
    let (closed, spoilt) =
        program.until_sound(|| all(args, |seed| closed_loop(args, seed, length)))?;
    note(program, "closed loop", spoilt);
    let (open, spoilt) =
        program.until_sound(|| all(args, |seed| open_loop(args, seed, rate, length)))?;
    note(program, "open loop", spoilt);
    if let Some(trace) = trace {
        closed.iter().try_for_each(|run| trace.add("stall, closed loop", &run.outcomes))?;
        open.iter().try_for_each(|run| trace.add("stall, open loop", &run.outcomes))?;
    }
    compare(program, &closed, &open, length);
    let (Some(closed), Some(open)) = (closed.first(), open.first()) else { return Ok(()) };
    program.chart(
        &chart(closed, open),
        "Each mark is a request of the first run. The closed loop sends nothing while it waits. \
         The open loop continues as users do, and all requests that arrive during the stall wait \
         for its end.",
    )
}

/// A run for each seed, side by side.
fn all(
    args: &Args,
    run: impl Fn(u64) -> Result<Run, Box<dyn Error>> + Sync,
) -> Result<(Vec<Run>, Vec<String>), Box<dyn Error>> {
    let one = |seed| run(seed).map_err(|error| error.to_string());
    let made: Vec<Result<Run, String>> = thread::scope(|scope| {
        let start = |seed| scope.spawn(move || one(seed));
        let threads: Vec<_> = seeds(args, RUNS).into_iter().map(start).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let runs = made.into_iter().collect::<Result<Vec<Run>, String>>()?;
    let reasons = runs.iter().flat_map(|run| run.conduct.spoilt(args.judged()));
    // One reason stands for all.
    let reasons = reasons.take(1).map(|reason| reason.to_string()).collect();
    Ok((runs, reasons))
}

fn note(program: &mut Program, which: &str, spoilt: Option<String>) {
    if let Some(reason) = spoilt {
        program.spoilt(format!("{which}: {reason}"));
    }
}

/// A pool whose workers all stop for [`STALL`] in the middle of `length`.
fn stalling_pool(args: &Args, length: Duration) -> Result<Server, Box<dyn Error>> {
    let config = Config::default().workers(args.workers).access_log(AccessLog::Off);
    let stall_at = Instant::now() + length / 2;
    let delay = args.delay;
    let handler = move |_: &Request<'_>| {
        // Requests in service at the start of the stall are delayed, too.
        let until = stall_at + STALL;
        let now = Instant::now();
        let is_hit = now + delay > stall_at && now < until;
        thread::sleep(delay + if is_hit { until - now } else { Duration::ZERO });
        Response::ok("text/plain", "done\n")
    };
    Ok(Server::start(config, handler)?)
}

fn client(server: &Server, most: usize) -> Client {
    let target = Target::new(server.addresses()[0], "/");
    target.client(Connections::Kept(most), PATIENCE)
}

/// Enough clients for the same rate if each thinks for four delays.
fn closed_loop(args: &Args, seed: u64, length: Duration) -> Result<Run, Box<dyn Error>> {
    let think = 4 * args.delay;
    let clients = (LOAD * args.workers as f64 * 5.0).round().max(1.0) as usize;
    let server = stalling_pool(args, length)?;
    let think = Think::Exponential { mean: think, seed };
    let population = Population { clients, think };
    Ok(client(&server, clients).closed_loop(&population, Stop::After(length))?)
}

fn open_loop(args: &Args, seed: u64, rate: f64, length: Duration) -> Result<Run, Box<dyn Error>> {
    let starts = Arrivals::poisson(rate, seed).starts(Stop::After(length));
    let server = stalling_pool(args, length)?;
    // Enough connections for all requests that can wait at the same time.
    let most = (2.0 * rate * STALL.as_secs_f64()) as usize + 10;
    Ok(client(&server, most).open_loop(&starts)?)
}

fn compare(program: &mut Program, closed: &[Run], open: &[Run], length: Duration) {
    let expected = hit_time().div_duration_f64(length);
    let hit = |run: &Run| run.outcomes.iter().filter(|outcome| outcome.latency() > HIT).count();
    let share = |run: &Run| hit(run) as f64 / run.outcomes.len().max(1) as f64;
    let p95 = |run: &Run| run.summary().quantile(0.95).unwrap_or(Duration::MAX);
    let mut table = Table::new(["", "requests", "hit", "p50", "p90", "p95", "p99", "slowest"]);
    for (name, runs) in [("closed loop", closed), ("open loop", open)] {
        for run in runs {
            let summary = run.summary();
            let mut row = vec![name.to_owned(), summary.count().to_string(), hit(run).to_string()];
            row.extend(QUANTILES.map(|quantile| {
                let time = summary.quantile(quantile);
                time.map_or("failed".to_owned(), |time| format!("{time:.2?}"))
            }));
            table.row(row);
        }
    }
    program.table(&table);
    let ratio: Moments =
        closed.iter().zip(open).map(|(closed, open)| share(closed) / share(open)).collect();
    let slowest = closed.iter().map(p95).max().unwrap_or(Duration::MAX);
    program.check_most(
        format!(
            "the closed loop has {:.3} ±{:.3} times the share of slow requests of the open loop, \
             at most .5 allowed",
            ratio.mean(),
            ratio.half_width()
        ),
        &ratio,
        0.5,
    );
    let hidden = format!("no p95 of the closed loop shows the stall: {slowest:.2?} at most");
    program.check(hidden, slowest < HIT);
    let over: Moments = open.iter().map(|run| share(run) / expected).collect();
    let what = format!(
        "the open loop has {:.2} ±{:.2} times as many slow requests as the fluid limit, {}",
        over.mean(),
        over.half_width(),
        percent(expected)
    );
    program.check_least(format!("{what}, at least .7 required"), &over, 0.7);
    program.check_most(format!("{what}, at most 1.5 allowed"), &over, 1.5);
    let least = open.iter().map(p95).min().unwrap_or_default();
    let shown = format!("each p95 of the open loop shows it: {least:.2?} at least");
    program.check(shown, least > HIT);
}

/// The length of the interval in which arriving requests wait longer than [`HIT`], in the fluid
/// limit.
///
/// A request that arrives a time s after the start of the stall finds the work of s before it,
/// which is load times s, and waits for stall - s (1 - load). The wait is shortest at the end of
/// the stall, and continues to fall at the same rate until the queue is empty.
fn hit_time() -> Duration {
    (STALL - HIT).div_f64(1.0 - LOAD)
}

fn chart(closed: &Run, open: &Run) -> Chart {
    let points = |run: &Run| {
        let point = |outcome: &Outcome| (outcome.intended.as_secs_f64(), millis(outcome.latency()));
        Shape::Points(run.outcomes.iter().map(point).collect())
    };
    Chart::new(
        "Latency of each request, by its start",
        "In the closed loop a few requests are slow; in the open loop all that start in the stall",
        Axis::linear("start in s"),
        Axis::log("latency in ms"),
    )
    .with("open loop, from the intended start", Colour::Blue, points(open))
    .with("closed loop", Colour::Orange, points(closed))
}
