//! Verdicts: what a check says, and how often it is wrong.
//!
//! A claim about one event holds or fails. A claim about a mean over independent runs rests on
//! chance, and its verdict has three values. It holds if an interval around the mean of the runs is
//! on the right side of the limit, at a confidence of [`HOLDS`]. It fails if the interval at a
//! confidence of 1 - [`FALSE_ALARM`] is on the wrong side. Between the two, the runs show nothing.
//! So a claim that is true fails in at most one of a thousand runs of a program.

use crate::moments::Moments;
use crate::student;

/// The largest probability that a true claim about a mean fails.
pub const FALSE_ALARM: f64 = 0.001;

/// The confidence with which a mean must be on the right side of its limit.
pub const HOLDS: f64 = 0.975;

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The claim holds.
    Ok,
    /// The claim fails.
    Fail,
    /// The machine disturbed the measurement, so that it shows nothing.
    Spoilt,
    /// The runs differ so much that they show nothing.
    Unclear,
}

/// A claim and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The claim, with the measured figures.
    pub what: String,
    /// The verdict.
    pub verdict: Verdict,
}

/// The findings of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    all: Vec<Finding>,
}

/// The interval in which the mean is at this one-sided confidence on each side, if the values are
/// independent and about normal.
fn interval(mean: &Moments, confidence: f64) -> (f64, f64) {
    let count = mean.count() as f64;
    let freedom = mean.count().saturating_sub(1);
    let half = match freedom {
        0 => f64::INFINITY,
        // The sample variance divides by the degrees of freedom.
        _ => student::quantile(confidence, freedom) * (mean.variance() / freedom as f64).sqrt(),
    };
    if count == 0.0 { (f64::NEG_INFINITY, half) } else { (mean.mean() - half, mean.mean() + half) }
}

/// The verdict for intervals of the two confidences, where `is_within` tells whether the whole
/// interval is on the right side, and `is_beyond` whether it is on the wrong one.
fn verdict(
    mean: &Moments,
    is_within: impl Fn(f64, f64) -> bool,
    is_beyond: impl Fn(f64, f64) -> bool,
) -> Verdict {
    let (low, high) = interval(mean, HOLDS);
    if is_within(low, high) {
        return Verdict::Ok;
    }
    let (low, high) = interval(mean, 1.0 - FALSE_ALARM);
    if is_beyond(low, high) { Verdict::Fail } else { Verdict::Unclear }
}

/// The verdict on several claims together.
fn worst(each: impl Iterator<Item = Verdict>) -> Verdict {
    let rank = |of: &Verdict| match of {
        Verdict::Ok => 0,
        Verdict::Unclear => 1,
        Verdict::Spoilt => 2,
        Verdict::Fail => 3,
    };
    each.max_by_key(rank).unwrap_or(Verdict::Unclear)
}

impl Findings {
    /// Adds a finding.
    pub fn add(&mut self, what: impl Into<String>, verdict: Verdict) {
        self.all.push(Finding { what: what.into(), verdict });
    }

    /// Adds all findings of another list.
    pub fn extend(&mut self, others: Self) {
        self.all.extend(others.all);
    }

    /// All findings in order.
    pub fn all(&self) -> &[Finding] {
        &self.all
    }

    /// Whether any finding has this verdict.
    pub fn has(&self, verdict: Verdict) -> bool {
        self.all.iter().any(|finding| finding.verdict == verdict)
    }

    /// A claim that does not rest on chance, or a mean whose interval is part of the claim.
    pub fn check(&mut self, what: impl Into<String>, holds: bool) {
        self.add(what, if holds { Verdict::Ok } else { Verdict::Fail });
    }

    /// The mean over runs is at least this.
    pub fn least(&mut self, what: impl Into<String>, mean: &Moments, least: f64) {
        self.add(what, verdict(mean, |low, _| low >= least, |_, high| high < least));
    }

    /// The mean over runs is at most this.
    pub fn most(&mut self, what: impl Into<String>, mean: &Moments, most: f64) {
        self.add(what, verdict(mean, |_, high| high <= most, |low, _| low > most));
    }

    /// One mean is larger than another one.
    pub fn more(&mut self, what: impl Into<String>, larger: &Moments, smaller: &Moments) {
        let is_more = |confidence| interval(larger, confidence).0 > interval(smaller, confidence).1;
        let is_less = |confidence| interval(larger, confidence).1 < interval(smaller, confidence).0;
        let verdict = match (is_more(HOLDS), is_less(1.0 - FALSE_ALARM)) {
            (true, _) => Verdict::Ok,
            (false, true) => Verdict::Fail,
            (false, false) => Verdict::Unclear,
        };
        self.add(what, verdict);
    }

