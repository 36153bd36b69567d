//! The tables and the chart.

use crate::measure::{Measured, ORDERS, Steady};
use crate::sizes::Size;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::moments::Moments;
use lab::orders::Waits;
use lab::steady::Estimate;
use lab::table::Table;

const COLOURS: [Colour; 4] = [Colour::Red, Colour::Green, Colour::Orange, Colour::Blue];

/// A time in milliseconds with half the width of its interval.
fn time(of: Estimate) -> String {
    format!("{:.1} \u{b1}{:.1}", of.value * 1e3, of.half * 1e3)
}

fn plain(of: Estimate) -> String {
    format!("{:.1} \u{b1}{:.1}", of.value, of.half)
}

/// The mean of a figure over runs.
pub fn mean(runs: &[Waits], figure: impl Fn(&Waits) -> f64) -> f64 {
    runs.iter().map(figure).collect::<Moments>().mean()
}

/// What the real pools did, and their twins.
pub fn runs(all: &[Measured]) -> Table {
    let headings =
        ["order", "mean wait", "twin", "p99", "twin", "slowdown", "twin", "longest wait"];
    let mut table = Table::new([&headings[..], &["twin"]].concat());
    for (of, (name, ..)) in all.iter().zip(ORDERS) {
        let both = |figure: fn(&Waits) -> f64, unit: f64| {
            [&of.real, &of.twin].map(|runs| format!("{:.1}", mean(runs, figure) * unit))
        };
        let figures = [
            both(Waits::mean_wait, 1e3),
            both(Waits::p99, 1e3),
            both(Waits::slowdown, 1.0),
            both(Waits::longest, 1e3),
        ];
        table.row([&[name.to_owned()], &figures.concat()[..]].concat());
    }
    table
}

/// The steady state of the twins, and the mean waits by theory.
pub fn steady(all: &[Steady], theory: Option<&[f64; 4]>) -> Table {
    let mut table = Table::new(["order", "mean wait", "theory", "p99", "slowdown", "longest wait"]);
    for (place, (of, (name, ..))) in all.iter().zip(ORDERS).enumerate() {
        let theory = theory.map(|waits| waits[place]).filter(|wait| wait.is_finite());
        table.row([
            name.to_owned(),
            time(of.mean_wait),
            theory.map_or("-".to_owned(), |wait| format!("{:.1}", wait * 1e3)),
            time(of.p99),
            plain(of.slowdown),
            time(of.longest),
        ]);
    }
    table
}

/// The slowdown of each size: the steady state, and what was measured.
pub fn by_size(sizes: &[Size], measured: &[Measured], steady: &[Steady]) -> Table {
    let names = ORDERS.map(|(name, ..)| [format!("{name}, twin"), "measured".to_owned()]);
    let headings = ["service".to_owned(), "of all".to_owned(), "of the load".to_owned()];
    let mut table = Table::new([&headings[..], &names.concat()].concat());
    let load: f64 = sizes.iter().map(|size| size.share * size.time.as_secs_f64()).sum();
    for (number, size) in sizes.iter().enumerate() {
        let own = size.share * size.time.as_secs_f64();
        let mut row = vec![
            format!("{:?}", size.time),
            lab::numbers::percent(size.share),
            lab::numbers::percent(own / load),
        ];
        for (of, steady) in measured.iter().zip(steady) {
            let seen = seen(of, number);
            row.push(plain(steady.by_size[number].1));
            row.push(seen.map_or("-".to_owned(), |slowdown| format!("{slowdown:.1}")));
        }
        table.row(row);
    }
    table
}

/// The mean slowdown of a size in the runs that had it.
fn seen(of: &Measured, size: usize) -> Option<f64> {
    let runs: Moments = of.real.iter().filter_map(|run| run.slowdown_of(size)).collect();
    (runs.count() > 0).then(|| runs.mean())
}

pub fn chart(sizes: &[Size], measured: &[Measured], steady: &[Steady]) -> Chart {
    let millis = |size: &Size| lab::numbers::millis(size.time);
    let description = "The mean slowdown, which is the time to an answer over the service, against \
        the service time, in four orders of service: it falls from many times for the \
        shortest to little more than one for the longest requests, least of all with smallest \
        first.";
    let x = Axis::log("service in milliseconds");
    let mut chart = Chart::new("Slowdown by size", description, x, Axis::log("slowdown"));
    for (place, (name, ..)) in ORDERS.iter().enumerate() {
        let line = steady[place].by_size.iter().zip(sizes);
        let line = line.map(|((_, slowdown), size)| (millis(size), slowdown.value));
        let points = sizes
            .iter()
            .enumerate()
            .filter_map(|(number, size)| Some((millis(size), seen(&measured[place], number)?)));
        chart = chart.with(name, COLOURS[place], Shape::Line(line.collect())).with(
            "",
            COLOURS[place],
            Shape::Points(points.collect()),
        );
    }
    chart
}
