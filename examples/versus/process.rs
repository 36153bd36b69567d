//! Child processes: their CPU time and memory from `/proc`, and their termination.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The live process groups, to terminate all of them at once.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The time that a server has to stop before it is killed.
const FAREWELL: Duration = Duration::from_secs(2);

/// A process in its own group. Dropping this terminates the group.
#[derive(Debug)]
pub struct Started {
    child: Child,
}

/// The resources used by a server's processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// The peak resident memory in bytes, summed over the processes.
    pub peak_rss: u64,
}

impl Started {
    /// Starts a command. Its output goes to `log`.
    pub fn new(mut command: Command, log: &Path) -> io::Result<Self> {
        let log = fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // Hold the lock until the group is recorded, so that `end_all` cannot miss it.
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        groups.push(child.id());
        Ok(Self { child })
    }

    /// Waits until the process has ended.
    pub fn finish(mut self) -> io::Result<()> {
        self.child.wait().map(|_| ())
    }

    /// True while the first process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The resources used so far by the process and its descendants.
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
        // Kill the processes that are left in the group.
        signal(group, "KILL");
        let _ = self.child.wait();
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != group);
    }
}

/// Terminates all groups at once. No process can be started after it.
pub fn end_all() {
    let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    for group in groups.iter() {
        signal(*group, "KILL");
    }
    // Keep the lock: the process exits now.
    std::mem::forget(groups);
}

fn signal(group: u32, name: &str) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let signal = if name == "TERM" { Signal::TERM } else { Signal::KILL };
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // A group that has already ended needs no signal.
        let _ = kill_process_group(group, signal);
    }
}

struct Process {
    parent: u32,
    /// User and system time, including that of children that have ended.
    ticks: u64,
}

/// All processes of the machine.
fn processes() -> HashMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|id: u32| Some((id, read_stat(id)?))).collect()
}

/// Parses `/proc/ID/stat` (proc(5)). The name in it may contain any characters, including
/// parentheses.
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
