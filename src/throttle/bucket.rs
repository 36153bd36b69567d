//! A token bucket: how many bytes may be sent at a rate, and when the next may. It knows no clock:
//! each call brings the time.

use crate::config;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Credit is counted in billionths of a byte: at a rate of R bytes per second, a nanosecond gives R
/// of them. So nothing is ever rounded, and nothing drifts.
const BYTE: i128 = 1_000_000_000;

/// A wait that is longer than this ends, and begins again.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// A rate in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// The rate of so many bytes per second; none for 0.
    pub fn new(bytes: u64) -> Option<Self> {
        NonZeroU64::new(bytes).map(Self)
    }

    /// The bytes that it gives in this time.
    pub fn within(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0.get()).saturating_mul(time.as_nanos()) / BYTE as u128;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The most that may be sent at once after a pause.
    pub fn burst(self) -> u64 {
        self.within(config::LIMIT_BURST).max(config::LIMIT_BURST_LEAST)
    }

    /// The most that may be sent at once if the server itself was late.
    pub fn late(self) -> u64 {
        self.within(config::LIMIT_LATE).max(self.burst())
    }

    /// What is worth a wakeup: fewer bytes are sent only if no more are left.
    pub fn share(self) -> u64 {
        self.burst() / 2
    }

    /// Half of it.
    pub fn half(self) -> Self {
        Self(NonZeroU64::new(self.0.get() / 2).unwrap_or(NonZeroU64::MIN))
    }
}

/// The credit of a sender. It can be below zero.
#[derive(Debug, Clone)]
pub struct Bucket {
    credit: i128,
    /// Credit is given up to this time.
    at: Instant,
}

impl Bucket {
    /// A bucket with this many bytes.
    pub fn new(bytes: u64, now: Instant) -> Self {
        Self { credit: i128::from(bytes) * BYTE, at: now }
    }

