//! Processes as the system shows them from outside: memory, threads, open descriptors (`/proc`,
//! proc(5)).
#![allow(dead_code, reason = "each program uses its own part")]

use std::collections::HashMap;
use std::fs;
use std::ops::Add;
use std::time::Duration;

/// What a process and its descendants hold at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub processes: u64,
    pub threads: u64,
    /// Resident memory in KiB. Pages that processes share count once for each of them.
    pub resident: u64,
    /// The same in proportional shares: a page that n processes share counts 1/n for each.
    pub proportional: u64,
    pub descriptors: u64,
}

impl Add for Held {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            processes: self.processes + other.processes,
            threads: self.threads + other.threads,
            resident: self.resident + other.resident,
            proportional: self.proportional + other.proportional,
            descriptors: self.descriptors + other.descriptors,
        }
    }
}

impl Held {
    /// Those of these processes that live, with their descendants. `None` if none of them lives, or
    /// if the system does not show them.
    pub fn by(processes: &[u32]) -> Option<Self> {
        let family = family(processes);
        let held = family.into_iter().filter_map(Self::by_one).reduce(Self::add)?;
        Some(held)
    }

    /// `None` for a process that has ended, also if nobody has collected it yet.
    fn by_one(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let threads = field(&status, "Threads:")?;
        // A process that has ended has no memory.
        let resident = field(&status, "VmRSS:")?;
        // The files of other users' processes may be closed to this one.
        let shares = fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
        let proportional = shares.ok().and_then(|shares| field(&shares, "Pss:"));
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        Some(Self {
            processes: 1,
            threads,
            resident,
            proportional: proportional.unwrap_or(resident),
            descriptors: descriptors as u64,
        })
    }

    /// The larger of both in each figure.
    pub fn most(self, other: Self) -> Self {
        Self {
            processes: self.processes.max(other.processes),
            threads: self.threads.max(other.threads),
            resident: self.resident.max(other.resident),
            proportional: self.proportional.max(other.proportional),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// The CPU time that these processes and their descendants have used so far, with that of the
/// threads that have ended and of the children that were collected. Its resolution is a tick of the
/// kernel, a hundredth of a second.
pub fn cpu_time(processes: &[u32]) -> Duration {
    let ticks: u64 = family(processes).into_iter().filter_map(ticks).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time of a process, and of its children that were collected.
fn ticks(process: u32) -> Option<u64> {
    let fields = behind_name(process)?;
    fields.get(11..15)?.iter().map(|time| time.parse::<u64>().ok()).sum()
}

/// These processes and their descendants.
pub fn family(processes: &[u32]) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in numbers_in("/proc") {
        if let Some(parent) = parent(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut family = processes.to_vec();
    let mut at = 0;
    while let Some(process) = family.get(at) {
        family.extend(children.remove(process).unwrap_or_default());
        at += 1;
    }
    family.sort_unstable();
    family.dedup();
    family
}

/// The entries of a folder that are numbers, as those of `/proc` for processes.
pub fn numbers_in(folder: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent of a process.
pub fn parent(process: u32) -> Option<u32> {
    behind_name(process)?.get(1)?.parse().ok()
}

/// The fields behind the name in `/proc/ID/stat`. The name is in parentheses, and may contain some.
fn behind_name(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// The number behind a name in `status` or `smaps_rollup`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
