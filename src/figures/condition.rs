//! What is going on, in one plain sentence.

use super::Figures;
use std::fmt;
use std::time::Duration;

/// From this share of what the pool carries on it counts as saturated: nothing tells a load just
/// below the capacity from one just above while it lasts for seconds only.
const SATURATED: f64 = 0.98;

/// From this share on waits grow fast: at .8 of the capacity of one worker a request waits for
/// four services on average (M/M/1: rho / (1 - rho)).
const CLOSE: f64 = 0.8;

/// Busy at least this much of their time, workers are the bottleneck.
const BUSY: f64 = 0.9;

/// A pool's condition over a stretch of time. It displays as a sentence that says what to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// Its kind.
    pub kind: ConditionKind,
    workers: usize,
    elapsed: Duration,
    offered: f64,
    served: f64,
    busy: f64,
    refused: f64,
    capacity: Option<f64>,
    service: Duration,
    waiting: usize,
}

/// The kinds of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionKind {
    /// Nobody asked for anything.
    Idle,
    /// There is room for more.
    AtEase,
    /// It carries all, and not much more.
    NearSaturation,
    /// A burst did not fit into the queue, though the workers have time.
    Overflowing,
    /// More comes than it carries.
    Saturated,
}

impl ConditionKind {
    /// The word that metrics and pages use.
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::AtEase => "at ease",
            Self::NearSaturation => "close to saturation",
            Self::Overflowing => "overflowing",
            Self::Saturated => "saturated",
        }
    }
}

impl Condition {
    pub(super) fn of(figures: &Figures) -> Self {
        let busy = figures.utilisation.total();
        let load = figures.load().unwrap_or(0.0).max(busy);
        let kind = if figures.offered == 0.0 && busy == 0.0 {
            ConditionKind::Idle
        } else if busy >= BUSY
            && (figures.refused > 0.0 || (load >= SATURATED && figures.waiting > 0))
        {
            ConditionKind::Saturated
        } else if figures.refused > 0.0 {
            ConditionKind::Overflowing
        } else if load >= CLOSE {
            ConditionKind::NearSaturation
        } else {
            ConditionKind::AtEase
        };
        Self {
            kind,
            workers: figures.workers,
            elapsed: figures.elapsed,
            offered: figures.offered,
            served: figures.served,
            busy,
            refused: figures.refused_share(),
            capacity: figures.capacity,
            service: figures.service.mean.unwrap_or_default(),
            waiting: figures.waiting,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, busy, refused, waiting, .. } = *self;
        let (word, offered) = (kind.label(), rate(self.offered));
        let pool = match self.workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        };
        let (carry, keep) =
            if self.workers == 1 { ("carries", "keeps") } else { ("carry", "keep") };
        let capacity = rate(self.capacity.unwrap_or(self.served));
        let service = time(self.service);
        match kind {
            ConditionKind::Idle => {
                write!(f, "{word}: no requests in the last {} s", self.elapsed.as_secs().max(1))
            }
            ConditionKind::AtEase | ConditionKind::NearSaturation if self.capacity.is_none() => {
                write!(f, "{word}: nothing was finished yet; {pool} {keep} busy")
            }
            ConditionKind::AtEase | ConditionKind::NearSaturation if self.offered == 0.0 => {
                write!(f, "{word}: nothing new came; {pool} {keep} on with what came before")
            }
            ConditionKind::AtEase => {
                let room = self.capacity.unwrap_or_default() / self.offered.max(f64::MIN_POSITIVE);
                let busy = percent(busy);
                write!(
                    f,
                    "{word}: {offered} requests/s take {busy} of {pool}, which {carry} {capacity} \
                     at {service} each: room for {} times as many",
                    rate(room)
                )
            }
            ConditionKind::NearSaturation => write!(
                f,
                "{word}: {offered} requests/s of the {capacity} that {pool} {carry} at {service} \
                 each; waits grow fast from here"
            ),
            ConditionKind::Overflowing => write!(
                f,
                "{word}: {} of the requests were refused though {pool} had time on the average: \
                 they came in bursts",
                percent(refused)
            ),
            ConditionKind::Saturated if self.capacity.is_none() => {
                write!(f, "{word}: {pool} {keep} busy and finished nothing yet; {waiting} wait")
            }
            ConditionKind::Saturated => {
                write!(f, "{word}: {capacity} requests/s is the most {pool} {carry} at {service}")?;
                match refused {
                    0.0 => write!(f, "; {waiting} wait")?,
                    refused => write!(f, "; {} are refused", percent(refused))?,
                }
                write!(f, "; add workers or cut the delay")
            }
        }
    }
}

