//! Several servers behind a balancer: measured, simulated, and in theory.
//!
//! ```text
//! cargo build --release
//! cargo run --release --example fleet
//! ```

mod balancer;
mod configuration;
mod ideal;
mod judge;
mod measure;
mod options;
mod outages;
mod policy;
mod reference;
mod servers;
mod show;
mod weights;

#[path = "../shared/options.rs"]
mod values;

use lab::load::Outcome;
use lab::program::{self, Program};
use lab::progress::Progress;
use lab::trace::Trace;
use lab::trial;
use measure::Bench;
use options::{Args, LOAD};
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

const LEAD: &str = "N servers with W workers each, behind a balancer. The balancer does not make a \
    server faster, but its choice decides how long requests wait: from N small pools with a queue \
    each to nearly one large pool. It also decides what clients notice when a server restarts, or \
    dies.";

/// The time that repeated measurements may take, so that the program ends within a minute.
const SPARE: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let program = Program::new(&args.common, "A fleet behind a balancer", LEAD);
    let mut program = program.with_spare(SPARE);
    if let Some(count) = args.trial.twins {
        trial::run(&mut program, count, &ideal::FAULTS, |number, fault| {
            judge::judge(&args, &ideal::runs(&args, number, fault))
        });
        return program.finish();
    }
    match (measure::haproxy(), measure::server_binary()) {
        (Some(haproxy), Some(binary)) => real(&mut program, Bench::new(&args, haproxy, binary)?)?,
        (None, _) => {
            program.text("HAProxy is not installed: here is the simulation alone.");
            without(&args)?;
        }
        (_, None) => {
            program.text(
                "The server is not built (cargo build, with --release if this program was): here \
                 is the simulation alone.",
            );
            without(&args)?;
        }
    }
    reference::compare(&mut program, &args)?;
    program.finish()
}

/// The trace without any request.
fn without(args: &Args) -> Result<(), Box<dyn Error>> {
    args.common.csv.as_deref().map(Trace::create).transpose()?.map(Trace::finish).transpose()?;
    Ok(())
}

fn real(program: &mut Program, bench: Bench<'_>) -> Result<(), Box<dyn Error>> {
    let args = bench.args;
    program.text(&format!(
        "{} servers with W = {} and D = {:?} behind HAProxy. A request takes a worker {:.2?}, so N \
         W/D = {:.0} requests per second. Poisson arrivals at {LOAD} of that; {} runs of {:?} for \
         each policy.",
        args.servers(),
        args.workers,
        args.delay,
        bench.service,
        bench.capacity(),
        args.seeds().len(),
        args.length()
    ));
    let runs = bench.all(program)?;
    show::policies(program, &bench, &runs)?;
    // They are servers of their own, which wait most of the time.
    let progress = Progress::start("unequal servers, a restart and a kill", weights::LENGTH);
    let (unequal, restart, kill) = thread::scope(|scope| {
        let restart = scope.spawn(|| outages::restart(&bench));
        let kill = scope.spawn(|| outages::kill(&bench));
        let unequal = program.until_sound(|| weights::measure(&bench));
        (unequal, joined(restart), joined(kill))
    });
    drop(progress);
    let ((sides, spoilt), restart, kill) = (unequal?, restart?, kill?);
    if let Some(why) = spoilt {
        program.spoilt(format!("unequal servers: {why}"));
    }
    weights::show(program, &bench, &sides)?;
    show::restart(program, &restart)?;
    show::kill(program, &kill)?;
    if let Some(path) = &args.common.csv {
        let mut trace = Trace::create(path)?;
        runs.iter().try_for_each(|run| trace.add(&run.name(), &run.outcomes))?;
        for side in &sides {
            trace.add(&format!("unequal servers, {}", side.name), sorted(&side.outcomes))?;
        }
        trace.add("restart", sorted(&restart.outcomes))?;
        for front in &kill.fronts {
            trace.add(&format!("kill, {}", front.name), sorted(&front.outcomes))?;
        }
        trace.finish()?;
    }
    Ok(())
}

/// The result of a thread.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The requests by their intended start.
fn sorted(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let mut sorted: Vec<&Outcome> = outcomes.iter().collect();
    sorted.sort_unstable_by_key(|outcome| outcome.intended);
    sorted
}
