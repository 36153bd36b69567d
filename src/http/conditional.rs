//! Validators and conditional requests (RFC 9110, sections 8.8 and 13).

use super::request::{Method, Request};
use std::time::{Duration, SystemTime};

/// The validators of one state of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// The strong entity tag with its quotes; none while the representation may be changing.
    pub etag: Option<String>,
    /// The time of the last change, in whole seconds as in `Last-Modified`.
    pub modified: Option<SystemTime>,
}

/// The result of the preconditions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// They hold, or there are none: process the request.
    Holds,
    /// The client already has this state: 304.
    NotModified,
    /// The request is meant for another state: 412.
    Failed,
}

impl Validators {
    /// The validators of a state with this entity tag (without quotes) and time of change.
    pub fn new(tag: &str, modified: Option<SystemTime>) -> Self {
        Self { etag: Some(format!("\"{tag}\"")), modified: modified.map(to_seconds) }
    }

    /// No validators, for a representation that may be changing. The server cannot tell which state
    /// a client has, so only `*` matches.
    pub fn in_flux() -> Self {
        Self { etag: None, modified: None }
    }

    /// Evaluates the preconditions in the order of RFC 9110, section 13.2.2.
    ///
    /// A malformed date is ignored. A malformed list of entity tags matches nothing.
    pub fn check(&self, request: &Request<'_>) -> Precondition {
        let mut tags = request.fields_named("If-Match").peekable();
        if tags.peek().is_some() {
            if !tags.any(|list| self.is_in(list, Comparison::Strong)) {
                return Precondition::Failed;
            }
        } else if let Some(date) = date_field(request, "If-Unmodified-Since")
            && (self.etag.is_none() || self.modified.is_some_and(|modified| modified > date))
        {
            return Precondition::Failed;
        }
        let reads = matches!(request.method, Method::Get | Method::Head);
        let unchanged = if reads { Precondition::NotModified } else { Precondition::Failed };
        let mut tags = request.fields_named("If-None-Match").peekable();
        if tags.peek().is_some() {
            if tags.any(|list| self.is_in(list, Comparison::Weak)) {
                return unchanged;
            }
        } else if reads
            && let Some(date) = date_field(request, "If-Modified-Since")
            && self.modified.is_some_and(|modified| modified <= date)
        {
            return Precondition::NotModified;
        }
        Precondition::Holds
    }

    /// True if `If-Range` permits a partial response: the field is missing, or it names this state
    /// by its strong tag or its exact date (RFC 9110, section 13.1.5). A date is exact once the
    /// second that it names is over (section 8.8.2.2).
    pub fn allow_range(&self, request: &Request<'_>, now: SystemTime) -> bool {
        let Some(value) = request.field("If-Range") else { return true };
        if value.starts_with(b"\"") || value.starts_with(b"W/") {
            return self.etag.as_ref().is_some_and(|etag| value == etag.as_bytes());
        }
        let is_exact = |date: SystemTime| date + Duration::from_secs(1) < now;
        parse_date(value).is_some_and(|date| self.modified == Some(date) && is_exact(date))
    }

    fn is_in(&self, list: &[u8], comparison: Comparison) -> bool {
        if list == b"*" {
            return true;
        }
        let mut found = false;
        let mut rest = list;
        loop {
            // A recipient ignores empty list elements (RFC 9110, section 5.6.1.2).
            while let [b',' | b' ' | b'\t', next @ ..] = rest {
                rest = next;
            }
            if rest.is_empty() {
                return found;
            }
            let (is_weak, opaque) = match rest.strip_prefix(b"W/") {
                Some(opaque) => (true, opaque),
                None => (false, rest),
            };
            let Some(end) = tag_end(opaque) else { return false };
            let (tag, behind) = opaque.split_at(end);
            let is_it = self.etag.as_ref().is_some_and(|etag| tag == etag.as_bytes());
            found |= is_it && !(is_weak && comparison == Comparison::Strong);
            rest = behind.trim_ascii_start();
            if !matches!(rest, [] | [b',', ..]) {
                return false;
            }
        }
    }
}

/// The comparison of entity tags (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// The length of the quoted tag at the start, including its quotes.
fn tag_end(bytes: &[u8]) -> Option<usize> {
    let inside = bytes.strip_prefix(b"\"")?;
    let length = inside.iter().position(|&byte| byte == b'"')?;
    let is_tag = inside[..length].iter().all(|&byte| byte > b' ' && byte != 0x7f);
    is_tag.then_some(length + 2)
}

fn date_field(request: &Request<'_>, name: &str) -> Option<SystemTime> {
    parse_date(request.field(name)?)
}

/// Parses a date in any of the three formats of RFC 9110, section 5.6.7.
fn parse_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

