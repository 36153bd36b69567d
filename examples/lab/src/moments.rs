//! Mean and variance of numbers, in one pass (B. P. Welford, Technometrics 4, 1962).

/// The first two moments of the numbers that were added.
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

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their arithmetic mean; zero where there are none.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The mean of the squares of their distances from the mean; zero where there are none.
    pub fn variance(&self) -> f64 {
        self.squares / self.count.max(1) as f64
    }

    /// The squared coefficient of variation, variance over squared mean: 0 for equal numbers, 1 for
    /// exponential ones; zero where the mean is not above zero.
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
    fn moments_are_those_of_the_numbers() {
        let moments: Moments = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().collect();
        assert_eq!((moments.count(), moments.mean(), moments.variance()), (8, 5.0, 4.0));
        assert_eq!(moments.squared_variation(), 4.0 / 25.0);
        let none = Moments::default();
        assert_eq!((none.mean(), none.variance(), none.squared_variation()), (0.0, 0.0, 0.0));
    }

    /// Where the sum of squares less the square of the sum would have no digit left.
    #[test]
    fn a_large_mean_does_not_spoil_the_variance() {
        let moments: Moments = [1e9, 1e9 + 1.0, 1e9 + 2.0].into_iter().collect();
        assert!((moments.variance() - 2.0 / 3.0).abs() < 1e-9, "{}", moments.variance());
    }
}
