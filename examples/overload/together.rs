//! Runs that take place at the same time, each with a server and clients of its own. They wait for
//! most of the time, so that they do not disturb one another while their rates are low.

use crate::measure::{Bench, Failed, Run, Task};
use lab::progress::Progress;
use std::error::Error;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most requests a second of all runs at a time. A run alone may have more.
const RATE_MOST: f64 = 7500.0;

/// The most attempts for a run that the machine disturbs.
const ATTEMPTS: usize = 3;

/// The runs that have not begun, and what those that have take.
struct Agenda {
    /// Their numbers, the next one last.
    open: Vec<usize>,
    running: usize,
    rate: f64,
    /// The time that repeated runs may take together.
    spare: Duration,
}

/// Makes these runs, and repeats those that the machine disturbs while there is time. `digest` gets
/// each as it ends.
pub fn run<T: Send>(
    bench: &Bench<'_>,
    tasks: &[Task],
    digest: impl Fn(usize, Run) -> T + Sync,
) -> Result<Vec<T>, Box<dyn Error>> {
    let mut open: Vec<usize> = (0..tasks.len()).collect();
    // Those with the highest rates begin first, and those with low rates beside them.
    open.sort_by(|&a, &b| rate(&tasks[a]).total_cmp(&rate(&tasks[b])));
    let threads = bench.args.at_once().clamp(1, tasks.len().max(1));
    let total: Duration = tasks.iter().map(length).sum();
    let progress = Progress::start("runs", total / threads as u32);
    let spare = if bench.is_quick() { total / 4 } else { total / 8 };
    let agenda = Mutex::new(Agenda { open, running: 0, rate: 0.0, spare });
    let ended = Condvar::new();
    let done: Mutex<Vec<(usize, Result<T, Failed>)>> = Mutex::default();
    let work = || {
        while let Some(number) = next(&agenda, &ended, tasks) {
            let task = &tasks[number];
            let run = attempts(bench, task, &agenda).map(|run| digest(number, run));
            lock(&done).push((number, run));
            let mut agenda = lock(&agenda);
            agenda.running -= 1;
            agenda.rate -= rate(task);
            drop(agenda);
            ended.notify_all();
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    drop(progress);
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, run)| run.map_err(|error| error as Box<dyn Error>)).collect()
}

/// The next run that has a place beside the others. None if there is no other.
fn next(agenda: &Mutex<Agenda>, ended: &Condvar, tasks: &[Task]) -> Option<usize> {
    let mut agenda = lock(agenda);
    loop {
        if agenda.open.is_empty() {
            return None;
        }
        let free = RATE_MOST - agenda.rate;
        let fits = |&number: &usize| rate(&tasks[number]) <= free;
        let place = match agenda.running {
            0 => Some(agenda.open.len() - 1),
            _ => agenda.open.iter().rposition(fits),
        };
        if let Some(place) = place {
            let number = agenda.open.remove(place);
            agenda.running += 1;
            agenda.rate += rate(&tasks[number]);
            return Some(number);
        }
        agenda = ended.wait(agenda).unwrap_or_else(PoisonError::into_inner);
    }
}

fn attempts(bench: &Bench<'_>, task: &Task, agenda: &Mutex<Agenda>) -> Result<Run, Failed> {
    for _ in 1..ATTEMPTS {
        let run = bench.run(task)?;
        if run.reasons.is_empty() {
            return Ok(run);
        }
        let mut agenda = lock(agenda);
        let Some(left) = agenda.spare.checked_sub(length(task)) else { return Ok(run) };
        agenda.spare = left;
    }
    bench.run(task)
}

fn length(task: &Task) -> Duration {
    task.starts.last().copied().unwrap_or_default()
}

fn rate(task: &Task) -> f64 {
    task.starts.len() as f64 / length(task).as_secs_f64().max(f64::MIN_POSITIVE)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
