//! The file of a run: its figures in JSON, for other programs and for a comparison.

use crate::comparison::Sample;
use crate::hdr::Times;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The version of the format. Another version has other fields.
const FORMAT: u32 = 1;

/// The largest file that is read.
const BYTES_MOST: u64 = 256 << 20;

/// A run. All times are in seconds, unless their names say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The version of this format.
    pub format: u32,
    /// The program and its version.
    pub program: String,
    /// Its options.
    pub options: Vec<String>,
    /// What was asked for, and when.
    pub load: String,
    /// The machine on which it ran.
    pub machine: String,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// From the start of the load to its last answer.
    pub seconds: f64,
    /// The number of requests.
    pub requests: u64,
    /// The number of complete responses with a status below 400.
    pub successes: u64,
    /// The number of all others.
    pub failures: u64,
    /// Successes a second.
    pub successes_per_second: f64,
    /// Bytes of responses a second, with their heads.
    pub bytes_per_second: f64,
    /// The number of tries.
    pub tries: u64,
    /// How often a request was sent anew because a kept connection had been closed.
    pub reconnects: u64,
    /// The number of requests by the answer.
    pub answers: BTreeMap<String, u64>,
    /// From the intended start to the end. A percentile that falls on failures is null.
    pub latency: Percentiles,
    /// From the start of the last try to the end, of the successes.
    pub from_sending: Percentiles,
    /// Waiting for one of the load generator's own connections.
    pub connection_wait: Percentiles,
    /// How much later than intended requests started.
    pub lateness: Percentiles,
    /// The server's own `queue_wait`, where it says so.
    pub server_queue_wait: Percentiles,
    /// The server's own `handle`, where it says so.
    pub server_handle: Percentiles,
    /// The figures of each target, if there are several.
    pub targets: Vec<Target>,
    /// The latencies of the successes: nanoseconds, count.
    pub histogram_ns: Vec<(u64, u64)>,
    /// The length of a window.
    pub window_seconds: f64,
    /// The requests by the time at which they were meant to start.
    pub windows: Vec<SavedWindow>,
    /// The checks of the run.
    pub checks: Vec<SavedCheck>,
}

/// Figures of times of one kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// The number of times.
    pub count: u64,
    /// The arithmetic mean.
    pub mean: Option<f64>,
    /// The shortest.
    pub min: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// The times by the percentile.
    pub percentiles: BTreeMap<String, Option<f64>>,
}

/// The requests to one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its method and path.
    pub name: String,
    /// The number of requests.
    pub requests: u64,
    /// The number of those that failed.
    pub failures: u64,
    /// The latency.
    pub latency: Percentiles,
}

/// The requests that were meant to start within a window of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedWindow {
    /// The number of requests.
    pub requests: u64,
    /// The latencies of the successes: nanoseconds, count.
    pub histogram_ns: Vec<(u64, u64)>,
}

/// A check of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCheck {
    /// What was checked, with the measured figures.
    pub what: String,
    /// The verdict, as it is printed.
    pub verdict: String,
}

/// The percentiles that are saved.
const PERCENTS: [f64; 8] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999];

impl Percentiles {
    /// The figures of times.
    pub fn of(times: &Times) -> Self {
        Self::among(times, times.count())
    }

    /// The same where others are longer, so that there are `all`.
    pub fn among(times: &Times, all: u64) -> Self {
        let percentile = |percent: f64| {
            let time = times.quantile_of(percent / 100.0, all);
            (percent.to_string(), time.map(|time| time.as_secs_f64()))
        };
        Self {
            count: times.count(),
            mean: times.mean().map(|time| time.as_secs_f64()),
            min: times.least().map(|time| time.as_secs_f64()),
            max: times.most().map(|time| time.as_secs_f64()),
            percentiles: PERCENTS.into_iter().map(percentile).collect(),
        }
    }
}

/// The pairs of a histogram.
pub fn pairs(times: &Times) -> Vec<(u64, u64)> {
    times.recorded().collect()
}

fn times(pairs: &[(u64, u64)]) -> Times {
    let mut times = Times::default();
    pairs.iter().for_each(|&(nanos, count)| times.record_nanos(nanos, count));
    times
}

/// Why a file is no saved run.
#[derive(Debug)]
pub enum SavedError {
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// It is not what a run is saved as.
    Format(PathBuf, String),
}

impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => {
                write!(f, "cannot read {}: {error} (check the name)", path.display())
            }
            Self::Format(path, why) => {
                let path = path.display();
                write!(f, "{path} is no saved run: {why} (write one with load --json {path})")
            }
        }
    }
}

impl std::error::Error for SavedError {}

