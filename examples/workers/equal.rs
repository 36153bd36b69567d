//! Compares pools of different sizes at the same utilisation, and at the same wait.

use crate::{Args, pool, theory};
use cws::{Config, Figures};
use lab::anatomy;
use lab::arrivals::{Arrivals, Stop};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::evidence::Findings;
use lab::ideal::{Fault, Ideal};
use lab::load::{Connections, Outcome, Target};
use lab::moments::Moments;
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::table::Table;
use lab::trace::Trace;
use lab::trial;
use lab::twin::{Fate, Twin};
use std::error::Error;
use std::thread;
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

/// The largest pool waits for at most this share of the wait of the smallest one, at the same
/// utilisation.
const LARGE_MOST: f64 = 0.25;

/// At the same wait by theory, the measured waits of two pools may differ by this factor: services
/// are longer than told, which matters more at a higher utilisation.
const ALIKE: f64 = 1.6;
const QUICK_ALIKE: f64 = 3.0;

/// No wait of an ideal pool counts as shorter, in units of the delay.
const LEAST: f64 = 0.005;

/// More kept connections than are ever used.
const CONNECTIONS: usize = 2000;

/// Longer than any wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The runs of one pool. Waits are in units of the delay.
struct Point {
    workers: usize,
    utilisation: f64,
    rate: f64,
    /// The mean wait in the steady state.
    theory: f64,
    /// The mean waits of the runs: as measured, and of the twin with the same arrivals and
    /// services.
    measured: Vec<f64>,
    twin: Vec<f64>,
    /// The measured waits without the chance of their arrivals: times what the steady state waits
    /// over what an ideal pool waits with this schedule (a ratio estimate; W. G. Cochran, Sampling
    /// Techniques, 1977, chapter 6).
    corrected: Vec<f64>,
    p99: f64,
}

/// The two parts: pools at the same utilisation, and at the same wait.
struct Parts {
    hot: Vec<Point>,
    alike: Vec<Point>,
}

fn moments(values: &[f64]) -> Moments {
    values.iter().copied().collect()
}

pub fn show(
    args: &Args,
    program: &mut Program,
    mut trace: Option<&mut Trace>,
) -> Result<(), Box<dyn Error>> {
    let rho = args.utilisation;
    let target = steady(args, MIDDLE, rho)?;
    program.text(&format!(
        "D: {}, {} runs of each pool. In the steady state, a pool of {MIDDLE} at utilisation \
         {rho} has a mean wait of {target:.3} D.",
        args.service(),
        seeds(args).len()
    ));
    let lengths = sizes(args).iter().map(|&size| length(args, size)).sum::<Duration>();
    let progress = Progress::start("pools", 2 * lengths);
    let parts = parts(args, &plans(args)?, |workers, utilisation| {
        let name = format!("W={workers}, {utilisation:.3}");
        let runs = measure(args, program, workers, utilisation)?;
        if let Some(trace) = trace.as_deref_mut() {
            runs.iter().try_for_each(|run| trace.add(&name, &run.outcomes))?;
        }
        Ok(runs)
    })?;
    drop(progress);
    for (name, points) in [("the same utilisation", &parts.hot), ("the same wait", &parts.alike)] {
        program.heading(&format!("Pools at {name}"));
        program.table(&table(points));
    }
    program.text(
        "Mean waits over the runs; after ± is half of the 95 % interval. Twin: an ideal pool with \
         the arrivals and services of the runs.",
    );
    program.conclude(judge(args, &parts));
    let [waits, utilisations] = charts(args, &parts.hot, &parts.alike)?;
    program.chart(&waits, "At the same utilisation, requests wait less in a larger pool.")?;
    program.figure(&utilisations, "For the same wait, a larger pool may have a higher utilisation.")
}

/// A pool of this size at this utilisation, and its mean wait in the steady state by theory.
#[derive(Debug, Clone, Copy)]
struct Plan {
    workers: usize,
    utilisation: f64,
    theory: f64,
}

/// The pools at the same utilisation, and those at the same wait.
fn plans(args: &Args) -> Result<[Vec<Plan>; 2], Box<dyn Error>> {
    let rho = args.utilisation;
    let target = steady(args, MIDDLE, rho)?;
    let (mut hot, mut alike) = (Vec::new(), Vec::new());
    for &workers in sizes(args) {
        let theory = steady(args, workers, rho)?;
        hot.push(Plan { workers, utilisation: rho, theory });
        let utilisation = utilisation_for(args, workers, target)?;
        alike.push(Plan { workers, utilisation, theory: target });
    }
    Ok([hot, alike])
}

