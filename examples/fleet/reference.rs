//! The simulation beside another one, and beside theory: no server is needed.

use crate::options::Args;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::fleet::{Fleet, Policy};
use lab::moments::Moments;
use lab::numbers::percent;
use lab::program::Program;
use lab::table::Table;
use queueing_theory::{Mdc, Mmc, fleet};
use std::error::Error;

/// From the file `fleet.csv` of this project's reference figures: a simulation by another program
/// (6 runs of 500,000 requests each).
const REFERENCE: &str = include_str!("../theory/tests/fleet.csv");

/// The load of the table.
const LOAD: f64 = 0.9;

/// The policies, their names in the reference, and their colours.
const POLICIES: [(Policy, &str, &str, Colour); 5] = [
    (Policy::Random, "random", "random", Colour::Red),
    (Policy::RoundRobin, "rr", "round robin", Colour::Purple),
    (Policy::TwoChoices { repeats: false }, "p2", "two choices", Colour::Orange),
    (Policy::Least, "lc", "leastconn", Colour::Blue),
    (Policy::Pooled, "pooled", "one pool", Colour::Green),
];

/// The servers of the two limits: many, so that they depend on one another little.
const MANY: usize = 256;

/// The tolerated distance to the limit, which is of order 1 / N.
const NEAR: f64 = 0.02;

const CURVES: &str = "Eight servers with one worker each and exponential service times, simulated. \
    At any load, one look at two servers removes most of the wait that random choice causes. A \
    balancer that knows the requests in progress is close to one pool.";

/// A row of the reference.
struct Row {
    law: &'static str,
    servers: usize,
    workers: usize,
    policy: &'static str,
    wait: f64,
    half_width: f64,
    exact: Option<f64>,
}

/// The rows with this load.
fn rows() -> Vec<Row> {
    let lines = REFERENCE.lines().filter(|line| !line.starts_with('#')).skip(1);
    let row = |line: &'static str| {
        let cells: Vec<&'static str> = line.split(',').collect();
        let number = |at: usize| cells.get(at).and_then(|cell| cell.parse::<f64>().ok());
        let is_wanted = number(3).is_some_and(|load| (load - LOAD).abs() < 1e-9);
        let row = Row {
            law: cells.first()?,
            servers: cells.get(1)?.parse().ok()?,
            workers: cells.get(2)?.parse().ok()?,
            policy: cells.get(4)?,
            wait: number(5)?,
            half_width: number(6)?,
            exact: number(10).filter(|exact| exact.is_finite()),
        };
        is_wanted.then_some(row)
    };
    lines.filter_map(row).collect()
}

impl Row {
    /// The exact mean wait by this project's theory, where there is a formula.
    fn theory(&self) -> Option<f64> {
        let [servers, workers] = [self.servers, self.workers].map(u32::try_from);
        let (servers, workers) = (servers.ok()?, workers.ok()?);
        match (self.law, self.policy) {
            ("exp", "pooled") => Mmc::new(servers * workers, LOAD).ok().map(|of| of.mean_wait()),
            ("exp", "random") => Mmc::new(workers, LOAD).ok().map(|of| of.mean_wait()),
            ("exp", "rr") if workers == 1 => fleet::round_robin(servers, LOAD).ok(),
            ("const", "pooled" | "rr" | "lc") => {
                Mdc::new(servers * workers, LOAD).ok().map(|of| of.mean_wait())
            }
            ("const", "random") => Mdc::new(workers, LOAD).ok().map(|of| of.mean_wait()),
            _ => None,
        }
    }

    fn simulate(&self, policy: Policy, args: &Args) -> Moments {
        let (runs, requests) = if args.common.quick { (4, 50_000) } else { (6, 100_000) };
        let fleet =
            Fleet { servers: self.servers, workers: self.workers, policy, seed: args.common.seed };
        fleet.steady(LOAD, self.law == "exp", runs, requests)
    }
}

