//! The `Range` field of a request (RFC 9110, section 14).

/// The most ranges that one response carries. Beyond that, the whole file costs less.
pub const RANGES: usize = 16;

/// The part of a representation of known length that a `Range` field selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it: the field has another unit, is malformed, overlaps or has too many ranges.
    Whole,
    /// These parts, at least one, in the order of the field.
    Parts(Vec<Part>),
    /// Nothing: no range overlaps the representation.
    Unsatisfiable,
}

/// A range of bytes that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The position of the first byte.
    pub first: u64,
    /// The position of the last byte.
    pub last: u64,
}

impl Part {
    /// The number of bytes.
    pub fn length(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Reads the value of a `Range` field for a representation of `length` bytes.
pub fn select(value: &[u8], length: u64) -> Selection {
    let Some((unit, set)) = split_at_byte(value, b'=') else { return Selection::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Selection::Whole;
    }
    let mut parts = Vec::new();
    let mut asked = 0;
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if spec.is_empty() {
            continue;
        }
        asked += 1;
        match part(spec, length) {
            Err(Malformed) => return Selection::Whole,
            Ok(found) => parts.extend(found),
        }
        if asked > RANGES {
            return Selection::Whole;
        }
    }
    match parts.len() {
        _ if asked == 0 => Selection::Whole,
        // A suffix of an empty file is the whole file (RFC 9110, section 14.1.2).
        0 if length == 0 && set.split(|&b| b == b',').any(is_suffix) => Selection::Whole,
        0 => Selection::Unsatisfiable,
        _ if overlap(&parts) => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

/// True for a suffix range, unless its length is zero.
fn is_suffix(spec: &[u8]) -> bool {
    let suffix = spec.trim_ascii().strip_prefix(b"-");
    suffix.and_then(number).is_some_and(|length| length > 0)
}

struct Malformed;

/// Parses one `first-last`, `first-` or `-suffix`. Returns none if it lies beyond the end.
fn part(spec: &[u8], length: u64) -> Result<Option<Part>, Malformed> {
    let (first, last) = split_at_byte(spec, b'-').ok_or(Malformed)?;
    let (first, last) = (first.trim_ascii(), last.trim_ascii());
    if first.is_empty() {
        let suffix = number(last).ok_or(Malformed)?.min(length);
        let of_suffix = |suffix| Part { first: length - suffix, last: length - 1 };
        return Ok((suffix > 0).then(|| of_suffix(suffix)));
    }
    let first = number(first).ok_or(Malformed)?;
    let last = if last.is_empty() { u64::MAX } else { number(last).ok_or(Malformed)? };
    if last < first {
        return Err(Malformed);
    }
    Ok((first < length).then(|| Part { first, last: last.min(length - 1) }))
}

/// The value of the digits. A number that exceeds 64 bits counts as the largest one.
fn number(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| all_digits)?;
    Some(text.parse().unwrap_or(u64::MAX))
}

fn overlap(parts: &[Part]) -> bool {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable_by_key(|part| part.first);
    sorted.windows(2).any(|pair| pair[1].first <= pair[0].last)
}

fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&other| other == byte)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(list: &[(u64, u64)]) -> Selection {
        Selection::Parts(list.iter().map(|&(first, last)| Part { first, last }).collect())
    }

    #[test]
    fn ranges_select_parts_the_whole_or_nothing() {
        let many = format!("bytes={}", (0..17).map(|n| format!("{n}-{n},")).collect::<String>());
        let most = format!("bytes={}", (0..16).map(|n| format!("{n}-{n},")).collect::<String>());
        let rows = [
            ("bytes=0-0", parts(&[(0, 0)])),
            ("Bytes=10-19", parts(&[(10, 19)])),
            ("bytes=90-", parts(&[(90, 99)])),
            ("bytes=-10", parts(&[(90, 99)])),
            ("bytes=-1000", parts(&[(0, 99)])),
            ("bytes=0-1000", parts(&[(0, 99)])),
            ("bytes=0-99999999999999999999999", parts(&[(0, 99)])),
            ("bytes=0-9, 20-29 ,-5", parts(&[(0, 9), (20, 29), (95, 99)])),
            ("bytes=90-99,0-9", parts(&[(90, 99), (0, 9)])),
            ("bytes=0-9,,200-300", parts(&[(0, 9)])),
            ("bytes=, 0-9,", parts(&[(0, 9)])),
            ("bytes=0-9,10-19", parts(&[(0, 9), (10, 19)])),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=200-300,400-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=0-10,10-20", Selection::Whole),
            ("bytes=0-,-1", Selection::Whole),
            ("bytes=9-0", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes=,", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=1", Selection::Whole),
            ("bytes=--1", Selection::Whole),
            ("bytes 0-9", Selection::Whole),
            ("lines=0-9", Selection::Whole),
            (many.as_str(), Selection::Whole),
        ];
        for (value, expected) in rows {
            assert_eq!(select(value.as_bytes(), 100), expected, "{value}");
        }
        assert!(matches!(select(most.as_bytes(), 100), Selection::Parts(list) if list.len() == 16));
    }

    #[test]
    fn only_a_suffix_range_of_an_empty_file_is_satisfiable() {
        assert_eq!(select(b"bytes=-5", 0), Selection::Whole);
        for value in ["bytes=0-", "bytes=-0", "bytes=0-0"] {
            assert_eq!(select(value.as_bytes(), 0), Selection::Unsatisfiable, "{value}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within_the_file_and_do_not_overlap(
            value in "bytes=[0-9,\\- ]{0,40}",
            length in 0u64..200,
        ) {
            if let Selection::Parts(list) = select(value.as_bytes(), length) {
                prop_assert!(!list.is_empty() && !overlap(&list));
                for part in &list {
                    prop_assert!(part.first <= part.last && part.last < length);
                }
            }
        }
    }
}
