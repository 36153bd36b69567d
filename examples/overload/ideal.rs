//! Simulated pools in the place of real ones, on trial.
//!
//! What follows a change of the services over time is not on trial: the server has an estimate for
//! each worker, and the simulation has one.

use crate::burst::{self, Times};
use crate::cells::{self, Cell, Figures, Phases};
use crate::judge;
use crate::measure::{Bench, Task};
use crate::policy::Policy;
use crate::service::Service;
use cws::Config;
use lab::chance::exponential;
use lab::evidence::{Findings, Verdict};
use lab::sample::Sample;
use lab::simulation::{Age, Bound, Order, Sent, Simulation};
use lab::twin::Twin;
use std::time::Duration;

/// How much longer real services are, on average.
const NOISE: f64 = 0.01;

/// The faults that the checks must find.
pub const FAULTS: [&str; 3] = [
    "the queue has no limit where it should have one",
    "the measured service time is ignored, and the one that was told is used",
    "requests may wait for the whole patience",
];

/// What the checks say of simulated pools with this number, and with this fault.
pub fn judged(bench: &Bench<'_>, number: u64, fault: Option<usize>) -> Findings {
    // Far from the seeds of the runs.
    let seed = number.wrapping_add(1) << 40;
    let cells = cells::measure(bench, &|cells, places| {
        let one = |&(place, run): &(usize, u64)| figures(bench, &cells[place], seed | run, fault);
        Ok(places.iter().map(one).collect())
    });
    let mut findings = match cells {
        Ok(cells) => judge::judge(bench, &cells),
        // It cannot fail; if it does, that is no verdict on the pools.
        Err(error) => {
            let mut none = Findings::default();
            none.add(error.to_string(), Verdict::Spoilt);
            none
        }
    };
    findings.extend(burst::judge(&shares(bench, seed, fault)));
    findings
}

/// The pool that a policy makes, or another one with a fault.
fn pool(bench: &Bench<'_>, task: &Task, fault: Option<usize>) -> Simulation {
    let (workers, patience) = (bench.workers(), bench.patience());
    let policy = match (task.policy, fault) {
        (Policy::Unbounded, _) => Policy::Unbounded,
        (Policy::BoundAndAge | Policy::Measured(_), Some(0)) => Policy::Unbounded,
        (Policy::Measured(_), Some(1)) => Policy::BoundAndAge,
        (Policy::BoundAndAge | Policy::Measured(_), Some(2)) => Policy::WholePatience,
        (policy, _) => policy,
    };
    let (bound, age) = match policy {
        Policy::Measured(_) => (Bound::Measured, Age::Measured),
        _ => match policy.bounds(workers, bench.delay(), patience) {
            (bound, Config::LONGEST_WAIT) => (Bound::Fixed(bound), Age::Unlimited),
            (bound, age) => (Bound::Fixed(bound), Age::Fixed(age)),
        },
    };
    let order = match policy {
        Policy::LIFO => Order::Lifo,
        Policy::FAIR => Order::Turns,
        _ => Order::Fifo,
    };
    // The services of each policy are others, as in real pools.
    let place = Policy::ALL.iter().position(|of| *of == task.policy).unwrap_or_default() as u64;
    let (retries, seed) = (task.retries, task.seed ^ (place << 32));
    let (service, noise) = (bench.delay(), NOISE);
    Simulation { workers, service, noise, order, age, bound, patience, retries, seed }
}

/// What a pool answers, and when services began, with how long they were meant to take.
fn run(pool: &Simulation, task: &Task) -> (Vec<Sent>, Vec<(Duration, Duration)>) {
    let starts: Vec<(Duration, usize)> = task.starts.iter().map(|&start| (start, 0)).collect();
    let mut drawn = Vec::new();
    let mut services = |now: Duration, random: &mut fastrand::Rng| {
        let meant = match task.service {
            Service::Exponential => pool.service.mul_f64(exponential(random)),
            Service::Slower(factor) if now >= task.change => pool.service * factor,
            Service::Constant | Service::Slower(_) => pool.service,
        };
        drawn.push((now, meant));
        meant + pool.service.mul_f64(pool.noise * exponential(random))
    };
    let sent = pool.run_with(&starts, &mut services);
    (sent, drawn)
}

fn is_good(bench: &Bench<'_>, sent: &Sent) -> bool {
    sent.answered.is_some_and(|at| at <= sent.intended + bench.patience())
}

fn figures(bench: &Bench<'_>, cell: &Cell, seed: u64, fault: Option<usize>) -> Figures {
    let Phases { from, to, .. } = cells::phases(bench, cell);
    let [from, to] = [from, to].map(|time| bench.delay() * time);
    let task = cells::task(bench, cell, seed);
    let pool = pool(bench, &task, fault);
    let (sent, drawn) = run(&pool, &task);
    let factor = match cell.service {
        Service::Exponential => {
            let counted = drawn.iter().filter(|(start, _)| (from..to).contains(start));
            let mean = counted.map(|(_, meant)| *meant).collect::<Sample>().mean();
            mean.div_duration_f64(bench.delay())
        }
        service => f64::from(service.factor()),
    };
    let good = sent.iter().filter(|of| (from..to).contains(&of.intended) && is_good(bench, of));
    let goodput = good.count() as f64 / (to - from).as_secs_f64() / bench.capacity();
    let twin = cell.has_twin().then(|| {
        let service = bench.delay().mul_f64(1.0 + NOISE);
        let mean = service.as_secs_f64();
        let (queue, age) = (pool.bound_at(Some(mean)), pool.age_at(mean));
        let twin = Twin { workers: bench.workers(), service, queue, age };
        cells::twin_goodput(bench, &twin, &task.starts, from, to)
    });
    Figures {
        goodput: goodput * factor,
        twin,
        latencies: Sample::default(),
        steps: Vec::new(),
        estimates: Vec::new(),
        lag: None,
        kept: None,
        spoilt: Vec::new(),
    }
}

/// The share of the requests that are good after the burst, in each run of each policy.
fn shares(bench: &Bench<'_>, seed: u64, fault: Option<usize>) -> Vec<(Policy, f64)> {
    let times = Times::of(bench);
    let share = |task: &Task| {
        let (sent, _) = run(&pool(bench, task, fault), task);
        let good = sent.iter().filter(|sent| is_good(bench, sent)).map(|sent| sent.intended);
        (task.policy, burst::share(&times, sent.iter().map(|sent| sent.intended), good))
    };
    burst::tasks(bench, seed).iter().map(share).collect()
}
