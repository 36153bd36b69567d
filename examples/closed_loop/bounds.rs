//! Throughput and response time against the number of clients, and their asymptotes.

use crate::{Args, pool};
use cws::{Config, Figures, Server};
use lab::arrivals::Stop;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::load::{Connections, Outcome, Population, Run, Target, Think};
use lab::program::Program;
use lab::progress::Progress;
use lab::table::Table;
use lab::trace::Trace;
use queueing_theory::TheoryError;
use queueing_theory::closed::Closed;
use std::error::Error;
use std::time::Duration;

/// The think times, in units of the delay.
const THINKS: [u32; 2] = [0, 4];

/// The tolerated error where theory has one answer; and the same for runs of a few hundred
/// milliseconds on a busy machine.
const TOLERANCE: f64 = 0.02;
const QUICK_TOLERANCE: f64 = 0.15;

/// Tolerated standard errors of a throughput, beside the tolerance.
const ERRORS: f64 = 4.0;

/// Longer than any wait: clients of a closed loop do not hang up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The results for one number of clients.
struct Point {
    clients: usize,
    /// Completed requests per second, X, and its relative standard error.
    throughput: f64,
    error: f64,
    /// Mean and 99th percentile of the response time R, in seconds.
    response: f64,
    p99: f64,
    /// The asymptotes, in requests per second and in seconds.
    bound: (f64, f64),
    /// The mean service time that the pool measured, in seconds; the delay if the pool runs
    /// elsewhere.
    service: f64,
    failed: usize,
}

/// What is measured, and for how long.
struct Bench<'a> {
    args: &'a Args,
    server: Option<Server>,
    target: Target,
    length: Duration,
}

