//! The checks of `saturation`, for real pools and for ideal ones.

use crate::measure::{Bench, Counted, Run, Taken};
use crate::options::{self, Load, Pattern};
use lab::anatomy::Anatomy;
use lab::evidence::Findings;
use lab::ideal::{Fault, Ideal};
use lab::moments::Moments;
use lab::numbers::percent;
use lab::program::Program;
use lab::trial;
use std::time::Duration;

/// The waking time of ideal pools.
const WAKING: Duration = Duration::from_micros(30);

/// The faults of [`Fault`], and that of the kernel's count.
const LEAK: &str = "one connection in twenty stays open twice as long";

/// How much larger planted faults are in the short form, whose tolerances are larger.
const QUICK_SEVERITY: u32 = 10;

/// The runs of one load.
pub fn of(runs: &[Run], load: Load) -> impl Iterator<Item = &Run> + Clone {
    runs.iter().filter(move |run| run.load == load)
}

/// The mean of a figure over the runs.
pub fn mean<'a>(runs: impl Iterator<Item = &'a Run>, figure: impl Fn(&Run) -> f64) -> Moments {
    runs.map(figure).collect()
}

fn shown(mean: &Moments, decimals: usize) -> String {
    let half = mean.half_width();
    format!("{:.decimals$} ±{half:.decimals$}", mean.mean())
}

pub fn judge(bench: &Bench, runs: &[Run], counted: &[Counted]) -> Findings {
    let mut findings = Findings::default();
    for load in bench.args.loads() {
        waits(&mut findings, bench, runs, load);
        if load.times > 1.0 {
            carried(&mut findings, bench, runs, load);
        }
    }
    gap(&mut findings, bench, runs);
    named(&mut findings, bench, runs);
    instruments(&mut findings, bench, counted);
    chance(&mut findings, bench, runs);
    findings
}

/// The wait that the server reports beside that of the twin with the same arrivals and services.
fn waits(findings: &mut Findings, bench: &Bench, runs: &[Run], load: Load) {
    let delay = bench.delay().as_secs_f64();
    let in_services = |time: Duration| time.as_secs_f64() / delay;
    let off =
        mean(of(runs, load), |run| in_services(run.waits.mean()) - in_services(run.fed.mean()));
    let fed = mean(of(runs, load), |run| in_services(run.fed.mean()));
    let (share, floor) = bench.args.tolerance().twin;
    let most = share * fed.mean() + floor;
    findings.near(
        format!(
            "{}: mean wait less that of the twin with the same services, {:.3} D: {} D, at most \
             {most:.3} allowed",
            load.name(),
            fed.mean(),
            shown(&off, 3)
        ),
        &off,
        0.0,
        most,
    );
}

/// What clients count above the capacity, beside what ideal pools carry in the same time: with the
/// services of the option, and with those by the server's clock. Random services differ from their
/// mean in a run, and these are the same. Where services are constant, an ideal pool carries W/D.
fn carried(findings: &mut Findings, bench: &Bench, runs: &[Run], load: Load) {
    let tolerance = bench.args.tolerance();
    // At the ends of the time that is counted, long services make more difference.
    let is_constant = bench.args.service().constant().is_some();
    let off = if is_constant { tolerance.carried } else { 2.0 * tolerance.carried };
    let over = |which: usize| mean(of(runs, load), |run| run.carried / run.ideal[which]);
    let (told, by_server) = (over(0), over(1));
    let carried = mean(of(runs, load), |run| run.carried / bench.capacity());
    let least = 1.0 - tolerance.inflation - off;
    findings.least(
        format!(
            "{}: clients get {} of W/D, with the D of the option; {} of what an ideal pool carries \
             with these services, at least {least:.2} required",
            load.name(),
            shown(&carried, 3),
            shown(&told, 3)
        ),
        &told,
        least,
    );
    findings.near(
        format!(
            "{}: they get {} of what an ideal pool carries with the services by the server's \
             clock, within {off:.2} of 1",
            load.name(),
            shown(&by_server, 3)
        ),
        &by_server,
        1.0,
        off,
    );
}

