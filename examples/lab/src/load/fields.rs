//! Reads a response head: the server's own times, and its advice to retry.

use super::ServerTiming;
use std::time::Duration;

/// The number of list members or lines that are examined. Real heads have a dozen.
const MEMBERS_MOST: usize = 100;

/// The metrics `queue_wait`, `handle` and `response_head` of the `Server-Timing` fields, in
/// milliseconds (<https://www.w3.org/TR/server-timing/>, section 3). The first of each name counts.
pub fn server_timing(head: &[u8]) -> ServerTiming {
    let mut timing = ServerTiming::default();
    let metrics = values(head, "server-timing").flat_map(|value| value.split(','));
    for metric in metrics.take(MEMBERS_MOST) {
        let mut parts = metric.split(';').map(str::trim);
        let slot = match parts.next() {
            Some("queue_wait") => &mut timing.queue_wait,
            Some("handle") => &mut timing.handle,
            Some("response_head") => &mut timing.response_head,
            _ => continue,
        };
        if slot.is_none() {
            *slot = parts.find_map(duration);
        }
    }
    timing
}

fn duration(parameter: &str) -> Option<Duration> {
    let (name, value) = parameter.split_once('=')?;
    let is_duration = name.trim().eq_ignore_ascii_case("dur");
    let millis: f64 = value.trim().trim_matches('"').parse().ok().filter(|_| is_duration)?;
    Duration::try_from_secs_f64(millis / 1000.0).ok()
}

/// The delay requested by `Retry-After`: seconds, or the time until a date (RFC 9110, section
/// 10.2.3). A date is compared with the date of the response: the server's clock, not this one's.
pub fn retry_after(head: &[u8]) -> Option<Duration> {
    let value = values(head, "retry-after").next()?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = httpdate::parse_http_date(values(head, "date").next()?).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// The values of the fields with this name, if they are text.
fn values<'a>(head: &'a [u8], name: &'static str) -> impl Iterator<Item = &'a str> {
    let lines = head.split(|&byte| byte == b'\n').skip(1).take(MEMBERS_MOST);
    lines.filter_map(move |line| {
        let (field, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        let is_named = field.eq_ignore_ascii_case(name.as_bytes());
        str::from_utf8(value.trim_ascii()).ok().filter(|_| is_named)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(fields: &str) -> ServerTiming {
        server_timing(format!("HTTP/1.1 200 OK\r\nA: b\r\n{fields}\r\n\r\n").as_bytes())
    }

    #[test]
    fn the_times_of_the_server_are_read() {
        let micros = |micros| Some(Duration::from_micros(micros));
        let whole = ServerTiming {
            queue_wait: micros(1234),
            handle: micros(5012),
            response_head: micros(20),
        };
        let rows = [
            (
                "Server-Timing: queue_wait;dur=1.234, handle;dur=5.012, response_head;dur=0.020",
                whole,
            ),
            (
                "server-timing:queue_wait; dur = 1.234 ,handle;desc=\"x\";DUR=5.012,\
                 response_head;dur=\"0.02\"",
                whole,
            ),
            (
                "Server-Timing: response_head;dur=.02\r\n\
                 Server-Timing: handle;dur=5.012, queue_wait;dur=1.234",
                whole,
            ),
            (
                "Server-Timing: cache;dur=3, queue_wait;dur=0",
                ServerTiming { queue_wait: micros(0), ..ServerTiming::default() },
            ),
            ("X-Server-Timing: queue_wait;dur=1", ServerTiming::default()),
            ("Server-Timing: queue_wait", ServerTiming::default()),
            (
                "Server-Timing: queue_wait;dur=-1, handle;dur=NaN, response_head;dur=1e300",
                ServerTiming::default(),
            ),
            ("Server-Timing: queue_wait;desc=1", ServerTiming::default()),
        ];
        for (fields, expected) in rows {
            assert_eq!(timing(fields), expected, "{fields}");
        }
    }

    #[test]
    fn advice_is_seconds_or_a_date() {
        let with = |date: &str, value: &str| {
            let head = format!("HTTP/1.1 503 X\r\n{date}Retry-After: {value}\r\n\r\n");
            retry_after(head.as_bytes())
        };
        let of = |value: &str| with("Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n", value);
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Sun, 09 Sep 2001 01:46:45 GMT"), Some(Duration::from_secs(5)));
        assert_eq!(of("Sun, 09 Sep 2001 01:46:00 GMT"), Some(Duration::ZERO), "it has passed");
        assert_eq!(with("", "Sun, 09 Sep 2001 01:46:45 GMT"), None, "after what?");
        for bad in ["", "-1", "1.5", "soon"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
