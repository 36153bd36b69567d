//! The mean wait against the load for services that vary more and more: measured, of the twin, and
//! in theory.

use crate::measure::{Bench, Failed, Run, plain};
use crate::options::{Args, Load, Pattern};
use crate::theory;
use cws::ServiceTime;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::evidence::Findings;
use lab::moments::Moments;
use lab::program::Program;
use lab::progress::Progress;
use lab::steady::{Effort, Estimate, Steady};
use lab::table::Table;
use lab::twin::{Fate, Twin};
use queueing_theory::Mgc;
use std::error::Error;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

/// The loads, and those of a short run.
const LOADS: [f64; 4] = [0.5, 0.8, 0.9, 0.95];
const LOADS_QUICK: [f64; 2] = [0.5, 0.9];

/// The coefficients of variation: constant, exponential and lognormal services.
const VARIATIONS: [f64; 4] = [0.0, 1.0, 2.0, 4.0];
const VARIATIONS_QUICK: [f64; 2] = [0.0, 2.0];

/// The length of each run.
const LENGTH: Duration = Duration::from_millis(2500);
const LENGTH_QUICK: Duration = Duration::from_millis(500);

/// How many pools run at the same time. They sleep most of the time.
const AT_ONCE: usize = 4;

/// The ideal runs that give an interval: one of a thousand runs of a sound pool is beyond the
/// smallest and the largest of them.
const TWINS: u64 = 1999;

/// What the simulation of the steady state takes.
const EFFORT: Effort = Effort { requests: 200_000, runs: 6, seed: 0 };
const EFFORT_QUICK: Effort = Effort { requests: 20_000, runs: 4, seed: 0 };

/// The simulation is off by this many of its intervals at most.
const INTERVALS: f64 = 2.0;

const CAPTION: &str = "The mean wait of single runs, over the mean service. Bars: the waits of \
    ideal runs of the same length with other arrivals and services, all but one of a thousand. The \
    more services vary, the longer the wait, and the more single runs differ.";

/// One law at one load.
struct Cell {
    variation: f64,
    args: Args,
    load: Load,
    run: Option<Run>,
    reasons: Vec<String>,
    /// The smallest and the largest mean wait of the twins' runs, over the mean service.
    range: (f64, f64),
    /// The mean wait of the steady state by simulation, over the mean service.
    steady: Estimate,
}

/// The law of this coefficient of variation.
fn law(mean: Duration, variation: f64) -> Result<ServiceTime, Box<dyn Error>> {
    Ok(match variation {
        0.0 => mean.into(),
        1.0 => ServiceTime::exponential(mean)?,
        _ => ServiceTime::lognormal(mean, variation)?,
    })
}

pub fn show(program: &mut Program, bench: &Bench) -> Result<(), Box<dyn Error>> {
    if bench.is_elsewhere() {
        return Ok(());
    }
    let quick = bench.args.common.quick;
    let (loads, variations, length) = match quick {
        true => (&LOADS_QUICK[..], &VARIATIONS_QUICK[..], LENGTH_QUICK),
        false => (&LOADS[..], &VARIATIONS[..], LENGTH),
    };
    let mut cells = Vec::new();
    for &variation in variations {
        for &times in loads {
            let args = bench.args.with(law(bench.delay(), variation)?, length);
            let load = Load { times, pattern: Pattern::Poisson };
            let (reasons, range, steady) = (Vec::new(), (0.0, 0.0), Estimate::default());
            cells.push(Cell { variation, args, load, run: None, reasons, range, steady });
        }
    }
    program.heading("Services that vary");
    let rounds = cells.len().div_ceil(AT_ONCE) as u32;
    let progress = Progress::start("services that vary", length * rounds);
    let seed = bench.args.common.seed;
    for (number, some) in cells.chunks_mut(AT_ONCE).enumerate() {
        let first = (number * AT_ONCE) as u64;
        let (_, spoilt) = program
            .until_sound(|| {
                measure(some, bench.waking, seed.wrapping_mul(7919).wrapping_add(first))?;
                // One reason stands for all.
                let reasons = some.iter().flat_map(|cell| cell.reasons.clone());
                Ok(((), reasons.take(1).collect()))
            })
            .map_err(plain)?;
        if let Some(why) = spoilt {
            program.spoilt(format!("services that vary: {why}"));
        }
    }
    drop(progress);
    ranges(&mut cells, bench.waking, seed);
    program.table(&table(&cells));
    program.text(
        "Mean waits over the mean service. Fed: the twin with the arrivals and services of the \
         run. Twins: the range of ideal runs of the same length, of which one in a thousand is \
         beyond. Theory and a simulation of the steady state are for a load that lasts, and D as \
         told.",
    );
    program.chart(&chart(&cells), CAPTION)?;
    program.conclude(judge(&cells, bench));
    Ok(())
}

