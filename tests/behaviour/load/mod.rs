//! The load generator against servers of many kinds, with known delays and known faults.
#![allow(clippy::unwrap_used)]

mod faults;
mod figures;
mod kept;
mod requests;
mod servers;
mod together;
