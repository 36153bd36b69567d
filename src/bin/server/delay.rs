//! The option that simulates a slow back-end, and what the start line says of it.

use clap::Args;
use cws::ServiceTime;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct DelayArgs {
    /// Delay for each file served, for example 50ms, or a random one; the worker sleeps, which
    /// simulates a slow back-end: exp:20ms, lognormal:20ms,cv=2, pareto:20ms,tail=1.5[,most=10s],
    /// two:1ms,200ms,p=.01, uniform:1ms,9ms, hyper:20ms,cv=2, or trace:FILE (one time a line, or an
    /// access log in JSON); ,seed=N at the end chooses other samples [default: none]
    #[arg(long, env = "CWS_DELAY", value_name = "LAW")]
    delay: Option<ServiceTime>,
}

impl DelayArgs {
    /// The law; no time at all if none is given.
    pub fn law(&self) -> ServiceTime {
        self.delay.clone().unwrap_or_default()
    }

    /// The mean delay.
    pub fn mean(&self) -> Duration {
        self.delay.as_ref().map_or(Duration::ZERO, ServiceTime::mean)
    }

    /// The delay and the capacity of this number of workers; empty without a delay.
    pub fn describe(&self, workers: usize) -> String {
        let Some(law) = self.delay.as_ref().filter(|law| !law.mean().is_zero()) else {
            return String::new();
        };
        let most = round(workers as f64 / law.mean().as_secs_f64());
        let mean = match law.constant() {
            Some(_) => String::new(),
            None => format!(" (mean {}, {})", crate::show(law.mean()), variation(law)),
        };
        let two_moments = match law.is_known_by_two_moments() {
            true => "",
            false => "; mean and variation do not determine the wait of this law",
        };
        format!(", delay {law}{mean}: at most {most} requests/s{two_moments}")
    }
}

/// The coefficient of variation of a law.
fn variation(law: &ServiceTime) -> String {
    match law.squared_variation().sqrt() {
        infinite if infinite.is_infinite() => "infinite variance".to_owned(),
        // Two digits after the point, and no more than it has.
        cv => format!("coefficient of variation {}", (cv * 100.0).round() / 100.0),
    }
}

/// A rate with three digits, and without decimals if it is large.
fn round(rate: f64) -> String {
    if rate >= 100.0 || rate.fract() == 0.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}
