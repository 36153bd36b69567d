//! Simulated pools with the arrivals of the runs: beside them, and in their place on trial.

use crate::case::Case;
use crate::measure::{Cell, Seen, clients, counted, starts};
use crate::options::Args;
use cws::Schedule;
use lab::load::Retries;
use lab::sample::Sample;
use lab::simulation::{Age, Bound, Order, Simulation};
use std::time::Duration;

/// How much longer real services are, on average.
const NOISE: f64 = 0.01;

/// The faults that the checks must find.
pub const FAULTS: [&str; 2] =
    ["turns are ignored: the order is that of arrival", "turns are ignored: the last comes first"];

/// What sets a simulated pool apart from the one that belongs to a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ideal {
    /// Changes the seeds of the arrivals and of the services.
    pub number: u64,
    /// The mean of a random addition to the services, as a part of them.
    pub noise: f64,
}

/// The cases with simulated pools in place of real ones. Closed loops are not simulated.
pub fn twins(args: &Args, number: u64, fault: Option<usize>) -> Vec<Cell> {
    let mut cells = Vec::new();
    // Far from the seeds of the runs.
    let number = number.wrapping_add(1) << 40;
    for case in Case::all(args.common.quick).into_iter().filter(Case::has_deadline) {
        for &schedule in &case.schedules {
            let served = match (schedule, fault) {
                (Schedule::Fair, Some(0)) => Schedule::Fifo,
                (Schedule::Fair, Some(_)) => Schedule::Lifo,
                (schedule, _) => schedule,
            };
            let polite = seen(args, &case, served, Ideal { number, noise: NOISE });
            let [greedy, ideal] = [Seen::default(); 2];
            let (case, outcomes) = (case.clone(), Default::default());
            cells.push(Cell { case, schedule, greedy, polite, ideal, outcomes, spoilt: None });
        }
    }
    cells
}

/// The polite clients' share, and their 99th percentile over D, in simulated pools, one for each
/// run. Nothing for closed loops.
pub fn seen(args: &Args, case: &Case, schedule: Schedule, ideal: Ideal) -> Seen {
    let mut seen = Seen::default();
    for (share, p99) in (0..args.runs()).filter_map(|run| one(args, case, schedule, run, ideal)) {
        seen.share.add(share);
        seen.p99.add(p99);
    }
    seen
}

fn one(
    args: &Args,
    case: &Case,
    schedule: Schedule,
    run: u8,
    Ideal { number, noise }: Ideal,
) -> Option<(f64, f64)> {
    let order = match schedule {
        Schedule::Fair => Order::Turns,
        Schedule::Fifo => Order::Fifo,
        Schedule::Lifo => Order::Lifo,
        _ => return None,
    };
    if !case.has_deadline() {
        return None;
    }
    let each = clients(case).into_iter().flat_map(|(party, client)| {
        let starts = starts(args, case, &party, number | u64::from(run), client).into_iter();
        starts.map(move |start| (start, usize::from(client)))
    });
    let mut arrivals: Vec<(Duration, usize)> = each.collect();
    arrivals.sort_unstable();
    let simulation = Simulation {
        workers: args.workers,
        service: args.delay,
        noise,
        order,
        age: Age::Measured,
        bound: Bound::Measured,
        patience: args.patience(),
        retries: Retries::NONE,
        seed: number | u64::from(run),
    };
    let sent = simulation.run(&arrivals);
    let counted = counted(args, case);
    let of = sent.iter().zip(&arrivals);
    let of = of.filter(|(sent, (_, client))| {
        *client > case.greedy.clients && counted.contains(&sent.intended)
    });
    let answers: Vec<Option<Duration>> =
        of.map(|(sent, _)| sent.answered.map(|at| at - sent.intended)).collect();
    let times: Sample = answers.iter().flatten().copied().collect();
    let share = times.count() as f64 / answers.len().max(1) as f64;
    let p99 = match times.count() {
        0 => f64::INFINITY,
        _ => times.percentile(0.99).div_duration_f64(args.delay),
    };
    Some((share, p99))
}
