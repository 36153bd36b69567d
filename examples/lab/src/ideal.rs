//! Runs of an ideal pool in place of a real one, with or without a planted fault: they test whether
//! checks raise false alarms, and whether they find what is wrong.

use crate::chance::exponential;
use crate::load::{Answer, Outcome, ServerTiming};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A pool without sockets, threads and clocks, whose small delays are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Ideal {
    /// The number of workers.
    pub workers: usize,
    /// What is wrong with it, and how many times worse than it is described.
    pub fault: Option<Fault>,
    /// See `fault`.
    pub severity: u32,
    /// Seed of its small delays.
    pub seed: u64,
}

/// A fault that the checks of a program must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One worker does not work.
    LostWorker,
    /// After each request a worker does something else, for a twentieth of the service time, that
    /// the server does not report.
    Pauses,
    /// Services last a twentieth longer than told.
    SlowServices,
    /// Answers are on their way for a third of a millisecond longer.
    SlowWay,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LostWorker, Self::Pauses, Self::SlowServices, Self::SlowWay];

    /// A short description of this fault, so many times worse than it is described.
    pub fn name(self, severity: u32) -> String {
        let times = |figure: f64| figure * f64::from(severity);
        match self {
            Self::LostWorker => "a worker does not work".to_owned(),
            Self::Pauses => {
                format!("workers pause for {:.2} D after each request", times(SHARE))
            }
            Self::SlowServices => format!("services last {:.2} D longer", times(SHARE)),
            Self::SlowWay => {
                format!(
                    "answers are {:.2} ms longer on their way",
                    times(LONGER.as_secs_f64() * 1e3)
                )
            }
        }
    }
}

/// What a run of such a pool gives.
#[derive(Debug, Clone)]
pub struct Made {
    /// The outcomes of the requests, as a client and a server report them.
    pub outcomes: Vec<Outcome>,
    /// The mean time that a request occupies a worker, as a server reports it.
    pub service: Duration,
}

/// What a real machine adds, about: a fixed part, and the mean of an exponential one, in
/// microseconds.
const LATE: (f64, f64) = (2.0, 6.0);
const OVERSLEPT: (f64, f64) = (55.0, 10.0);
const WAKING: (f64, f64) = (20.0, 10.0);
const WAY: (f64, f64) = (40.0, 20.0);
/// How much longer services or pauses last, as a share of the service time.
const SHARE: f64 = 0.05;
/// How much longer answers are on their way.
const LONGER: Duration = Duration::from_micros(330);
/// What a worker does beside the handler.
const BESIDE: Duration = Duration::from_micros(15);

impl Ideal {
    /// Serves requests that are meant to start at these times, first come, first served. `told` is
    /// the service time of each, by its index.
    pub fn run(&self, starts: &[Duration], told: impl Fn(usize) -> Duration) -> Made {
        let mut serving = Serving::new(self);
        let each = starts.iter().enumerate();
        let outcomes = each.filter_map(|(number, &start)| serving.serve(start, told(number)));
        let outcomes = outcomes.collect();
        serving.made(outcomes)
    }

    /// The same for clients that wait for an answer, think, and send the next request, until this
    /// time.
    pub fn closed(
        &self,
        clients: usize,
        mut think: impl FnMut() -> Duration,
        told: impl Fn(usize) -> Duration,
        until: Duration,
    ) -> Made {
        let mut serving = Serving::new(self);
        let mut next: BinaryHeap<Reverse<Duration>> =
            (0..clients).map(|_| Reverse(think())).collect();
        let mut outcomes = Vec::new();
        while let Some(Reverse(start)) = next.pop().filter(|start| start.0 < until) {
            let Some(outcome) = serving.serve(start, told(outcomes.len())) else { break };
            next.push(Reverse(outcome.ended + think()));
            outcomes.push(outcome);
        }
        serving.made(outcomes)
    }
}

