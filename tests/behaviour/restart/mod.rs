//! Upgrades: one process after another takes the listeners over, and no client notices.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod chain;
mod clients;
mod protocol;
mod storms;
mod upgrade;
