//! The options of `grade`.

use crate::exam;
use crate::values;
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "\
Judges a server of the exercise from outside, in whatever language it is written: a GET server that
serves the current directory on a fixed pool of W threads, with a simulated delay D of its database.

It sends what a classroom client, browsers, slow clients and broken clients send. For each of twenty
checks it says what it did, what came, what it expected and how to mend it. Run the server in a
folder with a file `testfile`. A check that needs what is not known here is not judged and costs no
points: the line W/D needs --workers and --delay, a large file needs --root or --file, and threads,
memory and descriptors need a server on this machine.";

const EXAMPLES: &str = "\
Examples:
  grade localhost 8080
  grade localhost 8080 --workers 4 --delay 20ms --root public
  grade localhost 8080 --workers 4 --delay 20ms --only line,silent
  grade 127.0.0.1 8080 --json

Exit code: 0 all points, 1 points lost, 2 wrong usage, 3 the server cannot be reached or judged.";

/// Judges a server of the exercise from outside, in whatever language it is written
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "grade", version, long_about = ABOUT, after_help = EXAMPLES)]
pub struct Args {
    /// Host name or address of the server
    #[arg(value_name = "HOST")]
    pub host: String,

    /// Its port
    #[arg(value_name = "PORT")]
    pub port: u16,

    /// Number of its worker threads, W
    #[arg(short, long, value_name = "N", value_parser = values::at_least_one)]
    pub workers: Option<usize>,

    /// Its delay of each request, D
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub delay: Option<Duration>,

    /// Its process, if it runs on this machine [default: the one that listens on the port]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Folder that it serves: a large file and a symbolic link are put there for some seconds
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Large file in that folder, instead of one that is made
    #[arg(long, value_name = "NAME")]
    pub file: Option<String>,

    /// How long to wait for an answer, beside the time for those before it
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "2s")]
    pub patience: Duration,

    /// Only these checks, by the names in the JSON: slash, crowd, line, ...
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = check)]
    pub only: Vec<String>,

    /// Measure the line W/D for half a second instead of two seconds
    #[arg(long)]
    pub quick: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Write the result as an HTML page to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

fn check(text: &str) -> Result<String, String> {
    let ids: Vec<&str> = exam::checks().map(|check| check.id).collect();
    match ids.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("choose from {}", ids.join(", "))),
    }
}
