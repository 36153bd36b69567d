//! The report of a load: tables of counts and percentiles, and charts.

use crate::tally::Tally;
use crate::targets::Named;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::hdr::Times;
use lab::load::{Conduct, Summary};
use lab::numbers::{millis, number, percent};
use lab::program::Program;
use lab::table::Table;
use lab::windows::Window;
use std::error::Error;
use std::time::Duration;

/// The percentiles in the table.
const PERCENTILES: [f64; 9] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999, 100.0];

/// Rows of the table of targets: those with the most requests.
const ROWS_MOST: usize = 20;

/// Shows a load.
pub fn show(
    program: &mut Program,
    tally: &Tally,
    names: &[Named],
    conduct: &Conduct,
) -> Result<(), Box<dyn Error>> {
    show_counts(program, tally, conduct);
    show_targets(program, tally, names);
    show_percentiles(program, tally);
    if tally.latencies.count() > 0 {
        program.chart(
            &percentile_chart(tally),
            "A clock that starts when a request is sent does not see how long it had to wait \
             to be sent: where the lines part, a closed-loop test would have hidden it.",
        )?;
    }
    // A percentile that falls on failed requests has no value. Without any there is no chart.
    let has_median = |window: &&Window| window.quantile(0.5).is_some();
    if tally.windows.all().iter().filter(has_median).count() > 1 {
        program.figure(&timeline(tally), "By the time at which requests were meant to start.")?;
    }
    Ok(())
}

fn show_counts(program: &mut Program, tally: &Tally, conduct: &Conduct) {
    let seconds = conduct.length().as_secs_f64();
    let summary = &tally.summary;
    let mut table = Table::new(["answer", "requests", "share"]);
    for (answer, &count) in summary.answers() {
        let share = count as f64 / summary.count() as f64;
        table.row([answer.to_string(), count.to_string(), percent(share)]);
    }
    program.table(&table);
    program.text(&format!(
        "{} requests in {seconds:.2}s: {:.1} answered a second, {}B/s.{}",
        summary.count(),
        summary.success_count() as f64 / seconds,
        number(summary.bytes() as f64 / seconds),
        tries(summary, conduct),
    ));
}

/// A sentence if requests were sent more than once.
fn tries(summary: &Summary, conduct: &Conduct) -> String {
    let sent = summary.tries() + conduct.reconnects();
    if sent == summary.count() {
        return String::new();
    }
    format!(
        " {sent} tries, {} of them anew as a kept connection had been closed.",
        conduct.reconnects()
    )
}

fn written(time: Duration) -> String {
    format!("{time:.2?}")
}

fn show_targets(program: &mut Program, tally: &Tally, names: &[Named]) {
    let mut rows: Vec<_> = names.iter().zip(&tally.targets).collect();
    if rows.is_empty() {
        return;
    }
    rows.sort_by_key(|(_, of)| std::cmp::Reverse(of.requests));
    let mut table =
        Table::new(["target", "weight", "requests", "share", "failed", "median", "p99"]);
    let all = tally.summary.count().max(1) as f64;
    for (named, of) in rows.iter().take(ROWS_MOST) {
        let said = |quantile| {
            of.latencies.quantile_of(quantile, of.requests).map_or("failed".to_owned(), written)
        };
        table.row([
            named.name.clone(),
            percent(named.share),
            of.requests.to_string(),
            percent(of.requests as f64 / all),
            (of.requests - of.latencies.count()).to_string(),
            said(0.5),
            said(0.99),
        ]);
    }
    program.table(&table);
    if let Some(more) = rows.len().checked_sub(ROWS_MOST).filter(|&more| more > 0) {
        program.text(&format!("And {more} targets with fewer requests."));
    }
}

fn show_percentiles(program: &mut Program, tally: &Tally) {
    let all = tally.summary.count();
    let mut columns = vec![("from sending", &tally.from_sending)];
    columns.push(("for a connection", &tally.connection_wait));
    let own = [("server: queue_wait", &tally.queue_wait), ("server: handle", &tally.handle)];
    columns.extend(own.into_iter().filter(|(_, times)| times.count() > 0));
    let headings = ["percentile", "from the intended start"].into_iter();
    let mut table = Table::new(headings.chain(columns.iter().map(|(name, _)| *name)));
    for percent in PERCENTILES {
        // A percentile that fewer than one request lies beyond is the maximum.
        if percent < 100.0 && all as f64 * (100.0 - percent) < 100.0 {
            continue;
        }
        let quantile = percent / 100.0;
        let name = if percent == 100.0 { "slowest".to_owned() } else { format!("{percent}") };
        let latency = tally.latencies.quantile_of(quantile, all);
        let mut row = vec![name, latency.map_or("failed".to_owned(), written)];
        let said = |times: &Times| times.quantile(quantile).map(written).unwrap_or_default();
        row.extend(columns.iter().map(|(_, times)| said(times)));
        table.row(row);
    }
    program.table(&table);
    if let (Some(mean), Some(deviation)) = (tally.latencies.mean(), tally.latencies.deviation()) {
        program.text(&format!(
            "Latency of the successful, from the intended start: mean {mean:.2?}, \
             deviation {deviation:.2?}."
        ));
    }
}

/// The points of a line in a chart of latency against the percentile, which is drawn by how many
/// requests lie beyond it, for a sample of which `times` has the shortest.
pub fn tail(times: &Times, all: u64) -> Vec<(f64, f64)> {
    let steps = 200;
    // From half of the requests to the slowest one alone.
    let half = (all as f64 / 2.0).max(1.0);
    let beyond = |step: u32| 2.0 * half.powf(f64::from(step) / f64::from(steps));
    let points = (0..=steps).filter_map(|step| {
        let one_in = beyond(step);
        let time = times.quantile_of(1.0 - 1.0 / one_in, all)?;
        Some((one_in, millis(time)))
    });
    points.collect()
}

/// The axes of such a chart.
pub fn tail_axes() -> (Axis, Axis) {
    (
        Axis::log("one request in so many is slower (2: median, 100: p99, 1000: p99.9)"),
        Axis::log("latency in ms"),
    )
}

fn percentile_chart(tally: &Tally) -> Chart {
    let all = tally.summary.count();
    let (across, up) = tail_axes();
    Chart::new(
        "Latency by percentile",
        "Latency from the intended start and from sending, by the share of slower requests",
        across,
        up,
    )
    .with("from the intended start", Colour::Blue, Shape::Line(tail(&tally.latencies, all)))
    .with(
        "from sending",
        Colour::Orange,
        Shape::Dashed(tail(&tally.from_sending, tally.from_sending.count())),
    )
}

fn timeline(tally: &Tally) -> Chart {
    let window = tally.windows.length().as_secs_f64();
    let line = |quantile: f64| {
        let windows = tally.windows.all().iter().enumerate();
        let points = windows.filter_map(|(number, of)| {
            let time = of.quantile(quantile)?;
            Some(((number as f64 + 0.5) * window, millis(time)))
        });
        Shape::Line(points.collect())
    };
    Chart::new(
        "Latency over time",
        "Percentiles of the latency in each window of time",
        Axis::linear("intended start in s"),
        Axis::log("latency in ms"),
    )
    .with("slowest", Colour::Red, line(1.0))
    .with("p90", Colour::Orange, line(0.9))
    .with("median", Colour::Blue, line(0.5))
}
