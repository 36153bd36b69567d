//! Runs a case in one order of service, several times, and takes what its clients see.

use crate::case::{self, Case, Demand, Party};
use crate::ideal::{self, Ideal};
use crate::options::Args;
use cws::{Config, Delay, Request, Response, Schedule, Server};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{
    Client, Connections, Group, Outcome, Population, Run, Spoilt, Starts, Target, Think,
    run_together,
};
use lab::moments::Moments;
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::thread;
use std::time::Duration;

/// One generator and its server keep up with this many times W/D together, so that more runs than
/// one can go on at the same time below it.
const TIMES_MOST: f64 = 32.0;

/// The p99 of the lateness may be at most this part of the patience: half a service. Times count
/// from the intended start, so that lateness makes them longer, and never shorter.
const LATENESS_SHARE: f64 = 0.05;

/// The patience of clients that have none.
const FOREVER: Duration = Duration::from_secs(60);

/// What the clients of a party see in all runs of a case.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// The share of their requests that is answered in time.
    pub share: Moments,
    /// The smallest of the clients' shares.
    pub worst: Moments,
    /// The median and the 99th percentile of the time from the intended start to an answer, over D.
    pub median: Moments,
    pub p99: Moments,
    /// Their answers per second, over W/D.
    pub capacity: Moments,
}

/// A case in one order of service.
pub struct Cell {
    pub case: Case,
    pub schedule: Schedule,
    pub greedy: Seen,
    pub polite: Seen,
    /// The polite clients' share and 99th percentile in a simulated pool with the same arrivals.
    pub ideal: Seen,
    /// The outcomes of the first run, of the greedy and of the polite party.
    pub outcomes: [Vec<Outcome>; 2],
    pub spoilt: Option<String>,
}

impl Cell {
    pub fn name(&self) -> String {
        format!("{}, {}", self.case.name, case::name(self.schedule))
    }
}

/// The outcomes of each client of the two parties.
type Parties = [Vec<Vec<Outcome>>; 2];

pub fn measure(program: &mut Program, args: &Args) -> Result<Vec<Cell>, Box<dyn Error>> {
    let mut cells = Vec::new();
    for case in Case::all(args.common.quick) {
        let (mut all, spoilt) = program.until_sound(|| run_all(args, &case))?;
        for &schedule in &case.schedules {
            let runs: Vec<Parties> = all.drain(..usize::from(args.runs())).collect();
            let spoilt = spoilt.clone();
            let [mut greedy, mut polite] = [Seen::default(); 2];
            for [of_greedy, of_polite] in &runs {
                greedy.add(args, &case, of_greedy);
                polite.add(args, &case, of_polite);
            }
            let ideal = ideal::seen(args, &case, schedule, Ideal::default());
            let first = runs.into_iter().next().unwrap_or_default();
            let outcomes = first.map(|clients| clients.into_iter().flatten().collect());
            let case = case.clone();
            let cell = Cell { case, schedule, greedy, polite, ideal, outcomes, spoilt };
            if let Some(why) = &cell.spoilt {
                program.say(&format!("the runs {} are invalid: {why}", cell.name()));
            }
            cells.push(cell);
        }
    }
    Ok(cells)
}

impl Seen {
    /// Adds a run: the outcomes of each client.
    fn add(&mut self, args: &Args, case: &Case, clients: &[Vec<Outcome>]) {
        let patience = if case.has_deadline() { args.patience() } else { FOREVER };
        let counted = counted(args, case);
        let within = |outcomes: &[Outcome]| -> Vec<Outcome> {
            let within = outcomes.iter().filter(|each| counted.contains(&each.intended));
            within.copied().collect()
        };
        let clients: Vec<Vec<Outcome>> = clients.iter().map(|each| within(each)).collect();
        let share = |outcomes: &mut dyn Iterator<Item = &Outcome>| {
            let good: Moments =
                outcomes.map(|each| f64::from(u8::from(each.is_good(patience)))).collect();
            // Nobody failed whom nobody asked.
            if good.count() == 0 { 1.0 } else { good.mean() }
        };
        self.share.add(share(&mut clients.iter().flatten()));
        let shares = clients.iter().map(|each| share(&mut each.iter()));
        self.worst.add(shares.fold(1.0, f64::min));
        let good = clients.iter().flatten().filter(|each| each.is_good(patience));
        let times: Sample = good.map(Outcome::latency).collect();
        // Without an answer, there is no time to one.
        let percentile = |p| match times.count() {
            0 => f64::INFINITY,
            _ => times.percentile(p).div_duration_f64(args.delay),
        };
        self.median.add(percentile(0.5));
        self.p99.add(percentile(0.99));
        let length = (counted.end - counted.start).as_secs_f64();
        self.capacity.add(times.count() as f64 / length / args.capacity());
    }
}