fn to_seconds(time: SystemTime) -> SystemTime {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::request::FieldSlots;
    use super::*;
    use Precondition::{Failed, Holds, NotModified};

    /// Of a file that changed on Sun, 06 Nov 1994 08:49:37.9 GMT.
    fn validators() -> Validators {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        Validators::new("tag", Some(modified))
    }

    fn with<T>(method: &str, fields: &str, ask: impl Fn(&Request<'_>) -> T) -> T {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut slots = FieldSlots::default();
        ask(&Request::parse(head.as_bytes(), &mut slots).expect("a good head"))
    }

    #[test]
    fn preconditions_are_evaluated_in_the_order_of_the_rfc() {
        let rows = [
            ("", Holds),
            ("If-None-Match: \"tag\"\r\n", NotModified),
            ("If-None-Match: W/\"tag\"\r\n", NotModified),
            ("If-None-Match: *\r\n", NotModified),
            ("If-None-Match: \"a\", , W/\"b\" ,\"tag\"\r\n", NotModified),
            ("If-None-Match: , \"tag\"\r\n", NotModified),
            ("If-None-Match: ,\t,,\"a\",,\"tag\" ,,\r\n", NotModified),
            ("If-None-Match: \"tag\", \"b\"\r\n", NotModified),
            ("If-None-Match:\r\n", Holds),
            ("If-None-Match: ,\r\n", Holds),
            ("If-None-Match: \"tag\", nonsense\r\n", Holds),
            ("If-None-Match: \"a\"\r\nIf-None-Match: \"tag\"\r\n", NotModified),
            ("If-None-Match: \"other\"\r\n", Holds),
            ("If-None-Match: tag\r\n", Holds),
            ("If-None-Match: \"a\" \"tag\"\r\n", Holds),
            ("If-None-Match: \"tag\r\n", Holds),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", NotModified),
            ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", NotModified),
            ("If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n", NotModified),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", Holds),
            ("If-Modified-Since: yesterday\r\n", Holds),
            // A tag is the stronger validator, so the date is ignored.
            (
                "If-None-Match: \"other\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                Holds,
            ),
            ("If-Match: \"tag\"\r\n", Holds),
            ("If-Match: *\r\n", Holds),
            ("If-Match: , \"tag\"\r\n", Holds),
            ("If-Match: ,\"a\", ,\"tag\",\r\n", Holds),
            ("If-Match: ,\r\n", Failed),
            ("If-Match: \"tag\" nonsense\r\n", Failed),
            ("If-Match: W/\"tag\"\r\n", Failed),
            ("If-Match: \"other\"\r\n", Failed),
            ("If-Match: nonsense\r\n", Failed),
            ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Holds),
            ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", Failed),
            ("If-Unmodified-Since: yesterday\r\n", Holds),
            ("If-Match: \"tag\"\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", Holds),
            ("If-Match: \"tag\"\r\nIf-None-Match: \"tag\"\r\n", NotModified),
        ];
        for (fields, expected) in rows {
            let got = with("GET", fields, |request| validators().check(request));
            assert_eq!(got, expected, "{fields:?}");
        }
        let put = with("PUT", "If-None-Match: *\r\n", |request| validators().check(request));
        assert_eq!(put, Failed, "304 answers only GET and HEAD");
    }

    #[test]
    fn only_a_wildcard_matches_a_changing_representation() {
        let rows = [
            ("If-None-Match: \"tag\"\r\n", Holds),
            ("If-None-Match: W/\"tag\"\r\n", Holds),
            ("If-None-Match: \"\"\r\n", Holds),
            ("If-None-Match: *\r\n", NotModified),
            ("If-Modified-Since: Sat, 06 Nov 2094 08:49:37 GMT\r\n", Holds),
            ("If-Match: \"tag\"\r\n", Failed),
            ("If-Match: *\r\n", Holds),
            ("If-Unmodified-Since: Sat, 06 Nov 2094 08:49:37 GMT\r\n", Failed),
        ];
        for (fields, expected) in rows {
            let got = with("GET", fields, |request| Validators::in_flux().check(request));
            assert_eq!(got, expected, "{fields:?}");
        }
        for (value, expected) in
            [("\"tag\"", false), ("\"\"", false), ("Sun, 06 Nov 1994 08:49:37 GMT", false)]
        {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let allows = |request: &Request<'_>| Validators::in_flux().allow_range(request, now);
            assert_eq!(with("GET", &format!("If-Range: {value}\r\n"), allows), expected);
        }
    }

    #[test]
    fn if_range_permits_a_range_of_the_same_state_only() {
        let rows = [
            ("", true),
            ("If-Range: \"tag\"\r\n", true),
            ("If-Range: W/\"tag\"\r\n", false),
            ("If-Range: \"other\"\r\n", false),
            ("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", true),
            ("If-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n", false),
            ("If-Range: nonsense\r\n", false),
        ];
        for (fields, expected) in rows {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let got = with("GET", fields, |request| validators().allow_range(request, now));
            assert_eq!(got, expected, "{fields:?}");
            let soon = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_950);
            let got = with("GET", fields, |request| validators().allow_range(request, soon));
            assert_eq!(got, expected && !fields.contains("GMT"), "too soon: {fields:?}");
        }
    }
}
