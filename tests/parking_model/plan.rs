//! What a run of the model consists of, and how many interleavings of it are tried.

use crate::preemption::FewPreemptions;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// What a peer does with a connection.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// So many requests at once, of a byte each.
    Send(usize),
    /// Waits for so many answers, of a byte each.
    Receive(usize),
    /// Waits for an answer, and leaves it in the way of the next one.
    Leave,
    /// Says no more.
    End,
    Reset,
}

/// The threads of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What each peer does, one connection after the other.
    pub peers: &'static [&'static [&'static [Act]]],
    pub workers: usize,
    /// Answers that fit into a connection before its peer must take one.
    pub room: usize,
    /// Events that one wait reports.
    pub batch: usize,
    /// Some requests wait for another thread, which then nudges their connection.
    pub errands: bool,
    /// Nudges without a reason.
    pub strays: usize,
    /// The acceptor also takes connections without an event, and closes idle ones.
    pub sweeps: bool,
}

/// A run of which the others are variations.
pub const PLAIN: Plan =
    Plan { peers: &[], workers: 1, room: 1, batch: 8, errands: false, strays: 0, sweeps: false };

/// Interleavings of each plan and scheduler. More are tried with `CWS_MODEL_RUNS=1000000`.
const RUNS: usize = 1000;

/// Interruptions at most, where every order is tried. `CWS_MODEL_PREEMPTIONS` sets another number.
const PREEMPTIONS: usize = 3;

/// Longer than any run is, unless it never ends.
const MOST_STEPS: usize = 20_000;

/// Tries interleavings out, the same ones each time, and panics with the first that fails.
pub fn explore(run: impl Fn() + Send + Sync + Clone + 'static, persistence: FailurePersistence) {
    let runs = std::env::var("CWS_MODEL_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs = runs.unwrap_or(RUNS);
    let config = config(persistence);
    Runner::new(RandomScheduler::new_from_seed(1, runs), config.clone()).run(run.clone());
    // Few changes of turns at chosen moments find what even chances seldom do.
    Runner::new(PctScheduler::new_from_seed(2, 4, runs), config).run(run);
}

/// Tries out every order with a few interruptions, and tells how many there are.
pub fn exhaust(run: impl Fn() + Send + Sync + 'static, persistence: FailurePersistence) -> usize {
    let most = std::env::var("CWS_MODEL_PREEMPTIONS").ok().and_then(|most| most.parse().ok());
    let scheduler = FewPreemptions::new(most.unwrap_or(PREEMPTIONS));
    Runner::new(scheduler, config(persistence)).run(run)
}

fn config(persistence: FailurePersistence) -> Config {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.failure_persistence = persistence;
    config.silence_warnings = true;
    config
}
