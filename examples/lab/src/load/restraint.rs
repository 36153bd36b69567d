//! What keeps a client from sending: a budget for its retries, or its own throttle.

use std::collections::VecDeque;
use std::time::Duration;

/// The parts of the throttle's window. It moves by one of them at a time.
const PARTS: u32 = 10;

/// Numbers of tokens that differ by less are equal: ten times .1 is not quite 1.
const ROUNDING: f64 = 1e-9;

/// A limit that a client sets itself. All requests of the client share it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Limit {
    /// None.
    #[default]
    None,
    /// Each success earns a part of a token, and each retry costs one token. Without a token, a
    /// failed try is the last one (gRPC, proposal A6, "Throttling retry attempts"; Finagle's
    /// `RetryBudget`). At the start the budget is full.
    Budget {
        /// Tokens for a success.
        per_success: f64,
        /// The most tokens.
        most: f64,
    },
    /// Client-side throttling: a try, including a first one, is not sent with the probability
    /// max(0, (requests - K accepts) / (requests + 1)), where both count over the last `window`
    /// (B. Beyer et al., Site Reliability Engineering, 2016, chapter 21). The request ends there.
    Throttle {
        /// K: tries per accepted try, above which the client throttles.
        ratio: f64,
        /// The time over which tries count.
        window: Duration,
        /// Seed of the random choices.
        seed: u64,
    },
}

impl Limit {
    /// A tenth of a token for a success, at most ten.
    pub const BUDGET: Self = Self::Budget { per_success: 0.1, most: 10.0 };

    /// Client-side throttling with K = 2, as in the book.
    pub const fn throttle(window: Duration, seed: u64) -> Self {
        Self::Throttle { ratio: 2.0, window, seed }
    }
}

/// A limit and its state.
#[derive(Debug, Clone)]
pub struct Restraint {
    limit: Limit,
    tokens: f64,
    /// The parts of the window in which there were tries.
    parts: VecDeque<Part>,
    random: fastrand::Rng,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    number: u128,
    requests: u64,
    accepts: u64,
}

impl Restraint {
    /// The state at the start.
    pub fn new(limit: Limit) -> Self {
        let (tokens, seed) = match limit {
            Limit::None => (0.0, 0),
            Limit::Budget { most, .. } => (most, 0),
            Limit::Throttle { seed, .. } => (0.0, seed),
        };
        let random = fastrand::Rng::with_seed(seed);
        Self { limit, tokens, parts: VecDeque::new(), random }
    }

    /// Whether a try may be sent at this time. Times must not decrease from call to call.
    pub fn admits(&mut self, now: Duration) -> bool {
        let Limit::Throttle { ratio, window, .. } = self.limit else { return true };
        let part = self.part(now, window);
        let (requests, accepts) = self.parts.iter().fold((0, 0), |(requests, accepts), part| {
            (requests + part.requests, accepts + part.accepts)
        });
        if let Some(last) = part.and_then(|at| self.parts.get_mut(at)) {
            last.requests += 1;
        }
        let (requests, accepts) = (requests as f64, accepts as f64);
        let refused = (requests - ratio * accepts) / (requests + 1.0);
        self.random.f64() >= refused
    }

    /// Whether a failed try may be followed by another one. If so, it is paid for.
    pub fn retries(&mut self) -> bool {
        let Limit::Budget { .. } = self.limit else { return true };
        let has_token = self.tokens >= 1.0 - ROUNDING;
        if has_token {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
        has_token
    }

    /// Records that a try succeeded at this time.
    pub fn succeeded(&mut self, now: Duration) {
        match self.limit {
            Limit::None => {}
            Limit::Budget { per_success, most } => {
                self.tokens = (self.tokens + per_success).min(most);
            }
            Limit::Throttle { window, .. } => {
                let part = self.part(now, window);
                if let Some(part) = part.and_then(|at| self.parts.get_mut(at)) {
                    part.accepts += 1;
                }
            }
        }
    }

    /// The index of the current part of the window. Forgets the parts that have left it.
    fn part(&mut self, now: Duration, window: Duration) -> Option<usize> {
        let number = now.as_nanos() / (window / PARTS).as_nanos().max(1);
        while self.parts.front().is_some_and(|part| part.number + u128::from(PARTS) <= number) {
            self.parts.pop_front();
        }
        if self.parts.back().is_none_or(|part| part.number < number) {
            self.parts.push_back(Part { number, requests: 0, accepts: 0 });
        }
        self.parts.len().checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_budget_pays_for_one_retry_in_ten_successes() {
        let mut restraint = Restraint::new(Limit::BUDGET);
        assert_eq!((0..100).filter(|_| restraint.retries()).count(), 10, "it is full at first");
        for _ in 0..9 {
            restraint.succeeded(SECOND);
        }
        assert!(!restraint.retries());
        restraint.succeeded(SECOND);
        assert!(restraint.retries() && !restraint.retries());
        for _ in 0..1000 {
            restraint.succeeded(SECOND);
        }
        assert_eq!((0..100).filter(|_| restraint.retries()).count(), 10, "never more than ten");
        assert!(restraint.admits(SECOND), "a budget is for retries only");
    }

    /// While the server accepts a tries out of n that the client would send, the client sends
    /// about K a of them.
    #[test]
    fn a_throttled_client_sends_twice_what_is_accepted() {
        let mut restraint = Restraint::new(Limit::throttle(SECOND, 7));
        let mut sent = 0;
        for number in 0..20_000_u32 {
            let now = SECOND * number / 1000;
            let is_sent = restraint.admits(now);
            // A tenth of the offered load is accepted, evenly in time.
            if number % 10 == 0 {
                restraint.succeeded(now);
            }
            sent += u32::from(is_sent && number >= 10_000);
        }
        let share = f64::from(sent) / 10_000.0;
        assert!((share - 0.2).abs() < 0.02, "{share}");
    }

    #[test]
    fn a_throttled_client_sends_all_while_half_of_it_is_accepted() {
        let mut restraint = Restraint::new(Limit::throttle(SECOND, 7));
        for number in 0..10_000_u32 {
            let now = SECOND * number / 1000;
            if number % 2 == 0 {
                restraint.succeeded(now);
            }
            assert!(restraint.admits(now), "{number}");
        }
    }

    #[test]
    fn a_throttle_forgets_what_left_its_window() {
        let mut restraint = Restraint::new(Limit::throttle(SECOND, 7));
        let refused = (0..1000).filter(|_| !restraint.admits(SECOND)).count();
        assert!(refused > 900, "nothing is accepted: {refused}");
        assert!(restraint.admits(3 * SECOND), "the first try after a pause");
        assert!(restraint.parts.len() <= PARTS as usize);
    }

    #[test]
    fn without_a_limit_everything_is_sent() {
        let mut restraint = Restraint::new(Limit::None);
        assert!((0..100).all(|_| restraint.admits(SECOND) && restraint.retries()));
    }
}
