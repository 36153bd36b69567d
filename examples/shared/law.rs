//! The law of the server's delay as theory knows it.

use cws::ServiceTime;
use cws::internals::{Law, law};
use queueing_theory::{Service, TheoryError};

/// The same law, scaled to a mean of 1.
pub fn theory(service: &ServiceTime) -> Result<Service, TheoryError> {
    match law(service) {
        Law::Constant(_) => Ok(Service::constant()),
        Law::Exponential { .. } => Ok(Service::exponential()),
        Law::Lognormal { cv, .. } => Service::lognormal(*cv),
        Law::Hyperexponential { cv, .. } => Service::hyperexponential(*cv),
        Law::Pareto(of) if of.most.is_infinite() => Service::pareto(of.tail),
        Law::Pareto(of) => Service::bounded_pareto(of.tail, of.least, of.most),
        Law::Two { short, long, chance } => {
            Service::discrete([(*short, 1.0 - chance), (*long, *chance)])
        }
        Law::Uniform { from, to } => Service::uniform(*from, *to),
        Law::Trace(trace) => Service::discrete(trace.sorted.iter().map(|time| (*time, 1.0))),
    }
}
