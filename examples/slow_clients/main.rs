//! Slow clients against two pools: which ordinary clients are still served, second by second.
//!
//! ```text
//! cargo run --release --example slow_clients
//! ```
//!
//! Ordinary clients send requests at a moderate rate. Slow clients send nothing, send their request
//! slowly, do not read their response, or keep an idle connection. The textbook pool, in which a
//! worker stays with a connection until the connection ends, then serves nobody. In this project's
//! pool, a slow client only occupies a slot in a table.

mod hostile;
mod show;

// The textbook pool is one of the six servers of `models`.
#[path = "../models/conversation.rs"]
mod conversation;
#[path = "../models/duty.rs"]
#[allow(dead_code, reason = "this program serves no folder")]
mod duty;
#[path = "../models/pool_per_connection.rs"]
mod pool_per_connection;

#[path = "../shared/options.rs"]
mod values;

use bytes::Bytes;
use clap::Parser;
use cws::{AccessLog, Config, Delay, Request, Response, Server};
use duty::Duty;
use hostile::{Attack, Kind};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Connections, Run, Target};
use lab::program::{self, EXIT_CODES, Options, Program};
use lab::progress::Progress;
use lab::trace::Trace;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The load of the ordinary clients, as a share of the capacity of W workers at D.
const LOAD: f64 = 0.4;

/// Size of the response for clients that do not read: larger than the buffers of a socket.
const LARGE: usize = 16 << 20;

/// Its path on the pools of this program.
const LARGE_PATH: &str = "/large";

const ABOUT: &str = "\
Shows which clients are still served while slow clients are connected, second by second.

In a textbook pool, each of the W threads stays with a connection until the connection ends. Then W
clients block it if they send nothing, send a byte now and then, do not read their response, or keep
an idle connection. All other clients wait while the processor is idle. These clients do not have to
be malicious: browsers keep connections open, and mobile networks are slow.

In this project's pool, a worker gets a connection only with a whole request. It gives the
connection back when the response is written, or when the client reads too slowly. A slow client
occupies a slot in a table.

With --url, a server on this machine replaces the textbook pool. The clients that do not read
request --large from it. Choose a resource of some megabytes: the buffers of a socket hold smaller
ones even if the client reads nothing.";

const EXAMPLES: &str = "\
Examples:
  slow_clients                           4 workers with delay 20ms, 20 slow clients of each kind
  slow_clients --slow 200 --workers 8
  slow_clients --url http://127.0.0.1:8080/testfile --large /10m.bin
  slow_clients --html page.html          with the chart";

/// Shows which clients are still served while slow clients are connected
#[derive(Debug, Parser)]
#[command(name = "slow_clients", version, long_about = ABOUT)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Args {
    /// Number of worker threads in each pool, W
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one, default_value_t = 4)]
    workers: usize,

    /// Delay of each request, D
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "20ms")]
    delay: Duration,

    /// Number of slow clients of each kind; at least the number of workers, to block all of them
    #[arg(long, value_name = "N", value_parser = values::at_least_one, default_value_t = 20)]
    slow: usize,

    /// Compare with this server on this machine instead of the textbook pool; W and D then only set
    /// the load
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Path on that server that the clients request that do not read
    #[arg(long, value_name = "PATH", requires = "url", value_parser = path)]
    large: Option<String>,

    #[command(flatten)]
    common: Options,
}

fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_path.then(|| text.to_owned()).ok_or_else(|| "write it as /NAME".to_owned())
}

/// The server that this pool is compared with.
enum Other {
    Textbook,
    /// A server that runs already, and the path for clients that do not read.
    Running {
        target: Target,
        large: String,
    },
}

impl Other {
    fn find(args: &Args) -> Result<Self, Box<dyn Error>> {
        let Some(url) = &args.url else { return Ok(Self::Textbook) };
        let target = Target::find(url)?;
        let ip = target.address.ip();
        if !ip.is_loopback() {
            let reason = format!(
                "cannot send slow clients to {ip}: they are only for servers on this machine \
                 (use its loopback address)"
            );
            return Err(reason.into());
        }
        let large = args.large.clone().unwrap_or_else(|| target.path.clone());
        Ok(Self::Running { target, large })
    }

    fn name(&self) -> &str {
        match self {
            Self::Textbook => "textbook pool",
            Self::Running { target, .. } => &target.host,
        }
    }
}

/// The times of a run. Each kind of slow client is connected for an interval, with a pause before
/// each interval and after the last one.
struct Schedule {
    attack: Duration,
    pause: Duration,
    /// How long an ordinary client waits.
    patience: Duration,
    /// The time resolution of the results.
    window: Duration,
}

impl Schedule {
    fn new(quick: bool) -> Self {
        let millis = Duration::from_millis;
        match quick {
            true => Self {
                attack: millis(450),
                pause: millis(250),
                patience: millis(200),
                window: millis(150),
            },
            false => Self {
                attack: millis(2000),
                pause: millis(2000),
                patience: millis(500),
                window: millis(500),
            },
        }
    }

