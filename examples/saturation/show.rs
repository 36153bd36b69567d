//! The table and the charts of `saturation`.

use crate::judge::{mean, of};
use crate::measure::{Bench, Run};
use crate::options::{Load, Pattern};
use crate::theory;
use lab::anatomy::{Anatomy, PARTS};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::moments::Moments;
use lab::numbers::{millis, millis_cell, percent};
use lab::program::Program;
use lab::sample::Sample;
use lab::table::Table;
use lab::twin::Twin;
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
        "Means over the runs; rates in requests a second, waits and latencies in milliseconds; \
         twin: the same schedule in an ideal pool with the D of the option; fed: the arrivals and \
         the services as they were; steady: theory for a load that lasts.",
    );
    anatomy(program, bench, runs);
    let service = runs.iter().map(|run| run.service).collect::<Sample>().mean();
    program.chart(&throughput(bench, runs, service), THROUGHPUT)?;
    let bands = bands(bench, service);
    program.chart(&latency(bench, runs, service, &bands, 0.99), P99)?;
    program.figure(&latency(bench, runs, service, &bands, 0.5), MEDIAN)
}

fn table(bench: &Bench, runs: &[Run]) -> Table {
    let mut table = Table::new([
        "load", "offered", "carried", "good", "busy", "wait", "twin", "fed", "steady", "p50", "p99",
    ]);
    for load in bench.args.loads() {
        let all = || of(runs, load);
        let rate = |figure: fn(&Run) -> f64| format!("{:.0}", mean(all(), figure).mean());
        let wait = |figure: fn(&Run) -> &Sample| {
            let means: Sample = all().map(|run| figure(run).mean()).collect();
            millis_cell(means.mean())
        };
        let latencies: Sample = all().flat_map(|run| run.latencies.times()).collect();
        let busy = mean(all().filter(|run| run.busy.is_some()), |run| run.busy.unwrap_or(0.0));
        let steady = steady(bench, load);
        table.row([
            load.name(),
            rate(|run| run.offered),
            rate(|run| run.carried),
            rate(|run| run.good),
            if busy.count() > 0 { format!("{:.3}", busy.mean()) } else { "-".to_owned() },
            wait(|run| &run.waits),
            wait(|run| &run.twin),
            wait(|run| &run.fed),
            steady.map_or("-".to_owned(), |wait| millis_cell(bench.delay().mul_f64(wait))),
            millis_cell(latencies.percentile(0.5)),
            millis_cell(latencies.percentile(0.99)),
        ]);
    }
    table
}

/// The mean wait of the steady state at the load of the options, over D.
fn steady(bench: &Bench, load: Load) -> Option<f64> {
    if load.pattern == Pattern::Constant || load.times >= 1.0 {
        return None;
    }
    let pool = theory::pool(bench.workers() as u32, load.times, &bench.args.service());
    pool.map(|pool| pool.mean_wait())
}

/// What separates the runs from the ideal pool.
fn anatomy(program: &mut Program, bench: &Bench, runs: &[Run]) {
    let loads = bench.args.loads();
    let anatomies =
        |load| -> Vec<&Anatomy> { of(runs, load).filter_map(|run| run.anatomy.as_ref()).collect() };
    let mean = |load, figure: &dyn Fn(&Anatomy) -> f64| {
        anatomies(load).into_iter().map(figure).collect::<Moments>().mean()
    };
    if loads.iter().all(|&load| anatomies(load).is_empty()) {
        return;
    }
    program.heading("What separates the runs from the ideal pool");
    let headings = ["microseconds a request", "from the clocks of"].map(str::to_owned);
    let mut table = Table::new(headings.into_iter().chain(loads.iter().map(|load| load.name())));
    let mut row = |name: &str, from: &str, figure: &dyn Fn(&Anatomy) -> f64| {
        let cells = loads.iter().map(|&load| format!("{:.0}", 1e6 * mean(load, figure)));
        table.row([name.to_owned(), from.to_owned()].into_iter().chain(cells));
    };
    row("latency, measured", "client", &|of| of.latency);
    row("latency of the ideal pool", "twin", &|of| of.ideal);
    for (number, (name, from)) in PARTS.into_iter().enumerate() {
        row(name, from, &move |of| of.parts[number]);
    }
    row("without a name", "", &|of| of.unnamed);
    let named = loads.iter().map(|&load| {
        let (gap, unnamed) = (mean(load, &Anatomy::gap), mean(load, &|of| of.unnamed));
        percent(1.0 - (unnamed / gap).abs())
    });
    table.row(["named".to_owned(), String::new()].into_iter().chain(named));
    program.table(&table);
}

