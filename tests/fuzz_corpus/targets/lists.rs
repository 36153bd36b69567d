//! Fields whose values are lists: ranges, entity tags, content codings.

use cws::internals::http::coding::{Coding, accepted, elements};
use cws::internals::http::conditional::{Precondition, Validators};
use cws::internals::http::range::{RANGES, Selection, select};
use cws::internals::http::request::{FieldSlots, Request};
use std::time::{Duration, SystemTime};

/// The list with empty elements before, between and after its own. Commas in quotes are kept.
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

/// The parts lie within the representation, do not overlap, and select themselves when asked again.
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
            let apart = |other: &&cws::internals::http::range::Part| {
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

/// The fields that make a request conditional.
const CONDITIONS: [&str; 5] =
    ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"];

fn changed() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

/// A request head with these field lines, without the line end of the last one.
fn head(method: &str, fields: &[u8]) -> Vec<u8> {
    let line = format!("{method} / HTTP/1.1\r\nHost: a");
    let line_end: &[u8] = if fields.is_empty() { b"" } else { b"\r\n" };
    [line.as_bytes(), line_end, fields, b"\r\n\r\n"].concat()
}

/// The result of the preconditions, and whether a range may be sent; none for a malformed request.
fn judge(method: &str, fields: &[u8]) -> Option<(Precondition, bool)> {
    let head = head(method, fields);
    let mut slots = FieldSlots::default();
    let request = Request::parse(&head, &mut slots).ok()?;
    let validators = Validators::new("tag", Some(changed()));
    let now = changed() + Duration::from_secs(3600);
    Some((validators.check(&request), validators.allow_range(&request, now)))
}

/// The conditional fields among these field lines.
fn conditions(fields: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let head = head("GET", fields);
    let mut slots = FieldSlots::default();
    let Ok(request) = Request::parse(&head, &mut slots) else { return Vec::new() };
    let values = |name| request.fields_named(name).map(move |value| (name, value.to_vec()));
    CONDITIONS.into_iter().flat_map(values).collect()
}

fn lines(conditions: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let line = |(name, value): &(&str, Vec<u8>)| [name.as_bytes(), b": ", value].concat();
    conditions.iter().map(line).collect::<Vec<_>>().join(&b"\r\n"[..])
}

/// Preconditions, given as field lines, are evaluated as RFC 9110, section 13.2.2, specifies.
pub fn conditional(bytes: &[u8]) {
    for method in ["GET", "PUT"] {
        let Some((outcome, allows_range)) = judge(method, bytes) else { return };
        let conditions = conditions(bytes);
        let has = |name: &str| conditions.iter().any(|(other, _)| *other == name);
        assert!(outcome != Precondition::NotModified || method == "GET");
        assert!(!has("If-Range") || allows_range == allowed(&conditions));
        assert!(has("If-Range") || allows_range);
        // Neither the order of different fields nor empty elements have a meaning.
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
            assert_eq!(outcome, by_tags(&conditions, method), "reference");
        }
    }
}

/// True if the first `If-Range` is the strong tag or the date of the representation.
fn allowed(conditions: &[(&str, Vec<u8>)]) -> bool {
    let value = conditions.iter().find(|(name, _)| *name == "If-Range").map(|(_, value)| value);
    let value = String::from_utf8_lossy(value.expect("it is there"));
    value == "\"tag\"" || httpdate::parse_http_date(&value).is_ok_and(|date| date == changed())
}

/// The expected result if no condition has a date.
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

/// The tags of a list, and whether each is weak; none if the list is malformed.
fn tags(list: &[u8]) -> Vec<(bool, &[u8])> {
    let mut found = Vec::new();
    // A quote cannot be escaped, so every other part between quotes is a tag.
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

/// The codings of `Accept-Encoding`. The input has the value of one field per line.
pub fn coding(bytes: &[u8]) {
    let fields: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let all = |fields: &[&[u8]]| accepted(fields.iter().copied()).collect::<Vec<_>>();
    let found = all(&fields);
    for (at, coding) in found.iter().enumerate() {
        assert!(!found[at + 1..].contains(coding), "each once");
    }
    // The best comes first. Missing codings have quality zero.
    let of = |coding: &Coding| quality_of(*coding, &fields);
    assert!(found.iter().all(|coding| of(coding) > 0));
    assert!(found.windows(2).all(|pair| of(&pair[0]) >= of(&pair[1])));
    let left_out = ALL.iter().filter(|coding| !found.contains(coding));
    assert!(left_out.map(of).all(|quality| quality == 0));
    // Empty elements, and the distribution of elements over lines, have no meaning.
    let with_empty: Vec<Vec<u8>> = fields.iter().map(|field| padded(field)).collect();
    if !bytes.contains(&b'"') {
        let with_empty: Vec<&[u8]> = with_empty.iter().map(Vec::as_slice).collect();
        assert_eq!(all(&with_empty), found, "padded");
    }
    assert_eq!(all(&[&fields.join(&b',')]), found, "on one line");
    let elements_of_all: Vec<&[u8]> = bytes.split(|byte| b"\n,".contains(byte)).collect();
    assert_eq!(all(&elements_of_all), found, "one element per line");
    assert!(fields.iter().flat_map(|field| elements(field)).all(|(_, quality)| quality <= 1000));
}

const ALL: [Coding; 4] = [Coding::Brotli, Coding::Zstandard, Coding::Gzip, Coding::Identity];

/// The quality of a coding in thousandths: the last one given for its name, or else for `*`.
fn quality_of(coding: Coding, fields: &[&[u8]]) -> u16 {
    let by = |wanted: &[&[u8]]| {
        let elements = fields.iter().flat_map(|field| elements(field));
        let is_wanted = |name: &[u8]| wanted.contains(&&name.to_ascii_lowercase()[..]);
        elements.filter(|(name, _)| is_wanted(name)).last().map(|(_, quality)| quality)
    };
    let (names, default): (&[&[u8]], u16) = match coding {
        Coding::Brotli => (&[b"br"], 0),
        Coding::Zstandard => (&[b"zstd"], 0),
        Coding::Gzip => (&[b"gzip", b"x-gzip"], 0),
        Coding::Identity => (&[b"identity"], 1),
    };
    by(names).or_else(|| by(&[b"*"])).unwrap_or(default)
}
