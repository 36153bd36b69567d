//! The grid of policies, services and loads, several runs for each.

use crate::measure::{Bench, Run, Task};
use crate::policy::Policy;
use crate::service::Service;
use crate::together;
use lab::arrivals::{Arrivals, Rate, Stop};
use lab::load::Retries;
use lab::moments::Moments;
use lab::sample::Sample;
use lab::twin::{Fate, Twin};
use std::error::Error;
use std::time::Duration;

/// The part of a run that is judged, and when the service changes, in units of D.
#[derive(Debug, Clone, Copy)]
pub struct Phases {
    pub change: u32,
    pub from: u32,
    pub to: u32,
}

/// The steps in which a run is shown over time, in units of D.
pub const STEP: u32 = 10;

/// One policy at one load of one service.
pub struct Cell {
    pub policy: Policy,
    pub service: Service,
    /// The load as a multiple of the true capacity.
    pub times: f64,
    pub runs: Vec<Figures>,
}

/// What a run shows.
pub struct Figures {
    /// Over the true capacity.
    pub goodput: f64,
    /// The goodput of an ideal pool with the same arrivals, and with the bound and the age that
    /// were in force. `None` if microseconds decide what is good.
    pub twin: Option<f64>,
    /// Of the good responses.
    pub latencies: Sample,
    /// The goodput over the true capacity of the moment in each step, if the service changes.
    pub steps: Vec<f64>,
    /// The measured service time over D in each step. It is not finite while there is none.
    pub estimates: Vec<f64>,
    /// The time from the change until the estimate is within a tenth of the truth.
    pub lag: Option<Duration>,
    /// The run itself, if it is needed.
    pub kept: Option<Run>,
    pub spoilt: Vec<String>,
}

impl Cell {
    fn new(policy: Policy, service: Service, times: f64) -> Self {
        Self { policy, service, times, runs: Vec::new() }
    }

    pub fn name(&self) -> String {
        format!("{}, {}, m = {}", self.service.name(), self.policy.name(), self.times)
    }

    /// The mean over the runs of a figure.
    pub fn mean(&self, of: impl Fn(&Figures) -> f64) -> Moments {
        self.runs.iter().map(of).collect()
    }

    pub fn goodput(&self) -> Moments {
        self.mean(|run| run.goodput)
    }

    /// How much the twin is off, in each run.
    pub fn off(&self) -> Option<Moments> {
        self.runs.iter().map(|run| Some(run.goodput - run.twin?)).collect()
    }

    /// When the service changes, in units of D.
    pub fn change(&self, bench: &Bench<'_>) -> u32 {
        phases(bench, self).change
    }

    /// Why the runs show nothing, if that is so for any of them.
    pub fn spoilt(&self) -> Option<String> {
        let spoilt = self.runs.iter().filter(|run| !run.spoilt.is_empty());
        let why = spoilt.clone().next()?.spoilt.join("; ");
        Some(format!("{} of {} runs are invalid: {why}", spoilt.count(), self.runs.len()))
    }

    /// Whether a twin can say what the goodput is. Where requests are admitted to the very end of
    /// the patience, microseconds decide.
    pub fn has_twin(&self) -> bool {
        let is_ideal = self.service == Service::Constant && self.policy.is_in_order();
        is_ideal && self.policy != Policy::WholePatience
    }

    /// The number of runs. Where the services become six times as long, the runs of a pool that
    /// does not follow differ so much that it takes more of them to find it out. Exponential
    /// services near the capacity differ as much.
    fn wanted(&self, bench: &Bench<'_>) -> u64 {
        let runs = bench.args.runs();
        match (self.policy, self.service) {
            (Policy::FAIR | Policy::BoundAndAge, Service::Slower(6)) => 2 * runs,
            (Policy::FAIR, Service::Exponential) if self.times < 2.0 => 2 * runs,
            (Policy::FAIR | Policy::Unbounded, _) => runs,
            (Policy::BoundAndAge, Service::Constant | Service::Slower(_)) => runs,
            _ => runs.min(FEWER),
        }
    }

    /// The goodput that the measured bounds promise, with a patience of ten services or more.
    pub fn promise(&self, bench: &Bench<'_>) -> Option<f64> {
        let is_long = bench.patience() >= bench.delay() * 10;
        if self.policy != Policy::FAIR || self.times < 1.1 || !is_long {
            return None;
        }
        // Near the capacity the random arrivals of a run decide more, and the promise is lower.
        let is_near = self.times < 2.0;
        Some(match self.service {
            _ if bench.is_quick() => 0.8,
            Service::Constant => 0.95,
            Service::Exponential => {
                if is_near {
                    0.93
                } else {
                    0.95
                }
            }
            Service::Slower(6) => {
                if is_near {
                    0.82
                } else {
                    0.93
                }
            }
            Service::Slower(_) => {
                if is_near {
                    0.92
                } else {
                    0.95
                }
            }
        })
    }
}

