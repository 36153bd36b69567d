//! The random numbers of arrivals, services and small delays.

use fastrand::Rng;

/// An exponentially distributed number with mean 1, by inversion: -ln U for a U that is never 0.
pub fn exponential(random: &mut Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::Moments;

    /// Mean and variance are 1, and the share above 1 is 1/e.
    #[test]
    fn its_moments_and_its_tail_are_those_of_the_law() {
        let mut random = Rng::with_seed(1);
        let drawn: Vec<f64> = (0..100_000).map(|_| exponential(&mut random)).collect();
        let moments: Moments = drawn.iter().copied().collect();
        assert!((moments.mean() - 1.0).abs() < 0.02 && (moments.variance() - 1.0).abs() < 0.05);
        let above = drawn.iter().filter(|&&number| number > 1.0).count() as f64 / 1e5;
        assert!((above - (-1.0_f64).exp()).abs() < 0.01, "{above}");
        assert!(drawn.iter().all(|number| number.is_finite() && *number >= 0.0));
    }
}
