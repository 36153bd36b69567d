//! Many connections of all kinds, and then the books: nothing leaks, nothing is lost.
//!
//! ```text
//! cargo run --release --example soak [CONNECTIONS] [SEED]
//! ```
//!
//! Well-behaved, cut, resetting, pipelining, slow and hostile clients, mixed by a seeded
//! generator (default: 100,000 connections), talk to a server in this process. Each checks what
//! it gets. A line a few seconds shows memory and descriptors, which must stay flat.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod clients;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let connections = arguments.next().map_or(Ok(100_000), |text| text.parse());
    let seed = arguments.next().map_or(Ok(1), |text| text.parse());
    let (Ok(connections), Ok(seed), None) = (connections, seed, arguments.next()) else {
        eprintln!("usage: soak [CONNECTIONS] [SEED]");
        return ExitCode::from(2);
    };
    match clients::soak(connections, seed, |line| println!("{line}")) {
        Ok(()) => {
            println!("CHECK the books balance ... ok");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("CHECK the books balance ... FAIL: {problem}");
            ExitCode::FAILURE
        }
    }
}
