//! Shows what greedy clients leave to polite ones, in three orders of service.
//!
//! ```text
//! cargo run --release --example fairness
//! ```

mod case;
mod measure;
mod options;

#[path = "../shared/options.rs"]
mod values;

use case::{Case, Promise, colour};
use cws::Schedule;
use lab::chart::{Axis, Chart, Shape};
use lab::moments::Moments;
use lab::program::{self, Program};
use lab::table::Table;
use lab::trace::Trace;
use measure::{Cell, Seen};
use options::Args;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const LEAD: &str = "A queue in order of arrival gives each client the share of the answers that it \
    has of the requests. So a client can take from others what they need, by asking more often or \
    on more connections. If clients take turns, it cannot: each gets what it asks for, up to a \
    fair share, and what one does not use the others get.";

const SHARES: &str = "The polite clients' requests that are answered in time. The bars are 95 % \
    intervals of the mean over the runs.";

const TIMES: &str = "The 99th percentile of the time to an answer, of the polite clients.";

/// The time that repeated measurements may take, and with `--quick`.
const SPARE: Duration = Duration::from_secs(40);
const SPARE_QUICK: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let spare = if args.common.quick { SPARE_QUICK } else { SPARE };
    let mut program = Program::new(&args.common, "Greedy and polite clients", LEAD);
    program = program.with_spare(spare);
    program.text(&format!(
        "W = {}, D = {:?}, T = {:?}, so W/D = {:.0} requests a second. {} runs of each case; after \
         ± is half of the 95 % interval of the mean. Times are the clients' own, from the intended \
         start to the answer, in units of D: the wait and one service.",
        args.workers,
        args.delay,
        args.patience(),
        args.capacity(),
        args.runs()
    ));
    let cells = measure::measure(&mut program, &args)?;
    if let Some(path) = args.common.csv.as_deref() {
        let mut trace = Trace::create(path)?;
        for cell in &cells {
            for (party, outcomes) in [cell.case.greedy, cell.case.polite].iter().zip(&cell.outcomes)
            {
                trace.add(&format!("{}, {}", cell.name(), party.name), outcomes)?;
            }
        }
        trace.finish()?;
    }
    for case in Case::all(args.common.quick) {
        program.heading(&case.name);
        program.table(&table(&case, &cells));
    }
    program.heading("What the polite clients get");
    let is_rate = |cell: &&Cell| cell.case.has_deadline();
    let by_rate: Vec<&Cell> = cells.iter().filter(is_rate).collect();
    program.chart(&chart_shares(&by_rate), SHARES)?;
    program.chart(&chart_times(&cells.iter().collect::<Vec<_>>()), TIMES)?;
    cells.iter().for_each(|cell| check(&mut program, cell));
    compare(&mut program, &cells);
    program.finish()
}

/// A mean with half the width of its interval.
fn shown(moments: &Moments, decimals: usize) -> String {
    if !moments.mean().is_finite() {
        return "none".to_owned();
    }
    match moments.count() {
        0 | 1 => format!("{:.decimals$}", moments.mean()),
        _ => format!("{:.decimals$} ±{:.decimals$}", moments.mean(), moments.half_width()),
    }
}

fn table(case: &Case, cells: &[Cell]) -> Table {
    let in_time = if case.has_deadline() { "answered in time" } else { "answered" };
    let headings = ["order, client", in_time, "worst client", "median/D", "p99/D", "of W/D"];
    let mut table = Table::new(headings);
    for cell in cells.iter().filter(|cell| cell.case.name == case.name) {
        for (party, seen) in [(case.greedy, &cell.greedy), (case.polite, &cell.polite)] {
            let Seen { share, worst, median, p99, capacity } = seen;
            table.row([
                format!("{}, {}", case::name(cell.schedule), party.name),
                shown(share, 3),
                shown(worst, 3),
                shown(median, 2),
                shown(p99, 2),
                shown(capacity, 3),
            ]);
        }
    }
    table
}

