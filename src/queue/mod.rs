//! The queue: who of those that wait is served next, who gives way, and how long anybody waits.
//!
//! The acceptor puts jobs into a channel, from which the workers take them. While the channel is
//! quick, that is all. When jobs stay in it, those that wait move to a room in front of it, where
//! the discipline orders them, and the channel holds the next one. A worker that takes it moves the
//! next one in.
//!
//! # Floor plan
//!
//! Each file uses only those declared before it.
//!
//! - `ages`: how long a request may wait, and how many may.
//! - `discipline`: what an order of service is.
//! - `line`, `smallest`, `fair`: the orders.
//! - `recent`: which clients had the most of something lately.
//! - `clients`: what clients take, for whoever looks at it.
//! - `sizes`: the sizes of responses, by what was asked for.
//! - `primitives`: the system types that the hand-over uses. Its model replaces them.
//! - `room`: the waiting room, the channel, and the hand-over between them.
//! - `entrance`: the acceptor's side of both.

pub mod ages;
mod discipline;
mod line;
mod smallest;
mod fair;
mod recent;
mod clients;
mod sizes;
mod primitives;
mod room;
mod entrance;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod fairness_tests;

pub use clients::ClientLoad;
pub use discipline::{Charge, Discipline, Entry, Victim};
pub use entrance::Entrance;
pub use room::{Queue, Queued, Slot};
pub use sizes::Sizes;

use crate::config::Schedule;
use fair::Fair;
use line::Line;
use smallest::Smallest;
use std::fmt::Debug;

/// The discipline of this name.
pub fn discipline<T: Debug + Send + 'static>(schedule: Schedule) -> Box<dyn Discipline<T>> {
    match schedule {
        Schedule::Fair => Box::new(Fair::default()),
        Schedule::Fifo => Box::new(Line::oldest_first()),
        Schedule::Lifo => Box::new(Line::newest_first()),
        Schedule::SmallestFirst => Box::new(Smallest::default()),
    }
}
