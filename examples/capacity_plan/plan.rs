//! Computes the minimum pool for a target, by theory of a pool with a bounded queue.

use cws::{Config, ServiceTime};
use lab::numbers::percent;
use lab::sample::Sample;
use lab::steady::{Effort, Steady};
use queueing_theory::{Mdc, Mdck, Mmck, TheoryError};
use std::time::Duration;

/// If fewer requests are refused, the bound has no effect, and constant service has exact waits.
const REFUSED_LEAST: f64 = 1e-6;

/// A real wait below this part of a service is the time to wake a thread.
pub const NOTICED: f64 = 0.05;

/// Services that are drawn to know their 99th percentile.
const SAMPLES: u64 = 100_000;

/// The largest number of machines in a plan.
const MACHINES_MOST: u32 = 4096;

/// The requirements.
#[derive(Debug, Clone)]
pub struct Want {
    /// Requests per second.
    pub rate: f64,
    /// The mean service time.
    pub delay: Duration,
    pub p99: Duration,
    pub deadline: Duration,
    pub refuse: f64,
    pub service: ServiceTime,
    /// How much is simulated where there is no formula.
    pub effort: Effort,
}

/// The performance of a number of workers, on each machine.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub machines: u32,
    pub workers: u32,
    pub queue: usize,
    pub queue_timeout: Duration,
    /// The share of their time that the workers are busy.
    pub utilisation: f64,
    /// Answered requests per second.
    pub carried: f64,
    /// The share of the answered requests that wait.
    pub wait_probability: f64,
    /// The share of those that wait longer than [`NOTICED`], for constant service.
    pub delayed: f64,
    /// The mean wait of the answered requests.
    pub mean_wait: Duration,
    /// The 99th percentile of the latency of the answered requests, including the service.
    pub p99: Duration,
    /// The share of requests that are refused.
    pub refused: f64,
    /// Half of the 95 % intervals of the three above, in the same order, if they are simulated.
    pub simulated: Option<(Duration, Duration, f64)>,
}

impl Want {
    pub fn describe(&self) -> String {
        let Self { rate, delay, p99, deadline, refuse, .. } = *self;
        let each = match self.service.constant() {
            Some(_) => "each".to_owned(),
            None => format!(
                "on average ({}, {})",
                self.service,
                match self.service.squared_variation().sqrt() {
                    cv if cv.is_finite() => format!("coefficient of variation {cv:.2}"),
                    _ => "infinite variance".to_owned(),
                }
            ),
        };
        format!(
            "{} requests a second that take {delay:?} {each} keep {:.2} workers busy on average. \
             Target: 99 % within {p99:?}, at most {} refused; clients wait for {deadline:?}.",
            (rate * 100.0).round() / 100.0,
            self.offered(),
            percent(refuse)
        )
    }

    /// The requirements for each of several machines that share the load evenly.
    pub fn shared_by(&self, machines: u32) -> Self {
        Self { rate: self.rate / f64::from(machines), ..self.clone() }
    }

    fn offered(&self) -> f64 {
        self.rate * self.delay.as_secs_f64()
    }
}

impl Plan {
    /// The performance of this many workers. `None` if there are none, or theory has no answer.
    pub fn of(want: &Want, workers: u32) -> Option<Self> {
        if workers == 0 {
            return None;
        }
        let (queue, queue_timeout) =
            Config::for_patience(workers as usize, want.delay, want.deadline);
        let system = workers.saturating_add(u32::try_from(queue).unwrap_or(u32::MAX));
        let offered = want.offered() / f64::from(workers);
        let figures = match (want.service.constant(), is_exponential(&want.service)) {
            (Some(_), _) => constant(workers, system, offered),
            (None, true) => exponential(workers, system, offered),
            (None, false) => return Some(Self::simulated(want, workers)),
        };
        let Figures { refused, wait_probability, delayed, mean_wait, p99 } = figures.ok()?;
        let times = |count: f64| want.delay.mul_f64(count);
        Some(Self {
            machines: 1,
            workers,
            queue,
            queue_timeout,
            utilisation: offered * (1.0 - refused),
            carried: want.rate * (1.0 - refused),
            wait_probability,
            delayed,
            mean_wait: times(mean_wait),
            p99: times(p99),
            refused,
            simulated: None,
        })
    }

    /// The same by simulation, for services that no formula covers. More workers serve the same
    /// arrivals, so they never seem to wait longer by chance.
    fn simulated(want: &Want, workers: u32) -> Self {
        let (queue, queue_timeout) =
            Config::for_patience(workers as usize, want.delay, want.deadline);
        let pool = Steady::unbounded(workers as usize, want.rate, want.service.clone());
        let found = Steady { queue, age: queue_timeout, ..pool }.estimate(want.effort);
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let p99 = found.response[2];
        Self {
            machines: 1,
            workers,
            queue,
            queue_timeout,
            utilisation: found.busy.value,
            carried: want.rate * (1.0 - found.refused.value),
            wait_probability: found.waited.value,
            delayed: found.delayed.value,
            mean_wait: time(found.mean_wait.value),
            p99: time(p99.value),
            refused: found.refused.value,
            simulated: Some((time(found.mean_wait.half), time(p99.half), found.refused.half)),
        }
    }

