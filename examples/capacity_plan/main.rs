//! Computes the workers, the queue and the timeout that a load needs, and optionally checks the
//! plan with a real pool.
//!
//! ```text
//! cargo run --release --example capacity_plan -- --rate 300 --delay 10ms --p99 25ms --verify
//! ```

mod log;
mod options;
mod plan;
mod verify;

#[path = "../shared/options.rs"]
mod values;

#[path = "../shared/pool.rs"]
mod pool;

#[path = "../shared/law.rs"]
mod law;

use lab::chart::{Axis, Chart, Colour, Shape};
use lab::numbers::{millis, millis_cell, percent};
use lab::program::{self, Program};
use lab::table::Table;
use options::Args;
use plan::{Plan, Want, least, split};
use queueing_theory::Mgc;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const LEAD: &str = "The mean load says how many workers are busy. Since arrivals are random, more \
    workers are needed so that few requests wait. Below the minimum, one more worker brings a lot; \
    above it, very little.";

/// Numbers of machines that are compared.
const MACHINES: [u32; 4] = [1, 2, 4, 8];

/// The table and the chart show up to this many workers above the minimum.
const MORE: u32 = 4;

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let (want, log) = args.want()?;
    let plan = split(&want, args.per_machine).map(|(plan, _)| plan)?;
    let mut program = Program::new(&args.common, "Capacity plan", LEAD).with_spare(verify::SPARE);
    if let Some(log) = log {
        program.text(&log.describe());
    }
    program.text(&want.describe());
    show_plan(&mut program, &want, &plan);
    show_workers(&mut program, &want, &plan)?;
    show_machines(&mut program, &want, &plan, args.per_machine);
    let within = |time: Duration, most: Duration| time <= most;
    program.check(
        format!("99 % are answered within {}, {:?} required", plan.show_p99(), want.p99),
        within(plan.p99, want.p99),
    );
    program.check(
        format!(
            "{} of the requests are refused, at most {} allowed",
            percent(plan.refused),
            percent(want.refuse)
        ),
        plan.refused <= want.refuse,
    );
    let fewer = Plan::of(&want.shared_by(plan.machines), plan.workers - 1);
    let misses = fewer.is_none_or(|fewer| !fewer.meets(&want));
    program.check(format!("{} workers do not meet the target", plan.workers - 1), misses);
    if args.verify {
        verify::run(&mut program, &args, &want, &plan)?;
    }
    program.finish()
}

fn show_plan(program: &mut Program, want: &Want, plan: &Plan) {
    let each = if plan.machines > 1 { " each" } else { "" };
    program.text(&format!(
        "Take {} machine{} with {} workers{each}: a utilisation of {:.3}, {} wait, {:.2?} on \
         average, and 99 % of the answers come within {}; {:.1} requests a second are \
         answered, {} refused.",
        plan.machines,
        if plan.machines > 1 { "s" } else { "" },
        plan.workers,
        plan.utilisation,
        percent(plan.wait_probability),
        plan.mean_wait,
        plan.show_p99(),
        plan.carried,
        percent(plan.refused)
    ));
    program.text(&format!(
        "\n  server --workers {} --delay {} --queue {} --queue-timeout {:?}",
        plan.workers,
        want.service.constant().map_or(want.service.to_string(), |delay| format!("{delay:?}")),
        plan.queue,
        plan.queue_timeout
    ));
    if plan.simulated.is_some() {
        program.text(
            "\nNo formula covers such services: the figures are simulated, and the target is met \
             by the whole 95 % interval.",
        );
        show_theory(program, want, plan);
    }
    let fewer = Plan::of(&want.shared_by(plan.machines), plan.workers - 1);
    let cost = match fewer {
        Some(fewer) => format!(
            "One worker fewer: a utilisation of {:.3}, a mean wait of {:.2?} instead of {:.2?}, \
             99 % within {:.2?} instead of {:.2?}, {} refused.",
            fewer.utilisation,
            fewer.mean_wait,
            plan.mean_wait,
            fewer.p99,
            plan.p99,
            percent(fewer.refused)
        ),
        None => format!(
            "One worker fewer carries at most {:.1} requests a second.",
            f64::from(plan.workers - 1) / want.delay.as_secs_f64()
        ),
    };
    program.text(&format!("\n{cost}"));
}

