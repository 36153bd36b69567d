//! Mean and variance in one pass (B. P. Welford, Technometrics 4, 1962).

/// The mean and the variance of the added numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds a number.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let off = value - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (value - self.mean);
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The arithmetic mean; zero without values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The variance (mean squared distance from the mean); zero without values.
    pub fn variance(&self) -> f64 {
        self.squares / self.count.max(1) as f64
    }

    /// The squared coefficient of variation, variance / mean^2: 0 for equal numbers, 1 for
    /// exponential ones. Zero if the mean is not positive.
    pub fn squared_variation(&self) -> f64 {
        if self.mean > 0.0 { self.variance() / self.mean.powi(2) } else { 0.0 }
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.add(value));
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_variance_are_exact() {
        let moments: Moments = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().collect();
        assert_eq!((moments.count(), moments.mean(), moments.variance()), (8, 5.0, 4.0));
        assert_eq!(moments.squared_variation(), 4.0 / 25.0);
        let none = Moments::default();
        assert_eq!((none.mean(), none.variance(), none.squared_variation()), (0.0, 0.0, 0.0));
    }

    /// With these numbers, the sum of squares minus the square of the sum has no correct digit.
    #[test]
    fn a_large_mean_does_not_spoil_the_variance() {
        let moments: Moments = [1e9, 1e9 + 1.0, 1e9 + 2.0].into_iter().collect();
        assert!((moments.variance() - 2.0 / 3.0).abs() < 1e-9, "{}", moments.variance());
    }
}
