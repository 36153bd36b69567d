//! The moment when the services become slower, and nobody tells the server.

use crate::cells::{Cell, STEP};
use crate::measure::Bench;
use crate::policy::Policy;
use crate::service::Service;
use crate::show;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::moments::Moments;
use lab::program::Program;
use lab::table::Table;
use std::error::Error;
use std::time::Duration;

/// Goodput is back when it is this share of what it is in the end.
const BACK: f64 = 0.9;

/// The estimate may take the services of a worker that its weight implies, and this many more.
const MORE_SERVICES: f64 = 6.0;

/// The weight of the latest service in the server's moving average.
const WEIGHT: f64 = 1.0 / 8.0;

const ESTIMATES: &str = "The server's estimate S. Each service moves it by an eighth of the \
    difference, so it needs the same number of services whatever they take.";

const GOODPUT: &str = "The estimate is behind for a while, and with it the age at which requests \
    are dropped: goodput is low until it has followed. What was told the old D stays low.";

pub fn show(
    program: &mut Program,
    bench: &Bench<'_>,
    cells: &[Cell],
) -> Result<(), Box<dyn Error>> {
    let slower: Vec<&Cell> =
        cells.iter().filter(|cell| matches!(cell.service, Service::Slower(_))).collect();
    let fair: Vec<&Cell> = slower.iter().filter(|c| c.policy == Policy::FAIR).copied().collect();
    if fair.is_empty() {
        return Ok(());
    }
    program.heading("When D changes behind the server's back");
    program.text(
        "The clients are the same all along: before the change, the load is m over the factor.",
    );
    let mut table = Table::new(["service", "m", "S is right after", "goodput is back after"]);
    for cell in &fair {
        let lag = lag(cell);
        let lag_text = match lag.count() {
            0 => "never".to_owned(),
            _ => format!("{:.2} ±{:.2} s", lag.mean(), lag.half_width()),
        };
        let back = back(bench, cell)
            .map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        table.row([cell.service.name(), format!("{}", cell.times), lag_text, back]);
    }
    program.table(&table);
    program.text(&format!(
        "\nS is right when it is within a tenth of the truth; goodput is back when it is {BACK} of \
         its later mean for {} D.",
        STEP * 2
    ));
    let most = fair.iter().map(|cell| cell.times).filter(|&m| m <= 5.0).fold(0.0, f64::max);
    let shown = |cell: &&&Cell| cell.times == most;
    program.figure(&estimates(bench, &fair, most), ESTIMATES)?;
    let told = slower.iter().filter(|cell| cell.policy == Policy::BoundAndAge);
    for cell in fair.iter().filter(shown) {
        let told = told.clone().find(|c| c.service == cell.service && c.times == cell.times);
        program.figure(&goodput(bench, cell, told.copied()), GOODPUT)?;
    }
    for cell in fair.iter().filter(|cell| cell.times >= 2.0) {
        check(program, bench, cell);
    }
    Ok(())
}

/// The seconds until the estimate is right.
fn lag(cell: &Cell) -> Moments {
    cell.runs.iter().filter_map(|run| run.lag).map(|lag| lag.as_secs_f64()).collect()
}

/// The number of services of a worker after which a moving average is within a tenth of the new
/// value, if it was right before.
fn services(factor: u32) -> f64 {
    let off = 1.0 - 1.0 / f64::from(factor);
    ((0.1 / off).ln() / (1.0 - WEIGHT).ln()).ceil()
}

fn check(program: &mut Program, bench: &Bench<'_>, cell: &Cell) {
    let (factor, lag) = (cell.service.factor(), lag(cell));
    let needed = services(factor);
    let most = (needed + MORE_SERVICES) * (bench.delay() * factor).as_secs_f64();
    let what = format!(
        "{}: S is right after {} s in {} of {} runs; {needed} services of a worker are needed, \
         {most:.2} s allowed",
        cell.name(),
        show::mean(&lag),
        lag.count(),
        cell.runs.len()
    );
    if lag.count() == cell.runs.len() as u64 {
        program.check_most(what, &lag, most);
    } else {
        program.check(what, false);
    }
}