/// What a real pool adds to the ideal one, and its bounds.
fn gap(findings: &mut Findings, bench: &Bench, runs: &[Run]) {
    let tolerance = bench.args.tolerance();
    let anatomies = || runs.iter().filter_map(|run| run.anatomy.as_ref());
    if anatomies().next().is_none() {
        return;
    }
    let inflation: Moments = anatomies().map(Anatomy::inflation).collect();
    findings.most(
        format!(
            "services last {} longer than told, on average over all runs, at most {} allowed",
            percent(inflation.mean()),
            percent(tolerance.inflation)
        ),
        &inflation,
        tolerance.inflation,
    );
    let way: Moments = anatomies().map(|anatomy| anatomy.way() * 1e6).collect();
    findings.most(
        format!(
            "way there and back: latency less late start, queue and service is {:.0} us, at most \
             {} allowed",
            way.mean(),
            tolerance.way.as_micros()
        ),
        &way,
        tolerance.way.as_secs_f64() * 1e6,
    );
}

/// How much of what separates the run from the ideal pool has a name.
fn named(findings: &mut Findings, bench: &Bench, runs: &[Run]) {
    let most = bench.args.tolerance().unnamed;
    // With constant gaps there is no queue, and the difference is about as small as what the clocks
    // resolve.
    let loads = bench.args.loads().into_iter();
    for load in loads.filter(|load| load.pattern == Pattern::Poisson) {
        let anatomies: Vec<&Anatomy> =
            of(runs, load).filter_map(|run| run.anatomy.as_ref()).collect();
        if anatomies.is_empty() {
            continue;
        }
        // Over all runs together. How often it fails by chance is put to the test with ideal pools.
        let sum = |figure: &dyn Fn(&Anatomy) -> f64| -> f64 {
            anatomies.iter().map(|anatomy| figure(anatomy)).sum()
        };
        let (gap, unnamed) = (sum(&Anatomy::gap), sum(&|of| of.unnamed));
        let named = 1.0 - (unnamed / gap).abs();
        findings.check(
            format!(
                "named, {}: {} of the {:.0} us between the run and the ideal pool have a name, \
                 at least {} required",
                load.name(),
                percent(named),
                gap / anatomies.len() as f64 * 1e6,
                percent(1.0 - most)
            ),
            named >= 1.0 - most,
        );
    }
}

/// The server's end of a connection is open for up to so much less than the client's: the client
/// connects first. The kernel's count is the mean of both ends.
const ENDS: Duration = Duration::from_micros(75);

/// Little's law and the utilisation law, each with one side from the kernel and one from clients.
fn instruments(findings: &mut Findings, bench: &Bench, counted: &[Counted]) {
    let Some(first) = counted.first() else { return };
    let tolerance = bench.args.tolerance();
    let ratio: Moments = counted.iter().map(|each| each.open / each.lasted).collect();
    let [kernel, clients] = [first.open, first.lasted].map(|time| time / first.length);
    let most = tolerance.instruments;
    let less = ENDS.as_secs_f64() / 2.0 * first.count as f64 / first.lasted;
    findings.near(
        format!(
            "Little's law, L = lambda T: the kernel has {kernel:.3} connections in the first run \
             ({} looks), the clients' rate times their time is {clients:.3}; over all runs the \
             ratio is {}, between {:.4} and {:.4}",
            first.looks,
            shown(&ratio, 4),
            1.0 - most - less,
            1.0 + most
        ),
        &ratio,
        1.0 - less / 2.0,
        most + less / 2.0,
    );
    let ratios: Option<Moments> =
        counted.iter().map(|each| each.asleep.map(|asleep| asleep / each.told)).collect();
    let (Some(ratio), Some(asleep)) = (ratios, first.asleep) else { return };
    let workers = bench.workers() as f64;
    let [kernel, clients] = [asleep, first.told].map(|time| time / first.length / workers);
    // Sleeps are longer than told, so the middle is not 1.
    let (middle, off) = (1.0 + tolerance.inflation / 2.0, tolerance.inflation / 2.0 + most);
    findings.near(
        format!(
            "utilisation law, U = X D / W: by the kernel {kernel:.4} of the workers sleep in the \
             first run, the clients' rate times D/W is {clients:.4}; over all runs the ratio is \
             {}, between {:.3} and {:.3}",
            shown(&ratio, 4),
            middle - off,
            middle + off
        ),
        &ratio,
        middle,
        off,
    );
}

