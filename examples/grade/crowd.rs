//! Many clients at once: are all served, and by how many workers?

use crate::exam::{Came, Check, Exam, FILE};
use crate::talk::Heard;
use lab::arrivals::Stop;
use lab::load::{Client, Connections, Mix, Parts, Population, Retries, Run, Think};
use lab::moments::Moments;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// The number of clients at once.
const CROWD: usize = 50;

/// A throughput counts as W/D between these shares of it. The lower one is of W divided by the time
/// that a single request takes, which includes what the machine and the network need.
const LEAST: f64 = 0.93;
const MOST: f64 = 1.05;

/// The share of D that a single request takes at least: clocks differ a little.
const DELAY_LEAST: f64 = 0.95;

/// The parts of a run that give the interval.
const PARTS: usize = 5;

/// The share of the points for a request that takes D; each of the two runs has half of the rest.
const DELAYED: f64 = 0.1;

/// The clients for each worker in the two runs.
const LOADS: [usize; 2] = [2, 8];

pub const CHECKS: [Check; 2] = [
    Check {
        id: "crowd",
        name: "50 clients at once",
        points: 8,
        did: "opened 50 connections, and asked for testfile on all of them",
        expected: "50 right answers",
        mend: "Accept the next connection while others are served, and give listen() a backlog of \
               128 or more. Give each worker its own buffers: what several threads share needs a \
               lock.",
        run: crowd,
    },
    Check {
        id: "line",
        name: "the line W/D: a fixed pool of W threads",
        points: 20,
        did: "took the time of one request, then kept 2 W and 8 W clients asking for a while",
        expected: "a request takes D. Both times as much as W workers do: from 0.93 W over that \
                   time to 1.05 W/D. A run outside is repeated once",
        mend: "Below the line, fewer than W work at a time: do not hold a lock during the delay, \
               and start W threads. Above it, more do: let connections wait in a queue for one of \
               the W.",
        run: line,
    },
];

fn crowd(exam: &mut Exam) -> Came {
    let this = &*exam;
    let heard: Vec<Heard> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CROWD).map(|_| scope.spawn(|| this.ask(CROWD))).collect();
        clients.into_iter().filter_map(|client| client.join().ok()).collect()
    });
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    for fault in heard.iter().filter_map(|heard| heard.fault(&this.body)) {
        *wrong.entry(fault).or_default() += 1;
    }
    let right = heard.len() - wrong.values().sum::<usize>();
    let most = wrong.iter().max_by_key(|(_, count)| **count);
    let said = match most {
        None => format!("{right} right answers"),
        Some((what, count)) => format!("{right} right answers; {count} times: {what}"),
    };
    // The threads that a pool starts when it first needs them are there now.
    exam.rest = exam.process.as_ref().and_then(crate::process::Process::held);
    let share = right as f64 / CROWD as f64;
    Came::part(if right == CROWD { 1.0 } else { share.min(0.8) }, said)
}

fn line(exam: &mut Exam) -> Came {
    let (Some(workers), Some(delay)) = (exam.args.workers, exam.args.delay) else {
        return Came::unjudged("W and D are not known (--workers and --delay)");
    };
    let single = match measure(exam, 1, delay.mul_f64(4.0)) {
        Ok(run) => {
            let times = run.outcomes.iter().filter(|outcome| outcome.is_success());
            times.map(|outcome| outcome.latency()).collect::<lab::sample::Sample>()
        }
        Err(error) => return Came::unjudged(format!("cannot measure: {error}")),
    };
    if single.count() == 0 {
        return Came::none("no whole answer with status 200 to a single client");
    }
    let single = single.percentile(0.5);
    if single < delay.mul_f64(DELAY_LEAST) {
        return Came::none(format!("one request takes {single:.1?}, less than D = {delay:?}"));
    }
    let length = Duration::from_millis(if exam.args.quick { 500 } else { 2000 });
    let length = length.max(10 * delay);
    let mut share = DELAYED;
    let mut said = Vec::new();
    let least = LEAST * workers as f64 / single.as_secs_f64();
    let most = MOST * workers as f64 / delay.as_secs_f64();
    for load in LOADS {
        let clients = load * workers;
        let mut rate = Moments::default();
        // The machine may have been busy with something else: a second run decides.
        for _ in 0..2 {
            rate = match measure(exam, clients, length) {
                Ok(run) => throughput(&run, workers),
                Err(error) => return Came::unjudged(format!("cannot measure: {error}")),
            };
            if (least..=most).contains(&rate.mean()) {
                share += (1.0 - DELAYED) / LOADS.len() as f64;
                break;
            }
        }
        let (mean, half) = (rate.mean(), rate.half_width());
        said.push(match rate.count() {
            0 | 1 => format!("{clients} clients: too few answers"),
            _ => {
                let at_work = mean * delay.as_secs_f64();
                format!("{clients} clients: {mean:.1} ± {half:.1}/s, as {at_work:.2} workers")
            }
        });
    }
    Came::part(share, said.join("; "))
}

/// Clients that each ask again as soon as they have their answer.
fn measure(exam: &Exam, clients: usize, length: Duration) -> std::io::Result<Run> {
    // The path in the form that the server answers.
    let path = if exam.is_slashless { FILE.to_owned() } else { format!("/{FILE}") };
    let host = format!("{}:{}", exam.args.host, exam.args.port);
    let connections = Connections::NewEach;
    let parts =
        Parts { method: "GET", path: &path, host: &host, fields: &[], body: None, connections };
    let client = Client {
        target: exam.server,
        source: None,
        requests: Mix::one(parts.message()),
        connections,
        patience: exam.patience(clients),
        retries: Retries::NONE,
    };
    client.closed_loop(&Population { clients, think: Think::None }, Stop::After(length))
}

/// Answers per second, once the first W have come, in as many parts of the run. A pool may answer W
/// at a time, so each part has a multiple of W answers.
fn throughput(run: &Run, workers: usize) -> Moments {
    let answered = run.outcomes.iter().filter(|outcome| outcome.is_success());
    let mut ends: Vec<Duration> = answered.map(|outcome| outcome.ended).collect();
    ends.sort_unstable();
    let part = ends.len().saturating_sub(workers) / PARTS / workers * workers;
    let edge = |number: usize| ends.get(workers - 1 + number * part).copied();
    let parts = (0..PARTS).filter_map(|number| {
        let took = edge(number + 1)?.saturating_sub(edge(number)?);
        (part > 0 && !took.is_zero()).then(|| part as f64 / took.as_secs_f64())
    });
    parts.collect()
}
