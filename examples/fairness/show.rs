//! The table of a case, and the charts of all.

use crate::case::{self, Case};
use crate::measure::{Cell, Seen};
use cws::Schedule;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::moments::Moments;
use lab::table::Table;

/// The orders of service, with their colours, and the places of their marks beside the name of a
/// case.
const ORDERS: [(Schedule, Colour, f64); 3] = [
    (Schedule::Fifo, Colour::Red, -0.2),
    (Schedule::Lifo, Colour::Orange, 0.0),
    (Schedule::Fair, Colour::Green, 0.2),
];

/// Half the width of the bar of an interval.
const BAR: f64 = 0.015;

/// The times that are drawn, over D: no answer is sooner than 1.
const TIMES: (f64, f64) = (1.0, 200.0);

/// A mean with half the width of its interval.
pub fn shown(moments: &Moments, decimals: usize) -> String {
    match moments.mean().is_finite() {
        true => format!("{:.decimals$} ±{:.decimals$}", moments.mean(), moments.half_width()),
        false => "none".to_owned(),
    }
}

/// The figures of a case. Clients without a patience get an answer to each request.
pub fn table(case: &Case, cells: &[Cell]) -> Table {
    let headings: &[&str] = match case.has_deadline() {
        true => &["in time", "ideal", "worst client", "median/D", "p99/D", "ideal", "of W/D"],
        false => &["median/D", "p99/D", "of W/D"],
    };
    let mut table = Table::new([&["order, client"], headings].concat());
    for cell in cells.iter().filter(|cell| cell.case.name == case.name) {
        let parties =
            [(case.greedy, &cell.greedy, None), (case.polite, &cell.polite, Some(&cell.ideal))];
        for (party, seen, ideal) in parties {
            let Seen { share, worst, median, p99, capacity } = seen;
            let ideal = |of: fn(&Seen) -> Moments, decimals| {
                ideal.map(|ideal| shown(&of(ideal), decimals)).unwrap_or_default()
            };
            let mut row = vec![format!("{}, {}", case::name(cell.schedule), party.name)];
            if case.has_deadline() {
                row.extend([shown(share, 3), ideal(|of| of.share, 3), shown(worst, 3)]);
            }
            row.extend([shown(median, 2), shown(p99, 2)]);
            if case.has_deadline() {
                row.push(ideal(|of| of.p99, 2));
            }
            row.push(shown(capacity, 3));
            table.row(row);
        }
    }
    table
}

/// The polite clients' answers in time, of the cases in which clients have a patience.
pub fn shares(cells: &[Cell]) -> Chart {
    let cells: Vec<&Cell> = cells.iter().filter(|cell| cell.case.has_deadline()).collect();
    let description = "The share of the polite clients' requests that is answered in time, in each \
        case: with fifo and with lifo it falls with the load of the greedy client, with fair it \
        stays near 1.";
    let y = Axis::linear("answered in time").between(0.0, 1.0);
    chart(&cells, "Polite clients' answers in time", description, y, |cell| cell.polite.share)
}

/// The 99th percentile of the polite clients' times.
pub fn times(cells: &[Cell]) -> Chart {
    let cells: Vec<&Cell> = cells.iter().collect();
    let description = "The 99th percentile of the time to an answer of the polite clients: with \
        fair it is some services, with fifo it grows with the requests of the greedy client.";
    let y = Axis::log("99th percentile, over D").between(TIMES.0, TIMES.1);
    chart(&cells, "Polite clients' times to an answer", description, y, |cell| cell.polite.p99)
}

/// A mark for each case and order, and a bar for its interval.
fn chart(
    cells: &[&Cell],
    title: &str,
    description: &str,
    y: Axis,
    of: fn(&Cell) -> Moments,
) -> Chart {
    let mut names: Vec<&str> = cells.iter().map(|cell| cell.case.name.as_str()).collect();
    names.dedup();
    let x = Axis::named("", names.iter().copied());
    let mut chart = Chart::new(title, description, x, y);
    for (schedule, colour, off) in ORDERS {
        let of_order = cells.iter().filter(|cell| cell.schedule == schedule);
        let places: Vec<(f64, Moments)> = of_order
            .filter_map(|cell| {
                let place = names.iter().position(|name| *name == cell.case.name)?;
                Some((place as f64 + off, of(cell)))
            })
            .collect();
        if places.is_empty() {
            continue;
        }
        let bars = places.iter().map(|(x, moments)| {
            let (low, high) = moments.interval();
            // A logarithmic axis has no place for what is not positive.
            [x - BAR, low.max(f64::MIN_POSITIVE), x + BAR, high]
        });
        let points = places.iter().map(|(x, moments)| (*x, moments.mean()));
        chart = chart.with("", colour, Shape::Boxes(bars.collect())).with(
            case::name(schedule),
            colour,
            Shape::Points(points.collect()),
        );
    }
    chart
}
