//! The saturation lab: load with intended start times, and what became of it.
//!
//! It knows nothing of the server: a load goes to an address.

pub mod arrivals;
pub mod load;
