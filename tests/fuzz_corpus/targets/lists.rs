//! Fields that are lists: ranges, entity tags, content codings.

use cws::http::coding::{Coding, accepted, elements};
use cws::http::conditional::{Precondition, Validators};
use cws::http::range::{RANGES, Selection, select};
use cws::http::request::{FieldSlots, Request};
use std::time::{Duration, SystemTime};

/// The list with empty elements before, between and after its elements. Quoted commas stay.
fn padded(list: &[u8]) -> Vec<u8> {
    let mut quoted = false;
    let mut padded = b", ,".to_vec();
    for &byte in list {
        quoted ^= byte == b'"';
        padded.push(byte);
        if byte == b',' && !quoted {
            padded.extend_from_slice(b" \t,");
        }
    }
    if !quoted {
        padded.extend_from_slice(b",,");
    }
    padded
}

/// The selected ranges lie within the representation, are disjoint, and select themselves again.
pub fn range(bytes: &[u8]) {
    for length in [0, 1, 2, 100, 10_000, u64::MAX] {
        let selection = select(bytes, length);
        if let Some(at) = bytes.iter().position(|&byte| byte == b'=') {
            let (unit, set) = bytes.split_at(at + 1);
            assert_eq!(select(&[unit, &padded(set)].concat(), length), selection, "padded");
        }
        let Selection::Parts(parts) = selection else { continue };
        assert!((1..=RANGES).contains(&parts.len()));
        for (number, part) in parts.iter().enumerate() {
            assert!(part.first <= part.last && part.last < length, "within");
            let apart = |other: &&cws::http::range::Part| {
                part.last < other.first || other.last < part.first
            };
            assert_eq!(parts[number + 1..].iter().filter(apart).count(), parts.len() - number - 1);
        }
        let total: u64 = parts.iter().map(|part| part.length()).sum();
        assert!(total <= length);
        let specs: Vec<_> = parts.iter().map(|p| format!("{}-{}", p.first, p.last)).collect();
        let again = select(format!("bytes={}", specs.join(",")).as_bytes(), length);
        assert_eq!(again, Selection::Parts(parts));
    }
}

/// The fields of conditional requests.
const CONDITIONS: [&str; 5] =
    ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"];

fn changed() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

/// The result of the conditions, and whether a range may be sent. `None` for an invalid request.
fn judge(method: &str, fields: &[u8]) -> Option<(Precondition, bool)> {
    let line = format!("{method} / HTTP/1.1\r\nHost: a\r\n");
    let head = [line.as_bytes(), fields, b"\r\n\r\n"].concat();
    let mut slots = FieldSlots::default();
    let request = Request::parse(&head, &mut slots).ok()?;
    let validators = Validators::new("tag", Some(changed()));
    let now = changed() + Duration::from_secs(3600);
    Some((validators.check(&request), validators.allow_range(&request, now)))
}

/// The values of the conditions in these field lines.
fn conditions(fields: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let head = [b"GET / HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n\r\n"].concat();
    let mut slots = FieldSlots::default();
    let Ok(request) = Request::parse(&head, &mut slots) else { return Vec::new() };
    let values = |name| request.fields_named(name).map(move |value| (name, value.to_vec()));
    CONDITIONS.into_iter().flat_map(values).collect()
}

fn lines(conditions: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let line = |(name, value): &(&str, Vec<u8>)| [name.as_bytes(), b": ", value].concat();
    conditions.iter().map(line).collect::<Vec<_>>().join(&b"\r\n"[..])
}

/// Conditions, given as field lines, are evaluated as RFC 9110, section 13.2.2, requires.
pub fn conditional(bytes: &[u8]) {
    for method in ["GET", "PUT"] {
        let Some((outcome, allows_range)) = judge(method, bytes) else { return };
        let conditions = conditions(bytes);
        let has = |name: &str| conditions.iter().any(|(other, _)| *other == name);
        assert!(outcome != Precondition::NotModified || method == "GET");
        assert!(!has("If-Range") || allows_range == allowed(&conditions));
        assert!(has("If-Range") || allows_range);
        // The order of different fields does not matter, and neither do empty elements.
        let same = judge(method, &lines(&conditions));
        assert_eq!(same, Some((outcome, allows_range)), "in order");
        let mut with_empty = conditions.clone();
        for (name, value) in &mut with_empty {
            if name.ends_with("-Match") && value != b"*" {
                *value = padded(value);
            }
        }
        let same = judge(method, &lines(&with_empty));
        assert_eq!(same, Some((outcome, allows_range)), "padded: {with_empty:?}");
        if !has("If-Modified-Since") && !has("If-Unmodified-Since") {
            assert_eq!(outcome, by_tags(&conditions, method), "by the RFC");
        }
    }
}

