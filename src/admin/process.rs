//! Metrics of the process, by the names that Prometheus' client libraries have in common.
//!
//! They come from `/proc` (proc(5)). What a system does not tell is left out.

use super::exposition::Out;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
#[cfg(target_os = "linux")]
use prometheus_client::registry::Unit;
use std::fmt;

/// Reads the process's metrics when they are asked for.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        if let Some(most) = descriptors {
            let help = "Maximum number of open file descriptors";
            out.gauge("process_max_fds", help, most as f64)?;
        }
        #[cfg(target_os = "linux")]
        of_linux(&mut out)?;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn of_linux(out: &mut Out<'_, '_>) -> fmt::Result {
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // The one that reads the folder is open only for that.
        let open = open.count().saturating_sub(1);
        out.gauge("process_open_fds", "Number of open file descriptors", open as f64)?;
    }
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some(stat) = Stat::parse(&text) else { return Ok(()) };
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let help = "Total user and system CPU time spent in seconds";
    out.seconds_counter("process_cpu", help, stat.cpu_ticks as f64 / ticks)?;
    let help = "Virtual memory size in bytes";
    out.gauge_of("process_virtual_memory", help, &Unit::Bytes, stat.virtual_bytes as f64)?;
    let resident = stat.resident_pages as f64 * rustix::param::page_size() as f64;
    out.gauge_of(
        "process_resident_memory",
        "Resident memory size in bytes",
        &Unit::Bytes,
        resident,
    )?;
    out.gauge("process_threads", "Number of threads", stat.threads as f64)?;
    if let Some(boot) = boot_time() {
        let started = boot + stat.start_ticks as f64 / ticks;
        let help = "Start time of the process since the Unix epoch in seconds";
        out.gauge_of("process_start_time", help, &Unit::Seconds, started)?;
    }
    Ok(())
}

/// The moment at which the machine started, in seconds since the Unix epoch.
#[cfg(target_os = "linux")]
fn boot_time() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Fields of `/proc/self/stat`.
#[cfg(target_os = "linux")]
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

#[cfg(target_os = "linux")]
impl Stat {
    /// The program's name, in parentheses, can have spaces and parentheses of its own. The field
    /// behind it is the third, so field n of proc(5) is at n - 3.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| -> Option<u64> { fields.get(number - 3)?.parse().ok() };
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_can_have_spaces_and_parentheses() {
        let text = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0 9 0 1234 5678 90 1 2 3";
        let stat = Stat {
            cpu_ticks: 100,
            threads: 9,
            start_ticks: 1234,
            virtual_bytes: 5678,
            resident_pages: 90,
        };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("42 (a) S 1 2 3"), None);
        assert!(boot_time() > Some(0.0));
    }
}
