//! The runs: real pools in each order side by side, their twins, and the steady state.

use crate::options::Args;
use crate::sizes::{self, Size};
use cws::{AccessLog, Config, Response, Schedule, Server, Status, Stream};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Conduct, Connections, Group, Mix, Outcome, Parts, Starts, Target, run_together};
use lab::orders::{Order, Pool, Request, Waits};
use lab::program::Program;
use lab::progress::Progress;
use lab::steady::Estimate;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

/// A request of the order `smallest` is overtaken by those that arrive within this many of its
/// services.
pub const AGEING: f64 = 100.0;

/// Bytes for which a waiting request ages a second (see `--schedule sff`).
const BYTES_PER_SECOND: f64 = 16.0 * 1024.0 * 1024.0;

/// The time in which the threads of all pools start, before the first request.
const LEAD: Duration = Duration::from_millis(150);

/// The share of a run in which the pool fills.
pub const WARM_UP: f64 = 0.1;

/// The orders: their names, those of the server, and those of the twin.
pub const ORDERS: [(&str, Schedule, Order); 4] = [
    ("fifo", Schedule::Fifo, Order::Fifo),
    ("fair", Schedule::Fair, Order::Fair),
    ("lifo", Schedule::Lifo, Order::Lifo),
    ("smallest first", Schedule::SmallestFirst, Order::Smallest(AGEING)),
];

/// The orders whose steady states are simulated: those, and the smallest first without ageing, for
/// which there is a formula.
pub const SIMULATED: [Order; 5] = [
    Order::Fifo,
    Order::Fair,
    Order::Lifo,
    Order::Smallest(AGEING),
    Order::Smallest(f64::INFINITY),
];

type Failed = Box<dyn Error + Send + Sync>;

/// What one order did in each run, and what its twin did with the same arrivals.
#[derive(Debug)]
pub struct Measured {
    pub real: Vec<Waits>,
    pub twin: Vec<Waits>,
    /// How much longer a service took than it was meant to, on average.
    pub over: Duration,
    pub spoilt: Option<String>,
    /// The outcomes of the last run, by size.
    pub outcomes: Vec<Vec<Outcome>>,
}

/// The steady state of an ideal pool in one order. Times are in seconds.
#[derive(Debug)]
pub struct Steady {
    pub mean_wait: Estimate,
    pub p99: Estimate,
    pub slowdown: Estimate,
    pub longest: Estimate,
    /// The mean wait and the mean slowdown of each size.
    pub by_size: Vec<(Estimate, Estimate)>,
    /// The figures of each run. All orders have the same arrivals in it.
    pub runs: Vec<Figures>,
}

/// The figures of one run of the simulation.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub mean_wait: f64,
    pub slowdown: f64,
    pub longest: f64,
    /// The mean slowdown of the largest size.
    pub largest: f64,
}

/// The arrivals of each size, merged.
fn requests(args: &Args, sizes: &[Size], length: Duration, seed: u64) -> Vec<Request> {
    let mut all = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let rate = args.rate(sizes) * size.share;
        let arrivals = Arrivals::poisson(rate, (seed << 8) | number as u64);
        let of = |at| Request { at, size: number, service: size.time };
        all.extend(arrivals.starts(Stop::After(length)).into_iter().map(of));
    }
    all.sort_by_key(|request| request.at);
    all
}

/// The seed of a run: far from those of the steady state.
fn seed(first: u64, run: u64) -> u64 {
    (first << 20) | run
}

/// The arrivals of a run that has a real pool.
pub fn arrivals(args: &Args, sizes: &[Size], first: u64, run: u64) -> Vec<Request> {
    requests(args, sizes, args.length(), seed(first, run))
}

