//! The cases: who asks for how much, and what the polite ones are promised.

use cws::Schedule;

/// How much each client of a party asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Demand {
    /// This many times W/D, at random times.
    Rate(f64),
    /// As much as this number of connections carries, each of which sends the next request when it
    /// has the answer.
    Connections(usize),
    /// The same on one connection, after a think time with a mean of D. Without it, the client
    /// keeps step with the workers: services of constant length end together, and it would always
    /// come right after all workers have taken other requests.
    Thinking,
}

/// Clients that ask for the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Party {
    pub name: &'static str,
    pub clients: usize,
    pub demand: Demand,
}

/// What the polite clients get with turns. Each is a bound of the mean over the runs, with its
/// interval.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Promise {
    /// The least share of their requests that is answered in time.
    pub share: Option<f64>,
    /// The most of the median and of the 99th percentile of the time to an answer, over D.
    pub median: Option<f64>,
    pub p99: Option<f64>,
}

/// Parties that ask at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub name: String,
    /// The greedy party.
    pub greedy: Party,
    /// The polite party.
    pub polite: Party,
    /// The length of a run in units of D. The first quarter is not counted.
    pub length: u32,
    pub schedules: Vec<Schedule>,
    pub promise: Promise,
}

const ALL: [Schedule; 3] = [Schedule::Fifo, Schedule::Lifo, Schedule::Fair];
const TWO: [Schedule; 2] = [Schedule::Fifo, Schedule::Fair];

/// The name that the command `server` has for an order of service.
pub fn name(schedule: Schedule) -> &'static str {
    match schedule {
        Schedule::Fair => "fair",
        Schedule::Fifo => "fifo",
        Schedule::Lifo => "lifo",
        _ => "another",
    }
}

impl Case {
    /// Whether clients have a patience. Without one, they wait for as long as it takes.
    pub fn has_deadline(&self) -> bool {
        matches!(self.greedy.demand, Demand::Rate(_))
    }

    /// The load in requests per second, over W/D: of closed loops it is at most 1.
    pub fn times(&self) -> f64 {
        let of = |party: &Party| match party.demand {
            Demand::Rate(times) => times * party.clients as f64,
            Demand::Connections(_) | Demand::Thinking => 0.5,
        };
        of(&self.greedy) + of(&self.polite)
    }

    /// The most connections that are open at a time, about: without a patience each client's own,
    /// and else those of requests that wait for at most the patience.
    pub fn connections(&self) -> usize {
        let of = |party: &Party| match party.demand {
            Demand::Rate(times) => (40.0 * times).ceil() as usize * party.clients,
            Demand::Connections(each) => each * party.clients,
            Demand::Thinking => party.clients,
        };
        (of(&self.greedy) + of(&self.polite)).max(1)
    }

    pub fn all(quick: bool) -> Vec<Self> {
        if quick { short() } else { long() }
    }
}

fn long() -> Vec<Case> {
    vec![
        split(2.0, 200, &ALL, 0.96),
        split(5.0, 200, &TWO, 0.85),
        greedy(10.0, 1, 150, &TWO, 0.99, 3.0),
        // The ideal pool has 3 to 4 here, by the arrivals: who asks twice within a turn waits for
        // the second one.
        greedy(10.0, 9, 150, &TWO, 0.99, 6.0),
        crowd(500, 300, &TWO, 2.0, 4.0),
        browsers(1, 100, &TWO),
        browsers(5, 100, &TWO),
    ]
}

/// Less load, and promises that a busy machine can keep.
fn short() -> Vec<Case> {
    vec![
        split(3.0, 60, &TWO, 0.8),
        greedy(5.0, 9, 50, &[Schedule::Fair], 0.85, 6.0),
        crowd(100, 80, &[Schedule::Fair], 5.0, 10.0),
        Case {
            promise: Promise { p99: Some(8.0), ..Promise::default() },
            ..browsers(5, 50, &[Schedule::Fair])
        },
    ]
}

/// Two clients: one with nine tenths of the load, one with the rest.
fn split(times: f64, length: u32, schedules: &[Schedule], share: f64) -> Case {
    Case {
        name: format!("90:10 at m = {times}"),
        greedy: Party { name: "the greedy", clients: 1, demand: Demand::Rate(0.9 * times) },
        polite: Party { name: "the polite", clients: 1, demand: Demand::Rate(0.1 * times) },
        length,
        schedules: schedules.to_vec(),
        promise: Promise { share: Some(share), ..Promise::default() },
    }
}

/// One client beyond all measure, and some that ask for a twentieth of the capacity each.
fn greedy(
    times: f64,
    polite: usize,
    length: u32,
    schedules: &[Schedule],
    share: f64,
    p99: f64,
) -> Case {
    Case {
        name: format!("1 at {times}, {polite} at 0.05"),
        greedy: Party { name: "the greedy", clients: 1, demand: Demand::Rate(times) },
        polite: Party { name: "the polite", clients: polite, demand: Demand::Rate(0.05) },
        length,
        schedules: schedules.to_vec(),
        promise: Promise { share: Some(share), p99: Some(p99), ..Promise::default() },
    }
}

/// Many connections of one address, and one of another.
fn crowd(connections: usize, length: u32, schedules: &[Schedule], median: f64, p99: f64) -> Case {
    Case {
        name: format!("{connections}:1 connections"),
        greedy: Party {
            name: "many connections",
            clients: 1,
            demand: Demand::Connections(connections),
        },
        polite: Party { name: "one connection", clients: 1, demand: Demand::Thinking },
        length,
        schedules: schedules.to_vec(),
        promise: Promise { median: Some(median), p99: Some(p99), ..Promise::default() },
    }
}

/// Browsers, which open six connections each, and a program with one.
fn browsers(count: usize, length: u32, schedules: &[Schedule]) -> Case {
    let plural = if count == 1 { "" } else { "s" };
    Case {
        name: format!("{count} browser{plural}, 1 program"),
        greedy: Party { name: "browsers", clients: count, demand: Demand::Connections(6) },
        polite: Party { name: "the program", clients: 1, demand: Demand::Thinking },
        length,
        schedules: schedules.to_vec(),
        // While others are served, one waits for at most the jobs that are next and one service.
        promise: Promise { p99: Some(4.0), ..Promise::default() },
    }
}
