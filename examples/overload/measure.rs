//! Runs one policy at one load, and records what clients, workers and the queue see.

use crate::options::Args;
use crate::policy::Policy;
use crate::service::{Backend, Served, Service};
use cws::{AccessLog, Config, Observer, QueueState, Request, Response, Server};
use lab::load::{Answer, Client, Connections, Outcome, Retries, Target};
use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often the queue is sampled.
const TICK: Duration = Duration::from_millis(10);

/// The back-end may take this much longer than it was meant to, on average. More is the machine's.
const OVERTIME_MOST: f64 = 0.03;

/// The seed of the services is another stream than that of the arrivals.
const SERVICE_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

pub type Failed = Box<dyn Error + Send + Sync>;

pub struct Bench<'a> {
    pub args: &'a Args,
    url: Option<Target>,
}

/// What one run does.
#[derive(Debug, Clone)]
pub struct Task {
    pub policy: Policy,
    pub service: Service,
    pub seed: u64,
    pub starts: Vec<Duration>,
    pub retries: Retries,
    /// When the service changes, if it does.
    pub change: Duration,
}

/// A finished run.
pub struct Run {
    pub outcomes: Vec<Outcome>,
    pub served: Vec<Served>,
    /// The queue from time to time, if the service changes.
    pub samples: Vec<(Duration, QueueState)>,
    /// The queue at the end of the load.
    pub last: QueueState,
    /// Why the run shows nothing, if that is so.
    pub reasons: Vec<String>,
}

impl<'a> Bench<'a> {
    pub fn new(args: &'a Args) -> Result<Self, Box<dyn Error>> {
        let url = args.url.as_deref().map(Target::find).transpose()?;
        Ok(Self { args, url })
    }

    pub fn is_elsewhere(&self) -> bool {
        self.url.is_some()
    }

    pub fn workers(&self) -> usize {
        self.args.workers
    }

    pub fn delay(&self) -> Duration {
        self.args.delay()
    }

    pub fn patience(&self) -> Duration {
        self.args.patience()
    }

    pub fn is_quick(&self) -> bool {
        self.args.common.quick
    }

    pub fn seed(&self) -> u64 {
        self.args.common.seed
    }

    /// W/D in requests per second.
    pub fn capacity(&self) -> f64 {
        self.workers() as f64 / self.delay().as_secs_f64()
    }

    /// The good outcomes among those with an intended start in a time interval.
    pub fn good<'b>(
        &self,
        outcomes: &'b [Outcome],
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = &'b Outcome> {
        let patience = self.patience();
        outcomes
            .iter()
            .filter(move |each| (from..to).contains(&each.intended) && each.is_good(patience))
    }

    /// Their rate divided by W/D.
    pub fn goodput(&self, outcomes: &[Outcome], from: Duration, to: Duration) -> f64 {
        let good = self.good(outcomes, from, to).count() as f64;
        good / (to - from).as_secs_f64() / self.capacity()
    }

    /// Runs a load under a policy.
    pub fn run(&self, task: &Task) -> Result<Run, Failed> {
        let seed = task.seed ^ SERVICE_SEED;
        let backend = Arc::new(Backend::new(task.service, self.delay(), task.change, seed));
        let (server, target) = match &self.url {
            Some(target) => (None, target.clone()),
            None => {
                let server = self.start(task.policy, Arc::clone(&backend))?;
                let address = *server.addresses().first().ok_or("the server has no address")?;
                (Some(server), Target::new(address, "/"))
            }
        };
        let client = target.client(Connections::NewEach, self.patience());
        let client = Client { retries: task.retries, ..client };
        let changes = matches!(task.service, Service::Slower(_));
        let observer = server.as_ref().filter(|_| changes).map(Server::observer);
        let begun = backend.begin();
        let (run, samples) = sampled(observer, begun, || client.open_loop(&task.starts));
        let run = run?;
        let last = server.as_ref().map(|server| server.snapshot().queue).unwrap_or_default();
        drop(server);
        let served = backend.served();
        // The patience decides what is good, so it also limits the generator's lateness.
        let reasons = run.conduct.spoilt(self.patience());
        let reasons = reasons.iter().map(ToString::to_string).chain(overtime(&served)).collect();
        let mut outcomes = run.outcomes;
        outcomes.sort_unstable_by_key(|each| each.begun.unwrap_or(each.intended));
        Ok(Run { outcomes, served, samples, last, reasons })
    }

    fn start(&self, policy: Policy, backend: Arc<Backend>) -> Result<Server, Failed> {
        let config = Config::default()
            .workers(self.workers())
            // Several servers run side by side.
            .max_connections(cws::descriptor_limit() / 4 / self.args.at_once().max(1))
            .access_log(AccessLog::Off)
            .server_timing(true)
            // Nobody waits for requests that are queued when the run ends.
            .drain_timeout(Duration::ZERO);
        let config = policy.configure(config, self.delay(), self.patience());
        let handler = move |request: &Request<'_>| {
            backend.serve(request.worker());
            Response::ok("text/plain", "done\n")
        };
        Ok(Server::start(config, handler)?)
    }
}

/// Does `work`, and samples the queue meanwhile.
fn sampled<T>(
    observer: Option<Observer>,
    begun: Instant,
    work: impl FnOnce() -> T,
) -> (T, Vec<(Duration, QueueState)>) {
    let Some(observer) = observer else { return (work(), Vec::new()) };
    thread::scope(|scope| {
        let (working, ended) = mpsc::channel::<()>();
        let sampler = scope.spawn(move || {
            let mut samples = Vec::new();
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                samples.push((begun.elapsed(), observer.snapshot().queue));
            }
            samples
        });
        let done = work();
        drop(working);
        (done, sampler.join().unwrap_or_default())
    })
}

/// Says so if the back-end took longer than it was meant to: a thread that sleeps wakes up late
/// where the processors are busy.
fn overtime(served: &[Served]) -> Option<String> {
    let meant: Duration = served.iter().map(|each| each.drawn).sum();
    let took: Duration = served.iter().map(|each| each.end - each.start).sum();
    let over = took.as_secs_f64() / meant.as_secs_f64() - 1.0;
    (over > OVERTIME_MOST).then(|| {
        format!(
            "the back-end took {:.1} % longer than it was meant to, {:.0} % allowed (stop other \
             programs)",
            over * 100.0,
            OVERTIME_MOST * 100.0
        )
    })
}

/// Whether a worker served the request, so that it was not refused.
pub fn was_taken(outcome: &Outcome) -> bool {
    outcome.answer != Answer::Status(503)
}