/// All points; `measure` makes the runs of a pool of this size at this utilisation.
fn parts(
    args: &Args,
    [hot, alike]: &[Vec<Plan>; 2],
    mut measure: impl FnMut(usize, f64) -> Result<Vec<Made>, Box<dyn Error>>,
) -> Result<Parts, Box<dyn Error>> {
    let mut points = |plans: &[Plan]| -> Result<Vec<Point>, Box<dyn Error>> {
        let point =
            |plan: &Plan| Ok(Point::of(args, plan, &measure(plan.workers, plan.utilisation)?));
        plans.iter().map(point).collect()
    };
    Ok(Parts { hot: points(hot)?, alike: points(alike)? })
}

fn sizes(args: &Args) -> &'static [usize] {
    if args.common.quick { &QUICK_SIZES } else { &SIZES }
}

/// The seeds of the runs of each pool.
fn seeds(args: &Args) -> Vec<u64> {
    let count = if args.common.quick { 3 } else { 4 };
    (0..count).map(|number| args.common.seed.wrapping_mul(1000).wrapping_add(number)).collect()
}

/// How many runs go on at the same time.
const AT_ONCE: usize = 4;

/// Long enough for some hundred requests, also in the smallest pool.
fn length(args: &Args, workers: usize) -> Duration {
    let quick = if args.common.quick { 8 } else { 1 };
    let services = (600 / workers as u32).max(200) / quick;
    (args.delay * services).clamp(Duration::from_millis(300), Duration::from_secs(8))
}

/// The mean wait of the steady state, over the mean service.
fn steady(args: &Args, workers: usize, utilisation: f64) -> Result<f64, Box<dyn Error>> {
    let pool = theory::pool(workers as u32, utilisation, &args.service());
    Ok(pool.ok_or("theory has no answer for this law (choose another one)")?.mean_wait())
}

