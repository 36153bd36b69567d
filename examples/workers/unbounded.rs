//! A thread for each connection beside the pool: idle connections, and a load past the capacity.

use crate::Args;
use crate::memory::Usage;
use crate::threads::{BackEnd, ThreadServer};
use cws::{AccessLog, Config, Request, Response, Server};
use lab::arrivals::{Arrivals, Stop};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::load::{Connections, Run, Target};
use lab::program::Program;
use lab::progress::Progress;
use lab::table::Table;
use lab::trace::Trace;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the back-end serves at once; the pool has as many workers.
const PLACES: usize = 4;

/// The load past the capacity, as a multiple of it.
const OVERLOAD: f64 = 1.5;

/// How long clients wait, in delays.
const PATIENCE: u32 = 20;

/// The share of the requests that the pool must answer in time of those that it can, and the share
/// that threads without a bound may.
const GOOD_LEAST: f64 = 0.9;
const LATE_MOST: f64 = 0.35;

/// The grain of the chart.
const WINDOW: Duration = Duration::from_millis(250);

/// What one of the servers did.
struct Met {
    name: &'static str,
    /// What the idle connections cost.
    idle: Usage,
    /// The most that the load past the capacity took.
    overload: Usage,
    run: Run,
}

/// Either server; it ends when it is dropped.
enum Served {
    Pool(Server),
    Threads(ThreadServer),
}

impl Served {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Pool(server) => server.addresses()[0],
            Self::Threads(server) => server.address,
        }
    }

    /// True once it has taken so many connections and does nothing else any more.
    fn holds(&self, connections: usize) -> bool {
        match self {
            Self::Pool(server) => server.open_connections() == connections,
            Self::Threads(server) => server.threads() == connections,
        }
    }
}

pub fn show(
    args: &Args,
    program: &mut Program,
    trace: Option<&mut Trace>,
) -> Result<(), Box<dyn Error>> {
    let length = Duration::from_millis(if args.common.quick { 1500 } else { 5000 });
    let idle = if args.common.quick { args.idle.min(200) } else { args.idle };
    let patience = args.delay * PATIENCE;
    let capacity = PLACES as f64 / args.delay.as_secs_f64();
    program.heading("A thread for each connection");
    program.text(&format!(
        "The back-end serves {PLACES} at once, {capacity:.0} requests a second. First {idle} \
         connections are opened that do nothing; then {OVERLOAD} times the capacity comes for \
         {length:?}, from clients that wait for {patience:?}."
    ));
    let _progress = Progress::start("threads", 2 * length);
    let threads = meet(args, program, "a thread each", idle, length)?;
    let pool = meet(args, program, "the pool", idle, length)?;
    let both = [&pool, &threads];
    if let Some(trace) = trace {
        for met in both {
            trace.add(&format!("overload, {}", met.name), &met.run.outcomes)?;
        }
    }
    program.table(&table(args, &both, idle, length));
    check(args, program, &pool, &threads, idle, length);
    program.chart(
        &chart(args, &both, length),
        "Threads without a bound take every request, and each gets slower with all that came \
         before it; soon all are too late. The pool refuses what would be, and answers the others \
         in time.",
    )
}

fn start(args: &Args, which: &str) -> Result<Served, Box<dyn Error>> {
    let back_end = Arc::new(BackEnd::new(PLACES, args.delay));
    if which == "a thread each" {
        return Ok(Served::Threads(ThreadServer::start(back_end)?));
    }
    let (queue, queue_timeout) = Config::for_patience(PLACES, args.delay, args.delay * PATIENCE);
    let config = Config::default()
        .workers(PLACES)
        .queue(queue)
        .queue_timeout(queue_timeout)
        .max_connections(cws::descriptor_limit() / 4)
        .access_log(AccessLog::Off)
        .drain_timeout(Duration::ZERO);
    let respond = move |_: &Request<'_>| {
        back_end.ask();
        Response::ok("text/plain", "done\n")
    };
    Ok(Served::Pool(Server::start(config, respond)?))
}

