//! The values of options: their text, and what is wrong with it.

use clap::builder::{StringValueParser, TypedValueParser};
use cws::{AccessLog, Schedule, WhenFull};
use std::str::FromStr;
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

pub fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "it must be a whole number, 0 or more".to_owned())
}

/// A flag from the environment or a file: 1, yes, true, on, and their opposites.
pub fn flag() -> impl TypedValueParser<Value = bool> {
    StringValueParser::new().try_map(|text| match &text.to_ascii_lowercase()[..] {
        "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
        _ => Err("write true or false"),
    })
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