    /// Gives the credit of the time since the last call, up to `most` bytes in all. Returns the
    /// bytes that may be sent now. Credit beyond `most` that was there before stays.
    pub fn fill(&mut self, rate: Rate, most: u64, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.at).as_nanos();
        let earned = nanos.saturating_mul(rate.0.get().into());
        let earned = i128::try_from(earned).unwrap_or(i128::MAX);
        let filled = self.credit.saturating_add(earned).min(i128::from(most) * BYTE);
        self.credit = self.credit.max(filled);
        self.at = self.at.max(now);
        self.bytes()
    }

    /// The bytes that may be sent, as of the last call of `fill`.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.credit.max(0) / BYTE).unwrap_or(u64::MAX)
    }

    /// Takes the credit of bytes that are sent. Whoever sends more than there is owes the rest.
    pub fn take(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_sub(i128::from(bytes) * BYTE);
    }

    /// Gives back what was taken for bytes that are not sent.
    pub fn put_back(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(i128::from(bytes) * BYTE);
    }

    /// When this many bytes may be sent, if none is sent before.
    pub fn ready_at(&self, rate: Rate, bytes: u64) -> Instant {
        let missing = (i128::from(bytes) * BYTE).saturating_sub(self.credit).max(0) as u128;
        let nanos = u64::try_from(missing.div_ceil(rate.0.get().into())).unwrap_or(u64::MAX);
        self.at + Duration::from_nanos(nanos).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(bytes: u64) -> Rate {
        Rate::new(bytes).expect("more than 0")
    }

    #[test]
    fn what_may_be_sent_at_once_follows_from_the_rate() {
        let of = |bytes| (rate(bytes).share(), rate(bytes).burst(), rate(bytes).late());
        assert_eq!(of(10_000), (512, 1024, 2500));
        assert_eq!(of(1_000_000), (25_000, 50_000, 250_000));
        assert_eq!(of(1), (512, 1024, 1024));
        assert_eq!(of(u64::MAX).1, u64::MAX / 20);
        assert_eq!((rate(1).half(), rate(9).half(), Rate::new(0)), (rate(1), rate(4), None));
    }

    #[test]
    fn a_sender_waits_for_what_it_lacks() {
        let start = Instant::now();
        let (rate, after) = (rate(1000), |millis| start + Duration::from_millis(millis));
        let mut bucket = Bucket::new(100, start);
        assert_eq!(bucket.fill(rate, 100, after(5000)), 100, "no more than fits");
        bucket.take(150);
        assert_eq!(bucket.bytes(), 0, "it owes 50");
        assert_eq!(bucket.ready_at(rate, 1), after(5051));
        assert_eq!(bucket.fill(rate, 100, after(5050)), 0);
        assert_eq!(bucket.fill(rate, 100, after(5060)), 10);
        bucket.take(10);
        bucket.put_back(4);
        assert_eq!(bucket.fill(rate, 100, after(5000)), 4, "time does not run back");
        assert_eq!(bucket.ready_at(rate, 4), after(5060), "now");
        assert_eq!(bucket.ready_at(rate, u64::MAX), after(5060) + LONGEST);
    }

    /// After hours of sends of odd sizes at odd times, not one byte is lost or won.
    #[test]
    fn nothing_drifts_over_hours() {
        let start = Instant::now();
        for bytes in [1025, 9_999_991, 1_234_567_891] {
            let rate = rate(bytes);
            let (mut bucket, mut sent, mut now) = (Bucket::new(0, start), 0, start);
            let end = start + Duration::from_secs(3 * 60 * 60);
            for step in 1.. {
                now = (now + Duration::from_nanos(999_983 * (1 + step % 97))).min(end);
                let most = bucket.fill(rate, rate.late(), now);
                bucket.take(most);
                sent += most;
                if now == end {
                    break;
                }
            }
            assert_eq!(sent, rate.within(end - start), "{bytes} bytes per second");
        }
    }

    proptest! {
        /// Within any time, no more is sent than the rate gives, and what may be sent at once.
        #[test]
        fn no_more_is_sent_than_burst_and_rate(
            bytes in prop_oneof![1..u64::MAX, 1..1_u64 << 20, Just(u64::MAX)],
            steps in prop::collection::vec((0..u64::MAX >> 10, any::<u64>(), any::<bool>()), 1..60),
        ) {
            let (rate, start) = (rate(bytes), Instant::now());
            let mut bucket = Bucket::new(rate.burst(), start);
            let (mut now, mut sent) = (start, 0_u128);
            for (wait, wanted, is_refused) in steps {
                now += Duration::from_nanos(wait);
                let most = bucket.fill(rate, rate.burst(), now);
                prop_assert!(most <= rate.burst());
                let taken = most.min(wanted);
                bucket.take(taken);
                match is_refused {
                    true => bucket.put_back(taken),
                    false => sent += u128::from(taken),
                }
                let earned = (now - start).as_nanos() * u128::from(bytes) / 1_000_000_000;
                prop_assert!(sent <= earned + u128::from(rate.burst()));
            }
        }

        /// A sender that comes when it is told to finds what it waits for, and not a nanosecond
        /// before.
        #[test]
        fn a_wait_is_exact(
            bytes in prop_oneof![1..u64::MAX, 1..1_u64 << 20],
            credit in 0..1_u64 << 20,
            debt in 0..1_u64 << 20,
            wanted in 1..1_u64 << 20,
        ) {
            let (rate, start) = (rate(bytes), Instant::now());
            let mut bucket = Bucket::new(credit, start);
            bucket.take(debt);
            let ready = bucket.ready_at(rate, wanted);
            if ready < start + LONGEST {
                if ready > start {
                    let mut early = bucket.clone();
                    let before = ready - Duration::from_nanos(1);
                    prop_assert!(early.fill(rate, u64::MAX, before) < wanted);
                }
                prop_assert!(bucket.fill(rate, u64::MAX, ready) >= wanted);
            }
        }
    }
}