/// Makes the runs of these numbers, each of the cell with its place.
type Runner<'a> = &'a dyn Fn(&[Cell], &[(usize, u64)]) -> Result<Vec<Figures>, Box<dyn Error>>;

/// All cells, without runs.
fn all(bench: &Bench<'_>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for service in Service::ALL {
        for policy in policies(bench, service) {
            let loads = loads(bench, policy, service).iter();
            cells.extend(loads.map(|&times| Cell::new(policy, service, times)));
        }
    }
    cells
}

/// Measures all cells.
pub fn measure(bench: &Bench<'_>, run: Runner<'_>) -> Result<Vec<Cell>, Box<dyn Error>> {
    let mut cells = all(bench);
    add_runs(run, &mut cells, &|cell| 0..cell.wanted(bench))?;
    // Where the runs differ so much that they decide nothing, there are once more as many.
    add_runs(run, &mut cells, &|cell| {
        let (low, high) = cell.goodput().interval();
        let is_unclear = cell.promise(bench).is_some_and(|least| low < least && least <= high);
        let runs = cell.wanted(bench);
        if is_unclear { runs..2 * runs } else { 0..0 }
    })?;
    Ok(cells)
}

/// The most runs of policies that are only shown.
pub const FEWER: u64 = 2;

fn add_runs(
    run: Runner<'_>,
    cells: &mut [Cell],
    numbers: &dyn Fn(&Cell) -> std::ops::Range<u64>,
) -> Result<(), Box<dyn Error>> {
    let of_cell = |(place, cell): (usize, &Cell)| {
        numbers(cell).map(move |number| (place, number)).collect::<Vec<_>>()
    };
    let places: Vec<(usize, u64)> = cells.iter().enumerate().flat_map(of_cell).collect();
    let seen = run(cells, &places)?;
    for ((place, _), figures) in places.into_iter().zip(seen) {
        cells[place].runs.push(figures);
    }
    Ok(())
}

/// Runs real pools.
pub fn real(
    bench: &Bench<'_>,
    cells: &[Cell],
    places: &[(usize, u64)],
) -> Result<Vec<Figures>, Box<dyn Error>> {
    let seed = |number: u64| bench.seed().wrapping_add(number);
    let task = |&(place, number): &(usize, u64)| task(bench, &cells[place], seed(number));
    let tasks: Vec<Task> = places.iter().map(task).collect();
    let digest = |number: usize, run| figures(bench, &cells[places[number].0], &tasks[number], run);
    together::run(bench, &tasks, digest)
}

/// The policies for a service.
pub fn policies(bench: &Bench<'_>, service: Service) -> Vec<Policy> {
    match (bench.is_elsewhere(), bench.is_quick(), service) {
        (true, _, Service::Constant) => vec![Policy::AsItRuns],
        (true, ..) => Vec::new(),
        (false, true, Service::Constant) => {
            vec![Policy::Unbounded, Policy::BoundAndAge, Policy::FAIR]
        }
        (false, true, Service::Slower(6)) => vec![Policy::BoundAndAge, Policy::FAIR],
        (false, true, _) => vec![Policy::FAIR],
        (false, false, Service::Constant) => Policy::ALL.to_vec(),
        (false, false, Service::Slower(6)) => Policy::COMPARED.to_vec(),
        (false, false, _) => vec![Policy::BoundAndAge, Policy::FAIR],
    }
}

