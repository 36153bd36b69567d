//! A running server: its start, its addresses, its measurements, its shutdown.

use crate::acceptor::Acceptor;
use crate::admission::{Admission, Stage};
use crate::config::{self, Config, Schedule};
use crate::connection::{Context, Shared};
use crate::descriptors;
use crate::fetchers::Fetcher;
use crate::handler::{Handler, ImmediateHandler};
use crate::http::response::is_valid_field;
use crate::http::target::DecodedPath;
use crate::listening;
use crate::memory::Memory;
use crate::metrics::{CloseReason, Metrics, Snapshot};
use crate::notes::{self, Inbox};
use crate::observer::Observer;
use crate::parking::Parking;
use crate::queue::ages::Limits;
use crate::queue::{self, Entrance, Queue};
use crate::workers::Worker;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Attempts to find one port that is free on several addresses.
const PORT_TRIES: usize = 16;

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

/// Why a server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid.
    Config(String),
    /// It cannot listen on this address.
    Listen(SocketAddr, io::Error),
    /// The system refused a thread, a descriptor or memory.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(reason) => write!(f, "cannot start {reason}"),
            Self::Listen(address, error) => {
                let (what, todo) = match error.kind() {
                    ErrorKind::AddrInUse => (
                        "address already in use".to_owned(),
                        "is another server running? choose another port",
                    ),
                    ErrorKind::PermissionDenied => (
                        "permission denied".to_owned(),
                        match address.port() {
                            1..1024 => {
                                "ports below 1024 are for privileged users: choose a higher one"
                            }
                            _ => {
                                "a security policy forbids it, such as SELinux, AppArmor, Landlock \
                                 or seccomp: have it allow this port, or choose another"
                            }
                        },
                    ),
                    ErrorKind::AddrNotAvailable => (
                        "this machine has no such address".to_owned(),
                        "choose one of its own, or 0.0.0.0 or :: for all",
                    ),
                    _ => (error.to_string(), "choose another address or port"),
                };
                write!(f, "cannot listen on {address}: {what} ({todo})")
            }
            Self::System(error) => {
                write!(f, "cannot start the threads: {error} (try fewer workers)")
            }
        }
    }
}

impl std::error::Error for StartError {}

impl Server {
    /// Listens, starts the threads, and serves until it is stopped.
    pub fn start(config: Config, handler: impl Handler) -> Result<Self, StartError> {
        config.check().and_then(|()| check_names(&config)).map_err(StartError::Config)?;
        config.check_proxies(false).map_err(StartError::Config)?;
        let listeners = listen(&config.listen)?;
        let local = |listener: &TcpListener| listener.local_addr().map_err(StartError::System);
        let addresses = listeners.iter().map(local).collect::<Result<Vec<_>, _>>()?;

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
        let shared = Shared {
            config: Arc::clone(&config),
            admission,
            queue,
            limits: Limits::new(&config),
            sizes: (schedule == Schedule::SmallestFirst).then(Arc::default),
            blocked: Arc::default(),
            parking,
            produce_jobs: Arc::default(),
            unsent: Memory::new(config::UNSENT_TOTAL),
            errands,
            common_fields: handler.common_fields(),
            accepts: Arc::new(handler.accepts()),
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
        Ok(Self { addresses, observer, started, acceptor, workers, others, all_alive })
    }

    /// The addresses it listens on, with their actual ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
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
        let patience = self.observer.config().drain_timeout.min(config::SWEEP_INTERVAL);
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

/// Listens on all addresses; with port 0, on one free port for all of them.
fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    let mut tries = PORT_TRIES;
    loop {
        tries -= 1;
        match listen_once(addresses) {
            Err(StartError::Listen(address, error))
                if tries > 0 && address.port() == 0 && error.kind() == ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
}

fn listen_once(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    let mut free_port = 0;
    let has_ipv4 = addresses.iter().any(SocketAddr::is_ipv4);
    for &address in addresses {
        let failed = |error| StartError::Listen(address, error);
        let mut wanted = address;
        if wanted.port() == 0 {
            wanted.set_port(free_port);
        }
        let listener = match listen_on(wanted, has_ipv4) {
            Ok(listener) => listener,
            // A host name can resolve to a family that this machine lacks.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable && addresses.len() > 1 => {
                log::warn!("{address} is left out: this machine has no such address");
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        free_port = listener.local_addr().map_err(failed)?.port();
        listeners.push(listener);
    }
    if listeners.is_empty() {
        return Err(StartError::Listen(addresses[0], ErrorKind::AddrNotAvailable.into()));
    }
    Ok(listeners)
}

/// A non-blocking listener with a longer backlog than std's. Accepted sockets inherit its
/// `TCP_NODELAY`.
fn listen_on(address: SocketAddr, has_ipv4: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` also accepts IPv4, unless an IPv4 address is listed as well.
        socket.set_only_v6(has_ipv4 || !address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(config::BACKLOG)?;
    let listener = socket.into();
    listening::acknowledge_with_answer(&listener);
    listening::bound_unsent(&listener);
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_address_is_explained_by_what_can_deny_it() {
        let said = |port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            StartError::Listen(address, ErrorKind::PermissionDenied.into()).to_string()
        };
        for port in [1, 80, 1023] {
            let expected = format!(
                "cannot listen on 127.0.0.1:{port}: permission denied \
                 (ports below 1024 are for privileged users: choose a higher one)"
            );
            assert_eq!(said(port), expected);
        }
        for port in [0, 1024, 8080, 65535] {
            let line = said(port);
            assert!(line.contains("a security policy forbids it, such as SELinux"), "{line}");
            assert!(!line.contains("1024 are"), "{line}");
        }
    }
}
