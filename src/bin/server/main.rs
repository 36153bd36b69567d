//! The `server` command: turns arguments into a configuration and starts the server.

mod admin;
mod agent;
mod confine;
mod delay;
mod environment;
#[path = "../cli.rs"]
mod cli;
mod limits;
mod link;
mod listeners;
mod log_writer;
mod logger;
mod memory;
mod notify;
mod overload;
mod proxy;
mod reach;
mod reload;
mod serving;
mod settings;
mod shell;
mod signals;
mod takeover;
#[cfg_attr(not(target_os = "linux"), path = "user_elsewhere.rs")]
mod user;
mod values;
mod site;
mod sites;
mod what;
mod whole_lines;

use agent::AgentArgs;
use clap::{CommandFactory, Parser};
use confine::ConfineArgs;
use cws::{AccessLog, Config, Counter, Schedule, Server, Snapshot, Summary, User, WhenFull};
use delay::DelayArgs;
use limits::LimitArgs;
use listeners::{ListenArgs, Place};
use log::{LevelFilter, info, warn};
use logger::{Logging, Wanted};
use memory::Shares;
use overload::OverloadArgs;
use proxy::ProxyArgs;
use reach::ReachArgs;
use settings::{Refusal, Settings, SettingsArgs};
use shell::{NAME, ShellArgs};
use site::{CacheArgs, SiteArgs};
use sites::{Section, Sites};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use takeover::TakeoverArgs;
use what::WhatArgs;

/// Exit code if requests were cut at the drain timeout.
const CUT: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  server                                serve the current directory on http://127.0.0.1:8080/
  server public 3000                    serve ./public on port 3000
  server --bind :: --qr                 share it with everybody in the network, phones included
  server --workers 4 --delay 50ms       simulate a back-end of 50 ms: at most 80 requests/s
  server --deadline 200ms               clients wait 200 ms: refuse requests that would be late
  server --admin 9090                   live page and metrics on http://127.0.0.1:9090/
  server --takeover cws.sock            start, or replace the server that runs with this path
  server --trusted-proxy 10.0.0.2 --client-address x-forwarded-for
                                        behind a proxy: tell its clients apart
  server --config site.toml --check     say everything that is wrong with a configuration
  CWS_WORKERS=4 RUST_LOG=warn server    set options by environment; log only warnings and errors

SIGTERM or SIGINT stops the server after it has answered all queued and running requests. A second
signal stops it at once. SIGHUP reopens the file of the access log, and reads --config again.
Exit code: 0 all requests were answered, 1 the server could not start, 2 wrong usage, 3 requests
were cut at the drain timeout.";