/// The runs of a case, those of one order of service after those of another, and as many at a time
/// as the machine can carry.
fn run_all(args: &Args, case: &Case) -> Result<(Vec<Parties>, Vec<String>), Box<dyn Error>> {
    let numbers = |schedule| (0..args.runs()).map(move |number| (schedule, number));
    let tasks: Vec<(Schedule, u8)> = case.schedules.iter().copied().flat_map(numbers).collect();
    let carried = (TIMES_MOST / case.times()) as usize;
    // Each connection has a descriptor at either end.
    let open = cws::descriptor_limit() / (4 * case.connections());
    let beside = carried.min(open).clamp(1, tasks.len());
    let rounds = tasks.len().div_ceil(beside) as u32;
    let progress = Progress::start(&case.name, args.delay * case.length * rounds);
    let one = |(schedule, number)| {
        run_one(args, case, schedule, number, beside).map_err(|error| error.to_string())
    };
    let (mut parties, mut reasons) = (Vec::new(), Vec::new());
    for tasks in tasks.chunks(beside) {
        let runs: Vec<_> = thread::scope(|scope| {
            let start = |&task| scope.spawn(move || one(task));
            let threads: Vec<_> = tasks.iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        for run in runs {
            let (of, why) = run.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            parties.push(of);
            reasons.extend(why);
        }
    }
    drop(progress);
    // One reason stands for all.
    let count = reasons.len();
    let first = reasons.into_iter().next();
    let reason = first.map(|first| format!("{first}; {count} such reasons in all"));
    Ok((parties, reason.into_iter().collect()))
}

fn run_one(
    args: &Args,
    case: &Case,
    schedule: Schedule,
    number: u8,
    beside: usize,
) -> Result<(Parties, Vec<String>), Box<dyn Error>> {
    let config = Config::default()
        .workers(args.workers)
        .schedule(schedule)
        .max_connections(cws::descriptor_limit() / 2 / beside)
        // Nobody waits for requests that are queued when the run ends.
        .drain_timeout(Duration::ZERO);
    let config = match case.has_deadline() {
        true => config.patience(Some(args.patience())),
        false => config.queue_timeout(Config::LONGEST_WAIT),
    };
    let respond = |_: &Request<'_>| Response::ok("text/plain", "done\n");
    let server = Server::start(config, Delay::new(args.delay, respond))?;
    let address = *server.addresses().first().ok_or("the server has no address")?;
    let each = clients(case);
    let starts: Vec<Vec<Duration>> = each
        .iter()
        .map(|(party, client)| starts(args, case, party, number.into(), *client))
        .collect();
    let groups = each.iter().zip(&starts);
    let groups = groups.map(|((party, client), starts)| {
        let source = Ipv4Addr::new(127, 0, number.saturating_add(1), *client);
        let seed = seed(args, number.into(), *client);
        group(args, case, party, address, (source.into(), seed), starts)
    });
    let mut runs = run_together(&groups.collect::<Vec<_>>())?;
    drop(server);
    let reasons = spoilt(args, case, &runs);
    let polite = runs.split_off(case.greedy.clients);
    let of = |runs: Vec<Run>| runs.into_iter().map(|run| run.outcomes).collect();
    Ok(([of(runs), of(polite)], reasons))
}

/// The clients of both parties, with their numbers, the greedy ones first.
pub fn clients(case: &Case) -> Vec<(Party, u8)> {
    let parties = [case.greedy, case.polite].into_iter();
    parties.flat_map(|party| (0..party.clients).map(move |_| party)).zip(1..=u8::MAX).collect()
}

/// Why a run is invalid. All parties have one generator, so their lateness is judged together, and
/// only of the requests that count: at the start, closed loops connect all at once.
fn spoilt(args: &Args, case: &Case, runs: &[Run]) -> Vec<String> {
    let reasons = runs.iter().flat_map(|run| run.conduct.spoilt(args.patience()));
    let reasons = reasons.filter(|reason| !matches!(reason, Spoilt::Late { .. }));
    let counted = counted(args, case);
    let outcomes = runs.iter().flat_map(|run| &run.outcomes);
    let within = outcomes.filter(|each| counted.contains(&each.intended));
    let lateness: Sample = within.map(|each| each.lateness).collect();
    let (p99, most) = (lateness.percentile(0.99), args.patience().mul_f64(LATENESS_SHARE));
    let late = (p99 > most).then_some(Spoilt::Late { p99, most });
    reasons.chain(late).map(|reason| reason.to_string()).collect()
}

/// The intended starts that count: the pool has filled by then.
pub fn counted(args: &Args, case: &Case) -> Range<Duration> {
    args.delay * (case.length / 4)..args.delay * case.length
}

/// The intended starts of one client, if they are known in advance.
pub fn starts(args: &Args, case: &Case, party: &Party, run: u64, client: u8) -> Vec<Duration> {
    let Demand::Rate(times) = party.demand else { return Vec::new() };
    let seed = seed(args, run, client);
    let arrivals = Arrivals::poisson(times * args.capacity(), seed);
    arrivals.starts(Stop::After(args.delay * case.length))
}

/// The seed of one client in one run.
fn seed(args: &Args, run: u64, client: u8) -> u64 {
    (args.common.seed << 16) ^ (run << 8) | u64::from(client)
}

fn group<'a>(
    args: &Args,
    case: &Case,
    party: &Party,
    address: SocketAddr,
    (source, seed): (IpAddr, u64),
    starts: &'a [Duration],
) -> Group<'a> {
    let target = Target::new(address, "/");
    let stop = Stop::After(args.delay * case.length);
    let closed = |clients, think| {
        let starts = Starts::Closed(Population { clients, think }, stop);
        (target.client(Connections::Kept(clients), FOREVER), starts)
    };
    let (client, starts) = match party.demand {
        Demand::Rate(_) => {
            (target.client(Connections::NewEach, args.patience()), Starts::Open(starts))
        }
        Demand::Connections(count) => closed(count, Think::None),
        Demand::Thinking => closed(1, Think::Exponential { mean: args.delay, seed }),
    };
    Group { client: Client { source: Some(source), ..client }, starts }
}
