//! Runs the client binary against small servers that each test starts.

#![allow(clippy::unwrap_used)]

mod support;
mod framing;
mod exchange;
mod faults;
mod ports;
mod usage;
