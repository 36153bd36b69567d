//! Measures a model with a kind of clients.

use crate::clients::{Occupants, Scenario, ordinary};
use crate::model::Model;
use crate::observed::Held;
use crate::options::Args;
use crate::served::Served;
use lab::arrivals::Stop;
use lab::load::{Outcome, Population, Run, Think};
use lab::moments::Moments;
use lab::sample::Sample;
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// How often the memory is looked at during a run. It takes time of the processors, which the
/// clients and the server would use.
const LOOKS: u32 = 3;

/// The least number of answers from which the CPU time of one follows: the kernel's clock has steps
/// of a hundredth of a second.
const COUNTED: usize = 500;

/// How long a server has for its first answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The figures of a model with a kind of clients.
pub struct Cell {
    pub model: Model,
    pub scenario: Scenario,
    /// Answers per second, by round.
    pub rate: Moments,
    /// From the start of a request to its complete answer, of those that were answered.
    pub latency: Sample,
    /// What the server holds before clients come.
    pub rest: Held,
    /// The most that it holds with them.
    pub most: Held,
    /// Its CPU time for an answer; `None` if there are too few of them for the kernel's clock.
    pub cpu: Option<Duration>,
    pub outcomes: Vec<Outcome>,
}

/// One run of it.
pub struct One {
    run: Run,
    rest: Held,
    most: Held,
    cpu: Duration,
}

impl One {
    fn answered(&self) -> impl Iterator<Item = &Outcome> {
        self.run.outcomes.iter().filter(|outcome| outcome.is_success())
    }

    fn rate(&self) -> f64 {
        let end = self.answered().map(|outcome| outcome.ended).max();
        end.map_or(0.0, |end| self.answered().count() as f64 / end.as_secs_f64())
    }
}

impl Cell {
    pub fn of(model: Model, scenario: Scenario, runs: Vec<One>) -> Self {
        let latency = runs.iter().flat_map(One::answered).map(Outcome::latency).collect::<Sample>();
        let cpu: Duration = runs.iter().map(|one| one.cpu).sum();
        let most = |figure: fn(&One) -> Held| runs.iter().map(figure).reduce(Held::most);
        Self {
            model,
            scenario,
            rate: runs.iter().map(One::rate).collect(),
            rest: most(|one| one.rest).unwrap_or_default(),
            most: most(|one| one.most).unwrap_or_default(),
            cpu: (latency.count() >= COUNTED).then(|| cpu.div_f64(latency.count() as f64)),
            latency,
            outcomes: runs.into_iter().flat_map(|one| one.run.outcomes).collect(),
        }
    }

    /// The memory in KiB that each further client costs.
    pub fn memory_per(&self, clients: usize) -> f64 {
        let more = self.most.proportional.saturating_sub(self.rest.proportional);
        more as f64 / clients.max(1) as f64
    }
}

/// Runs a model once with a kind of clients. Returns why the run is invalid, too.
pub fn once(
    model: Model,
    scenario: Scenario,
    args: &Args,
    root: &Path,
) -> Result<(One, Vec<String>), Box<dyn Error>> {
    let served = Served::start(model, args, root)?;
    // Once it has answered, all of its threads run.
    ordinary(served.address, PATIENCE).open_loop(&[Duration::ZERO])?;
    let rest = served.held().ok_or("cannot read /proc: this program needs Linux")?;
    let clients = if scenario == Scenario::Many { args.many() } else { args.few() };
    // A server that works on one request at a time answers the last of them after this time.
    let longest = args.delay * u32::try_from(clients)?;
    let client = ordinary(served.address, 2 * longest);
    let _occupants = Occupants::connect(scenario, args.slow, served.address)?;
    let population = Population { clients, think: Think::None };
    let before = served.cpu_time();
    let (run, most) = beside(
        || client.closed_loop(&population, Stop::After(args.length())),
        || served.held(),
        args.length() / LOOKS,
    );
    let (run, cpu) = (run?, served.cpu_time().saturating_sub(before));
    let one = One { run, rest, most: most.unwrap_or(rest), cpu };
    // The generator's lateness is judged against the latencies that it measures.
    let latencies: Sample = one.answered().map(Outcome::latency).collect();
    let judged = if latencies.count() == 0 { longest } else { latencies.percentile(0.99) };
    let reasons = one.run.conduct.spoilt(judged);
    Ok((one, reasons.iter().map(ToString::to_string).collect()))
}

/// Does some work, and looks at the server every now and then until it is done.
fn beside<T>(
    work: impl FnOnce() -> T,
    look: impl Fn() -> Option<Held> + Sync,
    every: Duration,
) -> (T, Option<Held>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut most: Option<Held> = None;
            loop {
                let is_last = done.load(SeqCst);
                let now = look();
                most = most.zip(now).map(|(most, now)| most.most(now)).or(most).or(now);
                if is_last {
                    return most;
                }
                thread::sleep(every);
            }
        });
        let result = work();
        done.store(true, SeqCst);
        (result, looker.join().unwrap_or_default())
    })
}
