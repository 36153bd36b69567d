//! The delay made real: files that are served from a database, and what a pool carries then.
//!
//! ```text
//! cargo run --release --example database
//! cargo run --release --example database -- --serve DIR [PORT]
//! ```

#![allow(clippy::print_stdout)]

mod archive;
mod bench;
mod corpus;
mod options;
mod service;
mod show;

#[path = "../shared/settled.rs"]
mod settled;

use archive::Archive;
use bench::{Bench, Load, Open, Point};
use cws::{Config, Server};
use lab::numbers::percent;
use lab::program::{self, Program};
use lab::trace::Trace;
use options::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

const LEAD: &str = "In the other programs a request takes a worker a nominal delay D. Here a \
    database answers: each worker has its own connection to an SQLite file, reads files from it, \
    searches it, and stores files in it. The service time is measured, and what W workers carry is \
    compared with W/D.";

/// How far off a figure may be, as a part of it.
struct Tolerance {
    /// Carried against W/D.
    law: f64,
    /// What the most workers carry against what the processors let them.
    bound: f64,
    /// The wait against the twin's; and as a part of the service time, however short the wait is.
    twin: f64,
    floor: f64,
}

/// The part of W/D(1) that a pool stays below which waits for one writer.
const HALF: f64 = 0.5;

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(folder) = &args.serve {
        return serve(folder, &args);
    }
    let mut program = Program::new(&args.common, "A pool before a database", LEAD);
    let bench = Bench::new(&args)?;
    program.text(bench.describe());
    let mut points = Vec::new();
    for load in Load::ALL {
        for &workers in args.workers() {
            points.push(bench.closed(load, workers)?);
        }
    }
    let one = points.first().ok_or("there are no runs")?;
    let capacity = 1.0 / one.service.as_secs_f64();
    let (open, spoilt) = program.until_sound(|| bench.open(capacity))?;
    show::all(&mut program, &points, (&open, spoilt.is_some()))?;
    if let Some(path) = &args.common.csv {
        let mut trace = Trace::create(path)?;
        let name = |point: &Point| format!("{} {}", point.load.name(), point.workers);
        let runs = points.iter().map(|point| (name(point), &point.all));
        for (name, all) in runs.chain([("Poisson".to_owned(), &open.all)]) {
            trace.add(&name, all.iter().map(|each| &each.outcome))?;
        }
        trace.finish()?;
    }
    if let Some(why) = &spoilt {
        program.spoilt(format!("the run with Poisson arrivals: {why}"));
    }
    let tolerance = match args.common.quick {
        true => Tolerance { law: 0.12, bound: 0.3, twin: 0.3, floor: 0.2 },
        false => Tolerance { law: 0.06, bound: 0.25, twin: 0.15, floor: 0.1 },
    };
    check(&mut program, &points, &tolerance);
    // By turns and not by speed: how much faster two are depends on the machine.
    let (read, wrote) = bench.beside_a_reader()?;
    program.check(
        format!("in the middle of a read another finds {read} files, and a writer stores {wrote}"),
        read > 0 && wrote == 1,
    );
    check_wait(&mut program, &open, &tolerance);
    program.finish()
}

fn check(program: &mut Program, points: &[Point], tolerance: &Tolerance) {
    let wrong: usize = points.iter().map(|point| point.wrong).sum();
    let answers: usize = points.iter().map(|point| point.all.len()).sum();
    program.check(format!("{wrong} of {answers} answers are not what was asked for"), wrong == 0);
    for load in Load::ALL {
        let (said, holds) = law(points, load, tolerance);
        program.check(said, holds);
    }
    let (seen, found) =
        points.iter().fold((0, 0), |(seen, found), point| (seen + point.seen, found + point.found));
    program.check(
        format!("clients saw {seen} files stored, and another connection finds {found}"),
        seen == found && seen > 0,
    );
    let broken = points.iter().filter(|point| point.integrity != "ok").count();
    program.check(format!("{broken} databases fail the integrity check of SQLite"), broken == 0);
    if let Some((one, most)) = show::ends(points, Load::Reading) {
        let processors = num_cpus::get();
        let times = most.carried / one.carried;
        let bound = processors.min(most.workers) as f64 * (1.0 + tolerance.bound);
        program.check(
            format!(
                "reading: {} workers carry {times:.2} times what one carries; {processors} \
                 processors and {} let it be {bound:.2}",
                most.workers,
                percent(tolerance.bound)
            ),
            times <= bound,
        );
    }
    check_writers(program, points);
}

