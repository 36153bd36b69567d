//! Runs one load on one server: figures from the client's side, from the server's side, and of the
//! twin.

use crate::options::{Args, Load, Pattern};
use crate::pool;
use crate::settled::settled;
use cws::{Config, Figures, Server, ServiceTime};
use lab::anatomy::{self, Anatomy, Pool};
use lab::arrivals::{Arrivals, Stop};
use lab::kernel;
use lab::load::{Connections, Outcome, Target};
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::twin::{Fate, Twin};
use std::error::Error;
use std::thread;
use std::time::Duration;

/// Longer than any wait: all carried requests are counted, however late.
const PATIENCE: Duration = Duration::from_secs(60);

/// More kept connections than are ever used.
const CONNECTIONS: usize = 2000;

/// A response is good within this many service times.
const GOOD_WITHIN: u32 = 20;

/// The first half of a run above the capacity, while the queue grows, is not counted.
const COUNTED_FROM: f64 = 0.5;

/// The load of the runs beside the kernel's count.
pub const COUNTED_LOAD: f64 = 0.7;

/// The run that measures how long an idle worker takes to wake up: at this load with constant gaps,
/// no request waits for another.
const ALONE_LOAD: f64 = 0.5;
const ALONE: u64 = 200;
const ALONE_QUICK: u64 = 40;

/// Nothing is sent for this long at the start of a run beside the kernel's count.
const IDLE: Duration = Duration::from_millis(60);

/// An error that can leave a thread.
pub type Failed = Box<dyn Error + Send + Sync>;

/// The same as an error of the program.
pub fn plain(error: Failed) -> Box<dyn Error> {
    error
}

pub struct Bench<'a> {
    pub args: &'a Args,
    url: Option<Target>,
    /// How long an idle worker takes to wake up.
    pub waking: Duration,
}

/// The results of one run.
pub struct Run {
    pub load: Load,
    /// Offered requests per second.
    pub offered: f64,
    /// Answered requests per second.
    pub carried: f64,
    /// The same of ideal pools with the same arrivals: one with the services of the option, and one
    /// with the services as they were.
    pub ideal: [f64; 2],
    /// Good responses per second.
    pub good: f64,
    /// The mean time that a request occupied a worker, by the server.
    pub service: Duration,
    pub latencies: Sample,
    /// The queue waits, as the server reports them.
    pub waits: Sample,
    /// The queue waits of the twin that knows the schedule and the law of the services alone, and
    /// of the one that gets the arrivals and the services as they were.
    pub twin: Sample,
    pub fed: Sample,
    /// The latencies of the latter.
    pub fed_latencies: Sample,
    /// `None` for a server that does not report its times.
    pub anatomy: Option<Anatomy>,
    /// The share of the workers' time that the server counts as busy.
    pub busy: Option<f64>,
    pub outcomes: Vec<Outcome>,
}

/// What a run gives, of a real pool or of an ideal one.
pub struct Taken {
    pub outcomes: Vec<Outcome>,
    pub service: Option<Duration>,
    pub busy: Option<f64>,
}

/// One run beside the kernel's count. The times of all requests together, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    pub looks: usize,
    /// The requests.
    pub count: usize,
    /// Open connections, by the kernel; and the same by the client's clock.
    pub open: f64,
    pub lasted: f64,
    /// Sleeping workers, by the kernel; and the requests that clients count, times the service time
    /// that the server was told.
    pub asleep: Option<f64>,
    pub told: f64,
    pub length: f64,
}

impl<'a> Bench<'a> {
    pub fn new(args: &'a Args) -> Result<Self, Failed> {
        let url = args.url.as_deref().map(Target::find).transpose()?;
        let mut bench = Self { args, url, waking: Duration::ZERO };
        bench.waking = bench.alone()?;
        Ok(bench)
    }

    /// A bench of pools in this process, or of ideal ones.
    pub fn within(args: &'a Args, waking: Duration) -> Self {
        Self { args, url: None, waking }
    }

    /// The mean wait of requests that wait for no other: an idle worker takes a while to wake up.
    fn alone(&self) -> Result<Duration, Failed> {
        let (_server, target) = self.start(self.args.delay().into())?;
        let client = target.client(Connections::Kept(CONNECTIONS), PATIENCE);
        let count = if self.args.common.quick { ALONE_QUICK } else { ALONE };
        let arrivals = Arrivals::constant(ALONE_LOAD * self.capacity());
        let run = client.open_loop(&arrivals.starts(Stop::Count(count)))?;
        // Without the first ones, which find cold caches.
        let warm = run.outcomes.iter().skip(run.outcomes.len() / 4);
        Ok(warm.filter_map(|outcome| outcome.server.queue_wait).collect::<Sample>().mean())
    }

    pub fn workers(&self) -> usize {
        self.args.workers
    }

    pub fn delay(&self) -> Duration {
        self.args.delay()
    }

    /// W/D with the D of the options.
    pub fn capacity(&self) -> f64 {
        self.workers() as f64 / self.delay().as_secs_f64()
    }

