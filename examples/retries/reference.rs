//! Compares the simulation with published figures, row by row.

use crate::behaviour::Behaviour;
use crate::options::Args;
use crate::policy::Policy;
use crate::scenario::{Figures, Scenario, over_runs, shown};
use lab::program::Program;
use lab::table::Table;
use std::time::Duration;

/// The load of the reference: a base of .75, and three times that for 60 D.
const SCENARIO: Scenario =
    Scenario { base: 0.75, size: 3.0, begin: 140, length: 60, after: 1040, window: 80 };

/// Two simulations may differ by this much more than their intervals.
const TOLERANCE: f64 = 0.02;

/// Every tenth request is of a second client, which matters for turns only.
const SECOND: usize = 10;

/// A row of the reference.
struct Row {
    policy: Policy,
    behaviour: Behaviour,
    /// The share of the requests that are good, at least 540 D after the burst.
    good: f64,
    /// Half the width of its interval.
    half_width: f64,
    /// Tries per request.
    amplification: f64,
}

/// From the file `retry.csv` of this project's reference figures: a simulation by another program
/// (W = 4, T = 10 D, 10 seeds). Its policies that this server does not have are left out.
const ROWS: [Row; 24] = [
    row(Policy::Unbounded, Behaviour::None, 1.0, 0.0, 1.0),
    row(Policy::Unbounded, Behaviour::AtOnce, 0.0, 0.0, 3.654),
    row(Policy::Unbounded, Behaviour::Backoff, 0.0, 0.0, 3.639),
    row(Policy::AgeWhole, Behaviour::None, 1.0, 0.0, 1.0),
    row(Policy::AgeWhole, Behaviour::AtOnce, 0.0002, 0.0002, 3.654),
    row(Policy::AgeWhole, Behaviour::Backoff, 0.0, 0.0, 3.640),
    row(Policy::BoundHalf, Behaviour::None, 1.0, 0.0, 1.0),
    row(Policy::BoundHalf, Behaviour::AtOnce, 1.0, 0.0, 1.0),
    row(Policy::BoundHalf, Behaviour::Backoff, 1.0, 0.0, 1.183),
    row(Policy::AgeHalf, Behaviour::None, 1.0, 0.0, 1.0),
    row(Policy::AgeHalf, Behaviour::AtOnce, 1.0, 0.0, 1.149),
    row(Policy::AgeHalf, Behaviour::Backoff, 1.0, 0.0, 1.186),
    row(Policy::BoundAndAge, Behaviour::None, 1.0, 0.0, 1.0),
    row(Policy::BoundAndAge, Behaviour::AtOnce, 1.0, 0.0, 1.0),
    row(Policy::BoundAndAge, Behaviour::Backoff, 1.0, 0.0, 1.183),
    row(Policy::Measured, Behaviour::None, 1.0, 0.0, 1.0),
    row(Policy::Measured, Behaviour::AtOnce, 1.0, 0.0, 1.001),
    row(Policy::Measured, Behaviour::Backoff, 1.0, 0.0, 1.185),
    row(Policy::NewestFirst, Behaviour::None, 0.9974, 0.0008, 1.0),
    row(Policy::NewestFirst, Behaviour::AtOnce, 1.0, 0.0, 1.196),
    row(Policy::NewestFirst, Behaviour::Backoff, 1.0, 0.0, 1.200),
    row(Policy::Deadline, Behaviour::None, 1.0, 0.0, 1.0),
    row(Policy::Deadline, Behaviour::AtOnce, 1.0, 0.0, 1.019),
    row(Policy::Deadline, Behaviour::Backoff, 1.0, 0.0, 1.184),
];

const fn row(
    policy: Policy,
    behaviour: Behaviour,
    good: f64,
    half_width: f64,
    amplification: f64,
) -> Row {
    Row { policy, behaviour, good, half_width, amplification }
}

/// Simulates each row.
pub fn compare(program: &mut Program, args: &Args) {
    program.heading("The simulation beside the reference");
    program.text(&format!(
        "A base load of {}, {} times that for {} D, simulated; good: the share of the requests \
         that an answer reaches in time, late after the burst. The reference seems not to count \
         tries that are refused at once, and does not say how long its clients pause. So the tries \
         are shown, and not checked.",
        SCENARIO.base, SCENARIO.size, SCENARIO.length
    ));
    let seeds = if args.common.quick { 3 } else { 10 };
    let mut table =
        Table::new(["policy, retries", "good", "reference", "recovery/D", "tries", "reference"]);
    let mut worst: Option<(f64, String)> = None;
    for row in &ROWS {
        let figures: Vec<Figures> = (0..seeds).map(|seed| simulate(args, row, seed)).collect();
        let good = over_runs(&figures, |of| of.good);
        let name = format!("{}, {}", row.policy.name(), row.behaviour.name());
        table.row([
            name.clone(),
            shown(&good, 4),
            format!("{:.4} ±{:.4}", row.good, row.half_width),
            median(&figures),
            shown(&over_runs(&figures, |of| of.amplification), 3),
            format!("{:.3}", row.amplification),
        ]);
        let off = (good.mean() - row.good).abs() - good.half_width() - row.half_width;
        if worst.as_ref().is_none_or(|(most, _)| off > *most) {
            worst = Some((off, name));
        }
    }
    program.table(&table);
    if let Some((off, name)) = worst {
        program.check(
            format!(
                "the good share of all {} rows is the reference's within the two intervals and \
                 {TOLERANCE}: off by {:.4} more than the intervals at most ({name})",
                ROWS.len(),
                off.max(0.0)
            ),
            off <= TOLERANCE,
        );
    }
}

fn simulate(args: &Args, row: &Row, seed: u64) -> Figures {
    let seed = args.common.seed.wrapping_add(seed);
    let starts = SCENARIO.starts(args, seed).into_iter().enumerate();
    let starts: Vec<(Duration, usize)> =
        starts.map(|(number, start)| (start, usize::from(number % SECOND == 0))).collect();
    let retries = row.behaviour.retries(args.delay, seed);
    let sent = row.policy.simulation(args, retries, seed).run(&starts);
    SCENARIO.figures(args, &sent)
}

/// The median of the recovery times.
pub fn median(figures: &[Figures]) -> String {
    let mut times: Vec<f64> = figures.iter().map(|of| of.recovery).collect();
    times.sort_unstable_by(f64::total_cmp);
    match times.get(times.len() / 2) {
        Some(time) if time.is_finite() => format!("{time:.0}"),
        _ => "never".to_owned(),
    }
}
