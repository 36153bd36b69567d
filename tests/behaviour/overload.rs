//! Goodput beyond the knee, measured with an open loop: with a queue limit for half the patience,
//! and without one.
#![allow(clippy::unwrap_used)]

use cws::{Config, Counter, Delay, Request, Response, Server};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Answer, Client, Connections, Outcome, Target};
use std::net::SocketAddr;
use std::time::Duration;

const WORKERS: usize = 4;
const DELAY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_millis(400);

fn client(target: SocketAddr) -> Client {
    Target::new(target, "/").client(Connections::NewEach, PATIENCE)
}

/// Five times the capacity for a second and a half.
fn outcomes(queue: usize, queue_timeout: Duration) -> (Vec<Outcome>, Server) {
    let config = Config::default()
        .workers(WORKERS)
        .queue(queue)
        .queue_timeout(queue_timeout)
        .drain_timeout(Duration::ZERO)
        .max_connections(4000);
    let respond = |_: &Request<'_>| Response::ok("text/plain", "done\n");
    let server = Server::start(config, Delay::new(DELAY, respond)).unwrap();
    let capacity = WORKERS as f64 / DELAY.as_secs_f64();
    let stop = Stop::After(Duration::from_millis(1500));
    let starts = Arrivals::poisson(5.0 * capacity, 1).starts(stop);
    let outcomes = client(server.addresses()[0]).open_loop(&starts).unwrap().outcomes;
    assert_eq!(outcomes.len(), starts.len(), "every request has an outcome");
    (outcomes, server)
}

/// The share of good responses among the requests late in the load.
fn late_goodput(outcomes: &[Outcome]) -> f64 {
    let from = Duration::from_millis(700);
    let good = outcomes.iter().filter(|o| o.intended >= from && o.is_good(PATIENCE)).count();
    good as f64 / (0.8 * WORKERS as f64 / DELAY.as_secs_f64())
}

#[test]
fn a_queue_limit_of_half_the_patience_keeps_the_goodput() {
    let (queue, timeout) = Config::for_patience(WORKERS, DELAY, PATIENCE);
    let (bounded, server) = outcomes(queue, timeout);
    let (unbounded, _) = outcomes(4000, Config::LONGEST_WAIT);
    let [bounded_share, unbounded_share] = [&bounded, &unbounded].map(|of| late_goodput(of));
    assert!(bounded_share > 0.6, "bounded: {bounded_share}");
    assert!(unbounded_share < 0.3, "unbounded: {unbounded_share}");
    // All refusals are complete responses; none was a reset.
    let refused = bounded.iter().filter(|o| o.answer == Answer::Status(503)).count() as u64;
    assert!(refused > 0);
    let failed: Vec<_> = bounded.iter().filter(|o| matches!(o.answer, Answer::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let snapshot = server.snapshot();
    assert_eq!(snapshot.get(Counter::QueueFull) + snapshot.get(Counter::Expired), refused);
}
