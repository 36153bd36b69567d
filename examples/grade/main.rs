//! Judges a server of the exercise from outside, in whatever language it is written.
//!
//! ```text
//! cargo run --release --example grade -- localhost 8080 --workers 4 --delay 20ms
//! ```
//!
//! Each check ends at a deadline, whatever the server does: it may hang, crash, or send anything.

mod checks;
mod confinement;
mod crowd;
mod exam;
mod hostile;
mod large;
mod options;
mod process;
mod show;
mod silent;
mod talk;

#[path = "../shared/observed.rs"]
mod observed;
#[path = "../shared/options.rs"]
mod values;

use clap::Parser;
use exam::Exam;
use lab::cli;
use options::Args;
use show::Total;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;

/// Exit code if the server cannot be reached or judged.
const UNJUDGED: u8 = 3;

const NAME: &str = "grade";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return cli::usage(NAME, &error, None),
    };
    cws::raise_descriptor_limit();
    grade(args).unwrap_or_else(|reason| {
        // What went wrong concerns no check.
        let _ = cli::failure(NAME, &reason);
        ExitCode::from(UNJUDGED)
    })
}

fn grade(args: Args) -> Result<ExitCode, String> {
    let server = reach(&args)?;
    let html = args.html.clone();
    let mut exam = Exam::begin(args, server)?;
    let marks = exam.judge();
    let said = match exam.args.json {
        true => show::json(&exam, &marks).map_err(|error| error.to_string())? + "\n",
        false => show::text(&exam, &marks),
    };
    // If the reader has gone, the output is not needed.
    let _ = io::stdout().write_all(said.as_bytes());
    if let Some(path) = html {
        std::fs::write(&path, show::page(&exam, &marks))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let total = Total::of(&marks);
    Ok(if total.points == total.of { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The address at which the server accepts connections.
fn reach(args: &Args) -> Result<SocketAddr, String> {
    let (host, port) = (args.host.as_str(), args.port);
    let name = format!("{host}:{port}");
    let addresses = (host, port).to_socket_addrs();
    let addresses =
        addresses.map_err(|error| format!("cannot find {host}: {error} (check the name)"))?;
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, args.patience) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(format!("cannot reach {name}: {last} (is the server running there?)"))
}
