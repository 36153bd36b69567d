//! The model with slots that have planted bugs. Everything else is the real code.

use crate::primitives;

#[path = "scenario.rs"]
pub mod scenario;
#[path = "planted_slot.rs"]
pub mod slot;
#[path = "../../src/parking/socket.rs"]
mod socket;
#[path = "../../src/parking/table.rs"]
mod table;
#[path = "tiny.rs"]
pub mod tiny;
