//! Throughput and response time against the number of clients, and their asymptotes.

use crate::judge;
use crate::settled::settled;
use crate::{Args, pool};
use cws::{Config, Figures, Server, ServiceTime};
use lab::arrivals::Stop;
use lab::chance;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::ideal::Ideal;
use lab::load::{Connections, Outcome, Population, Target, Think};
use lab::moments::Moments;
use lab::program::Program;
use lab::progress::Progress;
use lab::table::Table;
use lab::trace::Trace;
use queueing_theory::TheoryError;
use queueing_theory::closed::Closed;
use std::error::Error;
use std::ops::Range;
use std::thread;
use std::time::Duration;

/// The think times, in units of the delay.
const THINKS: [u32; 2] = [0, 4];

/// The runs for each number of clients, and where the services are random.
const RUNS: u64 = 4;
const RUNS_RANDOM: u64 = 8;

/// Longer than any wait: clients of a closed loop do not hang up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The runs for one number of clients.
pub struct Point {
    pub clients: usize,
    /// Completed requests per second, X, of each run, and the relative standard error of their
    /// mean.
    pub throughput: Moments,
    pub error: f64,
    /// The share of the clients' time that they think or are served, with think times of the mean
    /// that was meant, and the standard error that comes from those.
    pub engaged: f64,
    pub engaged_error: f64,
    /// The mean response time R of each run, in seconds, and the longest 99th percentile.
    pub response: Moments,
    pub p99: f64,
    /// The asymptotes, in requests per second and in seconds.
    pub bound: (f64, f64),
    /// The mean service time that the pool measured, in seconds; the delay if the pool runs
    /// elsewhere.
    pub service: f64,
    /// The share of the workers' time that the services take by the pool's clock, of each run; and
    /// as they were told.
    pub share: Moments,
    pub told: Moments,
    /// Both as shares of what an ideal pool with the same services gives. Services that vary much
    /// keep some of its workers idle at times, too.
    pub share_of_ideal: Moments,
    pub told_of_ideal: Moments,
    pub failed: usize,
}

/// The points of a think time in units of the delay.
pub struct Curve {
    pub delays: u32,
    pub points: Vec<Point>,
}

/// What a run gives, of a real pool or of an ideal one.
pub struct Made {
    pub outcomes: Vec<Outcome>,
    pub service: Option<Duration>,
    /// What it was told: request number n that is served takes sample number n.
    pub law: ServiceTime,
    /// The seed of the run.
    pub seed: u64,
}

impl Made {
    /// A run of an ideal pool with the same services, and with other think times.
    fn of_ideal(&self, args: &Args, clients: usize, delays: u32) -> Self {
        let seed = self.seed.rotate_left(17) ^ 0x2545_f491_4f6c_dd1d;
        let pool = Ideal { workers: args.workers, fault: None, severity: 1, seed };
        ideal(args, &pool, &self.law, clients, delays)
    }

    /// The time from the end of the warm-up to the end of the load.
    fn window(&self) -> Range<Duration> {
        let last = self.outcomes.iter().map(|outcome| outcome.intended).max().unwrap_or_default();
        (last / 5)..last
    }

    /// The time in the window that workers spent on requests, in seconds: as it was told, and by
    /// the server's clock. A service that is partly in the window counts for that part. So workers
    /// that always have a request fill the window, whatever services they draw.
    fn work(&self, service: f64) -> (f64, f64) {
        let window = self.window();
        let started =
            |of: &&Outcome| of.begun.map(|at| at + of.server.queue_wait.unwrap_or_default());
        let mut served: Vec<&Outcome> = self.outcomes.iter().collect();
        served.sort_by_key(started);
        let handled: Moments =
            served.iter().filter_map(|of| of.server.handle).map(|of| of.as_secs_f64()).collect();
        // What a worker does beside the handler.
        let beside = if handled.count() > 0 { service - handled.mean() } else { 0.0 };
        let (from, to) = (window.start.as_secs_f64(), window.end.as_secs_f64());
        let within = |ended: f64, took: f64| (ended.min(to) - (ended - took).max(from)).max(0.0);
        let mut work = (0.0, 0.0);
        for (number, of) in served.iter().enumerate() {
            let ended = of.ended.as_secs_f64();
            let took = of.server.handle.map_or(service, |took| took.as_secs_f64() + beside);
            work.0 += within(ended, self.law.sample(number as u64).as_secs_f64());
            work.1 += within(ended, took);
        }
        work
    }

