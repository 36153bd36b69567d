//! Compares the pool with one thread per connection: idle connections, and overload.

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

/// The number of concurrent requests of the back-end, and of workers in the pool.
const PLACES: usize = 4;

/// The overload, as a multiple of the capacity.
const OVERLOAD: f64 = 1.5;

/// How long clients wait, in units of the delay.
const PATIENCE: u32 = 20;

/// The minimum goodput of the pool, as a share of the capacity; and the maximum of threads without
/// a limit.
const GOOD_LEAST: f64 = 0.9;
const LATE_MOST: f64 = 0.35;

/// The time resolution of the chart.
const WINDOW: Duration = Duration::from_millis(250);

/// The results of one server.
struct Met {
    name: &'static str,
    /// The cost of the idle connections.
    idle: Usage,
    /// The peak during the overload.
    overload: Usage,
    run: Run,
}

/// Either server. Dropping it stops it.
enum Served {
    Pool(Box<Server>),
    Threads(ThreadServer),
}

impl Served {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Pool(server) => server.addresses()[0],
            Self::Threads(server) => server.address,
        }
    }

    /// Whether it has accepted this many connections and is otherwise idle.
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
        "The back-end serves {PLACES} requests at once, {capacity:.0} per second. First {idle} \
         idle connections are opened. Then a load of {OVERLOAD} times the capacity follows for \
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
        "Threads without a limit accept every request, and each one waits for all earlier ones, so \
         that soon all answers are too late. The pool refuses requests that would be late, and \
         answers the others in time.",
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
    Ok(Served::Pool(Box::new(Server::start(config, respond)?)))
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
        // A thread continues to wait for its turn after its client has gone.
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

/// Opens idle connections, and waits until the server has accepted them.
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
            let late = "the server did not accept or close its connections in time";
            return Err(io::Error::other(late));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Good answers to requests with an intended start in a window, as a share of the capacity.
fn good(args: &Args, run: &Run, from: Duration, to: Duration) -> f64 {
    let patience = args.delay * PATIENCE;
    let within = run.outcomes.iter().filter(|outcome| (from..to).contains(&outcome.intended));
    let good = within.filter(|outcome| outcome.is_good(patience)).count();
    good as f64 / (to - from).as_secs_f64() * args.delay.as_secs_f64() / PLACES as f64
}

/// The same for the second half of the load, when the queue has grown.
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

/// The threads of the measurement itself: the load generator and the sampler.
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
            "{idle} idle connections cost the pool {} threads, and the other server {}",
            pool.idle.threads, threads.idle.threads
        ),
        // If the system does not report the values, there is nothing to compare.
        Usage::now().is_none() || pool.idle.threads == 0 && threads.idle.threads >= idle as u64,
    );
    let (few, many) = (pool.overload.threads, threads.overload.threads);
    program.check(
        format!(
            "beyond the capacity the pool needs {few} more threads (including the measurement), \
             the other server {many}"
        ),
        Usage::now().is_none() || few <= OUR_THREADS && many >= 50,
    );
    let (kept, lost) = (late(args, pool, length), late(args, threads, length));
    program.check(
        format!("the pool's goodput is {kept:.2} of the capacity"),
        kept >= if args.common.quick { 0.7 } else { GOOD_LEAST },
    );
    program.check(format!("that of threads without a limit is {lost:.2}"), lost <= LATE_MOST);
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
