//! Runs each policy on real servers behind a real HAProxy.

use crate::balancer::{Balancer, Setup};
use crate::configuration;
use crate::options::{Args, DRAIN_DELAY, LOAD};
use crate::policy::Policy;
use crate::servers::{Launch, Server, Services, until};
use crate::weights;
use lab::arrivals::{Arrivals, Stop};
use lab::fleet::{self, Fleet};
use lab::load::{Client, Connections, Outcome, Target};
use lab::program::Program;
use lab::progress::Progress;
use lab::sample::Sample;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Longer than any wait.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// More kept connections than are ever used.
pub const KEPT: Connections = Connections::Kept(4000);

/// The size of the file that is served.
const FILE_BYTES: usize = 1000;

/// The runs of a twin with random choices.
const TWINS: u64 = 400;

/// The load of the run that measures the service time.
const CALIBRATION_LOAD: f64 = 0.5;
const CALIBRATION_REQUESTS: u64 = 150;

/// What the measurements share.
pub struct Bench<'a> {
    pub args: &'a Args,
    haproxy: PathBuf,
    launch: Launch,
    /// It holds the site and the configurations.
    folder: tempfile::TempDir,
    /// The mean time that a request occupies a worker.
    pub service: Duration,
}

/// A run of a policy.
pub struct Run {
    pub policy: Policy,
    pub seed: u64,
    /// The mean wait for a worker, as the servers report it.
    pub wait: Duration,
    /// The mean wait of the same arrivals and services in one pool of all workers.
    pub pooled: Duration,
    /// The mean waits of the twin: one for each of its runs.
    pub twins: Sample,
    pub service: Duration,
    /// The load as a share of the capacity.
    pub utilisation: f64,
    /// What HAProxy and the network add to the time of a request: the median.
    pub added: Duration,
    pub outcomes: Vec<Outcome>,
    /// Requests that failed, and HAProxy's retries and health downs. All are zero.
    pub faults: [u64; 3],
}

impl Run {
    pub fn name(&self) -> String {
        format!("{} {}", self.policy.name(), self.seed)
    }
}

impl<'a> Bench<'a> {
    pub fn new(args: &'a Args, haproxy: PathBuf, binary: PathBuf) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let site = folder.path().join("site");
        std::fs::create_dir(&site)?;
        std::fs::write(site.join("file"), vec![b'.'; FILE_BYTES])?;
        let write = |name: &str, text| std::fs::write(folder.path().join(name), text);
        write(COMMITTED, configuration::committed(args.servers()))?;
        write(OF_UNEQUAL, configuration::committed(weights::SIZES.len()))?;
        write(WITHOUT, configuration::without_retries_of_requests(args.servers()))?;
        let delay = format!("{}us", args.delay.as_micros());
        let drain = format!("{}ms", DRAIN_DELAY.as_millis());
        let options = [
            ["--root", &site.to_string_lossy()],
            ["--delay", &delay],
            ["--drain-delay", &drain],
            ["--idle-timeout", "75s"],
            ["--access-log", "off"],
            ["--trusted-proxy", "127.0.0.1"],
            ["--client-address", "x-forwarded-for"],
        ];
        let options = options.iter().flatten().map(|option| (*option).to_owned());
        let options = options.chain(["--quiet", "--server-timing"].map(str::to_owned)).collect();
        let launch = Launch { binary, options, has_agent: true };
        let mut bench = Self { args, haproxy, launch, folder, service: args.delay };
        bench.service = bench.calibrate()?;
        Ok(bench)
    }

    /// The mean service time at half load.
    fn calibrate(&self) -> io::Result<Duration> {
        let servers = self.start_servers()?;
        let balancer = self.balancer(COMMITTED, &servers, Policy::RoundRobin, false)?;
        let rate = CALIBRATION_LOAD * self.capacity();
        let starts = Arrivals::constant(rate).starts(Stop::Count(CALIBRATION_REQUESTS));
        self.client(&balancer, KEPT).open_loop(&starts)?;
        let services = services(&servers, CALIBRATION_REQUESTS as f64)?;
        Ok(Duration::from_secs_f64(services.seconds / services.count))
    }

