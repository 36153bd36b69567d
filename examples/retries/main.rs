//! Shows how retries turn a burst into a collapse that stays, and what prevents it.
//!
//! ```text
//! cargo run --release --example retries
//! ```

mod behaviour;
mod map;
mod options;
mod policy;
mod real;
mod reference;
mod scenario;

#[path = "../shared/options.rs"]
mod values;

use behaviour::Behaviour;
use lab::chart::{Axis, Chart, Shape};
use lab::evidence::Findings;
use lab::moments::Moments;
use lab::program::{self, Program};
use lab::table::Table;
use lab::trace::Trace;
use lab::trial;
use map::SOON;
use options::Args;
use policy::Policy;
use real::Cell;
use scenario::{over_runs, shown};
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const LEAD: &str = "A burst ends, but what it leaves behind may not: requests that fail are tried \
    again, and these tries keep the pool too busy to answer them in time. Such a failure is called \
    metastable. Either side can prevent it: the client, by not retrying what fails often; the \
    server, by not serving what is too late.";

const CAPTION: &str = "Goodput through a burst without a bound, for several behaviours of the \
    clients. The first run of each.";

/// The share of the load that is good after the burst: at most this if it has collapsed, at least
/// that if it has recovered.
const LOST: f64 = 0.2;
const KEPT: f64 = 0.9;

/// The length of a step in the chart, in units of D.
const STEP: u32 = 10;

/// The time that repeated measurements may take, and with `--quick`.
const SPARE: Duration = Duration::from_secs(30);
const SPARE_QUICK: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let spare = if args.common.quick { SPARE_QUICK } else { SPARE };
    let mut program = Program::new(&args.common, "Retries", LEAD).with_spare(spare);
    program.text(&format!(
        "W = {}, D = {:?}, T = {:?}, so W/D = {:.0} requests a second. {} runs of each case, with \
         95 % intervals.",
        args.workers,
        args.delay,
        args.patience(),
        args.capacity(),
        args.seeds().len()
    ));
    if let Some(count) = args.trial.twins {
        trial::run(&mut program, count, &real::FAULTS, |number, fault| {
            judge(&real::twins(&args, number, fault))
        });
        return program.finish();
    }
    let cells = real::measure(&mut program, &args)?;
    let mut trace = args.common.csv.as_deref().map(Trace::create).transpose()?;
    if let Some(trace) = &mut trace {
        cells.iter().try_for_each(|cell| trace.add(&cell.name(), &cell.outcomes))?;
    }
    if let Some(trace) = trace {
        trace.finish()?;
    }
    program.heading("A burst, and clients that retry");
    program.text(
        "Real pools. Good: the share of the requests that an answer reaches in time, late after \
         the burst. Recovery: the time from the end of the burst, in units of D. Tries: per \
         request. In brackets: the simulation with the same arrivals.",
    );
    program.table(&table(&cells));
    program.chart(&chart(&args, &cells), CAPTION)?;
    for cell in &cells {
        if let Some(why) = &cell.spoilt {
            program.spoilt(format!("the runs {}: {why}", cell.name()));
        }
    }
    program.conclude(judge(&cells));
    reference::compare(&mut program, &args);
    map::run(&mut program, &args)?;
    program.finish()
}

fn table(cells: &[Cell]) -> Table {
    let headings = ["policy, retries, base x burst", "good", "goodput", "recovery/D", "tries"];
    let mut table = Table::new(headings);
    for cell in cells {
        let both = |of: fn(&scenario::Figures) -> f64, decimals| {
            let simulated = over_runs(&cell.simulated, of);
            let simulated = match simulated.mean().is_finite() {
                true => format!("{:.decimals$}", simulated.mean()),
                false => "never".to_owned(),
            };
            format!("{} ({simulated})", shown(&over_runs(&cell.figures, of), decimals))
        };
        table.row([
            cell.name(),
            both(|of| of.good, 3),
            both(|of| of.goodput, 3),
            both(|of| of.recovery, 0),
            both(|of| of.amplification, 2),
        ]);
    }
    table
}

fn chart(args: &Args, cells: &[Cell]) -> Chart {
    let description = "Goodput over time, by what clients do after a failure: with retries at once \
        or with backoff it stays near zero after the burst; otherwise it comes back.";
    let x = Axis::linear("time, over D");
    let y = Axis::linear("good responses, over W/D");
    let mut chart = Chart::new("Goodput through a burst", description, x, y);
    let unbounded = cells.iter().filter(|cell| cell.policy == Policy::Unbounded);
    for cell in unbounded.filter(|cell| cell.scenario.base <= 0.5) {
        let steps = (0..cell.scenario.over()).step_by(STEP as usize);
        let corners = steps.flat_map(|from| {
            let to = from + STEP;
            let (_, good) = cell.scenario.rates(args, &cell.sent, from, to);
            [(f64::from(from), good), (f64::from(to), good)]
        });
        let line = Shape::Line(corners.collect());
        chart = chart.with(cell.behaviour.name(), cell.behaviour.colour(), line);
    }
    chart
}

fn judge(cells: &[Cell]) -> Findings {
    let mut findings = Findings::default();
    for cell in cells {
        let name = cell.name();
        let good = over_runs(&cell.figures, |of| of.good);
        // A run that does not recover counts as one that does so after its end.
        let end = f64::from(cell.scenario.after);
        let recovery: Moments = cell.figures.iter().map(|of| of.recovery.min(end)).collect();
        let is_free = matches!(cell.behaviour, Behaviour::AtOnce | Behaviour::Backoff);
        match (cell.policy, is_free) {
            (Policy::Unbounded, true) => findings.most(
                format!(
                    "{name}: {} of the requests are good long after the burst, at most {LOST} \
                     expected: the burst has ended, and its retries have not",
                    shown(&good, 3)
                ),
                &good,
                LOST,
            ),
            (Policy::Unbounded, false) => findings.least(
                format!(
                    "{name}: {} of the requests are good long after the burst, at least {KEPT} \
                     required",
                    shown(&good, 3)
                ),
                &good,
                KEPT,
            ),
            _ => findings.most(
                format!(
                    "{name}: recovers {} D after the end of the burst, at most {SOON} allowed",
                    shown(&recovery, 0)
                ),
                &recovery,
                SOON,
            ),
        }
    }
    let agree = |cell: &&Cell| {
        // Where chance decides, some end and some do not.
        let ends = |of: &[scenario::Figures]| {
            let count = of.iter().filter(|of| of.recovery.is_finite()).count();
            (count == 0, count == of.len())
        };
        let [(real_never, real_always), (never, always)] =
            [&cell.figures, &cell.simulated].map(|of| ends(of));
        !(real_never && always || real_always && never)
    };
    let same = cells.iter().filter(agree).count();
    findings.check(
        format!("the simulation says whether it ends as {same} of {} real cases do", cells.len()),
        same == cells.len(),
    );
    findings
}
