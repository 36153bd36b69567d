//! Processes that were started here: their time and memory from `/proc`, and their certain end.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The process groups that are alive, for whoever has to end them all at once.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Time that a server gets to end in order.
const FAREWELL: Duration = Duration::from_secs(2);

/// A process in a group of its own; all of the group ends when this is dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
}

/// What a server's processes have used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// The largest resident sets there were, added up, in bytes.
    pub peak_rss: u64,
}

impl Started {
    /// Starts a command; what it prints goes to `log`.
    pub fn new(mut command: Command, log: &Path) -> io::Result<Self> {
        let log = fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // Held until the group is noted, so that none escapes an end that comes just now.
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        groups.push(child.id());
        Ok(Self { child })
    }

    /// Waits until it has ended.
    pub fn finish(mut self) -> io::Result<()> {
        self.child.wait().map(|_| ())
    }

    /// True while the first process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it and all processes that it started have used so far.
    pub fn usage(&self) -> Usage {
        let processes = processes();
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while at < family.len() {
            let parent = family[at];
            let children = processes.iter().filter(|(_, process)| process.parent == parent);
            family.extend(children.map(|(id, _)| *id));
            at += 1;
        }
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        family.iter().fold(Usage::default(), |sum, id| {
            let ticks = processes.get(id).map_or(0, |process| process.ticks);
            Usage {
                cpu: sum.cpu + Duration::from_secs_f64(ticks as f64 * tick),
                peak_rss: sum.peak_rss + peak_rss(*id),
            }
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let group = self.child.id();
        signal(group, "TERM");
        let deadline = Instant::now() + FAREWELL;
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // What the first process left behind, or all of it.
        signal(group, "KILL");
        let _ = self.child.wait();
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != group);
    }
}

/// Ends everything that was started, at once; nothing can be started any more.
pub fn end_all() {
    let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    for group in groups.iter() {
        signal(*group, "KILL");
    }
    // The lock is kept: the process ends now.
    std::mem::forget(groups);
}

fn signal(group: u32, name: &str) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let signal = if name == "TERM" { Signal::TERM } else { Signal::KILL };
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // One that has ended by itself needs no signal.
        let _ = kill_process_group(group, signal);
    }
}

struct Process {
    parent: u32,
    /// User and system time, that of ended children included.
    ticks: u64,
}

/// All processes of the machine.
fn processes() -> HashMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|id: u32| Some((id, read_stat(id)?))).collect()
}

/// `/proc/ID/stat`, as proc(5) has it; the name in it may hold anything, even parentheses.
fn read_stat(id: u32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let behind_name = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let times = fields.get(11..15)?;
    Some(Process { parent, ticks: times.iter().filter_map(|time| time.parse::<u64>().ok()).sum() })
}

fn peak_rss(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
