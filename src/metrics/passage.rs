//! Passages of requests through a point, and the gaps between them: sums that Little's law and the
//! variation of arrivals follow from.

/// Requests that passed a point, and when.
///
/// Moments are nanoseconds from the server's start. Their sum wraps; only differences are used, and
/// those are right as long as they fit 64 bits themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passage {
    count: u64,
    moments: u64,
}

/// Gaps between arrivals: their number, and the sums of their lengths and squares, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gaps {
    count: u64,
    sum: u128,
    squares: u128,
}

/// Longer gaps, in nanoseconds, separate two loads and belong to neither.
const PAUSE: u64 = 1_000_000_000;

/// Fewer gaps than this are too few to estimate a variation.
const GAPS: u64 = 10;

impl Passage {
    /// Counts a passage at this moment.
    pub(super) fn pass(&mut self, moment: u64) {
        self.count += 1;
        self.moments = self.moments.wrapping_add(moment);
    }

    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.moments = self.moments.wrapping_add(other.moments);
    }

    pub(super) fn count(self) -> u64 {
        self.count
    }

    /// The sum of the times from each passage to `at`.
    pub(super) fn time_since(self, at: u64) -> u64 {
        self.count.wrapping_mul(at).wrapping_sub(self.moments)
    }
}

impl Gaps {
    /// Counts a gap, in nanoseconds, unless it is a pause.
    pub(super) fn record(&mut self, gap: u64) {
        if gap <= PAUSE {
            self.count += 1;
            self.sum += u128::from(gap);
            self.squares += u128::from(gap).pow(2);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The squared coefficient of variation of the gaps since `earlier`.
    pub(super) fn squared_variation_since(self, earlier: Self) -> Option<f64> {
        let count = self.count.checked_sub(earlier.count).filter(|&count| count >= GAPS)? as f64;
        let mean = self.sum.saturating_sub(earlier.sum) as f64 / count;
        let mean_square = self.squares.saturating_sub(earlier.squares) as f64 / count;
        (mean > 0.0).then(|| (mean_square / mean.powi(2) - 1.0).max(0.0))
    }
}
