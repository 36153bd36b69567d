//! The lanes of the workers: what each worker does, and whether its result is in time.

use crate::cells::Cell;
use crate::measure::{Bench, Run, was_taken};
use crate::policy::Policy;
use crate::service::{Served, Service};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::load::Outcome;
use lab::numbers::{millis, percent};
use lab::program::Program;
use std::error::Error;
use std::time::Duration;

/// The load that is shown, and for how long, in units of the patience.
const LOAD_LEAST: f64 = 2.0;
const SHOWN: u32 = 6;

/// The use of a worker's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The answer is in time.
    Good,
    /// The client waits when the service starts, but no longer when it ends.
    Late,
    /// The client has hung up before the service starts.
    Nobody,
}

pub fn show(
    program: &mut Program,
    bench: &Bench<'_>,
    cells: &[Cell],
) -> Result<(), Box<dyn Error>> {
    program.heading("Useful and useless work");
    for policy in [Policy::Unbounded, Policy::BoundAndAge] {
        let past = |cell: &&Cell| {
            cell.service == Service::Constant && cell.policy == policy && cell.times >= LOAD_LEAST
        };
        let Some(cell) = cells.iter().find(past) else { continue };
        let Some(run) = cell.runs.first().and_then(|run| run.kept.as_ref()) else { continue };
        let shown = bench.patience() * SHOWN;
        let lanes = lanes(bench, run, shown);
        let busy: Duration = lanes.iter().map(|(service, _)| service.end - service.start).sum();
        let good = lanes.iter().filter(|(_, of)| *of == Use::Good);
        let good: Duration = good.map(|(service, _)| service.end - service.start).sum();
        let all = shown.as_secs_f64() * bench.workers() as f64;
        let (busy, good) = (busy.as_secs_f64() / all, good.as_secs_f64() / all);
        program.text(&format!(
            "{}, m = {}: the workers are busy for {} of the first {shown:?}, and for {} with \
             answers that are in time.",
            policy.name(),
            cell.times,
            percent(busy),
            percent(good)
        ));
        let caption = match policy {
            Policy::Unbounded => {
                "Without a bound: after one patience the pool serves clients that have hung up, \
                 and never returns to those that still wait."
            }
            _ => "With queue limit and timeout: each request that is started is answered in time.",
        };
        program.figure(&chart(bench, cell, &lanes, shown), caption)?;
    }
    Ok(())
}

/// The services in the interval that is shown, with their use. The pool is first come, first
/// served, so its services and the requests that were not refused are in the same order.
fn lanes(bench: &Bench<'_>, run: &Run, shown: Duration) -> Vec<(Served, Use)> {
    let taken = run.outcomes.iter().filter(|outcome| was_taken(outcome));
    let pairs = run.served.iter().zip(taken);
    let pairs = pairs.filter(|(service, _)| service.end <= shown);
    pairs.map(|(service, outcome)| (*service, used(bench, service, outcome))).collect()
}

fn used(bench: &Bench<'_>, service: &Served, outcome: &Outcome) -> Use {
    match outcome.intended + bench.patience() {
        _ if outcome.is_good(bench.patience()) => Use::Good,
        until if service.start < until => Use::Late,
        _ => Use::Nobody,
    }
}

fn chart(bench: &Bench<'_>, cell: &Cell, lanes: &[(Served, Use)], shown: Duration) -> Chart {
    let boxes = |of: Use| {
        let of = lanes.iter().filter(|(_, used)| *used == of);
        let each = of.map(|(service, _)| {
            // The first worker is at the top.
            let lane = (bench.workers() - service.worker.clamp(1, bench.workers())) as f64;
            let [start, end] = [service.start, service.end].map(millis);
            // A gap separates two services.
            [start, lane - 0.4, end - (end - start) * 0.06, lane + 0.4]
        });
        Shape::Boxes(each.collect())
    };
    let names = (1..=bench.workers()).rev().map(|number| format!("worker {number}"));
    let (x, y) = (Axis::linear("milliseconds"), Axis::named("", names));
    let title = format!("Workers at m = {}: {}", cell.times, cell.policy.name());
    let description = "One lane for each worker, a box for each request that it serves: \
        green where the answer comes in time, orange where it comes too late, red where the client \
        had hung up before it was begun.";
    Chart::new(&title, description, x.between(0.0, millis(shown)), y)
        .with("good", Colour::Green, boxes(Use::Good))
        .with("late", Colour::Orange, boxes(Use::Late))
        .with("for nobody", Colour::Red, boxes(Use::Nobody))
}