    /// N W/D in requests per second.
    pub fn capacity(&self) -> f64 {
        self.args.pool() as f64 / self.service.as_secs_f64()
    }

    pub fn start_servers(&self) -> io::Result<Vec<Server>> {
        (0..self.args.servers()).map(|_| self.start_server(self.args.workers, &[])).collect()
    }

    /// Starts a server with this number of workers, and more options.
    pub fn start_server(&self, workers: usize, more: &[&str]) -> io::Result<Server> {
        let mut launch = self.launch.clone();
        launch.options.extend(["--workers".to_owned(), workers.to_string()]);
        launch.options.extend(more.iter().map(|option| (*option).to_owned()));
        Server::start(&launch)
    }

    /// Starts HAProxy with the configuration of this name. With `asks_agents`, the servers' agents
    /// have a say.
    pub fn balancer(
        &self,
        name: &str,
        servers: &[Server],
        policy: Policy,
        asks_agents: bool,
    ) -> io::Result<Balancer> {
        let file = self.folder.path().join(name);
        let (program, file) = (&self.haproxy, &file);
        let balance = policy.balance();
        let setup = Setup { program, file, balance, asks_agents, proxy_protocol: false };
        Balancer::start(&setup, servers)
    }

    pub fn client(&self, balancer: &Balancer, connections: Connections) -> Client {
        Target::new(balancer.address, "/file").client(connections, PATIENCE)
    }

    /// Runs of all policies. Each seed has its own servers, at the same time: they sleep most of
    /// the time.
    pub fn all(&self, program: &mut Program) -> Result<Vec<Run>, Box<dyn Error>> {
        let lanes = self.args.seeds().into_iter().map(|_| self.start_servers());
        let lanes: Vec<Vec<Server>> = lanes.collect::<io::Result<_>>()?;
        let mut runs = Vec::new();
        for policy in Policy::ALL {
            for seeds in self.batches(policy) {
                let (done, spoilt) = program.until_sound(|| self.batch(&lanes, policy, &seeds))?;
                if let Some(why) = spoilt {
                    program.spoilt(format!("the runs {}: {why}", policy.name()));
                }
                runs.extend(done);
            }
        }
        Ok(runs)
    }

    /// The seeds of the runs of a policy, as many at a time as there are fleets.
    fn batches(&self, policy: Policy) -> Vec<Vec<u64>> {
        let seeds = self.args.seeds();
        let more = |times: u64| {
            let by = times * seeds.len() as u64;
            seeds.iter().map(|seed| seed.wrapping_add(by)).collect()
        };
        (0..self.args.times(policy)).map(more).collect()
    }

