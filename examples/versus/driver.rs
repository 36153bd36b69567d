//! Runs `wrk`, the load generator of closed loops, and parses its result.

use super::cases::Target;
use super::process::Started;
use super::usage::ended_children_cpu;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a load generator measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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
    /// The load generator's own CPU time over the duration. It has one thread, so 1 is its limit.
    pub driver: f64,
    /// Downloads a second that ran beside the requests.
    pub downloads: f64,
}

/// A closed loop: each connection requests again when it has its response.
#[derive(Debug, Clone, Copy)]
pub struct Loop {
    /// What is requested.
    pub target: Target,
    /// The number of connections.
    pub connections: usize,
    /// Each request uses a new connection.
    pub closes: bool,
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
    load: &Loop,
    address: SocketAddr,
    seconds: u32,
    folder: &Path,
) -> Result<Driven, String> {
    let script = folder.join("wrk.lua");
    fs::write(&script, script_for(load.target))
        .map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c", &load.connections.to_string(), "-d", &format!("{seconds}s")]);
    command.args(["--timeout", "10s"]).arg("-s").arg(&script);
    if load.closes {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(format!("http://{address}{}", load.target.example()));
    let log = folder.join("wrk.output");
    let (begun, cpu) = (Instant::now(), ended_children_cpu());
    let text = fs::write(&log, "")
        .and_then(|()| Started::new(command, &log)?.finish())
        .and_then(|()| fs::read_to_string(&log))
        .map_err(|error| format!("cannot start wrk: {error}"))?;
    let cpu = ended_children_cpu().saturating_sub(cpu).as_secs_f64();
    let driven = parse(&text, load.target == Target::Missing)
        .ok_or_else(|| format!("wrk got no result from {address}: {}", text.trim()))?;
    Ok(Driven { driver: cpu / begun.elapsed().as_secs_f64(), ..driven })
}

/// The result in wrk's output. Statuses other than 2xx and 3xx are errors, unless a 404 is wanted.
pub fn parse(output: &str, is_missing: bool) -> Option<Driven> {
    let found = output.lines().find_map(|line| line.strip_prefix("FOUND "))?;
    let numbers: Vec<u64> = found.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [requests, micros, p50, p99, broken, statuses] = numbers[..] else { return None };
    Some(Driven {
        requests,
        seconds: Duration::from_micros(micros).as_secs_f64(),
        p50: p50 as f64,
        p99: p99 as f64,
        errors: broken + if is_missing { 0 } else { statuses },
        ..Driven::default()
    })
}

/// Requests the paths of a target in turn. The requests are made in advance.
fn script_for(target: Target) -> String {
    let mut script = String::new();
    for (name, value) in target.fields() {
        let _ = writeln!(script, "wrk.headers['{name}'] = '{value}'");
    }
    let paths = target.paths();
    if !paths.is_empty() {
        script.push_str("local paths = {\n");
        paths.iter().for_each(|path| script.push_str(&format!("'{path}',\n")));
        script.push_str(
            "}\nlocal requests = {}\ninit = function(args)\n  \
             for n, path in ipairs(paths) do requests[n] = wrk.format('GET', path) end\nend\n\
             local n = 0\nrequest = function()\n  n = n % #requests + 1\n  \
             return requests[n]\nend\n",
        );
    }
    script + DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_found_in_the_output_of_wrk() {
        let output = "Running 1s test\nFOUND 12 2000000 50 900 1 3\nbye\n";
        let driven = parse(output, false).expect("a result");
        assert_eq!((driven.requests, driven.seconds), (12, 2.0));
        assert_eq!((driven.p50, driven.p99, driven.errors), (50.0, 900.0, 4));
        assert_eq!(parse(output, true).map(|driven| driven.errors), Some(1), "404 is wanted");
        for broken in ["", "unable to connect", "FOUND 1 2 3", "FOUND a b c d e f"] {
            assert_eq!(parse(broken, false), None, "{broken}");
        }
    }

    #[test]
    fn the_script_has_each_path_and_field() {
        let script = script_for(Target::Assets);
        assert_eq!(script.matches("'/static/").count(), 20);
        assert!(script.contains("wrk.headers['Accept-Encoding'] = 'br, gzip'"));
        let many = Target::Many.paths();
        let mut different = many.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), many.len());
        assert_eq!(script_for(Target::Missing), DONE);
    }
}
