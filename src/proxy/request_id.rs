//! Identifiers of requests: taken over from a proxy, or made.

use crate::config;
use std::hash::{BuildHasher, RandomState};

/// The request field that has one, and the response field that returns it.
pub const FIELD: &str = "X-Request-Id";

/// Makes identifiers: 128 bits that nobody can guess who does not know its key. It hashes a counter
/// with SipHash, whose key the system's randomness seeds. So identifiers of threads, processes and
/// machines differ.
#[derive(Debug, Default)]
pub struct Identifiers {
    key: RandomState,
    made: u64,
}

impl Identifiers {
    /// Writes the next one in place of what is there: 32 hexadecimal digits.
    pub fn write(&mut self, into: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut half = || {
            self.made = self.made.wrapping_add(1);
            self.key.hash_one(self.made).to_be_bytes()
        };
        let bytes = [half(), half()];
        let mut digits = [0; 32];
        for (digits, byte) in digits.chunks_exact_mut(2).zip(bytes.as_flattened()) {
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 15)];
        }
        into.clear();
        into.push_str(std::str::from_utf8(&digits).unwrap_or_default());
    }
}

/// The identifier in the values of [`FIELD`], if there is one and it can be logged and sent back as
/// it is.
pub fn taken_over<'b>(mut values: impl Iterator<Item = &'b [u8]>) -> Option<&'b str> {
    let is_safe = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~+/=:@".contains(&byte);
    match (values.next(), values.next()) {
        (Some(value), None)
            if (1..=config::REQUEST_ID_BYTES).contains(&value.len())
                && value.iter().all(is_safe) =>
        {
            std::str::from_utf8(value).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn one_value_of_safe_characters_is_taken_over() {
        let longest = "a".repeat(config::REQUEST_ID_BYTES);
        let longer = "a".repeat(config::REQUEST_ID_BYTES + 1);
        for (value, is_taken) in [
            ("b9c6e1d0-5b1e-4a77-8a0e-0d9b7c2f3e11", true),
            ("Root=1-67891233-abcdef012345678912345678", true),
            ("7f000001:8A3E_7f000001:1F90_6745@a/b+c~d.e", true),
            ("a", true),
            (&longest, true),
            (&longer, false),
            ("", false),
            ("a b", false),
            ("a,b", false),
            ("a\"b", false),
            ("a\\b", false),
            ("a;b", false),
            ("<script>", false),
            ("a\tb", false),
            ("\u{e4}", false),
            ("a\u{1b}[31m", false),
            ("%41", false),
        ] {
            let taken = taken_over([value.as_bytes()].into_iter());
            assert_eq!(taken, is_taken.then_some(value), "{value:?}");
        }
        assert_eq!(taken_over([&b"a"[..], b"b"].into_iter()), None, "two are none");
        assert_eq!(taken_over([].into_iter()), None);
    }

    #[test]
    fn those_that_are_made_differ() {
        let (mut one, mut other) = (Identifiers::default(), Identifiers::default());
        let mut made = HashSet::new();
        let mut text = String::new();
        for round in 0..1000 {
            for of in [&mut one, &mut other] {
                of.write(&mut text);
                assert_eq!(text.len(), 32);
                assert!(text.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{text}");
                assert!(made.insert(text.clone()), "{text} in round {round}");
            }
        }
        // Each of the 128 bits is set in about half of them.
        for bit in 0..128 {
            let at = |id: &String| u128::from_str_radix(id, 16).is_ok_and(|id| id >> bit & 1 == 1);
            let set = made.iter().filter(|id| at(id)).count();
            assert!((700..1300).contains(&set), "bit {bit}: {set} of 2000");
        }
    }
}
