//! What an access log in JSON says of the load: when requests came, and how long they took.

use cws::ServiceTime;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The interval whose rate a plan is made for, in seconds.
const INTERVAL: u64 = 60;

/// The load of a log.
#[derive(Debug)]
pub struct Log {
    /// The services of the requests that had a worker.
    pub service: ServiceTime,
    /// Requests that asked for a worker.
    pub requests: usize,
    /// From the first to the last of them.
    pub length: Duration,
    /// Requests per second in the busiest minute, or in all of a shorter log.
    pub busiest: f64,
}

impl Log {
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let wrong = |what: String| format!("cannot plan from {shown}: {what}");
        let service: ServiceTime =
            format!("trace:{shown}").parse().map_err(|error| wrong(format!("{error}")))?;
        let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
        let mut times = Vec::new();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|error| wrong(error.to_string()))?;
            let arrival = arrival(line.trim());
            times.extend(arrival.map_err(|what| wrong(format!("line {}: {what}", number + 1)))?);
        }
        times.sort_unstable();
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Err(wrong("it has no request that asked for a worker".to_owned()));
        };
        let length = last.saturating_sub(*first);
        if length.is_zero() {
            return Err(wrong("all requests came at once (take a longer log)".to_owned()));
        }
        let busiest = busiest(&times, length);
        Ok(Self { service, requests: times.len(), length, busiest })
    }

    pub fn describe(&self) -> String {
        let mean = self.requests as f64 / self.length.as_secs_f64();
        format!(
            "The log has {} requests for workers in {:.1?}: {mean:.4} a second on average, {:.4} a \
             second in its busiest minute.",
            self.requests, self.length, self.busiest
        )
    }
}

/// The rate within the window of a minute that has most arrivals.
fn busiest(times: &[Duration], length: Duration) -> f64 {
    let window = length.min(Duration::from_secs(INTERVAL));
    let mut first = 0;
    let mut most = 0;
    for (last, time) in times.iter().enumerate() {
        while times[first] + window < *time {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    // The first of them begins the interval.
    (most.max(2) - 1) as f64 / window.as_secs_f64()
}

/// When a request came, since 1970; none if it needed no worker. One that was refused for want of a
/// worker counts.
fn arrival(line: &str) -> Result<Option<Duration>, String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    if line["worker"].is_null() && line["status"] != 503 {
        return Ok(None);
    }
    let text = line["time"].as_str().ok_or("it has no time (give this server's own log)")?;
    let taken = humantime::parse_rfc3339(text).map_err(|error| format!("{text}: {error}"))?;
    let taken = taken.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // The line has the moment at which a worker took it.
    let waited = Duration::from_micros(line["queue_wait_us"].as_u64().unwrap_or_default());
    Ok(Some(taken.saturating_sub(waited)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_minute_is_found_wherever_it_begins() {
        let second = Duration::from_secs(1);
        let mut times: Vec<Duration> = (0..300).map(|number| number * second).collect();
        times.extend((0..600).map(|number| 130 * second + number * second / 10));
        times.sort_unstable();
        let found = busiest(&times, times[times.len() - 1]);
        assert!((found - 11.0).abs() < 0.1, "{found}");
        let few = [second, 2 * second, 3 * second];
        assert_eq!(busiest(&few, 2 * second), 1.0);
    }
}
