//! When the requests of `load` start: the arrival process and the rate over time, clients in a
//! closed loop, or the times of an access log.

use crate::options::Times;
use crate::values;
use lab::arrivals::{ARRIVALS_MOST, Arrivals, Rate, Stop};
use lab::load::{Population, Think};
use lab::replay::{Log, Survey};
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// The rate if no option says another one.
const RATE: f64 = 400.0;

/// When requests start.
pub enum Plan {
    /// At given times, which these words describe.
    Open(Vec<Duration>, String),
    /// When these clients have their answers.
    Closed(Population, Stop),
    /// At the times of a log.
    Replay(Log, Survey),
}

/// A stage: the rate changes to `rate` within `length`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    length: Duration,
    rate: f64,
}

impl FromStr for Stage {
    type Err = String;

    /// Parses `30s:500`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (length, rate) = text.split_once(':').ok_or("write LENGTH:RATE, as 30s:500")?;
        let length = match length {
            "0" | "0s" => Duration::ZERO,
            _ => values::duration(length)?,
        };
        let rate = if rate == "0" { 0.0 } else { values::rate(rate)? };
        Ok(Self { length, rate })
    }
}

impl Plan {
    /// The plan of these options, or an error in them.
    pub fn of(times: &Times, quick: bool, seed: u64) -> Result<Self, String> {
        let length = Duration::from_secs(if quick { 1 } else { 10 });
        let stop = match times.requests {
            Some(count) => Stop::Count(count as u64),
            None => Stop::After(times.duration.unwrap_or(length)),
        };
        if let Some(path) = &times.replay {
            let mut log = Log {
                path: path.clone(),
                methods: times.replay_methods.clone(),
                speed: times.speed,
                length: times.duration.unwrap_or(Duration::MAX),
                most: times.requests.map_or(u64::MAX, |count| count as u64),
                seed,
            };
            let survey = log.survey().map_err(|error| error.to_string())?;
            // The log may grow meanwhile.
            log.most = survey.requests;
            return Ok(Self::Replay(log, survey));
        }
        if let Some(clients) = times.clients {
            let think = match times.think {
                None => Think::None,
                Some(mean) => Think::Exponential { mean, seed },
            };
            return Ok(Self::Closed(Population { clients, think }, stop));
        }
        let (arrivals, stop, words) = arrivals(times, stop, seed)?;
        let starts = arrivals.starts(stop);
        match starts.len() {
            0 => Err("no request would start (raise the rate or the duration)".to_owned()),
            ARRIVALS_MOST.. => Err(format!("{ARRIVALS_MOST} requests are too many for one run")),
            _ => Ok(Self::Open(starts, words)),
        }
    }

    /// Its duration, if it is known in advance.
    pub fn length(&self) -> Option<Duration> {
        match self {
            Self::Open(starts, _) => starts.last().copied(),
            Self::Closed(_, Stop::After(length)) => Some(*length),
            Self::Closed(_, Stop::Count(_)) => None,
            Self::Replay(_, survey) => Some(survey.length),
        }
    }

    /// It in a few words.
    pub fn describe(&self) -> String {
        let rate = |count: u64, length: Duration| {
            let seconds = length.as_secs_f64().max(f64::MIN_POSITIVE);
            format!("{count} requests in {seconds:.1}s, {:.1} a second", count as f64 / seconds)
        };
        match self {
            Self::Open(starts, words) => {
                let length = starts.last().copied().unwrap_or_default();
                format!("{}, {words}", rate(starts.len() as u64, length))
            }
            Self::Closed(Population { clients, think }, _) => {
                format!("{clients} clients that think for {:?} between requests", think.mean())
            }
            Self::Replay(log, survey) => {
                let times = match log.speed {
                    1.0 => "at its times".to_owned(),
                    speed => format!("{speed} times as fast"),
                };
                let requests = rate(survey.requests, survey.length);
                format!("the log {} {times}: {requests}", log.path.display())
            }
        }
    }
}

/// The arrival process, when it ends, and its words.
fn arrivals(times: &Times, stop: Stop, seed: u64) -> Result<(Arrivals, Stop, String), String> {
    let process = times.arrivals.as_str();
    if let Some(file) = process.strip_prefix("trace:") {
        if times.ramp.is_some() || !times.burst.is_empty() || !times.stage.is_empty() {
            return Err("a trace has its own times (leave out --ramp, --burst and --stage)".into());
        }
        let arrivals = trace(Path::new(file)).map(Arrivals::Trace)?;
        return Ok((arrivals, stop, process.to_owned()));
    }
    let (rate, stop, words) = rate(times, stop)?;
    let arrivals = match process {
        "poisson" => Arrivals::poisson(rate, seed),
        "constant" => Arrivals::constant(rate),
        _ => {
            return Err(format!(
                "--arrivals {process}: choose poisson, constant or trace:FILE \
                 (the rate over time is --ramp, --burst or --stage)"
            ));
        }
    };
    Ok((arrivals, stop, format!("{process}{words}")))
}

/// The rate over time.
fn rate(times: &Times, stop: Stop) -> Result<(Rate, Stop, String), String> {
    let base = times.rate.unwrap_or(RATE);
    let (mut rate, mut stop, mut words) = (Rate::constant(base), stop, String::new());
    if let (Some(from), Stop::After(length)) = (times.ramp, stop) {
        rate = Rate::ramp(from, base, length);
        words = format!(" from {from}/s to {base}/s");
    }
    if !times.stage.is_empty() {
        let stages = times.stage.iter();
        let begin = Rate::constant(times.rate.unwrap_or(0.0));
        rate = stages.fold(begin, |rate, stage| rate.then_ramp(stage.length, stage.rate));
        stop = Stop::After(rate.length());
        words = format!(" in {} stages", times.stage.len());
    }
    for burst in &times.burst {
        let wrong = |why: &str| format!("--burst {burst}: {why}");
        let parts: Vec<&str> = burst.split(',').collect();
        let [peak, start, length] = parts[..] else {
            return Err(wrong("write PEAK,START,LENGTH, as 2000,3s,1s"));
        };
        let peak = values::rate(peak).map_err(|error| wrong(&error))?;
        let start = match start {
            "0" | "0s" => Duration::ZERO,
            _ => values::duration(start).map_err(|error| wrong(&error))?,
        };
        let length = values::duration(length).map_err(|error| wrong(&error))?;
        if matches!(stop, Stop::After(end) if start >= end) {
            return Err(wrong("it begins after the end of the load (raise --duration)"));
        }
        rate = rate.with_burst(peak, start, length);
        words.push_str(&format!(", {peak}/s from {start:?} to {:?}", start + length));
    }
    Ok((rate, stop, words))
}

/// Start times in seconds, one per line, in order.
fn trace(file: &Path) -> Result<Vec<Duration>, String> {
    let shown = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read {shown}: {error} (check the name)"))?;
    let mut starts = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let start = line.trim().parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
        match start {
            Some(start) if starts.last().is_none_or(|last| *last <= start) => starts.push(start),
            _ => {
                return Err(format!(
                    "{shown}, line {number}: {line:?} must be a time in seconds, at or after the \
                     time before it"
                ));
            }
        }
    }
    Ok(starts)
}
