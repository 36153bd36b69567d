//! The model with a room that has planted bugs. Everything else is the real code.

use crate::primitives;

#[path = "../../src/queue/clients.rs"]
mod clients;
#[path = "../../src/queue/discipline.rs"]
mod discipline;
#[path = "../../src/queue/entrance.rs"]
mod entrance;
#[path = "../../src/queue/fair.rs"]
mod fair;
#[path = "../../src/queue/line.rs"]
mod line;
#[path = "planted_room.rs"]
pub mod room;
#[path = "scenario.rs"]
pub mod scenario;
#[path = "../../src/queue/recent.rs"]
mod recent;
#[path = "../../src/queue/smallest.rs"]
mod smallest;
