//! Simulated fleets in the place of real ones, on trial.

use crate::measure::{Run, twins};
use crate::options::{Args, LOAD};
use crate::policy::Policy;
use lab::arrivals::{Arrivals, Stop};
use lab::chance::exponential;
use lab::fleet::{self, Fleet};
use lab::sample::Sample;
use std::time::Duration;

/// How late a thread that sleeps wakes up, on average.
const LATE: Duration = Duration::from_micros(150);

/// How long a request is on its way to the balancer, on average. The twin does not know it.
const WAY: Duration = Duration::from_micros(150);

/// The faults that the checks must find.
pub const FAULTS: [&str; 2] = ["each choice is at random", "the servers have one queue"];

/// The runs of all policies in simulated fleets with this number, and with this fault.
pub fn runs(args: &Args, number: u64, fault: Option<usize>) -> Vec<Run> {
    let mut runs = Vec::new();
    for policy in Policy::ALL {
        let count = args.times(policy) * args.seeds().len() as u64;
        // Far from the seeds of the runs.
        let seeds = (0..count).map(|run| (number.wrapping_add(1) << 40) | run);
        runs.extend(seeds.map(|seed| run(args, policy, seed, fault)));
    }
    runs
}

fn run(args: &Args, policy: Policy, seed: u64, fault: Option<usize>) -> Run {
    let rate = LOAD * args.pool() as f64 / args.delay.as_secs_f64();
    let arrivals = Arrivals::poisson(rate, seed).starts(Stop::After(args.length()));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut drawn = |mean: Duration| mean.mul_f64(exponential(&mut random));
    let services: Vec<Duration> = arrivals.iter().map(|_| args.delay + drawn(LATE)).collect();
    let service = |number: usize| services[number];
    let choice = match (policy.twin(), fault) {
        (choice, None) => choice,
        (_, Some(0)) => fleet::Policy::Random,
        (_, Some(_)) => fleet::Policy::Pooled,
    };
    let (servers, workers) = (args.servers(), args.workers);
    let mut late: Vec<Duration> = arrivals.iter().map(|at| *at + drawn(WAY)).collect();
    late.sort_unstable();
    let real = Fleet { servers, workers, policy: choice, seed };
    let wait = real.means(1, &late, &service)[0];
    let (pooled, twins) = twins(args, policy, seed, &arrivals, &service);
    let occupied = services.iter().copied().collect::<Sample>().mean();
    let utilisation = arrivals.len() as f64 * occupied.as_secs_f64()
        / args.length().as_secs_f64()
        / args.pool() as f64;
    let (added, outcomes, faults) = (Duration::ZERO, Vec::new(), [0; 3]);
    Run {
        policy,
        seed,
        wait,
        pooled,
        twins,
        service: occupied,
        utilisation,
        added,
        outcomes,
        faults,
    }
}
