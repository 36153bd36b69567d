//! How well the generator kept its schedule: whether a run measured the server or the generator.

use super::{Answer, Failure};
use crate::hdr::Times;
use crate::moments::Moments;
use std::fmt;
use std::time::Duration;

/// The p99 of the lateness may be at most this share of the time that it is compared with.
const LATENESS_SHARE: f64 = 0.05;

/// The tolerated relative error of the mean gap.
const MEAN_ERROR: f64 = 0.01;

/// The tolerated error of the squared coefficient of variation of the gaps. A wait is proportional
/// to it: (Ca^2 + Cs^2) / 2 (A. O. Allen, Probability, Statistics, and Queueing Theory, 1990,
/// section 5.3; the Allen-Cunneen approximation).
const VARIATION_ERROR: f64 = 0.05;

/// With fewer gaps, their statistics are not checked.
const GAPS_LEAST: u64 = 100;

/// The actual behaviour of the generator, compared with its schedule.
#[derive(Debug, Clone)]
pub struct Conduct {
    has_arrivals: bool,
    lateness: Times,
    intended: Gaps,
    actual: Gaps,
    no_descriptors: u64,
    no_ports: u64,
    reconnects: u64,
    length: Duration,
}

/// A reason why a run is invalid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spoilt {
    /// Requests started too late.
    Late {
        /// The 99th percentile of the lateness.
        p99: Duration,
        /// The tolerated lateness.
        most: Duration,
    },
    /// The mean gap between starts was wrong.
    Mean {
        /// The mean gap between actual starts.
        actual: Duration,
        /// The mean gap between intended starts.
        intended: Duration,
    },
    /// The gaps varied too much or too little.
    Variation {
        /// The squared coefficient of variation of the actual gaps.
        actual: f64,
        /// That of the intended gaps.
        intended: f64,
    },
    /// The process ran out of descriptors for connections.
    Descriptors {
        /// The number of failed tries.
        tries: u64,
    },
    /// The machine ran out of ports for connections.
    Ports {
        /// The number of failed tries.
        tries: u64,
    },
}

impl fmt::Display for Spoilt {
    /// What happened, and in parentheses what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late { p99, most } => write!(
                f,
                "one request in a hundred started {p99:.2?} or more after its intended start; the \
                 measured times allow {most:.2?} (stop other programs, or reduce the load)"
            ),
            Self::Mean { actual, intended } => write!(
                f,
                "the mean gap between starts was {actual:.2?} instead of {intended:.2?} \
                 (stop other programs, or reduce the load)"
            ),
            Self::Variation { actual, intended } => write!(
                f,
                "the squared variation of the gaps between starts was {actual:.2} instead of \
                 {intended:.2} (stop other programs, or reduce the load)"
            ),
            Self::Descriptors { tries } => write!(
                f,
                "{tries} tries found no free descriptor (raise the limit with ulimit -n, or use \
                 fewer connections)"
            ),
            Self::Ports { tries } => write!(
                f,
                "{tries} tries found no free port (keep connections open, or open fewer per minute)"
            ),
        }
    }
}

impl Conduct {
    pub(super) fn new(has_arrivals: bool) -> Self {
        Self {
            has_arrivals,
            lateness: Times::default(),
            intended: Gaps::default(),
            actual: Gaps::default(),
            no_descriptors: 0,
            no_ports: 0,
            reconnects: 0,
            length: Duration::ZERO,
        }
    }

