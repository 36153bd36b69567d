//! An instrument that sees what disturbs the machine while a program measures.
//!
//! It has nothing to do with what is measured: it compares the processor time that the kernel
//! counts for the machine with what it counts for this program and for those that it has started,
//! and it watches a thread that only sleeps.

use crossbeam_channel::{RecvTimeoutError, Sender};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The share of the processors that other programs may take while something is measured.
const OTHERS_MOST: f64 = 0.1;

/// The same share within a [`WINDOW`], for bursts.
const BURST_MOST: f64 = 0.25;

/// The kernel counts in hundredths of a second, so shorter windows are imprecise.
const WINDOW: Duration = Duration::from_millis(250);

/// How long the sleeping thread sleeps, and how much later it may wake up.
const BEAT: Duration = Duration::from_millis(5);
const STILL_MOST: Duration = Duration::from_millis(30);

/// A stretch of time.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    to: Instant,
    /// The share of the processors that other programs took.
    others: f64,
    /// The largest excess of a sleep over its length.
    standstill: Duration,
}

/// Watches the machine as long as it exists.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Vec<Window>>>,
    /// Its thread ends when this is dropped.
    _working: Sender<()>,
}

impl Watch {
    /// Begins to watch. `None` if the system does not report processor times.
    pub fn start() -> Option<Self> {
        Times::now()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (working, ended) = crossbeam_channel::bounded::<()>(0);
        let windows = Arc::clone(&seen);
        let watch = move || {
            let mut before = Times::now();
            let mut window = Window::from(Instant::now());
            loop {
                let slept = Instant::now();
                if ended.recv_timeout(BEAT) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                window.to = Instant::now();
                let late = (window.to - slept).saturating_sub(BEAT);
                window.standstill = window.standstill.max(late);
                if window.to - window.from >= WINDOW {
                    let now = Times::now();
                    window.others = before.zip(now).map_or(0.0, |(from, to)| to.others_since(from));
                    windows.lock().unwrap_or_else(PoisonError::into_inner).push(window);
                    (before, window) = (now, Window::from(window.to));
                }
            }
        };
        thread::Builder::new().name("machine".to_owned()).spawn(watch).ok()?;
        Some(Self { seen, _working: working })
    }

    /// What has disturbed the machine since then, if anything has.
    pub fn disturbance_since(&self, begun: Instant) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since: Vec<Window> = seen.iter().filter(|window| window.to > begun).copied().collect();
        drop(seen);
        disturbance(&since)
    }
}

fn disturbance(windows: &[Window]) -> Option<String> {
    let percent = |share: f64| format!("{:.0} % of the processors", 100.0 * share);
    let length = |window: &Window| (window.to - window.from).as_secs_f64();
    let all: f64 = windows.iter().map(length).sum();
    let taken: f64 = windows.iter().map(|window| window.others * length(window)).sum();
    if taken > OTHERS_MOST * all {
        return Some(format!("other programs took {}", percent(taken / all)));
    }
    let burst = windows.iter().map(|window| window.others).fold(0.0, f64::max);
    if burst > BURST_MOST {
        return Some(format!("other programs took {} for {WINDOW:?}", percent(burst)));
    }
    let still = windows.iter().map(|window| window.standstill).max().unwrap_or_default();
    (still > STILL_MOST).then(|| format!("the machine stood still for {still:.0?}"))
}

impl Window {
    fn from(from: Instant) -> Self {
        Self { from, to: from, others: 0.0, standstill: Duration::ZERO }
    }
}

/// Processor time since the machine started, in the kernel's ticks.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// What was available, and what was used.
    all: u64,
    used: u64,
    /// What this program used, and those that it has started.
    own: u64,
}

impl Times {
    fn now() -> Option<Self> {
        let machine = fs::read_to_string("/proc/stat").ok()?;
        let fields = machine.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = fields.map_while(|ticks| ticks.parse().ok()).collect();
        // User, nice, system, idle, iowait, irq, softirq, and what the hypervisor has stolen.
        // Interrupts also serve this program, so they do not count as used.
        let [user, nice, system, idle, disk, hard, soft, stolen, ..] = ticks[..] else {
            return None;
        };
        let used = user + nice + system + stolen;
        let all = used + idle + disk + hard + soft;
        Some(Self { all, used, own: family_ticks(std::process::id()) })
    }

    /// The share that other programs have used since then.
    fn others_since(self, begin: Self) -> f64 {
        let all = self.all.saturating_sub(begin.all).max(1);
        let own = self.own.saturating_sub(begin.own);
        self.used.saturating_sub(begin.used).saturating_sub(own) as f64 / all as f64
    }
}

/// The time of a process with all of its descendants. Zero after it has ended, when it is part of
/// its parent's.
fn family_ticks(process: u32) -> u64 {
    let own = ticks(process).unwrap_or_default();
    // Each thread has its own children.
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let children: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|child| child.parse().ok())
        .collect();
    own + children.into_iter().map(family_ticks).sum::<u64>()
}

/// The time of a process and of its children that have ended.
fn ticks(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in parentheses, and may contain some (proc_pid_stat(5)).
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(others: f64, standstill: u64) -> Window {
        let from = Instant::now();
        Window { from, to: from + WINDOW, others, standstill: Duration::from_millis(standstill) }
    }

    #[test]
    fn others_bursts_and_standstills_are_disturbances() {
        assert_eq!(disturbance(&[]), None);
        assert_eq!(disturbance(&[window(0.09, 20), window(0.05, 0)]), None);
        let said = |windows: &[Window]| disturbance(windows).expect("a disturbance");
        assert!(said(&[window(0.2, 0); 3]).starts_with("other programs took 20 %"));
        let burst = [[window(0.0, 0); 9].as_slice(), &[window(0.5, 0)]].concat();
        assert!(said(&burst).starts_with("other programs took 50 % of the processors for"));
        assert_eq!(said(&[window(0.0, 40)]), "the machine stood still for 40ms");
    }

    /// A busy child counts as part of this program.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_program_starts_is_no_other_program() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .expect("a shell");
        let before = family_ticks(std::process::id());
        let begun = Instant::now();
        while family_ticks(std::process::id()) < before + 5 {
            assert!(begun.elapsed() < Duration::from_secs(30), "the child's time is counted");
            thread::sleep(BEAT);
        }
        child.kill().expect("it runs");
        child.wait().expect("it has ended");
        assert!(family_ticks(std::process::id()) >= before + 5, "also after it has ended");
    }
}
