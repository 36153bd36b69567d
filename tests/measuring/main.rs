//! Programs that measure: the examples of the lab, weights behind a balancer, a link.
//!
//! They are disturbed by what runs beside them, so each takes a permit.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod grade;
mod lab_programs;
mod link;
mod models;
mod permit;
mod services;
