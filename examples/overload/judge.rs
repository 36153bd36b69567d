//! What must be true of the measured cells.

use crate::cells::{Cell, FEWER};
use crate::measure::Bench;
use crate::policy::Policy;
use crate::service::Service;
use crate::show;
use lab::evidence::Findings;
use lab::moments::Moments;

/// The minimum goodput with queue limit and timeout under overload, where D is as the server was
/// told; and the maximum without a limit.
const KEPT: f64 = 0.93;
const KEPT_QUICK: f64 = 0.8;
const LOST: f64 = 0.1;

/// The goodput that measuring S must add where the server was told a sixth of it. A pool that does
/// not measure adds nothing, in any number of runs.
const GAIN: f64 = 0.05;

/// How much the twin may be off.
const TWIN_OFF: f64 = 0.05;
const TWIN_OFF_QUICK: f64 = 0.15;

/// What the cells show. It knows nothing of disturbances.
pub fn judge(bench: &Bench<'_>, cells: &[Cell]) -> Findings {
    let mut findings = Findings::default();
    for cell in cells {
        let (name, goodput) = (cell.name(), cell.goodput());
        let shown = show::mean(&goodput);
        if let Some(least) = least(bench, cell) {
            let what = format!("{name}: goodput {shown}, at least {least} required");
            findings.least(what, &goodput, least);
        }
        if cell.policy == Policy::Unbounded && cell.times > 1.0 {
            let what = format!("{name}: goodput {shown}, at most {LOST} expected");
            findings.most(what, &goodput, LOST);
        }
    }
    let twin_off = if bench.is_quick() { TWIN_OFF_QUICK } else { TWIN_OFF };
    // The others are shown, and have too few runs for an interval.
    let is_sure = |cell: &&Cell| cell.runs.len() as u64 > FEWER;
    let off: Vec<Moments> = cells.iter().filter(is_sure).filter_map(Cell::off).collect();
    if let Some(most) = off.iter().map(|off| off.mean().abs()).reduce(f64::max) {
        findings.near_of(
            format!(
                "the twin's goodput, with and without bound, is off by {most:.3} at most, \
                 {twin_off} allowed"
            ),
            &off,
            0.0,
            twin_off,
        );
    }
    compare(&mut findings, cells);
    findings
}

/// Whether a check rests on this cell alone.
pub fn is_judged(bench: &Bench<'_>, cell: &Cell) -> bool {
    cell.policy == Policy::Unbounded || least(bench, cell).is_some()
}

/// The goodput that a cell must have.
fn least(bench: &Bench<'_>, cell: &Cell) -> Option<f64> {
    let is_told_right = cell.service == Service::Constant && cell.times >= 1.1;
    match cell.policy {
        Policy::BoundAndAge | Policy::AsItRuns if is_told_right => {
            Some(if bench.is_quick() { KEPT_QUICK } else { KEPT })
        }
        _ => cell.promise(bench),
    }
}

/// Where the server was told another D, the measured bounds keep more than the told ones do.
fn compare(findings: &mut Findings, cells: &[Cell]) {
    let slower = cells.iter().filter(|cell| cell.service == Service::Slower(6));
    for told in slower.clone().filter(|cell| cell.policy == Policy::BoundAndAge) {
        let is_same = |cell: &&Cell| cell.policy == Policy::FAIR && cell.times == told.times;
        let Some(fair) = slower.clone().find(is_same) else { continue };
        // Both have the same arrivals, so each pair of runs is compared.
        let pairs = fair.runs.iter().zip(&told.runs);
        let gain: Moments = pairs.map(|(fair, told)| fair.goodput - told.goodput).collect();
        findings.least(
            format!(
                "{}: goodput from the measured S is higher by {} than from the D that it was \
                 told, by {GAIN} required",
                fair.name(),
                show::mean(&gain)
            ),
            &gain,
            GAIN,
        );
    }
}