pub fn measure(
    program: &mut Program,
    args: &Args,
    sizes: &[Size],
) -> Result<Vec<Measured>, Box<dyn Error>> {
    let progress = Progress::start("real pools", args.length() * args.batches());
    let mut all: Vec<Measured> = ORDERS
        .iter()
        .map(|_| Measured {
            real: Vec::new(),
            twin: Vec::new(),
            over: Duration::ZERO,
            spoilt: None,
            outcomes: Vec::new(),
        })
        .collect();
    let numbers: Vec<u64> = (0..u64::from(args.runs())).collect();
    for numbers in numbers.chunks(args.at_once()) {
        let arrivals: Vec<Vec<Request>> =
            numbers.iter().map(|&run| arrivals(args, sizes, args.common.seed, run)).collect();
        let (runs, spoilt) = program
            .until_sound(|| together(args, sizes, &arrivals))
            .map_err(|failed| -> Box<dyn Error> { failed })?;
        for (requests, runs) in arrivals.iter().zip(runs) {
            for ((of, run), (_, _, order)) in all.iter_mut().zip(runs).zip(ORDERS) {
                of.twin.push(twin(args, sizes, order, requests, run.over));
                of.real.push(run.waits.settled(WARM_UP));
                of.over += run.over / u32::from(args.runs());
                of.outcomes = run.outcomes;
                of.spoilt = of.spoilt.take().or(spoilt.clone());
            }
        }
    }
    drop(progress);
    Ok(all)
}

struct Run {
    waits: Waits,
    over: Duration,
    outcomes: Vec<Vec<Outcome>>,
}

/// The waits of an ideal pool that chooses as this server does. Its services are longer than
/// nominal by `over`, as those of the real one were: a thread that sleeps wakes up late.
pub fn twin(
    args: &Args,
    sizes: &[Size],
    order: Order,
    requests: &[Request],
    over: Duration,
) -> Waits {
    let late = |request: &Request| Request { service: request.service + over, ..*request };
    let fed: Vec<Request> = requests.iter().map(late).collect();
    Pool { workers: args.workers, order, ready: true }.serve(sizes.len(), &fed).settled(WARM_UP)
}

type Runs = Vec<Vec<Run>>;

