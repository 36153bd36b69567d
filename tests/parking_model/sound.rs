//! The model with the real parking code.

use crate::primitives;

#[path = "scenario.rs"]
pub mod scenario;
#[path = "../../src/parking/slot.rs"]
mod slot;
#[path = "../../src/parking/socket.rs"]
mod socket;
#[path = "../../src/parking/table.rs"]
mod table;
#[path = "tiny.rs"]
pub mod tiny;
