//! The plan of a model run, and the search through its interleavings.

use crate::search;
use shuttle::FailurePersistence;

/// An action of a peer on its connection.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// Sends this many requests at once, one byte each.
    Send(usize),
    /// Waits for this many answers, one byte each.
    Receive(usize),
    /// Waits for an answer and does not take it, so that it fills the connection.
    Leave,
    /// Ends the stream.
    End,
    Reset,
}

/// The threads of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The actions of each peer, for one connection after another.
    pub peers: &'static [&'static [&'static [Act]]],
    pub workers: usize,
    /// The number of answers that fit into a connection before its peer must take one.
    pub room: usize,
    /// The number of events that one wait reports.
    pub batch: usize,
    /// Some requests wait for another thread, which then nudges their connection.
    pub errands: bool,
    /// The number of nudges without a reason.
    pub strays: usize,
    /// The acceptor also takes connections without an event, and closes idle ones.
    pub sweeps: bool,
}

/// The base plan, which the others change.
pub const PLAIN: Plan =
    Plan { peers: &[], workers: 1, room: 1, batch: 8, errands: false, strays: 0, sweeps: false };

/// The number of interleavings for each plan and scheduler. `CWS_MODEL_RUNS=1000000` tries more.
const RUNS: usize = 1000;

/// The number of preemptions up to which every order is tried. `CWS_MODEL_PREEMPTIONS` sets another
/// number.
const PREEMPTIONS: usize = 3;

/// Tries interleavings, the same ones each time, and panics at the first that fails.
pub fn explore(run: impl Fn() + Send + Sync + Clone + 'static, persistence: FailurePersistence) {
    search::explore(RUNS, 1, run, persistence);
}

/// Tries every order with a few preemptions, and returns their number.
pub fn exhaust(run: impl Fn() + Send + Sync + 'static, persistence: FailurePersistence) -> usize {
    search::exhaust(PREEMPTIONS, run, persistence)
}