/// The first `If-Range` counts: it allows a range for the current strong tag or date.
fn allowed(conditions: &[(&str, Vec<u8>)]) -> bool {
    let value = conditions.iter().find(|(name, _)| *name == "If-Range").map(|(_, value)| value);
    let value = String::from_utf8_lossy(value.expect("it is there"));
    value == "\"tag\"" || httpdate::parse_http_date(&value).is_ok_and(|date| date == changed())
}

/// The result if the request has no dates.
fn by_tags(conditions: &[(&str, Vec<u8>)], method: &str) -> Precondition {
    let lists = |wanted| conditions.iter().filter(move |(name, _)| *name == wanted);
    let strong = |list: &[u8]| list == b"*" || tags(list).contains(&(false, b"tag"));
    let weak = |list: &[u8]| list == b"*" || tags(list).iter().any(|(_, tag)| tag == b"tag");
    if lists("If-Match").count() > 0 && !lists("If-Match").any(|(_, list)| strong(list)) {
        return Precondition::Failed;
    }
    match (lists("If-None-Match").any(|(_, list)| weak(list)), method) {
        (false, _) => Precondition::Holds,
        (true, "GET") => Precondition::NotModified,
        (true, _) => Precondition::Failed,
    }
}

/// The tags of a list, with whether each is weak. Empty for a malformed list.
fn tags(list: &[u8]) -> Vec<(bool, &[u8])> {
    let mut found = Vec::new();
    // Quotes have no escapes: every other part between them is a tag.
    let stretches: Vec<&[u8]> = list.split(|&byte| byte == b'"').collect();
    if stretches.len().is_multiple_of(2) {
        return Vec::new();
    }
    for (number, stretch) in stretches.iter().enumerate() {
        let is_last = number + 1 == stretches.len();
        if number % 2 == 1 {
            let is_weak = stretches[number - 1].ends_with(b"W/");
            if stretch.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
                return Vec::new();
            }
            found.push((is_weak, *stretch));
            continue;
        }
        let between = match stretch.strip_suffix(b"W/") {
            Some(between) if !is_last => between,
            _ => stretch,
        };
        let is_inside = number > 0 && !is_last;
        let separates = between.iter().all(|byte| b" \t,".contains(byte));
        if !separates || (is_inside && !between.contains(&b',')) {
            return Vec::new();
        }
    }
    found
}

/// The codings of `Accept-Encoding`, given as the values of several fields, one per line.
pub fn coding(bytes: &[u8]) {
    let fields: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let found = accepted(fields.iter().copied());
    for (at, coding) in found.iter().enumerate() {
        assert!(!found[at + 1..].contains(coding), "each once");
    }
    // Best first; missing codings are excluded or not mentioned.
    let of = |coding: &Coding| quality_of(*coding, &fields);
    assert!(found.iter().all(|coding| of(coding) > 0));
    assert!(found.windows(2).all(|pair| of(&pair[0]) >= of(&pair[1])));
    let left_out = ALL.iter().filter(|coding| !found.contains(coding));
    assert!(left_out.map(of).all(|quality| quality == 0));
    // A list means the same with empty elements, on one line, and with one line per element.
    let with_empty: Vec<Vec<u8>> = fields.iter().map(|field| padded(field)).collect();
    if !bytes.contains(&b'"') {
        assert_eq!(accepted(with_empty.iter().map(Vec::as_slice)), found, "padded");
    }
    assert_eq!(accepted([&fields.join(&b',')[..]].into_iter()), found, "on one line");
    assert_eq!(accepted(bytes.split(|byte| b"\n,".contains(byte))), found, "one line per element");
    for (name, quality) in fields.iter().flat_map(|field| elements(field)) {
        assert!(quality <= 1000 && name == name.to_ascii_lowercase());
    }
}

const ALL: [Coding; 4] = [Coding::Brotli, Coding::Zstandard, Coding::Gzip, Coding::Identity];

/// The quality of a coding in thousandths, by its name or by `*`; the last one of each counts.
fn quality_of(coding: Coding, fields: &[&[u8]]) -> u16 {
    let by = |wanted: &[&[u8]]| {
        let elements = fields.iter().flat_map(|field| elements(field));
        elements.filter(|(name, _)| wanted.contains(&&name[..])).last().map(|(_, quality)| quality)
    };
    let (names, unless_said): (&[&[u8]], u16) = match coding {
        Coding::Brotli => (&[b"br"], 0),
        Coding::Zstandard => (&[b"zstd"], 0),
        Coding::Gzip => (&[b"gzip", b"x-gzip"], 0),
        Coding::Identity => (&[b"identity"], 1),
    };
    by(names).or_else(|| by(&[b"*"])).unwrap_or(unless_said)
}
