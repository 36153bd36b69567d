//! The memory and the threads of this process, as the system reports them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// The sampling interval.
const EVERY: Duration = Duration::from_millis(20);

/// Resident memory in KiB, and threads. `None` if the system does not report them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub resident: u64,
    pub threads: u64,
}

impl Usage {
    /// The current values.
    pub fn now() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self { resident: number("VmRSS:")?, threads: number("Threads:")? })
    }

    /// The maximum of each while `work` runs.
    pub fn most_during<T>(work: impl FnOnce() -> T) -> (T, Option<Self>) {
        let ended = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&ended);
        let watch = thread::spawn(move || {
            let mut most: Option<Self> = None;
            while !watched.load(SeqCst) {
                if let Some(now) = Self::now() {
                    let before = most.unwrap_or_default();
                    most = Some(Self {
                        resident: before.resident.max(now.resident),
                        threads: before.threads.max(now.threads),
                    });
                }
                thread::sleep(EVERY);
            }
            most
        });
        let done = work();
        ended.store(true, SeqCst);
        (done, watch.join().unwrap_or_default())
    }

    /// The increase since an earlier time.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            resident: self.resident.saturating_sub(earlier.resident),
            threads: self.threads.saturating_sub(earlier.threads),
        }
    }
}