/// A rate to three digits, without zeros that say nothing.
pub fn rate(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate >= 10.0 => trimmed(format!("{rate:.1}")),
        rate => trimmed(format!("{rate:.2}")),
    }
}

/// A time to three digits, in the unit that fits.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        seconds if seconds >= 1.0 => (seconds, "s"),
        seconds if seconds >= 1e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "us"),
    };
    format!("{} {unit}", rate(value))
}

/// A share in whole percent, but never 0 % or 100 % of what is not that.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        percent if percent > 0.0 && percent < 1.0 => "under 1 %".to_owned(),
        percent if percent < 100.0 && percent > 99.0 => "over 99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

fn trimmed(number: String) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Times, Utilisation};

    fn figures(workers: usize, offered: f64, refused: f64, waiting: usize) -> Figures {
        let service = Duration::from_millis(50);
        let capacity = workers as f64 / service.as_secs_f64();
        let served = (offered - refused).min(capacity);
        let mean = (served > 0.0).then_some(service);
        Figures {
            elapsed: Duration::from_secs(5),
            workers,
            offered,
            served,
            refused,
            limited: 0.0,
            utilisation: Utilisation { delay: served / capacity, ..Utilisation::default() },
            wait: Times::default(),
            service: Times { mean, ..Times::default() },
            capacity: mean.map(|_| capacity),
            expected_wait: None,
            little: None,
            waiting,
        }
    }

    #[test]
    fn each_condition_has_its_sentence() {
        let rows = [
            (figures(2, 0.0, 0.0, 0), "idle: no requests in the last 5 s"),
            (
                figures(2, 12.0, 0.0, 0),
                "at ease: 12 requests/s take 30 % of 2 workers, which carry 40 at 50 ms each: room \
                 for 3.33 times as many",
            ),
            (
                figures(1, 18.0, 0.0, 3),
                "close to saturation: 18 requests/s of the 20 that 1 worker carries at 50 ms each; \
                 waits grow fast from here",
            ),
            (
                figures(2, 20.0, 5.0, 0),
                "overflowing: 25 % of the requests were refused though 2 workers had time on the \
                 average: they came in bursts",
            ),
            (
                figures(2, 102.6, 62.6, 8),
                "saturated: 40 requests/s is the most 2 workers carry at 50 ms; 61 % are refused; \
                 add workers or cut the delay",
            ),
            (
                figures(2, 44.0, 0.0, 17),
                "saturated: 40 requests/s is the most 2 workers carry at 50 ms; 17 wait; add \
                 workers or cut the delay",
            ),
        ];
        for (figures, sentence) in rows {
            assert_eq!(figures.condition().to_string(), sentence);
        }
    }

    #[test]
    fn a_pool_that_has_finished_nothing_yet() {
        let mut busy = figures(2, 0.0, 0.0, 7);
        busy.utilisation.delay = 1.0;
        let mut last = figures(2, 0.0, 0.0, 0);
        (last.utilisation.delay, last.capacity) = (0.2, Some(40.0));
        let going_on = "at ease: nothing new came; 2 workers keep on with what came before";
        assert_eq!(last.condition().to_string(), going_on);
        let sentence = "saturated: 2 workers keep busy and finished nothing yet; 7 wait";
        assert_eq!(busy.condition().to_string(), sentence);
    }

    #[test]
    fn numbers_are_short() {
        let rates = [(0.0, "0"), (0.256, "0.26"), (9.996, "10"), (40.0, "40"), (1234.5, "1234")];
        for (value, shown) in rates {
            assert_eq!(rate(value), shown);
        }
        let micros = Duration::from_micros;
        let times = [(7, "7 us"), (1_500, "1.5 ms"), (50_000, "50 ms"), (2_000_000, "2 s")];
        for (value, shown) in times {
            assert_eq!(time(micros(value)), shown);
        }
        for (value, shown) in [(0.0, "0 %"), (0.001, "under 1 %"), (0.999, "over 99 %")] {
            assert_eq!(percent(value), shown);
        }
    }
}