fn meet(
    args: &Args,
    program: &mut Program,
    name: &'static str,
    idle: usize,
    length: Duration,
) -> Result<Met, Box<dyn Error>> {
    let capacity = PLACES as f64 / args.delay.as_secs_f64();
    let starts = Arrivals::poisson(OVERLOAD * capacity, args.common.seed);
    let starts = starts.starts(Stop::After(length));
    let (met, spoilt) = program.until_sound(|| {
        let server = start(args, name)?;
        let before = Usage::now().unwrap_or_default();
        let connections = open_idle(&server, idle)?;
        let after = Usage::now().unwrap_or_default();
        drop(connections);
        wait_for(|| server.holds(0))?;
        let target = Target::new(server.address(), "/");
        let client = target.client(Connections::NewEach, args.delay * PATIENCE);
        let before_load = Usage::now().unwrap_or_default();
        let (run, most) = Usage::most_during(|| client.open_loop(&starts));
        let run = run?;
        // A thread that waits for its turn does so though its client has gone.
        let reasons = run.conduct.spoilt(args.delay * PATIENCE);
        let met = Met {
            name,
            idle: after.since(before),
            overload: most.unwrap_or_default().since(before_load),
            run,
        };
        Ok::<_, Box<dyn Error>>((met, reasons.iter().map(ToString::to_string).collect()))
    })?;
    if let Some(reason) = spoilt {
        program.spoilt(format!("{name}: {reason}"));
    }
    Ok(met)
}

/// Opens connections that do nothing, and waits until the server has taken them.
fn open_idle(server: &Served, count: usize) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(TcpStream::connect(server.address())?);
    }
    wait_for(|| server.holds(count))?;
    Ok(connections)
}

fn wait_for(mut holds: impl FnMut() -> bool) -> io::Result<()> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > Duration::from_secs(20) {
            return Err(io::Error::other("the server does not take or drop its connections"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Good answers to those meant to start in a window, as a share of what the back-end can do in it.
fn good(args: &Args, run: &Run, from: Duration, to: Duration) -> f64 {
    let patience = args.delay * PATIENCE;
    let within = run.outcomes.iter().filter(|outcome| (from..to).contains(&outcome.intended));
    let good = within.filter(|outcome| outcome.is_good(patience)).count();
    good as f64 / (to - from).as_secs_f64() * args.delay.as_secs_f64() / PLACES as f64
}

/// The second half of the load, when the queue has come to be.
fn late(args: &Args, met: &Met, length: Duration) -> f64 {
    good(args, &met.run, length / 2, length)
}

fn table(args: &Args, both: &[&Met; 2], idle: usize, length: Duration) -> Table {
    let mut table =
        Table::new(["", "idle: threads", "memory each", "overload: threads", "memory", "goodput"]);
    for met in both {
        let each = met.idle.resident as f64 / idle as f64;
        table.row([
            met.name.to_owned(),
            format!("+{}", met.idle.threads),
            format!("{each:.1} KiB"),
            format!("+{}", met.overload.threads.saturating_sub(OUR_THREADS)),
            format!("{:.1} MiB", met.overload.resident as f64 / 1024.0),
            format!("{:.2}", late(args, met, length)),
        ]);
    }
    table
}

/// Threads of the measurement itself: the generator's, and the one that watches.
const OUR_THREADS: u64 = 2;

fn check(
    args: &Args,
    program: &mut Program,
    pool: &Met,
    threads: &Met,
    idle: usize,
    length: Duration,
) {
    program.check(
        format!(
            "{idle} idle connections cost the pool {} threads, and {} where each has its own",
            pool.idle.threads, threads.idle.threads
        ),
        // Where the system does not tell, there is nothing to compare.
        Usage::now().is_none() || pool.idle.threads == 0 && threads.idle.threads >= idle as u64,
    );
    let (few, many) = (pool.overload.threads, threads.overload.threads);
    program.check(
        format!(
            "past the capacity the pool has {few} threads more, ours included, the other {many}"
        ),
        Usage::now().is_none() || few <= OUR_THREADS && many >= 50,
    );
    let (kept, lost) = (late(args, pool, length), late(args, threads, length));
    program.check(
        format!("the pool's goodput is {kept:.2} of the capacity"),
        kept >= if args.common.quick { 0.7 } else { GOOD_LEAST },
    );
    program.check(format!("that of threads without a bound is {lost:.2}"), lost <= LATE_MOST);
}

fn chart(args: &Args, both: &[&Met; 2], length: Duration) -> Chart {
    let windows = length.div_duration_f64(WINDOW).floor() as u32;
    let line = |met: &Met| {
        let point = |number: u32| {
            let from = WINDOW * number;
            let share = good(args, &met.run, from, from + WINDOW);
            ((from + WINDOW / 2).as_secs_f64(), share)
        };
        Shape::Joined((0..windows).map(point).collect())
    };
    let offered = Shape::Dashed(vec![(0.0, OVERLOAD), (length.as_secs_f64(), OVERLOAD)]);
    Chart::new(
        "Answers in time, past the capacity",
        "The pool keeps its goodput at the capacity; that of threads without a bound falls to none",
        Axis::linear("second"),
        Axis::linear("of the capacity"),
    )
    .with("offered", Colour::Grey, offered)
    .with("a thread each", Colour::Orange, line(both[1]))
    .with("the pool", Colour::Blue, line(both[0]))
}
