//! When to log that connections are refused: anybody can cause that, so most are only counted.

use crate::config;
use std::time::Instant;

/// Connections that were refused for the PROXY protocol, as far as the log is concerned.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// No line before this time.
    quiet_until: Option<Instant>,
    /// Refusals since the last line.
    untold: u64,
}

impl Refusals {
    /// Counts a refusal. If it is time for a line, returns how many there were since the last one.
    pub(super) fn count(&mut self, now: Instant) -> Option<u64> {
        if self.quiet_until.is_some_and(|until| now < until) {
            self.untold += 1;
            return None;
        }
        self.quiet_until = Some(now + config::PROXY_LOG_PAUSE);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_once_in_a_while() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.count(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(refusals.count(start), None);
        }
        assert_eq!(refusals.count(start + config::PROXY_LOG_PAUSE), Some(1000));
        assert_eq!(refusals.count(start + config::PROXY_LOG_PAUSE), None);
        assert_eq!(refusals.count(start + 3 * config::PROXY_LOG_PAUSE), Some(1));
    }
}