/// Serves the files of a directory over HTTP/1.x with a fixed number of worker threads.
#[derive(Debug, Parser)]
#[command(name = NAME.as_str(), version, long_version = shell::VERSION.as_str())]
#[command(after_help = shell::EXAMPLES.as_str())]
struct Args {
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    takeover: TakeoverArgs,
    #[command(flatten)]
    confine: ConfineArgs,
    /// Number of worker threads [default: number of processors]
    #[arg(short, long, env = "CWS_WORKERS", value_name = "N", value_parser = values::at_least_one)]
    workers: Option<usize>,
    #[command(flatten)]
    delay: DelayArgs,
    /// Maximum number of requests that wait for a worker; beyond it one gets 503 at once [default:
    /// as many as are served in time with --deadline, else 1024]
    #[arg(long, env = "CWS_QUEUE", value_name = "N", value_parser = values::whole::<usize>)]
    queue: Option<usize>,
    /// Maximum time in the queue; older requests get 503 [default: min(T/2, 0.9 T - S) with
    /// --deadline T, where S is the measured service time, else 10s]
    #[arg(long, env = "CWS_QUEUE_TIMEOUT", value_name = "DURATION", value_parser = values::timeout)]
    queue_timeout: Option<Duration>,
    /// Time that clients wait for a response, if known; requests that would be late are refused:
    /// --queue and --queue-timeout follow from this and from the measured service time
    #[arg(long, env = "CWS_DEADLINE", value_name = "DURATION", value_parser = values::timeout)]
    deadline: Option<Duration>,
    /// Order of the queue: fair (turns for clients by service time; an IPv6 /64 is one client),
    /// fifo (first in, first out), lifo (last in, first out) or sff (smallest file first)
    #[arg(long, env = "CWS_SCHEDULE", value_name = "NAME", default_value = "fair",
          value_parser = values::schedule)]
    schedule: Schedule,
    /// When the queue is full: refuse (the newest request gets 503), drop-head (the oldest),
    /// drop-random (any), or block (stop reading); with the order fair, a request of the client
    /// that has most
    #[arg(long, env = "CWS_WHEN_FULL", value_name = "NAME", default_value = "refuse",
          value_parser = values::when_full)]
    when_full: WhenFull,
    #[command(flatten)]
    overload: OverloadArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    /// Maximum number of open connections [default: half of the descriptor limit]
    #[arg(long, env = "CWS_MAX_CONNECTIONS", value_name = "N", value_parser = values::at_least_one)]
    max_connections: Option<usize>,
    /// Maximum number of open connections from one IPv4 address or IPv6 /64 [default: unlimited]
    #[arg(long, env = "CWS_PER_CLIENT", value_name = "N", value_parser = values::at_least_one)]
    per_client: Option<usize>,
    /// Maximum memory in bytes for everything that clients can make the server hold, for example
    /// 64M or 1GiB: connections, requests, responses, listings, cached files and log lines
    /// [default: a quarter of the machine's memory, at most 256MiB]
    #[arg(long, env = "CWS_MEMORY", value_name = "SIZE", value_parser = site::size)]
    memory: Option<u64>,
    /// Accept connections at once instead of when their first bytes arrive (TCP_DEFER_ACCEPT)
    #[arg(long, env = "CWS_NO_DEFER_ACCEPT", value_parser = values::flag())]
    no_defer_accept: bool,
    /// Maximum time for a client to send a whole request head, from its first byte; then 408
    #[arg(long, env = "CWS_HEADER_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = values::timeout)]
    header_timeout: Duration,
    /// Keep-alive timeout: maximum idle time between requests; then the connection is closed
    #[arg(long, env = "CWS_IDLE_TIMEOUT", value_name = "DURATION", default_value = "15s",
          value_parser = values::timeout)]
    idle_timeout: Duration,
    /// Time window in which a client must read its response at the minimum rate
    #[arg(long, env = "CWS_WRITE_TIMEOUT", value_name = "DURATION", default_value = "30s",
          value_parser = values::timeout)]
    write_timeout: Duration,
    /// Minimum transfer rate of responses and request bodies in bytes per second; 0 requires any
    /// progress
    #[arg(long, env = "CWS_MIN_RATE", value_name = "N", value_parser = values::whole::<u64>)]
    #[arg(default_value_t = Config::default().min_rate)]
    min_rate: u64,
    #[command(flatten)]
    limits: LimitArgs,
    /// Time to keep serving after a stop signal, while /readyz already fails: load balancers can
    /// react
    #[arg(long, env = "CWS_DRAIN_DELAY", value_name = "DURATION", default_value = "0s",
          value_parser = values::duration)]
    drain_delay: Duration,
    /// Maximum time for queued and running requests to finish after a stop signal
    #[arg(long, env = "CWS_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = values::duration)]
    drain_timeout: Duration,
    /// Access log format: off, brief, common, combined or json [default: brief; combined with
    /// --access-log-file]
    #[arg(long, env = "CWS_ACCESS_LOG", value_name = "FORM", value_parser = values::access_log)]
    access_log: Option<AccessLog>,
    /// Append the access log to this file; SIGHUP reopens it [default: standard error]
    #[arg(long, env = "CWS_ACCESS_LOG_FILE", value_name = "FILE")]
    access_log_file: Option<PathBuf>,
    /// Add a Server-Timing field with the queue wait and the handler time to responses
    #[arg(long, env = "CWS_SERVER_TIMING", value_parser = values::flag())]
    server_timing: bool,
    /// Reject HTTP/0.9 requests
    #[arg(long, env = "CWS_NO_HTTP09", value_parser = values::flag())]
    no_http09: bool,
    /// Do not send a Server field
    #[arg(long, env = "CWS_NO_SERVER_HEADER", value_parser = values::flag())]
    no_server_header: bool,
    /// Serve metrics, health checks and the live page on this address, or on unix:PATH; a port
    /// alone means the loopback address
    #[arg(long, env = "CWS_ADMIN", value_name = "ADDR:PORT",
          value_parser = listeners::admin_place)]
    admin: Option<Place>,
    /// Host name accepted by the admin server, in addition to IP addresses, localhost and this
    /// machine's name; repeat for more
    #[arg(long, env = "CWS_ADMIN_HOST", value_name = "NAME", value_delimiter = ',',
          value_parser = admin::host)]
    admin_host: Vec<String>,
    #[command(flatten)]
    agent: AgentArgs,
    /// Log statistics at this interval, for example 10s [default: off]
    #[arg(long, env = "CWS_STATS_INTERVAL", value_name = "DURATION",
          value_parser = values::timeout)]
    stats_interval: Option<Duration>,
    /// Log only warnings and errors; the access log is not affected if it has a format or a file
    #[arg(short, long, env = "CWS_QUIET", value_parser = values::flag())]
    quiet: bool,
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    shell: ShellArgs,
    /// Further sites: the `[[site]]` tables of the file.
    #[arg(skip)]
    sites: Vec<Section>,
}

