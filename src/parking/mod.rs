//! Parking: connections wait for their peers in a table, watched by one poller.
//!
//! A parked connection belongs to the table, in the slot with its descriptor's number. The thread
//! that receives an event for the slot takes the connection out, or notes that it will do so later.
//! Workers park connections directly; nothing is sent back to the acceptor.
//!
//! The poller is edge-triggered: it reports each event once, whether the connection is parked or
//! not. An event that finds its slot empty leaves a note there. A thread that parks a connection in
//! a slot with a note, or that asks for readiness which may already be there, arms the interest
//! again, and arming checks readiness. So no wakeup is lost, and a connection that has been served
//! is parked again without a system call.
//!
//! An event for a slot that now holds another connection is harmless: sockets do not block, and a
//! read that finds nothing parks the connection again.
//!
//! A connection that waits for something other than its peer is nudged, by any thread. A nudge arms
//! the interest in both readability and room, or leaves a note as well.
//!
//! These are the only threads in this crate that interact without a fixed order of events. So the
//! files of this folder are also compiled over a simulated system, where their interleavings are
//! tested: see `tests/parking_model`.

mod primitives;
mod slot;
mod socket;
mod table;
#[cfg(test)]
mod tests;

pub use socket::{Interest, Socket};
pub use table::{Parked, Parking, Waker};
