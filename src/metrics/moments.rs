//! Count, sum and sum of squares of durations: their exact mean and variation.

/// Sums over durations in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    count: u64,
    sum: u128,
    squares: u128,
}

impl Moments {
    /// Adds one duration.
    pub(super) fn record(&mut self, nanos: u64) {
        self.count += 1;
        self.sum += u128::from(nanos);
        self.squares = self.squares.saturating_add(u128::from(nanos).pow(2));
    }

    /// Adds `count` durations of zero.
    pub(super) fn record_zeros(&mut self, count: u64) {
        self.count += count;
    }

    /// Adds all durations of another.
    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares = self.squares.saturating_add(other.squares);
    }

    /// The durations that were added since `earlier`, a former state of this one.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            sum: self.sum.saturating_sub(earlier.sum),
            squares: self.squares.saturating_sub(earlier.squares),
        }
    }

    /// The number of durations.
    pub(super) fn count(self) -> u64 {
        self.count
    }

    /// The sum of all durations, in nanoseconds.
    pub(super) fn sum(self) -> u128 {
        self.sum
    }

    /// The squared coefficient of variation: the variance divided by the square of the mean. It is
    /// 0 for constant durations and 1 for exponential ones. None if the mean is 0 or there are no
    /// durations.
    pub(super) fn squared_variation(self) -> Option<f64> {
        let mean = self.sum as f64 / self.count as f64;
        let mean_square = self.squares as f64 / self.count as f64;
        (mean > 0.0).then(|| (mean_square / mean.powi(2) - 1.0).max(0.0))
    }
}
