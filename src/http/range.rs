//! The `Range` of a request (RFC 9110, section 14).

/// Ranges of one request that are answered as such; more of them cost more than the whole.
pub const RANGES: usize = 16;

/// What a `Range` field asks for, of a representation of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The whole: the field is in another unit, malformed, or asks for too much in pieces.
    Whole,
    /// These parts, in the order asked for; at least one.
    Parts(Vec<Part>),
    /// Nothing that exists.
    Unsatisfiable,
}

/// A stretch of bytes; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first byte's position.
    pub first: u64,
    /// The last byte's position.
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
        // Of an empty file, its last bytes are all of it (RFC 9110, section 14.1.2).
        0 if length == 0 && set.split(|&b| b == b',').any(is_suffix) => Selection::Whole,
        0 => Selection::Unsatisfiable,
        _ if overlap(&parts) => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

/// True for a suffix of more than nothing.
fn is_suffix(spec: &[u8]) -> bool {
    let suffix = spec.trim_ascii().strip_prefix(b"-");
    suffix.and_then(number).is_some_and(|length| length > 0)
}

struct Malformed;

/// One `first-last`, `first-` or `-suffix`; none where nothing of it exists.
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

/// Digits as a number; one too large for 64 bits is as good as the largest.
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
    fn selections_of_a_hundred_bytes() {
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
    fn nothing_of_an_empty_file_can_be_had() {
        assert_eq!(select(b"bytes=-5", 0), Selection::Whole);
        for value in ["bytes=0-", "bytes=-0", "bytes=0-0"] {
            assert_eq!(select(value.as_bytes(), 0), Selection::Unsatisfiable, "{value}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within_and_apart(value in "bytes=[0-9,\\- ]{0,40}", length in 0u64..200) {
            if let Selection::Parts(list) = select(value.as_bytes(), length) {
                prop_assert!(!list.is_empty() && !overlap(&list));
                for part in &list {
                    prop_assert!(part.first <= part.last && part.last < length);
                }
            }
        }
    }
}
