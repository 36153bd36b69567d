//! How long a client waits for its response, as a header field of its request says.
//!
//! No standard defines such a field; `X-Request-Timeout` and `Request-Timeout` are in use. The
//! value is a number of seconds: digits, with an optional fraction.

use super::request::split_request_line;
use crate::config::LONGEST_WAIT;
use core::time::Duration;

/// The longest value that is read, in bytes.
const VALUE_BYTES: usize = 20;

/// The time in the first field with this name in a complete head. Names are case-insensitive. A
/// value that is no time from above 0 to [`LONGEST_WAIT`] is ignored, and no later field replaces
/// it.
pub fn patience(head: &[u8], name: &str) -> Option<Duration> {
    let (_, fields) = split_request_line(head);
    let value = fields.split(|&byte| byte == b'\n').find_map(|line| {
        let (found, rest) = line.split_at_checked(name.len())?;
        let is_named = found.eq_ignore_ascii_case(name.as_bytes());
        rest.strip_prefix(b":").filter(|_| is_named)
    })?;
    seconds(value.trim_ascii())
}

fn seconds(value: &[u8]) -> Option<Duration> {
    let is_number = value.split(|&byte| byte == b'.').count() <= 2
        && value.len() <= VALUE_BYTES
        && value.first().is_some_and(u8::is_ascii_digit)
        && value.last().is_some_and(u8::is_ascii_digit)
        && value.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.');
    if !is_number {
        return None;
    }
    let seconds: f64 = core::str::from_utf8(value).ok()?.parse().ok()?;
    let patience = Duration::try_from_secs_f64(seconds).ok()?;
    (patience > Duration::ZERO && patience <= LONGEST_WAIT).then_some(patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_number_of_seconds_or_ignored() {
        let rows = [
            ("1", Some(1000)),
            ("30", Some(30_000)),
            ("0.25", Some(250)),
            ("1.5", Some(1500)),
            ("007.250", Some(7250)),
            ("31536000", Some(LONGEST_WAIT.as_millis())),
            ("31536001", None),
            ("0.001", Some(1)),
            ("", None),
            ("0", None),
            ("0.0", None),
            ("0.0000000000001", None),
            ("-1", None),
            ("+1", None),
            ("-0", None),
            ("NaN", None),
            ("nan", None),
            ("inf", None),
            ("infinity", None),
            ("1e3", None),
            ("0x10", None),
            (".5", None),
            ("5.", None),
            (".", None),
            ("1.2.3", None),
            ("1,5", None),
            ("1 5", None),
            ("1s", None),
            ("200ms", None),
            ("1;q=1", None),
            ("\u{661}", None),
            ("99999999999999999999", None),
            ("1.0000000000000000000", None),
            ("0000000000000000000001", None),
        ];
        for (value, millis) in rows {
            let read = seconds(value.as_bytes()).map(|patience| patience.as_millis());
            assert_eq!(read, millis, "{value:?}");
        }
    }

    #[test]
    fn the_first_field_of_the_name_counts() {
        let rows = [
            ("X-Request-Timeout: 2\r\n", Some(2)),
            ("x-request-timeout:2\r\n", Some(2)),
            ("X-REQUEST-TIMEOUT:\t 2 \t\r\n", Some(2)),
            ("Host: a\nX-Request-Timeout: 2\nA: b\r\n", Some(2)),
            ("X-Request-Timeout: 2\r\nX-Request-Timeout: 3\r\n", Some(2)),
            ("X-Request-Timeout: x\r\nX-Request-Timeout: 3\r\n", None),
            ("X-Request-Timeout-2: 2\r\n", None),
            ("Y-Request-Timeout: 2\r\n", None),
            ("X-Request-Timeout : 2\r\n", None),
            ("X-Request-Timeout\r\n", None),
            ("A: X-Request-Timeout: 2\r\n", None),
            ("", None),
        ];
        for (fields, expected) in rows {
            let head = format!("GET /X-Request-Timeout:9 HTTP/1.1\r\n{fields}\r\n");
            let read = patience(head.as_bytes(), "X-Request-Timeout");
            assert_eq!(read, expected.map(Duration::from_secs), "{fields:?}");
        }
        assert_eq!(patience(b"", "A"), None);
        assert_eq!(patience(b"GET /\n", "A"), None, "HTTP/0.9 has no fields");
    }
}
