//! Compares this server with other installed servers: the same work, in the same run, in turns.
//!
//! ```text
//! cargo run --release --example versus
//! cargo run --release --example versus -- --help
//! ```
//!
//! Each server gets an equivalent configuration (two workers or threads, no access log, unlimited
//! keep-alive, a backlog of 4096, sendfile) in a temporary folder, and a free port on the loopback
//! interface. First it must deliver the right bytes. Then all servers are measured in turns for
//! several rounds, and the medians are compared. This server has a second turn in each round, as
//! `again`: what it differs from itself is the machine's noise.
//!
//! `wrk` drives the closed loops, in which a connection sends its next request when it has its
//! response. A pacer in this program sends requests at fixed times. System calls are counted in a
//! run of their own.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod site;
mod cases;
mod ceiling;
mod configurations;
mod usage;
mod process;
mod calls;
mod exchange;
mod driver;
mod paced;
mod peers;
mod link;
mod machine;
mod figures;
mod table;
mod report;
mod running;
mod plan;
mod run;

use clap::Parser;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code if `wrk` is missing.
const NO_DRIVER: u8 = 3;

const MORE: &str = "\
Cases: keep-alive, one-connection, four-connections, paced-20k, paced-5k, one-worker, close,
close-paced, 404, index, files, log, idle, 100k, 1m, 10m-1, 10m-8, 10m-64, beside-10m, static-64,
static-512, haproxy, delay.
Servers: nginx, nginx-cache, lighttpd, h2o, apache2, caddy (by default those of them that are
installed); busybox, python, darkhttpd, miniserve, static-web-server; ceiling, which parses nothing
and sends constant bytes; again, which is always measured: this server once more.

Examples:
  versus                                  all cases with the usual servers
  versus --cases keep-alive,close         two cases
  versus --servers nginx,lighttpd --rounds 9
  versus --servers again                  this server alone, and the machine's noise
  versus --link 1gbit,50ms --seconds 9 --cases 1m,10m-1,10m-8
  versus --binary old/server=old          an earlier build has a column of its own
  versus --markdown report.md --html report.html --csv report.csv
  versus --quick                          one short round, to test the setup

Columns: CPU per request (user and system time of the server's threads, in microseconds),
requests/s, and the latencies p50 and p99 are medians over the rounds, with the range. The `x`
behind each is this server's figure divided by that server's: this server is ahead if it is below 1
for CPU and latencies, or above 1 for requests/s. The switches are context switches per request, and
the calls are system calls per request. MiB is the peak of the resident memory, summed over the
processes, so shared pages are counted several times. In a closed loop, latencies follow from the
rate; in paced cases, they count from the moment when a request was meant to start.

The last tables compare this server with the best peer of each case. They name the limit of each
case: the server; the driver, if the one thread of wrk is busy for .85 of the time or more, so that
CPU and latencies count and requests/s do not; the pace; or W/D. The ratios in brackets are this
server's figures divided by those of `again`. What is within this noise, or within .02, is level.

Exit code: 0 success, 1 a server failed or delivered wrong bytes, 2 wrong usage, 3 wrk is missing,
130 stopped by Ctrl-C.";

/// Compares this server with other installed servers.
#[derive(Debug, Parser)]
#[command(name = "versus", after_help = MORE)]
pub struct Args {
    /// Number of rounds; in each round every server has a turn, in the reverse order every other
    /// time
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Duration of each turn, in seconds
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Cases to run [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cases: Vec<String>,
    /// Servers to compare with [default: the first six that are installed]
    #[arg(long, value_name = "LIST", value_delimiter = ',', alias = "peers")]
    servers: Vec<String>,
    /// An earlier build of this server to compare with, and its name in the tables
    #[arg(long, value_name = "FILE=NAME", value_parser = binary)]
    binary: Vec<(PathBuf, String)>,
    /// Put a link of this rate and one-way delay between clients and servers, such as 1gbit,50ms
    /// (needs Linux and root) [default: the loopback interface]
    #[arg(long, value_name = "RATE,DELAY")]
    link: Option<link::Conditions>,
    /// One round of one second with the first case, to test the setup
    #[arg(long)]
    quick: bool,
    /// The `server` binary to measure [default: build this one]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Write an HTML report to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write all tables in Markdown to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
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
    /// The ceiling's address
    #[arg(long, hide = true, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Its port
    #[arg(long, hide = true, default_value_t = 0)]
    port: u16,
}

fn binary(text: &str) -> Result<(PathBuf, String), String> {
    match text.rsplit_once('=') {
        Some((file, name))
            if !file.is_empty() && !name.is_empty() && !name.contains(['/', ',']) =>
        {
            Ok((PathBuf::from(file), name.to_owned()))
        }
        _ => Err("write FILE=NAME".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return lab::cli::usage("versus", &error, None),
    };
    if let Some(bytes) = args.be_ceiling {
        return match ceiling::serve(bytes, args.workers, (args.host, args.port).into(), args.closes)
        {
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
