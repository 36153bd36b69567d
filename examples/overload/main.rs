//! Compares the goodput of four queue policies under overload.
//!
//! ```text
//! cargo run --release --example overload
//! ```

mod burst;
mod lanes;
mod measure;
mod options;
mod policy;

#[path = "../shared/options.rs"]
mod values;

use lab::chart::{Axis, Chart, Colour, Shape};
use lab::program::{self, Program};
use lab::table::Table;
use lab::trace::Trace;
use measure::{Bench, Cell};
use options::Args;
use policy::Policy;
use std::error::Error;
use std::process::ExitCode;

const LEAD: &str = "Beyond W/D the pool cannot answer all requests in time. Without a queue limit \
    it answers none: each request is served after its client has hung up. Goodput is the rate of \
    complete 200 responses within the patience T of the intended start, divided by W/D.";

/// The minimum goodput with queue limit and timeout under overload; and the maximum without a limit
/// at twice the capacity.
const KEPT: f64 = 0.93;
const LOST: f64 = 0.1;

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut program = Program::new(&args.common, "Overload and queue limits", LEAD);
    let bench = Bench::new(&args)?;
    program.text(&bench.describe());
    let cells = bench.all(&mut program)?;
    let mut trace = args.common.csv.as_deref().map(Trace::create).transpose()?;
    if let Some(trace) = &mut trace {
        cells.iter().try_for_each(|cell| trace.add(&cell.name(), &cell.outcomes))?;
    }
    program.heading("Goodput");
    program.table(&table(&bench, &cells));
    program.text("\nin brackets: the 99th percentile of the latency of good responses");
    program.chart(
        &chart(&bench, &cells),
        "Goodput against load. A limit at the whole patience admits \
        requests that finish just too late. With half of it, goodput stays at its maximum at any \
        load.",
    )?;
    check(&mut program, &bench, &cells);
    if args.url.is_none() {
        lanes::show(&mut program, &bench, &cells)?;
        burst::run(&mut program, &bench, trace.as_mut())?;
    }
    if let Some(trace) = trace {
        trace.finish()?;
    }
    program.finish()
}

fn table(bench: &Bench, cells: &[Cell]) -> Table {
    let loads = bench.loads();
    let headings = loads.iter().map(|m| format!("m = {m}"));
    let mut table = Table::new(["policy".to_owned()].into_iter().chain(headings));
    for policy in bench.policies() {
        let of = cells.iter().filter(|cell| cell.policy == policy);
        let text = |cell: &Cell| {
            if cell.latencies.count() == 0 {
                return "0".to_owned();
            }
            format!("{:.3} ({:.0?})", cell.goodput, cell.latencies.percentile(0.99))
        };
        table.row([policy.name().to_owned()].into_iter().chain(of.map(text)));
    }
    table
}

fn chart(bench: &Bench, cells: &[Cell]) -> Chart {
    let description = "Goodput against load, of four policies: without a bound it falls to zero \
        right past the knee, with a bound at the patience it falls more slowly, with half of it it \
        stays near 1 up to ten times the capacity.";
    let (x, y) = (Axis::log("offered load, times W/D"), Axis::linear("goodput, over W/D"));
    let mut chart = Chart::new("Goodput against load", description, x, y.between(0.0, 1.0));
    for policy in bench.policies() {
        let of = cells.iter().filter(|cell| cell.policy == policy);
        let points = of.map(|cell| (cell.times, cell.goodput)).collect();
        chart = chart.with(policy.name(), policy.colour(), Shape::Joined(points));
    }
    let (low, high) = (bench.loads()[0], bench.loads()[bench.loads().len() - 1]);
    chart.with("", Colour::Line, Shape::Dashed(vec![(low, 1.0), (high, 1.0)]))
}

fn check(program: &mut Program, bench: &Bench, cells: &[Cell]) {
    for cell in cells {
        if let Some(why) = &cell.spoilt {
            program.spoilt(format!("the run {}: {why}", cell.name()));
        }
    }
    let goodput = |policy: Policy, from: f64| {
        let past = move |cell: &&Cell| cell.policy == policy && cell.times >= from;
        cells.iter().filter(past).map(|cell| cell.goodput)
    };
    let kept = bench.kept();
    for policy in [Policy::BoundAndAge, Policy::AsItRuns] {
        if let Some(least) = goodput(policy, 1.1).reduce(f64::min) {
            program.check(
                format!(
                    "{}: goodput {least:.3} or more beyond the knee, at least {kept} required",
                    policy.name()
                ),
                least >= kept,
            );
        }
    }
    if let Some(most) = goodput(Policy::Unbounded, 2.0).reduce(f64::max) {
        let name = Policy::Unbounded.name();
        program.check(
            format!("{name}: goodput {most:.3} or less at twice the capacity, {LOST} allowed"),
            most <= LOST,
        );
    }
    let tolerance = bench.twin_tolerance();
    let off = cells.iter().filter_map(|cell| Some((cell.goodput - cell.twin?).abs()));
    if let Some(off) = off.reduce(f64::max) {
        program.check(
            format!(
                "the twin's goodput, with and without bound, is off by {off:.3} at most, \
                {tolerance} allowed"
            ),
            off <= tolerance,
        );
    }
}
