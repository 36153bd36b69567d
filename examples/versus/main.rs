//! This server beside the others that are installed: the same work, in the same run, in turns.
//!
//! ```text
//! cargo run --release --example versus
//! cargo run --release --example versus -- --help
//! ```
//!
//! Each server gets a configuration that is fair to it (two workers or threads, no access log,
//! keep-alive without limit, a backlog of 4096, sendfile) in a temporary folder, and a free port on
//! the loopback interface; it must give the right bytes before it is driven. Then `wrk` drives all
//! of them in turns, several rounds, and medians are compared. A *ceiling* is measured with them: a
//! responder of this server's shape that parses nothing and sends constant bytes. Nothing here
//! judges a time: it reports ratios.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod ceiling;
mod configurations;
mod driver;
mod idle;
mod machine;
mod paced;
mod peers;
mod process;
mod report;
mod run;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code where `wrk` is missing.
const NO_DRIVER: u8 = 3;

const MORE: &str = "\
Cases: keep-alive, close, 100k, 10m, 404, index, files, log, idle, one-worker, half-load.
Peers: nginx, nginx-cache, lighttpd, apache2, h2o, caddy, busybox, python, darkhttpd, miniserve,
static-web-server; those that are installed are measured.

Examples:
  versus                                  everything: about 3 minutes a peer
  versus --cases keep-alive,close         two cases
  versus --peers nginx,lighttpd --rounds 9
  versus --html report.html --csv report.csv
  versus --quick                          does it work at all? one short round

What the columns say: requests/s and CPU per request (user and system time of the server's processes
from /proc, in microseconds) are medians over the rounds, with the range; `x` is this server's
requests/s over the peer's (above 1: this server is ahead), and `x CPU` is this server's CPU per
request over the peer's (below 1: ahead). p50 and p99 are wrk's, of a closed loop, except under
half-load, where requests start at fixed times. RSS is the peak, added up over the processes, which
counts pages that they share once for each.

Exit code: 0 done, 1 a server failed or gave wrong bytes, 2 wrong usage, 3 wrk is missing,
130 ended by Ctrl-C.";

/// Measures this server and the others that are installed, side by side.
#[derive(Debug, Parser)]
#[command(name = "versus", after_help = MORE)]
pub struct Args {
    /// Rounds; in each, every server has its turn
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Seconds of each turn
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Cases to run [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cases: Vec<String>,
    /// Peers to measure [default: all that are installed]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    peers: Vec<String>,
    /// One round of a second, of the first case, to see that all is in place
    #[arg(long)]
    quick: bool,
    /// The `server` to measure [default: this one, built for it]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// File for a report to look at
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// File for every turn's figures
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Be the ceiling: answer with so many bytes (this program starts itself so)
    #[arg(long, hide = true, value_name = "BYTES")]
    be_ceiling: Option<usize>,
    /// Threads of the ceiling
    #[arg(long, hide = true, default_value_t = 2)]
    workers: usize,
    /// The ceiling ends each connection
    #[arg(long, hide = true)]
    closes: bool,
    /// Port of the ceiling
    #[arg(long, hide = true, default_value_t = 0)]
    port: u16,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return lab::cli::usage("versus", &error),
    };
    if let Some(bytes) = args.be_ceiling {
        return match ceiling::serve(bytes, args.workers, args.port, args.closes) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => lab::cli::failure("versus", &format!("the ceiling failed: {error}")),
        };
    }
    if !driver::is_installed() {
        eprintln!(
            "versus: wrk is not installed, and it drives all servers (apt install wrk, or \
             brew install wrk, or https://github.com/wg/wrk)"
        );
        return ExitCode::from(NO_DRIVER);
    }
    cws::raise_descriptor_limit();
    match run::all(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => lab::cli::failure("versus", &reason),
    }
}
