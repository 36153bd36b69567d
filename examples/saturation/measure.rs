//! Runs one load on one server: figures from the client's side, from the server's side, and of the
//! twin.

use crate::options::{Args, Load, Pattern};
use crate::pool;
use crate::settled::settled;
use cws::{Config, Figures, Server};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Connections, Outcome, Target};
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::twin::{Fate, Twin};
use std::error::Error;
use std::time::Duration;

/// Longer than any wait: all carried requests are counted, however late.
const PATIENCE: Duration = Duration::from_secs(60);

/// More kept connections than are ever used.
const CONNECTIONS: usize = 4000;

/// A response is good within this many service times.
const GOOD_WITHIN: u32 = 20;

/// The first half of a run above the capacity, while the queue grows, is not counted.
const COUNTED_FROM: f64 = 0.5;

pub struct Bench<'a> {
    args: &'a Args,
    url: Option<Target>,
    /// The capacity in requests per second: W divided by the measured service time.
    capacity: f64,
}

/// The load of the run that measures the service time.
const CALIBRATION_LOAD: f64 = 0.5;
const CALIBRATION_REQUESTS: u64 = 100;

/// The tolerated error of a figure, as a share of it.
pub struct Tolerance {
    pub carried: f64,
    pub law: f64,
    pub twin: f64,
    /// An additional tolerated error of a wait, as a share of the service time: waking a thread
    /// takes time.
    pub floor: f64,
}

/// The results of one run.
pub struct Run {
    pub load: Load,
    /// Offered requests per second.
    pub offered: f64,
    /// Answered requests per second.
    pub carried: f64,
    /// Good responses per second.
    pub good: f64,
    /// The mean time that a request occupied a worker.
    pub service: Duration,
    pub latencies: Sample,
    /// The queue waits, as the server reports them.
    pub waits: Sample,
    /// The queue waits of the twin.
    pub twin: Sample,
    pub outcomes: Vec<Outcome>,
    /// The server's own figures. `None` for a server that runs elsewhere.
    pub inside: Option<Inside>,
    pub spoilt: Option<String>,
}

/// The server's own figures.
pub struct Inside {
    pub utilisation: f64,
    /// The relative error of the utilisation law.
    pub law: f64,
    /// The relative error of Little's law.
    pub little: f64,
}

impl Run {
    pub fn name(&self) -> String {
        let Load { times, pattern } = self.load;
        match pattern {
            Pattern::Poisson => format!("{times}"),
            Pattern::Constant => format!("{times} constant"),
        }
    }
}

impl<'a> Bench<'a> {
    pub fn new(args: &'a Args) -> Result<Self, Box<dyn Error>> {
        let url = args.url.as_deref().map(Target::find).transpose()?;
        let nominal = args.workers as f64 / args.delay().as_secs_f64();
        let mut bench = Self { args, url, capacity: nominal };
        // A request takes a little more than D; the loads are multiples of the measured capacity.
        let starts = Arrivals::constant(CALIBRATION_LOAD * nominal)
            .starts(Stop::Count(CALIBRATION_REQUESTS));
        let load = Load { times: CALIBRATION_LOAD, pattern: Pattern::Constant };
        let (run, _) = bench.measure(load, &starts)?;
        bench.capacity = bench.capacity_of(&run);
        Ok(bench)
    }

    pub fn workers(&self) -> usize {
        self.args.workers
    }

    pub fn delay(&self) -> Duration {
        self.args.delay()
    }

    pub fn seed(&self) -> u64 {
        self.args.common.seed
    }

    pub fn length(&self) -> Duration {
        self.args.length()
    }

    pub fn good_within(&self) -> Duration {
        self.delay() * GOOD_WITHIN
    }

    /// The capacity of W workers with the service time of this run.
    pub fn capacity_of(&self, run: &Run) -> f64 {
        self.workers() as f64 / run.service.as_secs_f64()
    }

    /// The number of runs of the twin at each load of the band.
    pub fn band_runs(&self) -> u64 {
        if self.args.common.quick { 20 } else { 60 }
    }

    pub fn tolerance(&self) -> Tolerance {
        match self.args.common.quick {
            true => Tolerance { carried: 0.05, law: 0.03, twin: 0.2, floor: 0.1 },
            false => Tolerance { carried: 0.01, law: 0.01, twin: 0.05, floor: 0.02 },
        }
    }

    pub fn describe(&self) -> String {
        let whose = match &self.url {
            Some(target) => format!("The server at {}", target.host),
            None => "A pool in this process".to_owned(),
        };
        let workers = self.workers();
        format!(
            "{whose}: W = {workers}, D = {:?}. A request takes a worker {:.2?}, so W/D = {:.0} \
             requests per second. Each run lasts {:?}; a response is good within {:?}.",
            self.delay(),
            Duration::from_secs_f64(workers as f64 / self.capacity),
            self.capacity,
            self.length(),
            self.good_within()
        )
    }

