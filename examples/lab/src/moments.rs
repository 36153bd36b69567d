//! Mean, variance and confidence interval in one pass (B. P. Welford, Technometrics 4, 1962).

/// The 97.5th percentiles of Student's t distribution for 1 to 10 degrees of freedom (M. Abramowitz
/// and I. A. Stegun, Handbook of Mathematical Functions, 1964, table 26.10).
const STUDENT: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// The same for 30 degrees of freedom, which is above those for more.
const STUDENT_MANY: f64 = 2.042;

/// The mean and the variance of the added numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// No values.
    pub const EMPTY: Self = Self { count: 0, mean: 0.0, squares: 0.0 };

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

    /// The moments of the values times a factor.
    pub fn scaled(&self, factor: f64) -> Self {
        let Self { count, mean, squares } = *self;
        Self { count, mean: mean * factor, squares: squares * factor * factor }
    }

    /// Half the width of the 95 % confidence interval of the mean, if the values are independent
    /// and about normal. Infinite for fewer than two values.
    pub fn half_width(&self) -> f64 {
        let Some(freedom) = self.count.checked_sub(1).filter(|freedom| *freedom > 0) else {
            return f64::INFINITY;
        };
        let row = usize::try_from(freedom - 1).unwrap_or(usize::MAX);
        let wider = if freedom < 30 { STUDENT[STUDENT.len() - 1] } else { STUDENT_MANY };
        let quantile = STUDENT.get(row).copied().unwrap_or(wider);
        // The sample variance divides by the degrees of freedom.
        quantile * (self.squares / freedom as f64 / self.count as f64).sqrt()
    }

    /// The ends of this interval.
    pub fn interval(&self) -> (f64, f64) {
        let half = self.half_width();
        (self.mean - half, self.mean + half)
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
        let twice = moments.scaled(2.0);
        assert_eq!((twice.count(), twice.mean(), twice.variance()), (8, 10.0, 16.0));
        let none = Moments::default();
        assert_eq!((none.mean(), none.variance(), none.squared_variation()), (0.0, 0.0, 0.0));
    }

    #[test]
    fn the_interval_covers_the_mean_in_95_of_100_cases() {
        let five: Moments = [1.0, 2.0, 3.0, 4.0, 5.0].into_iter().collect();
        assert!((five.half_width() - 2.776 * (2.5f64 / 5.0).sqrt()).abs() < 1e-12);
        let one: Moments = [1.0].into_iter().collect();
        assert!(one.half_width().is_infinite());
        let mut random = fastrand::Rng::with_seed(1);
        for size in [2, 5, 12, 40] {
            // The sum of twelve uniform numbers is about normal, with mean 6.
            let normal = |random: &mut fastrand::Rng| (0..12).map(|_| random.f64()).sum::<f64>();
            let covers = (0..4000).filter(|_| {
                let sample: Moments = (0..size).map(|_| normal(&mut random)).collect();
                let (low, high) = sample.interval();
                (low..=high).contains(&6.0)
            });
            let share = covers.count() as f64 / 4000.0;
            assert!((0.935..0.975).contains(&share), "{size}: {share}");
        }
    }

    /// With these numbers, the sum of squares minus the square of the sum has no correct digit.
    #[test]
    fn a_large_mean_does_not_spoil_the_variance() {
        let moments: Moments = [1e9, 1e9 + 1.0, 1e9 + 2.0].into_iter().collect();
        assert!((moments.variance() - 2.0 / 3.0).abs() < 1e-9, "{}", moments.variance());
    }
}