/// A pool that serves one request after another, in the order of their starts.
struct Serving {
    fault: Option<Fault>,
    severity: u32,
    random: fastrand::Rng,
    /// When each worker becomes free.
    free: BinaryHeap<Reverse<Duration>>,
    /// The last start.
    last: Duration,
    occupied: Duration,
}

impl Serving {
    fn new(ideal: &Ideal) -> Self {
        let lost = usize::from(ideal.fault == Some(Fault::LostWorker));
        let workers = ideal.workers.saturating_sub(lost).max(1);
        Self {
            fault: ideal.fault,
            severity: ideal.severity,
            random: fastrand::Rng::with_seed(ideal.seed),
            free: (0..workers).map(|_| Reverse(Duration::ZERO)).collect(),
            last: Duration::ZERO,
            occupied: Duration::ZERO,
        }
    }

    fn some(&mut self, (fixed, mean): (f64, f64)) -> Duration {
        let drawn = mean * exponential(&mut self.random);
        Duration::from_secs_f64((fixed + drawn) / 1e6)
    }

    fn times(&self, fault: Fault) -> u32 {
        if self.fault == Some(fault) { self.severity } else { 0 }
    }

    fn serve(&mut self, intended: Duration, told: Duration) -> Option<Outcome> {
        let began = self.last.max(intended + self.some(LATE));
        self.last = began;
        let handled =
            told + told.mul_f64(SHARE) * self.times(Fault::SlowServices) + self.some(OVERSLEPT);
        let [waking, way] = [WAKING, WAY].map(|of| self.some(of));
        let paused = told.mul_f64(SHARE) * self.times(Fault::Pauses);
        let longer = LONGER * self.times(Fault::SlowWay);
        let mut next = self.free.peek_mut()?;
        let taken = if next.0 <= began { began + waking } else { next.0 };
        let done = taken + handled + BESIDE;
        *next = Reverse(done + paused);
        drop(next);
        self.occupied += handled + BESIDE;
        let ended = done + way + longer;
        let queue_wait = Some(taken - began);
        Some(Outcome {
            intended,
            lateness: began - intended,
            connection_wait: Duration::ZERO,
            begun: Some(began),
            connected: Some(began),
            first_byte: Some(ended),
            ended,
            answer: Answer::Status(200),
            tries: 1,
            bytes: 200,
            server: ServerTiming { queue_wait, handle: Some(handled), response_head: None },
            message: 0,
        })
    }

    fn made(self, outcomes: Vec<Outcome>) -> Made {
        let count = u32::try_from(outcomes.len()).unwrap_or(u32::MAX).max(1);
        Made { outcomes, service: self.occupied / count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::{Arrivals, Stop};
    use crate::sample::Sample;
    use crate::twin::Twin;

    #[test]
    fn its_waits_are_about_those_of_the_twin() {
        let told = Duration::from_millis(5);
        let starts = Arrivals::poisson(640.0, 1).starts(Stop::Count(20_000));
        let wait = |fault| {
            let pool = Ideal { workers: 4, fault, severity: 1, seed: 1 };
            let run = pool.run(&starts, |_| told);
            let waits = run.outcomes.iter().filter_map(|outcome| outcome.server.queue_wait);
            waits.collect::<Sample>().mean().as_secs_f64()
        };
        let twin = Twin::unbounded(4, told).waits(&starts).mean().as_secs_f64();
        let (sound, lost) = (wait(None), wait(Some(Fault::LostWorker)));
        assert!((1.0..1.15).contains(&(sound / twin)), "{sound} and {twin}");
        assert!(lost > 10.0 * sound, "three workers cannot carry it");
        assert!(wait(Some(Fault::Pauses)) > 1.1 * sound);
    }

    #[test]
    fn clients_that_wait_for_their_answers_keep_the_workers_busy() {
        let told = Duration::from_millis(10);
        let pool = Ideal { workers: 4, fault: None, severity: 1, seed: 1 };
        let made = pool.closed(20, || Duration::ZERO, |_| told, Duration::from_secs(10));
        let count = made.outcomes.len() as f64;
        assert!((3900.0..4000.0).contains(&count), "almost W/D: {count}");
    }
}
