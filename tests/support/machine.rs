//! An instrument that detects disturbances of the machine while a program is measured.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The share of processor time that other processes may take.
const OTHERS_MOST: f64 = 0.1;

/// The same share within a [`WINDOW`], for bursts.
const BURST_MOST: f64 = 0.25;

/// The kernel counts in hundredths of a second, so shorter windows are imprecise.
const WINDOW: Duration = Duration::from_millis(250);

/// If a thread that needs almost no processor time sleeps longer by this, the machine stood still.
const STILL_MOST: Duration = Duration::from_millis(30);

/// Processes that are measured, and therefore not other processes.
static OWN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Watches the machine until it is asked for the result.
pub struct Watch {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<Seen>,
}

/// What was measured.
#[derive(Debug, Default)]
struct Seen {
    /// The share of processor time that other processes took.
    others: f64,
    /// The largest such share within a window.
    burst: f64,
    /// The largest excess of a sleep over its intended length.
    standstill: Duration,
}

/// Processor time since boot, in kernel ticks.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The available time.
    all: u64,
    /// The used time.
    used: u64,
    /// The time used by this process, and by the measured processes and their descendants.
    own: u64,
}

/// Registers a measured process, with all that it starts.
pub fn count_as_own(process: u32) {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).push(process);
}

impl Watch {
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || watch_until(&stop)
        });
        Self { stop, watcher }
    }

    /// The disturbance, if there was one.
    pub fn disturbance(self) -> Option<String> {
        self.stop.store(true, SeqCst);
        let Seen { others, burst, standstill } = self.watcher.join().unwrap();
        let percent = |share: f64| format!("{:.0} % of the processors", 100.0 * share);
        if others > OTHERS_MOST {
            return Some(format!("other processes took {}", percent(others)));
        }
        if burst > BURST_MOST {
            return Some(format!("other processes took {} for {WINDOW:?}", percent(burst)));
        }
        (standstill > STILL_MOST).then(|| format!("the machine stood still for {standstill:.0?}"))
    }
}

fn watch_until(stop: &AtomicBool) -> Seen {
    const BEAT: Duration = Duration::from_millis(2);
    let mut seen = Seen::default();
    let begin = Times::now();
    let (mut before, mut since) = (begin, Instant::now());
    while !stop.load(SeqCst) {
        let slept = Instant::now();
        std::thread::sleep(BEAT);
        seen.standstill = seen.standstill.max(slept.elapsed().saturating_sub(BEAT));
        if since.elapsed() >= WINDOW {
            let now = Times::now();
            seen.burst = seen.burst.max(others_between(before, now));
            (before, since) = (now, Instant::now());
        }
    }
    seen.others = others_between(begin, Times::now());
    seen
}

/// The share that other processes used. `None` if the system does not report it.
fn others_between(begin: Option<Times>, end: Option<Times>) -> f64 {
    begin.zip(end).map_or(0.0, |(begin, end)| end.others_since(begin))
}

impl Times {
    /// `None` if the system does not report the times.
    fn now() -> Option<Self> {
        let machine = std::fs::read_to_string("/proc/stat").ok()?;
        let fields = machine.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = fields.map_while(|ticks| ticks.parse().ok()).collect();
        // User, nice, system, idle, iowait, irq, softirq, steal. Interrupts also serve the measured
        // processes, so they are not counted as used.
        let [user, nice, system, idle, disk, hard, soft, stolen, ..] = ticks[..] else {
            return None;
        };
        let used = user + nice + system + stolen;
        let mut own = ticks_of("/proc/self/stat", true)?;
        for process in OWN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A process that has ended is included in its parent's children.
            own += ticks_of_family(*process);
        }
        Some(Self { all: used + idle + disk + hard + soft, used, own })
    }

    /// The share that other processes used since `begin`.
    fn others_since(self, begin: Self) -> f64 {
        let all = self.all.saturating_sub(begin.all).max(1);
        let own = self.own.saturating_sub(begin.own);
        self.used.saturating_sub(begin.used).saturating_sub(own) as f64 / all as f64
    }
}

/// The time of a process and all of its descendants. Zero after it has ended.
fn ticks_of_family(process: u32) -> u64 {
    let own = ticks_of(&format!("/proc/{process}/stat"), true).unwrap_or_default();
    // Each thread has its own children.
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let lists = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let children: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|child| child.parse().ok())
        .collect();
    own + children.into_iter().map(ticks_of_family).sum::<u64>()
}

/// The time of a process, optionally with its waited-for children.
fn ticks_of(path: &str, with_children: bool) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    // The name is in parentheses, and may contain some (proc_pid_stat(5)).
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let counted = if with_children { 11..15 } else { 11..13 };
    fields.get(counted)?.iter().map(|ticks| ticks.parse::<u64>().ok()).sum()
}
