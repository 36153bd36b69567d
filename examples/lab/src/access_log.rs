//! Lines of access logs: when a request started, and what it asked for.
//!
//! Three formats are understood: the server's JSON, and the common and the combined log format of
//! this and other servers (<https://httpd.apache.org/docs/2.4/logs.html#accesslog>).

use cws::internals::http::is_token_byte;
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

/// A request of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its start, since 1970 in UTC.
    pub start: Duration,
    /// The precision of the start: the request came at some time within this, from the start on.
    pub precision: Duration,
    /// The method.
    pub method: String,
    /// The path and the query.
    pub path: String,
}

/// Why a line is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unusable {
    /// It is in none of the formats.
    Format,
    /// Its time is not a date.
    Time,
    /// Its request line is not one that can be sent: the server refused it, or it asks for a
    /// tunnel.
    Request,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Format => "not a line of an access log in JSON, common or combined format",
            Self::Time => "its time is not a date",
            Self::Request => "its request line cannot be sent",
        })
    }
}

/// The request of a line, without its line end.
///
/// # Errors
///
/// Why it has none that can be sent.
pub fn parse(line: &[u8]) -> Result<Entry, Unusable> {
    match line.trim_ascii_start().first() {
        Some(b'{') => json(line),
        _ => common(line),
    }
}

/// The fields of the server's JSON that a replay needs.
#[derive(Deserialize)]
struct Fields<'a> {
    /// When a worker took the request, or the server refused it.
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    request: Cow<'a, str>,
    /// How long it had waited then, in microseconds.
    #[serde(default)]
    queue_wait_us: u64,
}

fn json(line: &[u8]) -> Result<Entry, Unusable> {
    let fields: Fields<'_> = serde_json::from_slice(line).map_err(|_| Unusable::Format)?;
    let taken = since_1970(&fields.time).ok_or(Unusable::Time)?;
    let start = taken.saturating_sub(Duration::from_micros(fields.queue_wait_us));
    let (method, path) = request(fields.request.as_bytes()).ok_or(Unusable::Request)?;
    Ok(Entry { start, precision: Duration::ZERO, method, path })
}

fn since_1970(text: &str) -> Option<Duration> {
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok()
}

/// `host ident user [10/Oct/2000:13:55:36 +0200] "GET / HTTP/1.1" ...`
fn common(line: &[u8]) -> Result<Entry, Unusable> {
    // The user's name may contain a bracket, but no space.
    let mut names = line.splitn(4, |&byte| byte == b' ');
    let rest = names.nth(3).and_then(|rest| rest.strip_prefix(b"["));
    let rest = rest.ok_or(Unusable::Format)?;
    let end = rest.iter().position(|&byte| byte == b']').ok_or(Unusable::Format)?;
    let quoted = rest[end..].strip_prefix(b"] \"").ok_or(Unusable::Format)?;
    let line = unquoted(quoted).ok_or(Unusable::Format)?;
    let start = std::str::from_utf8(&rest[..end]).ok().and_then(log_time).ok_or(Unusable::Time)?;
    let (method, path) = request(&line).ok_or(Unusable::Request)?;
    Ok(Entry { start, precision: Duration::from_secs(1), method, path })
}

/// The time since 1970 of a date such as `10/Oct/2000:13:55:36 +0200`.
fn log_time(text: &str) -> Option<Duration> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let part = |range| text.get(range);
    let (day, year, clock) = (part(0..2)?, part(7..11)?, part(12..20)?);
    let month = part(3..6).and_then(|name| MONTHS.find(name)).filter(|at| at % 3 == 0)? / 3 + 1;
    let marks = [(2, b'/'), (6, b'/'), (11, b':'), (20, b' ')];
    let marked = marks.iter().all(|&(at, mark)| text.as_bytes().get(at) == Some(&mark));
    let there = since_1970(&format!("{year}-{month:02}-{day} {clock}")).filter(|_| marked)?;
    let (sign, hours, minutes) = (part(21..22)?, part(22..24)?, part(24..text.len())?);
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.len() == 2);
    let offset = Duration::from_secs(number(hours)? * 3600 + number(minutes)? * 60);
    match sign {
        "+" => there.checked_sub(offset),
        "-" => there.checked_add(offset),
        _ => None,
    }
}

