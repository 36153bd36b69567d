//! Runs `wrk`, the load generator for all servers, and parses its result.

use super::cases::{Case, MANY, Target, many_path};
use super::process::Started;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The result of one run of `wrk`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Driven {
    /// Complete responses.
    pub requests: u64,
    /// The duration.
    pub seconds: f64,
    /// The median latency, in microseconds.
    pub p50: f64,
    /// The 99th percentile of the latency, in microseconds.
    pub p99: f64,
    /// Failed connections, and incomplete or wrong responses.
    pub errors: u64,
}

/// Makes wrk print its result in a line for this program.
const DONE: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FOUND %d %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.timeout,
    e.status))
end
"#;

/// Whether `wrk` can be started.
pub fn is_installed() -> bool {
    // wrk has no option that does nothing; its usage message is enough.
    Command::new("wrk")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Sends load to one server for this many seconds.
pub fn drive(
    case: &Case,
    address: SocketAddr,
    seconds: u32,
    folder: &Path,
) -> Result<Driven, String> {
    let script = folder.join("wrk.lua");
    let many = case.target == Target::Many;
    fs::write(&script, if many { script_for_many() } else { DONE.to_owned() })
        .map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let (path, _) = case.target.example();
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c", &case.connections.to_string(), "-d", &format!("{seconds}s")]);
    command.args(["--timeout", "10s"]).arg("-s").arg(&script);
    if case.closes {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(format!("http://{address}{path}"));
    let log = folder.join("wrk.output");
    let text = fs::write(&log, "")
        .and_then(|()| Started::new(command, &log)?.finish())
        .and_then(|()| fs::read_to_string(&log))
        .map_err(|error| format!("cannot start wrk: {error}"))?;
    let found = text.lines().find_map(|line| line.strip_prefix("FOUND "));
    let found =
        found.ok_or_else(|| format!("wrk got no result from {address}: {}", text.trim()))?;
    let numbers: Vec<u64> = found.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [requests, micros, p50, p99, broken, statuses] = numbers[..] else {
        return Err(format!("cannot parse the result of wrk: {found}"));
    };
    let seconds = Duration::from_micros(micros).as_secs_f64();
    let wrong = if case.target == Target::Missing { 0 } else { statuses };
    Ok(Driven { requests, seconds, p50: p50 as f64, p99: p99 as f64, errors: broken + wrong })
}

/// Requests many files in an order in which consecutive ones are far apart.
fn script_for_many() -> String {
    let mut script = String::from("local requests = {}\ninit = function(args)\n");
    let _ = writeln!(script, "  for n = 0, {} do", MANY - 1);
    let form = many_path(0).replace("00/00", "%02d/%02d");
    let _ = writeln!(
        script,
        "    requests[n] = wrk.format('GET', string.format('{form}', math.floor(n / 100), n % 100))"
    );
    script.push_str("  end\nend\nlocal n = 0\nrequest = function()\n");
    let _ = writeln!(script, "  n = (n + 7919) % {MANY}\n  return requests[n]\nend");
    script + DONE
}
