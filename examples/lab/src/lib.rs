//! The saturation lab: generates load with intended start times, and records the outcomes.
//!
//! The lab does not depend on the server's internals: it sends load to an address. Measuring
//! (`arrivals`, `load`), theory (the crate `queueing-theory`, `twin`) and drawing (`chart`,
//! `table`, `report`) are independent of one another. `numbers`, `moments` and `chance` serve all
//! of them. `program` is the shared frame of the programs in `examples/`.
//!
//! The modules are declared from the bottom up: each uses only those above its own line.

pub mod numbers;
pub mod moments;
pub mod chance;
pub mod student;
pub mod evidence;
pub mod machine;
pub mod kernel;
pub mod csv;
pub mod hdr;
pub mod arrivals;
pub mod sample;
pub mod twin;
pub mod steady;
pub mod orders;
pub mod fleet;
pub mod load;
pub mod access_log;
pub mod replay;
pub mod windows;
pub mod comparison;
pub mod saved;
pub mod live;
pub mod simulation;
pub mod ideal;
pub mod anatomy;
pub mod trace;
pub mod chart;
pub mod table;
pub mod report;
pub mod progress;
pub mod cli;
pub mod program;
pub mod trial;
