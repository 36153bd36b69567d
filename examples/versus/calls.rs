//! Counts the system calls of processes with `perf`, or else with `strace`.
//!
//! Counting takes time, `strace` much of it, so it is not done while figures are measured.

use super::process::Started;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest wait until `strace` is attached.
const ATTACH: Duration = Duration::from_secs(10);

/// What can count here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// `perf stat` with the trace point of system calls.
    Perf,
    /// `strace -c`. It slows the server down, so that batches differ.
    Strace,
}

/// Tries what works on this machine.
pub fn find() -> Option<Counter> {
    let works = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).args(["--", "true"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if works("perf", &["stat", "-e", "raw_syscalls:sys_enter"]) {
        return Some(Counter::Perf);
    }
    works("strace", &["-f", "-c"]).then_some(Counter::Strace)
}

impl Counter {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        }
    }

    /// The system calls of these processes while `work` runs, and its result.
    pub fn count<T>(
        self,
        processes: &[u32],
        folder: &Path,
        work: impl FnOnce() -> Result<T, String>,
    ) -> Result<(u64, T), String> {
        let failed = |error: io::Error| format!("cannot count with {}: {error}", self.name());
        let (report, log) = (folder.join("calls"), folder.join("calls.output"));
        let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
        fs::write(&log, "").map_err(failed)?;
        let counting = match self {
            Self::Perf => {
                // It counts while the command lives. `cat` answers once it counts.
                let mut command = Command::new("perf");
                command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o"]);
                command.arg(&report).args(["-p", &ids.join(","), "--", "cat"]);
                let mut counting = Started::with_pipes(command, &log).map_err(failed)?;
                counting.ask("ready").map_err(failed)?;
                counting
            }
            Self::Strace => {
                let mut command = Command::new("strace");
                command.args(["-f", "-c", "-o"]).arg(&report);
                ids.iter().for_each(|id| {
                    command.args(["-p", id]);
                });
                let counting = Started::new(command, &log).map_err(failed)?;
                wait_for_attached(&log, ids.len()).map_err(failed)?;
                counting
            }
        };
        let outcome = work();
        match self {
            Self::Perf => counting.finish(),
            Self::Strace => counting.interrupt(),
        }
        .map_err(failed)?;
        let text = fs::read_to_string(&report).map_err(failed)?;
        let calls = self.parse(&text);
        let calls = calls.ok_or_else(|| failed(io::Error::other("it reports no number")))?;
        outcome.map(|outcome| (calls, outcome))
    }

    /// The number of calls in a report.
    fn parse(self, report: &str) -> Option<u64> {
        match self {
            Self::Perf => {
                let line = report.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
                line.split(',').next()?.parse().ok()
            }
            Self::Strace => {
                let line = report.lines().find(|line| line.trim_end().ends_with(" total"))?;
                // Share, seconds, mean, calls, and errors if there are any.
                line.split_whitespace().nth(3)?.parse().ok()
            }
        }
    }
}

fn wait_for_attached(log: &Path, processes: usize) -> io::Result<()> {
    let deadline = Instant::now() + ATTACH;
    while fs::read_to_string(log)?.matches("attached").count() < processes {
        if Instant::now() > deadline {
            return Err(io::Error::other("it does not attach in time"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_parsed() {
        let perf = "# started on Thu\n\n29,,raw_syscalls:sys_enter,961996,100.00,,\n";
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      100.00    0.000012           1        12         2 read\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      100.00    0.000012           1        12         2 total\n";
        for (counter, report, calls) in [
            (Counter::Perf, perf, Some(29)),
            (Counter::Perf, "<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n", None),
            (Counter::Perf, "", None),
            (Counter::Strace, strace, Some(12)),
            (Counter::Strace, "", None),
        ] {
            assert_eq!(counter.parse(report), calls, "{counter:?} {report}");
        }
    }
}
