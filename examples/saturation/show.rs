//! The table and the charts of `saturation`.

use crate::measure::{Bench, Run};
use crate::options::Pattern;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::numbers::{millis, millis_cell};
use lab::program::Program;
use lab::sample::Sample;
use lab::table::Table;
use lab::twin::{Band, Twin};
use queueing_theory::Mdc;
use std::error::Error;
use std::time::Duration;

/// The number of loads at which the band is computed.
const BAND_LOADS: u32 = 14;
const BAND_FROM: f64 = 0.3;
const BAND_TO: f64 = 0.97;

const THROUGHPUT: &str = "The carried rate follows the offered rate up to W/D and then stays \
    there. The rate of good responses, which are in time, falls to zero as soon as the queue has \
    grown: the pool is as busy as before, but its responses are too late.";

const P99: &str = "The 99th percentile of the latency. The twin, which gets only the arrivals and \
    the service times, agrees with the measurement. The curve is the steady state; the band holds \
    nine in ten runs of this length, which vary by chance.";

const MEDIAN: &str = "The median: at a load of .8, half of the requests hardly notice the other \
    requests.";

pub fn all(program: &mut Program, bench: &Bench, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    program.table(&table(bench, runs));
    program.text(
        "\nrates in requests a second, waits and latencies in milliseconds; twin: the same \
         arrivals and service times in an ideal pool; steady: M/D/c, the steady state",
    );
    let service = runs.iter().map(|run| run.service).collect::<Sample>().mean();
    program.chart(&throughput(bench, runs, service), THROUGHPUT)?;
    let bands = bands(bench, service);
    program.chart(&latency(bench, runs, service, &bands, 0.99), P99)?;
    program.figure(&latency(bench, runs, service, &bands, 0.5), MEDIAN)
}

fn table(bench: &Bench, runs: &[Run]) -> Table {
    let mut table = Table::new([
        "load", "offered", "carried", "good", "busy", "wait", "twin", "steady", "p50", "p99",
    ]);
    for run in runs {
        // The measured D differs a little from the configured one, and so does the load.
        let utilisation = run.offered / bench.capacity_of(run);
        let steady = match run.load.pattern {
            Pattern::Poisson => Mdc::new(bench.workers() as u32, utilisation).ok(),
            Pattern::Constant => None,
        };
        let steady = steady.map(|pool| millis_cell(run.service.mul_f64(pool.mean_wait())));
        table.row([
            run.name(),
            format!("{:.0}", run.offered),
            format!("{:.0}", run.carried),
            format!("{:.0}", run.good),
            run.inside
                .as_ref()
                .map_or("-".to_owned(), |inside| format!("{:.3}", inside.utilisation)),
            millis_cell(run.waits.mean()),
            millis_cell(run.twin.mean()),
            steady.unwrap_or_else(|| "-".to_owned()),
            millis_cell(run.latencies.percentile(0.5)),
            millis_cell(run.latencies.percentile(0.99)),
        ]);
    }
    table
}

fn throughput(bench: &Bench, runs: &[Run], service: Duration) -> Chart {
    let ceiling = bench.workers() as f64 / service.as_secs_f64();
    let most = runs.iter().map(|run| run.offered).fold(ceiling, f64::max);
    let by_chance = || runs.iter().filter(|run| run.load.pattern == Pattern::Poisson);
    let points = |of: fn(&Run) -> f64| by_chance().map(|run| (run.offered, of(run))).collect();
    let description = format!(
        "Offered against carried load of {} workers at {:?}. Carried rises with offered up to \
         {:.0} requests a second and stays there; good falls to zero beyond it.",
        bench.workers(),
        bench.delay(),
        ceiling
    );
    let (x, y) = (Axis::linear("offered, requests a second"), Axis::linear("requests a second"));
    Chart::new("Carried against offered load", &description, x, y)
        .with(
            "W/D, D as measured",
            Colour::Red,
            Shape::Dashed(vec![(0.0, ceiling), (most, ceiling)]),
        )
        .with(
            "all that is offered",
            Colour::Grey,
            Shape::Line(vec![(0.0, 0.0), (ceiling, ceiling)]),
        )
        .with("carried", Colour::Blue, Shape::Joined(points(|run| run.carried)))
        .with("good", Colour::Green, Shape::Joined(points(|run| run.good)))
}

/// The band at a number of loads.
fn bands(bench: &Bench, service: Duration) -> Vec<(f64, Band)> {
    let twin = Twin::unbounded(bench.workers(), service);
    let load = |step: u32| {
        let share = f64::from(step) / f64::from(BAND_LOADS - 1);
        // Closer together where the curve is steep.
        BAND_FROM + (BAND_TO - BAND_FROM) * (1.0 - (1.0 - share).powi(2))
    };
    (0..BAND_LOADS)
        .map(load)
        .map(|load| {
            let rate = load * bench.workers() as f64 / service.as_secs_f64();
            let requests = (rate * bench.length().as_secs_f64()).round() as u64;
            (load, twin.band(rate, requests, bench.band_runs(), bench.seed()))
        })
        .collect()
}

fn latency(bench: &Bench, runs: &[Run], service: Duration, bands: &[(f64, Band)], p: f64) -> Chart {
    let sample = |band: &Band| if p == 0.5 { band.medians.clone() } else { band.p99s.clone() };
    let band = bands.iter().map(|(load, band)| {
        let [low, high] = [0.05, 0.95].map(|share| sample(band).percentile(share) + service);
        (*load, millis(low), millis(high))
    });
    let steady = (0..=80).filter_map(|step| {
        let load = 0.98 * f64::from(step) / 80.0;
        let pool = Mdc::new(bench.workers() as u32, load).ok()?;
        let wait = pool.wait_percentile(p).ok()?;
        Some((load, millis(service) * (1.0 + wait)))
    });
    let at = |run: &Run| run.offered / bench.capacity_of(run);
    let of = |pattern: Pattern| runs.iter().filter(move |run| run.load.pattern == pattern);
    let measured = |run: &Run| (at(run), millis(run.latencies.percentile(p)));
    let twin = |run: &Run| (at(run), millis(run.twin.percentile(p) + run.service));
    let name = if p == 0.5 { "median" } else { "99th percentile" };
    let description = format!(
        "The {name} of the latency against the load, on a logarithmic scale: flat up to about \
         .7, steep from .9 on, and beyond 1 as long as the run. Measured points and the twin's \
         agree."
    );
    let (x, y) =
        (Axis::linear("offered load, times W/D").between(0.0, 1.25), Axis::log("milliseconds"));
    Chart::new(&format!("Latency against load: {name}"), &description, x, y)
        .with("nine in ten such runs", Colour::Orange, Shape::Band(band.collect()))
        .with("steady state, M/D/c", Colour::Orange, Shape::Line(steady.collect()))
        .with("twin", Colour::Green, Shape::Points(of(Pattern::Poisson).map(twin).collect()))
        .with("measured", Colour::Blue, Shape::Points(of(Pattern::Poisson).map(measured).collect()))
        .with(
            "constant gaps",
            Colour::Purple,
            Shape::Points(of(Pattern::Constant).map(measured).collect()),
        )
}
