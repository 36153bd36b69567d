//! The goodput of each policy against the load, for each service.

use crate::cells::{self, Cell};
use crate::measure::Bench;
use crate::policy::Policy;
use crate::service::Service;
use lab::chart::{Axis, Chart, Shape};
use lab::moments::Moments;
use lab::program::Program;
use lab::table::Table;
use std::error::Error;
use std::time::Duration;

/// Half the width of the bar of an interval, as a factor of the load.
const BAR: f64 = 1.012;

/// The marks of policies stand beside one another at each load.
const BESIDE: f64 = 1.03;

pub fn introduction(bench: &Bench<'_>) -> String {
    format!(
        "W = {}, D = {:?}, T = {:?}, so W/D = {:.0} requests a second. Poisson arrivals at m times \
         the true capacity, each on a connection of its own; {} runs of each measured policy with \
         other arrivals each. Behind ± is half of the 95 % interval of a mean over runs. \"503 at \
         ..\" and \"age ..\" are told D; \"from S\" is told T alone.",
        bench.workers(),
        bench.delay(),
        bench.patience(),
        bench.capacity(),
        bench.args.runs(),
    )
}

/// A mean with half the width of its interval.
pub fn mean(moments: &Moments) -> String {
    format!("{:.3} ±{:.3}", moments.mean(), moments.half_width())
}

pub fn goodput(
    program: &mut Program,
    bench: &Bench<'_>,
    service: Service,
    cells: &[Cell],
) -> Result<(), Box<dyn Error>> {
    let policies = cells::policies(bench, service);
    let of_service = |cell: &&Cell| cell.service == service;
    if policies.is_empty() {
        return Ok(());
    }
    program.heading(&format!("Goodput, {}", service.name()));
    let cells: Vec<&Cell> = cells.iter().filter(of_service).collect();
    program.table(&table(&policies, &cells));
    program.text("\nin brackets: the 99th percentile of the latency of good responses");
    if service == Service::Constant {
        program.text(
            "\nWithout a bound at m = 1.1, the queue grows by a tenth of the capacity only. How \
             much of a run is good depends on its length: of a second, nearly all can be, or \
             nearly nothing, by chance. A full run is long enough here, and does not count its \
             first part.",
        );
    }
    let caption = match service {
        Service::Constant => {
            "Goodput against load. A limit at the whole patience admits requests that finish just \
             too late. With half of it, goodput stays at its maximum at any load. The limits that \
             follow from the measured service time are as good."
        }
        Service::Exponential => "Services vary as much as the gaps between random arrivals.",
        Service::Slower(_) => {
            "Services have become slower than the server was told. The goodput of what follows \
             from the measured service time stays."
        }
    };
    // A line needs more than one load.
    if loads(&cells).len() < 2 {
        return Ok(());
    }
    let chart = chart(&format!("Goodput against load, {}", service.name()), &policies, &cells);
    match service {
        Service::Constant => program.chart(&chart, caption),
        _ => program.figure(&chart, caption),
    }
}

fn table(policies: &[Policy], cells: &[&Cell]) -> Table {
    let loads = loads(cells);
    let headings = loads.iter().map(|m| format!("m = {m}"));
    let mut table = Table::new(["policy".to_owned()].into_iter().chain(headings));
    for &policy in policies {
        let of = cells.iter().filter(|cell| cell.policy == policy);
        let text = |cell: &&Cell| {
            let p99s: Vec<Duration> = (cell.runs.iter())
                .filter(|run| run.latencies.count() > 0)
                .map(|run| run.latencies.percentile(0.99))
                .collect();
            let total: Duration = p99s.iter().sum();
            match p99s.len() {
                0 => "0".to_owned(),
                count => format!("{} ({:.0?})", mean(&cell.goodput()), total / count as u32),
            }
        };
        table.row([policy.name().to_owned()].into_iter().chain(of.map(text)));
    }
    table
}

fn loads(cells: &[&Cell]) -> Vec<f64> {
    let mut loads: Vec<f64> = cells.iter().map(|cell| cell.times).collect();
    loads.sort_by(f64::total_cmp);
    loads.dedup();
    loads
}

fn chart(title: &str, policies: &[Policy], cells: &[&Cell]) -> Chart {
    let description = "Goodput against load, with the intervals of the means: a line for each \
        policy. Without a bound it falls to zero right past the knee; what follows from the \
        measured service time stays near 1 up to ten times the capacity.";
    let (x, y) = (Axis::log("offered load, times the true capacity"), Axis::linear("goodput"));
    let mut chart = Chart::new(title, description, x, y.between(0.0, 1.05));
    // The other orders of service would hide one another.
    let is_drawn = |policy: &&Policy| {
        policies.len() <= Policy::COMPARED.len() || !matches!(**policy, Policy::FIFO | Policy::LIFO)
    };
    let drawn: Vec<Policy> = policies.iter().filter(is_drawn).copied().collect();
    for (place, policy) in drawn.iter().enumerate() {
        let off = BESIDE.powf(place as f64 - (drawn.len() - 1) as f64 / 2.0);
        let of = cells.iter().filter(|cell| cell.policy == *policy);
        let bars = of.clone().map(|cell| {
            let (low, high) = cell.goodput().interval();
            let x = cell.times * off;
            [x / BAR, low.max(0.0), x * BAR, high]
        });
        let points = of.clone().map(|cell| (cell.times * off, cell.goodput().mean()));
        chart = chart.with("", policy.colour(), Shape::Boxes(bars.collect())).with(
            policy.name(),
            policy.colour(),
            Shape::Joined(points.collect()),
        );
    }
    let loads = loads(cells);
    let (Some(&low), Some(&high)) = (loads.first(), loads.last()) else { return chart };
    let line = vec![(low, 1.0), (high * BESIDE, 1.0)];
    chart.with("", lab::chart::Colour::Line, Shape::Dashed(line))
}
