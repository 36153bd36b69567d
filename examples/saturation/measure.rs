//! The runs: one load on one server, as seen from outside and from inside, and by the twin.

use crate::options::{Args, Load, Pattern};
use crate::pool;
use cws::{Config, Figures, Server, Snapshot};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Connections, Outcome, Target};
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::twin::{Fate, Twin};
use std::error::Error;
use std::time::{Duration, Instant};

/// Nobody hangs up: what is carried is to be seen, however late.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections that are kept, more than ever are in use.
const CONNECTIONS: usize = 4000;

/// A request is good that is answered within so many service times.
const GOOD_WITHIN: u32 = 20;

/// The first half of a run beyond the capacity, in which the queue comes to be, is not counted.
const COUNTED_FROM: f64 = 0.5;

pub struct Bench<'a> {
    args: &'a Args,
    url: Option<Target>,
    /// What the pool carries, in requests a second: W over the service time that was found.
    capacity: f64,
}

/// The run that finds the service time.
const CALIBRATION_LOAD: f64 = 0.5;
const CALIBRATION_REQUESTS: u64 = 100;

/// How far off a figure may be, as a part of it.
pub struct Tolerance {
    pub carried: f64,
    pub law: f64,
    pub twin: f64,
    /// A wait may be off by such a part of the service time, however short it is: waking a thread
    /// takes time.
    pub floor: f64,
}

/// One run.
pub struct Run {
    pub load: Load,
    /// Requests a second that came.
    pub offered: f64,
    /// Requests a second that were answered.
    pub carried: f64,
    /// Requests a second that were answered in good time.
    pub good: f64,
    /// The mean time that a worker had a request.
    pub service: Duration,
    pub latencies: Sample,
    /// The time from queued to taken, as the server says it.
    pub waits: Sample,
    /// The same, of the twin.
    pub twin: Sample,
    pub outcomes: Vec<Outcome>,
    /// What the server's own figures say; none for one that runs elsewhere.
    pub inside: Option<Inside>,
    pub spoilt: Option<String>,
}

/// The server's own figures.
pub struct Inside {
    pub utilisation: f64,
    /// How far the utilisation law is off, as a part.
    pub law: f64,
    /// How far Little's law is off, as a part.
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
        // A request takes a little more than D; the loads are times what is really carried.
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

    /// Requests a second that W workers carry with the service time that a run had.
    pub fn capacity_of(&self, run: &Run) -> f64 {
        self.workers() as f64 / run.service.as_secs_f64()
    }

    /// Runs of the twin at each load that the band is taken from.
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
            None => "A pool of this process".to_owned(),
        };
        let workers = self.workers();
        format!(
            "{whose}: W = {workers}, D = {:?}. A request takes a worker {:.2?}, so W/D = {:.0} \
             requests a second. Each run lasts {:?}; good is what is answered within {:?}.",
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
                program.say(&format!("the machine spoilt the run {}: {why}", run.name()));
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
        // Nobody is refused: the queue has no bound that is reached, and nothing grows too old.
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
        // From outside: what the server says of its handlers, or what it was said to take.
        let told: Sample = answered.iter().filter_map(|each| each.server.delay).collect();
        let delay = if told.count() > 0 { told.mean() } else { self.delay() };
        let service = figures.and_then(|figures| figures.service.mean).unwrap_or(delay);
        let beside = service.saturating_sub(delay);
        let took = |number: usize| answered[number].server.delay.unwrap_or(delay) + beside;
        let arrivals: Vec<Duration> =
            answered.iter().map(|each| each.begun.unwrap_or(each.intended)).collect();
        let twin = Twin::unbounded(self.workers(), service).replay_services(&arrivals, took);
        let length = self.length();
        // Above the capacity, what is answered while the load lasts; below it, all there is.
        let from = if load.times > 1.0 { length.mul_f64(COUNTED_FROM) } else { Duration::ZERO };
        let to = if load.times > 1.0 { length } else { Duration::MAX };
        let rate = |count: usize| count as f64 / (length - from).as_secs_f64();
        let within = |time: Duration| time >= from && time < to;
        let carried = answered.iter().filter(|each| within(each.ended)).count();
        let good = answered.iter().filter(|each| within(each.intended));
        let good = good.filter(|each| each.is_good(self.good_within())).count();
        // From outside, the wait is what is left of the latency.
        let wait = |each: &Outcome| each.latency().saturating_sub(service);
        Run {
            load,
            offered: outcomes.len() as f64 / length.as_secs_f64(),
            carried: rate(carried),
            good: rate(good),
            service,
            latencies: answered.iter().map(|each| each.latency()).collect(),
            waits: answered.iter().map(|each| each.server.queue.unwrap_or(wait(each))).collect(),
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

/// The figures once the last worker has let go of its request, which is after its client has the
/// answer.
fn settled(server: &Server) -> Snapshot {
    let begun = Instant::now();
    loop {
        let snapshot = server.snapshot();
        let is_settled = snapshot.arrivals() == snapshot.departures();
        if is_settled || begun.elapsed() > Duration::from_secs(1) {
            return snapshot;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
