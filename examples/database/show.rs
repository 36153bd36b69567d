//! The tables and charts of `database`.

use crate::bench::{Kind, Load, OPEN_LOAD, Open, Point};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::numbers::{millis, millis_cell};
use lab::program::Program;
use lab::table::Table;
use queueing_theory::allen_cunneen;
use std::error::Error;
use std::time::Duration;

const CARRIED: &str = "What clients saw answered, with W workers that never lack a request. With \
    one worker, 1/D was measured; W/D of that D is the broken line. The level lines are what lies \
    behind the workers: the processors, and the one writer at a time.";

const SERVICE: &str = "The mean time that a request takes its worker. As soon as the workers share \
    a processor, or wait for the one writer, each further one only makes all of them slower: W/D \
    stays as it is, since D grows as W does.";

/// What bounds a load, whatever W is.
pub struct Bounds {
    /// W/D of the D that one worker has.
    pub one: f64,
    /// That of all processors.
    pub processors: f64,
    /// That of the one writer; none for a load without writers.
    pub writer: Option<f64>,
}

/// The bounds that one worker's run lets expect (asymptotic bounds; P. J. Denning and J. P. Buzen,
/// ACM Computing Surveys 10, 1978).
pub fn bounds(one: &Point) -> Bounds {
    let rate = 1.0 / one.service.as_secs_f64();
    // Waiting for the disk takes no processor, so this is too little where much is written.
    let processors = rate * num_cpus::get() as f64;
    let writer = (one.load.writing_share() > 0.0)
        .then(|| 1.0 / (one.load.writing_share() * one.exclusive.as_secs_f64()));
    Bounds { one: rate, processors, writer }
}

pub fn of(points: &[Point], load: Load) -> impl Iterator<Item = &Point> {
    points.iter().filter(move |point| point.load == load)
}

/// The run of one worker, and that of the most.
pub fn ends(points: &[Point], load: Load) -> Option<(&Point, &Point)> {
    Some((of(points, load).next()?, of(points, load).last()?))
}

pub fn all(
    program: &mut Program,
    points: &[Point],
    (open, spoilt): (&Open, bool),
) -> Result<(), Box<dyn Error>> {
    for load in Load::ALL {
        program.heading(match load {
            Load::Reading => "Reading: files and searches, as many of either",
            Load::Writing => "Writing: three uploads for each file or search",
        });
        program.table(&table(points, load));
    }
    program.text(
        "\ncarried: requests a second, by the clients' clocks; W/D(1): what they would be if D \
         were constant; D: mean service time in milliseconds, with its squared coefficient of \
         variation C2 (0 is constant, 1 is exponential); the last columns are times in the handler",
    );
    program.chart(&carried(points)?, CARRIED)?;
    program.chart(&service(points), SERVICE)?;
    for load in Load::ALL {
        if let Some((one, most)) = ends(points, load) {
            program.text(&format!("\n{}", why(one, most)));
        }
    }
    program.heading("Poisson arrivals, one worker");
    program.table(&waits(open));
    let note = if spoilt { " The machine spoilt this run." } else { "" };
    program.text(&format!(
        "\nmean waits in milliseconds, at {OPEN_LOAD} of what one worker carried, reading: by the \
         clients' clocks; of an ideal worker with the same arrivals and service times; by the \
         formula of Pollaczek and Khinchine from the mean and C2 of these; and by the same with a \
         constant D, which knows nothing of C2.{note}"
    ));
    Ok(())
}

fn table(points: &[Point], load: Load) -> Table {
    let headings = ["W", "carried", "W/D(1)", "D", "C2", "p99"].into_iter();
    let kinds = Kind::ALL.iter().map(|kind| kind.name());
    let mut table = Table::new(headings.chain(kinds).chain(["writer"]));
    let Some((one, _)) = ends(points, load) else { return table };
    for point in of(points, load) {
        let by_kind = point.by_kind.iter().map(|moments| match moments.count() {
            0 => "-".to_owned(),
            _ => millis_cell(Duration::from_secs_f64(moments.mean())),
        });
        let cells = [
            point.workers.to_string(),
            format!("{:.0}", point.carried),
            format!("{:.0}", point.workers as f64 * bounds(one).one),
            millis_cell(point.service),
            format!("{:.2}", point.handler.squared_variation()),
            millis_cell(point.latencies.percentile(0.99)),
        ];
        let writer = match load {
            Load::Reading => "-".to_owned(),
            Load::Writing => format!("{:.0} %", 100.0 * point.writer_busy),
        };
        table.row(cells.into_iter().chain(by_kind).chain([writer]));
    }
    table
}