fn loads(bench: &Bench<'_>, policy: Policy, service: Service) -> &'static [f64] {
    match (bench.is_quick(), service, policy) {
        (true, Service::Constant, _) => &[0.8, 3.0],
        (true, ..) => &[3.0],
        (false, Service::Constant, Policy::FAIR) => &[0.8, 1.1, 2.0, 5.0, 10.0],
        (false, Service::Constant, _) => &[0.8, 1.1, 2.0, 5.0],
        (false, ..) => &[1.1, 2.0, 5.0],
    }
}

pub fn phases(bench: &Bench<'_>, cell: &Cell) -> Phases {
    let (change, from, to) = match (cell.service, bench.is_quick()) {
        (Service::Constant, true) => (0, 10, 50),
        (Service::Exponential, true) => (0, 15, 75),
        (Service::Slower(_), true) => (20, 140, 220),
        // At 1.1 the queue grows by a tenth of the capacity, and random arrivals can make it shrink
        // for a while. Only a long run shows that it gets longer than clients wait.
        (Service::Constant, false) if cell.policy == Policy::Unbounded && cell.times < 2.0 => {
            (0, 500, 900)
        }
        (Service::Constant, false) => (0, 50, 150),
        (Service::Exponential, false) => (0, 50, 200),
        (Service::Slower(factor), false) if factor < 6 => (60, 180, 420),
        (Service::Slower(_), false) => (60, 240, 600),
    };
    // Far beyond the knee, chance decides less.
    let is_steady = !bench.is_quick() && cell.times >= 5.0;
    let to = if is_steady { from + (to - from) / 2 } else { to };
    Phases { change, from, to }
}

/// The run of a cell with this seed.
pub fn task(bench: &Bench<'_>, cell: &Cell, seed: u64) -> Task {
    let Phases { change, to, .. } = phases(bench, cell);
    // The clients are the same all along: before the service becomes slower, their load is lower.
    let rate = cell.times * bench.capacity() / f64::from(cell.service.factor());
    let arrivals = Arrivals::poisson(Rate::constant(rate), seed);
    Task {
        policy: cell.policy,
        service: cell.service,
        seed,
        // The load goes on after the judged part: an empty pool would serve whoever is left.
        starts: arrivals.starts(Stop::After(bench.delay() * to + bench.patience())),
        retries: Retries::NONE,
        change: bench.delay() * change,
    }
}

fn figures(bench: &Bench<'_>, cell: &Cell, task: &Task, run: Run) -> Figures {
    let Phases { change, from, to } = phases(bench, cell);
    let [from, to] = [from, to].map(|time| bench.delay() * time);
    // What W/D is multiplied with to get the true capacity.
    let factor = match cell.service {
        Service::Exponential => {
            let begun = run.served.iter().filter(|each| (from..to).contains(&each.start));
            begun.map(|each| each.drawn).collect::<Sample>().mean().div_duration_f64(bench.delay())
        }
        service => f64::from(service.factor()),
    };
    let is_first = task.seed == bench.seed();
    let has_lanes = cell.service == Service::Constant && cell.times >= 2.0 && is_first;
    let mut figures = Figures {
        goodput: bench.goodput(&run.outcomes, from, to) * factor,
        twin: twin(bench, cell, &run, from, to),
        latencies: bench.good(&run.outcomes, from, to).map(|each| each.latency()).collect(),
        steps: Vec::new(),
        estimates: Vec::new(),
        lag: None,
        spoilt: run.reasons.clone(),
        kept: None,
    };
    if let Service::Slower(factor) = cell.service {
        over_time(bench, &mut figures, &run, (change, factor), to);
    }
    figures.kept = (has_lanes || bench.args.common.csv.is_some()).then_some(run);
    figures
}

/// The figures of each step, and the lag of the estimate.
fn over_time(
    bench: &Bench<'_>,
    figures: &mut Figures,
    run: &Run,
    (change, factor): (u32, u32),
    to: Duration,
) {
    let step = bench.delay() * STEP;
    let change = bench.delay() * change;
    let over_delay = |service: Option<Duration>| {
        service.map_or(f64::NAN, |service| service.div_duration_f64(bench.delay()))
    };
    let mut from = Duration::ZERO;
    while from + step <= to {
        let within = from..from + step;
        let of_moment = if from < change { 1.0 } else { f64::from(factor) };
        figures.steps.push(bench.goodput(&run.outcomes, from, from + step) * of_moment);
        let samples = run.samples.iter().filter(|(time, _)| within.contains(time));
        let mut services = samples.map(|(_, queue)| over_delay(queue.service));
        let latest = services.rfind(|each| each.is_finite());
        figures.estimates.push(latest.unwrap_or(f64::NAN));
        from += step;
    }
    let is_near = |queue: &cws::QueueState| over_delay(queue.service) >= 0.9 * f64::from(factor);
    let near = run.samples.iter().find(|(time, queue)| *time >= change && is_near(queue));
    figures.lag = near.map(|(time, _)| *time - change);
}

/// The goodput of an ideal pool that gets the arrivals of a run.
fn twin(bench: &Bench<'_>, cell: &Cell, run: &Run, from: Duration, to: Duration) -> Option<f64> {
    if !cell.has_twin() || run.served.is_empty() {
        return None;
    }
    let service = run.served.iter().map(|each| each.end - each.start).collect::<Sample>().mean();
    let (queue, age) = (run.last.bound, run.last.age);
    let twin = Twin { workers: bench.workers(), service, queue, age };
    let mut arrivals: Vec<Duration> = run.outcomes.iter().map(|each| each.intended).collect();
    arrivals.sort_unstable();
    Some(twin_goodput(bench, &twin, &arrivals, from, to))
}

/// The goodput of an ideal pool with these arrivals, over W/D.
pub fn twin_goodput(
    bench: &Bench<'_>,
    twin: &Twin,
    arrivals: &[Duration],
    from: Duration,
    to: Duration,
) -> f64 {
    let fates = twin.replay(arrivals);
    let good = |(arrival, fate): &(&Duration, Fate)| {
        let latency = fate.wait().map(|wait| wait + twin.service);
        (from..to).contains(*arrival) && latency.is_some_and(|time| time <= bench.patience())
    };
    let good = arrivals.iter().zip(fates).filter(good).count() as f64;
    good / (to - from).as_secs_f64() / bench.capacity()
}