    pub fn meets(&self, want: &Want) -> bool {
        let (_, p99, refused) = self.simulated.unwrap_or_default();
        self.p99.saturating_add(p99) <= want.p99 && self.refused + refused <= want.refuse
    }

    /// The 99th percentile of the latency, with its interval if it is simulated.
    pub fn show_p99(&self) -> String {
        match self.simulated {
            Some((_, half, _)) => format!("{:.2?} \u{b1} {half:.2?}", self.p99),
            None => format!("{:.2?}", self.p99),
        }
    }
}

/// What theory says of a pool. Times are in units of the service time.
struct Figures {
    refused: f64,
    wait_probability: f64,
    delayed: f64,
    mean_wait: f64,
    p99: f64,
}

fn constant(workers: u32, system: u32, offered: f64) -> Result<Figures, TheoryError> {
    let pool = Mdck::new(workers, system, offered)?;
    let refused = pool.blocking();
    if let (true, Ok(free)) = (refused < REFUSED_LEAST, Mdc::new(workers, offered)) {
        return Ok(Figures {
            refused,
            wait_probability: free.wait_probability(),
            delayed: free.wait_beyond(NOTICED),
            mean_wait: free.mean_wait(),
            p99: 1.0 + free.wait_percentile(0.99)?,
        });
    }
    Ok(Figures {
        refused,
        wait_probability: pool.wait_probability(),
        delayed: pool.wait_beyond(NOTICED),
        mean_wait: pool.mean_wait(),
        p99: 1.0 + pool.wait_percentile(0.99)?,
    })
}

fn exponential(workers: u32, system: u32, offered: f64) -> Result<Figures, TheoryError> {
    let pool = Mmck::new(workers, system, offered)?;
    Ok(Figures {
        refused: pool.blocking(),
        wait_probability: pool.wait_probability(),
        delayed: pool.wait_probability(),
        mean_wait: pool.mean_wait(),
        p99: pool.response_percentile(0.99)?,
    })
}

/// Whether theory has its exact figures.
fn is_exponential(service: &ServiceTime) -> bool {
    service.constant().is_none() && service.is_known_by_two_moments()
}

/// The 99th percentile of a service alone.
pub fn service_p99(service: &ServiceTime) -> Duration {
    match service.constant() {
        Some(delay) => delay,
        None if is_exponential(service) => service.mean().mul_f64(100f64.ln()),
        None => {
            (0..SAMPLES).map(|number| service.sample(number)).collect::<Sample>().percentile(0.99)
        }
    }
}

/// The minimum pool that meets the target: more workers never wait longer.
pub fn least(want: &Want) -> Result<Plan, String> {
    let most = Config::WORKERS_MOST as u32;
    let alone = service_p99(&want.service);
    if alone > want.p99 {
        return Err(format!(
            "no number of workers answers 99 % within {:?}: the service alone takes longer for \
             more than 1 % (choose a p99 of at least {alone:.2?})",
            want.p99
        ));
    }
    let meets = |workers| Plan::of(want, workers).filter(|plan| plan.meets(want));
    // Near what the load fills, where a simulation is quick, and upwards in steps that double.
    let mut too_few = (want.offered() as u32).min(most);
    let mut step = 1;
    let mut plan = loop {
        let workers = too_few.saturating_add(step).min(most);
        match meets(workers) {
            Some(plan) => break plan,
            None if workers >= most => {
                return Err(format!(
                    "one pool would need {:.0} or more workers, which is too many (share the load \
                     among machines: --per-machine)",
                    want.offered()
                ));
            }
            None => (too_few, step) = (workers, step * 2),
        }
    };
    // With a bounded queue, fewer workers than the load fills may do.
    if plan.workers <= want.offered() as u32 + 1 {
        too_few = 0;
    }
    while plan.workers - too_few > 1 {
        let middle = too_few + (plan.workers - too_few) / 2;
        match meets(middle) {
            Some(better) => plan = better,
            None => too_few = middle,
        }
    }
    Ok(plan)
}

/// The smallest number of machines that suffices: the minimum pool of each, and its load.
pub fn split(want: &Want, per_machine: u32) -> Result<(Plan, Want), String> {
    let mut machines = 1;
    loop {
        let shared = want.shared_by(machines);
        match least(&shared) {
            Ok(plan) if plan.workers <= per_machine => {
                return Ok((Plan { machines, ..plan }, shared));
            }
            Err(reason) if shared.offered() < f64::from(per_machine) => return Err(reason),
            _ if machines >= MACHINES_MOST => {
                return Err(format!(
                    "more than {MACHINES_MOST} machines with {per_machine} workers would be needed \
                     (reduce the load, or allow more workers per machine)"
                ));
            }
            // At least as many as the mean load fills.
            _ => {
                let filled = want.offered() / f64::from(per_machine);
                machines = (machines + 1).max(filled.ceil().min(4096.0) as u32);
            }
        }
    }
}
