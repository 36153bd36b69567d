//! Passages of requests through a point: sums that Little's law follows from.

/// Requests that passed a point, and when.
///
/// Moments are nanoseconds from the server's start. Their sum wraps; only differences are used, and
/// those are right as long as they fit 64 bits themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passage {
    count: u64,
    moments: u64,
}

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
