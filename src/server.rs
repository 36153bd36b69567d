//! A running server: its start, its addresses, its measurements, its shutdown.

use crate::acceptor::Acceptor;
use crate::admission::{Admission, Stage};
use crate::config::{self, Config, Schedule};
use crate::connection::{Context, Renewal, Renewed, Shared};
use crate::descriptors;
use crate::fetchers::Fetcher;
use crate::handler::{Handler, ImmediateHandler};
use crate::http::response::is_valid_field;
use crate::http::target::DecodedPath;
use crate::listening::Listener;
use crate::memory::Memory;
use crate::metrics::{CloseReason, Metrics, Snapshot};
use crate::notes::{self, Inbox};
use crate::observer::Observer;
use crate::parking::Parking;
use crate::queue::ages::Limits;
use crate::queue::{self, Entrance, Queue};
use crate::reloader::Reloader;
use crate::throttle::{Rates, Throttle};
use crate::workers::Worker;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use crate::listening::StartError;

/// A running server. Dropping it shuts it down, as [`Server::shutdown`] does.
///
/// It ends in this order. The acceptor stops listening, closes idle connections, and lets the
/// workers finish what is queued, until the drain timeout. It closes the entrance of the queue and
/// ends. Workers end when the queue is closed and empty. Fetchers end when acceptor and workers
/// have dropped their senders. The log thread ends when the acceptor has dropped its lines. The
/// library installs no signal handlers: call [`Stopper::stop`] from yours.
#[derive(Debug)]
#[must_use = "dropping a server shuts it down"]
pub struct Server {
    addresses: Vec<SocketAddr>,
    paths: Vec<PathBuf>,
    observer: Observer,
    started: Instant,
    // The fields are joined in this order. It is the order in which the threads end.
    acceptor: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    /// The fetchers, and the thread that logs for the acceptor.
    others: Vec<JoinHandle<()>>,
    all_alive: Receiver<Infallible>,
}

/// Stops a server, from any thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Admission>);

impl Stopper {
    /// Starts the shutdown. After the drain delay no new connections are accepted, and each
    /// response closes its connection. Returns at once; see [`Server::join`].
    pub fn stop(&self) {
        self.0.enter_stage(Stage::Leaving);
    }

    /// Like [`Stopper::stop`], when another process has the listeners, too, and continues. They and
    /// the files of UNIX sockets stay as they are; this server closes its copies at once, without a
    /// drain delay. Connections that it has not accepted are the other process's.
    ///
    /// It has no effect if the server no longer listens.
    pub fn hand_over(&self) {
        self.0.hand_over();
    }
}

/// The record of a server that has ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Summary {
    /// All measurements.
    pub snapshot: Snapshot,
    /// The number of connections cut at the drain timeout.
    pub cut: u64,
    /// The time from its start to its end.
    pub uptime: Duration,
}

