//! Six ways to serve many clients, side by side: what each carries, how long its clients wait, and
//! what it costs.
//!
//! ```text
//! cargo run --release --example models
//! cargo run --release --example models -- --serve MODEL PORT
//! ```
//!
//! It measures on Linux, whose `/proc` shows what a process costs.

mod clients;
mod conversation;
mod duty;
mod event_loop;
mod measure;
mod model;
mod options;
mod parent;
mod pool_per_connection;
mod pool_per_request;
mod process_per_connection;
mod sequential;
mod served;
mod show;
mod thread_per_connection;

#[path = "../shared/observed.rs"]
mod observed;
#[path = "../shared/options.rs"]
mod values;

use clients::{FILE, Scenario};
use lab::program::{self, Program};
use lab::progress::Progress;
use lab::trace::Trace;
use measure::Cell;
use model::Model;
use options::Args;
use std::error::Error;
use std::process::ExitCode;

/// The content of the file that is served.
const CONTENT: &str = "Six servers answer with this file.\n";

const LEAD: &str = "Six servers serve the same file after the same simulated delay. They differ in \
    who waits for a client: the only thread, a process, a thread, a worker, or nobody.";

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(model) = args.serve {
        model.serve(&args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut program = Program::new(&args.common, "Six servers", LEAD);
    program.text(&describe(&args));
    let root = tempfile::tempdir()?;
    std::fs::write(root.path().join(FILE), CONTENT)?;
    let runs = Scenario::ALL.len() * Model::ALL.len() * args.rounds();
    let _progress = Progress::start("models", args.length() * u32::try_from(runs)?);
    let mut cells = Vec::new();
    for scenario in Scenario::ALL {
        let mut runs: Vec<Vec<_>> = Model::ALL.iter().map(|_| Vec::new()).collect();
        // Every model has its turn in each round, so that a machine that gets slower favours none.
        for _ in 0..args.rounds() {
            for (model, runs) in Model::ALL.into_iter().zip(&mut runs) {
                let measured =
                    program.until_sound(|| measure::once(model, scenario, &args, root.path()))?;
                let (one, spoilt) = measured;
                if let Some(reason) = spoilt {
                    program.spoilt(format!("{}, {}: {reason}", model.name(), scenario.name()));
                }
                runs.push(one);
            }
        }
        let models = Model::ALL.into_iter().zip(runs);
        cells.extend(models.map(|(model, runs)| Cell::of(model, scenario, runs)));
    }
    if let Some(path) = &args.common.csv {
        let mut trace = Trace::create(path)?;
        for cell in &cells {
            let name = format!("{}, {}", cell.model.name(), cell.scenario.name());
            trace.add(&name, &cell.outcomes)?;
        }
        trace.finish()?;
    }
    show::show(&mut program, &args, &cells)?;
    program.finish()
}

fn describe(args: &Args) -> String {
    let Args { workers, delay, slow, .. } = args;
    format!(
        "W = {workers} workers in each pool, D = {delay:?}. Clients send a request as soon as the \
         one before it is answered, each on a new connection: few are {}, many are {}. Beside the \
         few, {slow} others are silent (they connect and send nothing) or slow (they send a \
         request one byte at a time).",
        args.few(),
        args.many()
    )
}
