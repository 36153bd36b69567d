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

/// Does `work`, and looks meanwhile at the descriptors of this process and at its threads whose
/// name begins with `threads`. `None` if the system does not report them.
pub fn beside<T>(threads: &str, work: impl FnOnce() -> T) -> (T, Option<Seen>) {
    let sleepers = named(threads);
    if descriptors().is_none() {
        return (work(), None);
    }
    thread::scope(|scope| {
        let (working, ended) = crossbeam_channel::bounded::<()>(0);
        let (ready, is_ready) = crossbeam_channel::bounded::<()>(1);
        let look = move || {
            // Not in step with anything that is measured.
            let mut random = fastrand::Rng::new();
            let before = descriptors()?;
            let look = || Some((Instant::now(), descriptors()?, asleep(&sleepers)));
            let mut last = look()?;
            let mut seen = Seen { looks: 1, open: 0.0, asleep: Some(0.0) };
            let _ = ready.send(());
            loop {
                let wait = EVERY.mul_f64(0.5 + random.f64());
                let is_last = ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
                let now = look()?;
                // The trapezoid between two looks.
                let half = (now.0 - last.0).as_secs_f64() / 2.0;
                let open = (now.1 + last.1) as f64 - 2.0 * before as f64;
                seen.open += half * open;
                let both = now.2.zip(last.2).map(|(now, last)| half * (now + last) as f64);
                seen.asleep = seen.asleep.zip(both).map(|(sum, more)| sum + more);
                seen.looks += 1;
                last = now;
                if is_last {
                    return Some(seen);
                }
            }
        };
        let watcher = thread::Builder::new().name("kernel".to_owned()).spawn_scoped(scope, look);
        // It counts what is open before the work begins.
        let _ = is_ready.recv_timeout(Duration::from_secs(1));
        let done = work();
        drop(working);
        (done, watcher.ok().and_then(|watcher| watcher.join().ok().flatten()))
    })
}

/// The number of open descriptors of this process. Since Linux 6.2 it is the size of the folder.
fn descriptors() -> Option<usize> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        0 => Some(fs::read_dir(folder).ok()?.count()),
        size => usize::try_from(size).ok(),
    }
}

/// The files that say in which system call the threads of this name are.
fn named(threads: &str) -> Vec<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_name = tasks.map(|task| task.path()).filter(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(threads))
    });
    of_name.map(|task| task.join("syscall")).collect()
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
        while named("sleeper-").len() < 2 {
            thread::yield_now();
        }
        let (length, seen) = beside("sleeper-", || {
            let started = Instant::now();
            begin.send(()).expect("a sleeper");
            begin.send(()).expect("another");
            thread::sleep(Duration::from_millis(250));
            started.elapsed().as_secs_f64()
        });
        drop(begin);
        sleepers.map(|sleeper| sleeper.join().expect("no panic"));
        let seen = seen.expect("the kernel reports both");
        assert!(seen.looks > 2, "{seen:?}");
        if SLEEP.is_some() {
            let asleep = seen.asleep.expect("the system call");
            assert!((0.15..2.0 * length).contains(&asleep), "{seen:?}");
        }
    }
}
