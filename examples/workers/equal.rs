//! Compares pools of different sizes at the same utilisation, and at the same wait.

use crate::{Args, pool};
use cws::{Config, Figures, config};
use lab::arrivals::{Arrivals, Stop};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::load::{Connections, Outcome, Target};
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::table::Table;
use lab::trace::Trace;
use lab::twin::{Fate, Twin};
use queueing_theory::{Mdc, TheoryError};
use std::error::Error;
use std::time::Duration;

/// The pool sizes; and those of a short run.
const SIZES: [usize; 5] = [1, 2, 4, 8, 16];
const QUICK_SIZES: [usize; 3] = [1, 4, 16];

/// The pool size whose wait the other pools must match.
const MIDDLE: usize = 4;

/// The tolerated difference between a pool's mean wait and the twin's: this share of the wait plus
/// this share of the delay, since waking a thread takes time.
const TOLERANCE: (f64, f64) = (0.05, 0.02);
const QUICK_TOLERANCE: (f64, f64) = (0.25, 0.2);

/// More kept connections than are ever used.
const CONNECTIONS: usize = 2000;

/// Longer than any wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The results of one pool. Waits are in units of the delay.
struct Point {
    workers: usize,
    utilisation: f64,
    rate: f64,
    /// The mean wait: in the steady state, as measured, and of the twin.
    theory: f64,
    measured: f64,
    twin: f64,
    p99: f64,
}

pub fn show(
    args: &Args,
    program: &mut Program,
    mut trace: Option<&mut Trace>,
) -> Result<(), Box<dyn Error>> {
    let rho = args.utilisation;
    let target = Mdc::new(MIDDLE as u32, rho)?.mean_wait();
    let sizes = if args.common.quick { &QUICK_SIZES[..] } else { &SIZES };
    program.text(&format!(
        "D = {:?}. In the steady state, a pool of {MIDDLE} at utilisation {rho} has a mean wait of \
         {target:.3} D.",
        args.delay
    ));
    let lengths = sizes.iter().map(|&size| length(args, size)).sum::<Duration>();
    let _progress = Progress::start("pools", 2 * lengths);
    let mut parts = Vec::new();
    for (name, of_size) in [
        ("the same utilisation", &(|_| Ok(rho)) as &dyn Fn(usize) -> Result<f64, TheoryError>),
        ("the same wait", &|size| utilisation_for(size, target)),
    ] {
        let mut points = Vec::new();
        for &size in sizes {
            let (point, outcomes) = measure(args, program, size, of_size(size)?)?;
            if let Some(trace) = trace.as_deref_mut() {
                trace.add(&format!("W={size}, {name}"), &outcomes)?;
            }
            points.push(point);
        }
        parts.push((name, points));
    }
    for (name, points) in &parts {
        program.heading(&format!("Pools at {name}"));
        program.table(&table(points));
        check_twin(args, program, name, points);
    }
    let [(_, hot), (_, alike)] = &parts[..] else { return Ok(()) };
    check_order(program, hot, alike);
    let [waits, utilisations] = charts(hot, alike)?;
    program.chart(&waits, "At the same utilisation, requests wait less in a larger pool.")?;
    program.figure(&utilisations, "For the same wait, a larger pool may have a higher utilisation.")
}

/// Long enough for some hundred requests, also in the smallest pool.
fn length(args: &Args, workers: usize) -> Duration {
    let quick = if args.common.quick { 4 } else { 1 };
    let services = (600 / workers as u32).max(200) / quick;
    (args.delay * services).clamp(Duration::from_millis(300), Duration::from_secs(8))
}

/// The utilisation at which a pool with constant service times has this mean wait in the steady
/// state, found by bisection.
fn utilisation_for(workers: usize, wait: f64) -> Result<f64, TheoryError> {
    let (mut low, mut high) = (0.0, 0.99);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        match Mdc::new(workers as u32, middle)?.mean_wait() < wait {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok((low + high) / 2.0)
}

fn measure(
    args: &Args,
    program: &mut Program,
    workers: usize,
    utilisation: f64,
) -> Result<(Point, Vec<Outcome>), Box<dyn Error>> {
    let rate = utilisation * workers as f64 / args.delay.as_secs_f64();
    let starts =
        Arrivals::poisson(rate, args.common.seed).starts(Stop::After(length(args, workers)));
    let ((point, outcomes), spoilt) = program.until_sound(|| {
        // A queue that never gets full.
        let config = Config {
            queue: config::QUEUE_MOST,
            queue_timeout: config::LONGEST_WAIT,
            ..Config::default()
        };
        let server = pool::start(workers, args.delay, config)?;
        let target = Target::new(server.addresses()[0], "/");
        let client = target.client(Connections::Kept(CONNECTIONS), PATIENCE);
        let before = server.snapshot();
        let run = client.open_loop(&starts)?;
        let figures = Figures::between(&before, &server.snapshot());
        let reasons = run.conduct.spoilt(args.judged()).iter().map(ToString::to_string).collect();
        let service = figures.service.mean.unwrap_or(args.delay);
        let point = Point::of(args, workers, rate, &run.outcomes, service)?;
        Ok::<_, Box<dyn Error>>(((point, run.outcomes), reasons))
    })?;
    if let Some(reason) = spoilt {
        program.spoilt(format!("W = {workers} at {utilisation:.2}: {reason}"));
    }
    Ok((point, outcomes))
}

impl Point {
    fn of(
        args: &Args,
        workers: usize,
        rate: f64,
        outcomes: &[Outcome],
        service: Duration,
    ) -> Result<Self, TheoryError> {
        let delay = args.delay.as_secs_f64();
        let mut answered: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_success()).collect();
        let begun = |outcome: &Outcome| outcome.begun.unwrap_or(outcome.intended);
        answered.sort_unstable_by_key(|outcome| begun(outcome));
        let arrivals: Vec<Duration> = answered.iter().map(|outcome| begun(outcome)).collect();
        // The delay of each request as the server reports it, plus the mean overhead of a worker.
        let slept = |outcome: &Outcome| outcome.server.handle.unwrap_or(args.delay);
        let delays: Sample = answered.iter().map(|outcome| slept(outcome)).collect();
        let beside = service.saturating_sub(delays.mean());
        let twin = Twin::unbounded(workers, service);
        let twin = twin.replay_services(&arrivals, |number| slept(answered[number]) + beside);
        let twin: Sample = twin.into_iter().filter_map(Fate::wait).collect();
        let waits: Sample =
            answered.iter().filter_map(|outcome| outcome.server.queue_wait).collect();
        let utilisation = rate * delay / workers as f64;
        Ok(Self {
            workers,
            utilisation,
            rate,
            theory: Mdc::new(workers as u32, utilisation)?.mean_wait(),
            measured: waits.mean().as_secs_f64() / delay,
            twin: twin.mean().as_secs_f64() / delay,
            p99: waits.percentile(0.99).as_secs_f64() / delay,
        })
    }
}

