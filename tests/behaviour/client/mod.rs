//! Runs the client binary against small servers that each test starts.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;
mod framing;
mod exchange;
mod faults;
mod ports;
mod usage;
