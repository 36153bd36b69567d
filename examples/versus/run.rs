//! Runs all cases, rounds and servers.

use super::Args;
use super::calls::{self, Counter};
use super::cases::Case;
use super::figures::Turn;
use super::machine;
use super::peers::OURS;
use super::plan::Plan;
use super::process::end_all;
use super::report;
use super::running::{Running, suits};
use super::site;
use super::table::Table;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

/// Exit code after an interrupt.
const INTERRUPTED: i32 = 130;

/// What has been measured so far.
#[derive(Default)]
struct Results {
    turns: Vec<Turn>,
    tables: Vec<Table>,
    /// Servers that could not be measured, with the reasons.
    failures: Vec<String>,
}

/// Runs the cases that the arguments select, and writes the reports. A server that fails in a case
/// is left out of it, and the run fails at its end.
pub fn all(args: &Args) -> Result<(), String> {
    let plan = Plan::new(args)?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    end_on_signals(folder.path())?;
    // Servers that run as an unprivileged user must be able to read the folder.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
        .and_then(|()| site::make(&folder.path().join("site"), plan.has_many()))
        .map_err(|error| format!("cannot write the files to serve: {error}"))?;
    let counter = calls::find();
    let mut lines = machine::describe(&plan.contenders);
    lines.push(match counter {
        Some(counter) => format!("system calls: counted by {}, apart", counter.name()),
        None => "system calls: not counted, neither perf nor strace works here".to_owned(),
    });
    lines.extend(plan.describe());
    lines.iter().for_each(|line| println!("{line}"));
    let mut results = Results::default();
    for case in &plan.cases {
        results.run_case(&plan, case, counter, folder.path());
    }
    let compared = report::comparisons(&plan.cases, &results.turns);
    compared.iter().for_each(|table| print!("{}", table.text(1)));
    let tables = [compared, results.tables].concat();
    write(&args.csv, || report::csv(&results.turns))?;
    write(&args.html, || report::html(&lines, &tables))?;
    write(&args.markdown, || report::markdown(&lines, &tables))?;
    match results.failures.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} failures, the first: {first}", results.failures.len())),
    }
}

fn write(file: &Option<PathBuf>, text: impl FnOnce() -> String) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, text()).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Stops all servers and removes the folder on SIGINT or SIGTERM.
fn end_on_signals(folder: &Path) -> Result<(), String> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let folder = folder.to_owned();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            end_all();
            let _ = fs::remove_dir_all(folder);
            eprintln!("versus: interrupted; all servers are stopped");
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

impl Results {
    fn run_case(&mut self, plan: &Plan, case: &Case, counter: Option<Counter>, folder: &Path) {
        let mut running = Vec::new();
        for contender in plan.contenders.iter().filter(|one| suits(one, case)) {
            let started = Running::start(contender, case, folder, plan.link.as_ref());
            let warm = started.and_then(|one| match plan.is_quick {
                true => Ok(one),
                false => one.warm_up(case).map(|()| one),
            });
            running.extend(self.check(case, warm));
        }
        let mut turns = Vec::new();
        for round in 1..=plan.rounds {
            // Each order comes as often as its reverse, so that a drift of the machine's speed
            // meets all alike.
            running.reverse();
            if round == 1 {
                running.reverse();
            }
            running.retain(|one: &Running| {
                let turn = self.check(case, one.measure(case, round, plan.seconds));
                let is_measured = turn.is_some();
                turns.extend(turn);
                is_measured
            });
        }
        for one in &running {
            let Some(counter) = counter else { break };
            let calls = self.check(case, one.count_calls(case, counter)).flatten();
            let own = turns.iter_mut().filter(|turn| turn.server == one.contender.name);
            own.for_each(|turn| turn.calls = calls);
        }
        let table = report::case_table(case, &turns, &codings(&running));
        print!("{}", table.text(0));
        self.tables.push(table);
        self.turns.extend(turns);
    }

    /// Records a failure.
    fn check<T>(&mut self, case: &Case, outcome: Result<T, String>) -> Option<T> {
        outcome
            .inspect_err(|reason| {
                eprintln!("versus: {}: {reason} (it is left out)", case.name);
                self.failures.push(format!("{}: {reason}", case.name));
            })
            .ok()
    }
}

/// Who sends which coding, if they do not all send the same.
fn codings(running: &[Running]) -> Vec<String> {
    let ours = running.iter().find(|one| one.contender.name == OURS);
    if ours.is_none_or(|ours| running.iter().all(|one| one.coding == ours.coding)) {
        return Vec::new();
    }
    let name = |coding: &str| if coding.is_empty() { "none" } else { coding }.to_owned();
    let each = running.iter().map(|one| format!("{} {}", one.contender.name, name(&one.coding)));
    vec![format!("codings: {}", each.collect::<Vec<_>>().join(", "))]
}
