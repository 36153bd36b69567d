//! What a worker does, and how much time it has spent on each activity.

use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};
use std::time::Duration;

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// Waits for a job.
    Idle,
    /// Parses a request head.
    Parse,
    /// Runs the handler, and with it the back-end's delay.
    Handle,
    /// Writes the response or a refusal, and passes the connection on.
    Respond,
}

impl Activity {
    /// Every value, in the order in which a request meets them.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Parse, Self::Handle, Self::Respond];

    /// The label in metrics, JSON and on the page.
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Parse => "parse",
            Self::Handle => "handle",
            Self::Respond => "respond",
        }
    }
}

/// One worker's time, by activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerTimes {
    /// What it does now.
    pub activity: Activity,
    /// For how long it has been doing that.
    pub lasting: Duration,
    spent: [Duration; 4],
}

impl WorkerTimes {
    /// The time spent on an activity, including the current one.
    pub fn spent(&self, activity: Activity) -> Duration {
        self.spent[activity as usize]
    }

    /// The time that it had a job.
    pub fn busy(&self) -> Duration {
        Activity::ALL[1..].iter().map(|&activity| self.spent(activity)).sum()
    }
}

/// The clock that one worker writes and any thread reads: a sequence lock whose sequence number is
/// the moment at which the current activity began.
#[derive(Debug)]
pub(super) struct ActivityClock {
    /// The activity in the two lowest bits, above them the nanosecond at which it began.
    current: AtomicU64,
    /// Nanoseconds spent on each activity, without the current one.
    spent: [AtomicU64; 4],
}

/// The value of `current` while `spent` changes.
const CHANGING: u64 = u64::MAX;

impl ActivityClock {
    /// The clock of a worker that has been idle from the start.
    pub(super) fn new() -> Self {
        Self { current: AtomicU64::new(0), spent: [const { AtomicU64::new(0) }; 4] }
    }

    /// Changes to an activity at nanosecond `now`. Only the worker itself may call this.
    pub(super) fn enter(&self, activity: Activity, now: u64) {
        let before = self.current.load(Relaxed);
        // A worker that starts is idle already. It must not look busy even for the time of a
        // change: without a queue, an idle worker is the only room for a request.
        if activity == Activity::Idle && before & 3 == Activity::Idle as u64 {
            return;
        }
        self.current.store(CHANGING, Relaxed);
        fence(Release);
        let spent = &self.spent[(before & 3) as usize];
        spent.store(spent.load(Relaxed) + now.saturating_sub(before >> 2), Relaxed);
        self.current.store(now << 2 | activity as u64, Release);
    }

    /// What the worker does now.
    pub(super) fn activity(&self) -> Activity {
        Activity::ALL[(self.current.load(Relaxed) & 3) as usize]
    }

    /// True if the worker is idle, or does since nanosecond `since` or later what it does now.
    pub(super) fn is_quick(&self, since: u64) -> bool {
        let current = self.current.load(Relaxed);
        current & 3 == Activity::Idle as u64 || current >> 2 >= since
    }

    /// The times up to nanosecond `now`, and those of activities that have ended since.
    pub(super) fn read(&self, now: u64) -> WorkerTimes {
        loop {
            let before = self.current.load(Acquire);
            let mut spent: [u64; 4] = std::array::from_fn(|at| self.spent[at].load(Relaxed));
            fence(Acquire);
            if before == CHANGING || self.current.load(Relaxed) != before {
                // The worker may have been descheduled in the middle of a change.
                std::thread::yield_now();
                continue;
            }
            let activity = Activity::ALL[(before & 3) as usize];
            let lasting = now.saturating_sub(before >> 2);
            spent[activity as usize] += lasting;
            let lasting = Duration::from_nanos(lasting);
            return WorkerTimes { activity, lasting, spent: spent.map(Duration::from_nanos) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn each_activity_has_its_time() {
        let clock = ActivityClock::new();
        for (activity, now) in [
            (Activity::Parse, 10),
            (Activity::Handle, 11),
            (Activity::Respond, 31),
            (Activity::Idle, 34),
            (Activity::Parse, 40),
        ] {
            clock.enter(activity, now);
        }
        let times = clock.read(45);
        let spent = Activity::ALL.map(|activity| times.spent(activity).as_nanos());
        assert_eq!(spent, [16, 6, 20, 3]);
        assert_eq!((times.activity, times.lasting.as_nanos()), (Activity::Parse, 5));
        assert_eq!(times.busy().as_nanos(), 29);
    }

    /// Whenever it is read, the times add up to the whole time.
    #[test]
    fn no_time_is_lost_or_counted_twice() {
        let (clock, done) = (ActivityClock::new(), AtomicBool::new(false));
        let latest = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for now in 1..200_000 {
                    clock.enter(Activity::ALL[now as usize % 4], now);
                    latest.store(now, Release);
                }
                done.store(true, Release);
            });
            while !done.load(Acquire) {
                let now = latest.load(Acquire) + 1_000_000;
                let times = clock.read(now);
                let sum: Duration = Activity::ALL.iter().map(|&of| times.spent(of)).sum();
                assert_eq!(sum.as_nanos(), u128::from(now));
            }
        });
    }
}