impl Server {
    /// Says whether the settings are such that a server can start with them.
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] with the reason, as [`Server::start`] returns it.
    pub fn check(config: &Config) -> Result<(), StartError> {
        config.check().and_then(|()| check_names(config)).map_err(StartError::Config)
    }

    /// Listens, starts the threads, and serves until it is stopped.
    pub fn start(config: Config, handler: impl Handler) -> Result<Self, StartError> {
        Self::check(&config)?;
        let listeners = Listener::bind(&config.listen)?;
        Self::start_on(listeners, config, handler)
    }

    /// Like [`Server::start`], on these listeners instead of the addresses in [`Config::listen`]:
    /// UNIX sockets, sockets that another process has passed, or both.
    pub fn start_on(
        listeners: Vec<Listener>,
        config: Config,
        handler: impl Handler,
    ) -> Result<Self, StartError> {
        Self::check(&config)?;
        let is_local = listeners.iter().any(|listener| listener.path().is_some());
        config.check_proxies(is_local).map_err(StartError::Config)?;
        let addresses = listeners.iter().filter_map(Listener::address).collect();
        let paths = listeners.iter().filter_map(Listener::path).map(Path::to_owned).collect();

        let parking =
            Arc::new(Parking::new(descriptors::descriptor_limit()).map_err(StartError::System)?);
        let admission = Admission::new(&config, parking.waker());
        let metrics = Metrics::new(config.workers, config::FETCHERS);
        let schedule = config.schedule;
        let (queue, channel) = Queue::new(queue::discipline(schedule), slots(&config));
        let queue = Arc::new(queue);
        let entrance = Entrance::new(Arc::clone(&queue), channel, config::channel_wait(schedule));
        let (send_errand, errands) = unbounded();
        let (alive, all_alive) = bounded(0);
        let (config, handler) = (Arc::new(config), Arc::new(handler));
        let lines = || notes::outbox(config.memory.clone());
        let (outbox, inbox) = config.logger_may_block.then(lines).unzip();
        let (limits, common_fields) = (Limits::new(&config), handler.common_fields());
        let first = Renewed { config: Arc::clone(&config), limits, common_fields };
        let shared = Shared {
            config: Arc::clone(&config),
            admission,
            queue,
            limits,
            sizes: (schedule == Schedule::SmallestFirst).then(Arc::default),
            blocked: Arc::default(),
            parking,
            produce_jobs: Arc::default(),
            unsent: Memory::new(config::UNSENT_TOTAL),
            throttle: Arc::new(Throttle::new(Rates::of(&config).total, Instant::now())),
            errands,
            common_fields: first.common_fields.clone(),
            accepts: Arc::new(handler.accepts()),
            rounds: Arc::default(),
            renewal: Arc::new(Renewal::new(first)),
        };

        // If a thread does not start, dropping the senders ends the others.
        let context = Context::acceptor(shared.clone(), metrics.recorder(0), send_errand.clone());
        let acceptor = Acceptor::new(listeners, entrance, ImmediateHandler::of(&handler), context)
            .map_err(StartError::System)?;
        let mut workers = Vec::with_capacity(config.workers);
        for number in 1..=config.workers {
            let (shared, recorder) = (shared.clone(), metrics.recorder(number));
            let context = Context::worker_number(number, shared, recorder, send_errand.clone());
            let (handler, alive) = (Arc::clone(&handler), alive.clone());
            let worker = Worker { handler, context, turn: None, charge: None, alive };
            workers.push(worker.start(number).map_err(StartError::System)?);
        }
        let mut fetchers = Vec::with_capacity(config::FETCHERS);
        for number in 1..=config::FETCHERS {
            let recorder = metrics.recorder(config.workers + number);
            let context = Context::fetcher(shared.clone(), recorder);
            let (handler, alive) = (Arc::clone(&handler), alive.clone());
            let fetcher = Fetcher { handler, tends: number == 1, context, alive };
            fetchers.push(fetcher.start(number).map_err(StartError::System)?);
        }
        let notes = inbox.map(|inbox| start_notes(inbox, alive)).transpose()?;
        let acceptor = Some(acceptor.start(outbox).map_err(StartError::System)?);
        let (observer, started) = (Observer::new(metrics, shared), Instant::now());
        let others = fetchers.into_iter().chain(notes).collect();
        Ok(Self { addresses, paths, observer, started, acceptor, workers, others, all_alive })
    }

    /// The addresses it listens on, with their actual ports. UNIX sockets are in
    /// [`Server::paths`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The paths of the UNIX sockets that it listens on.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The measurements now.
    pub fn snapshot(&self) -> Snapshot {
        self.observer.snapshot()
    }

    /// A handle that reads its measurements.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        self.observer.open_connections()
    }

    /// The number of worker threads that are alive.
    pub fn workers_alive(&self) -> usize {
        self.workers.iter().filter(|worker| !worker.is_finished()).count()
    }

    /// True until the shutdown begins.
    pub fn is_ready(&self) -> bool {
        self.observer.is_ready()
    }

    /// A handle that stops it.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.observer.shared.admission))
    }

    /// A handle that changes its settings.
    pub fn reloader(&self) -> Reloader {
        Reloader::new(Arc::clone(&self.observer.shared.renewal))
    }

    /// Shuts it down: finishes queued and running requests, within the drain timeout.
    pub fn shutdown(self) -> Summary {
        self.stopper().stop();
        self.join()
    }

    /// Waits until it has been stopped and has ended.
    pub fn join(mut self) -> Summary {
        self.wait();
        let snapshot = self.snapshot();
        // A handler that still runs holds its connection, which gets no response any more.
        let cut = snapshot.closed(CloseReason::Cut) + self.open_connections() as u64;
        Summary { snapshot, cut, uptime: self.started.elapsed() }
    }

    fn wait(&mut self) {
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            log::error!("the acceptor ended by a panic");
        }
        // Idle workers end at once. A worker whose handler does not return is left behind.
        let patience = self.reloader().config().drain_timeout.min(config::SWEEP_INTERVAL);
        match self.all_alive.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => {
                log::warn!("a handler or a disk read does not return: its thread is left behind")
            }
            Err(RecvTimeoutError::Disconnected) => {
                for thread in self.workers.drain(..).chain(self.others.drain(..)) {
                    if thread.join().is_err() {
                        log::error!("a thread of the pool panicked");
                    }
                }
            }
            Ok(never) => match never {},
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.acceptor.is_some() {
            self.observer.shared.admission.enter_stage(Stage::Leaving);
            self.wait();
        }
    }
}

/// Starts the thread that logs for the acceptor. It ends after the acceptor.
fn start_notes(inbox: Inbox, alive: Sender<Infallible>) -> Result<JoinHandle<()>, StartError> {
    let run = move || {
        inbox.run();
        drop(alive);
    };
    thread::Builder::new().name("notes".to_owned()).spawn(run).map_err(StartError::System)
}

/// The slots of the channel of jobs: for those that wait in it, for one that each idle worker is
/// about to take, and for deferred requests and streams that return. More wait in the room.
fn slots(config: &Config) -> usize {
    let queue = config.queue.unwrap_or(config::QUEUE);
    let [waiting, returning] =
        [queue, config::QUEUE_RETURNS].map(|most| most.min(config.max_connections));
    waiting + config.workers + returning + config::CHANNEL_READY
}

/// Checks the names that clients see.
fn check_names(config: &Config) -> Result<(), String> {
    if let Some(path) = &config.health
        && (path.contains('?') || !is_plain_path(path))
    {
        return Err(format!(
            "with the health path {path:?} (begin it with a slash; leave out a query, \
             percent-encoding, and empty or dot segments)"
        ));
    }
    if let Some(name) = &config.patience_field
        && !is_valid_field(name, b"")
    {
        return Err(format!(
            "with the patience field {name:?} (write the name of a header field, such as \
             X-Request-Timeout)"
        ));
    }
    Ok(())
}

/// True if a request can have this decoded path.
fn is_plain_path(path: &str) -> bool {
    DecodedPath::decode(path.as_bytes()).is_ok_and(|decoded| decoded.is(path))
}