/// The utilisation at which a pool has this mean wait in the steady state, found by bisection.
fn utilisation_for(args: &Args, workers: usize, wait: f64) -> Result<f64, Box<dyn Error>> {
    let (mut low, mut high) = (0.0, 0.99);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        match steady(args, workers, middle)? < wait {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok((low + high) / 2.0)
}

/// The intended starts of a run.
fn starts(args: &Args, workers: usize, utilisation: f64, seed: u64) -> Vec<Duration> {
    let rate = utilisation * workers as f64 / args.delay.as_secs_f64();
    Arrivals::poisson(rate, seed).starts(Stop::After(length(args, workers)))
}

/// What a run gives, of a real pool or of an ideal one.
struct Made {
    seed: u64,
    outcomes: Vec<Outcome>,
    service: Option<Duration>,
}

fn measure(
    args: &Args,
    program: &mut Program,
    workers: usize,
    utilisation: f64,
) -> Result<Vec<Made>, Box<dyn Error>> {
    let (runs, spoilt) = program.until_sound(|| {
        let (mut runs, mut reasons) = (Vec::new(), Vec::new());
        for seeds in seeds(args).chunks(AT_ONCE) {
            let made: Vec<Result<_, String>> = thread::scope(|scope| {
                let one = |seed| {
                    let starts = starts(args, workers, utilisation, seed);
                    run(args, workers, &starts, seed).map_err(|error| error.to_string())
                };
                let start = |&seed| scope.spawn(move || one(seed));
                let threads: Vec<_> = seeds.iter().map(start).collect();
                let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                threads.into_iter().map(join).collect()
            });
            for made in made {
                let (made, why) = made?;
                runs.push(made);
                reasons.extend(why);
            }
        }
        // One reason stands for all.
        reasons.truncate(1);
        Ok::<_, Box<dyn Error>>((runs, reasons))
    })?;
    if let Some(reason) = spoilt {
        program.spoilt(format!("W = {workers} at {utilisation:.2}: {reason}"));
    }
    Ok(runs)
}

fn run(
    args: &Args,
    workers: usize,
    starts: &[Duration],
    seed: u64,
) -> Result<(Made, Vec<String>), Box<dyn Error>> {
    // A queue that never gets full.
    let config = Config::default().queue(Config::QUEUE_MOST).queue_timeout(Config::LONGEST_WAIT);
    let server = pool::start(workers, args.service().with_seed(seed), config)?;
    let target = Target::new(server.addresses()[0], "/");
    let client = target.client(Connections::Kept(CONNECTIONS), PATIENCE);
    let before = server.snapshot();
    let run = client.open_loop(starts)?;
    let figures = Figures::between(&before, &server.snapshot());
    let reasons = run.conduct.spoilt(args.judged()).iter().map(ToString::to_string).collect();
    Ok((Made { seed, outcomes: run.outcomes, service: figures.service.mean }, reasons))
}

impl Point {
    fn of(args: &Args, plan: &Plan, runs: &[Made]) -> Self {
        let Plan { workers, utilisation, theory } = *plan;
        let delay = args.delay.as_secs_f64();
        let mut waits = Vec::new();
        let (mut measured, mut twins, mut corrected) = (Vec::new(), Vec::new(), Vec::new());
        for run in runs {
            let told = |at: usize| args.service().with_seed(run.seed).sample(at as u64);
            let answered = anatomy::answered(&run.outcomes);
            let begun = |each: &&Outcome| each.begun.unwrap_or(each.intended);
            let arrivals: Vec<Duration> = answered.iter().map(begun).collect();
            // The delay of each request as the server reports it, plus what a worker does beside.
            let beside = anatomy::beside(&answered, run.service);
            let took = |at: usize| answered[at].server.handle.unwrap_or(args.delay) + beside;
            let twin = Twin::unbounded(workers, args.delay);
            let mean = |of: Vec<Fate>| {
                of.into_iter().filter_map(Fate::wait).collect::<Sample>().mean().as_secs_f64()
                    / delay
            };
            twins.push(mean(twin.replay_services(&arrivals, took)));
            let of_run = answered.iter().filter_map(|each| each.server.queue_wait);
            let of_run: Sample = of_run.collect();
            let wait = of_run.mean().as_secs_f64() / delay;
            let intended: Vec<Duration> = answered.iter().map(|each| each.intended).collect();
            let ideal = mean(twin.replay_services(&intended, told));
            measured.push(wait);
            corrected.push(wait * theory / ideal.max(LEAST));
            waits.extend(of_run.times());
        }
        let waits: Sample = waits.into_iter().collect();
        Self {
            workers,
            utilisation,
            rate: utilisation * workers as f64 / delay,
            theory,
            measured,
            twin: twins,
            corrected,
            p99: waits.percentile(0.99).as_secs_f64() / delay,
        }
    }

    fn wait(&self) -> f64 {
        moments(&self.measured).mean()
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
        let measured = moments(&point.measured);
        table.row([
            point.workers.to_string(),
            format!("{:.3}", point.utilisation),
            format!("{:.0}", point.rate),
            format!("{:.3} ±{:.3}", measured.mean(), measured.half_width()),
            format!("{:.3}", moments(&point.twin).mean()),
            format!("{:.3}", point.theory),
            format!("{:.2}", point.p99),
        ]);
    }
    table
}

/// All checks. They are about what was measured; theory says at which utilisations.
fn judge(args: &Args, parts: &Parts) -> Findings {
    let mut findings = Findings::default();
    let quick = args.common.quick;
    let (part, floor) = if quick { QUICK_TOLERANCE } else { TOLERANCE };
    for (name, points) in [("the same utilisation", &parts.hot), ("the same wait", &parts.alike)] {
        for point in points {
            let off: Moments =
                point.measured.iter().zip(&point.twin).map(|(wait, twin)| wait - twin).collect();
            let twin = moments(&point.twin).mean();
            let most = part * twin + floor;
            findings.near(
                format!(
                    "{name}, W = {}: the mean wait is {:.3} D, and that of the twin {twin:.3} D: \
                     off by {:.3} ±{:.3}, at most {most:.3} allowed",
                    point.workers,
                    point.wait(),
                    off.mean(),
                    off.half_width()
                ),
                &off,
                0.0,
                most,
            );
        }
    }
    let all = parts.hot.iter().chain(&parts.alike);
    let over = all.flat_map(|point| {
        let runs = point.measured.iter().zip(&point.twin);
        runs.map(|(wait, twin)| (wait - twin) / (part * twin + floor))
    });
    let over: Moments = over.collect();
    findings.near(
        format!(
            "all {} runs: the mean wait less that of the twin, over what is allowed, is {:.2} \
             ±{:.2} on average, between -1 and 1",
            over.count(),
            over.mean(),
            over.half_width()
        ),
        &over,
        0.0,
        1.0,
    );
    order(&mut findings, quick, parts);
    findings
}

/// The logarithm of the ratio of the waits of two pools in each run, without the chance of their
/// arrivals.
fn ratio(one: &Point, other: &Point) -> Moments {
    let pairs = one.corrected.iter().zip(&other.corrected);
    pairs.map(|(one, other)| (one / other).ln()).collect()
}

fn order(findings: &mut Findings, quick: bool, Parts { hot, alike }: &Parts) {
    let wait = |point: &Point| moments(&point.corrected).mean();
    let (Some(small), Some(big)) = (hot.first(), hot.last()) else { return };
    let less = ratio(big, small);
    findings.most(
        format!(
            "at utilisation {:.2}, {} workers wait {:.3} D and one waits {:.2} D (without the \
             chance of the arrivals): {:.3} of it, at most {LARGE_MOST} allowed",
            big.utilisation,
            big.workers,
            wait(big),
            wait(small),
            less.mean().exp()
        ),
        &less,
        LARGE_MOST.ln(),
    );
    let (Some(small), Some(big)) = (alike.first(), alike.last()) else { return };
    let same = ratio(big, small);
    let factor: f64 = if quick { QUICK_ALIKE } else { ALIKE };
    findings.near(
        format!(
            "waits alike: {} workers at utilisation {:.2} wait {:.3} D, and one at {:.2} waits \
             {:.3} D (without the chance of the arrivals): {:.2} times as long, at most a factor \
             of {factor} allowed",
            big.workers,
            big.utilisation,
            wait(big),
            small.utilisation,
            wait(small),
            same.mean().exp()
        ),
        &same,
        0.0,
        factor.ln(),
    );
}

/// Judges ideal pools.
pub fn on_trial(args: &Args, program: &mut Program, count: u64) -> Result<(), Box<dyn Error>> {
    let plans = plans(args)?;
    let all = [Fault::Pauses, Fault::LostWorker];
    // The short form has one pool of a few workers, and too few runs of it to miss one of them.
    let faults = if args.common.quick { &all[..1] } else { &all };
    // The tolerances of the short form are larger, and so are the faults.
    let severity = if args.common.quick { 6 } else { 2 };
    let names: Vec<_> = faults.iter().map(|fault| fault.name(severity)).collect();
    trial::run(program, count, &names, |number, fault| {
        let fault = fault.map(|fault| faults[fault]);
        let far = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let made = parts(args, &plans, |workers, utilisation| {
            let runs = seeds(args).into_iter().map(|seed| {
                let seed = seed ^ far;
                let pool = Ideal { workers, fault, severity, seed };
                let services = args.service().with_seed(seed);
                let starts = starts(args, workers, utilisation, seed);
                let made = pool.run(&starts, |number| services.sample(number as u64));
                Made { seed, outcomes: made.outcomes, service: Some(made.service) }
            });
            Ok(runs.collect())
        });
        // An ideal pool makes no errors.
        made.map(|parts| judge(args, &parts)).unwrap_or_default()
    });
    Ok(())
}

fn charts(args: &Args, hot: &[Point], alike: &[Point]) -> Result<[Chart; 2], Box<dyn Error>> {
    let of = |points: &[Point], value: fn(&Point) -> f64| {
        points.iter().map(|point| (point.workers as f64, value(point))).collect::<Vec<_>>()
    };
    let most = hot.iter().map(|point| point.workers).max().unwrap_or(1);
    let (rho, wait) = (hot.first().map(|p| p.utilisation), alike.first().map(|p| p.theory));
    let (mut waits, mut utilisations) = (Vec::new(), Vec::new());
    for workers in 1..=most {
        let steady = steady(args, workers, rho.unwrap_or_default())?;
        waits.push((workers as f64, steady));
        utilisations
            .push((workers as f64, utilisation_for(args, workers, wait.unwrap_or_default())?));
    }
    Ok([
        Chart::new(
            "Mean wait at the same utilisation",
            "The mean wait falls as the pool grows, measured and in theory",
            Axis::linear("workers"),
            Axis::linear("mean wait in D"),
        )
        .with("steady state", Colour::Orange, Shape::Dashed(waits))
        .with("twin", Colour::Green, Shape::Points(of(hot, |point| moments(&point.twin).mean())))
        .with("measured", Colour::Blue, Shape::Points(of(hot, Point::wait))),
        Chart::new(
            "Utilisation at the same mean wait",
            "The utilisation that a pool may have for one mean wait rises with its size",
            Axis::linear("workers"),
            Axis::linear("utilisation").between(0.0, 1.0),
        )
        .with("steady state", Colour::Orange, Shape::Dashed(utilisations))
        .with(
            "what was run",
            Colour::Blue,
            Shape::Points(of(alike, |point| point.utilisation)),
        ),
    ])
}