    pub(super) fn began(&mut self, intended: Duration, now: Duration) {
        self.lateness.record(now.saturating_sub(intended));
        self.intended.add(intended);
        self.actual.add(now);
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Failed(Failure::NoDescriptors) => self.no_descriptors += 1,
            Answer::Failed(Failure::NoPorts) => self.no_ports += 1,
            _ => {}
        }
    }

    pub(super) fn reconnected(&mut self) {
        self.reconnects += 1;
    }

    pub(super) fn ran(&mut self, length: Duration) {
        self.length = length;
    }

    /// How much later than intended the requests started.
    pub fn lateness(&self) -> &Times {
        &self.lateness
    }

    /// Requests that were sent again on a new connection because the server had closed the kept
    /// one. They do not count as tries.
    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// The time from the start of the load to the end of its last request.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// The longest tolerated lateness, and the longest tolerated wait for a connection, of a run
    /// that measures times as long as this one.
    pub fn tolerance(measured: Duration) -> Duration {
        measured.mul_f64(LATENESS_SHARE)
    }

    /// The reasons why the run is invalid for a server with this service time, or with this
    /// latency. Empty for a valid run.
    ///
    /// The variation is not checked if the gaps are shorter than the tolerated lateness: requests
    /// that start in bunches of such a short time meet the same queue.
    pub fn spoilt(&self, service: Duration) -> Vec<Spoilt> {
        Self::spoilt_together(std::slice::from_ref(self), service)
    }

    /// The same for the parts of one load, whose requests meet in one queue: the lateness is that
    /// of all requests, and the gaps are those of each part.
    pub fn spoilt_together(parts: &[Self], service: Duration) -> Vec<Spoilt> {
        let mut lateness = Times::default();
        parts.iter().for_each(|part| lateness.add(&part.lateness));
        let p99 = lateness.quantile(0.99).unwrap_or_default();
        let most = Self::tolerance(service);
        let late = (p99 > most).then_some(Spoilt::Late { p99, most });
        late.into_iter().chain(parts.iter().flat_map(|part| part.faults(most))).collect()
    }

    /// What is wrong with the gaps, and what the system refused, if requests may be `most` late.
    fn faults(&self, most: Duration) -> Vec<Spoilt> {
        let mut reasons = Vec::new();
        if self.has_arrivals && self.intended.lengths.count() >= GAPS_LEAST {
            let gaps = [&self.actual, &self.intended].map(|gaps| gaps.lengths);
            let [actual, intended] = gaps.map(|gaps| gaps.mean());
            if (actual - intended).abs() > MEAN_ERROR * intended {
                let [actual, intended] = [actual, intended].map(Duration::from_secs_f64);
                reasons.push(Spoilt::Mean { actual, intended });
            }
            let is_judged = Duration::from_secs_f64(intended) >= most;
            let [actual, intended] = gaps.map(|gaps| gaps.squared_variation());
            if is_judged && (actual - intended).abs() > VARIATION_ERROR * intended.max(1.0) {
                reasons.push(Spoilt::Variation { actual, intended });
            }
        }
        if self.no_descriptors > 0 {
            reasons.push(Spoilt::Descriptors { tries: self.no_descriptors });
        }
        if self.no_ports > 0 {
            reasons.push(Spoilt::Ports { tries: self.no_ports });
        }
        reasons
    }
}

/// The gaps between points in time.
#[derive(Debug, Clone, Default)]
struct Gaps {
    last: Option<Duration>,
    lengths: Moments,
}

