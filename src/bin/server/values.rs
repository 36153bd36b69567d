//! The values of options: their text, and what is wrong with it.

use cws::{AccessLog, Schedule, WhenFull};
use std::time::Duration;

pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 50ms, 1.5s or 2m"))
}

pub fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("the time must be longer than zero".to_owned()),
        wait => Ok(wait),
    }
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("it must be a whole number".to_owned()),
    }
}

/// A flag from the environment: 1, yes, true, on, and their opposites.
pub fn flag() -> impl clap::builder::TypedValueParser<Value = bool> {
    clap::builder::BoolishValueParser::new()
}

pub fn access_log(text: &str) -> Result<AccessLog, String> {
    match text {
        "off" => Ok(AccessLog::Off),
        "brief" => Ok(AccessLog::Brief),
        "common" => Ok(AccessLog::Common),
        "combined" => Ok(AccessLog::Combined),
        "json" => Ok(AccessLog::Json),
        _ => Err("it must be off, brief, common, combined or json".to_owned()),
    }
}

const SCHEDULES: [(&str, Schedule); 4] = [
    ("fair", Schedule::Fair),
    ("fifo", Schedule::Fifo),
    ("lifo", Schedule::Lifo),
    ("sff", Schedule::SmallestFirst),
];

const WHEN_FULL: [(&str, WhenFull); 4] = [
    ("refuse", WhenFull::Refuse),
    ("drop-head", WhenFull::DropHead),
    ("drop-random", WhenFull::DropRandom),
    ("block", WhenFull::Block),
];

pub fn schedule(text: &str) -> Result<Schedule, String> {
    named(text, &SCHEDULES)
}

pub fn when_full(text: &str) -> Result<WhenFull, String> {
    named(text, &WHEN_FULL)
}

/// The name of a schedule.
pub fn name(schedule: Schedule) -> &'static str {
    SCHEDULES.iter().find(|(_, value)| *value == schedule).map_or("", |(name, _)| *name)
}

fn named<T: Copy>(text: &str, names: &[(&str, T)]) -> Result<T, String> {
    match names.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let (last, others) = names.split_last().unwrap_or((&"", &[]));
            Err(format!("it must be {} or {last}", others.join(", ")))
        }
    }
}
