//! What processes have used so far, from `/proc`: CPU time, context switches and memory.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// The resources that processes have used so far.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// By thread, of those that live.
    threads: HashMap<u32, Thread>,
    /// User and system time in clock ticks, also of threads and children that have ended.
    ticks: u64,
    /// The peak resident memory in bytes, summed over the processes.
    pub peak_rss: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Thread {
    cpu: Duration,
    switches: u64,
}

/// The difference of two usages.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// User and system time.
    pub cpu: Duration,
    /// Context switches, voluntary or not.
    pub switches: u64,
}

impl Usage {
    /// That of these processes.
    pub fn of(processes: &[u32]) -> Self {
        let mut usage = Self::default();
        for process in processes {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            usage.ticks += parse_stat(&stat).map_or(0, |(_, ticks)| ticks);
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            usage.peak_rss += field(&status, "VmHWM:").unwrap_or(0) * 1024;
            for id in numbers_in(&format!("/proc/{process}/task")) {
                let of = |file| fs::read_to_string(format!("/proc/{process}/task/{id}/{file}"));
                let (Ok(times), Ok(status)) = (of("schedstat"), of("status")) else { continue };
                usage.threads.insert(id, parse_thread(&times, &status));
            }
        }
        usage
    }

    /// What was used since an earlier moment.
    ///
    /// The scheduler's times of the threads are exact, but those of threads that have ended since
    /// are gone. The ticks include them. They count if they say clearly more. The context
    /// switches of threads that have ended are missing.
    pub fn since(&self, before: &Self) -> Used {
        let mut used = Used::default();
        for (id, now) in &self.threads {
            let then = before.threads.get(id).copied().unwrap_or_default();
            used.cpu += now.cpu.saturating_sub(then.cpu);
            used.switches += now.switches.saturating_sub(then.switches);
        }
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let ticks = self.ticks.saturating_sub(before.ticks) as f64;
        let rounding = 4.0;
        if (ticks - rounding) / per_second > used.cpu.as_secs_f64() * 1.05 {
            used.cpu = Duration::from_secs_f64(ticks / per_second);
        }
        used
    }
}

/// A process and its descendants.
pub fn family(first: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers_in("/proc")
        .filter_map(|id| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            Some((id, parse_stat(&stat)?.0))
        })
        .collect();
    let mut family = vec![first];
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        at += 1;
    }
    family
}

/// The CPU time of this process's children that have ended.
pub fn ended_children_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 = times(&stat).map_or(0, |times| times[2..].iter().sum());
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The CPU time of this thread. Zero if the kernel does not say.
pub fn own_thread_cpu() -> Duration {
    let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    parse_thread(&times, "").cpu
}

fn numbers_in(folder: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields behind the name in `/proc/ID/stat` (proc(5)). The name may contain any characters,
/// including parentheses.
fn behind_name(stat: &str) -> Option<Vec<&str>> {
    Some(stat[stat.rfind(')')? + 1..].split_whitespace().collect())
}

/// User and system time of a process, then of its children that have ended, in ticks.
fn times(stat: &str) -> Option<Vec<u64>> {
    behind_name(stat)?.get(11..15)?.iter().map(|time| time.parse().ok()).collect()
}

/// The parent, and all ticks.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    let parent = behind_name(stat)?.get(1)?.parse().ok()?;
    Some((parent, times(stat)?.iter().sum()))
}

/// A thread's `schedstat`, which starts with the nanoseconds on a processor, and its `status`.
fn parse_thread(schedstat: &str, status: &str) -> Thread {
    let nanos = schedstat.split_whitespace().next().and_then(|word| word.parse().ok());
    let switches = |name| field(status, name).unwrap_or(0);
    Thread {
        cpu: Duration::from_nanos(nanos.unwrap_or(0)),
        switches: switches("voluntary_ctxt_switches:") + switches("nonvoluntary_ctxt_switches:"),
    }
}

/// The number behind a name in `status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_parsed() {
        let stat = "42 (a) (b c) S 7 42 42 0 -1 4194560 1 2 3 4 10 20 3 4 20 0 1 0 99";
        assert_eq!(parse_stat(stat), Some((7, 37)));
        assert_eq!(times(stat), Some(vec![10, 20, 3, 4]));
        for broken in ["", "42 (a", "42 (a) S", "42 (a) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
        let status =
            "VmHWM:\t  12 kB\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n";
        let thread = Thread { cpu: Duration::from_nanos(123), switches: 7 };
        assert_eq!(parse_thread("123 456 7\n", status), thread);
        assert_eq!(parse_thread("", ""), Thread::default());
        assert_eq!(field(status, "VmHWM:"), Some(12));
    }

    #[test]
    fn threads_that_started_or_ended_are_counted_as_far_as_they_are_known() {
        let thread = |millis, switches| Thread { cpu: Duration::from_millis(millis), switches };
        let usage = |threads: &[(u32, Thread)], ticks| Usage {
            threads: threads.iter().copied().collect(),
            ticks,
            peak_rss: 0,
        };
        let second = rustix::param::clock_ticks_per_second();
        let before = usage(&[(1, thread(10, 5)), (2, thread(20, 6))], second);
        let after = usage(&[(1, thread(15, 9)), (3, thread(7, 2))], second);
        let used = after.since(&before);
        assert_eq!(used, Used { cpu: Duration::from_millis(12), switches: 6 });
        let ended = usage(&[(1, thread(15, 9))], 3 * second);
        assert_eq!(ended.since(&before).cpu, Duration::from_secs(2), "the ticks know more");
    }

    #[test]
    fn this_process_is_seen() {
        let own = std::process::id();
        assert!(family(own).contains(&own));
        let before = Usage::of(&[own]);
        assert!(before.peak_rss > 0);
        std::thread::sleep(Duration::from_millis(1));
        let used = Usage::of(&[own]).since(&before);
        assert!(used.switches > 0, "a sleep is a context switch: {used:?}");
    }
}
