//! Parsers for option values. Each error is one line that says what is allowed.
#![allow(dead_code, reason = "each program uses its own part")]

use std::time::Duration;

/// The largest rate in requests per second: above it, one thread cannot keep its schedule.
const RATE_MOST: f64 = 200_000.0;

pub fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if rate > 0.0 && rate <= RATE_MOST {
        return Ok(rate);
    }
    Err(format!("it must be above 0 and at most {RATE_MOST} requests per second"))
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) if number <= 100_000 => Ok(number),
        Ok(_) => Err("it must be at most 100000".to_owned()),
        Err(_) => Err("it must be a whole number".to_owned()),
    }
}

/// A time such as `50ms` or `1.5s`, above zero and at most an hour.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be above zero".to_owned()),
        Ok(time) if time <= Duration::from_secs(3600) => Ok(time),
        Ok(_) => Err("it must be at most an hour".to_owned()),
        Err(error) => Err(format!("{error}; write 50ms or 1.5s")),
    }
}

/// The law of a service time: a time as above, or a law such as `exp:20ms`.
pub fn service(text: &str) -> Result<cws::ServiceTime, String> {
    if !text.contains(':') {
        return duration(text).map(Into::into);
    }
    text.parse().map_err(|error: cws::ServiceTimeError| error.to_string())
}

/// A factor such as `2` or `0.5`.
pub fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1e-3..=1e6).contains(&factor) => Ok(factor),
        Ok(_) => Err("it must be at least 0.001 and at most 1000000".to_owned()),
        Err(_) => Err("it is not a number".to_owned()),
    }
}

/// A percentage from 0 to 100, as a share of one.
pub fn percentage(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim_end().parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        Ok(_) => Err("it must be at least 0 and at most 100".to_owned()),
        Err(_) => Err("it is not a number".to_owned()),
    }
}
