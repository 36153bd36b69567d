//! Shows who waits for whom under a heavy tail, in four orders of service.
//!
//! ```text
//! cargo run --release --example schedule
//! ```

mod measure;
mod options;
mod show;
mod sizes;
mod twin;

#[path = "../shared/options.rs"]
mod values;

use lab::program::{self, Program};
use lab::steady::Estimate;
use lab::trace::Trace;
use measure::{Figures, Measured, ORDERS, Steady};
use options::Args;
use queueing_theory::{Class, priority_waits};
use sizes::{Size, moment};
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use twin::{Order, Waits};

const LEAD: &str = "Most requests are short and most of the work is in a few long ones, as files, \
    queries and reports are. Then the order of service decides: in the order of arrival, a short \
    request waits for the long ones before it, for many times its own service.";

const CAPTION: &str = "The mean time to an answer over the service, by size; lines are the steady \
    state of ideal pools, marks are measured.";

/// A figure of an interval of 95 % fails by chance once in twenty times. At this many times its
/// width it is one of 99.9 % (Student's t, 5 to 9 degrees of freedom: 6.87 / 2.57 and 4.78 / 2.26).
const SURE: f64 = 2.7;

/// How far a real pool may be from its twin, which has the same arrivals and services.
const NEAR: f64 = 0.1;
const NEAR_QUICK: f64 = 0.25;

/// The same for turns: the server guesses how long a service will take, and the twin knows it.
const NEAR_TURNS: f64 = 0.15;

/// The time that repeated measurements may take, and with `--quick`.
const SPARE: Duration = Duration::from_secs(10);
const SPARE_QUICK: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let spare = if args.common.quick { SPARE_QUICK } else { SPARE };
    let mut program = Program::new(&args.common, "Four orders of service", LEAD).with_spare(spare);
    let sizes = args.sizes();
    let (mean, square) = (moment(&sizes, 1), moment(&sizes, 2));
    program.text(&format!(
        "W = {}; {} sizes from {:?} to {:?}, of mean {:.2} ms and coefficient of variation {:.2}; \
         {:.0} requests a second, a utilisation of {}. {} runs of {:?} in each order, side by side \
         and with the same arrivals. Times are in milliseconds; slowdown is the time to an answer \
         over the service.",
        args.workers,
        sizes.len(),
        sizes[0].time,
        sizes[sizes.len() - 1].time,
        mean * 1e3,
        (square / mean.powi(2) - 1.0).sqrt(),
        args.rate(&sizes),
        args.utilisation,
        args.runs(),
        args.length()
    ));
    let measured = measure::measure(&mut program, &args, &sizes)?;
    write_trace(&args, &measured)?;
    program.heading("Measured");
    program.table(&show::runs(&measured));
    let over: Vec<String> =
        measured.iter().map(|of| format!("{:.0} us", of.over.as_secs_f64() * 1e6)).collect();
    program.text(&format!(
        "\nThe twins have the same arrivals, and services that are longer than nominal by what was \
         measured: {}. As in the server, the next request is chosen when the one before it starts.",
        over.join(", ")
    ));
    program.heading("In the long run");
    let steady = ORDERS.map(|(_, _, order)| measure::steady(&args, &sizes, order));
    let theory = theory(&args, &sizes);
    program.table(&show::steady(&steady, theory.as_ref().map(|theory| &theory.means)));
    program.text(
        "\nIdeal pools that choose the next request when a worker is free, with 95 % intervals. \
         Theory is that of one worker: Pollaczek and Khinchine for fifo, whose mean wait lifo \
         shares, and Cobham for smallest first.",
    );
    program.heading("By size");
    program.table(&show::by_size(&sizes, &measured, &steady));
    program.chart(&show::chart(&sizes, &measured, &steady), CAPTION)?;
    check_runs(&mut program, &args, &measured);
    if let Some(theory) = &theory {
        check_theory(&mut program, &args, &sizes, theory, &steady);
    }
    check_lessons(&mut program, &steady);
    program.finish()
}

fn write_trace(args: &Args, measured: &[Measured]) -> Result<(), Box<dyn Error>> {
    let Some(path) = args.common.csv.as_deref() else { return Ok(()) };
    let mut trace = Trace::create(path)?;
    for (of, (name, ..)) in measured.iter().zip(ORDERS) {
        for (number, outcomes) in of.outcomes.iter().enumerate() {
            trace.add(&format!("{name}, size {number}"), outcomes)?;
        }
    }
    Ok(trace.finish()?)
}

