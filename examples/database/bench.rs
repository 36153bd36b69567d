//! The runs: a load on a pool whose back-end is the database, as clients and the server see it.

use crate::archive::Archive;
use crate::corpus::Corpus;
use crate::options::Args;
use crate::service::{self, Writes};
use crate::settled::settled;
use cws::{AccessLog, Config, Figures, Server};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{
    Answer, Client, Conduct, Connections, Mix, Outcome, Population, Retries, Run, Target, Think,
};
use lab::moments::Moments;
use lab::progress::Progress;
use lab::sample::Sample;
use lab::twin::{Fate, Twin};
use std::error::Error;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nobody hangs up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients that ask as soon as they are answered: more than there are workers, so that none of
/// these is ever without a request, and a number that each load's parts divide.
const CLIENTS: usize = 64;

/// The part of a run that is not counted: the queue comes to be.
const COUNTED_FROM: f64 = 0.2;

/// The load of the run with Poisson arrivals, times what one worker carries.
pub const OPEN_LOAD: f64 = 0.7;

/// The share of the texts that has the word which is searched for: so many are ranked.
const SEARCHED_SHARE: f64 = 0.6;

/// Connections of the run with Poisson arrivals, more than ever are in use.
const CONNECTIONS: usize = 2000;

/// Bytes of a file that is stored.
const UPLOAD: usize = 8 * 1024;

/// What clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Files and searches, as many of either.
    Reading,
    /// Three uploads for each file or search.
    Writing,
}

impl Load {
    pub const ALL: [Self; 2] = [Self::Reading, Self::Writing];

    pub fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Writing => "writing",
        }
    }

    /// The kinds of requests, and how many of each there are in as many requests as clients.
    fn parts(self) -> &'static [(Kind, usize)] {
        match self {
            Self::Reading => &[(Kind::File, CLIENTS / 2), (Kind::Search, CLIENTS / 2)],
            Self::Writing => &[
                (Kind::File, CLIENTS / 8),
                (Kind::Search, CLIENTS / 8),
                (Kind::Upload, CLIENTS / 4 * 3),
            ],
        }
    }

    /// The share of the requests that write.
    pub fn writing_share(self) -> f64 {
        let uploads = self.parts().iter().filter(|(kind, _)| *kind == Kind::Upload);
        uploads.map(|(_, clients)| clients).sum::<usize>() as f64 / CLIENTS as f64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Search,
    Upload,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::File, Self::Search, Self::Upload];

    pub fn name(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Search => "a search",
            Self::Upload => "an upload",
        }
    }

    fn good_status(self) -> u16 {
        if self == Self::Upload { 201 } else { 200 }
    }
}

/// The database that each run begins with, in a folder that is removed in the end.
pub struct Bench<'a> {
    args: &'a Args,
    folder: TempDir,
    name: String,
    word: String,
    described: String,
}

/// What became of one request, on the clock of the whole run.
pub struct Each {
    pub kind: Kind,
    pub outcome: Outcome,
}

/// One run of a closed loop.
pub struct Point {
    pub load: Load,
    pub workers: usize,
    /// Requests a second that clients saw answered.
    pub carried: f64,
    /// The mean time that a worker had a request, by the server's clock.
    pub service: Duration,
    /// The time in the handler, of all requests, and by their kinds.
    pub handler: Moments,
    pub by_kind: [Moments; Kind::ALL.len()],
    pub latencies: Sample,
    /// From the first request to the last answer, by the clients' clocks.
    pub elapsed: Duration,
    /// The mean time that a writer keeps the others out; zero without writers.
    pub exclusive: Duration,
    /// The share of the run's time in which there was a writer.
    pub writer_busy: f64,
    /// The longest time in the handler.
    pub longest: Duration,
    /// The time in which answers were counted.
    pub length: Duration,
    /// Answers that were not as they should be.
    pub wrong: usize,
    /// Uploads that clients saw stored, and those that a connection of its own finds afterwards.
    pub seen: i64,
    pub found: i64,
    pub integrity: String,
    pub all: Vec<Each>,
}

