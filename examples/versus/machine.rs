//! Describes the machine of the measurement.

use super::peers::Contender;
use std::fs;
use std::process::Command;
use std::time::SystemTime;

/// Lines with the machine, the time, and the versions.
pub fn describe(contenders: &[Contender]) -> Vec<String> {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |line| line.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let driver = Command::new("wrk").arg("--version").output();
    let driver = driver.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let driver = driver.unwrap_or_default();
    let driver = driver.split(" [").next().unwrap_or_default().trim().to_owned();
    #[allow(clippy::disallowed_methods, reason = "the date of the run")]
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let mut lines = vec![format!(
        "{} x {model}, kernel {}, {now}; driven by {driver} with one thread",
        num_cpus::get(),
        kernel.trim()
    )];
    // With BBR the kernel paces what a server sends, through the loopback interface too.
    if let Ok(name) = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control") {
        lines.push(format!("the system's congestion control: {}", name.trim()));
    }
    let versions = contenders.iter().map(|one| format!("{}: {}", one.name, one.version()));
    lines.extend(versions);
    lines
}
