//! What the kernel says of this process while a load runs: an instrument beside the client's clock
//! and the server's.
//!
//! The number of open descriptors says how many connections are open, if each request has one of
//! its own. The system call in which a thread is blocked says whether a worker is asleep in its
//! delay or waits for a job. Neither knows of a request, of a queue, or of a clock of either side.

use crossbeam_channel::RecvTimeoutError;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// The mean time between two looks. A look costs some microseconds.
const EVERY: Duration = Duration::from_micros(700);

/// The number of the system call in which a thread sleeps, `clock_nanosleep`.
const SLEEP: Option<&str> = if cfg!(target_arch = "x86_64") {
    Some("230")
} else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) {
    Some("115")
} else {
    None
};

/// What was seen while something ran.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The number of looks.
    pub looks: usize,
    /// The time integral of the number of descriptors that were open beyond those before, in
    /// seconds: the sum of their lifetimes.
    pub open: f64,
    /// The time integral of the number of sleeping threads, in seconds. `None` if the system does
    /// not say it.
    pub asleep: Option<f64>,
}

/// Does `work`, and looks meanwhile at the descriptors of this process and at its `count` threads
/// whose names begin with `threads`. What is open in the middle of the first `idle` time is open
/// all along and does not count. `None` if the system does not report it.
pub fn beside<T>(
    (threads, count): (&str, usize),
    idle: Duration,
    work: impl FnOnce() -> T,
) -> (T, Option<Seen>) {
    let sleepers = named(threads, count);
    if descriptors().is_none() {
        return (work(), None);
    }
    thread::scope(|scope| {
        let (working, ended) = crossbeam_channel::bounded::<()>(0);
        let (looking, looked) = crossbeam_channel::bounded::<()>(1);
        let look = move || {
            // Not in step with anything that is measured.
            let mut random = fastrand::Rng::new();
            let mut looks = Vec::new();
            loop {
                looks.push((Instant::now(), descriptors()?, asleep(&sleepers)));
                let _ = looking.try_send(());
                let wait = EVERY.mul_f64(0.5 + random.f64());
                if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return integrate(&looks, idle);
                }
            }
        };
        let watcher = thread::Builder::new().name("kernel".to_owned()).spawn_scoped(scope, look);
        // Nothing is missed if it starts late. Where there is none, this ends at once.
        let _ = looked.recv();
        let done = work();
        drop(working);
        (done, watcher.ok().and_then(|watcher| watcher.join().ok().flatten()))
    })
}

/// When it was looked, the open descriptors, and the sleeping threads.
type Look = (Instant, usize, Option<usize>);

fn integrate(looks: &[Look], idle: Duration) -> Option<Seen> {
    let begun = looks.first()?.0;
    let mut idle: Vec<usize> =
        looks.iter().take_while(|look| look.0 - begun < idle).map(|look| look.1).collect();
    idle.sort_unstable();
    let always = *idle.get(idle.len() / 2)?;
    let mut seen = Seen { looks: looks.len(), open: 0.0, asleep: Some(0.0) };
    for pair in looks.windows(2) {
        let [(from, open, asleep), (to, then_open, then_asleep)] = pair else { continue };
        // The trapezoid between two looks.
        let half = (*to - *from).as_secs_f64() / 2.0;
        let beyond = open.saturating_sub(always) + then_open.saturating_sub(always);
        seen.open += half * beyond as f64;
        let both = asleep.zip(*then_asleep).map(|(one, other)| half * (one + other) as f64);
        seen.asleep = seen.asleep.zip(both).map(|(sum, more)| sum + more);
    }
    Some(seen)
}

/// The number of open descriptors of this process. Since Linux 6.2 it is the size of the folder.
fn descriptors() -> Option<usize> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        0 => Some(fs::read_dir(folder).ok()?.count()),
        size => usize::try_from(size).ok(),
    }
}

/// The files that say in which system call the threads of this name are. A new thread may not have
/// its name yet.
fn named(threads: &str, count: usize) -> Vec<PathBuf> {
    let begun = Instant::now();
    loop {
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let of_name = tasks.map(|task| task.path()).filter(|task| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(threads))
        });
        let found: Vec<PathBuf> = of_name.map(|task| task.join("syscall")).collect();
        if found.len() == count || begun.elapsed() > Duration::from_secs(1) {
            return found;
        }
        thread::sleep(EVERY);
    }
}

/// How many of these threads sleep.
fn asleep(threads: &[PathBuf]) -> Option<usize> {
    let sleep = SLEEP?;
    let mut count = 0;
    for thread in threads {
        let call = fs::read_to_string(thread).ok()?;
        count += usize::from(call.split(' ').next() == Some(sleep));
    }
    (!threads.is_empty()).then_some(count)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_integrated_from_the_idle_level_on() {
        let begun = Instant::now();
        let millis = Duration::from_millis;
        let look = |at: u64, open, asleep| (begun + millis(at), open, Some(asleep));
        let idle = [look(0, 5, 0), look(10, 8, 0), look(20, 8, 0), look(30, 8, 0)];
        let busy = [look(40, 10, 1), look(50, 10, 1), look(60, 8, 0), look(70, 5, 0)];
        let seen = integrate(&[idle, busy].concat(), millis(35)).expect("looks");
        assert!((seen.open - 0.04).abs() < 1e-9, "{seen:?}");
        assert!(seen.asleep.is_some_and(|asleep| (asleep - 0.02).abs() < 1e-9), "{seen:?}");
        assert_eq!(integrate(&[], millis(35)), None);
    }

    /// Two threads that sleep; other tests open descriptors, so these are not judged. The bounds
    /// are wide, since a busy machine makes sleeps longer.
    #[test]
    fn sleeping_threads_are_seen() {
        let (begin, begun) = crossbeam_channel::bounded::<()>(0);
        let sleeper = || {
            let begun = begun.clone();
            let sleep = move || {
                let _ = begun.recv();
                thread::sleep(Duration::from_millis(100));
                // It waits in another system call.
                let _ = begun.recv();
            };
            thread::Builder::new().name("sleeper-1".to_owned()).spawn(sleep).expect("a thread")
        };
        let sleepers = [sleeper(), sleeper()];
        let (length, seen) = beside(("sleeper-", 2), Duration::from_millis(1), || {
            let started = Instant::now();
            begin.send(()).expect("a sleeper");
            begin.send(()).expect("another");
            thread::sleep(Duration::from_millis(250));
            started.elapsed().as_secs_f64()
        });
        drop(begin);
        sleepers.into_iter().for_each(|sleeper| sleeper.join().expect("no panic"));
        let seen = seen.expect("the kernel reports both");
        assert!(seen.looks > 2, "{seen:?}");
        if SLEEP.is_some() {
            let asleep = seen.asleep.expect("the system call");
            assert!((0.15..2.0 * length).contains(&asleep), "{seen:?}");
        }
    }
}