/// Runs several cells side by side.
fn measure(cells: &mut [Cell], waking: Duration, seed: u64) -> Result<(), Failed> {
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (number, cell) in cells.iter_mut().enumerate() {
            let seed = seed.wrapping_add(number as u64);
            running.push(scope.spawn(move || -> Result<(), Failed> {
                let (run, reasons) = Bench::within(&cell.args, waking).measure(cell.load, seed)?;
                (cell.run, cell.reasons) = (Some(run), reasons);
                Ok(())
            }));
        }
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        running.into_iter().try_for_each(join)
    })
}

/// Sets the ranges of the twins' runs, on all processors.
fn ranges(cells: &mut [Cell], waking: Duration, seed: u64) {
    let cells = Mutex::new(cells.iter_mut());
    let next = || cells.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..num_cpus::get().max(1) {
            scope.spawn(|| {
                while let Some(cell) = next() {
                    cell.range = range(cell, waking, seed);
                    cell.steady = steady(cell, seed);
                }
            });
        }
    });
}

/// The smallest and the largest mean wait of ideal runs, whose services are longer than told by
/// what they were on average in the real run.
fn range(cell: &Cell, waking: Duration, seed: u64) -> (f64, f64) {
    let bench = Bench::within(&cell.args, waking);
    let added = cell.run.as_ref().and_then(|run| {
        let anatomy = run.anatomy.as_ref()?;
        Some(Duration::from_secs_f64((run.service.as_secs_f64() - anatomy.told).max(0.0)))
    });
    let added = added.unwrap_or_default();
    let twin = Twin::unbounded(bench.workers(), bench.delay());
    let mean = |number: u64| {
        // Seeds far from those that programs use.
        let seed = seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let law = bench.services(seed);
        let starts = bench.starts(cell.load, seed);
        let fates = twin.replay_services(&starts, |at| law.sample(at as u64) + added);
        let waits = fates.into_iter().filter_map(Fate::wait).map(|wait| wait.as_secs_f64());
        waits.collect::<Moments>().mean() / bench.delay().as_secs_f64()
    };
    (0..TWINS)
        .map(mean)
        .fold((f64::INFINITY, 0.0), |(low, high), mean| (low.min(mean), high.max(mean)))
}

/// The mean wait of a load that lasts, by simulation.
fn steady(cell: &Cell, seed: u64) -> Estimate {
    let service = cell.args.service();
    let mean = service.mean().as_secs_f64();
    let effort = if cell.args.common.quick { EFFORT_QUICK } else { EFFORT };
    let pool = Steady::at(cell.args.workers, cell.load.times, service);
    let Estimate { value, half } = pool.estimate(Effort { seed, ..effort }).mean_wait;
    Estimate { value: value / mean, half: half / mean }
}

impl Cell {
    /// The mean waits over the mean service: as measured, and of the fed twin.
    fn waits(&self) -> Option<(f64, f64)> {
        let run = self.run.as_ref()?;
        let delay = self.args.delay();
        let over = |wait: Duration| wait.div_duration_f64(delay);
        Some((over(run.waits.mean()), over(run.fed.mean())))
    }

    fn theory(&self) -> Option<Mgc> {
        theory::pool(self.args.workers as u32, self.load.times, &self.args.service())
    }

    fn name(&self) -> String {
        match self.variation {
            0.0 => "constant".to_owned(),
            1.0 => "exponential".to_owned(),
            variation => format!("lognormal, cv {variation}"),
        }
    }
}

fn table(cells: &[Cell]) -> Table {
    let mut table =
        Table::new(["services", "load", "wait/D", "fed", "twins", "theory", "steady", "trust"]);
    for cell in cells {
        let Some((wait, fed)) = cell.waits() else { continue };
        let theory = cell.theory();
        let Estimate { value, half } = cell.steady;
        table.row([
            cell.name(),
            cell.load.name(),
            format!("{wait:.3}"),
            format!("{fed:.3}"),
            format!("{:.3} to {:.3}", cell.range.0, cell.range.1),
            theory.as_ref().map_or("-".to_owned(), |pool| format!("{:.3}", pool.mean_wait())),
            format!("{value:.3} ±{half:.3}"),
            theory.map_or("-".to_owned(), |pool| trust_of(&pool)),
        ]);
    }
    table
}

