//! The client over real sockets: its own binary against small servers that each test makes.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;
mod framing;
mod exchange;
mod faults;
mod ports;
mod usage;
