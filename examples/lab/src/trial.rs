//! Puts the checks of a program to the test: how often they fail for an ideal pool, which is
//! sound, and how often for one with a planted fault.

use crate::evidence::{FALSE_ALARM, Findings, Verdict};
use crate::program::Program;
use crate::table::Table;
use std::collections::BTreeMap;
use std::thread;

/// The option of programs whose checks can be put to the test.
#[derive(Debug, Clone, clap::Args)]
pub struct TrialOptions {
    /// Put the checks to the test: judge N ideal pools instead of a real one, and a quarter as many
    /// with each of several faults, and count what the checks say
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(20..=100_000))]
    pub twins: Option<u64>,
}

/// The share of the pools with a fault that the checks must find.
const POWER: f64 = 0.95;

/// The share of the sound pools on which the checks may say nothing.
const UNCLEAR_MOST: f64 = 0.05;

/// What the checks said of some pools.
#[derive(Debug, Default)]
struct Tally {
    failed: u64,
    /// No check failed, and one said nothing.
    unclear: u64,
    passed: u64,
    /// The most checks that rest on chance.
    checks: u64,
    /// How often each check failed, or said nothing, by its first words.
    alarms: BTreeMap<String, u64>,
    silent: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, findings: &Findings) {
        match (findings.has(Verdict::Fail), findings.has(Verdict::Unclear)) {
            (true, _) => self.failed += 1,
            (false, true) => self.unclear += 1,
            (false, false) => self.passed += 1,
        }
        self.checks = self.checks.max(findings.all().len() as u64);
        for finding in findings.all() {
            let name = finding.what.split(':').next().unwrap_or_default();
            match finding.verdict {
                Verdict::Fail => *self.alarms.entry(name.to_owned()).or_default() += 1,
                Verdict::Unclear => *self.silent.entry(name.to_owned()).or_default() += 1,
                Verdict::Ok | Verdict::Spoilt => {}
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.failed += other.failed;
        self.unclear += other.unclear;
        self.passed += other.passed;
        self.checks = self.checks.max(other.checks);
        for (name, count) in other.alarms {
            *self.alarms.entry(name).or_default() += count;
        }
        for (name, count) in other.silent {
            *self.silent.entry(name).or_default() += count;
        }
    }

    /// The check that failed most often; where none did, the one that said nothing.
    fn most(&self) -> String {
        let most = |of: &BTreeMap<String, u64>| {
            of.iter().max_by_key(|(_, count)| **count).map(|(name, of)| format!("{name} ({of})"))
        };
        let silent = || most(&self.silent).map(|name| format!("no result: {name}"));
        most(&self.alarms).or_else(silent).unwrap_or_else(|| "-".to_owned())
    }
}

/// The largest number of alarms in `count` experiments that is no sign of a higher rate: beyond it
/// is less than one of a thousand, by the Poisson distribution.
fn alarms_most(count: u64, rate: f64) -> u64 {
    let mean = count as f64 * rate;
    let (mut most, mut term) = (0, (-mean).exp());
    let mut below = term;
    while below < 0.999 {
        most += 1;
        term *= mean / most as f64;
        below += term;
    }
    most
}

/// A false alarm is rare, and a fault that is missed must be: fewer pools tell about the latter.
const SOUND_TO_FAULTY: u64 = 4;

/// Judges `count` sound pools, and a quarter as many with each fault. `judge` makes the findings of
/// one, from its number and the number of its fault.
pub fn run(
    program: &mut Program,
    count: u64,
    faults: &[impl AsRef<str>],
    judge: impl Fn(u64, Option<usize>) -> Findings + Sync,
) {
    program.heading("The checks on trial");
    let faulty = count / SOUND_TO_FAULTY;
    program.text(&format!(
        "The same checks judge {count} ideal pools, which are sound, and {faulty} with each fault. \
         Each claim that rests on chance may fail wrongly in {} of a thousand runs.",
        FALSE_ALARM * 1000.0
    ));
    let mut table = Table::new(["pools", "fail", "no result", "pass", "most often"]);
    let mut tallies = Vec::new();
    for fault in std::iter::once(None).chain((0..faults.len()).map(Some)) {
        let count = if fault.is_some() { faulty } else { count };
        let tally = tally(count, &|number| judge(number, fault));
        let name = fault.map_or("sound", |fault| faults[fault].as_ref());
        let numbers = [tally.failed, tally.unclear, tally.passed].map(|count| count.to_string());
        table.row([name.to_owned()].into_iter().chain(numbers).chain([tally.most()]));
        tallies.push((name, tally));
    }
    program.table(&table);
    let Some(((_, sound), others)) = tallies.split_first() else { return };
    let rate = sound.checks as f64 * FALSE_ALARM;
    let most = alarms_most(count, rate);
    program.check(
        format!(
            "false alarms: {} of {count} sound pools fail one of {} checks; {:.1} at the stated \
             rate, at most {most} by chance",
            sound.failed,
            sound.checks,
            rate * count as f64
        ),
        sound.failed <= most,
    );
    program.check(
        format!(
            "no result: the checks say nothing on {} of {count} sound pools, at most {:.0} allowed",
            sound.unclear,
            UNCLEAR_MOST * count as f64
        ),
        sound.unclear as f64 <= UNCLEAR_MOST * count as f64,
    );
    for (name, tally) in others {
        program.check(
            format!(
                "power: {} of {faulty} pools are found out where {name}, at least {:.0} required",
                tally.failed,
                (POWER * faulty as f64).ceil()
            ),
            tally.failed as f64 >= POWER * faulty as f64,
        );
    }
}

/// Judges all of them, on all processors.
fn tally(count: u64, judge: &(dyn Fn(u64) -> Findings + Sync)) -> Tally {
    let threads = num_cpus::get().max(1) as u64;
    thread::scope(|scope| {
        let each = |thread: u64| {
            scope.spawn(move || {
                let mut tally = Tally::default();
                (thread..count).step_by(threads as usize).for_each(|of| tally.add(&judge(of)));
                tally
            })
        };
        let running: Vec<_> = (0..threads).map(each).collect();
        running.into_iter().fold(Tally::default(), |mut all, thread| {
            all.merge(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            all
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_counted_and_limited() {
        assert_eq!([alarms_most(200, 0.001), alarms_most(200, 0.01)], [3, 8]);
        let tally = tally(50, &|number| {
            let mut findings = Findings::default();
            findings.check("a: 1", number % 5 != 0);
            findings.add("b", if number == 1 { Verdict::Unclear } else { Verdict::Ok });
            findings
        });
        assert_eq!((tally.failed, tally.unclear, tally.passed, tally.checks), (10, 1, 39, 2));
        assert_eq!(tally.most(), "a (10)");
    }
}
