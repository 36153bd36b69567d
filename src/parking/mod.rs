//! Where connections wait for their peers: a poller and a table of parked connections.
//!
//! A parked connection belongs to the table, in the slot of its descriptor's number, and the
//! poller watches its socket once. Whoever finds the event takes the connection out again.
//! Workers park directly; nothing is sent back to the acceptor. The poller reports what comes, once
//! (edge-triggered), whether the connection is parked or not: an event that finds its slot empty
//! leaves a note there, and who parks with such a note, or wants to know of what is there already,
//! arms the interest anew, which checks readiness. So no wakeup is lost, and a connection that has
//! been served goes back without a system call. An event for a slot that has changed hands is
//! harmless: sockets do not block, and a read that finds nothing parks again. Who waits for
//! something else than its peer is nudged, by any thread: a nudge arms the interest in anything,
//! or leaves a note as well.
//!
//! This is the one place where threads meet without a common order of events, so its files are
//! also compiled over a simulated system, and their interleavings tried out: see
//! `tests/parking_model`.

mod primitives;
mod slot;
mod socket;
mod table;
#[cfg(test)]
mod tests;

pub use socket::{Interest, Socket};
pub use table::{Parked, Parking, Waker};