    /// The shares of the workers' time in the window that their requests take: as it was told, and
    /// by the server's clock.
    fn shares(&self, args: &Args, service: f64) -> (f64, f64) {
        let window = self.window();
        let capacity = args.workers as f64 * (window.end - window.start).as_secs_f64();
        let (told, took) = self.work(service);
        (told / capacity, took / capacity)
    }
}

/// The number of runs.
pub fn runs_each(args: &Args) -> u64 {
    if args.service().constant().is_some() { RUNS } else { RUNS_RANDOM }
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
        runs_each(args)
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
    program.conclude(judge::judge(args, &curves)?);
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
pub fn curves(
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
pub fn length(args: &Args) -> Duration {
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
        for seeds in seeds(args, runs_each(args)).chunks(at_once.min(runs_each(args) as usize)) {
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
    let law = args.service().with_seed(seed);
    Ok((Made { outcomes: run.outcomes, service, law, seed }, reasons))
}

/// A run of a pool without sockets and clocks.
pub fn ideal(args: &Args, pool: &Ideal, law: &ServiceTime, clients: usize, delays: u32) -> Made {
    let mut random = fastrand::Rng::with_seed(!pool.seed);
    let mean = (args.delay * delays).as_secs_f64();
    let think = || Duration::from_secs_f64(mean * chance::exponential(&mut random));
    let made = pool.closed(clients, think, |at| law.sample(at as u64), length(args));
    let (outcomes, service) = (made.outcomes, Some(made.service));
    Made { outcomes, service, law: law.clone(), seed: pool.seed }
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
            engaged: 0.0,
            engaged_error: 0.0,
            response: Moments::default(),
            p99: 0.0,
            bound: (bound.throughput / delay, bound.time * delay),
            service: 0.0,
            share: Moments::default(),
            told: Moments::default(),
            share_of_ideal: Moments::default(),
            told_of_ideal: Moments::default(),
            failed: 0,
        };
        let (mut services, mut requests) = (Moments::default(), 0.0);
        let (mut busy, mut time) = (0.0, 0.0);
        for made in runs {
            let Made { outcomes, service, .. } = made;
            let window = made.window();
            let within = outcomes.iter().filter(|outcome| window.contains(&outcome.ended));
            let mut latencies: Vec<_> = within.map(Outcome::latency).collect();
            latencies.sort_unstable();
            let count = latencies.len().max(1) as f64;
            let p99 = latencies.get((latencies.len() * 99).div_ceil(100).saturating_sub(1));
            let service = service.unwrap_or(args.delay).as_secs_f64();
            let length = (window.end - window.start).as_secs_f64();
            let throughput = count / length;
            services.add(service);
            requests += count;
            time += length;
            point.throughput.add(throughput);
            point.response.add(latencies.iter().sum::<Duration>().as_secs_f64() / count);
            let (told, took) = made.shares(args, service);
            busy += told * args.workers as f64 * length;
            point.told.add(told);
            point.share.add(took);
            let ideal = made.of_ideal(args, clients, delays);
            let (ideal_told, ideal_took) =
                ideal.shares(args, ideal.service.unwrap_or(args.delay).as_secs_f64());
            point.told_of_ideal.add(told / ideal_told);
            point.share_of_ideal.add(took / ideal_took);
            point.p99 = point.p99.max(p99.copied().unwrap_or_default().as_secs_f64());
            point.failed += outcomes.iter().filter(|outcome| !outcome.is_success()).count();
        }
        point.service = services.mean();
        // Renewals whose intervals are the sum of a service and an exponential time (D. R. Cox,
        // Renewal Theory, 1962, chapter 4).
        let think = f64::from(delays);
        let variance = think * think + args.service().squared_variation();
        point.error = variance.sqrt() / (1.0 + think) / f64::sqrt(requests);
        let thinking = think * delay;
        point.engaged = (busy + requests * thinking) / (clients as f64 * time);
        point.engaged_error = thinking * f64::sqrt(requests) / (clients as f64 * time);
        Ok(point)
    }
}

/// The time spent outside the pool: with one client, all that is not service.
pub fn elsewhere(curves: &[Curve]) -> f64 {
    let alone = curves.first().and_then(|curve| curve.points.first());
    alone.map_or(0.0, |alone| (alone.response.mean() - alone.service).max(0.0))
}

/// The throughputs with exponential services of the measured means. For the pool, the time that an
/// exchange spends elsewhere is think time.
pub fn exponential(args: &Args, curve: &Curve, elsewhere: f64) -> Result<Vec<f64>, TheoryError> {
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
