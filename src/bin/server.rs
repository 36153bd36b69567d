//! The `server` command: arguments to configuration, then start.

use clap::Parser;
use cws::Counter::QueueFull;
use cws::{Config, Delay, Server, StaticFiles, config};
use log::{LevelFilter, info};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  server                                the current directory on http://127.0.0.1:8080/
  server 3000 --root public             another port and directory
  server --bind :: --workers 8          all addresses of this machine, 8 workers
  server --workers 4 --delay 50ms       a back-end of 50 ms: at most 80 requests/s
  server --queue 16 --workers 2 0       a short queue, on a free port
  CWS_WORKERS=4 RUST_LOG=warn server    the same by the environment; warnings alone";

/// Serves the files of a directory over HTTP/1.x, on a fixed-size pool of worker threads.
#[derive(Debug, Parser)]
#[command(name = "server", version, after_help = EXAMPLES)]
struct Args {
    /// Port to listen on; 0 takes a free one
    #[arg(env = "CWS_PORT", default_value_t = config::PORT)]
    port: u16,
    /// Address or host name to listen on; a name's addresses are all listened on
    #[arg(short, long, env = "CWS_BIND", value_name = "ADDR", default_value = "127.0.0.1")]
    bind: String,
    /// Directory to serve
    #[arg(short = 'd', long, env = "CWS_ROOT", value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Worker threads [default: the number of processors]
    #[arg(short, long, env = "CWS_WORKERS", value_name = "N", value_parser = at_least_one)]
    workers: Option<usize>,
    /// Time that a worker sleeps for each file served, like 50ms or 1.5s: the back-end's delay
    #[arg(long, env = "CWS_DELAY", value_name = "DURATION", value_parser = duration)]
    delay: Option<Duration>,
    /// Requests that may wait for a worker; more are answered by 503
    #[arg(long, env = "CWS_QUEUE", value_name = "N", default_value_t = config::QUEUE)]
    queue: usize,
    /// Connections that may be open [default: what the descriptor limit allows]
    #[arg(long, env = "CWS_MAX_CONNECTIONS", value_name = "N", value_parser = at_least_one)]
    max_connections: Option<usize>,
    /// Wait for a whole request head, from its first byte
    #[arg(long, env = "CWS_HEADER_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = timeout)]
    header_timeout: Duration,
    /// Wait for the next request on a connection
    #[arg(long, env = "CWS_IDLE_TIMEOUT", value_name = "DURATION", default_value = "15s",
          value_parser = timeout)]
    idle_timeout: Duration,
    /// Wait for a client that takes nothing of its response
    #[arg(long, env = "CWS_WRITE_TIMEOUT", value_name = "DURATION", default_value = "30s",
          value_parser = timeout)]
    write_timeout: Duration,
    /// Wait for running requests when told to stop
    #[arg(long, env = "CWS_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = duration)]
    drain_timeout: Duration,
    /// Serve names that begin with a dot, too
    #[arg(long, env = "CWS_HIDDEN")]
    hidden: bool,
    /// Log warnings and errors alone
    #[arg(short, long, env = "CWS_QUIET")]
    quiet: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 50ms, 1.5s or 2m"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a wait of zero would end every connection".to_owned()),
        wait => Ok(wait),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("a whole number is needed".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return cws::cli::usage("server", &error),
    };
    start_log(args.quiet);
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => cws::cli::failure("server", &reason),
    }
}

fn run(args: &Args) -> Result<(), String> {
    let files = StaticFiles::new(&args.root).map_err(|error| root_error(&args.root, &error))?;
    let delay = args.delay.unwrap_or_default();
    let config = configure(args)?;
    let (workers, queue, drain) = (config.workers, config.queue, config.drain_timeout);
    let handler = Delay::new(delay, files.with_hidden(args.hidden));
    let server = Server::start(config, handler).map_err(|error| error.to_string())?;
    let stopper = server.stopper();
    cws::cli::on_signals(move || {
        info!("stopping: finishing what is queued and running, for {} at most", show(drain));
        stopper.stop();
    })
    .map_err(|error| format!("cannot watch for signals: {error}"))?;

    let mut stdout = io::stdout();
    for address in server.addresses() {
        // Whoever closed standard output does not want to know.
        let _ = writeln!(stdout, "listening on http://{address}/").and_then(|()| stdout.flush());
    }
    let root = args.root.canonicalize().unwrap_or_else(|_| args.root.clone());
    let capacity = match delay.as_secs_f64() {
        0.0 => String::new(),
        seconds => {
            let most = workers as f64 / seconds;
            format!(", delay {}: at most {} requests/s", show(delay), round(most))
        }
    };
    let plural = if workers == 1 { "" } else { "s" };
    info!("serving {}: {workers} worker{plural}{capacity}; queue {queue}", root.display());

    let summary = server.join();
    let (served, refused) = (summary.snapshot.responses_in_all(), summary.snapshot.get(QueueFull));
    let (cut, uptime) = (summary.cut, show(Duration::from_secs(summary.uptime.as_secs())));
    info!("stopped after {uptime}: {served} responses, {refused} of them refusals, {cut} cut");
    Ok(())
}

fn configure(args: &Args) -> Result<Config, String> {
    let limit = cws::raise_descriptor_limit();
    let default = Config::default();
    Ok(Config {
        listen: resolve(&args.bind, args.port)?,
        workers: args.workers.unwrap_or(default.workers),
        queue: args.queue,
        max_connections: args
            .max_connections
            .unwrap_or_else(|| limit.saturating_sub(config::DESCRIPTOR_RESERVE).max(1)),
        header_timeout: args.header_timeout,
        idle_timeout: args.idle_timeout,
        write_timeout: args.write_timeout,
        drain_timeout: args.drain_timeout,
        ..default
    })
}

/// The addresses of a name or of an address, which may stand in brackets.
fn resolve(bind: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let host = bind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bind);
    let mut addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot resolve {bind}: {error} (give an address or a name)"))?
        .collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

fn root_error(root: &Path, error: &io::Error) -> String {
    let (what, todo) = match error.kind() {
        io::ErrorKind::NotFound => ("no such directory".to_owned(), "create it or name another"),
        io::ErrorKind::NotADirectory => {
            ("not a directory".to_owned(), "name the directory that holds the files")
        }
        io::ErrorKind::PermissionDenied => {
            ("permission denied".to_owned(), "make it readable or name another")
        }
        _ => (error.to_string(), "name another with --root"),
    };
    format!("cannot serve {}: {what} ({todo})", root.display())
}

/// `RUST_LOG` wins over `--quiet`, which wins over the default.
fn start_log(quiet: bool) {
    let level = if quiet { LevelFilter::Warn } else { LevelFilter::Info };
    env_logger::Builder::new().filter_level(level).parse_default_env().init();
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A rate to three digits, whole where it is large.
fn round(rate: f64) -> String {
    if rate >= 100.0 || rate.fract() == 0.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}