/// A point and a bar for the interval, for each case and order.
fn chart(cells: &[&Cell], title: &str, description: &str, y: Axis, of: fn(&Cell) -> f64) -> Chart {
    let mut names: Vec<&str> = cells.iter().map(|cell| cell.case.name.as_str()).collect();
    names.dedup();
    let x = Axis::named("", names.iter().copied());
    let mut chart = Chart::new(title, description, x, y);
    for (schedule, off) in [(Schedule::Fifo, -0.15), (Schedule::Lifo, 0.0), (Schedule::Fair, 0.15)]
    {
        let place = |cell: &Cell| names.iter().position(|name| *name == cell.case.name);
        let of_schedule = cells.iter().filter(|cell| cell.schedule == schedule);
        let points = of_schedule.filter_map(|cell| Some((place(cell)? as f64 + off, of(cell))));
        let points: Vec<(f64, f64)> = points.collect();
        if !points.is_empty() {
            let shape = Shape::Points(points);
            chart = chart.with(case::name(schedule), colour(schedule), shape);
        }
    }
    chart
}

fn chart_shares(cells: &[&Cell]) -> Chart {
    let description = "The share of the polite clients' requests that is answered in time, in each \
        case: with fifo and with lifo it falls with the load of the greedy client, with fair it \
        stays near 1.";
    let y = Axis::linear("answered in time").between(0.0, 1.0);
    let title = "Polite clients' answers in time";
    let mut chart = chart(cells, title, description, y, |cell| cell.polite.share.mean());
    let mut names: Vec<&str> = cells.iter().map(|cell| cell.case.name.as_str()).collect();
    names.dedup();
    let bars = cells.iter().filter_map(|cell| {
        let place = names.iter().position(|name| *name == cell.case.name)? as f64;
        let x = place
            + match cell.schedule {
                Schedule::Fifo => -0.15,
                Schedule::Fair => 0.15,
                _ => 0.0,
            };
        let (low, high) = cell.polite.share.interval();
        Some([x - 0.01, low.max(0.0), x + 0.01, high.min(1.0)])
    });
    chart = chart.with("", lab::chart::Colour::Grey, Shape::Boxes(bars.collect()));
    chart
}

fn chart_times(cells: &[&Cell]) -> Chart {
    let description = "The 99th percentile of the time to an answer of the polite clients: with \
        fair it is some services, with fifo it grows with the requests of the greedy client.";
    let y = Axis::log("99th percentile, over D");
    chart(cells, "Polite clients' times", description, y, |cell| cell.polite.p99.mean())
}

fn check(program: &mut Program, cell: &Cell) {
    let name = cell.name();
    if let Some(why) = &cell.spoilt {
        program.spoilt(format!("the runs {name}: {why}"));
    }
    if cell.schedule != Schedule::Fair {
        return;
    }
    let Promise { share, median, p99 } = cell.case.promise;
    let polite = cell.case.polite.name;
    let seen = &cell.polite;
    if let Some(least) = share {
        program.check(
            format!(
                "{name}: {} of the {polite} client's requests are answered in time, at least \
                 {least} required",
                shown(&seen.share, 3)
            ),
            seen.share.interval().0 >= least,
        );
    }
    for (what, moments, most) in [("median", &seen.median, median), ("p99", &seen.p99, p99)] {
        let Some(most) = most else { continue };
        program.check(
            format!(
                "{name}: the {polite} client's {what} is {} D, at most {most} allowed",
                shown(moments, 2)
            ),
            moments.interval().1 <= most,
        );
    }
}

/// The gain of turns is larger than what differs between runs.
fn compare(program: &mut Program, cells: &[Cell]) {
    let order = |schedule| move |cell: &&Cell| cell.schedule == schedule;
    for fair in cells.iter().filter(order(Schedule::Fair)) {
        let fifo = cells.iter().filter(order(Schedule::Fifo));
        let Some(fifo) = fifo.clone().find(|cell| cell.case.name == fair.case.name) else {
            continue;
        };
        if fair.case.promise.share.is_some() {
            let [fair_share, fifo_share] = [fair, fifo].map(|cell| cell.polite.share);
            program.check(
                format!(
                    "{}: the polite get {} of their answers with fair and {} with fifo, which is \
                     less",
                    fair.case.name,
                    shown(&fair_share, 3),
                    shown(&fifo_share, 3)
                ),
                fair_share.interval().0 > fifo_share.interval().1,
            );
        }
    }
}
