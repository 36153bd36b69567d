//! Computes the minimum pool for a target, by exact theory.

use cws::config;
use lab::numbers::percent;
use queueing_theory::{Mdc, Mmc, mdck_blocking, mmck_blocking};
use std::time::Duration;

/// The largest number of machines in a plan.
const MACHINES_MOST: u32 = 4096;

/// The distribution of service times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// All equal.
    Constant,
    /// Exponential.
    Exponential,
}

/// The requirements.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// Requests per second.
    pub rate: f64,
    pub delay: Duration,
    pub p99: Duration,
    pub deadline: Duration,
    pub refuse: f64,
    pub service: Service,
}

/// The performance of a number of workers, on each machine.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub machines: u32,
    pub workers: u32,
    pub queue: usize,
    pub queue_timeout: Duration,
    pub utilisation: f64,
    pub wait_probability: f64,
    pub mean_wait: Duration,
    /// The 99th percentile of the latency, including the service.
    pub p99: Duration,
    /// The share of requests that are refused.
    pub refused: f64,
}

impl Want {
    pub fn describe(&self) -> String {
        let Self { rate, delay, p99, deadline, refuse, .. } = *self;
        format!(
            "{rate} requests a second that take {delay:?} each keep {:.2} workers busy on average. \
             Target: 99 % within {p99:?}, at most {} refused; clients wait for {deadline:?}.",
            self.offered(),
            percent(refuse)
        )
    }

    /// The requirements for each of several machines that share the load evenly.
    pub fn shared_by(&self, machines: u32) -> Self {
        Self { rate: self.rate / f64::from(machines), ..*self }
    }

    fn offered(&self) -> f64 {
        self.rate * self.delay.as_secs_f64()
    }
}

impl Plan {
    /// The performance of this many workers. `None` if they have no steady state.
    pub fn of(want: &Want, workers: u32) -> Option<Self> {
        if workers == 0 {
            return None;
        }
        let utilisation = want.offered() / f64::from(workers);
        let (queue, queue_timeout) =
            config::for_patience(workers as usize, want.delay, want.deadline);
        let system = workers.saturating_add(u32::try_from(queue).unwrap_or(u32::MAX));
        let (wait_probability, mean_wait, p99, refused) = match want.service {
            Service::Constant => {
                let pool = Mdc::new(workers, utilisation).ok()?;
                let p99 = 1.0 + pool.wait_percentile(0.99).ok()?;
                let refused = mdck_blocking(workers, system, utilisation).ok()?;
                (pool.wait_probability(), pool.mean_wait(), p99, refused)
            }
            Service::Exponential => {
                let pool = Mmc::new(workers, utilisation).ok()?;
                let p99 = pool.response_percentile(0.99).ok()?;
                let refused = mmck_blocking(workers, system, want.offered()).ok()?;
                (pool.wait_probability(), pool.mean_wait(), p99, refused)
            }
        };
        let times = |count: f64| want.delay.mul_f64(count);
        Some(Self {
            machines: 1,
            workers,
            queue,
            queue_timeout,
            utilisation,
            wait_probability,
            mean_wait: times(mean_wait),
            p99: times(p99),
            refused,
        })
    }

    pub fn meets(&self, want: &Want) -> bool {
        self.p99 <= want.p99 && self.refused <= want.refuse
    }
}

/// The minimum pool that meets the target: more workers never wait longer.
pub fn least(want: &Want) -> Result<Plan, String> {
    let most = config::WORKERS_MOST as u32;
    let meets = |workers| Plan::of(want, workers).filter(|plan| plan.meets(want));
    let Some(enough) = meets(most) else {
        return Err(match want.service {
            Service::Exponential if want.offered() < f64::from(most) / 2.0 => format!(
                "no number of workers answers 99 % within {:?}: the service alone takes longer for \
                 more than 1 % (choose a p99 of at least {:.2?})",
                want.p99,
                want.delay.mul_f64(100f64.ln())
            ),
            _ => format!(
                "one pool would need {:.0} or more workers, which is too many (share the load \
                 among machines: --per-machine)",
                want.offered()
            ),
        });
    };
    let (mut too_few, mut plan) = (0, enough);
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
