//! The natural order of names, in which `IMG_2` comes before `IMG_10`.

use std::cmp::Ordering;

/// Compares names piece by piece: a sequence of ASCII digits by its number, any other byte by its
/// value. Names that differ in leading zeros only are in the order of their bytes, so that no two
/// names are equal.
///
/// Names are bytes of any encoding, and a page may need a million comparisons, so this does not
/// convert them to text, as crates for this order do.
pub fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let (mut a, mut b) = (one, other);
    loop {
        let ((first, rest_of_a), (second, rest_of_b)) = (piece(a), piece(b));
        let order = match (first, second) {
            ([], []) => return one.cmp(other),
            ([x, ..], [y, ..]) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (significant(first), significant(second));
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            _ => first.cmp(second),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_of_a, rest_of_b);
    }
}

/// Splits off the digits at the start, or one other byte.
fn piece(name: &[u8]) -> (&[u8], &[u8]) {
    let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
    name.split_at(digits.max(usize::from(!name.is_empty())))
}

/// The digits of a number without its leading zeros.
fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn numbers_in_names_are_compared_by_their_values() {
        let sorted = [
            "",
            "0",
            "00",
            "01",
            "1",
            "1a",
            "1b",
            "2",
            "10",
            "99999999999999999999999",
            "IMG_2.jpg",
            "IMG_10.jpg",
            "a",
            "a-1",
            "a00b",
            "a0b",
            "a1",
            "a1-2",
            "a2",
            "a10",
            "b",
            "\u{e9}1",
            "\u{e9}10",
        ];
        for (at, one) in sorted.iter().enumerate() {
            for (place, other) in sorted.iter().enumerate() {
                let found = compare(one.as_bytes(), other.as_bytes());
                assert_eq!(found, at.cmp(&place), "{one:?} and {other:?}");
            }
        }
    }

    /// Names of few different bytes, so that they often have something in common.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        vec(prop::sample::select(b"019a/:\xff".to_vec()), 0..6)
    }

    proptest! {
        #[test]
        fn it_is_a_total_order(a in name(), b in name(), c in name()) {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &b).is_eq(), a == b);
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
