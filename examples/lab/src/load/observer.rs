//! What follows a load while it runs.

use super::Outcome;

/// Gets each outcome as its request ends, on the thread that drives all requests: what it does
/// delays them. A closure that takes an [`Outcome`] is one.
pub trait Observer: Send {
    /// A request has started.
    fn started(&mut self) {}

    /// A request has ended.
    fn ended(&mut self, outcome: Outcome);

    /// Whether more requests may start. Those that have started are finished.
    fn wants_more(&self) -> bool {
        true
    }
}

impl<F: FnMut(Outcome) + Send> Observer for F {
    fn ended(&mut self, outcome: Outcome) {
        self(outcome);
    }
}
