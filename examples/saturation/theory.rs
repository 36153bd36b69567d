//! Theory for the law of the options.

use cws::ServiceTime;
use queueing_theory::{Mdc, Mmc};

/// The mean wait of the steady state over the mean service, and how far it can be trusted. `None`
/// without a steady state.
pub fn mean_wait(workers: u32, load: f64, service: &ServiceTime) -> Option<(f64, String)> {
    match service.constant() {
        Some(_) => Mdc::new(workers, load).ok().map(|pool| (pool.mean_wait(), "exact".to_owned())),
        None => Mmc::new(workers, load).ok().map(|pool| (pool.mean_wait(), "exact".to_owned())),
    }
}
