//! Student's t distribution: how far the mean of a few values may be from the truth.

use std::f64::consts::PI;

/// The quantile of Student's t distribution: a value that is `p` or less likely to be exceeded,
/// for `p` above one half. Infinite without a degree of freedom.
pub fn quantile(p: f64, freedom: u64) -> f64 {
    if freedom == 0 {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while below(high, freedom) < p && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle, freedom) < p { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The probability of a value up to `t`, which is positive (M. Abramowitz and I. A. Stegun,
/// Handbook of Mathematical Functions, 1964, formulas 26.7.3 and 26.7.4).
fn below(t: f64, freedom: u64) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    // The terms of the sum have the powers 0, 2, 4.. of the cosine, or 1, 3, 5..
    let is_odd = freedom % 2 == 1;
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = 0.0;
    let mut power = if is_odd { 1 } else { 0 };
    while power + 2 <= freedom {
        sum += term;
        power += 2;
        // The next factor: 2/3, 4/5.. or 1/2, 3/4..
        term *= cosine * cosine * (power - 1) as f64 / power as f64;
    }
    let both = if is_odd { 2.0 / PI * (angle + sine * sum) } else { sine * sum };
    (1.0 + both) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same handbook, table 26.10.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, p, expected) in [
            (1, 0.975, 12.706),
            (2, 0.975, 4.303),
            (3, 0.975, 3.182),
            (4, 0.975, 2.776),
            (9, 0.975, 2.262),
            (30, 0.975, 2.042),
            (1, 0.999, 318.309),
            (2, 0.999, 22.327),
            (3, 0.999, 10.215),
            (4, 0.999, 7.173),
            (7, 0.999, 4.785),
            (100, 0.999, 3.174),
        ] {
            let found = quantile(p, freedom);
            assert!((found - expected).abs() < 1e-3 * expected, "{p}, {freedom}: {found}");
        }
        assert!(quantile(0.9, 0).is_infinite());
    }
}
