//! Figures of many outcomes: counts, rates, and percentiles that include failures.

use super::{Answer, Outcome};
use cws::Distribution;
use std::collections::BTreeMap;
use std::time::Duration;

/// The figures of many requests.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    answers: BTreeMap<Answer, u64>,
    successes: Distribution,
    service_clock: Distribution,
    tries: u64,
    bytes: u64,
}

impl Summary {
    /// Adds a request.
    pub fn add(&mut self, outcome: &Outcome) {
        *self.answers.entry(outcome.answer).or_default() += 1;
        self.tries += u64::from(outcome.tries);
        self.bytes += outcome.bytes;
        if outcome.is_success() {
            self.successes.record(outcome.latency());
            self.service_clock.record(outcome.service_clock().unwrap_or_default());
        }
    }

    /// Adds all requests of another summary.
    pub fn merge(&mut self, other: &Self) {
        for (&answer, &count) in &other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        self.successes.add(&other.successes);
        self.service_clock.add(&other.service_clock);
        self.tries += other.tries;
        self.bytes += other.bytes;
    }

    /// The number of requests, including failed ones.
    pub fn count(&self) -> u64 {
        self.answers.values().sum()
    }

    /// The number of requests for each answer.
    pub fn answers(&self) -> &BTreeMap<Answer, u64> {
        &self.answers
    }

    /// The number of complete responses with a status below 400.
    pub fn success_count(&self) -> u64 {
        self.successes.count()
    }

    /// The latencies of the successful requests, from the intended start.
    pub fn successes(&self) -> &Distribution {
        &self.successes
    }

    /// The same, measured from the start of the last try.
    pub fn service_clock(&self) -> &Distribution {
        &self.service_clock
    }

    /// The latency within which this fraction of *all* requests was answered. Failed requests count
    /// as the slowest; `None` if the fraction includes failures.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let (all, answered) = (self.count() as f64, self.successes.count() as f64);
        // The rank, from 1, in the sample of all requests. Half a rank less finds the same one in
        // spite of rounding errors.
        let rank = (all * quantile).ceil().max(1.0);
        if rank > answered {
            return None;
        }
        self.successes.quantile((rank - 0.5) / answered)
    }

    /// The number of tries, including the first ones.
    pub fn tries(&self) -> u64 {
        self.tries
    }

    /// Bytes of the last answers.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, ServerTiming};
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn outcome(answer: Answer, latency: Duration) -> Outcome {
        Outcome {
            intended: MILLI,
            lateness: Duration::ZERO,
            connection_wait: Duration::ZERO,
            begun: Some(2 * MILLI),
            connected: None,
            first_byte: None,
            ended: MILLI + latency,
            answer,
            tries: 2,
            bytes: 10,
            server: ServerTiming::default(),
            message: 0,
        }
    }

    /// Percentiles of 1 to 100 ms; all after the first `successes` are failures.
    fn summary(successes: u32) -> Summary {
        let mut summary = Summary::default();
        for millis in 1..=100 {
            let failed = millis > successes;
            let answer =
                if failed { Answer::Failed(Failure::Refused) } else { Answer::Status(200) };
            summary.add(&outcome(answer, if failed { MILLI } else { MILLI * millis }));
        }
        summary
    }

    fn close(time: Option<Duration>, millis: u32) -> bool {
        let expected = MILLI * millis;
        time.is_some_and(|time| time.abs_diff(expected) <= expected / 100)
    }

    #[test]
    fn failures_count_as_the_slowest_requests() {
        let all = summary(100);
        let most = summary(95);
        for (quantile, millis) in [(0.0, 1), (0.01, 1), (0.5, 50), (0.945, 95), (0.95, 95)] {
            assert!(close(all.quantile(quantile), millis), "{quantile}");
            assert!(close(most.quantile(quantile), millis), "{quantile}");
        }
        assert!(close(all.quantile(0.99), 99));
        assert_eq!(most.quantile(0.99), None);
        assert_eq!(most.quantile(0.951), None);
        assert_eq!(summary(0).quantile(0.5), None);
        assert_eq!(Summary::default().quantile(0.5), None);
        assert_eq!((most.count(), most.success_count()), (100, 95));
        assert_eq!((most.tries(), most.bytes()), (200, 1000));
        assert_eq!(most.answers()[&Answer::Failed(Failure::Refused)], 5);
    }

    #[test]
    fn merging_gives_the_same_as_adding_all_to_one() {
        let [mut merged, mut one] = [Summary::default(), Summary::default()];
        let mut parts = [Summary::default(), Summary::default(), Summary::default()];
        for number in 0..3000u32 {
            // Make the parts as different as possible.
            let latency = Duration::from_micros(u64::from(number).pow(2) + 1);
            let part = (number / 1000) as usize;
            parts[part].add(&outcome(Answer::Status(200), latency));
            one.add(&outcome(Answer::Status(200), latency));
        }
        parts.iter().for_each(|part| merged.merge(part));
        assert_eq!(merged.answers(), one.answers());
        for quantile in [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(merged.quantile(quantile), one.quantile(quantile), "{quantile}");
        }
        assert_eq!(merged.successes().mean(), one.successes().mean());
        assert_eq!(merged.service_clock().sum(), one.service_clock().sum());
    }
}
