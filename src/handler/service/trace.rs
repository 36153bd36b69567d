//! Service times from a file: one time a line, or an access log in JSON.

use super::law::{Law, Trace};
use super::{LONGEST_MEAN, ServiceTime, ServiceTimeError};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The most times that are read of a file.
const MOST: usize = 10_000_000;

/// The most bytes of a line.
const LONGEST_LINE: u64 = 64 * 1024;

/// The empirical law of the times in this file.
pub fn read(path: &Path) -> Result<ServiceTime, ServiceTimeError> {
    let shown = path.display();
    let wrong =
        |what: String| ServiceTimeError::new(format!("cannot take times from {shown}: {what}"));
    let file = File::open(path).map_err(|error| wrong(format!("{error} (name another file)")))?;
    let mut file = BufReader::new(file);
    let (mut seconds, mut line) = (Vec::new(), String::new());
    for number in 1_u64.. {
        line.clear();
        let read = file.by_ref().take(LONGEST_LINE).read_line(&mut line);
        match read.map_err(|error| wrong(format!("line {number}: {error}")))? {
            0 => break,
            bytes if bytes as u64 == LONGEST_LINE => {
                return Err(wrong(format!("line {number} is longer than {LONGEST_LINE} bytes")));
            }
            _ => {}
        }
        let time = line_time(line.trim());
        let time = time.map_err(|what| wrong(format!("line {number}: {what}")))?;
        let Some(time) = time else { continue };
        if time > LONGEST_MEAN {
            return Err(wrong(format!("line {number}: longer than an hour (leave it out)")));
        }
        if seconds.len() == MOST {
            return Err(wrong(format!("it has more than {MOST} times (take a part of it)")));
        }
        seconds.push(time.as_secs_f64());
    }
    if seconds.is_empty() {
        return Err(wrong(
            "it has none (write one time such as 20ms on each line, or give an access log in \
             JSON with requests that workers served)"
                .to_owned(),
        ));
    }
    Ok(Law::Trace(Arc::new(Trace::new(seconds, Some(path.to_owned())))).into())
}

/// The time in a line; none if the line is empty or a comment, or about a request that needed no
/// worker.
fn line_time(line: &str) -> Result<Option<Duration>, String> {
    match line.as_bytes().first() {
        None | Some(b'#') => Ok(None),
        Some(b'{') => logged_time(line),
        Some(_) => time(line).map(Some).map_err(|error| error.to_string()),
    }
}

/// A time, such as 50ms.
pub fn time(text: &str) -> Result<Duration, ServiceTimeError> {
    humantime::parse_duration(text)
        .map_err(|error| ServiceTimeError::new(format!("{error}; write 50ms, 1.5s or 2m")))
}

/// The time for which the handler had a worker, in a line of an access log.
fn logged_time(line: &str) -> Result<Option<Duration>, String> {
    let line: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    if line["worker"].is_null() {
        return Ok(None);
    }
    let micros = line["handle_us"].as_u64();
    let micros = micros.ok_or("it has a worker and no handle_us (give this server's own log)")?;
    Ok(Some(Duration::from_micros(micros)))
}