    /// When the slow clients of a kind connect.
    fn begin(&self, number: usize) -> Duration {
        (self.attack + self.pause) * number as u32 + self.pause
    }

    fn length(&self) -> Duration {
        self.begin(Kind::ALL.len())
    }
}

fn main() -> ExitCode {
    program::run(compare)
}

fn compare(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.slow < args.workers {
        let Args { slow, workers, .. } = args;
        let reason = format!("{slow} slow clients cannot take {workers} workers (raise --slow)");
        return Err(reason.into());
    }
    let other = Other::find(&args)?;
    let lead = "Ordinary clients send requests to two servers, while slow clients of four kinds \
                come and go. A pool must not give its workers to clients without a request.";
    let schedule = Schedule::new(args.common.quick);
    // One of the two runs may be repeated.
    let program = Program::new(&args.common, "Slow clients", lead);
    let mut program = program.with_spare(schedule.length() + schedule.patience);
    let rate = LOAD * args.workers as f64 / args.delay.as_secs_f64();
    program.text(&format!(
        "W = {} workers with D = {:?}; ordinary clients send {rate:.0} requests per second, \
         {LOAD} of the capacity, and wait for {:?}; {} slow clients of each kind.",
        args.workers, args.delay, schedule.patience, args.slow
    ));
    let _progress = Progress::start("slow clients", 2 * schedule.length());
    let (ours, ours_spoilt) = program.until_sound(|| {
        let server = our_pool(&args)?;
        run(&args, &schedule, rate, &Target::new(server.addresses()[0], "/"), LARGE_PATH)
    })?;
    let (others, others_spoilt) = program.until_sound(|| match &other {
        Other::Textbook => {
            let address = textbook_pool(&args)?;
            run(&args, &schedule, rate, &Target::new(address, "/"), LARGE_PATH)
        }
        Other::Running { target, large } => run(&args, &schedule, rate, target, large),
    })?;
    for (which, spoilt) in [("this pool", ours_spoilt), (other.name(), others_spoilt)] {
        if let Some(reason) = spoilt {
            program.spoilt(format!("{which}: {reason}"));
        }
    }
    if let Some(path) = &args.common.csv {
        let mut trace = Trace::create(path)?;
        trace.add("this pool", &ours.outcomes)?;
        trace.add(other.name(), &others.outcomes)?;
        trace.finish()?;
    }
    show::show(&mut program, &schedule, &ours, &other, &others)?;
    program.finish()
}

/// Responds after the delay, with a large body for `/large`.
fn our_pool(args: &Args) -> Result<Server, Box<dyn Error>> {
    let config = Config::default().workers(args.workers).access_log(AccessLog::Off);
    let content = content();
    let respond = move |request: &Request<'_>| {
        let path = str::from_utf8(request.target.path.as_bytes()).unwrap_or_default();
        Response::ok("text/plain", content(path))
    };
    Ok(Server::start(config, Delay::new(args.delay, respond))?)
}

/// Starts the other pool with the same content. Its threads end with this process.
fn textbook_pool(args: &Args) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let content = content();
    let duty = Arc::new(Duty::new(args.delay, move |path| Some(content(path))));
    let workers = args.workers;
    let serve = move || pool_per_connection::serve(&listener, workers, &duty);
    std::thread::Builder::new().name("textbook".to_owned()).spawn(serve)?;
    Ok(address)
}

/// What both pools respond for a path.
fn content() -> impl Fn(&str) -> Bytes + Send + Sync + 'static {
    let large = Bytes::from(vec![b'x'; LARGE]);
    move |path| if path == "large" { large.clone() } else { Bytes::from_static(b"done\n") }
}

/// Runs the ordinary clients and the slow ones.
fn run(
    args: &Args,
    schedule: &Schedule,
    rate: f64,
    target: &Target,
    large: &str,
) -> Result<(Run, Vec<String>), Box<dyn Error>> {
    let starts = Arrivals::poisson(rate, args.common.seed).starts(Stop::After(schedule.length()));
    let client = target.client(Connections::NewEach, schedule.patience);
    let attacks = Kind::ALL.into_iter().enumerate().map(|(number, kind)| Attack {
        kind,
        clients: args.slow,
        begin: schedule.begin(number),
        length: schedule.attack,
    });
    let large = Target { path: large.to_owned(), ..target.clone() };
    let attackers = hostile::start([target.clone(), large], attacks.collect())?;
    let run = client.open_loop(&starts)?;
    attackers.join().map_err(|_| "the slow clients panicked")??;
    // The result is who is served within the patience, so the patience also limits the lateness.
    let reasons = run.conduct.spoilt(schedule.patience);
    Ok((run, reasons.iter().map(ToString::to_string).collect()))
}