/// The run with Poisson arrivals on one worker.
pub struct Open {
    pub offered: f64,
    pub service: Duration,
    pub variation: f64,
    /// The mean wait: by the clients' clocks, and what an ideal pool makes of the same arrivals
    /// and service times.
    pub wait: Duration,
    pub twin: Duration,
    pub count: usize,
    pub all: Vec<Each>,
}

impl<'a> Bench<'a> {
    pub fn new(args: &'a Args) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::Builder::new().prefix("cws-database-").tempdir()?;
        let corpus = Corpus::new(args.files(), args.common.seed);
        let name = |number: usize| format!("texts/{number}.txt");
        let files = corpus.texts.iter().enumerate();
        let files = files.map(|(number, text)| (name(number), text.as_bytes()));
        let begun = Instant::now();
        Archive::open(&folder.path().join("base.db"))?.add(files)?;
        let loaded = begun.elapsed();
        let size = fs::metadata(folder.path().join("base.db"))?.len() as f64 / 1048576.0;
        let (word, share) = corpus.word_in(SEARCHED_SHARE);
        let described = format!(
            "An SQLite Archive of {} texts, {size:.1} MiB with its index, made in {loaded:.1?}. A \
             search ranks the {:.0} texts with one word; an upload has {} KiB.",
            args.files(),
            share * args.files() as f64,
            UPLOAD / 1024
        );
        let word = word.to_owned();
        Ok(Self { args, folder, name: name(args.files() / 2), word, described })
    }

    pub fn describe(&self) -> &str {
        &self.described
    }

    fn request(&self, kind: Kind, address: SocketAddr) -> Vec<u8> {
        let path = match kind {
            Kind::File => format!("/files/{}", self.name),
            Kind::Search => format!("/search?q={}", self.word),
            Kind::Upload => {
                // Text that the search does not find.
                let body = "upload ".repeat(UPLOAD / 7 + 1);
                let body = &body[..UPLOAD];
                return format!(
                    "POST /files HTTP/1.1\r\nHost: {address}\r\nContent-Length: {UPLOAD}\r\n\r\n\
                     {body}"
                )
                .into_bytes();
            }
        };
        Target::new(address, &path).request(Connections::Kept(1))
    }