impl Gaps {
    fn add(&mut self, at: Duration) {
        if let Some(last) = self.last.replace(at) {
            self.lengths.add(at.saturating_sub(last).as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::{Arrivals, Stop};

    const SERVICE: Duration = Duration::from_millis(10);

    /// The reasons for a run with this lateness of each request.
    fn reasons(has_arrivals: bool, lateness: impl Fn(u32) -> Duration) -> Vec<Spoilt> {
        let mut conduct = Conduct::new(has_arrivals);
        let starts = Arrivals::poisson(100.0, 1).starts(Stop::Count(1000));
        for (number, start) in (0..).zip(starts) {
            conduct.began(start, start + lateness(number));
        }
        conduct.spoilt(SERVICE)
    }

    #[test]
    fn a_valid_run_has_no_reasons() {
        assert_eq!(reasons(true, |_| Duration::from_micros(60)), []);
        // Fewer than one late request in a hundred is tolerated.
        let few = |number| if number % 150 == 0 { SERVICE } else { Duration::ZERO };
        assert_eq!(reasons(true, few), []);
    }

    #[test]
    fn lateness_is_a_reason() {
        let often = |number| if number % 50 == 0 { SERVICE } else { Duration::ZERO };
        let found = reasons(false, often);
        let [Spoilt::Late { p99, most }] = found[..] else { panic!("{found:?}") };
        assert!(p99 >= SERVICE && most == SERVICE / 20);
        let said = found[0].to_string();
        let expected = format!(
            "one request in a hundred started {p99:.2?} or more after its intended start; the \
             measured times allow 500.00µs"
        );
        assert!(said.starts_with(&expected), "{said}");
    }

    /// One late request of a part that has few is none in a hundred of all.
    #[test]
    fn the_lateness_of_parts_is_that_of_all_requests() {
        let part = |requests: u32, late: Duration| {
            let mut part = Conduct::new(false);
            for number in 0..requests {
                let lateness = if number == 0 { late } else { Duration::ZERO };
                part.began(SERVICE * number, SERVICE * number + lateness);
            }
            part
        };
        let (few, many) = (part(20, SERVICE), part(1000, Duration::ZERO));
        assert!(matches!(few.spoilt(SERVICE)[..], [Spoilt::Late { .. }]));
        assert_eq!(Conduct::spoilt_together(&[few.clone(), many], SERVICE), []);
        let both = Conduct::spoilt_together(&[few.clone(), few], SERVICE);
        assert!(matches!(both[..], [Spoilt::Late { .. }]), "{both:?}");
    }

    /// A generator that falls behind does not offer the intended load.
    #[test]
    fn a_longer_mean_gap_is_a_reason() {
        let slowing = |number| Duration::from_micros(200) * number;
        let found = reasons(true, slowing);
        let mean = found.iter().find(|reason| matches!(reason, Spoilt::Mean { .. }));
        let Some(Spoilt::Mean { actual, intended }) = mean else { panic!("{found:?}") };
        let slower = *actual - *intended;
        assert!(slower.abs_diff(Duration::from_micros(200)) < Duration::from_micros(5));
        assert!(
            !reasons(false, slowing).iter().any(|reason| matches!(reason, Spoilt::Mean { .. }))
        );
    }

    /// Bunched starts are a different process, even if the mean is the same.
    #[test]
    fn another_variation_is_a_reason() {
        let mut conduct = Conduct::new(true);
        for number in 0..1000u32 {
            conduct.began(SERVICE * number, SERVICE * (number / 10 * 10));
        }
        let found = conduct.spoilt(20 * SERVICE);
        let [Spoilt::Variation { actual, intended }] = found[..] else { panic!("{found:?}") };
        // A gap of 10 and nine gaps of 0: the squared variation is 9.
        assert!((actual - 9.0).abs() < 0.2 && intended.abs() < 1e-9, "{actual} {intended}");
        // With gaps of 0.1 % of the service time, the variation has no effect.
        assert_eq!(conduct.spoilt(1000 * SERVICE), []);
    }

    /// A shortage of descriptors or ports on this side is not a failure of the server.
    #[test]
    fn a_shortage_of_descriptors_or_ports_is_a_reason() {
        use rustix::io::Errno;
        let mut conduct = Conduct::new(false);
        for errno in [Errno::ADDRNOTAVAIL, Errno::MFILE, Errno::ADDRNOTAVAIL, Errno::CONNREFUSED] {
            conduct.answered(Answer::Failed(Failure::of(&errno.into())));
        }
        let found = conduct.spoilt(SERVICE);
        assert_eq!(found, [Spoilt::Descriptors { tries: 1 }, Spoilt::Ports { tries: 2 }]);
        assert!(found[1].to_string().contains("no free port (keep connections"));
    }
}
