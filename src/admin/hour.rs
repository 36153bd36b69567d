//! The last hour in coarse steps.

use super::rates::{Rates, cores};
use super::seconds;
use crate::config;
use crate::figures::{Figures, Times};
use crate::metrics::Snapshot;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// The steps of the last hour.
#[derive(Debug)]
pub(super) struct Hour {
    last: Snapshot,
    /// The CPU time at the last step.
    cpu: Duration,
    steps: VecDeque<Step>,
}

/// The figures of one step.
#[derive(Debug)]
struct Step {
    at: Duration,
    offered: f64,
    handled: f64,
    immediate: f64,
    shed: f64,
    utilisation: f64,
    capacity: Option<f64>,
    queue_wait: Times,
    service: Times,
    rates: Rates,
    /// Bytes, at the end of the step.
    memory: u64,
    cores: f64,
}

impl Hour {
    pub(super) fn new(first: &Snapshot, cpu: Duration) -> Self {
        Self { last: first.clone(), cpu, steps: VecDeque::new() }
    }

    /// Adds a sample, with the CPU time at its moment.
    pub(super) fn add(&mut self, snapshot: &Snapshot, cpu: Duration) {
        if snapshot.at < self.last.at + config::HOUR_STEP {
            return;
        }
        if self.steps.len() == config::HOUR_STEPS {
            self.steps.pop_front();
        }
        let figures = Figures::between(&self.last, snapshot);
        self.steps.push_back(Step {
            at: snapshot.at,
            offered: figures.offered,
            handled: figures.handled,
            immediate: figures.immediate,
            shed: figures.shed,
            utilisation: figures.utilisation.total(),
            capacity: figures.capacity,
            queue_wait: figures.queue_wait,
            service: figures.service,
            rates: Rates::between(&self.last, snapshot),
            memory: snapshot.memory.held_in_all(),
            cores: cores((self.last.at, self.cpu), (snapshot.at, cpu)),
        });
        (self.last, self.cpu) = (snapshot.clone(), cpu);
    }

    pub(super) fn json(&self) -> Value {
        let times = |of: &Times| json!({ "p50": seconds(of.p50), "p99": seconds(of.p99) });
        let step = |step: &Step| {
            json!({
                "at": step.at.as_secs_f64(),
                "offered": step.offered,
                "handled": step.handled,
                "immediate": step.immediate,
                "shed": step.shed,
                "utilisation": step.utilisation,
                "capacity": step.capacity,
                "queue_wait": times(&step.queue_wait),
                "service": times(&step.service),
                "rates": step.rates.json(),
                "memory": step.memory,
                "cores": step.cores,
            })
        };
        json!({
            "step": config::HOUR_STEP.as_secs_f64(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.steps.len() * size_of::<Step>()
    }
}