/// The bytes up to the closing quote, with `\"`, `\\` and `\xhh` resolved.
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len().min(256));
    let mut rest = text;
    loop {
        match rest {
            [b'"', ..] => return Some(bytes),
            [b'\\', b'x', high, low, after @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push((digit(high)? * 16 + digit(low)?) as u8);
                rest = after;
            }
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

/// The method, and the path with its query, of a request line that can be sent again.
fn request(line: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_sound = words.next().is_none()
        && version.starts_with("HTTP/1.")
        && !method.is_empty()
        && method.bytes().all(is_token_byte)
        && method != "CONNECT"
        && target.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    // A request to a proxy names the server (RFC 9112, section 3.2.2).
    let path = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    (is_sound && path.starts_with('/')).then(|| (method.to_owned(), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(nanos: u64, precision: u64, method: &str, path: &str) -> Result<Entry, Unusable> {
        let (start, precision) = (Duration::from_nanos(nanos), Duration::from_secs(precision));
        Ok(Entry { start, precision, method: method.to_owned(), path: path.to_owned() })
    }

    #[test]
    fn the_start_is_before_the_wait_for_a_worker() {
        let line = r#"{"bytes":5,"client":"::1","queue_wait_us":46,"request":"GET /a?b\"c HTTP/1.1",
            "status":200,"time":"2000-10-10T13:55:36.000100Z","user":null}"#;
        assert_eq!(parse(line.as_bytes()), entry(971_186_136_000_054_000, 0, "GET", "/a?b\"c"));
        let refused = r#"{"request":"HEAD / HTTP/1.0","time":"2000-10-10T13:55:36Z"}"#;
        assert_eq!(parse(refused.as_bytes()), entry(971_186_136_000_000_000, 0, "HEAD", "/"));
    }

    #[test]
    fn a_date_of_a_log_has_an_offset() {
        let of =
            |date: &str| parse(format!("::1 - a[b [{date}] \"GET / HTTP/1.1\" 200 5").as_bytes());
        let noon = entry(971_186_136_000_000_000, 1, "GET", "/");
        for date in [
            "10/Oct/2000:13:55:36 +0000",
            "10/Oct/2000:15:55:36 +0200",
            "10/Oct/2000:08:25:36 -0530",
            "11/Oct/2000:00:55:36 +1100",
        ] {
            assert_eq!(of(date), noon, "{date}");
        }
        for date in [
            "",
            "10/Okt/2000:13:55:36 +0000",
            "10/anF/2000:13:55:36 +0000",
            "31/Feb/2000:13:55:36 +0000",
            "10/Oct/2000:25:55:36 +0000",
            "10/Oct/2000 13:55:36 +0000",
            "10/Oct/2000:13:55:36",
            "10/Oct/2000:13:55:36 +00000",
            "10/Oct/2000:13:55:36 +-1-1",
            "01/Jan/1970:00:00:00 +0100",
            "10-Oct-2000:13:55:36 é000",
        ] {
            assert_eq!(of(date), Err(Unusable::Time), "{date}");
        }
    }

    #[test]
    fn escapes_of_a_log_are_resolved() {
        let of = |request: &str| {
            let line =
                format!("h - - [10/Oct/2000:13:55:36 +0000] \"{request}\" 200 5 \"-\" \"x\"");
            parse(line.as_bytes()).map(|entry| (entry.method, entry.path))
        };
        let pair = |method: &str, path: &str| Ok((method.to_owned(), path.to_owned()));
        assert_eq!(of(r#"GET /a\"b\\c\x41 HTTP/1.1"#), pair("GET", "/a\"b\\cA"));
        assert_eq!(of("PURGE http://other:80/x?y HTTP/1.1"), pair("PURGE", "/x?y"));
        assert_eq!(of("GET HTTP://other HTTP/1.0"), pair("GET", "/"));
        for bad in [
            "-",
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/2.0",
            "GET /a b HTTP/1.1",
            r"GET /\x0d\x0aX: HTTP/1.1",
            r"GET /\xff HTTP/1.1",
            "CONNECT a:443 HTTP/1.1",
            "CONNECT / HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET x HTTP/1.1",
            "G(T / HTTP/1.1",
            r"\x16\x03\x01",
        ] {
            assert_eq!(of(bad), Err(Unusable::Request), "{bad}");
        }
        assert_eq!(of(r"GET / HTTP/1.1\"), Err(Unusable::Request), "the quote is escaped");
    }

    #[test]
    fn other_lines_are_in_no_format() {
        for line in [
            "",
            "x",
            "{}",
            "{\"time\":5}",
            "[2026-11-27T06:20:33Z INFO  server] serving",
            "a b c [",
            "a b c [d] ",
            "a b c [d] \"GET",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Unusable::Format), "{line}");
        }
    }

    /// Lines that are almost right.
    fn almost() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            "127.0.0.1 - - ",
            "[10/Oct/2000:13:55:36 +0000]",
            " \"",
            "GET / HTTP/1.1",
            "\"",
            "\\",
            "\\x4",
            "{\"time\":\"",
            "2000-10-10T13:55:36Z",
            "\",\"request\":\"",
            "}",
            " ",
            "é",
            "[",
            "]",
        ];
        let piece =
            prop::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec());
        let piece = prop_oneof![9 => piece, 1 => prop::collection::vec(any::<u8>(), 0..4)];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// No line makes it panic, and what it finds can be sent.
        #[test]
        fn any_line_is_safe(line in almost()) {
            if let Ok(entry) = parse(&line) {
                prop_assert!(entry.path.starts_with('/'));
                prop_assert!(entry.path.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(entry.method.bytes().all(is_token_byte));
            }
        }

        /// What a server writes is read back.
        #[test]
        fn every_path_comes_back(path in "/[!-~]{0,40}") {
            let escaped = path.replace('\\', "\\\\").replace('"', "\\\"");
            let line =
                format!("h - - [10/Oct/2000:13:55:36 +0000] \"GET {escaped} HTTP/1.1\" 200");
            let expected = (!path.contains("://")).then_some(path.clone());
            let got = parse(line.as_bytes()).ok().map(|entry| entry.path);
            prop_assert!(expected.is_none() || got == expected, "{:?} {:?}", got, path);
        }
    }
}