/// The mean waits of one worker in seconds.
struct Theory {
    /// Of each order; not a number where there is no formula.
    means: [f64; 4],
    /// Of each size, with the smallest first.
    by_size: Vec<f64>,
}

fn theory(args: &Args, sizes: &[Size]) -> Option<Theory> {
    if args.workers != 1 {
        return None;
    }
    let rate = args.rate(sizes);
    // All sizes are one class.
    let all = Class { rate, mean: moment(sizes, 1), square: moment(sizes, 2) };
    let fifo = *priority_waits(&[all]).ok()?.first()?;
    let class = |size: &Size| {
        let mean = size.time.as_secs_f64();
        Class { rate: rate * size.share, mean, square: mean * mean }
    };
    let by_size = priority_waits(&sizes.iter().map(class).collect::<Vec<_>>()).ok()?;
    let smallest = by_size.iter().zip(sizes).map(|(wait, size)| wait * size.share).sum();
    Some(Theory { means: [fifo, f64::NAN, fifo, smallest], by_size })
}

fn check_runs(program: &mut Program, args: &Args, measured: &[Measured]) {
    for (of, (name, _, order)) in measured.iter().zip(ORDERS) {
        let most = match (args.common.quick, order) {
            (true, _) => NEAR_QUICK,
            (false, Order::Fair) => NEAR_TURNS,
            (false, _) => NEAR,
        };
        if let Some(why) = &of.spoilt {
            program.spoilt(format!("the runs of {name}: {why}"));
        }
        for is_wait in [true, false] {
            let what = if is_wait { "mean wait" } else { "mean slowdown" };
            let figure = if is_wait { Waits::mean_wait } else { Waits::slowdown };
            let [real, twin] = [&of.real, &of.twin].map(|runs| show::mean(runs, figure));
            let off = real / twin - 1.0;
            program.check(
                format!(
                    "{name}: the {what} differs from the twin's by {:+.1} %, {:.0} % allowed",
                    off * 100.0,
                    most * 100.0
                ),
                off.abs() <= most,
            );
        }
    }
}

fn check_theory(
    program: &mut Program,
    args: &Args,
    sizes: &[Size],
    theory: &Theory,
    steady: &[Steady],
) {
    let mut agree = |what: &str, exact: f64, found: Estimate| {
        program.check(
            format!(
                "{what}: {:.2} ms by theory, {:.2} \u{b1}{:.2} simulated (99.9 % interval)",
                exact * 1e3,
                found.value * 1e3,
                SURE * found.half * 1e3
            ),
            (found.value - exact).abs() <= SURE * found.half,
        );
    };
    for (place, name) in [(0, "fifo, Pollaczek and Khinchine"), (2, "lifo, the same mean")] {
        agree(name, theory.means[place], steady[place].mean_wait);
    }
    // The twin of the server ages what waits; this one does not.
    let pure = measure::steady(args, sizes, Order::Smallest(f64::INFINITY));
    agree("smallest first, Cobham", theory.means[3], pure.mean_wait);
    let last = sizes.len() - 1;
    for (size, name) in [(0, "the shortest"), (last, "the longest")] {
        let what = format!("smallest first, {name} requests");
        agree(&what, theory.by_size[size], pure.by_size[size].0);
    }
}

/// What the orders differ in: the ratio of a figure in runs with the same arrivals, beyond chance.
fn check_lessons(program: &mut Program, steady: &[Steady; 4]) {
    let [fifo, fair, lifo, smallest] = steady;
    let mut more = |what: &str, large: &Steady, small: &Steady, figure: fn(&Figures) -> f64| {
        let ratios = large.runs.iter().zip(&small.runs);
        let ratios = ratios.map(|(large, small)| (figure(large) / figure(small)).ln());
        let ratio = Estimate::of(ratios.filter(|ratio| ratio.is_finite()));
        let [low, middle, high] =
            [-1.0, 0.0, 1.0].map(|side| (ratio.value + side * SURE * ratio.half).exp());
        program.check(
            format!("{what}: {middle:.2} times ({low:.2} to {high:.2}, 99.9 % interval)"),
            low > 1.0,
        );
    };
    more("fifo slows requests down more than smallest first", fifo, smallest, |of| of.slowdown);
    more("fifo slows requests down more than fair", fifo, fair, |of| of.slowdown);
    more("the mean wait of fifo is above smallest first", fifo, smallest, |of| of.mean_wait);
    more("the longest wait of lifo is above fifo", lifo, fifo, |of| of.longest);
    more("smallest first slows the longest down more than fifo", smallest, fifo, |of| of.largest);
}
