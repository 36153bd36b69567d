//! The search through the interleavings of a model.

use crate::preemption::FewPreemptions;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// More steps than any run takes, unless it never ends.
const MOST_STEPS: usize = 20_000;

/// Tries interleavings, the same ones each time, and panics at the first that fails: for each
/// scheduler `runs` of them, or `CWS_MODEL_RUNS`, and so many `times` more.
pub fn explore(
    runs: usize,
    times: usize,
    run: impl Fn() + Send + Sync + Clone + 'static,
    persistence: FailurePersistence,
) {
    let told = std::env::var("CWS_MODEL_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs = times * told.unwrap_or(runs);
    let config = config(persistence);
    Runner::new(RandomScheduler::new_from_seed(1, runs), config.clone()).run(run.clone());
    // A few context switches at chosen steps find bugs that uniformly random schedules seldom find.
    Runner::new(PctScheduler::new_from_seed(2, 4, runs), config).run(run);
}

/// Tries every order with so many preemptions, or `CWS_MODEL_PREEMPTIONS`, and returns the number
/// of orders.
pub fn exhaust(
    preemptions: usize,
    run: impl Fn() + Send + Sync + 'static,
    persistence: FailurePersistence,
) -> usize {
    let told = std::env::var("CWS_MODEL_PREEMPTIONS").ok().and_then(|most| most.parse().ok());
    let scheduler = FewPreemptions::new(told.unwrap_or(preemptions));
    Runner::new(scheduler, config(persistence)).run(run)
}

fn config(persistence: FailurePersistence) -> Config {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.failure_persistence = persistence;
    config.silence_warnings = true;
    config
}
