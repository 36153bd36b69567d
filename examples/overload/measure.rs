//! Runs one policy at one load, and records what clients and workers see.

use crate::options::Args;
use crate::policy::Policy;
use cws::{AccessLog, Config, Delay, Handler, Request, Response, Server};
use lab::arrivals::{Arrivals, Rate, Stop};
use lab::load::{Answer, Client, Connections, Outcome, Retries, Target};
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::twin::{Fate, Twin};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub struct Bench<'a> {
    args: &'a Args,
    url: Option<Target>,
}

/// One policy at one load.
pub struct Cell {
    pub policy: Policy,
    /// The load as a multiple of the capacity.
    pub times: f64,
    pub goodput: f64,
    /// The goodput of an ideal pool with the same arrivals. `None` if microseconds decide what is
    /// good.
    pub twin: Option<f64>,
    /// Of the good responses.
    pub latencies: Sample,
    pub outcomes: Vec<Outcome>,
    pub services: Vec<Service>,
    pub spoilt: Option<String>,
}

/// One service of a worker. Times count from the start of the load.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    pub worker: usize,
    pub start: Duration,
    pub end: Duration,
}

/// A finished load.
pub struct Run {
    pub outcomes: Vec<Outcome>,
    pub services: Vec<Service>,
    reasons: Vec<String>,
}

/// A handler that records which worker serves when.
struct Watched<H> {
    inner: H,
    seen: Arc<Mutex<Vec<(usize, Instant, Instant)>>>,
}

impl<H: Handler> Handler for Watched<H> {
    type State = H::State;

    fn state(&self, worker: usize) -> H::State {
        self.inner.state(worker)
    }

    fn handle(&self, request: &Request<'_>, state: &mut H::State) -> Result<Response, cws::Error> {
        let start = Instant::now();
        let response = self.inner.handle(request, state);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((request.worker(), start, Instant::now()));
        response
    }
}

impl Cell {
    pub fn name(&self) -> String {
        format!("{}, m = {}", self.policy.name(), self.times)
    }
}

impl<'a> Bench<'a> {
    pub fn new(args: &'a Args) -> Result<Self, Box<dyn Error>> {
        let url = args.url.as_deref().map(Target::find).transpose()?;
        Ok(Self { args, url })
    }

    pub fn workers(&self) -> usize {
        self.args.workers
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
        self.workers() as f64 / self.args.delay().as_secs_f64()
    }

    pub fn policies(&self) -> Vec<Policy> {
        match (&self.url, self.is_quick()) {
            (Some(_), _) => vec![Policy::AsItRuns],
            (None, true) => vec![Policy::Unbounded, Policy::BoundAndAge],
            (None, false) => Policy::ALL.to_vec(),
        }
    }

