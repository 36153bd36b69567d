//! The plan of a model run, and the search through its interleavings.

use crate::search;
use shuttle::FailurePersistence;

/// An action of the acceptor.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// Puts in this many items, of several clients and sizes.
    Put(usize),
    /// Puts in an item whose service lasts until it is released, and waits until that has begun.
    Hold,
    /// Puts in such an item and does not wait.
    PutHeld,
    /// Ends the services that last.
    Release,
    /// Puts in this many items, each in place of one that gives way.
    Replace(usize),
    /// Lets some of those that wait go.
    Expire,
    /// More time passes than the channel may take to hand an item over.
    Later,
    /// Looks after the channel.
    Look,
    /// Waits until everything that was put in has been taken. Nothing but the hand-over helps the
    /// workers meanwhile.
    Await,
}

/// The order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Fair,
    Fifo,
    Lifo,
    Smallest,
}

/// The threads of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The actions of the acceptor, after which it drops the entrance.
    pub acts: &'static [Act],
    pub workers: usize,
    /// The slots of the channel.
    pub slots: usize,
}

/// The base plan, which the others change.
pub const PLAIN: Plan = Plan { acts: &[], workers: 2, slots: 16 };

/// The number of interleavings for each plan, order and scheduler. `CWS_MODEL_RUNS=1000000` tries
/// more.
const RUNS: usize = 400;

/// The number of preemptions up to which every order of a small plan is tried.
/// `CWS_MODEL_PREEMPTIONS` sets another number.
const PREEMPTIONS: usize = 1;

/// How many times more interleavings are tried where those that matter are rare.
pub const RARE: usize = 10;

/// Tries interleavings, the same ones each time, and panics at the first that fails.
pub fn explore(run: impl Fn() + Send + Sync + Clone + 'static, persistence: FailurePersistence) {
    explore_times(1, run, persistence);
}

/// Tries so many times more.
pub fn explore_times(
    times: usize,
    run: impl Fn() + Send + Sync + Clone + 'static,
    persistence: FailurePersistence,
) {
    search::explore(RUNS, times, run, persistence);
}

/// Tries every order with a few preemptions, and returns their number.
pub fn exhaust(run: impl Fn() + Send + Sync + 'static, persistence: FailurePersistence) -> usize {
    search::exhaust(PREEMPTIONS, run, persistence)
}
