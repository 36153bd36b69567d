//! Shows what greedy clients leave to polite ones, in three orders of service.
//!
//! ```text
//! cargo run --release --example fairness
//! ```

mod case;
mod ideal;
mod judge;
mod measure;
mod options;
mod show;

#[path = "../shared/options.rs"]
mod values;

use case::Case;
use lab::program::{self, Program};
use lab::trace::Trace;
use lab::trial;
use options::Args;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const LEAD: &str = "A queue in order of arrival gives each client the share of the answers that it \
    has of the requests. So a client can take from others what they need, by asking more often or \
    on more connections. If clients take turns, it cannot: each gets what it asks for, up to a \
    fair share, and what one does not use the others get.";

const SHARES: &str = "The polite clients' requests that are answered in time. The bars are the \
    95 % intervals of the means over the runs.";

const TIMES: &str = "The 99th percentile of the time to an answer, of the polite clients, with the \
    intervals of its means.";

/// The time that repeated measurements may take, and with `--quick`.
const SPARE: Duration = Duration::from_secs(40);
const SPARE_QUICK: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let spare = if args.common.quick { SPARE_QUICK } else { SPARE };
    let mut program = Program::new(&args.common, "Greedy and polite clients", LEAD);
    program = program.with_spare(spare);
    program.text(&format!(
        "W = {}, D = {:?}, T = {:?}, so W/D = {:.0} requests a second. {} runs of each case; \
         after ± is half of the 95 % interval of the mean. Times are the clients' own, from the \
         intended start to the answer, in units of D: the wait and one service. Ideal: a \
         simulated pool with the same arrivals.",
        args.workers,
        args.delay,
        args.patience(),
        args.capacity(),
        args.runs()
    ));
    if let Some(count) = args.trial.twins {
        trial::run(&mut program, count, &ideal::FAULTS, |number, fault| {
            judge::judge(&ideal::twins(&args, number, fault))
        });
        return program.finish();
    }
    let cells = measure::measure(&mut program, &args)?;
    if let Some(path) = args.common.csv.as_deref() {
        let mut trace = Trace::create(path)?;
        for cell in &cells {
            for (party, outcomes) in [cell.case.greedy, cell.case.polite].iter().zip(&cell.outcomes)
            {
                trace.add(&format!("{}, {}", cell.name(), party.name), outcomes)?;
            }
        }
        trace.finish()?;
    }
    for case in Case::all(args.common.quick) {
        program.heading(&case.name);
        program.table(&show::table(&case, &cells));
    }
    program.heading("What the polite clients get");
    program.chart(&show::shares(&cells), SHARES)?;
    program.chart(&show::times(&cells), TIMES)?;
    for cell in &cells {
        if let Some(why) = &cell.spoilt {
            program.spoilt(format!("the runs {}: {why}", cell.name()));
        }
    }
    program.conclude(judge::judge(&cells));
    program.finish()
}