    pub fn all(&self, program: &mut Program) -> Result<Vec<Run>, Box<dyn Error>> {
        let mut runs = Vec::new();
        for load in self.args.loads() {
            let (mut run, spoilt) = program.until_sound(|| {
                let (run, reasons) = self.measure(load, &self.starts(load))?;
                Ok::<_, Box<dyn Error>>((run, reasons))
            })?;
            if let Some(why) = &spoilt {
                program.say(&format!("the run {} is invalid: {why}", run.name()));
            }
            run.spoilt = spoilt;
            runs.push(run);
        }
        Ok(runs)
    }

    fn start(&self) -> Result<(Option<Server>, Target), Box<dyn Error>> {
        if let Some(target) = &self.url {
            return Ok((None, target.clone()));
        }
        // No request is refused: the queue never gets full, and no request gets too old.
        let config =
            Config::default().queue(Config::QUEUE_MOST).queue_timeout(Config::LONGEST_WAIT);
        let server = pool::start(self.workers(), self.delay(), config)?;
        let address = *server.addresses().first().ok_or("the server has no address")?;
        Ok((Some(server), Target::new(address, "/")))
    }

    fn starts(&self, load: Load) -> Vec<Duration> {
        let rate = load.times * self.capacity;
        let arrivals = match load.pattern {
            Pattern::Poisson => Arrivals::poisson(rate, self.seed()),
            Pattern::Constant => Arrivals::constant(rate),
        };
        arrivals.starts(Stop::After(self.length()))
    }

    fn measure(
        &self,
        load: Load,
        starts: &[Duration],
    ) -> Result<(Run, Vec<String>), Box<dyn Error>> {
        let (server, target) = self.start()?;
        let client = target.client(Connections::Kept(CONNECTIONS), PATIENCE);
        let before = server.as_ref().map(Server::snapshot);
        let progress = Progress::start(&format!("load {}", load.times), self.length());
        let run = client.open_loop(starts)?;
        drop(progress);
        let after = server.as_ref().map(settled);
        let figures = before.zip(after).map(|(before, after)| Figures::between(&before, &after));
        let reasons = run.conduct.spoilt(self.delay()).iter().map(ToString::to_string).collect();
        Ok((self.run(load, run.outcomes, figures.as_ref()), reasons))
    }

    fn run(&self, load: Load, mut outcomes: Vec<Outcome>, figures: Option<&Figures>) -> Run {
        outcomes.sort_unstable_by_key(|outcome| outcome.begun.unwrap_or(outcome.intended));
        let answered: Vec<&Outcome> = outcomes.iter().filter(|each| each.is_success()).collect();
        // The service time from the client's side: as the server reports it, or else as configured.
        let told: Sample = answered.iter().filter_map(|each| each.server.handle).collect();
        let delay = if told.count() > 0 { told.mean() } else { self.delay() };
        let service = figures.and_then(|figures| figures.service.mean).unwrap_or(delay);
        let beside = service.saturating_sub(delay);
        let took = |number: usize| answered[number].server.handle.unwrap_or(delay) + beside;
        let arrivals: Vec<Duration> =
            answered.iter().map(|each| each.begun.unwrap_or(each.intended)).collect();
        let twin = Twin::unbounded(self.workers(), service).replay_services(&arrivals, took);
        let length = self.length();
        // Above the capacity, count what is answered during the load; below it, count all.
        let from = if load.times > 1.0 { length.mul_f64(COUNTED_FROM) } else { Duration::ZERO };
        let to = if load.times > 1.0 { length } else { Duration::MAX };
        let rate = |count: usize| count as f64 / (length - from).as_secs_f64();
        let within = |time: Duration| time >= from && time < to;
        let carried = answered.iter().filter(|each| within(each.ended)).count();
        let good = answered.iter().filter(|each| within(each.intended));
        let good = good.filter(|each| each.is_good(self.good_within())).count();
        // Without the server's figures, the wait is the rest of the latency.
        let wait = |each: &Outcome| each.latency().saturating_sub(service);
        Run {
            load,
            offered: outcomes.len() as f64 / length.as_secs_f64(),
            carried: rate(carried),
            good: rate(good),
            service,
            latencies: answered.iter().map(|each| each.latency()).collect(),
            waits: answered
                .iter()
                .map(|each| each.server.queue_wait.unwrap_or(wait(each)))
                .collect(),
            twin: twin.into_iter().filter_map(Fate::wait).collect(),
            inside: figures.map(|figures| self.inside(figures)),
            outcomes,
            spoilt: None,
        }
    }

    fn inside(&self, figures: &Figures) -> Inside {
        let utilisation = figures.utilisation.total();
        let service = figures.service.mean.unwrap_or_default().as_secs_f64();
        let by_law = figures.handled * service / self.workers() as f64;
        Inside {
            utilisation,
            law: utilisation / by_law - 1.0,
            little: figures.little.map_or(f64::INFINITY, |little| little.residual()),
        }
    }
}