pub fn show(
    args: &Args,
    program: &mut Program,
    mut trace: Option<&mut Trace>,
) -> Result<(), Box<dyn Error>> {
    let bench = Bench::new(args)?;
    let (workers, delay) = (args.workers, args.delay);
    program.text(&format!(
        "W = {workers} workers at D = {delay:?} carry at most W/D = {:.0} requests a second.",
        workers as f64 / delay.as_secs_f64()
    ));
    let numbers = numbers(workers, args.common.quick);
    let mut curves = Vec::new();
    {
        let all = bench.length * (numbers.len() * THINKS.len()) as u32;
        let _progress = Progress::start("closed loop", all);
        for delays in THINKS {
            let mut points = Vec::new();
            for &clients in &numbers {
                let (run, point) = bench.measure(program, clients, delays)?;
                if let Some(trace) = trace.as_deref_mut() {
                    trace.add(&format!("N={clients} Z={delays}D"), &run.outcomes)?;
                }
                points.push(point);
            }
            curves.push((delays, points));
        }
    }
    // The time spent outside the pool: with one client, all that is not service.
    let alone = curves.first().and_then(|(_, points)| points.first());
    let elsewhere = alone.map_or(0.0, |alone| (alone.response - alone.service).max(0.0));
    for (delays, points) in &curves {
        report(args, program, *delays, points, elsewhere)?;
    }
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

impl<'a> Bench<'a> {
    fn new(args: &'a Args) -> Result<Self, Box<dyn Error>> {
        let (server, target) = match &args.url {
            Some(url) => (None, Target::find(url)?),
            None => {
                let server = pool::start(args.workers, args.delay, Config::default())?;
                let target = Target::new(server.addresses()[0], "/");
                (Some(server), target)
            }
        };
        // Enough for some hundred requests of one client.
        let services = if args.common.quick { 30 } else { 150 };
        let length =
            (args.delay * services).clamp(Duration::from_millis(100), Duration::from_secs(2));
        Ok(Self { args, server, target, length })
    }

    fn measure(
        &self,
        program: &mut Program,
        clients: usize,
        delays: u32,
    ) -> Result<(Run, Point), Box<dyn Error>> {
        let Args { delay, common, .. } = self.args;
        let think = match delays {
            0 => Think::None,
            _ => Think::Exponential { mean: *delay * delays, seed: common.seed },
        };
        let population = Population { clients, think };
        let client = self.target.client(Connections::Kept(clients), PATIENCE);
        let ((run, service), spoilt) = program.until_sound(|| {
            let before = self.server.as_ref().map(Server::snapshot);
            let run = client.closed_loop(&population, Stop::After(self.length))?;
            let after = self.server.as_ref().map(Server::snapshot);
            let figures = before.zip(after).map(|(from, to)| Figures::between(&from, &to));
            let service = figures.and_then(|figures| figures.service.mean).unwrap_or(*delay);
            let reasons =
                run.conduct.spoilt(self.args.judged()).iter().map(ToString::to_string).collect();
            Ok::<_, Box<dyn Error>>(((run, service), reasons))
        })?;
        if let Some(reason) = spoilt {
            program.spoilt(format!("N = {clients}, Z = {delays} D: {reason}"));
        }
        let point = Point::of(self.args, clients, delays, &run, service)?;
        Ok((run, point))
    }
}

impl Point {
    /// For requests that ended after the first fifth, the warm-up, and before the load stopped.
    fn of(
        args: &Args,
        clients: usize,
        delays: u32,
        run: &Run,
        service: Duration,
    ) -> Result<Self, TheoryError> {
        let last = run.outcomes.iter().map(|outcome| outcome.intended).max().unwrap_or_default();
        let window = (last / 5)..last;
        let within = run.outcomes.iter().filter(|outcome| window.contains(&outcome.ended));
        let mut latencies: Vec<_> = within.map(Outcome::latency).collect();
        latencies.sort_unstable();
        let count = latencies.len().max(1) as f64;
        let p99 = latencies.get((latencies.len() * 99).div_ceil(100).saturating_sub(1));
        let think = f64::from(delays);
        let closed = Closed::new(args.workers as u32, clients as u32, think)?;
        let delay = args.delay.as_secs_f64();
        let bound = closed.bounds();
        Ok(Self {
            clients,
            throughput: count / (window.end - window.start).as_secs_f64(),
            // Renewals whose intervals are the sum of a constant and an exponential time vary as
            // much as the exponential part (D. R. Cox, Renewal Theory, 1962, chapter 4).
            error: think / (1.0 + think) / count.sqrt(),
            response: latencies.iter().sum::<Duration>().as_secs_f64() / count,
            p99: p99.copied().unwrap_or_default().as_secs_f64(),
            bound: (bound.throughput / delay, bound.time * delay),
            service: service.as_secs_f64(),
            failed: run.outcomes.iter().filter(|outcome| !outcome.is_success()).count(),
        })
    }
}

fn report(
    args: &Args,
    program: &mut Program,
    delays: u32,
    points: &[Point],
    elsewhere: f64,
) -> Result<(), TheoryError> {
    let exponential = |point: &Point| {
        // For the pool, the time that an exchange spends elsewhere is think time.
        let think = f64::from(delays) * args.delay.as_secs_f64() + elsewhere;
        let closed = Closed::new(args.workers as u32, point.clients as u32, think / point.service)?;
        Ok(closed.mva().throughput / point.service)
    };
    let exponential = points.iter().map(exponential).collect::<Result<Vec<_>, TheoryError>>()?;
    let knee = args.workers * (1 + delays as usize);
    program.heading(&format!("Think time Z = {delays} D: the knee is at N* = {knee} clients"));
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
    for (point, exponential) in points.iter().zip(&exponential) {
        table.row([
            point.clients.to_string(),
            format!("{:.1}", point.throughput),
            format!("{:.1}", point.bound.0),
            format!("{exponential:.1}"),
            format!("{:.2}", point.response * 1e3),
            format!("{:.2}", point.bound.1 * 1e3),
            format!("{:.2}", point.p99 * 1e3),
            point.failed.to_string(),
        ]);
    }
    program.table(&table);
    check(args, program, delays, points, &exponential);
    Ok(())
}

fn check(args: &Args, program: &mut Program, delays: u32, points: &[Point], exponential: &[f64]) {
    let tolerance = if args.common.quick { QUICK_TOLERANCE } else { TOLERANCE };
    let allowed = |point: &Point| tolerance + ERRORS * point.error;
    let over = points.iter().map(|p| p.throughput / p.bound.0 - 1.0 - ERRORS * p.error);
    let over = over.fold(f64::NEG_INFINITY, f64::max);
    program.check(
        format!("Z = {delays} D: no throughput exceeds min(N/(D+Z), W/D)"),
        over <= tolerance,
    );
    let mut both = points.iter().zip(exponential);
    let under = both.all(|(p, exponential)| p.throughput >= exponential * (1.0 - allowed(p)));
    program.check(
        format!(
            "Z = {delays} D: each is at least the throughput with exponential service of this mean"
        ),
        under,
    );
    if let Some(last) = points.last() {
        let share = last.throughput * last.service / args.workers as f64;
        program.check(
            format!("Z = {delays} D: {} clients reach {share:.3} of the capacity", last.clients),
            (share - 1.0).abs() <= tolerance,
        );
        let worst = last.bound.1 * 2.0;
        program.check(
            format!(
                "Z = {delays} D: {} clients do not overload the pool: no failures, p99 {:.2?}",
                last.clients,
                Duration::from_secs_f64(last.p99)
            ),
            points.iter().all(|point| point.failed == 0) && last.p99 <= worst,
        );
    }
    let at = |clients| points.iter().find(|point| point.clients == clients);
    if let (0, Some(alone), Some(full)) = (delays, at(1), at(args.workers)) {
        let ratio = full.response / alone.response;
        program.check(
            format!(
                "Z = 0: {} clients on as many workers do not wait: R is {ratio:.2} R(1)",
                full.clients
            ),
            ratio <= 1.0 + 2.5 * tolerance,
        );
    }
}

fn charts(args: &Args, curves: &[(u32, Vec<Point>)]) -> [Chart; 2] {
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
    let most = curves.iter().flat_map(|(_, points)| points.iter().map(|p| p.clients)).max();
    for ((delays, points), colour) in curves.iter().zip([Colour::Blue, Colour::Green]) {
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
            .with(&name, colour, Shape::Points(of(|p| p.throughput)));
        response = response.with(bound, Colour::Orange, lines(&|of| of.time * delay * 1e3)).with(
            &name,
            colour,
            Shape::Points(of(|p| p.response * 1e3)),
        );
    }
    [throughput, response]
}
