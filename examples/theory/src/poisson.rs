//! Poisson probabilities without overflow or loss of precision, for any mean.

use std::f64::consts::TAU;

/// The difference of ln k! and Stirling's k ln k - k + ln(2 pi k)/2 (Abramowitz and Stegun 6.1.41).
pub(super) fn stirling_error(k: f64) -> f64 {
    // Below this the series is not exact to the last digit, but the factorial is.
    if k < 16.0 {
        let factorial: f64 = (2..=k as u32).map(f64::from).product();
        return factorial.ln() - (k * k.ln() - k + 0.5 * (TAU * k).ln());
    }
    let square = k * k;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / k
}

/// The probability of `k` if the mean is `mean`.
pub(super) fn probability(k: f64, mean: f64) -> f64 {
    if k == 0.0 {
        return (-mean).exp();
    }
    if mean == 0.0 {
        return 0.0;
    }
    // Loader 2000: the distance between k and the mean is a single term, not a difference of large
    // ones.
    (-stirling_error(k) - k * distance(mean / k)).exp() / (TAU * k).sqrt()
}

/// r - 1 - ln r, which is never negative.
pub(super) fn distance(r: f64) -> f64 {
    let x = r - 1.0;
    if x.abs() > 0.01 {
        return x - r.ln();
    }
    // The series of x - ln(1 + x), because the difference would lose precision.
    let tail = (2..=9).rev().fold(0.0, |sum, power| {
        let sign = if power % 2 == 0 { 1.0 } else { -1.0 };
        sum * x + sign / f64::from(power)
    });
    tail * x * x
}

/// The probabilities of 0, 1, 2, ... if the mean is `mean`, up to where they vanish.
pub(super) fn probabilities(mean: f64) -> Vec<f64> {
    // Less than 1e-16 lies more than ten standard deviations and ten above the mean.
    let count = (mean + 10.0 * mean.sqrt() + 10.0).ceil() as u32 * 2;
    let mut all: Vec<f64> = Vec::new();
    for k in 0..count {
        let next = probability(f64::from(k), mean);
        if f64::from(k) > mean && next < 1e-18 {
            break;
        }
        all.push(next);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_at_any_mean() {
        for mean in [0.0, 1e-9, 0.3, 1.0, 7.5, 64.0, 700.0, 4000.0] {
            let all = probabilities(mean);
            let sum: f64 = all.iter().sum();
            let first: f64 = all.iter().enumerate().map(|(k, p)| k as f64 * p).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{mean}: {sum}");
            assert!((first - mean).abs() <= 1e-12 * mean.max(1e-3), "{mean}: {first}");
        }
        assert!((probability(3.0, 2.0) - 8.0 / 6.0 * (-2f64).exp()).abs() < 1e-15);
    }

    #[test]
    fn stirling_joins_the_factorial() {
        let exact = |k: u32| (2..=k).map(|n| f64::from(n).ln()).sum::<f64>();
        for k in [1, 2, 15, 16, 17, 30, 100] {
            let k_ = f64::from(k);
            let found = stirling_error(k_) + k_ * k_.ln() - k_ + 0.5 * (TAU * k_).ln();
            assert!((found - exact(k)).abs() < 1e-12 * exact(k).max(1.0), "{k}");
        }
    }
}