/// What clients count against what the server's clock says of its workers: carried is W/D.
fn law(points: &[Point], load: Load, tolerance: &Tolerance) -> (String, bool) {
    // A request that is under way when the counting begins or ends counts as a whole or not at
    // all, by which each worker is off by such a request at the most.
    let allowed =
        |point: &Point| tolerance.law + point.longest.as_secs_f64() / point.length.as_secs_f64();
    let off = |point: &Point| {
        (point.carried * point.service.as_secs_f64() / point.workers as f64 - 1.0).abs()
    };
    let excess = |point: &&Point| off(point) - allowed(point);
    let worst = show::of(points, load).max_by(|one, other| excess(one).total_cmp(&excess(other)));
    let Some(worst) = worst else { return ("there are no runs".to_owned(), false) };
    let said = format!(
        "{}: clients count W/D of the D that the server's clock measures, off by {} with {} \
         workers, and {} is allowed",
        load.name(),
        percent(off(worst)),
        worst.workers,
        percent(allowed(worst))
    );
    (said, excess(&worst) <= 0.0)
}

fn check_writers(program: &mut Program, points: &[Point]) {
    // Files and time as clients count them; how long each kept the others out, by the server.
    let share = |point: &Point| {
        point.seen as f64 * point.exclusive.as_secs_f64() / point.elapsed.as_secs_f64()
    };
    let busiest = show::of(points, Load::Writing).map(share).fold(0.0, f64::max);
    program.check(
        format!(
            "no two write at a time: all files that clients saw stored, each for as long as it \
             kept the other writers out, are at most {} of a run",
            percent(busiest)
        ),
        busiest <= 1.0,
    );
    if let Some((one, most)) = show::ends(points, Load::Writing) {
        let times = most.carried / one.carried;
        let bound = HALF * most.workers as f64;
        program.check(
            format!(
                "writing: {} workers carry {times:.2} times what one carries, and half of W/D(1), \
                 {bound}, is allowed",
                most.workers
            ),
            times <= bound,
        );
    }
}

fn check_wait(program: &mut Program, open: &Open, tolerance: &Tolerance) {
    let off = open.wait.abs_diff(open.twin);
    let most = open.twin.mul_f64(tolerance.twin).max(open.service.mul_f64(tolerance.floor));
    program.check(
        format!(
            "Poisson arrivals: clients wait {:.2?}, an ideal worker's {:.2?}, off by {off:.2?}, \
             and {most:.2?} is allowed",
            open.wait, open.twin
        ),
        off <= most,
    );
}

/// Serves a folder until it is told to end.
fn serve(folder: &Path, args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    // Removed in the end.
    let mut temporary = None;
    let path = match &args.archive {
        Some(path) if path.exists() => {
            return Err(format!("{} exists already (name a new file)", path.display()).into());
        }
        Some(path) => path.clone(),
        None => {
            let folder = tempfile::Builder::new().prefix("cws-database-").tempdir()?;
            temporary.insert(folder).path().join("archive.db")
        }
    };
    let mut archive = Archive::open(&path)?;
    let load = archive.load(folder);
    let count = load.map_err(|error| format!("cannot load {}: {error}", folder.display()))?;
    let routes = service::routes(path, Arc::default())?;
    let listen = vec![([127, 0, 0, 1], args.port).into()];
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = Server::start(Config::default().listen(listen), routes)?;
    println!("{count} files of {} on http://{}/", folder.display(), server.addresses()[0]);
    std::io::stdout().flush()?;
    signals.forever().next();
    server.shutdown();
    // The last connection that closes leaves one file, without a log beside it.
    drop(archive);
    Ok(ExitCode::SUCCESS)
}
