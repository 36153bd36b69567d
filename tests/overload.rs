//! Goodput past the knee, by the open-loop generator: with half the patience as bound, and without.
#![allow(clippy::unwrap_used)]

use cws::lab::arrivals::Arrivals;
use cws::lab::load::{Answer, Load, Outcome};
use cws::{Config, Counter, Delay, Request, Response, Server, config};
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

const WORKERS: usize = 4;
const DELAY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_millis(400);

fn request() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n".to_vec()
}

/// Five times the capacity for a second and a half.
fn outcomes(queue: usize, queue_timeout: Duration) -> (Vec<Outcome>, Server) {
    let config = Config {
        workers: WORKERS,
        queue,
        queue_timeout,
        drain_timeout: Duration::ZERO,
        max_connections: 4000,
        ..Config::default()
    };
    let respond = |_: &Request<'_>| Response::ok("text/plain", "done\n");
    let server = Server::start(config, Delay::new(DELAY, respond)).unwrap();
    let capacity = WORKERS as f64 / DELAY.as_secs_f64();
    let starts = Arrivals::poisson(5.0 * capacity, Duration::from_millis(1500), 1).starts();
    let load =
        Load { target: server.addresses()[0], request: request(), patience: PATIENCE, retries: 0 };
    let outcomes = load.run(&starts).unwrap();
    assert_eq!(outcomes.len(), starts.len(), "every request has an outcome");
    (outcomes, server)
}

/// The share of the requests that came to be good late in the load.
fn late_goodput(outcomes: &[Outcome]) -> f64 {
    let from = Duration::from_millis(700);
    let good = outcomes.iter().filter(|o| o.intended >= from && o.is_good(PATIENCE)).count();
    good as f64 / (0.8 * WORKERS as f64 / DELAY.as_secs_f64())
}

#[test]
fn half_the_patience_keeps_goodput_and_no_bound_loses_it() {
    let (queue, timeout) = config::for_patience(WORKERS, DELAY, PATIENCE);
    let (bounded, server) = outcomes(queue, timeout);
    let (unbounded, _) = outcomes(4000, config::LONGEST_WAIT);
    let [bounded_share, unbounded_share] = [&bounded, &unbounded].map(|of| late_goodput(of));
    assert!(bounded_share > 0.6, "bounded: {bounded_share}");
    assert!(unbounded_share < 0.3, "unbounded: {unbounded_share}");
    // Every refusal was an honest one: read whole, none reset.
    let refused = bounded.iter().filter(|o| o.answer == Answer::Status(503)).count() as u64;
    assert!(refused > 0);
    let failed: Vec<_> = bounded.iter().filter(|o| matches!(o.answer, Answer::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let snapshot = server.snapshot();
    assert_eq!(snapshot.get(Counter::QueueFull) + snapshot.get(Counter::Expired), refused);
}

/// A server that stalls must show in the latencies of all who meant to start meanwhile.
#[test]
fn latency_counts_from_the_intended_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let stall = Duration::from_millis(300);
    let server = std::thread::spawn(move || {
        std::thread::sleep(stall);
        for _ in 0..10 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let starts = Arrivals::constant(100.0, Duration::from_millis(105)).starts();
    assert_eq!(starts.len(), 10);
    let load = Load { target, request: request(), patience: Duration::from_secs(20), retries: 0 };
    let outcomes = load.run(&starts).unwrap();
    server.join().unwrap();
    for outcome in &outcomes {
        assert_eq!(outcome.answer, Answer::Status(200));
        assert!(outcome.latency() >= stall - outcome.intended - Duration::from_millis(20));
    }
}

#[test]
fn failures_are_outcomes_too() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let patience = Duration::from_millis(200);
    let load = Load { target: nobody, request: request(), patience, retries: 2 };
    let outcomes = load.run(&[Duration::ZERO]).unwrap();
    assert!(matches!(outcomes[..], [Outcome { answer: Answer::Failed(_), tries: 3, .. }]));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap();
    let load = Load { target, request: request(), patience, retries: 1 };
    let outcomes = load.run(&[Duration::ZERO]).unwrap();
    assert!(matches!(outcomes[..], [Outcome { answer: Answer::TimedOut, tries: 2, .. }]));
}