fn throughput(bench: &Bench, runs: &[Run], service: Duration) -> Chart {
    let ceiling = bench.capacity();
    let measured = bench.workers() as f64 / service.as_secs_f64();
    let most = runs.iter().map(|run| run.offered).fold(ceiling, f64::max);
    // A point for each load: the means over its runs.
    let loads = bench.args.loads().into_iter();
    let loads: Vec<Load> = loads.filter(|load| load.pattern == Pattern::Poisson).collect();
    let points = |figure: fn(&Run) -> f64| {
        let offered = |load| mean(of(runs, load), |run| run.offered).mean();
        loads.iter().map(|&load| (offered(load), mean(of(runs, load), figure).mean())).collect()
    };
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
            "W/D, D of the option",
            Colour::Red,
            Shape::Dashed(vec![(0.0, ceiling), (most, ceiling)]),
        )
        .with(
            "W/S, S as measured",
            Colour::Orange,
            Shape::Dashed(vec![(0.0, measured), (most, measured)]),
        )
        .with(
            "all that is offered",
            Colour::Grey,
            Shape::Line(vec![(0.0, 0.0), (ceiling, ceiling)]),
        )
        .with("carried", Colour::Blue, Shape::Joined(points(|run| run.carried)))
        .with("good", Colour::Green, Shape::Joined(points(|run| run.good)))
}

/// The medians and the 99th percentiles of the latencies of ideal runs at a load.
struct Band {
    load: f64,
    medians: Sample,
    p99s: Sample,
}

/// The band at a number of loads: services are longer than told by what the machine adds.
fn bands(bench: &Bench, service: Duration) -> Vec<Band> {
    let added = service.saturating_sub(bench.delay());
    let twin = Twin::unbounded(bench.workers(), service);
    let band = |step: u32| {
        let share = f64::from(step) / f64::from(BAND_LOADS - 1);
        // Closer together where the curve is steep.
        let load = BAND_FROM + (BAND_TO - BAND_FROM) * (1.0 - (1.0 - share).powi(2));
        let runs = (1..=bench.band_runs()).map(|number| {
            // Seeds far from those that programs use.
            let seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ bench.args.common.seed;
            let starts = bench.starts(Load { times: load, pattern: Pattern::Poisson }, seed);
            let law = bench.services(seed);
            let took = |number: usize| law.sample(number as u64) + added;
            let fates = twin.replay_services(&starts, took).into_iter().enumerate();
            let latency = fates.filter_map(|(number, fate)| Some(fate.wait()? + took(number)));
            latency.collect::<Sample>()
        });
        let runs: Vec<Sample> = runs.collect();
        let of = |p: f64| runs.iter().map(|run| run.percentile(p)).collect();
        Band { load, medians: of(0.5), p99s: of(0.99) }
    };
    (0..BAND_LOADS).map(band).collect()
}

/// The percentiles of the latency in the steady state, for constant services.
fn steady_line(bench: &Bench, service: Duration, p: f64) -> Vec<(f64, f64)> {
    if bench.args.service().constant().is_none() {
        return Vec::new();
    }
    let inflation = service.div_duration_f64(bench.delay());
    let point = |step: u32| {
        let load = 0.96 * f64::from(step) / 80.0;
        let pool = Mdc::new(bench.workers() as u32, load * inflation).ok()?;
        let wait = pool.wait_percentile(p).ok()?;
        Some((load, millis(service) * (1.0 + wait)))
    };
    (0..=80).filter_map(point).collect()
}

fn latency(bench: &Bench, runs: &[Run], service: Duration, bands: &[Band], p: f64) -> Chart {
    let sample = |band: &Band| if p == 0.5 { band.medians.clone() } else { band.p99s.clone() };
    let band = bands.iter().map(|band| {
        let [low, high] = [0.05, 0.95].map(|share| sample(band).percentile(share));
        (band.load, millis(low), millis(high))
    });
    let steady = steady_line(bench, service, p);
    let at = |run: &Run| run.offered / bench.capacity();
    let of = |pattern: Pattern| runs.iter().filter(move |run| run.load.pattern == pattern);
    let measured = |run: &Run| (at(run), millis(run.latencies.percentile(p)));
    let twin = |run: &Run| (at(run), millis(run.fed_latencies.percentile(p)));
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
        .with("steady state, M/D/c", Colour::Orange, Shape::Line(steady))
        .with("twin, fed", Colour::Green, Shape::Points(of(Pattern::Poisson).map(twin).collect()))
        .with("measured", Colour::Blue, Shape::Points(of(Pattern::Poisson).map(measured).collect()))
        .with(
            "constant gaps",
            Colour::Purple,
            Shape::Points(of(Pattern::Constant).map(measured).collect()),
        )
}
