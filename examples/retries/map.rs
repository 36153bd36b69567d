//! The map of metastability: from which base load, and after which burst, a collapse stays.

use crate::behaviour::Behaviour;
use crate::options::Args;
use crate::policy::Policy;
use crate::scenario::{Figures, Scenario, TAIL};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::program::Program;
use lab::table::Table;
use std::error::Error;

/// A load that has recovered within this time, in units of D, has recovered soon.
pub const SOON: f64 = 60.0;

/// The time after the burst within which loads are seen to recover, in units of D.
const HORIZON: u32 = 400;

/// The length of the windows in which goodput must be back.
const WINDOW: u32 = 80;

const CAPTION: &str = "Green: goodput is back within 60 D of the end of the burst. Orange: within \
    the 400 D that are simulated after it. Red: not by then.";

/// The bases and the sizes of the bursts, which begin after 40 D and are 60 D long.
struct Grid {
    bases: &'static [f64],
    sizes: &'static [f64],
    seeds: u64,
}

/// What becomes of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Soon,
    Later,
    Never,
}

impl Grid {
    fn new(quick: bool) -> Self {
        match quick {
            true => Self { bases: &[0.25, 0.5, 0.75], sizes: &[1.5, 3.0, 10.0], seeds: 1 },
            false => Self {
                bases: &[0.15, 0.3, 0.45, 0.6, 0.75, 0.85],
                sizes: &[1.0, 1.5, 2.0, 3.0, 5.0, 10.0],
                seeds: 3,
            },
        }
    }
}

/// The map of one policy and one behaviour: for each size, the median recovery at each base.
struct Map {
    policy: Policy,
    behaviour: Behaviour,
    rows: Vec<Vec<f64>>,
}

pub fn run(program: &mut Program, args: &Args) -> Result<(), Box<dyn Error>> {
    program.heading("Where the collapse stays");
    program.text(
        "The same pools and clients, simulated: the time from the end of the burst until goodput \
         is back, in units of D, for each base load (columns, over W/D) and each size of the burst \
         (rows, times the base). The burst is 60 D long.",
    );
    let grid = Grid::new(args.common.quick);
    let mut maps = Vec::new();
    for policy in [Policy::Unbounded, Policy::Deadline] {
        for behaviour in Behaviour::ALL {
            maps.push(map(args, &grid, policy, behaviour));
        }
    }
    for map in &maps {
        let title = format!("{}, {}", map.policy.name(), map.behaviour.name());
        let bases = grid.bases.iter().map(|base| format!("base {base}"));
        let mut table = Table::new([title].into_iter().chain(bases));
        for (size, row) in grid.sizes.iter().zip(&map.rows) {
            let cells = row.iter().map(|time| match time.is_finite() {
                true => format!("{time:.0}"),
                false => format!("> {HORIZON}"),
            });
            table.row([format!("x {size}")].into_iter().chain(cells));
        }
        program.table(&table);
        program.figure(&chart(&grid, map), CAPTION)?;
    }
    check(program, &maps);
    Ok(())
}

fn map(args: &Args, grid: &Grid, policy: Policy, behaviour: Behaviour) -> Map {
    let cell = |base: f64, size: f64| {
        let after = HORIZON + WINDOW + TAIL;
        let scenario = Scenario { base, size, begin: 40, length: 60, after, window: WINDOW };
        let runs = (0..grid.seeds).map(|number| {
            let seed = args.common.seed.wrapping_add(number);
            let starts = scenario.starts(args, seed).into_iter().map(|start| (start, 0));
            let retries = behaviour.retries(args.delay, seed);
            let sent = policy.simulation(args, retries, seed).run(&starts.collect::<Vec<_>>());
            scenario.figures(args, &sent)
        });
        let mut times: Vec<f64> = runs.map(|figures: Figures| figures.recovery).collect();
        times.sort_unstable_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY)
    };
    let row = |&size: &f64| grid.bases.iter().map(|&base| cell(base, size)).collect();
    Map { policy, behaviour, rows: grid.sizes.iter().map(row).collect() }
}

fn fate(recovery: f64) -> Fate {
    match recovery {
        time if time <= SOON => Fate::Soon,
        time if time.is_finite() => Fate::Later,
        _ => Fate::Never,
    }
}

fn chart(grid: &Grid, map: &Map) -> Chart {
    let boxes = |of: Fate| {
        let rows = map.rows.iter().zip(0_u8..);
        let cells = rows.flat_map(|(row, y)| row.iter().zip(0_u8..).map(move |(at, x)| (at, x, y)));
        let cells = cells.filter(|(recovery, ..)| fate(**recovery) == of);
        let each = cells.map(|(_, x, y)| {
            let (x, y) = (f64::from(x), f64::from(y));
            [x - 0.48, y - 0.46, x + 0.48, y + 0.46]
        });
        Shape::Boxes(each.collect())
    };
    let x = Axis::named("base load, over W/D", grid.bases.iter().map(ToString::to_string));
    let y = Axis::named("burst, times the base", grid.sizes.iter().map(ToString::to_string));
    let title = format!("Recovery: {}, {}", map.policy.name(), map.behaviour.name());
    let description = "A box for each base load and size of burst: green where the goodput is back \
        soon after the burst, orange where it is back later, red where it is not back.";
    Chart::new(&title, description, x, y)
        .with("soon", Colour::Green, boxes(Fate::Soon))
        .with("later", Colour::Orange, boxes(Fate::Later))
        .with("never", Colour::Red, boxes(Fate::Never))
}

fn check(program: &mut Program, maps: &[Map]) {
    let count = |policy: Policy, behaviours: &[Behaviour], of: fn(f64) -> bool| {
        let maps =
            maps.iter().filter(|map| map.policy == policy && behaviours.contains(&map.behaviour));
        let cells: Vec<f64> = maps.flat_map(|map| map.rows.iter().flatten().copied()).collect();
        (cells.iter().filter(|&&time| of(time)).count(), cells.len())
    };
    let (soon, all) = count(Policy::Deadline, &Behaviour::ALL, |time| time <= SOON);
    program.check(
        format!("with a deadline, {soon} of {all} simulated loads recover within {SOON} D"),
        soon == all,
    );
    let (none, _) = count(Policy::Unbounded, &[Behaviour::None], |time| !time.is_finite());
    let (at_once, all) = count(Policy::Unbounded, &[Behaviour::AtOnce], |time| !time.is_finite());
    let (limited, _) =
        count(Policy::Unbounded, &[Behaviour::Budget, Behaviour::Throttle], |time| {
            !time.is_finite()
        });
    program.check(
        format!(
            "without a bound, of {all} simulated loads {at_once} do not recover with retries at \
             once; {none} without retries; {limited} of twice as many with a budget or a throttle"
        ),
        at_once > none && 2 * at_once > limited,
    );
}