/// The mean wait by theory, for a queue without a bound, and how far to trust it.
fn show_theory(program: &mut Program, want: &Want, plan: &Plan) {
    let utilisation =
        want.rate / f64::from(plan.machines) * want.delay.as_secs_f64() / f64::from(plan.workers);
    let theory = law::theory(&want.service);
    let Ok(pool) = theory.and_then(|law| Mgc::new(plan.workers, utilisation, &law)) else { return };
    program.text(&format!(
        "Theory for a queue without a bound: a mean wait of {:.2?}, {}.",
        want.delay.mul_f64(pool.mean_wait()),
        pool.trust()
    ));
}

fn show_workers(program: &mut Program, want: &Want, plan: &Plan) -> Result<(), Box<dyn Error>> {
    let mut table = Table::new([
        "workers",
        "busy",
        "carried/s",
        "delayed",
        "mean wait",
        "p99",
        "refused",
        "queue",
        "",
    ]);
    let shared = want.shared_by(plan.machines);
    let first = plan.workers.saturating_sub(2).max(1);
    let rows = (first..=plan.workers + MORE).map(|workers| (workers, Plan::of(&shared, workers)));
    let rows: Vec<(u32, Option<Plan>)> = rows.collect();
    for (workers, row) in &rows {
        let Some(row) = row else {
            let carried = f64::from(*workers) / want.delay.as_secs_f64();
            let refused = percent(1.0 - carried / shared.rate);
            let (workers, carried) = (workers.to_string(), format!("{carried:.1}"));
            table.row([&workers, "1.000", &carried, "all", "-", "-", &refused, "-", "too few"]);
            continue;
        };
        let verdict = match row.meets(want) {
            true if *workers == plan.workers => "minimum",
            true => "sufficient",
            false => "too few",
        };
        table.row([
            workers.to_string(),
            format!("{:.3}", row.utilisation),
            format!("{:.1}", row.carried),
            percent(row.wait_probability),
            millis_cell(row.mean_wait),
            millis_cell(row.p99),
            percent(row.refused),
            row.queue.to_string(),
            verdict.to_owned(),
        ]);
    }
    program.table(&table);
    program.text(
        "\nwaits and latencies of the answered requests in milliseconds; latencies include the \
         service",
    );
    let of = |figure: fn(&Plan) -> Duration| {
        let known = rows.iter().filter_map(|(workers, row)| Some((workers, row.as_ref()?)));
        known.map(|(workers, row)| (f64::from(*workers), millis(figure(row)))).collect()
    };
    let ends = [f64::from(first), f64::from(plan.workers + MORE)];
    let asked = millis(want.p99);
    let description = format!(
        "The 99th percentile of the latency against the number of workers: it falls steeply up to \
         {} workers, where it meets the target, and hardly after that.",
        plan.workers
    );
    let (x, y) = (Axis::linear("workers").between(ends[0], ends[1]), Axis::linear("milliseconds"));
    let chart = Chart::new("What one more worker brings", &description, x, y)
        .with("99th percentile", Colour::Blue, Shape::Joined(of(|row| row.p99)))
        .with("mean wait", Colour::Orange, Shape::Joined(of(|row| row.mean_wait)))
        .with("asked", Colour::Red, Shape::Dashed(ends.map(|x| (x, asked)).to_vec()));
    program.figure(&chart, "Near the minimum each worker matters; beyond it, one more does not.")
}

fn show_machines(program: &mut Program, want: &Want, plan: &Plan, most: u32) {
    let mut table = Table::new(["machines", "workers each", "in all", "busy"]);
    for machines in MACHINES {
        let Ok(each) = least(&want.shared_by(machines)) else { continue };
        if each.workers > most {
            continue;
        }
        table.row([
            machines.to_string(),
            each.workers.to_string(),
            (each.workers * machines).to_string(),
            format!("{:.3}", each.utilisation),
        ]);
    }
    if plan.machines <= MACHINES[MACHINES.len() - 1] {
        program.text(
            "\nThe same load, shared evenly among machines: several small pools need more workers \
            than a large one, because one can be idle while another one has a queue.",
        );
        program.table(&table);
    }
}