fn judge(cells: &[Cell], bench: &Bench) -> Findings {
    let mut findings = Findings::default();
    let (share, floor) = bench.args.tolerance().twin;
    for cell in cells {
        let Some((wait, _)) = cell.waits() else { continue };
        let (low, high) = cell.range;
        findings.check(
            format!(
                "{} services at {}: the mean wait of {wait:.3} D is among those of {TWINS} ideal \
                 runs, {low:.3} to {high:.3} D",
                cell.name(),
                cell.load.name()
            ),
            (low..=high).contains(&wait),
        );
    }
    let mut laws: Vec<f64> = cells.iter().map(|cell| cell.variation).collect();
    laws.dedup();
    for variation in laws {
        let of = || cells.iter().filter(|cell| cell.variation == variation);
        let off: Moments = of()
            .filter_map(Cell::waits)
            .map(|(wait, fed)| (wait - fed) / (share * fed + floor))
            .collect();
        let name = of().next().map(Cell::name).unwrap_or_default();
        trust(&mut findings, &name, &of().collect::<Vec<_>>());
        findings.near(
            format!(
                "{name} services: the mean wait less that of the twin with the same services, over \
                 what is allowed: {:.2} on average over the loads, between -1 and 1",
                off.mean()
            ),
            &off,
            0.0,
            1.0,
        );
    }
    findings
}

/// How far theory trusts itself, in a few words.
fn trust_of(pool: &Mgc) -> String {
    match theory::trusted(pool) {
        Some(0.0) => "exact".to_owned(),
        Some(share) => format!("{:.0} %", 100.0 * share),
        None => "rough".to_owned(),
    }
}

/// Theory beside the simulation of the steady state, within what theory says of itself.
fn trust(findings: &mut Findings, name: &str, cells: &[&Cell]) {
    let (mut said, mut holds) = (Vec::new(), true);
    for cell in cells {
        let Some(pool) = cell.theory() else { continue };
        let Some(share) = theory::trusted(&pool) else { continue };
        let (Estimate { value, half }, wait) = (cell.steady, pool.mean_wait());
        said.push(format!(
            "{wait:.3} ({}) for {value:.3} ±{half:.3} D at {}",
            trust_of(&pool),
            cell.load.name()
        ));
        holds &= (wait - value).abs() <= share * value + INTERVALS * half;
    }
    findings.check(
        format!(
            "{name} services, theory beside a simulation of the steady state, within its trust and \
             {INTERVALS} intervals: {}",
            said.join(", ")
        ),
        holds,
    );
}

fn chart(cells: &[Cell]) -> Chart {
    let colours = [Colour::Blue, Colour::Green, Colour::Orange, Colour::Purple];
    let description = "The mean wait against the load, on a logarithmic scale, a curve and points \
        for each coefficient of variation. The more services vary, the longer the wait.";
    let x = Axis::linear("load, times W/D").between(0.45, 1.0);
    let y = Axis::log("mean wait, over the mean service");
    let mut chart = Chart::new("Mean wait against load, by variation", description, x, y);
    let mut variations: Vec<f64> = cells.iter().map(|cell| cell.variation).collect();
    variations.dedup();
    let count = variations.len() as f64;
    for ((number, variation), colour) in (0_u32..).zip(variations).zip(colours) {
        let of = || cells.iter().filter(move |cell| cell.variation == variation);
        // Side by side.
        let aside = 0.006 * (f64::from(number) - (count - 1.0) / 2.0);
        let curve = of().next().map(|cell| {
            let steps = (0..=50).map(|step| 0.47 + 0.5 * f64::from(step) / 50.0);
            let service = cell.args.service();
            let workers = cell.args.workers as u32;
            let point = |load| Some((load, theory::pool(workers, load, &service)?.mean_wait()));
            steps.filter_map(point).collect::<Vec<_>>()
        });
        let bars = of().map(|cell| {
            let (low, high) = cell.range;
            let at = cell.load.times + aside;
            [at - 0.001, low.max(1e-3), at + 0.001, high]
        });
        let points = of().filter_map(|cell| Some((cell.load.times + aside, cell.waits()?.0)));
        let fed = of().filter_map(|cell| Some((cell.load.times + aside, cell.waits()?.1)));
        chart = chart
            .with(
                &format!("cv {variation}, steady state"),
                colour,
                Shape::Line(curve.unwrap_or_default()),
            )
            .with("", Colour::Grey, Shape::Boxes(bars.collect()))
            .with("", Colour::Ink, Shape::Points(fed.collect()))
            .with(&format!("cv {variation}, measured"), colour, Shape::Points(points.collect()));
    }
    chart
}