    /// A copy of the database, and a pool that serves it.
    fn start(&self, workers: usize) -> Result<(Server, PathBuf, Arc<Writes>), Box<dyn Error>> {
        let path = self.folder.path().join("run.db");
        for suffix in ["", "-wal", "-shm"] {
            let old = self.folder.path().join(format!("run.db{suffix}"));
            if let Err(error) = fs::remove_file(old)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error.into());
            }
        }
        fs::copy(self.folder.path().join("base.db"), &path)?;
        let writes = Arc::new(Writes::default());
        // Nobody is refused: the queue has no bound that is reached, and nothing grows too old.
        let config = Config::default()
            .workers(workers)
            .queue(Config::QUEUE_MOST)
            .queue_timeout(Config::LONGEST_WAIT)
            .max_connections(cws::descriptor_limit() / 4)
            .server_timing(true)
            .access_log(AccessLog::Off);
        let routes = service::routes(path.clone(), Arc::clone(&writes))?;
        Ok((Server::start(config, routes)?, path, writes))
    }

    /// Clients that ask as soon as they are answered.
    pub fn closed(&self, load: Load, workers: usize) -> Result<Point, Box<dyn Error>> {
        let (server, path, writes) = self.start(workers)?;
        let address = *server.addresses().first().ok_or("the server has no address")?;
        let length = self.args.length();
        let progress = Progress::start(&format!("{} {workers}", load.name()), length);
        let begun = Instant::now();
        let (ends, driven) = thread::scope(|scope| {
            // The server's figures of the time in which the clients' answers are counted.
            let snapshot = |at: Duration| {
                thread::sleep(at.saturating_sub(begun.elapsed()));
                server.snapshot()
            };
            let ends = scope.spawn(move || [length.mul_f64(COUNTED_FROM), length].map(snapshot));
            let driven = self.drive(load, address, |client, _, clients| {
                let population = Population { clients, think: Think::None };
                client.closed_loop(&population, Stop::After(length))
            });
            (ends.join(), driven)
        });
        let ([before, after], (all, _)) = (ends.map_err(|_| "a thread panicked")?, driven?);
        settled(&server);
        let elapsed = begun.elapsed();
        drop(progress);
        drop(server);
        // Another connection than those that wrote.
        let archive = Archive::open(&path)?;
        let figures = Figures::between(&before, &after);
        let service = figures.service.mean.unwrap_or_default();
        let writer_busy = writes.time().as_secs_f64() / elapsed.as_secs_f64();
        let exclusive = writes.time() / u32::try_from(writes.count().max(1))?;
        let found = (archive.count("uploads/")?, archive.integrity()?);
        Ok(self.point(load, workers, all, service, (exclusive, writer_busy), found))
    }

    /// How many files one connection finds, and another stores, while a third is in the middle of
    /// a read.
    pub fn beside_a_reader(&self) -> Result<(usize, usize), Box<dyn Error>> {
        let (_server, path, _) = self.start(1)?;
        let (reading, mut beside) = (Archive::open(&path)?, Archive::open(&path)?);
        let (found, stored) = reading
            .while_reading(|| (beside.search(&self.word), beside.store(None, b"a new file")))?;
        Ok((found?.len(), usize::from(stored.map_err(|error| error.to_string())?.is_new)))
    }

    fn point(
        &self,
        load: Load,
        workers: usize,
        all: Vec<Each>,
        service: Duration,
        (exclusive, writer_busy): (Duration, f64),
        (found, integrity): (i64, String),
    ) -> Point {
        let length = self.args.length();
        let from = length.mul_f64(COUNTED_FROM);
        let counted = || {
            let within = |each: &&Each| (from..length).contains(&each.outcome.ended);
            all.iter().filter(within).filter(|each| each.is_good())
        };
        let rate = |count: usize| count as f64 / (length - from).as_secs_f64();
        let handler = |kind: Option<Kind>| -> Moments {
            let of = counted().filter(|each| kind.is_none_or(|kind| kind == each.kind));
            of.filter_map(|each| each.outcome.server.handle).map(|t| t.as_secs_f64()).collect()
        };
        let first = all.iter().map(Each::arrival).min().unwrap_or_default();
        let last = all.iter().map(|each| each.outcome.ended).max().unwrap_or_default();
        let seen = all.iter().filter(|each| each.kind == Kind::Upload && each.is_good()).count();
        Point {
            load,
            workers,
            carried: rate(counted().count()),
            service,
            handler: handler(None),
            by_kind: Kind::ALL.map(|kind| handler(Some(kind))),
            latencies: counted().map(|each| each.outcome.latency()).collect(),
            elapsed: last - first,
            exclusive,
            writer_busy,
            longest: counted()
                .filter_map(|each| each.outcome.server.handle)
                .max()
                .unwrap_or_default(),
            length: length - from,
            wrong: all.iter().filter(|each| !each.is_good()).count(),
            seen: seen as i64,
            found,
            integrity,
            all,
        }
    }

    /// Has clients of each kind ask at the same time, each kind by a generator of its own; gives
    /// what became of their requests on one clock.
    fn drive(
        &self,
        load: Load,
        address: SocketAddr,
        ask: impl Fn(&Client, Kind, usize) -> io::Result<Run> + Sync,
    ) -> Result<(Vec<Each>, Vec<Conduct>), Box<dyn Error>> {
        let parts = load.parts();
        let together = Barrier::new(parts.len());
        let origin = Instant::now();
        let run = |kind: Kind, clients: usize| {
            let client = Client {
                target: address,
                source: None,
                requests: Mix::one(self.request(kind, address).into()),
                connections: Connections::Kept(clients.max(CONNECTIONS)),
                patience: PATIENCE,
                retries: Retries::NONE,
            };
            together.wait();
            (origin.elapsed(), ask(&client, kind, clients))
        };
        let runs: Vec<_> = thread::scope(|scope| {
            let start = |&(kind, clients): &(Kind, usize)| {
                let run = &run;
                (kind, scope.spawn(move || run(kind, clients)))
            };
            let threads: Vec<_> = parts.iter().map(start).collect();
            threads.into_iter().map(|(kind, thread)| (kind, thread.join())).collect()
        });
        let first = runs.iter().filter_map(|(_, run)| run.as_ref().ok()).map(|run| run.0).min();
        let (mut all, mut conducts) = (Vec::new(), Vec::new());
        for (kind, run) in runs {
            let (begun, run) = run.map_err(|_| "a generator panicked")?;
            let run = run?;
            let late = begun.saturating_sub(first.unwrap_or_default());
            let outcomes = run.outcomes.into_iter().map(|outcome| shifted(outcome, late));
            all.extend(outcomes.map(|outcome| Each { kind, outcome }));
            conducts.push(run.conduct);
        }
        Ok((all, conducts))
    }

    /// Arrivals by chance on one worker, which carries so many requests a second; and why the run
    /// is spoilt, if it is.
    pub fn open(&self, capacity: f64) -> Result<(Open, Vec<String>), Box<dyn Error>> {
        let (server, ..) = self.start(1)?;
        let address = *server.addresses().first().ok_or("the server has no address")?;
        let (length, seed) = (self.args.open_length(), self.args.common.seed);
        let starts = Arrivals::poisson(OPEN_LOAD * capacity, seed).starts(Stop::After(length));
        // A coin for each arrival makes two processes of one, both Poisson.
        let mut coin = fastrand::Rng::with_seed(seed);
        let (files, searches): (Vec<_>, Vec<_>) = starts.into_iter().partition(|_| coin.bool());
        let progress = Progress::start("Poisson arrivals", length);
        let before = server.snapshot();
        let (all, conducts) = self.drive(Load::Reading, address, |client, kind, _| {
            client.open_loop(if kind == Kind::File { &files } else { &searches })
        })?;
        let figures = Figures::between(&before, &settled(&server));
        drop(progress);
        let service = figures.service.mean.unwrap_or_default();
        let open = self.opened(all, service);
        // Arrivals are counted as they were, so that late ones are only another process; late by a
        // service time, they would be no Poisson process any more.
        let judged = service * 20;
        let reasons = Conduct::spoilt_together(&conducts, judged);
        Ok((open, reasons.iter().map(ToString::to_string).collect()))
    }

    fn opened(&self, mut all: Vec<Each>, service: Duration) -> Open {
        all.sort_unstable_by_key(|each| each.arrival());
        let answered: Vec<&Each> = all.iter().filter(|each| each.is_good()).collect();
        let delay = |each: &Each| each.outcome.server.handle.unwrap_or_default();
        let delays: Moments = answered.iter().map(|each| delay(each).as_secs_f64()).collect();
        // What a request takes its worker beside the handler.
        let beside = service.saturating_sub(Duration::from_secs_f64(delays.mean()));
        let arrivals: Vec<Duration> = answered.iter().map(|each| each.arrival()).collect();
        let twin = Twin::unbounded(1, service)
            .replay_services(&arrivals, |number| delay(answered[number]) + beside);
        let waits: Sample = answered
            .iter()
            .map(|each| {
                let took = each.outcome.ended.saturating_sub(each.arrival());
                took.saturating_sub(delay(each) + beside)
            })
            .collect();
        let twin: Sample = twin.into_iter().filter_map(Fate::wait).collect();
        let services: Moments =
            answered.iter().map(|each| (delay(each) + beside).as_secs_f64()).collect();
        Open {
            offered: all.len() as f64 / self.args.open_length().as_secs_f64(),
            service,
            variation: services.squared_variation(),
            wait: waits.mean(),
            twin: twin.mean(),
            count: answered.len(),
            all,
        }
    }
}

impl Each {
    fn is_good(&self) -> bool {
        self.outcome.answer == Answer::Status(self.kind.good_status())
    }

    fn arrival(&self) -> Duration {
        self.outcome.begun.unwrap_or(self.outcome.intended)
    }
}

/// The same on a clock that was started so much earlier.
fn shifted(mut outcome: Outcome, by: Duration) -> Outcome {
    outcome.intended += by;
    outcome.ended += by;
    for time in [&mut outcome.begun, &mut outcome.connected, &mut outcome.first_byte] {
        *time = time.map(|time| time + by);
    }
    outcome
}