/// For each of some arrivals a run of each order, all at the same time: their workers sleep most of
/// it.
fn together(
    args: &Args,
    sizes: &[Size],
    arrivals: &[Vec<Request>],
) -> Result<(Runs, Vec<String>), Failed> {
    let orders = ORDERS.len();
    let runs: Vec<Result<(Run, Vec<String>), Failed>> = thread::scope(|scope| {
        let begun = (0..arrivals.len() * orders).map(|place| {
            let (requests, schedule) = (&arrivals[place / orders], ORDERS[place % orders].1);
            scope.spawn(move || one(args, sizes, requests, schedule, place as u8))
        });
        let begun: Vec<_> = begun.collect();
        let ended = begun.into_iter().map(|run| run.join());
        ended.map(|run| run.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let (mut all, mut reasons) = (Vec::new(), Vec::new());
    for (place, run) in runs.into_iter().enumerate() {
        let (run, why) = run?;
        if place % orders == 0 {
            all.push(Vec::new());
        }
        all[place / orders].push(run);
        reasons.extend(why);
    }
    // One reason stands for all.
    reasons.truncate(1);
    Ok((all, reasons))
}

/// Each size is a client of its own, with an address and a path of its own. Requests are HEAD, so
/// that the order of sizes knows how long the content is, and nobody sends it.
fn one(
    args: &Args,
    sizes: &[Size],
    requests: &[Request],
    schedule: Schedule,
    place: u8,
) -> Result<(Run, Vec<String>), Failed> {
    let config = Config::default()
        .workers(args.workers)
        .schedule(schedule)
        .queue(Some(1 << 20))
        .queue_timeout(Config::LONGEST_WAIT)
        .max_connections(cws::descriptor_limit() / 2 / (args.at_once() * ORDERS.len()))
        .access_log(AccessLog::Off)
        .server_timing(true)
        .drain_timeout(Duration::ZERO);
    let times: Vec<Duration> = sizes.iter().map(|size| size.time).collect();
    let respond = move |request: &cws::Request<'_>| {
        let number = request.query("size").and_then(|text| text.parse::<usize>().ok());
        let Some(time) = number.and_then(|number| times.get(number)) else {
            return Response::error(Status::NOT_FOUND, "no such size");
        };
        thread::sleep(*time);
        let length = time.as_secs_f64() * AGEING * BYTES_PER_SECOND;
        Response::stream("text/plain", Stream::new(length as u64, std::iter::empty()))
    };
    let server = Server::start(config, respond)?;
    let address = *server.addresses().first().ok_or("the server has no address")?;
    let starts: Vec<Vec<Duration>> = (0..sizes.len())
        .map(|size| requests.iter().filter(move |each| each.size == size))
        .map(|of_size| of_size.map(|each| LEAD + each.at).collect())
        .collect();
    let connections = Connections::Kept(
        cws::descriptor_limit() / 4 / (args.at_once() * ORDERS.len() * sizes.len()),
    );
    let groups: Vec<Group<'_>> = starts
        .iter()
        .enumerate()
        .map(|(number, starts)| {
            let target = Target::new(address, &format!("/?size={number}"));
            let mut client = target.client(connections, Duration::from_secs(600));
            let (host, path) = (address.to_string(), format!("/?size={number}"));
            let (method, fields, body) = ("HEAD", &[][..], None);
            let parts = Parts { method, path: &path, host: &host, fields, body, connections };
            client.requests = Mix::one(parts.message());
            let source = Ipv4Addr::new(127, 0, 1 + place, 1 + number as u8);
            client.source = Some(IpAddr::V4(source));
            Group { client, starts: Starts::Open(starts) }
        })
        .collect();
    let runs = run_together(&groups)?;
    drop(server);
    let (outcomes, conducts): (Vec<Vec<Outcome>>, Vec<Conduct>) =
        runs.into_iter().map(|run| (run.outcomes, run.conduct)).unzip();
    let (waits, over) = waits(sizes, &outcomes)?;
    // What is compared is the time to an answer, so it limits the lateness of the generator. The
    // tolerances of a short run are larger.
    let time = Duration::from_secs_f64(waits.mean_wait() + sizes::moment(sizes, 1));
    let time = if args.common.quick { 4 * time } else { time };
    let reasons = Conduct::spoilt_together(&conducts, time);
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    Ok((Run { waits, over, outcomes }, reasons))
}

/// The waits by the server's clock, in the order of the arrivals, and the mean excess of services.
fn waits(sizes: &[Size], outcomes: &[Vec<Outcome>]) -> Result<(Waits, Duration), Failed> {
    let mut each = Vec::new();
    let mut over = Duration::ZERO;
    for (size, outcomes) in outcomes.iter().enumerate() {
        for outcome in outcomes {
            let (Some(wait), Some(service)) = (outcome.server.queue_wait, outcome.server.handle)
            else {
                return Err(format!("a request failed: {:?}", outcome.answer).into());
            };
            over += service.saturating_sub(sizes[size].time);
            each.push((outcome.intended, (size, wait, service)));
        }
    }
    each.sort_by_key(|(intended, _)| *intended);
    let count = u32::try_from(each.len().max(1)).unwrap_or(u32::MAX);
    Ok((Waits::new(each.into_iter().map(|(_, each)| each).collect()), over / count))
}

/// The steady states of ideal pools without a request that is ready before a worker is. All have
/// the same arrivals.
pub fn steady<const N: usize>(
    args: &Args,
    sizes: &[Size],
    orders: [Order; N],
    first: u64,
) -> [Steady; N] {
    let (requests_each, runs) = args.simulated();
    let length = Duration::from_secs_f64(requests_each as f64 / args.rate(sizes));
    let mut all: [Vec<Waits>; N] = std::array::from_fn(|_| Vec::new());
    for number in 0..runs {
        let requests = requests(args, sizes, length, seed(first, 1000 + number));
        for (waits, order) in all.iter_mut().zip(orders) {
            let pool = Pool { workers: args.workers, order, ready: false };
            waits.push(pool.serve(sizes.len(), &requests).settled(WARM_UP));
        }
    }
    all.map(|runs| summary(&runs, sizes.len()))
}

fn summary(runs: &[Waits], sizes: usize) -> Steady {
    let of = |figure: &dyn Fn(&Waits) -> Option<f64>| Estimate::of(runs.iter().filter_map(figure));
    let figures = |waits: &Waits| Figures {
        mean_wait: waits.mean_wait(),
        slowdown: waits.slowdown(),
        longest: waits.longest(),
        largest: waits.slowdown_of(sizes - 1).unwrap_or(f64::NAN),
    };
    let of_size =
        |size: usize| (of(&|waits| waits.mean_wait_of(size)), of(&|waits| waits.slowdown_of(size)));
    Steady {
        runs: runs.iter().map(figures).collect(),
        mean_wait: of(&|waits| Some(waits.mean_wait())),
        p99: of(&|waits| Some(waits.p99())),
        slowdown: of(&|waits| Some(waits.slowdown())),
        longest: of(&|waits| Some(waits.longest())),
        by_size: (0..sizes).map(of_size).collect(),
    }
}