    pub fn loads(&self) -> &'static [f64] {
        if self.is_quick() { &[0.8, 3.0] } else { &[0.8, 1.1, 2.0, 5.0, 10.0] }
    }

    fn length(&self) -> Duration {
        Duration::from_millis(if self.is_quick() { 500 } else { 1500 })
    }

    /// The first part of a run, while the queue fills, is not counted.
    fn counted_from(&self) -> Duration {
        self.length().mul_f64(0.25)
    }

    /// The minimum goodput beyond the knee.
    pub fn kept(&self) -> f64 {
        if self.is_quick() { 0.8 } else { crate::KEPT }
    }

    pub fn twin_tolerance(&self) -> f64 {
        if self.is_quick() { 0.15 } else { 0.05 }
    }

    pub fn describe(&self) -> String {
        format!(
            "W = {}, D = {:?}, T = {:?}, so W/D = {:.0} requests a second. Each run lasts {:?}, \
             with Poisson arrivals at m times that, each on a connection of its own.",
            self.workers(),
            self.args.delay(),
            self.patience(),
            self.capacity(),
            self.length()
        )
    }

    pub fn all(&self, program: &mut Program) -> Result<Vec<Cell>, Box<dyn Error>> {
        let mut cells = Vec::new();
        for policy in self.policies() {
            for &times in self.loads() {
                let rate = Rate::constant(times * self.capacity());
                let starts =
                    Arrivals::poisson(rate, self.seed()).starts(Stop::After(self.length()));
                let (run, spoilt) = self.measure(program, policy, &starts, Retries::NONE)?;
                let cell = self.cell(policy, times, run, spoilt);
                if let Some(why) = &cell.spoilt {
                    program.say(&format!("the run {} is invalid: {why}", cell.name()));
                }
                cells.push(cell);
            }
        }
        Ok(cells)
    }

    fn cell(&self, policy: Policy, times: f64, run: Run, spoilt: Option<String>) -> Cell {
        let Run { outcomes, services, .. } = run;
        let (from, to) = (self.counted_from(), self.length());
        Cell {
            policy,
            times,
            goodput: self.goodput(&outcomes, from, to),
            twin: self.twin_goodput(policy, &outcomes, &services),
            latencies: self.good(&outcomes, from, to).map(|each| each.latency()).collect(),
            outcomes,
            services,
            spoilt,
        }
    }

    /// The good outcomes among those with an intended start in a time interval.
    fn good<'b>(
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

    /// Their rate divided by the capacity.
    pub fn goodput(&self, outcomes: &[Outcome], from: Duration, to: Duration) -> f64 {
        let good = self.good(outcomes, from, to).count() as f64;
        good / (to - from).as_secs_f64() / self.capacity()
    }

    fn twin_goodput(
        &self,
        policy: Policy,
        outcomes: &[Outcome],
        services: &[Service],
    ) -> Option<f64> {
        if matches!(policy, Policy::WholePatience | Policy::AsItRuns) || services.is_empty() {
            return None;
        }
        let service = services.iter().map(|each| each.end - each.start).collect::<Sample>().mean();
        let (queue, age) = policy.bounds(self.workers(), self.args.delay(), self.patience());
        let twin = Twin { workers: self.workers(), service, queue, age };
        let mut arrivals: Vec<Duration> = outcomes.iter().map(|each| each.intended).collect();
        arrivals.sort_unstable();
        let fates = twin.replay(&arrivals);
        let (from, to) = (self.counted_from(), self.length());
        let good = |(arrival, fate): &(&Duration, Fate)| {
            let latency = fate.wait().map(|wait| wait + service);
            (from..to).contains(*arrival) && latency.is_some_and(|time| time <= self.patience())
        };
        let good = arrivals.iter().zip(fates).filter(good).count() as f64;
        Some(good / (to - from).as_secs_f64() / self.capacity())
    }

    /// Runs a load under a policy, and repeats it if the machine disturbed it.
    pub fn measure(
        &self,
        program: &mut Program,
        policy: Policy,
        starts: &[Duration],
        retries: Retries,
    ) -> Result<(Run, Option<String>), Box<dyn Error>> {
        program.until_sound(|| {
            let mut run = self.measure_once(policy, starts, retries)?;
            let reasons = std::mem::take(&mut run.reasons);
            Ok((run, reasons))
        })
    }

    fn measure_once(
        &self,
        policy: Policy,
        starts: &[Duration],
        retries: Retries,
    ) -> Result<Run, Box<dyn Error>> {
        let seen = Arc::default();
        let (server, target) = match &self.url {
            Some(target) => (None, target.clone()),
            None => {
                let server = self.start(policy, Arc::clone(&seen))?;
                let address = *server.addresses().first().ok_or("the server has no address")?;
                (Some(server), Target::new(address, "/"))
            }
        };
        let client = Client { retries, ..target.client(Connections::NewEach, self.patience()) };
        let last = starts.last().copied().unwrap_or_default();
        let progress = Progress::start(policy.name(), last);
        let clock = Instant::now();
        let run = client.open_loop(starts)?;
        drop((progress, server));
        // The patience decides what is good, so it also limits the generator's lateness.
        let reasons = run.conduct.spoilt(self.patience());
        let reasons = reasons.iter().map(ToString::to_string).collect();
        let since = |moment: Instant| moment.saturating_duration_since(clock);
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let services = seen.iter().map(|&(worker, start, end)| Service {
            worker,
            start: since(start),
            end: since(end),
        });
        let mut services: Vec<Service> = services.collect();
        services.sort_unstable_by_key(|service| service.start);
        let mut outcomes = run.outcomes;
        outcomes.sort_unstable_by_key(|each| each.begun.unwrap_or(each.intended));
        Ok(Run { outcomes, services, reasons })
    }

    fn start(
        &self,
        policy: Policy,
        seen: Arc<Mutex<Vec<(usize, Instant, Instant)>>>,
    ) -> Result<Server, Box<dyn Error>> {
        let delay = self.args.delay();
        let (queue, queue_timeout) = policy.bounds(self.workers(), delay, self.patience());
        let config = Config {
            workers: self.workers(),
            queue,
            queue_timeout,
            max_connections: cws::descriptor_limit() / 2,
            access_log: AccessLog::Off,
            server_timing: true,
            // Nobody waits for requests that are queued when the run ends.
            drain_timeout: Duration::ZERO,
            ..Config::default()
        };
        let respond = |_: &Request<'_>| Response::ok("text/plain", "done\n");
        Ok(Server::start(config, Watched { inner: Delay::new(delay, respond), seen })?)
    }
}

/// Whether a worker served the request, so that it was not refused.
pub fn was_taken(outcome: &Outcome) -> bool {
    outcome.answer != Answer::Status(503)
}
