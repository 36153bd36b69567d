//! Throughput and response time against the number of clients, and their asymptotes.

use crate::settled::settled;
use crate::{Args, pool};
use cws::{Config, Figures, Server};
use lab::arrivals::Stop;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::evidence::Findings;
use lab::ideal::{Fault, Ideal};
use lab::load::{Connections, Outcome, Population, Target, Think};
use lab::moments::Moments;
use lab::program::Program;
use lab::progress::Progress;
use lab::table::Table;
use lab::trace::Trace;
use lab::trial;
use queueing_theory::TheoryError;
use queueing_theory::closed::Closed;
use std::error::Error;
use std::thread;
use std::time::Duration;

/// The think times, in units of the delay.
const THINKS: [u32; 2] = [0, 4];

/// The runs for each number of clients.
const RUNS: u64 = 4;

/// The tolerated error where theory has one answer; and the same for runs of a few hundred
/// milliseconds on a busy machine.
const TOLERANCE: f64 = 0.02;
const QUICK_TOLERANCE: f64 = 0.15;

/// Random think times and services make throughputs differ by chance. Their variance is known: this
/// many standard errors are exceeded in one of a thousand cases.
const ERRORS: f64 = 3.1;

/// Services may be this much longer than told, as a share.
const INFLATION: f64 = 0.02;

/// Longer than any wait: clients of a closed loop do not hang up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The runs for one number of clients.
struct Point {
    clients: usize,
    /// Completed requests per second, X, of each run, and the relative standard error of their
    /// mean.
    throughput: Moments,
    error: f64,
    /// The mean response time R of each run, in seconds, and the longest 99th percentile.
    response: Moments,
    p99: f64,
    /// The asymptotes, in requests per second and in seconds.
    bound: (f64, f64),
    /// The mean service time that the pool measured, in seconds; the delay if the pool runs
    /// elsewhere.
    service: f64,
    /// The share of the capacity by the service time that the pool measured, of each run.
    share: Moments,
    failed: usize,
}

/// The points of a think time in units of the delay.
struct Curve {
    delays: u32,
    points: Vec<Point>,
}

/// What a run gives, of a real pool or of an ideal one.
struct Made {
    outcomes: Vec<Outcome>,
    service: Option<Duration>,
}

pub fn show(
    args: &Args,
    program: &mut Program,
    mut trace: Option<&mut Trace>,
) -> Result<(), Box<dyn Error>> {
    let (workers, delay) = (args.workers, args.delay);
    let target = args.url.as_deref().map(Target::find).transpose()?;
    program.text(&format!(
        "W = {workers} workers, D: {}, carry at most W/D = {:.0} requests a second. {} runs for \
         each number of clients.",
        args.service(),
        workers as f64 / delay.as_secs_f64(),
        RUNS as usize
    ));
    let all = length(args) * (numbers(workers, args.common.quick).len() * THINKS.len()) as u32;
    let progress = Progress::start("closed loop", all);
    let curves = curves(args, |clients, delays| {
        let runs = measure(args, program, target.as_ref(), clients, delays)?;
        if let Some(trace) = trace.as_deref_mut() {
            let name = format!("N={clients} Z={delays}D");
            runs.iter().try_for_each(|run| trace.add(&name, &run.outcomes))?;
        }
        Ok(runs)
    })?;
    drop(progress);
    for curve in &curves {
        let knee = workers * (1 + curve.delays as usize);
        let delays = curve.delays;
        program.heading(&format!("Think time Z = {delays} D: the knee is at N* = {knee} clients"));
        program.table(&table(curve, &exponential(args, curve, elsewhere(&curves))?));
    }
    program.conclude(judge(args, &curves)?);
    let [throughput, response] = charts(args, &curves);
    program.chart(
        &throughput,
        "Up to N* clients, workers are idle at times; beyond it the throughput stays at W/D.",
    )?;
    program.figure(
        &response,
        "Beyond N* each client adds D/W to the response time of all; no request is refused.",
    )?;
    Ok(())
}

/// All points; `measure` makes the runs of a number of clients with a think time.
fn curves(
    args: &Args,
    mut measure: impl FnMut(usize, u32) -> Result<Vec<Made>, Box<dyn Error>>,
) -> Result<Vec<Curve>, Box<dyn Error>> {
    let mut curves = Vec::new();
    for delays in THINKS {
        let mut points = Vec::new();
        for clients in numbers(args.workers, args.common.quick) {
            points.push(Point::of(args, clients, delays, &measure(clients, delays)?)?);
        }
        curves.push(Curve { delays, points });
    }
    Ok(curves)
}

