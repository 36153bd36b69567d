//! What four ways of bounding a queue do to goodput when load passes the pool's capacity.
//!
//! ```text
//! cargo run --release --example overload [SECONDS]
//! ```
//!
//! A pool of W workers at delay D carries W/D requests a second; its clients wait for T. Requests
//! arrive as a Poisson process at m times the capacity, each on a connection of its own, for
//! SECONDS (default 4) at each m. *Goodput* counts the whole 200s that came within T of the
//! intended start, per second, over W/D. Without a bound the pool stays busy, for clients that
//! have hung up. Then a burst: one second at three times the capacity, on a load of .75, with
//! three immediate retries a client.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use cws::lab::arrivals::{Arrivals, Rate, Stop};
use cws::lab::load::{Client, Connections, Outcome, Retries, Target};
use cws::{Config, Delay, Request, Response, Server, config};
use std::process::ExitCode;
use std::time::Duration;

const WORKERS: usize = 4;
const DELAY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_millis(200);
const LOADS: [f64; 5] = [0.8, 1.1, 2.0, 5.0, 10.0];
const SEED: u64 = 20_260_101;

/// A name, the queue's bound, and the queue timeout.
type Policy = (&'static str, usize, Duration);

fn main() -> ExitCode {
    let seconds = match std::env::args().nth(1).map_or(Ok(4), |text| text.parse()) {
        Ok(seconds @ 2..=60) => Duration::from_secs(seconds),
        _ => {
            eprintln!("usage: overload [SECONDS] (2 to 60 for each load)");
            return ExitCode::from(2);
        }
    };
    cws::raise_descriptor_limit();
    match run(seconds) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("overload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(length: Duration) -> Result<bool, Box<dyn std::error::Error>> {
    let whole = (WORKERS as f64 * (PATIENCE.div_duration_f64(DELAY) - 1.0)) as usize;
    let (half, timeout) = config::for_patience(WORKERS, DELAY, PATIENCE);
    let policies: [Policy; 4] = [
        ("no bound", config::QUEUE_MOST, config::LONGEST_WAIT),
        ("503 at T", whole, config::LONGEST_WAIT),
        ("503 at T/2", half, config::LONGEST_WAIT),
        ("503 at T/2, age T/2", half, timeout),
    ];
    println!("W = {WORKERS}, D = {DELAY:?}, T = {PATIENCE:?}: capacity {} requests/s", capacity());
    println!("goodput over capacity at m times the capacity (p99 latency of the good):\n");
    print!("{:<22}", "policy");
    LOADS.iter().for_each(|m| print!("{:>16}", format!("m = {m}")));
    println!();
    let mut good = true;
    for policy in policies {
        print!("{:<22}", policy.0);
        for m in LOADS {
            let starts = Arrivals::poisson(m * capacity(), SEED).starts(Stop::After(length));
            let outcomes = measure(policy, &starts, Retries::NONE)?;
            // The first stretch, in which the queue fills, is left out.
            let from = length / 4;
            let (share, p99) = goodput(&outcomes, from, length);
            print!("{:>16}", format!("{share:.3} ({p99:.0}ms)"));
            let late = p99 > 750.0 * PATIENCE.as_secs_f64();
            good &= policy.0 != policies[3].0 || m < 1.0 || (share >= 0.95 && !late);
            good &= policy.0 != policies[0].0 || m < 2.0 || share <= 0.1;
        }
        println!();
    }
    println!(
        "\nburst of 3x for 1 s on a load of .75, with 3 immediate retries; goodput by second:\n"
    );
    for policy in [policies[0], policies[3]] {
        good &= burst(policy)?;
    }
    println!(
        "\nCHECK bound and age keep goodput >= .95 past the knee and recover ... {}",
        said(good)
    );
    Ok(good)
}

fn said(good: bool) -> &'static str {
    if good { "ok" } else { "FAIL" }
}

/// Two seconds of load, one of burst, four of load again; the last three must be good.
fn burst(policy: Policy) -> Result<bool, Box<dyn std::error::Error>> {
    let second = Duration::from_secs(1);
    let base = 0.75 * capacity();
    let rate = Rate::burst(base, 3.0 * capacity(), 2 * second, second);
    let starts = Arrivals::poisson(rate, SEED).starts(Stop::After(7 * second));
    let outcomes = measure(policy, &starts, Retries::at_once(3))?;
    print!("{:<22}", policy.0);
    let mut recovered = true;
    for at in 0..7 {
        let (from, to) = (second * at, second * (at + 1));
        let offered = starts.iter().filter(|start| (from..to).contains(start)).count();
        let (share, _) = goodput(&outcomes, from, to);
        let of_offered = share * capacity() / offered as f64;
        print!("{:>8}", format!("{share:.2}"));
        recovered &= at < 4 || of_offered >= 0.98;
    }
    println!();
    Ok(recovered || policy.1 == config::QUEUE_MOST)
}

fn capacity() -> f64 {
    WORKERS as f64 / DELAY.as_secs_f64()
}

fn measure(
    (_, queue, queue_timeout): Policy,
    starts: &[Duration],
    retries: Retries,
) -> Result<Vec<Outcome>, Box<dyn std::error::Error>> {
    let config = Config {
        workers: WORKERS,
        queue,
        queue_timeout,
        max_connections: cws::descriptor_limit() / 2,
        drain_timeout: Duration::ZERO,
        ..Config::default()
    };
    let respond = |_: &Request<'_>| Response::ok("text/plain", "done\n");
    let server = Server::start(config, Delay::new(DELAY, respond))?;
    let target = Target::new(server.addresses()[0], "/");
    let connections = Connections::NewEach;
    let request = target.request(connections);
    let client =
        Client { target: target.address, request, connections, patience: PATIENCE, retries };
    let outcomes = client.open_loop(starts)?.outcomes;
    server.shutdown();
    Ok(outcomes)
}

/// The goodput over the capacity of the requests meant to start in a stretch of time, and the
/// 99th percentile of their latency in milliseconds.
fn goodput(outcomes: &[Outcome], from: Duration, to: Duration) -> (f64, f64) {
    let mut latencies: Vec<Duration> = outcomes
        .iter()
        .filter(|outcome| (from..to).contains(&outcome.intended) && outcome.is_good(PATIENCE))
        .map(Outcome::latency)
        .collect();
    latencies.sort_unstable();
    let rank = (latencies.len() as f64 * 0.99).ceil() as usize;
    let p99 = latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default();
    let rate = latencies.len() as f64 / (to - from).as_secs_f64();
    (rate / capacity(), p99.as_secs_f64() * 1e3)
}
