//! Simulated pools in the place of real ones, on trial.

use crate::judge;
use crate::measure::{self, Measured, ORDERS, SIMULATED};
use crate::options::Args;
use crate::sizes::Size;
use lab::chance::exponential;
use lab::evidence::Findings;
use lab::orders::{Order, Pool, Request};
use std::time::Duration;

/// How late a thread that sleeps wakes up, on average.
const LATE: Duration = Duration::from_micros(150);

/// The faults that the checks must find.
pub const FAULTS: [&str; 2] =
    ["each order is that of arrival", "what waits is overtaken by what came later"];

/// What the checks say of simulated pools with this number, and with this fault.
pub fn judged(args: &Args, sizes: &[Size], number: u64, fault: Option<usize>) -> Findings {
    // Far from the seeds of the runs.
    let seed = number.wrapping_add(1) << 20;
    let of_order = |(_, _, order)| measured(args, sizes, order, seed, fault);
    let mut findings = judge::runs(args, &ORDERS.map(of_order));
    // A fault of the pools is none of the simulations.
    if fault.is_none() {
        let steady = measure::steady(args, sizes, SIMULATED, seed);
        findings.extend(judge::simulations(args, sizes, &steady));
    }
    findings
}

fn measured(
    args: &Args,
    sizes: &[Size],
    order: Order,
    seed: u64,
    fault: Option<usize>,
) -> Measured {
    let served = match (order, fault) {
        (order, None) => order,
        (_, Some(0)) => Order::Fifo,
        (_, Some(_)) => Order::Lifo,
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut real, mut twin) = (Vec::new(), Vec::new());
    for run in 0..args.runs().into() {
        let requests = measure::arrivals(args, sizes, seed, run);
        let mut late = |request: &Request| {
            let late = LATE.mul_f64(exponential(&mut random));
            Request { service: request.service + late, ..*request }
        };
        let fed: Vec<Request> = requests.iter().map(&mut late).collect();
        let over = fed.iter().zip(&requests).map(|(fed, meant)| fed.service - meant.service);
        let over =
            over.sum::<Duration>() / u32::try_from(requests.len().max(1)).unwrap_or(u32::MAX);
        let pool = Pool { workers: args.workers, order: served, ready: true };
        real.push(pool.serve(sizes.len(), &fed).settled(measure::WARM_UP));
        twin.push(measure::twin(args, sizes, order, &requests, over));
    }
    Measured { real, twin, over: LATE, spoilt: None, outcomes: Vec::new() }
}