fn table(points: &[Point]) -> Table {
    let mut table = Table::new([
        "workers",
        "rho",
        "requests/s",
        "mean wait/D",
        "twin",
        "steady state",
        "p99 wait/D",
    ]);
    for point in points {
        table.row([
            point.workers.to_string(),
            format!("{:.3}", point.utilisation),
            format!("{:.0}", point.rate),
            format!("{:.3}", point.measured),
            format!("{:.3}", point.twin),
            format!("{:.3}", point.theory),
            format!("{:.2}", point.p99),
        ]);
    }
    table
}

fn check_twin(args: &Args, program: &mut Program, name: &str, points: &[Point]) {
    let (part, floor) = if args.common.quick { QUICK_TOLERANCE } else { TOLERANCE };
    for point in points {
        let off = (point.measured - point.twin).abs();
        program.check(
            format!(
                "{name}, W = {}: the mean wait is {:.3} D, and the twin's {:.3} D",
                point.workers, point.measured, point.twin
            ),
            off <= part * point.twin + floor,
        );
    }
}

fn check_order(program: &mut Program, hot: &[Point], alike: &[Point]) {
    let (Some(small), Some(big)) = (hot.first(), hot.last()) else { return };
    program.check(
        format!(
            "at utilisation {:.2}, {} workers have a mean wait of {:.3} D, and 1 worker of {:.2} D",
            big.utilisation, big.workers, big.measured, small.measured
        ),
        big.measured < small.measured / 4.0,
    );
    let (Some(small), Some(big)) = (alike.first(), alike.last()) else { return };
    program.check(
        format!(
            "for the same wait, {} workers reach a utilisation of {:.2}, and 1 worker {:.2}",
            big.workers, big.utilisation, small.utilisation
        ),
        alike.windows(2).all(|pair| pair[0].utilisation < pair[1].utilisation),
    );
}

fn charts(hot: &[Point], alike: &[Point]) -> Result<[Chart; 2], TheoryError> {
    let of = |points: &[Point], value: fn(&Point) -> f64| {
        points.iter().map(|point| (point.workers as f64, value(point))).collect::<Vec<_>>()
    };
    let most = hot.iter().map(|point| point.workers).max().unwrap_or(1);
    let (rho, wait) = (hot.first().map(|p| p.utilisation), alike.first().map(|p| p.theory));
    let (mut waits, mut utilisations) = (Vec::new(), Vec::new());
    for workers in 1..=most {
        let steady = Mdc::new(workers as u32, rho.unwrap_or_default())?.mean_wait();
        waits.push((workers as f64, steady));
        utilisations.push((workers as f64, utilisation_for(workers, wait.unwrap_or_default())?));
    }
    Ok([
        Chart::new(
            "Mean wait at the same utilisation",
            "The mean wait falls as the pool grows, measured and in theory",
            Axis::linear("workers"),
            Axis::linear("mean wait in D"),
        )
        .with("steady state, M/D/c", Colour::Orange, Shape::Dashed(waits))
        .with("twin", Colour::Green, Shape::Points(of(hot, |point| point.twin)))
        .with("measured", Colour::Blue, Shape::Points(of(hot, |point| point.measured))),
        Chart::new(
            "Utilisation at the same mean wait",
            "The utilisation that a pool may have for one mean wait rises with its size",
            Axis::linear("workers"),
            Axis::linear("utilisation").between(0.0, 1.0),
        )
        .with("steady state, M/D/c", Colour::Orange, Shape::Dashed(utilisations))
        .with(
            "what was run",
            Colour::Blue,
            Shape::Points(of(alike, |point| point.utilisation)),
        ),
    ])
}