    /// A run for each seed, at the same time.
    fn batch(
        &self,
        lanes: &[Vec<Server>],
        policy: Policy,
        seeds: &[u64],
    ) -> io::Result<(Vec<Run>, Vec<String>)> {
        let _progress = Progress::start(policy.name(), self.args.length());
        let done: Vec<_> = thread::scope(|scope| {
            let lanes = lanes.iter().zip(seeds.iter().copied());
            let threads: Vec<_> = lanes
                .map(|(lane, seed)| scope.spawn(move || self.run(lane, policy, seed)))
                .collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        let (mut runs, mut reasons) = (Vec::new(), Vec::new());
        for result in done {
            let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (run, why) = result?;
            runs.push(run);
            reasons.extend(why);
        }
        // One reason stands for all.
        reasons.truncate(1);
        Ok((runs, reasons))
    }

    fn run(&self, servers: &[Server], policy: Policy, seed: u64) -> io::Result<(Run, Vec<String>)> {
        let rate = LOAD * self.capacity();
        let starts = Arrivals::poisson(rate, seed).starts(Stop::After(self.args.length()));
        let balancer = self.balancer(COMMITTED, servers, policy, policy == Policy::Agent)?;
        let before = services(servers, 0.0)?;
        let load = self.client(&balancer, KEPT).open_loop(&starts)?;
        let stats = balancer.stats()?;
        let mut outcomes = load.outcomes;
        outcomes.sort_unstable_by_key(|outcome| outcome.begun.unwrap_or(outcome.intended));
        let answered: Vec<Outcome> =
            outcomes.iter().filter(|outcome| outcome.is_success()).copied().collect();
        let after = services(servers, before.count + answered.len() as f64)?;
        let failed = outcomes.len() - answered.len();
        let faults = [failed as u64, stats.sum("wretr"), stats.sum("chkdown")];
        let occupied = (after.seconds - before.seconds) / (after.count - before.count).max(1.0);
        let occupied = Duration::from_secs_f64(occupied);
        let reasons = load.conduct.spoilt(self.args.delay);
        let run = self.judge(policy, seed, &answered, occupied, outcomes, faults);
        Ok((run, reasons.iter().map(ToString::to_string).collect()))
    }

    /// Compares the requests with the twins.
    fn judge(
        &self,
        policy: Policy,
        seed: u64,
        answered: &[Outcome],
        occupied: Duration,
        outcomes: Vec<Outcome>,
        faults: [u64; 3],
    ) -> Run {
        let handled: Sample = answered.iter().filter_map(|of| of.server.handle).collect();
        // A worker needs some time beside the handler's.
        let beside = occupied.saturating_sub(handled.mean());
        let service = |number: usize| answered[number].server.handle.unwrap_or_default() + beside;
        let arrivals: Vec<Duration> =
            answered.iter().map(|of| of.begun.unwrap_or(of.intended)).collect();
        let (pooled, twins) = twins(self.args, policy, seed, &arrivals, &service);
        let wait = |of: &Outcome| of.server.queue_wait.unwrap_or_default();
        let added = |of: &Outcome| {
            let inside = wait(of) + of.server.handle.unwrap_or_default();
            (of.ended - of.begun.unwrap_or(of.intended)).saturating_sub(inside)
        };
        let rate = outcomes.len() as f64 / self.args.length().as_secs_f64();
        Run {
            policy,
            seed,
            wait: answered.iter().map(wait).collect::<Sample>().mean(),
            pooled,
            twins,
            service: occupied,
            utilisation: rate * occupied.as_secs_f64() / self.args.pool() as f64,
            added: answered.iter().map(added).collect::<Sample>().percentile(0.5),
            outcomes,
            faults,
        }
    }
}

/// The mean wait of the same arrivals and services in one pool of all workers, and those of the
/// twin's runs.
pub fn twins(
    args: &Args,
    policy: Policy,
    seed: u64,
    arrivals: &[Duration],
    service: &dyn Fn(usize) -> Duration,
) -> (Duration, Sample) {
    let twin = |policy| Fleet {
        servers: args.servers(),
        workers: args.workers,
        policy,
        seed: seed.wrapping_add(0x5eed),
    };
    let runs = if policy.is_random() { TWINS } else { 1 };
    let pooled = twin(fleet::Policy::Pooled).means(1, arrivals, service)[0];
    (pooled, twin(policy.twin()).means(runs, arrivals, service).into_iter().collect())
}

/// The name of the committed configuration.
pub const COMMITTED: &str = "haproxy.cfg";

/// The name of the same for the servers of different sizes.
pub const OF_UNEQUAL: &str = "unequal.cfg";

/// The name of the one without a second try of requests.
pub const WITHOUT: &str = "without-retries.cfg";

/// What the workers of all servers have done, as soon as it is this number of requests at least: a
/// worker is done with a request a little later than the client.
pub fn services(servers: &[Server], least: f64) -> io::Result<Services> {
    until("the workers", || {
        let mut all = Services::default();
        for server in servers {
            let Services { count, seconds } = server.services()?;
            all = Services { count: all.count + count, seconds: all.seconds + seconds };
        }
        Ok((all.count >= least).then_some(all))
    })
}

/// The `server` binary, which cargo puts into the folder above the examples.
pub fn server_binary() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let path = this.parent()?.parent()?.join("server");
    path.is_file().then_some(path)
}

/// HAProxy, where it is installed.
pub fn haproxy() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("haproxy"));
    found.find(|path| path.is_file())
}