/// With constant gaps, a wait may be at most this part of the wait with random arrivals.
const EVEN: f64 = 0.5;

/// Requests with constant gaps wait for less than half as long. Services that vary make even those
/// wait, and their chance hides the difference in runs of this length.
fn chance(findings: &mut Findings, bench: &Bench, runs: &[Run]) {
    if bench.args.service().constant().is_none() {
        return;
    }
    let load = |pattern| Load { times: options::CONSTANT_LOAD, pattern };
    let waits = |pattern| of(runs, load(pattern)).map(|run| run.waits.mean().as_secs_f64() * 1e3);
    let [by_chance, even] =
        [Pattern::Poisson, Pattern::Constant].map(|of| waits(of).collect::<Moments>());
    let pairs = waits(Pattern::Constant).zip(waits(Pattern::Poisson));
    let ratio: Moments = pairs.map(|(even, by_chance)| even / by_chance).collect();
    findings.most(
        format!(
            "constant gaps at a load of {}: requests wait {:.3} ms, and {:.3} ms with random \
             arrivals: {} times as long, at most {EVEN} allowed",
            options::CONSTANT_LOAD,
            even.mean(),
            by_chance.mean(),
            shown(&ratio, 3)
        ),
        &ratio,
        EVEN,
    );
}

/// Judges ideal pools.
pub fn on_trial(program: &mut Program, bench: &Bench, count: u64) {
    let known = Fault::ALL.map(|fault| fault.name(severity(bench)));
    let faults: Vec<_> = known.into_iter().chain([LEAK.to_owned()]).collect();
    trial::run(program, count, &faults, |number, fault| {
        let (runs, counted) = ideal(bench, number, fault);
        judge(bench, &runs, &counted)
    });
}

/// How many times worse than described the planted faults are.
fn severity(bench: &Bench) -> u32 {
    if bench.args.common.quick { QUICK_SEVERITY } else { 1 }
}

/// All runs of an ideal pool.
fn ideal(bench: &Bench, number: u64, fault: Option<usize>) -> (Vec<Run>, Vec<Counted>) {
    let planted = fault.and_then(|fault| Fault::ALL.get(fault)).copied();
    let leaks = fault == Some(Fault::ALL.len());
    let bench = Bench::within(bench.args, WAKING);
    let severity = severity(&bench);
    let seed =
        |of: u64| of.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let make = |load: Load, of: u64| {
        let pool = Ideal { workers: bench.workers(), fault: planted, severity, seed: seed(of) };
        let services = bench.services(seed(of));
        pool.run(&bench.starts(load, seed(of)), |number| services.sample(number as u64))
    };
    let mut runs = Vec::new();
    for load in bench.args.loads() {
        for of in bench.args.seeds() {
            let made = make(load, of);
            let taken = Taken { outcomes: made.outcomes, service: Some(made.service), busy: None };
            runs.push(bench.run(load, seed(of), taken));
        }
    }
    let counted = bench.args.seeds().into_iter().map(|of| {
        let load = Load { times: crate::measure::COUNTED_LOAD, pattern: Pattern::Poisson };
        let made = make(load, of);
        let counted = bench.of_clients(&made.outcomes, seed(of));
        let asleep = made.outcomes.iter().filter_map(|each| each.server.handle);
        // The kernel's count is off by some thousandths, by chance.
        let noise = 1.0 + 0.002 * (fastrand::Rng::with_seed(seed(of)).f64() - 0.5);
        let leak = if leaks { 1.05 } else { 1.0 };
        Counted {
            open: counted.lasted * noise * leak,
            asleep: Some(asleep.sum::<Duration>().as_secs_f64() * noise),
            ..counted
        }
    });
    let counted = counted.collect();
    (runs, counted)
}
