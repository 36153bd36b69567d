//! Runs many connections of all kinds, and then checks that the counters add up: nothing leaks,
//! nothing is lost.
//!
//! ```text
//! cargo run --release --example soak [CONNECTIONS] [SEED]
//! ```
//!
//! A seeded generator mixes clients that behave well, disconnect, reset, pipeline, are slow or send
//! garbage (default: 100,000 connections). They talk to servers in this process, one for each order
//! of service and each choice of what gives way when the queue is full, and each checks its
//! responses. They come from several loopback addresses, and fill the queue. A line every few
//! seconds shows memory and descriptors, which must stay constant.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod clients;

use std::process::ExitCode;

const HELP: &str = "\
Usage: soak [CONNECTIONS] [SEED]

Runs many connections of all kinds against servers in this process, and checks that the counters add
up. Every few seconds a line shows memory and descriptors, which must stay constant.

  CONNECTIONS  how many [default: 100000]
  SEED         of the generator that mixes them: the same seed, the same mixture [default: 1]

Exit code: 0 they add up, 1 they do not, 2 wrong usage.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| matches!(&first[..], "-h" | "--help")).is_some() {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let connections = arguments.next().map_or(Ok(100_000), |text| text.parse());
    let seed = arguments.next().map_or(Ok(1), |text| text.parse());
    let (Ok(connections), Ok(seed), None) = (connections, seed, arguments.next()) else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    match clients::soak(connections, seed, |line| println!("{line}")) {
        Ok(()) => {
            println!("CHECK the counters add up ... ok");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("CHECK the counters add up ... FAIL: {problem}");
            ExitCode::FAILURE
        }
    }
}