/// From one client to well beyond the knee of the longer think time.
fn numbers(workers: usize, quick: bool) -> Vec<usize> {
    let knee = workers * (1 + THINKS[1] as usize);
    let most = 2 * knee;
    if quick {
        return vec![1, workers, most];
    }
    let fractions = [(1, 2), (1, 1), (3, 2), (2, 1), (3, 1), (4, 1), (6, 1)];
    let mut numbers: Vec<_> = fractions.map(|(of, by)| (workers * of / by).max(1)).to_vec();
    numbers.extend([1, knee, most]);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Enough for some hundred requests of one client.
fn length(args: &Args) -> Duration {
    let services = if args.common.quick { 30 } else { 120 };
    (args.delay * services).clamp(Duration::from_millis(100), Duration::from_secs(2))
}

/// The seeds of so many runs, which go on at the same time.
pub fn seeds(args: &Args, count: u64) -> Vec<u64> {
    (0..count).map(|number| args.common.seed.wrapping_mul(1000).wrapping_add(number)).collect()
}

fn measure(
    args: &Args,
    program: &mut Program,
    target: Option<&Target>,
    clients: usize,
    delays: u32,
) -> Result<Vec<Made>, Box<dyn Error>> {
    let (runs, spoilt) = program.until_sound(|| {
        let one =
            |seed| run(args, target, clients, delays, seed).map_err(|error| error.to_string());
        // A server that runs elsewhere has one load at a time.
        let at_once = if target.is_some() { 1 } else { usize::MAX };
        let (mut runs, mut reasons) = (Vec::new(), Vec::new());
        for seeds in seeds(args, RUNS).chunks(at_once.min(RUNS as usize)) {
            let made: Vec<Result<_, String>> = thread::scope(|scope| {
                let threads: Vec<_> =
                    seeds.iter().map(|&seed| scope.spawn(move || one(seed))).collect();
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
        program.spoilt(format!("N = {clients}, Z = {delays} D: {reason}"));
    }
    Ok(runs)
}

fn run(
    args: &Args,
    target: Option<&Target>,
    clients: usize,
    delays: u32,
    seed: u64,
) -> Result<(Made, Vec<String>), Box<dyn Error>> {
    let (server, target) = match target {
        Some(target) => (None, target.clone()),
        None => {
            let service = args.service().with_seed(seed);
            let server = pool::start(args.workers, service, Config::default())?;
            let target = Target::new(server.addresses()[0], "/");
            (Some(server), target)
        }
    };
    let think = match delays {
        0 => Think::None,
        _ => Think::Exponential { mean: args.delay * delays, seed },
    };
    let client = target.client(Connections::Kept(clients), PATIENCE);
    let before = server.as_ref().map(Server::snapshot);
    let run = client.closed_loop(&Population { clients, think }, Stop::After(length(args)))?;
    let after = server.as_ref().map(settled);
    let figures = before.zip(after).map(|(from, to)| Figures::between(&from, &to));
    let service = figures.and_then(|figures| figures.service.mean);
    let reasons = run.conduct.spoilt(args.judged()).iter().map(ToString::to_string).collect();
    Ok((Made { outcomes: run.outcomes, service }, reasons))
}

impl Point {
    /// For requests that ended after the first fifth, the warm-up, and before the load stopped.
    fn of(args: &Args, clients: usize, delays: u32, runs: &[Made]) -> Result<Self, TheoryError> {
        let closed = Closed::new(args.workers as u32, clients as u32, f64::from(delays))?;
        let delay = args.delay.as_secs_f64();
        let bound = closed.bounds();
        let mut point = Self {
            clients,
            throughput: Moments::default(),
            error: 0.0,
            response: Moments::default(),
            p99: 0.0,
            bound: (bound.throughput / delay, bound.time * delay),
            service: 0.0,
            share: Moments::default(),
            failed: 0,
        };
        let (mut services, mut requests) = (Moments::default(), 0.0);
        for Made { outcomes, service } in runs {
            let last = outcomes.iter().map(|outcome| outcome.intended).max().unwrap_or_default();
            let window = (last / 5)..last;
            let within = outcomes.iter().filter(|outcome| window.contains(&outcome.ended));
            let mut latencies: Vec<_> = within.map(Outcome::latency).collect();
            latencies.sort_unstable();
            let count = latencies.len().max(1) as f64;
            let p99 = latencies.get((latencies.len() * 99).div_ceil(100).saturating_sub(1));
            let service = service.unwrap_or(args.delay).as_secs_f64();
            let throughput = count / (window.end - window.start).as_secs_f64();
            services.add(service);
            requests += count;
            point.throughput.add(throughput);
            point.response.add(latencies.iter().sum::<Duration>().as_secs_f64() / count);
            point.share.add(throughput * service / args.workers as f64);
            point.p99 = point.p99.max(p99.copied().unwrap_or_default().as_secs_f64());
            point.failed += outcomes.iter().filter(|outcome| !outcome.is_success()).count();
        }
        point.service = services.mean();
        // Renewals whose intervals are the sum of a service and an exponential time (D. R. Cox,
        // Renewal Theory, 1962, chapter 4).
        let think = f64::from(delays);
        let variance = think * think + args.service().squared_variation();
        point.error = variance.sqrt() / (1.0 + think) / f64::sqrt(requests);
        Ok(point)
    }
}

/// The time spent outside the pool: with one client, all that is not service.
fn elsewhere(curves: &[Curve]) -> f64 {
    let alone = curves.first().and_then(|curve| curve.points.first());
    alone.map_or(0.0, |alone| (alone.response.mean() - alone.service).max(0.0))
}

/// The throughputs with exponential services of the measured means. For the pool, the time that an
/// exchange spends elsewhere is think time.
fn exponential(args: &Args, curve: &Curve, elsewhere: f64) -> Result<Vec<f64>, TheoryError> {
    let of = |point: &Point| {
        let think = f64::from(curve.delays) * args.delay.as_secs_f64() + elsewhere;
        let closed = Closed::new(args.workers as u32, point.clients as u32, think / point.service)?;
        Ok(closed.mva().throughput / point.service)
    };
    curve.points.iter().map(of).collect()
}

fn table(curve: &Curve, exponential: &[f64]) -> Table {
    let mut table = Table::new([
        "N",
        "X in 1/s",
        "at most",
        "exponential S",
        "R in ms",
        "at least",
        "p99 in ms",
        "failed",
    ]);
    for (point, exponential) in curve.points.iter().zip(exponential) {
        table.row([
            point.clients.to_string(),
            format!("{:.1} ±{:.1}", point.throughput.mean(), point.throughput.half_width()),
            format!("{:.1}", point.bound.0),
            format!("{exponential:.1}"),
            format!("{:.2}", point.response.mean() * 1e3),
            format!("{:.2}", point.bound.1 * 1e3),
            format!("{:.2}", point.p99 * 1e3),
            point.failed.to_string(),
        ]);
    }
    table
}

/// A figure of each run over a number.
fn over(of: &Moments, by: f64) -> Moments {
    of.scaled(1.0 / by)
}

/// All checks.
fn judge(args: &Args, curves: &[Curve]) -> Result<Findings, TheoryError> {
    let mut findings = Findings::default();
    for curve in curves {
        let exponential = exponential(args, curve, elsewhere(curves))?;
        bounds(&mut findings, args, curve, &exponential);
        beyond(&mut findings, args, curve);
    }
    Ok(findings)
}

fn tolerance(args: &Args) -> f64 {
    if args.common.quick { QUICK_TOLERANCE } else { TOLERANCE }
}

/// No throughput is above the asymptotes, or below what exponential services give.
fn bounds(findings: &mut Findings, args: &Args, curve: &Curve, exponential: &[f64]) {
    let (delays, tolerance) = (curve.delays, tolerance(args));
    let chance = |point: &Point| ERRORS * point.error;
    let upper = curve.points.iter();
    let upper = upper.map(|p| p.throughput.mean() / p.bound.0 - 1.0 - tolerance - chance(p));
    let most = upper.fold(f64::NEG_INFINITY, f64::max);
    findings.check(
        format!(
            "Z = {delays} D: no throughput exceeds min(N/(D+Z), W/D), {tolerance} of it and \
             {ERRORS} standard errors: the largest is {:.3} of it below",
            -most
        ),
        most <= 0.0,
    );
    // More variable services carry less.
    if args.service().squared_variation() > 1.0 + 1e-9 {
        return;
    }
    let lower = curve.points.iter().zip(exponential);
    let lower = lower.map(|(p, by)| p.throughput.mean() / by - 1.0 + tolerance + chance(p));
    let least = lower.fold(f64::INFINITY, f64::min);
    findings.check(
        format!(
            "Z = {delays} D: each is at least the throughput with exponential services of the \
             measured mean, less {tolerance} of it and {ERRORS} standard errors: the smallest is \
             {least:.3} of it above"
        ),
        least >= 0.0,
    );
}

/// Many clients reach the capacity, and do not overload the pool.
fn beyond(findings: &mut Findings, args: &Args, curve: &Curve) {
    let (delays, tolerance) = (curve.delays, tolerance(args));
    let is_constant = args.service().constant().is_some();
    if let Some(last) = curve.points.last() {
        let chance = if is_constant { 0.0 } else { ERRORS * last.error };
        let told = over(&last.throughput, args.workers as f64 / args.delay.as_secs_f64());
        let least = 1.0 - INFLATION - tolerance - chance;
        findings.least(
            format!(
                "Z = {delays} D: {} clients get {:.3} ±{:.3} of W/D with the D that was told, at \
                 least {least:.2} required",
                last.clients,
                told.mean(),
                told.half_width()
            ),
            &told,
            least,
        );
        findings.near(
            format!(
                "Z = {delays} D: {} clients get {:.3} ±{:.3} of W/S, with S by the server's clock, \
                 within {:.2} of 1",
                last.clients,
                last.share.mean(),
                last.share.half_width(),
                tolerance + chance
            ),
            &last.share,
            1.0,
            tolerance + chance,
        );
        let worst = last.bound.1 * 2.0;
        let what = format!(
            "Z = {delays} D: {} clients do not overload the pool: no failures, p99 {:.2?}",
            last.clients,
            Duration::from_secs_f64(last.p99)
        );
        let is_prompt = last.p99 <= worst || !is_constant;
        findings.check(what, curve.points.iter().all(|point| point.failed == 0) && is_prompt);
    }
    let at = |clients| curve.points.iter().find(|point| point.clients == clients);
    if let (0, true, Some(alone), Some(full)) = (delays, is_constant, at(1), at(args.workers)) {
        let ratio = over(&full.response, alone.response.mean());
        let most = 1.0 + 2.5 * tolerance;
        findings.most(
            format!(
                "Z = 0: {} clients on as many workers do not wait: R is {:.3} R(1), at most \
                 {most:.3} allowed",
                full.clients,
                ratio.mean()
            ),
            &ratio,
            most,
        );
    }
}

/// Judges ideal pools.
pub fn on_trial(args: &Args, program: &mut Program, count: u64) {
    let faults = [Fault::LostWorker, Fault::SlowServices, Fault::Pauses];
    // The tolerances of the short form are larger, and so are the faults.
    let severity = if args.common.quick { 8 } else { 2 };
    trial::run(program, count, &faults.map(Fault::name), |number, fault| {
        let fault = fault.map(|fault| faults[fault]);
        let far = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let curves = curves(args, |clients, delays| {
            let runs = seeds(args, RUNS).into_iter().map(|seed| {
                let seed = seed ^ far ^ ((clients as u64) << 32) ^ (u64::from(delays) << 48);
                let pool = Ideal { workers: args.workers, fault, severity, seed };
                let services = args.service().with_seed(seed);
                let mut random = fastrand::Rng::with_seed(!seed);
                let mean = (args.delay * delays).as_secs_f64();
                let think = || Duration::from_secs_f64(-mean * (1.0 - random.f64()).ln());
                let made =
                    pool.closed(clients, think, |at| services.sample(at as u64), length(args));
                Made { outcomes: made.outcomes, service: Some(made.service) }
            });
            Ok(runs.collect())
        });
        let findings = curves.and_then(|curves| Ok(judge(args, &curves)?));
        findings.unwrap_or_default()
    });
}

fn charts(args: &Args, curves: &[Curve]) -> [Chart; 2] {
    let mut throughput = Chart::new(
        "Throughput against clients",
        "Measured throughput below the asymptotes N/(D+Z) and W/D, for two think times",
        Axis::linear("clients N"),
        Axis::linear("throughput X in requests a second"),
    );
    let mut response = Chart::new(
        "Response time against clients",
        "Measured mean response time above the asymptotes D and ND/W - Z, for two think times",
        Axis::linear("clients N"),
        Axis::linear("response time R in ms"),
    );
    let delay = args.delay.as_secs_f64();
    let most = curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.clients)).max();
    for (Curve { delays, points }, colour) in curves.iter().zip([Colour::Blue, Colour::Green]) {
        let of = |value: fn(&Point) -> f64| {
            points.iter().map(|p| (p.clients as f64, value(p))).collect::<Vec<_>>()
        };
        // The asymptotes bend at the knee.
        let bends = (0..=most.unwrap_or(1)).filter_map(|clients| {
            let closed =
                Closed::new(args.workers as u32, clients as u32, f64::from(*delays)).ok()?;
            Some((clients as f64, closed.bounds()))
        });
        let bends: Vec<_> = bends.collect();
        let lines = |value: &dyn Fn(&queueing_theory::closed::Response) -> f64| {
            Shape::Dashed(bends.iter().map(|(clients, of)| (*clients, value(of))).collect())
        };
        let name = format!("Z = {delays} D");
        // Both asymptotes share one name in the legend.
        let bound = if *delays == THINKS[0] { "asymptotes" } else { "" };
        throughput = throughput
            .with(bound, Colour::Orange, lines(&|of| of.throughput / delay))
            .with(&name, colour, Shape::Points(of(|p| p.throughput.mean())));
        response = response.with(bound, Colour::Orange, lines(&|of| of.time * delay * 1e3)).with(
            &name,
            colour,
            Shape::Points(of(|p| p.response.mean() * 1e3)),
        );
    }
    [throughput, response]
}
