//! The discrete Fourier transform; the number of points is a power of two.

use std::f64::consts::TAU;

/// A complex number: real part and imaginary part.
pub(super) type Complex = (f64, f64);

/// Replaces values x_j on the unit circle, at the angles 2 pi j / n, by n times the coefficients of
/// their polynomial: the sum over j of x_j exp(-2 pi i j k / n) (Cooley and Tukey 1965).
pub(super) fn transform(points: &mut [Complex]) {
    let count = points.len();
    assert!(count.is_power_of_two());
    let bits = count.trailing_zeros();
    for index in 0..count {
        let mirrored = index.reverse_bits().checked_shr(usize::BITS - bits).unwrap_or(0);
        if index < mirrored {
            points.swap(index, mirrored);
        }
    }
    // Compute each root directly: repeated multiplication would accumulate errors.
    let root = |step: usize| (-TAU * step as f64 / count as f64).sin_cos();
    let roots: Vec<_> = (0..count / 2).map(root).collect();
    let mut half = 1;
    while half < count {
        let stride = count / (2 * half);
        for block in points.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), &(sin, cos)) in low.iter_mut().zip(high).zip(roots.iter().step_by(stride))
            {
                let turned = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                *b = (a.0 - turned.0, a.1 - turned.1);
                *a = (a.0 + turned.0, a.1 + turned.1);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_recovers_coefficients() {
        for count in [1, 2, 8, 64] {
            let coefficient = |power: usize| 1.0 / (1.0 + power as f64);
            let value = |j: usize| {
                let term = |power: usize| {
                    let (sin, cos) = (TAU * (j * power) as f64 / count as f64).sin_cos();
                    (coefficient(power) * cos, coefficient(power) * sin)
                };
                (0..count).map(term).fold((0.0, 0.0), |s, t| (s.0 + t.0, s.1 + t.1))
            };
            let mut points: Vec<_> = (0..count).map(value).collect();
            transform(&mut points);
            for (power, found) in points.iter().enumerate() {
                let found = (found.0 / count as f64, found.1 / count as f64);
                assert!((found.0 - coefficient(power)).abs() < 1e-14, "{count}: {power}");
                assert!(found.1.abs() < 1e-14, "{count}: {power}");
            }
        }
    }
}
