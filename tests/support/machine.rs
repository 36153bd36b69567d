//! Whether the machine could do what a program asked of it: an instrument beside the program.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The share of all processors' time that others may take before they count as a disturbance.
const OTHERS_MOST: f64 = 0.1;

/// The share that they may take within a [`WINDOW`]: a burst disturbs, too.
const BURST_MOST: f64 = 0.25;

/// The kernel counts in hundredths of a second, so a shorter one would tell little.
const WINDOW: Duration = Duration::from_millis(250);

/// What a thread that wants almost no time may lack it for: beyond it, the machine stood still.
const STILL_MOST: Duration = Duration::from_millis(30);

/// Processes whose time is not others': those that are measured.
static OWN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Watches the machine from its start until it is asked.
pub struct Watch {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<Seen>,
}

/// What was seen of the machine.
#[derive(Debug, Default)]
struct Seen {
    /// The share of the processors that others took.
    others: f64,
    /// The largest share within a window.
    burst: f64,
    /// By how much a sleep was longer than it should have been, at the most.
    standstill: Duration,
}

/// Processor time so far, in the kernel's ticks.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// What there was.
    all: u64,
    /// What somebody used.
    used: u64,
    /// What this process and those it measures used.
    own: u64,
}

/// Counts a process that is measured as such.
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

    /// What kept the machine from doing what it was asked to, if anything did.
    pub fn disturbance(self) -> Option<String> {
        self.stop.store(true, SeqCst);
        let Seen { others, burst, standstill } = self.watcher.join().unwrap();
        let percent = |share: f64| format!("{:.0} % of the processors", 100.0 * share);
        if others > OTHERS_MOST {
            return Some(format!("others took {}", percent(others)));
        }
        if burst > BURST_MOST {
            return Some(format!("others took {} for {WINDOW:?}", percent(burst)));
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

/// The share that others used; none where the system does not tell.
fn others_between(begin: Option<Times>, end: Option<Times>) -> f64 {
    begin.zip(end).map_or(0.0, |(begin, end)| end.others_since(begin))
}

impl Times {
    /// None where the system does not tell.
    fn now() -> Option<Self> {
        let machine = std::fs::read_to_string("/proc/stat").ok()?;
        let fields = machine.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = fields.map_while(|ticks| ticks.parse().ok()).collect();
        // User, nice, system, idle, waiting for a disk, interrupts, soft ones, stolen by the host.
        // Interrupts are as much the work of those that are measured, so they count as nobody's.
        let [user, nice, system, idle, disk, hard, soft, stolen, ..] = ticks[..] else {
            return None;
        };
        let used = user + nice + system + stolen;
        let mut own = ticks_of("/proc/self/stat", true)?;
        for process in OWN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // One that has ended is among those that this process has waited for.
            own += ticks_of(&format!("/proc/{process}/stat"), false).unwrap_or_default();
        }
        Some(Self { all: used + idle + disk + hard + soft, used, own })
    }

    /// The share of the time since then that others used.
    fn others_since(self, begin: Self) -> f64 {
        let all = self.all.saturating_sub(begin.all).max(1);
        let own = self.own.saturating_sub(begin.own);
        self.used.saturating_sub(begin.used).saturating_sub(own) as f64 / all as f64
    }
}

/// The time of a process, and of those it has waited for where asked.
fn ticks_of(path: &str, with_children: bool) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    // The name stands in brackets, and may have some in it (proc_pid_stat(5)).
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let counted = if with_children { 11..15 } else { 11..13 };
    fields.get(counted)?.iter().map(|ticks| ticks.parse::<u64>().ok()).sum()
}
