//! Compares this server with other installed servers: the same work, in the same run, in turns.
//!
//! ```text
//! cargo run --release --example versus
//! cargo run --release --example versus -- --help
//! ```
//!
//! Each server gets an equivalent configuration (two workers or threads, no access log, unlimited
//! keep-alive, a backlog of 4096, sendfile) in a temporary folder, and a free port on the loopback
//! interface. First it must deliver the right bytes. Then `wrk` measures all servers in turns for
//! several rounds, and the medians are compared. The *ceiling* is measured with them: a responder
//! with this server's architecture that parses nothing and sends constant bytes. The program
//! reports ratios and judges nothing.

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

/// Exit code if `wrk` is missing.
const NO_DRIVER: u8 = 3;

const MORE: &str = "\
Cases: keep-alive, close, 100k, 10m, 404, index, files, log, idle, one-worker, half-load.
Peers: nginx, nginx-cache, lighttpd, apache2, h2o, caddy, busybox, python, darkhttpd, miniserve,
static-web-server. By default all installed ones are measured.

Examples:
  versus                                  all cases: about 3 minutes per peer
  versus --cases keep-alive,close         two cases
  versus --peers nginx,lighttpd --rounds 9
  versus --html report.html --csv report.csv
  versus --quick                          one short round, to test the setup

Columns: requests/s and CPU per request (user and system time of the server's processes from /proc,
in microseconds) are medians over the rounds, with the range. `x` is this server's requests/s
divided by the peer's (above 1: this server is faster). `x CPU` is this server's CPU per request
divided by the peer's (below 1: this server needs less). p50 and p99 are wrk's, from a closed loop;
in half-load they are from requests that start at fixed times. RSS is the peak, summed over the
processes, so shared pages are counted several times.

Exit code: 0 success, 1 a server failed or delivered wrong bytes, 2 wrong usage, 3 wrk is missing,
130 stopped by Ctrl-C.";

/// Compares this server with other installed servers.
#[derive(Debug, Parser)]
#[command(name = "versus", after_help = MORE)]
pub struct Args {
    /// Number of rounds; in each round every server has a turn
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Duration of each turn, in seconds
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Cases to run [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cases: Vec<String>,
    /// Servers to compare with [default: all that are installed]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    peers: Vec<String>,
    /// One round of one second with the first case, to test the setup
    #[arg(long)]
    quick: bool,
    /// The `server` binary to measure [default: build this one]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Write an HTML report to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the figures of each turn to this CSV file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Run as the ceiling with responses of this many bytes (this program starts itself with it)
    #[arg(long, hide = true, value_name = "BYTES")]
    be_ceiling: Option<usize>,
    /// Number of the ceiling's threads
    #[arg(long, hide = true, default_value_t = 2)]
    workers: usize,
    /// The ceiling closes each connection after its response
    #[arg(long, hide = true)]
    closes: bool,
    /// The ceiling's port
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
            "versus: wrk is not installed; it generates the load (apt install wrk, or \
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
