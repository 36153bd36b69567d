//! Real pools and real sockets: some of the cases, several runs of each at the same time.

use crate::behaviour::Behaviour;
use crate::options::Args;
use crate::policy::Policy;
use crate::scenario::{Figures, Scenario};
use cws::{Delay, Request, Response, Server};
use lab::load::{Client, Connections, Outcome, Target};
use lab::program::Program;
use lab::progress::Progress;
use lab::simulation::Sent;
use std::error::Error;
use std::thread;
use std::time::Duration;

/// A base load that leaves half of the pool idle: what happens without a bound, where retries of
/// .75 would be beyond the capacity in any case.
const HALF: Scenario =
    Scenario { base: 0.5, size: 3.0, begin: 20, length: 60, after: 160, window: 40 };

/// A throttle takes a while to see that it throttles too much.
const LONG: Scenario = Scenario { after: 480, ..HALF };

/// The load of the promise: three times .75 for 60 D.
const HIGH: Scenario = Scenario { base: 0.75, after: 110, ..HALF };

/// The same, but shorter.
const QUICK: Scenario =
    Scenario { base: 0.5, size: 3.0, begin: 10, length: 30, after: 110, window: 30 };
const QUICK_HIGH: Scenario = Scenario { base: 0.75, ..QUICK };

/// One that no run without a bound recovers from.
const QUICK_HARD: Scenario = Scenario { size: 3.0, length: 40, ..QUICK };

/// How much longer real services are, on average.
const NOISE: f64 = 0.01;

/// A policy and a behaviour in a scenario.
pub struct Cell {
    pub policy: Policy,
    pub behaviour: Behaviour,
    pub scenario: Scenario,
    /// The figures of each run.
    pub figures: Vec<Figures>,
    /// The figures of the simulation with the same arrivals.
    pub simulated: Vec<Figures>,
    /// The requests of the first run.
    pub sent: Vec<Sent>,
    pub outcomes: Vec<Outcome>,
    pub spoilt: Option<String>,
}

/// The cases that are measured.
fn cases(quick: bool) -> Vec<(Policy, Behaviour, Scenario)> {
    if quick {
        return vec![
            (Policy::Unbounded, Behaviour::AtOnce, QUICK_HARD),
            (Policy::Unbounded, Behaviour::Budget, QUICK),
            (Policy::Deadline, Behaviour::AtOnce, QUICK_HIGH),
        ];
    }
    let unbounded = Behaviour::ALL.map(|each| {
        let scenario = if each == Behaviour::Throttle { LONG } else { HALF };
        (Policy::Unbounded, each, scenario)
    });
    let deadline = Behaviour::ALL.map(|each| (Policy::Deadline, each, HIGH));
    let collapse = (Policy::Unbounded, Behaviour::AtOnce, HIGH);
    unbounded.into_iter().chain([collapse]).chain(deadline).collect()
}

impl Cell {
    pub fn name(&self) -> String {
        let Scenario { base, size, .. } = self.scenario;
        format!("{}, {}, {base} x {size}", self.policy.name(), self.behaviour.name())
    }
}

/// Measures all cases.
pub fn measure(program: &mut Program, args: &Args) -> Result<Vec<Cell>, Box<dyn Error>> {
    let mut cells = Vec::new();
    for (policy, behaviour, scenario) in cases(args.common.quick) {
        let (runs, spoilt) = program.until_sound(|| run_all(args, policy, behaviour, &scenario))?;
        let figures = runs.iter().map(|of| scenario.figures(args, &sent_of(of))).collect();
        let simulated = args.seeds().into_iter().map(|seed| {
            let starts = scenario.starts(args, seed).into_iter().map(|start| (start, 0));
            let retries = behaviour.retries(args.delay, seed);
            let sent = policy.simulation(args, retries, seed).run(&starts.collect::<Vec<_>>());
            scenario.figures(args, &sent)
        });
        let simulated = simulated.collect();
        let outcomes = runs.into_iter().next().unwrap_or_default();
        let sent = sent_of(&outcomes);
        let cell = Cell { policy, behaviour, scenario, figures, simulated, sent, outcomes, spoilt };
        if let Some(why) = &cell.spoilt {
            program.say(&format!("the runs {} are invalid: {why}", cell.name()));
        }
        cells.push(cell);
    }
    Ok(cells)
}

/// The faults of simulated pools that the checks must find.
pub const FAULTS: [&str; 2] =
    ["the server has no limits", "clients without a budget retry as if they had one"];