    pub fn length(&self) -> Duration {
        self.args.length()
    }

    pub fn good_within(&self) -> Duration {
        self.delay() * GOOD_WITHIN
    }

    pub fn is_elsewhere(&self) -> bool {
        self.url.is_some()
    }

    /// The number of runs of the twin at each load of the band.
    pub fn band_runs(&self) -> u64 {
        if self.args.common.quick { 20 } else { 60 }
    }

    pub fn describe(&self) -> String {
        let whose = match &self.url {
            Some(target) => format!("The server at {}", target.host),
            None => "A pool in this process".to_owned(),
        };
        let runs = self.args.seeds().len();
        format!(
            "{whose}: W = {}, D: {}, so W/D = {:.0} requests per second. {runs} runs of each load, \
             {:?} each, with other arrivals; a response is good within {:?}. An idle worker takes \
             {:.0?} to wake up.",
            self.workers(),
            self.args.service(),
            self.capacity(),
            self.length(),
            self.good_within(),
            self.waking
        )
    }

    /// All runs of all loads.
    pub fn all(&self, program: &mut Program) -> Result<Vec<Run>, Failed> {
        let mut runs = Vec::new();
        for load in self.args.loads() {
            let (of_load, spoilt) = program.until_sound(|| self.side_by_side(load))?;
            if let Some(why) = spoilt {
                program.spoilt(format!("the runs {}: {why}", load.name()));
            }
            runs.extend(of_load);
        }
        Ok(runs)
    }

    fn side_by_side(&self, load: Load) -> Result<(Vec<Run>, Vec<String>), Failed> {
        let seeds = self.args.seeds();
        let rounds = seeds.len().div_ceil(self.args.at_once()) as u32;
        let progress = Progress::start(&format!("load {}", load.name()), self.length() * rounds);
        let (mut runs, mut reasons) = (Vec::new(), Vec::new());
        for seeds in seeds.chunks(self.args.at_once()) {
            let made: Vec<Result<(Run, Vec<String>), Failed>> = thread::scope(|scope| {
                let start = |&seed| scope.spawn(move || self.measure(load, seed));
                let threads: Vec<_> = seeds.iter().map(start).collect();
                let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                threads.into_iter().map(join).collect()
            });
            for made in made {
                let (run, why) = made?;
                runs.push(run);
                reasons.extend(why);
            }
        }
        drop(progress);
        // One reason stands for all.
        reasons.truncate(1);
        Ok((runs, reasons))
    }

    fn start(&self, service: ServiceTime) -> Result<(Option<Server>, Target), Failed> {
        if let Some(target) = &self.url {
            return Ok((None, target.clone()));
        }
        // No request is refused: the queue never gets full, and no request gets too old.
        let config =
            Config::default().queue(Config::QUEUE_MOST).queue_timeout(Config::LONGEST_WAIT);
        let server = pool::start(self.workers(), service, config)?;
        let address = *server.addresses().first().ok_or("the server has no address")?;
        Ok((Some(server), Target::new(address, "/")))
    }

    /// The intended starts of a run.
    pub fn starts(&self, load: Load, seed: u64) -> Vec<Duration> {
        let rate = load.times * self.capacity();
        let arrivals = match load.pattern {
            Pattern::Poisson => Arrivals::poisson(rate, seed),
            Pattern::Constant => Arrivals::constant(rate),
        };
        arrivals.starts(Stop::After(self.length()))
    }

    /// The services of a run: request number n that is served gets sample number n.
    pub fn services(&self, seed: u64) -> ServiceTime {
        self.args.service().with_seed(seed)
    }

    /// Runs a load on a pool.
    pub fn measure(&self, load: Load, seed: u64) -> Result<(Run, Vec<String>), Failed> {
        let (server, target) = self.start(self.services(seed))?;
        let client = target.client(Connections::Kept(CONNECTIONS), PATIENCE);
        let before = server.as_ref().map(Server::snapshot);
        let run = client.open_loop(&self.starts(load, seed))?;
        let after = server.as_ref().map(settled);
        let figures = before.zip(after).map(|(before, after)| Figures::between(&before, &after));
        let reasons = run.conduct.spoilt(self.delay()).iter().map(ToString::to_string).collect();
        let taken = Taken {
            outcomes: run.outcomes,
            service: figures.as_ref().and_then(|figures| figures.service.mean),
            busy: figures.map(|figures| figures.utilisation.total()),
        };
        Ok((self.run(load, seed, taken), reasons))
    }

