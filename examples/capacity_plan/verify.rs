//! Runs a real pool with the plan, and compares the results.

use crate::options::Args;
use crate::plan::{Plan, Want};
use crate::pool;
use cws::{Config, Figures};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Answer, Connections, Outcome, Target};
use lab::numbers::percent;
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::table::Table;
use lab::trace::Trace;
use lab::twin::Twin;
use std::error::Error;
use std::time::Duration;

/// Runs of the twin that show the random variation of a run of this length.
const BAND_RUNS: u64 = 100;

/// The tolerated error of a mean wait, compared with the twin: as a share of the wait or of the
/// service time.
const OFF: f64 = 0.05;
const OFF_QUICK: f64 = 0.25;
const FLOOR: f64 = 0.02;
const FLOOR_QUICK: f64 = 0.1;

/// The time for repeated runs: twice the length of a run, and a little more.
pub const SPARE: Duration = Duration::from_secs(32);

/// Above this rate, one load generator beside the server is too slow.
const RATE_MOST: f64 = 20_000.0;

struct Measured {
    outcomes: Vec<Outcome>,
    waits: Sample,
    latencies: Sample,
    twin: Sample,
    service: Duration,
    utilisation: f64,
    refused: f64,
}

pub fn run(
    program: &mut Program,
    args: &Args,
    want: &Want,
    plan: &Plan,
) -> Result<(), Box<dyn Error>> {
    let want = want.shared_by(plan.machines);
    if want.rate > RATE_MOST {
        return Err(format!(
            "{} requests per second are too many for a test here (at most {RATE_MOST}: plan \
             smaller machines with --per-machine)",
            want.rate
        )
        .into());
    }
    let length = Duration::from_secs(if args.common.quick { 2 } else { 15 });
    let starts = Arrivals::poisson(want.rate, args.common.seed).starts(Stop::After(length));
    let (measured, spoilt) = program.until_sound(|| measure(&want, plan, &starts, length))?;
    if let Some(why) = spoilt {
        program.spoilt(format!("the real pool: {why}"));
    }
    if let Some(path) = &args.common.csv {
        let mut trace = Trace::create(path)?;
        trace.add("verify", &measured.outcomes)?;
        trace.finish()?;
    }
    show(program, plan, &measured, length);
    check(program, args, &want, plan, &measured, starts.len() as u64);
    Ok(())
}

fn measure(
    want: &Want,
    plan: &Plan,
    starts: &[Duration],
    length: Duration,
) -> Result<(Measured, Vec<String>), Box<dyn Error>> {
    let Plan { queue, queue_timeout, .. } = *plan;
    let workers = plan.workers as usize;
    let config = Config { queue, queue_timeout, ..Config::default() };
    let server = pool::start(workers, want.delay, config)?;
    let address = *server.addresses().first().ok_or("the server has no address")?;
    let client = Target::new(address, "/").client(Connections::Kept(4000), want.deadline);
    let before = server.snapshot();
    let progress = Progress::start("a real pool", length);
    let run = client.open_loop(starts)?;
    drop(progress);
    let figures = Figures::between(&before, &server.snapshot());
    let mut outcomes = run.outcomes;
    outcomes.sort_unstable_by_key(|each| each.begun.unwrap_or(each.intended));
    let answered = || outcomes.iter().filter(|each| each.is_success());
    let service = figures.service.mean.ok_or("the server answered nothing")?;
    let arrivals: Vec<Duration> = answered().filter_map(|each| each.begun).collect();
    let refused = outcomes.iter().filter(|each| each.answer == Answer::Status(503)).count();
    let measured = Measured {
        waits: answered().filter_map(|each| each.server.queue_wait).collect(),
        latencies: answered().map(|each| each.latency()).collect(),
        twin: Twin::unbounded(workers, service).waits(&arrivals),
        service,
        utilisation: figures.utilisation.total(),
        refused: refused as f64 / outcomes.len().max(1) as f64,
        outcomes,
    };
    let reasons = run.conduct.spoilt(want.delay).iter().map(ToString::to_string).collect();
    Ok((measured, reasons))
}

fn show(program: &mut Program, plan: &Plan, measured: &Measured, length: Duration) {
    program.heading(&format!("A real pool of {} workers, for {length:?}", plan.workers));
    let said = |time: Duration| format!("{time:.2?}");
    let mut table = Table::new(["", "planned", "measured", "twin"]);
    let twin_p99 = measured.twin.percentile(0.99) + measured.service;
    let utilisation = |value: f64| format!("{value:.3}");
    table.row(["busy", &utilisation(plan.utilisation), &utilisation(measured.utilisation), "-"]);
    let waited = |sample: &Sample| percent(sample.share_beyond(measured.service / 20));
    let rows = [
        (
            "delayed",
            percent(plan.wait_probability),
            waited(&measured.waits),
            waited(&measured.twin),
        ),
        (
            "mean wait",
            said(plan.mean_wait),
            said(measured.waits.mean()),
            said(measured.twin.mean()),
        ),
        ("p99", said(plan.p99), said(measured.latencies.percentile(0.99)), said(twin_p99)),
        ("refused", percent(plan.refused), percent(measured.refused), "-".to_owned()),
    ];
    for (name, planned, found, twin) in rows {
        table.row([name.to_owned(), planned, found, twin]);
    }
    program.table(&table);
    program.text(&format!(
        "\nThe mean service time was {:.2?}. Measured waits below a twentieth of it count as no \
         wait: that is the time to wake a thread.",
        measured.service
    ));
}

fn check(
    program: &mut Program,
    args: &Args,
    want: &Want,
    plan: &Plan,
    measured: &Measured,
    requests: u64,
) {
    let (off, floor) = match args.common.quick {
        true => (OFF_QUICK, FLOOR_QUICK),
        false => (OFF, FLOOR),
    };
    let (wait, twin) = (measured.waits.mean(), measured.twin.mean());
    let apart = wait.abs_diff(twin);
    let most = twin.mul_f64(off).max(measured.service.mul_f64(floor));
    program.check(
        format!(
            "mean wait {wait:.2?}, the twin's {twin:.2?}, the difference is {apart:.2?}, at most \
             {most:.2?} allowed"
        ),
        apart <= most,
    );
    let pool = Twin::unbounded(plan.workers as usize, measured.service);
    let band = pool.band(want.rate, requests, BAND_RUNS, args.common.seed).p99s;
    let slack = measured.service.mul_f64(floor);
    let low = (band.percentile(0.0) + measured.service).saturating_sub(slack);
    let high = band.percentile(1.0) + measured.service + 2 * slack;
    let p99 = measured.latencies.percentile(0.99);
    program.check(
        format!(
            "the p99 of {p99:.2?} is within the range of {BAND_RUNS} runs of an ideal pool, \
             {low:.2?} to {high:.2?}"
        ),
        (low..=high).contains(&p99),
    );
    let refused = measured.refused;
    program.check(
        format!("{} refused, at most {} allowed", percent(refused), percent(want.refuse)),
        refused <= want.refuse.max(1.0 / requests.max(1) as f64),
    );
}