impl Args {
    /// The directories that are served, and whether links may lead out of them.
    fn roots(&self) -> Vec<(PathBuf, bool)> {
        let main = (self.what.root().to_owned(), self.site.follow_symlinks);
        std::iter::once(main).chain(self.sites.iter().map(|site| site.root_of(self))).collect()
    }
}

fn main() -> ExitCode {
    let settings = match Settings::load() {
        Ok(settings) => settings,
        Err(Refusal::Usage(error)) => {
            let variable = environment::blamed(&error, Args::command());
            return cli::usage(&NAME, &error, variable.as_deref());
        }
        Err(Refusal::Faults(faults)) => return cli::failures(&NAME, &faults),
    };
    if let Some(code) = settings.args.shell.answer().or_else(|| settings.answer()) {
        return code;
    }
    let shares = Shares::new(settings.args.memory, settings.args.cache.bytes());
    let outcome = shares.and_then(|shares| {
        // Before the first thread starts: this changes the environment.
        let activated = listeners::activated()?;
        let log = Arc::new(start_log(&settings.args, shares.log)?);
        let outcome = serving::run(settings, shares, &log, activated);
        log.finish();
        outcome
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_cut) => ExitCode::from(CUT),
        Err(reason) => cli::failure(&NAME, &reason),
    }
}

/// What is wrong with options that are correct by themselves, without starting anything.
fn problem(args: &Args) -> Option<String> {
    let check = || {
        let shares = Shares::new(args.memory, args.cache.bytes())?;
        let config = configure(args, &shares, 0)?;
        Server::check(&config).map_err(|error| error.to_string())?;
        Sites::open(args, &shares, config.workers)
    };
    check().err()
}

/// Logs what is served, and the capacity.
fn tell_start(args: &Args, config: &Config) {
    let workers = config.workers;
    let delay = args.delay.mean();
    let root = args.what.root();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let capacity = args.delay.describe(workers);
    let memory = memory::show(config.memory.most());
    let queue = queue(config);
    let deadline = args.deadline.filter(|_| args.queue_timeout.is_none());
    let plural = if workers == 1 { "" } else { "s" };
    info!(
        "serving {}: {workers} worker{plural}{capacity}; queue {queue}; memory \
         {memory}",
        root.display()
    );
    if args.site.follow_symlinks {
        warn!(
            "symbolic links can lead OUT of {}: anyone who can create a link there can publish \
             any file that this process can read",
            root.display()
        );
    }
    for name in environment::unknown(&Args::command()) {
        warn!(
            "no option has the environment variable {name} ({} --help names those that have)",
            *NAME
        );
    }
    args.proxy.warn();
    if User::costs_differ(&args.site.auth) {
        warn!("the bcrypt costs of the users differ: response times reveal which user names exist");
    }
    if args.deadline.is_some_and(|deadline| deadline <= 2 * delay) {
        warn!(
            "the deadline is at most twice the delay of {}: most clients give up before they are \
             served",
            show(delay)
        );
    }
    if let Some(deadline) = deadline {
        let (deadline, half) = (show(deadline), show(deadline / 2));
        info!(
            "deadline {deadline}: a request waits for at most {half}, and for less if the services \
             that are measured leave less"
        );
    }
}

/// How many requests wait, and in which order.
fn queue(config: &Config) -> String {
    let bound = match (config.queue, config.patience) {
        (Some(bound), _) => bound.to_string(),
        (None, Some(_)) => "by the deadline".to_owned(),
        (None, None) => Config::QUEUE.to_string(),
    };
    match config.schedule {
        Schedule::Fair => bound,
        schedule => format!("{bound}, {}", values::name(schedule)),
    }
}