    /// The figures of a run.
    pub fn run(&self, load: Load, seed: u64, taken: Taken) -> Run {
        let Taken { outcomes, service, busy } = taken;
        let answered = anatomy::answered(&outcomes);
        let beside = anatomy::beside(&answered, service);
        let law = self.services(seed);
        let told = |number: usize| law.sample(number as u64);
        let took =
            |number: usize| answered[number].server.handle.unwrap_or_else(|| told(number)) + beside;
        let begun = |each: &&Outcome| each.begun.unwrap_or(each.intended);
        let arrivals: Vec<Duration> = answered.iter().map(begun).collect();
        let intended: Vec<Duration> = answered.iter().map(|each| each.intended).collect();
        let twin = Twin::unbounded(self.workers(), Duration::ZERO);
        let waits = |fates: Vec<Fate>| fates.into_iter().filter_map(Fate::wait).collect();
        let length = self.length();
        // Above the capacity, count what is answered during the load; below it, count all.
        let from = if load.times > 1.0 { length.mul_f64(COUNTED_FROM) } else { Duration::ZERO };
        let to = if load.times > 1.0 { length } else { Duration::MAX };
        let rate = |count: usize| count as f64 / (length - from).as_secs_f64();
        let within = |time: Duration| time >= from && time < to;
        let good = answered.iter().filter(|each| within(each.intended));
        let good = good.filter(|each| each.is_good(self.good_within())).count();
        let service = service.unwrap_or_else(|| {
            (0..answered.len()).map(took).collect::<Sample>().mean().max(Duration::from_nanos(1))
        });
        // Without the server's record, the wait is the rest of the latency.
        let wait = |each: &Outcome| each.latency().saturating_sub(service);
        let pool = Pool { workers: self.workers(), beside, waking: self.waking };
        let fed = twin.replay_services(&arrivals, took);
        let told_fates = twin.replay_services(&intended, told);
        let ended = |starts: &[Duration], fates: &[Fate], service: &dyn Fn(usize) -> Duration| {
            let each = starts.iter().zip(fates).enumerate();
            let ends = each.filter_map(|(number, (start, fate))| {
                Some(*start + fate.wait()? + service(number))
            });
            rate(ends.filter(|end| within(*end)).count())
        };
        let in_all = |(number, fate): (usize, &Fate)| Some(fate.wait()? + took(number));
        let fed_latencies = fed.iter().enumerate().filter_map(in_all).collect();
        Run {
            load,
            offered: outcomes.len() as f64 / length.as_secs_f64(),
            carried: rate(answered.iter().filter(|each| within(each.ended)).count()),
            ideal: [ended(&intended, &told_fates, &told), ended(&arrivals, &fed, &took)],
            good: rate(good),
            service,
            latencies: answered.iter().map(|each| each.latency()).collect(),
            waits: answered
                .iter()
                .map(|each| each.server.queue_wait.unwrap_or_else(|| wait(each)))
                .collect(),
            twin: waits(told_fates),
            fed: waits(fed),
            fed_latencies,
            anatomy: Anatomy::of(&pool, &answered, told),
            busy,
            outcomes,
        }
    }

    /// The load of [`COUNTED_LOAD`] beside the kernel's count of connections and of sleeping
    /// workers: each request has a connection of its own. Nothing else goes on in this process.
    pub fn counted(&self, program: &mut Program) -> Result<Vec<Counted>, Failed> {
        let load = Load { times: COUNTED_LOAD, pattern: Pattern::Poisson };
        let mut all = Vec::new();
        for seed in self.args.seeds() {
            let progress = Progress::start("the kernel's count", self.length());
            let (counted, spoilt) = program.until_sound(|| self.count(load, seed))?;
            drop(progress);
            if let Some(why) = spoilt {
                program.spoilt(format!("the run beside the kernel's count: {why}"));
            }
            all.extend(counted);
        }
        Ok(all)
    }

    fn count(&self, load: Load, seed: u64) -> Result<(Option<Counted>, Vec<String>), Failed> {
        let (_server, target) = self.start(self.services(seed))?;
        let client = target.client(Connections::NewEach, PATIENCE);
        let later = |start: Duration| start + IDLE;
        let starts: Vec<Duration> = self.starts(load, seed).into_iter().map(later).collect();
        let workers = ("worker-", self.workers());
        let (run, seen) = kernel::beside(workers, IDLE, || client.open_loop(&starts));
        let run = run?;
        let reasons = run.conduct.spoilt(self.delay()).iter().map(ToString::to_string).collect();
        let counted = seen.map(|seen| {
            let counted = self.of_clients(&run.outcomes, seed);
            // Both ends of each connection are in this process.
            Counted { looks: seen.looks, open: seen.open / 2.0, asleep: seen.asleep, ..counted }
        });
        Ok((counted, reasons))
    }

    /// The side of the clients.
    pub fn of_clients(&self, outcomes: &[Outcome], seed: u64) -> Counted {
        let lasted = outcomes.iter().map(|each| each.ended - each.begun.unwrap_or(each.ended));
        let law = self.services(seed);
        let told = (0..anatomy::answered(outcomes).len()).map(|number| law.sample(number as u64));
        Counted {
            looks: 0,
            count: outcomes.len(),
            open: 0.0,
            lasted: lasted.sum::<Duration>().as_secs_f64(),
            asleep: None,
            told: told.sum::<Duration>().as_secs_f64(),
            length: self.length().as_secs_f64(),
        }
    }
}
