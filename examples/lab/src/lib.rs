//! The saturation lab: load with intended start times, and what became of it.
//!
//! It knows nothing of the server's inside: a load goes to an address. Measuring (`arrivals`,
//! `load`), theory (the crate `queueing-theory`, `twin`) and drawing (`chart`, `table`, `report`)
//! stand apart. `numbers` and `moments` serve all of them, and `program` is what the programs of
//! `examples/` have in common.
//!
//! The modules are declared bottom floor first, and each uses only those above its own line.

mod markup;
pub mod numbers;
pub mod moments;
pub mod csv;
pub mod arrivals;
pub mod sample;
pub mod twin;
pub mod load;
pub mod trace;
pub mod chart;
pub mod table;
pub mod report;
pub mod progress;
pub mod cli;
pub mod program;
