//! Theory for the law of the options.
#![allow(dead_code, reason = "each program uses its own part")]

use cws::ServiceTime;
use cws::internals::{Law, law};
use queueing_theory::{Mgc, Service, Trust};

/// The mean wait of the steady state over the mean service. `None` without a steady state, and for
/// laws that theory does not know.
pub fn pool(workers: u32, load: f64, time: &ServiceTime) -> Option<Mgc> {
    let service = match law(time) {
        Law::Constant(_) => Service::constant(),
        Law::Exponential { .. } => Service::exponential(),
        Law::Lognormal { cv, .. } => Service::lognormal(*cv).ok()?,
        Law::Hyperexponential { cv, .. } => Service::hyperexponential(*cv).ok()?,
        Law::Uniform { from, to } => Service::uniform(*from, *to).ok()?,
        Law::Two { short, long, chance } => {
            Service::discrete([(*short, 1.0 - chance), (*long, *chance)]).ok()?
        }
        _ => return None,
    };
    Mgc::new(workers, load, &service).ok()
}

/// By which share the mean wait may be off. `None` if that is unknown.
pub fn trusted(pool: &Mgc) -> Option<f64> {
    match pool.trust() {
        Trust::Exact(_) => Some(0.0),
        Trust::Within(share) => Some(share),
        Trust::Rough => None,
    }
}