/// Logs the totals.
fn tell_end(summary: &Summary) {
    let Summary { snapshot, cut, uptime, .. } = summary;
    let uptime = show(Duration::from_secs(uptime.as_secs()));
    let immediate = match snapshot.get(Counter::Immediate) {
        0 => String::new(),
        count => format!("{count} immediate, "),
    };
    let handled = snapshot.get(Counter::Handled);
    info!(
        "stopped after {uptime}: {handled} handled, {immediate}{}, {cut} cut",
        refusals(snapshot)
    );
}

/// The number of refused requests, with the reasons that occurred.
fn refusals(snapshot: &Snapshot) -> String {
    let reasons = Counter::REASONS.iter().map(|&reason| (snapshot.get(reason), reason.label()));
    let occurred = reasons.filter(|(count, _)| *count > 0);
    let texts: Vec<String> =
        occurred.map(|(count, label)| format!("{count} {}", label.replace('_', " "))).collect();
    let reasons = if texts.is_empty() { String::new() } else { format!(" ({})", texts.join(", ")) };
    format!("{} refused{reasons}", snapshot.get(Counter::Refused))
}

/// The configuration of a server beside which `others` descriptors are in use.
fn configure(args: &Args, shares: &Shares, others: usize) -> Result<Config, String> {
    let limit = cws::raise_descriptor_limit().saturating_sub(others);
    let held = site::cache(shares.cache, limit).map_or(0, |limits| limits.descriptors);
    let default = Config::default();
    let workers = args.workers.unwrap_or(default.workers);
    let config = args.limits.configure(args.overload.configure(default));
    Ok(args
        .proxy
        .configure(config)
        .workers(workers)
        .queue(args.queue)
        .queue_timeout(args.queue_timeout)
        .patience(args.deadline)
        .schedule(args.schedule)
        .when_full(args.when_full)
        .per_client(args.per_client)
        .defer_accept(!args.no_defer_accept)
        .min_rate(args.min_rate)
        .access_log(access_log(args))
        // Lines go to a thread of the logger's own, and those that find no room are counted.
        .logger_may_block(false)
        .server_timing(args.server_timing)
        .http09(!args.no_http09)
        .server_field(!args.no_server_header)
        .drain_delay(args.drain_delay)
        .max_connections(
            args.max_connections.unwrap_or_else(|| Config::connections_within(limit - held)),
        )
        .header_timeout(args.header_timeout)
        .idle_timeout(args.idle_timeout)
        .write_timeout(args.write_timeout)
        .drain_timeout(args.drain_timeout)
        .memory(shares.memory.clone()))
}

fn root_error(root: &Path, error: &io::Error) -> String {
    let (what, todo) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("no such directory".to_owned(), "create it, or choose another directory")
        }
        io::ErrorKind::NotADirectory => {
            ("not a directory".to_owned(), "give the directory that holds the files")
        }
        io::ErrorKind::PermissionDenied if confine::is_confined() => {
            ("permission denied".to_owned(), confine::TODO)
        }
        io::ErrorKind::PermissionDenied => {
            ("permission denied".to_owned(), "make it readable, or choose another directory")
        }
        _ => (error.to_string(), "choose another directory with --root"),
    };
    format!("cannot serve {}: {what} ({todo})", root.display())
}

/// `RUST_LOG` overrides `--quiet`, which overrides the default level.
fn wanted_log(args: &Args) -> Wanted<'_> {
    Wanted {
        level: if args.quiet { LevelFilter::Warn } else { LevelFilter::Info },
        is_bare: args.access_log.is_some_and(|form| form != AccessLog::Brief),
        file: args.access_log_file.as_deref(),
    }
}

fn start_log(args: &Args, bytes: usize) -> Result<Logging, String> {
    let start = || Logging::start(wanted_log(args), bytes);
    args.confine.as_user(start)?.map_err(|error| log_error(args, &error))
}

fn log_error(args: &Args, error: &io::Error) -> String {
    let Some(file) = &args.access_log_file else {
        return format!("cannot start the logger: {error} (try again)");
    };
    let todo = match error.kind() {
        io::ErrorKind::BrokenPipe => "start its reader first, or choose another file",
        io::ErrorKind::PermissionDenied if confine::is_confined() => confine::TODO,
        _ => "choose another file",
    };
    format!("cannot log to {}: {error} ({todo})", file.display())
}

/// Default: a file is read by programs, a terminal by people.
fn access_log(args: &Args) -> AccessLog {
    let default =
        if args.access_log_file.is_some() { AccessLog::Combined } else { AccessLog::Brief };
    args.access_log.unwrap_or(default)
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