/// The means over the runs of a figure in each step.
fn steps(cell: &Cell, of: impl Fn(&crate::cells::Figures) -> &[f64]) -> Vec<f64> {
    let count = cell.runs.iter().map(|run| of(run).len()).min().unwrap_or_default();
    let mean = |step: usize| {
        let all = cell.runs.iter().map(|run| of(run)[step]).filter(|value| value.is_finite());
        let all: Moments = all.collect();
        if all.count() == 0 { f64::NAN } else { all.mean() }
    };
    (0..count).map(mean).collect()
}

/// The time from the change until goodput is what it is in the end.
fn back(bench: &Bench<'_>, cell: &Cell) -> Option<Duration> {
    let steady = cell.goodput().mean();
    let goodput = steps(cell, |run| &run.steps);
    let change = (cell.change(bench) / STEP) as usize;
    let after = goodput.get(change..)?;
    let is_back = |two: &[f64]| two.iter().sum::<f64>() / 2.0 >= BACK * steady;
    let steps = after.windows(2).position(is_back)?;
    Some(bench.delay() * STEP * steps as u32)
}

/// The middle of each step in seconds from the change, and a value.
fn over_time(bench: &Bench<'_>, cell: &Cell, values: &[f64]) -> Vec<(f64, f64)> {
    let delay = bench.delay().as_secs_f64();
    let change = f64::from(cell.change(bench));
    let middle = |step: usize| (f64::from(STEP) * (step as f64 + 0.5) - change) * delay;
    values.iter().enumerate().map(|(step, &value)| (middle(step), value)).collect()
}

fn estimates(bench: &Bench<'_>, fair: &[&Cell], most: f64) -> Chart {
    let description = "The measured service time S over time, for two changes: it goes from D to 3 \
        and 6 D, most of the way within sixteen services of each worker.";
    let y = Axis::linear("S over D").between(0.0, 7.0);
    let x = Axis::linear("seconds after the change");
    let mut chart = Chart::new("S over time", description, x, y);
    for (cell, colours) in fair
        .iter()
        .filter(|cell| cell.times == most)
        .zip([(Colour::Blue, "D x 3"), (Colour::Purple, "D x 6")])
    {
        let points = over_time(bench, cell, &steps(cell, |run| &run.estimates));
        let (factor, change) = (f64::from(cell.service.factor()), points.first().map(|p| p.0));
        let end = points.last().map_or(0.0, |point| point.0);
        let truth = vec![(change.unwrap_or(0.0), 1.0), (0.0, 1.0), (0.0, factor), (end, factor)];
        chart = chart.with("", Colour::Grey, Shape::Dashed(truth)).with(
            &format!("{}, m = {most}", colours.1),
            colours.0,
            Shape::Line(points),
        );
    }
    chart
}

fn goodput(bench: &Bench<'_>, cell: &Cell, told: Option<&Cell>) -> Chart {
    let title = format!("Goodput while D becomes {} D, m = {}", cell.service.factor(), cell.times);
    let description = "Goodput over the true capacity of the moment, before and after the service \
        becomes slower: with the measured service time it is low while the estimate follows, and \
        back afterwards.";
    let x = Axis::linear("seconds after the change");
    let y = Axis::linear("goodput, over the capacity of the moment").between(0.0, 1.4);
    let mut chart = Chart::new(&title, description, x, y);
    for cell in told.into_iter().chain([cell]) {
        let points = over_time(bench, cell, &steps(cell, |run| &run.steps));
        chart = chart.with(cell.policy.name(), cell.policy.colour(), Shape::Line(points));
    }
    chart.with("", Colour::Grey, Shape::Dashed(vec![(0.0, 0.0), (0.0, 1.4)]))
}