impl Saved {
    /// The version of this format.
    pub const FORMAT: u32 = FORMAT;

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is no saved run.
    pub fn read(path: &Path) -> Result<Self, SavedError> {
        let unread = |error| SavedError::Read(path.to_owned(), error);
        let wrong = |why: String| SavedError::Format(path.to_owned(), why);
        let mut text = Vec::new();
        let file = File::open(path).map_err(unread)?;
        file.take(BYTES_MOST + 1).read_to_end(&mut text).map_err(unread)?;
        if text.len() as u64 > BYTES_MOST {
            return Err(wrong(format!("it is longer than {} MiB", BYTES_MOST >> 20)));
        }
        let saved: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        saved.consistent().map_err(wrong)?;
        Ok(saved)
    }

    /// Whether the parts agree with one another, so that nothing overflows later.
    fn consistent(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, and not {FORMAT}", self.format));
        }
        let sum = |pairs: &[(u64, u64)]| {
            pairs.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count))
        };
        let windows = self.windows.iter().try_fold((0_u64, 0_u64), |(requests, answered), of| {
            let of_window = sum(&of.histogram_ns).filter(|&count| count <= of.requests)?;
            Some((requests.checked_add(of.requests)?, answered.checked_add(of_window)?))
        });
        let is_consistent = windows == Some((self.requests, self.successes))
            && sum(&self.histogram_ns) == Some(self.successes)
            && self.successes.checked_add(self.failures) == Some(self.requests)
            && self.seconds >= 0.0
            && self.window_seconds > 0.0;
        is_consistent.then_some(()).ok_or_else(|| "its numbers do not add up".to_owned())
    }

    /// Writes it, with a line end.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)?;
        out.flush()
    }

    /// The run as a comparison takes it.
    pub fn sample(&self) -> Sample {
        let window = |window: &SavedWindow| (window.requests, times(&window.histogram_ns));
        Sample {
            seconds: self.seconds,
            window: self.window_seconds,
            windows: self.windows.iter().map(window).collect(),
        }
    }

    /// The latencies of its successes.
    pub fn latencies(&self) -> Times {
        times(&self.histogram_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn saved() -> Saved {
        let mut times = Times::default();
        (1..=10).for_each(|millis| times.record(Duration::from_millis(millis)));
        let of = Percentiles::among(&times, 12);
        let windows = vec![SavedWindow { requests: 12, histogram_ns: pairs(&times) }];
        Saved {
            format: FORMAT,
            program: "load 0.1.0".to_owned(),
            options: vec!["--rate".to_owned(), "12".to_owned()],
            load: "12 requests".to_owned(),
            machine: "2 processors".to_owned(),
            interrupted: false,
            seconds: 1.25,
            requests: 12,
            successes: 10,
            failures: 2,
            successes_per_second: 8.0,
            bytes_per_second: 0.1,
            tries: 12,
            reconnects: 0,
            answers: [("status 200".to_owned(), 10), ("out of patience".to_owned(), 2)].into(),
            latency: of.clone(),
            from_sending: Percentiles::of(&times),
            connection_wait: of.clone(),
            lateness: of.clone(),
            server_queue_wait: Percentiles::of(&Times::default()),
            server_handle: Percentiles::of(&Times::default()),
            targets: vec![Target {
                name: "GET /".to_owned(),
                requests: 12,
                failures: 2,
                latency: of,
            }],
            histogram_ns: pairs(&times),
            window_seconds: 1.0,
            windows,
            checks: vec![SavedCheck { what: "x".to_owned(), verdict: "ok".to_owned() }],
        }
    }

    #[test]
    fn a_run_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.json");
        let run = saved();
        let mut file = File::create(&path).expect("a file");
        run.write_to(&mut file).expect("a file");
        let back = Saved::read(&path).expect("a run");
        assert_eq!(back, run);
        assert_eq!(back.latency.percentiles["99"], None, "it falls on failures");
        assert!(back.latency.percentiles["50"].is_some());
        let sample = back.sample();
        assert_eq!((sample.windows.len(), sample.windows[0].0), (1, 12));
        assert_eq!(pairs(&back.latencies()), run.histogram_ns, "buckets stay the same");
    }

    #[test]
    fn a_file_that_is_no_run_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.json");
        let said = |text: &str| {
            std::fs::write(&path, text).expect("a file");
            Saved::read(&path).expect_err("no run").to_string()
        };
        assert!(said("hello").contains("is no saved run: expected value"));
        assert!(said("{}").contains("missing field"));
        let of = |change: &dyn Fn(&mut Saved)| {
            let mut run = saved();
            change(&mut run);
            said(&serde_json::to_string(&run).expect("text"))
        };
        assert!(of(&|run| run.format = 2).contains("its format is 2, and not 1"));
        let changes: [&dyn Fn(&mut Saved); 6] = [
            &|run| run.requests = 13,
            &|run| run.histogram_ns.clear(),
            &|run| run.windows[0].histogram_ns[0].1 = u64::MAX,
            &|run| run.windows.clear(),
            &|run| run.window_seconds = 0.0,
            &|run| run.failures = u64::MAX,
        ];
        for change in changes {
            assert!(of(change).contains("do not add up"));
        }
        let none = Saved::read(&folder.path().join("none")).expect_err("no file");
        assert!(none.to_string().contains("cannot read "));
    }
}
