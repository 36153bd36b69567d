//! Values of options, with one clear line for each that is of no use.
#![allow(dead_code, reason = "each program uses its own part")]

use std::time::Duration;

/// Largest rate, in requests a second: beyond it one thread cannot keep its times.
const RATE_MOST: f64 = 200_000.0;

pub fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if rate > 0.0 && rate <= RATE_MOST {
        return Ok(rate);
    }
    Err(format!("a rate is above 0 and at most {RATE_MOST} requests a second"))
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(number) if number <= 100_000 => Ok(number),
        Ok(_) => Err("at most 100000 make sense".to_owned()),
        Err(_) => Err("it is not a whole number".to_owned()),
    }
}

/// A time like `50ms` or `1.5s`, above zero and at most an hour.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("a time above zero is needed".to_owned()),
        Ok(time) if time <= Duration::from_secs(3600) => Ok(time),
        Ok(_) => Err("an hour is the most".to_owned()),
        Err(error) => Err(format!("{error}; write 50ms or 1.5s")),
    }
}