/// The cases with simulated pools in place of real ones, whose services vary a little.
pub fn twins(args: &Args, number: u64, fault: Option<usize>) -> Vec<Cell> {
    let far = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let cell = |(policy, behaviour, scenario): (Policy, Behaviour, Scenario)| {
        let run = |seed: u64, noise: f64, policy: Policy, behaviour: Behaviour| {
            let starts = scenario.starts(args, seed).into_iter().map(|start| (start, 0));
            let retries = behaviour.retries(args.delay, seed);
            let mut pool = policy.simulation(args, retries, seed);
            pool.noise = noise;
            scenario.figures(args, &pool.run(&starts.collect::<Vec<_>>()))
        };
        let is_free = matches!(behaviour, Behaviour::AtOnce | Behaviour::Backoff);
        let (policy_then, behaviour_then) = match fault {
            Some(0) if policy == Policy::Deadline => (Policy::Unbounded, behaviour),
            Some(1) if is_free => (policy, Behaviour::Budget),
            _ => (policy, behaviour),
        };
        let seeds = || args.seeds().into_iter().map(|seed| seed ^ far);
        Cell {
            policy,
            behaviour,
            scenario,
            figures: seeds().map(|of| run(of, NOISE, policy_then, behaviour_then)).collect(),
            simulated: seeds().map(|of| run(of, 0.0, policy, behaviour)).collect(),
            sent: Vec::new(),
            outcomes: Vec::new(),
            spoilt: None,
        }
    };
    cases(args.common.quick).into_iter().map(cell).collect()
}

/// What the figures need of the outcomes. A client hangs up when its patience for a try ends, so
/// every answer is in time.
fn sent_of(outcomes: &[Outcome]) -> Vec<Sent> {
    let sent = outcomes.iter().map(|outcome| Sent {
        intended: outcome.intended,
        tries: outcome.tries,
        answered: outcome.is_success().then_some(outcome.ended),
    });
    sent.collect()
}

type Runs = (Vec<Vec<Outcome>>, Vec<String>);

/// A run for each seed, side by side: the pools sleep most of the time.
fn run_all(
    args: &Args,
    policy: Policy,
    behaviour: Behaviour,
    scenario: &Scenario,
) -> Result<Runs, Box<dyn Error>> {
    let name = format!("{}, {}", policy.name(), behaviour.name());
    let progress = Progress::start(&name, args.delay * scenario.over());
    let one =
        |seed| run_one(args, policy, behaviour, scenario, seed).map_err(|error| error.to_string());
    let runs: Vec<_> = thread::scope(|scope| {
        let start = |seed| scope.spawn(move || one(seed));
        let threads: Vec<_> = args.seeds().into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    drop(progress);
    let (mut outcomes, mut reasons) = (Vec::new(), Vec::new());
    for run in runs {
        let (of, why) = run.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        outcomes.push(of);
        reasons.extend(why);
    }
    // One reason stands for all.
    let count = reasons.len();
    let first = reasons.into_iter().next();
    let reason = first.map(|first: String| format!("{first}; {count} such reasons in all"));
    Ok((outcomes, reason.into_iter().collect()))
}

fn run_one(
    args: &Args,
    policy: Policy,
    behaviour: Behaviour,
    scenario: &Scenario,
    seed: u64,
) -> Result<(Vec<Outcome>, Vec<String>), Box<dyn Error>> {
    let starts = scenario.starts(args, seed);
    let config = policy
        .config(args)
        .max_connections(cws::descriptor_limit() / 2 / args.seeds().len())
        // Nobody waits for requests that are queued when the run ends.
        .drain_timeout(Duration::ZERO);
    let respond = |_: &Request<'_>| Response::ok("text/plain", "done\n");
    let server = Server::start(config, Delay::new(args.delay, respond))?;
    let address = *server.addresses().first().ok_or("the server has no address")?;
    let client = Target::new(address, "/").client(Connections::NewEach, args.patience());
    let client = Client { retries: behaviour.retries(args.delay, seed), ..client };
    let run = client.open_loop(&starts)?;
    drop(server);
    // The patience decides what is good, so it also limits the generator's lateness.
    let reasons = run.conduct.spoilt(args.patience());
    let mut outcomes = run.outcomes;
    outcomes.sort_unstable_by_key(|outcome| outcome.intended);
    Ok((outcomes, reasons.iter().map(ToString::to_string).collect()))
}