fn carried(points: &[Point]) -> Result<Chart, Box<dyn Error>> {
    let most = points.iter().map(|point| point.carried).fold(0.0, f64::max) * 1.5;
    let widest = points.iter().map(|point| point.workers).max().ok_or("there are no runs")?;
    let description = "Requests a second against workers. Reading rises with W up to the number \
        of processors, writing up to what one writer at a time allows; W/D of a constant D goes \
        on.";
    let (x, y) = (
        Axis::linear("workers").between(0.0, widest as f64 + 1.0),
        Axis::linear("requests a second").between(0.0, most),
    );
    let mut chart = Chart::new("Carried against workers", description, x, y);
    for (load, colour, other) in [
        (Load::Reading, Colour::Blue, Colour::Green),
        (Load::Writing, Colour::Orange, Colour::Purple),
    ] {
        let (one, _) = ends(points, load).ok_or("a load has no runs")?;
        let Bounds { one: rate, processors, writer } = bounds(one);
        let name = load.name();
        // As far as the picture goes.
        let top = (most / rate).min(widest as f64);
        let level = |rate: f64| Shape::Line(vec![(0.0, rate), (widest as f64 + 1.0, rate)]);
        let measured = of(points, load).map(|point| (point.workers as f64, point.carried));
        chart = chart
            .with(
                &format!("{name}: W/D(1)"),
                colour,
                Shape::Dashed(vec![(0.0, 0.0), (top, top * rate)]),
            )
            .with(&format!("{name}: measured"), colour, Shape::Joined(measured.collect()));
        let bound = match writer {
            Some(writer) => ("one writer at a time", writer),
            None => ("all processors", processors),
        };
        if bound.1 <= most {
            chart = chart.with(&format!("{name}: {}", bound.0), other, level(bound.1));
        }
    }
    Ok(chart)
}

fn service(points: &[Point]) -> Chart {
    let description = "Mean service time against workers, on a logarithmic scale: it grows as soon \
        as there are more workers than what is behind them serves at a time.";
    let (x, y) = (Axis::linear("workers"), Axis::log("mean service time, milliseconds"));
    let line = |load| {
        let points = of(points, load).map(|point| (point.workers as f64, millis(point.service)));
        Shape::Joined(points.collect())
    };
    Chart::new("Service time against workers", description, x, y)
        .with("reading", Colour::Blue, line(Load::Reading))
        .with("writing", Colour::Orange, line(Load::Writing))
}

/// Why the knee is where it is.
fn why(one: &Point, most: &Point) -> String {
    let (name, workers) = (most.load.name(), most.workers);
    let times = most.carried / one.carried;
    let Bounds { one: rate, processors: by_processors, writer } = bounds(one);
    let level = writer.map_or(by_processors, |writer| writer.min(by_processors));
    let knee = format!(
        "{name}: {workers} workers carry {times:.1} times what one carries, not {workers} times. \
         Their D is {:.2?}, and was {:.2?} for one. The knee is where W/D(1) meets what is behind \
         the workers, at W = {:.1}.",
        most.service,
        one.service,
        level / rate
    );
    let processors = num_cpus::get();
    let why = match most.load {
        Load::Reading => format!(
            "SQLite's readers do not wait for one another, but each needs a processor, and there \
             are {processors}, which the clients need as well."
        ),
        Load::Writing => format!(
            "SQLite has one writer at a time. There was one for {:.0} % of the time with one \
             worker, and for {:.0} % with {workers}. A commit takes {:.2?}, and waits for the \
             disk; the other writers wait for its end, and sleep between their tries. They hold \
             their workers meanwhile, so D grows with W and varies: its C2 is {:.1}, and was \
             {:.1} for one.",
            100.0 * one.writer_busy,
            100.0 * most.writer_busy,
            one.exclusive,
            most.handler.squared_variation(),
            one.handler.squared_variation()
        ),
    };
    format!("{knee} {why}")
}

/// The waits of one worker, by the clock and by theory.
fn waits(open: &Open) -> Table {
    let service = open.service.as_secs_f64();
    let load = open.offered * service;
    let theory = |variation: f64| {
        let wait = allen_cunneen(1, load, 1.0, variation).ok();
        wait.map_or("-".to_owned(), |wait| millis_cell(Duration::from_secs_f64(wait * service)))
    };
    let mut table = Table::new(["requests", "load", "D", "C2", "clients", "ideal", "P-K", "M/D/1"]);
    table.row([
        open.count.to_string(),
        format!("{load:.2}"),
        millis_cell(open.service),
        format!("{:.2}", open.variation),
        millis_cell(open.wait),
        millis_cell(open.twin),
        theory(open.variation),
        theory(0.0),
    ]);
    table
}