    /// Each of these means is within `off` of a value.
    pub fn near_of(&mut self, what: impl Into<String>, means: &[Moments], value: f64, off: f64) {
        let (least, most) = (value - off, value + off);
        let is_within = |low, high| low >= least && high <= most;
        let each =
            means.iter().map(|of| verdict(of, is_within, |low, high| low > most || high < least));
        self.add(what, worst(each));
    }

    /// Each of these means is at most this. Each has the stated rate of false alarms.
    pub fn most_of(&mut self, what: impl Into<String>, means: &[Moments], most: f64) {
        let each = means.iter().map(|of| verdict(of, |_, high| high <= most, |low, _| low > most));
        self.add(what, worst(each));
    }

    /// Each of these means is at least this.
    pub fn least_of(&mut self, what: impl Into<String>, means: &[Moments], least: f64) {
        let each =
            means.iter().map(|of| verdict(of, |low, _| low >= least, |_, high| high < least));
        self.add(what, worst(each));
    }

    /// The mean over runs is within `off` of a value. It may deviate on either side, so each side
    /// gets half of the probability of a false alarm, which is more than it needs: the mean cannot
    /// be on both sides.
    pub fn near(&mut self, what: impl Into<String>, mean: &Moments, value: f64, off: f64) {
        let (least, most) = (value - off, value + off);
        let is_within = |low, high| low >= least && high <= most;
        self.add(what, verdict(mean, is_within, |low, high| low > most || high < least));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(judge: impl Fn(&mut Findings)) -> Verdict {
        let mut findings = Findings::default();
        judge(&mut findings);
        findings.all()[0].verdict
    }

    #[test]
    fn a_mean_is_judged_by_its_intervals() {
        let mean: Moments = [0.9, 1.0, 1.1].into_iter().collect();
        let (low, high) = interval(&mean, HOLDS);
        assert!((high - mean.interval().1).abs() < 1e-3);
        let (lowest, highest) = interval(&mean, 1.0 - FALSE_ALARM);
        let least = |limit| of(|findings| findings.least("", &mean, limit));
        let most = |limit| of(|findings| findings.most("", &mean, limit));
        assert_eq!([least(low), most(high)], [Verdict::Ok; 2]);
        assert_eq!([least(1.0), most(1.0)], [Verdict::Unclear; 2]);
        // Beyond the limit, but not so far that it cannot be chance.
        assert_eq!([least(high + 0.01), most(low - 0.01)], [Verdict::Unclear; 2]);
        assert_eq!([least(highest + 0.01), most(lowest - 0.01)], [Verdict::Fail; 2]);
        let near = |value, off| of(|findings| findings.near("", &mean, value, off));
        assert_eq!(near(1.0, 0.3), Verdict::Ok);
        assert_eq!(near(1.0, 0.1), Verdict::Unclear);
        assert_eq!([near(highest + 1.0, 0.9), near(lowest - 1.0, 0.9)], [Verdict::Fail; 2]);
        let all = |limit| of(|findings| findings.most_of("", &[mean, mean], limit));
        assert_eq!(
            [all(high), all(1.0), all(lowest - 0.01)],
            [Verdict::Ok, Verdict::Unclear, Verdict::Fail]
        );
        assert_eq!(of(|findings| findings.least_of("", &[], 1.0)), Verdict::Unclear);
        let apart: Moments = [1.9, 2.0, 2.1].into_iter().collect();
        let far: Moments = [11.9, 12.0, 12.1].into_iter().collect();
        let more = |one: &Moments, other: &Moments| of(|findings| findings.more("", one, other));
        assert_eq!([more(&apart, &mean), more(&mean, &far)], [Verdict::Ok, Verdict::Fail]);
        assert_eq!(more(&mean, &apart), Verdict::Unclear, "at the larger confidence");
        let near = |off| of(|findings| findings.near_of("", &[mean, mean], 1.0, off));
        assert_eq!([near(0.3), near(0.1)], [Verdict::Ok, Verdict::Unclear]);
        // A single run has no interval.
        let one: Moments = [1.0].into_iter().collect();
        assert_eq!(of(|findings| findings.least("", &one, 0.5)), Verdict::Unclear);
        assert_eq!(of(|findings| findings.least("", &one, 2.0)), Verdict::Unclear);
    }

    /// On the limit itself, where false alarms are most frequent.
    #[test]
    fn a_true_claim_fails_in_one_of_a_thousand_runs() {
        let mut random = fastrand::Rng::with_seed(1);
        // The sum of twelve uniform numbers is about normal, with mean 6.
        let normal = |random: &mut fastrand::Rng| (0..12).map(|_| random.f64()).sum::<f64>();
        for size in [3, 4, 8] {
            let alarms = (0..20_000).filter(|_| {
                let mean: Moments = (0..size).map(|_| normal(&mut random)).collect();
                of(|findings| findings.least("", &mean, 6.0)) == Verdict::Fail
            });
            let alarms = alarms.count();
            // 20 are expected.
            assert!((6..40).contains(&alarms), "{size}: {alarms}");
        }
    }
}
