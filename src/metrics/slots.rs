//! The slot of each count in the array that a shard and a snapshot have.

use super::counters::{CloseReason, Counter};

/// Status classes of final responses: 2xx to 5xx.
const CLASSES: usize = 4;

/// The slot of request heads that arrived in one read. They are too many to take a lock for each.
pub(super) const WHOLE_HEADS: usize = Counter::ALL.len() + CloseReason::ALL.len() + CLASSES;

/// The number of slots.
pub(super) const SLOTS: usize = WHOLE_HEADS + 1;

/// The slot of a counter.
pub(super) fn counter(counter: Counter) -> usize {
    counter as usize
}

/// The slot of connections that ended for a reason.
pub(super) fn reason(reason: CloseReason) -> usize {
    Counter::ALL.len() + reason as usize
}

/// The slot of responses of a status class, 2 to 5.
pub(super) fn class(class: u16) -> usize {
    Counter::ALL.len() + CloseReason::ALL.len() + usize::from(class.clamp(2, 5) - 2)
}
