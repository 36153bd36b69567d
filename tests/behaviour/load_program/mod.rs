//! The program `load`: its options, what arrives at a server, its files, and its verdicts.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod program;
mod recorder;
mod requests;
mod rates;
mod replay;
mod files;
mod compare;
mod hostile;
mod beside;
