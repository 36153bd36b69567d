//! What must be true of the measured cells.

use crate::case::Promise;
use crate::measure::Cell;
use crate::show::shown;
use cws::Schedule;
use lab::evidence::Findings;

pub fn judge(cells: &[Cell]) -> Findings {
    let mut findings = Findings::default();
    cells.iter().for_each(|cell| check(&mut findings, cell));
    compare(&mut findings, cells);
    findings
}

fn check(findings: &mut Findings, cell: &Cell) {
    let name = cell.name();
    if cell.schedule != Schedule::Fair {
        return;
    }
    let Promise { share, median, p99 } = cell.case.promise;
    let polite = cell.case.polite.name;
    let seen = &cell.polite;
    if let Some(least) = share {
        findings.least(
            format!(
                "{name}: {} of the requests of {polite} are answered in time, at least {least} \
                 required",
                shown(&seen.share, 3)
            ),
            &seen.share,
            least,
        );
    }
    for (what, moments, most) in [("median", &seen.median, median), ("p99", &seen.p99, p99)] {
        let Some(most) = most else { continue };
        findings.most(
            format!(
                "{name}: the {what} of {polite} is {} D, at most {most} allowed",
                shown(moments, 2)
            ),
            moments,
            most,
        );
    }
}

/// The gain of turns is larger than what differs between runs.
fn compare(findings: &mut Findings, cells: &[Cell]) {
    let order = |schedule| move |cell: &&Cell| cell.schedule == schedule;
    for fair in cells.iter().filter(order(Schedule::Fair)) {
        let fifo = cells.iter().filter(order(Schedule::Fifo));
        let Some(fifo) = fifo.clone().find(|cell| cell.case.name == fair.case.name) else {
            continue;
        };
        if fair.case.promise.share.is_some() {
            let [fair_share, fifo_share] = [fair, fifo].map(|cell| cell.polite.share);
            findings.more(
                format!(
                    "{}: {} of the requests of the polite are answered in time with fair, more \
                     than {} with fifo",
                    fair.case.name,
                    shown(&fair_share, 3),
                    shown(&fifo_share, 3)
                ),
                &fair_share,
                &fifo_share,
            );
        }
    }
}
