//! `client`: fetches one file over HTTP/1.0 and prints the response unchanged.

mod cli;

use std::io;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use clap::Parser;
use cws::client::{self, Fetch, Host, Outcome, RequestPath};

/// The exit code for `--fail`, the same as curl's.
const STATUS_FAILED: u8 = 22;

/// The name of the command, as it is called.
static NAME: LazyLock<String> = LazyLock::new(|| cli::called("client"));

const EXAMPLES: &str = "\
Examples:
  client localhost 8080                        fetch testfile
  client localhost 8080 5000                   fetch it from port 5000
  client --path /index.html localhost 8080     fetch another file
  client --head localhost 8080                 fetch only the head
  client --fail --timeout 2s localhost 8080    in a script: an error status is exit code 22
  client ::1 8080                              connect over IPv6

Exit code: 0 the response is complete (or the reader closed the pipe), 1 it is not,
2 wrong usage, 22 with --fail: the status is 400 or more.";

/// Fetches one file over HTTP/1.0 and prints the response unchanged: head and body.
#[derive(Parser)]
#[command(name = NAME.as_str(), version)]
#[command(after_help = cli::examples(EXAMPLES, "client", &NAME))]
struct Args {
    /// Name or IP address of the server
    host: Host,

    /// Port of the server
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Local port to connect from [default: chosen by the system]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    client_port: Option<u16>,

    /// Path to request, sent exactly as given
    #[arg(long, default_value = client::DEFAULT_PATH)]
    path: RequestPath,

    /// Send HEAD instead of GET: fetch only the head
    #[arg(long)]
    head: bool,

    /// Give up after this time without progress, for example 500ms, 2s or 1m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = timeout)]
    timeout: Duration,

    /// Exit with code 22 when the status is 400 or more
    #[arg(long)]
    fail: bool,
}

impl Args {
    fn fetch(&self) -> Fetch {
        Fetch {
            client_port: self.client_port,
            path: self.path.clone(),
            head_only: self.head,
            timeout: self.timeout,
            ..Fetch::new(self.host.clone(), self.port)
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("a timeout must be longer than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return cli::usage(&NAME, &error, None),
    };
    match client::fetch(&args.fetch(), &mut io::stdout().lock()) {
        // A status below 100 is invalid, which counts like a 5xx (RFC 9110, section 15).
        Ok(Outcome::Complete { status: Some(..100 | 400..) }) if args.fail => STATUS_FAILED.into(),
        // A closed pipe means that the reader wants no more, so it is not a failure.
        Ok(Outcome::Complete { .. } | Outcome::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => cli::failure(&NAME, &error.to_string()),
    }
}