/// Compares the simulation with the reference, and draws its curves.
pub fn compare(program: &mut Program, args: &Args) -> Result<(), Box<dyn Error>> {
    program.heading("The simulation beside the reference and theory");
    program.text(
        "The mean wait at .9 of the capacity, in service times. N servers of W workers; after ± \
         is half of the 95 % interval of the mean. Reference: a simulation by another program.",
    );
    let mut table = Table::new(["services", "N x W", "policy", "wait", "reference", "theory"]);
    let mut worst: Option<(f64, String)> = None;
    let (mut count, mut exact_error) = (0, 0.0_f64);
    for row in rows() {
        let policy = POLICIES.iter().find(|(_, name, ..)| *name == row.policy);
        let Some((policy, _, name, _)) = policy else { continue };
        let found = row.simulate(*policy, args);
        let theory = row.theory();
        table.row([
            if row.law == "exp" { "exponential" } else { "constant" }.to_owned(),
            format!("{} x {}", row.servers, row.workers),
            (*name).to_owned(),
            format!("{:.3} ±{:.3}", found.mean(), found.half_width()),
            format!("{:.3} ±{:.3}", row.wait, row.half_width),
            theory.map_or("-".to_owned(), |wait| format!("{wait:.4}")),
        ]);
        if let Some((exact, theory)) = row.exact.zip(theory) {
            exact_error = exact_error.max((theory / exact - 1.0).abs());
        }
        let (expected, theirs) = theory.map_or((row.wait, row.half_width), |exact| (exact, 0.0));
        let off = (found.mean() - expected).abs() / found.half_width().hypot(theirs);
        count += 1;
        if worst.as_ref().is_none_or(|(most, _)| off > *most) {
            worst = Some((off, format!("{name}, {} x {}", row.servers, row.workers)));
        }
    }
    program.table(&table);
    if let Some((off, name)) = worst {
        program.check(
            format!(
                "the simulated waits of all {count} rows are the reference's, or theory's where \
                 there is a formula, within twice the intervals: off by {off:.2} intervals at \
                 most ({name})"
            ),
            off <= 2.0,
        );
    }
    program.check(
        format!(
            "the formulas give the exact waits of the reference: off by {} at most",
            percent(exact_error)
        ),
        exact_error < 1e-4,
    );
    limit(program, args);
    program.chart(&curves(args), CURVES)
}

/// Two choices of many servers.
fn limit(program: &mut Program, args: &Args) {
    let Ok(exact) = fleet::two_choices(LOAD) else { return };
    let (runs, requests) = if args.common.quick { (3, 200_000) } else { (4, 400_000) };
    let policy = Policy::TwoChoices { repeats: false };
    let fleet = Fleet { servers: MANY, workers: 1, policy, seed: args.common.seed };
    let wait = fleet.steady(LOAD, true, runs, requests);
    let (time, half) = (wait.mean() + 1.0, wait.half_width());
    program.check(
        format!(
            "two choices of {MANY} servers: the mean time in the system is {time:.4} ±{half:.4} \
             services, and the limit for many servers is {exact:.4}; at most {} and the interval \
             away",
            percent(NEAR)
        ),
        (time - exact).abs() <= NEAR * exact + half,
    );
}

/// The wait against the load, for each policy.
fn curves(args: &Args) -> Chart {
    let description = "The mean wait against the load for five policies. Random choice waits \
        longest, then round robin, two choices, least connections, and one pool.";
    let x = Axis::linear("load, over the capacity").between(0.5, 1.0);
    let y = Axis::log("mean wait, over D").between(0.01, 30.0);
    let mut chart = Chart::new("Mean wait against load, by policy", description, x, y);
    let (runs, requests) = if args.common.quick { (1, 30_000) } else { (2, 100_000) };
    for (policy, _, name, colour) in POLICIES {
        let fleet = Fleet { servers: 8, workers: 1, policy, seed: args.common.seed };
        let points = (0..=9).map(|step| 0.5 + 0.05 * f64::from(step)).map(|load| {
            let wait = fleet.steady(load, true, runs, requests);
            (load, wait.mean())
        });
        chart = chart.with(name, colour, Shape::Line(points.collect()));
    }
    chart
}
