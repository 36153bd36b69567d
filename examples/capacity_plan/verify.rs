//! Runs a real pool with the plan, and compares the results.

use crate::options::Args;
use crate::plan::{NOTICED, Plan, Want};
use crate::pool;
use cws::{Config, Figures};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Connections, Outcome, Target};
use lab::numbers::percent;
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::table::Table;
use lab::trace::Trace;
use lab::twin::Twin;
use std::error::Error;
use std::time::Duration;

/// Ideal pools that show the random variation of a run of this length. One more run is beyond all
/// of them once in a hundred times.
const TWINS: u64 = 200;

/// What a real pool may add, as a share of the service time: the time to wake a thread, for a wait
/// and twice for a latency; and of its busy time, in which a service takes longer than its delay.
const FLOOR: f64 = 0.02;
const FLOOR_QUICK: f64 = 0.1;

/// The time for repeated runs: twice the length of a run, and a little more.
pub const SPARE: Duration = Duration::from_secs(32);

/// Above this rate, one load generator beside the server is too slow.
const RATE_MOST: f64 = 20_000.0;

struct Measured {
    outcomes: Vec<Outcome>,
    figures: Run,
    service: Duration,
}

/// The figures that a plan and a run of a pool have in common.
#[derive(Debug, Clone, Copy)]
struct Run {
    busy: f64,
    delayed: f64,
    mean_wait: Duration,
    p99: Duration,
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
    let twins = twins(&want, plan, args.common.seed, starts.len() as u64);
    show(program, args, plan, &measured, &twins, length);
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
    let config = Config::default().queue(queue).queue_timeout(queue_timeout);
    let server = pool::start(workers, want.service.clone(), config)?;
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
    let waits: Sample = answered().filter_map(|each| each.server.queue_wait).collect();
    let latencies: Sample = answered().map(|each| each.latency()).collect();
    // Whatever is no answer counts as refused.
    let refused = outcomes.len() - latencies.count();
    let figures = Run {
        busy: figures.utilisation.total(),
        delayed: waits.share_beyond(service.mul_f64(NOTICED)),
        mean_wait: waits.mean(),
        p99: latencies.percentile(0.99),
        refused: refused as f64 / outcomes.len().max(1) as f64,
    };
    let measured = Measured { figures, service, outcomes };
    let reasons = run.conduct.spoilt(want.delay).iter().map(ToString::to_string).collect();
    Ok((measured, reasons))
}

/// Runs of ideal pools with the plan's queue and the nominal services, from other arrivals.
fn twins(want: &Want, plan: &Plan, seed: u64, requests: u64) -> Vec<Run> {
    let (workers, service) = (plan.workers as usize, want.delay);
    let twin = Twin { workers, service, queue: plan.queue, age: plan.queue_timeout };
    let run = |number: u64| {
        // Use seeds far from those that programs use.
        let seed = seed.wrapping_add((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let starts = Arrivals::poisson(want.rate, seed).starts(Stop::Count(requests));
        let law = want.service.clone().with_seed(seed);
        let fates = twin.replay_services(&starts, |number| law.sample(number as u64));
        let served = fates
            .iter()
            .enumerate()
            .filter_map(|(number, fate)| Some((fate.wait()?, law.sample(number as u64))));
        let waits: Sample = served.clone().map(|(wait, _)| wait).collect();
        let latencies: Sample = served.clone().map(|(wait, service)| wait + service).collect();
        let busy: Duration = served.map(|(_, service)| service).sum();
        let length = starts.last().copied().unwrap_or_default().as_secs_f64();
        let served = waits.count() as f64;
        Run {
            busy: busy.as_secs_f64() / (workers as f64 * length),
            delayed: waits.share_beyond(service.mul_f64(NOTICED)),
            mean_wait: waits.mean(),
            p99: latencies.percentile(0.99),
            refused: 1.0 - served / requests.max(1) as f64,
        }
    };
    (0..TWINS).map(run).collect()
}

/// How much a run may deviate from the plan: as the twins from their mean, and a little more for
/// what a real pool adds.
fn allowed(planned: f64, twins: impl Iterator<Item = f64> + Clone, slack: f64) -> (f64, f64) {
    let count = twins.clone().count().max(1) as f64;
    let mean = twins.clone().sum::<f64>() / count;
    let low = twins.clone().fold(mean, f64::min) - mean;
    let high = twins.fold(mean, f64::max) - mean;
    ((planned + low - slack).max(0.0), planned + high + slack)
}

fn show(
    program: &mut Program,
    args: &Args,
    plan: &Plan,
    measured: &Measured,
    twins: &[Run],
    length: Duration,
) {
    program.heading(&format!("A real pool of {} workers, for {length:?}", plan.workers));
    let floor = if args.common.quick { FLOOR_QUICK } else { FLOOR };
    let service = measured.service.as_secs_f64();
    // A share of requests is a whole number of them.
    let one = 1.0 / measured.outcomes.len().max(1) as f64;
    let Run { busy, delayed, mean_wait, p99, refused } = measured.figures;
    let share = |value: f64| format!("{value:.3}");
    let time = |value: f64| format!("{:.2?}", Duration::from_secs_f64(value));
    let seconds = Duration::as_secs_f64;
    // Name, plan, measured, twins, what a real pool may add, and how to write it.
    type Row<'a> = (&'a str, f64, f64, fn(&Run) -> f64, f64, &'a dyn Fn(f64) -> String);
    let rows: [Row<'_>; 5] = [
        ("busy", plan.utilisation, busy, |run| run.busy, floor, &share),
        ("delayed", plan.delayed, delayed, |run| run.delayed, floor, &percent),
        (
            "mean wait",
            seconds(&plan.mean_wait),
            seconds(&mean_wait),
            |run| run.mean_wait.as_secs_f64(),
            floor * service,
            &time,
        ),
        (
            "p99",
            seconds(&plan.p99),
            seconds(&p99),
            |run| run.p99.as_secs_f64(),
            2.0 * floor * service,
            &time,
        ),
        ("refused", plan.refused, refused, |run| run.refused, one, &percent),
    ];
    let mut table = Table::new(["", "planned", "measured", "allowed from", "to"]);
    let mut checks = Vec::new();
    for (name, planned, found, of, slack, said) in rows {
        let (low, high) = allowed(planned, twins.iter().map(of), slack);
        table.row([name.to_owned(), said(planned), said(found), said(low), said(high)]);
        let what = format!(
            "{name}: {} measured, {} planned, {} to {} allowed",
            said(found),
            said(planned),
            said(low),
            said(high)
        );
        checks.push((what, (low..=high).contains(&found)));
    }
    program.table(&table);
    program.text(&format!(
        "\nThe mean service time was {:.2?}. A request is delayed if it waits for more than a \
         twentieth of it: less is the time to wake a thread. The allowed range is the plan, and \
         the deviations of {TWINS} ideal pools with other random arrivals from their mean.",
        measured.service
    ));
    for (what, holds) in checks {
        program.check(what, holds);
    }
}
