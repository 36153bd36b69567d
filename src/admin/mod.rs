//! Metrics, health and the live page for operators, on a port of their own.
//!
//! They are served by a second [`Server`] with one worker, so that they answer while the observed
//! pool is saturated, and until it has ended. Addresses of clients are shown there alone.

mod curve;
mod hosts;
mod exposition;
mod process;
mod metrics_text;
mod page;
mod rates;
mod strips;
mod heat;
mod hour;
mod history;
mod stats;
mod records;
mod sampler;
mod pages;

pub use pages::AdminPages;

use crate::config::{self, AccessLog, Config};
use crate::connection::Transfer;
use crate::handler::{Error, Handler, Response};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::listening::Listener;
use crate::lock::lock;
use crate::memory::Memory;
use crate::observer::Observer;
use crate::queue::ClientLoad;
use crate::server::{Server, StartError, Stopper};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use history::History;
use hosts::Hosts;
use records::Records;
use sampler::Sampler;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The methods of the admin endpoints.
const ALLOW: &str = "GET, HEAD";

/// The explanation for requests with an unknown host name.
const UNKNOWN_HOST: &str = "This server does not answer to this host name, so that other sites \
cannot read its data through a browser (DNS rebinding). Use its IP address, localhost, or the \
machine's host name; to allow another name, start the server with --admin-host NAME.";

/// The running admin server of a server. Dropping it stops it.
///
/// It needs the feature `admin`.
///
/// ```
/// use cws::{Admin, Config, Request, Server};
///
/// let server = Server::start(Config::default(), |_: &Request<'_>| "hello\n")?;
/// let admin = Admin::start(vec![([127, 0, 0, 1], 0).into()], server.observer())?;
/// println!("live page on http://{}/", admin.addresses()[0]);
/// server.shutdown();
/// // The last: it has told balancers meanwhile that the server stops.
/// drop(admin);
/// # Ok::<(), cws::StartError>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it stops the admin server"]
pub struct Admin {
    server: Server,
    _sampler: Sampler,
}

impl Admin {
    /// The connections that it takes at once: a few browsers and scrapers.
    pub const CONNECTIONS: usize = config::ADMIN_CONNECTIONS;

    /// Serves the figures of a server on `listen`. It answers requests whose host is an IP address,
    /// `localhost`, or this machine's name.
    pub fn start(listen: Vec<SocketAddr>, observed: Observer) -> Result<Self, StartError> {
        Self::start_named(listen, &[], observed)
    }

    /// Like [`Admin::start`], and answers to the host names in `names`, too. They have no port.
    pub fn start_named(
        listen: Vec<SocketAddr>,
        names: &[String],
        observed: Observer,
    ) -> Result<Self, StartError> {
        Self::start_on(Listener::bind(&listen)?, names, observed)
    }

    /// Like [`Admin::start_named`], on these listeners.
    pub fn start_on(
        listeners: Vec<Listener>,
        names: &[String],
        observed: Observer,
    ) -> Result<Self, StartError> {
        let watch = Watch::new(observed, true);
        let config = Config::default()
            .workers(1)
            .max_connections(config::ADMIN_CONNECTIONS)
            .access_log(AccessLog::Off)
            .write_timeout(config::ADMIN_WRITE_TIMEOUT)
            .drain_timeout(config::ADMIN_DRAIN_TIMEOUT)
            // A budget of its own, so that it answers when the pool's is used up.
            .memory(Memory::new(config::MEMORY_LEAST))
            .http09(false);
        let routes = Routes { watch: Arc::clone(&watch), hosts: Hosts::new(names) };
        let server = Server::start_on(listeners, config, routes)?;
        Ok(Self { server, _sampler: Sampler::start(watch)? })
    }

    /// The addresses that it listens on, with their actual ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server.addresses()
    }

    /// The paths of the UNIX sockets that it listens on.
    pub fn paths(&self) -> &[PathBuf] {
        self.server.paths()
    }

    /// A handle that stops it.
    pub fn stopper(&self) -> Stopper {
        self.server.stopper()
    }
}

/// The observed server and its recent history.
#[derive(Debug)]
struct Watch {
    observed: Observer,
    history: Mutex<History>,
    /// The date of its start, which distinguishes one run from the next.
    started: String,
    /// Its clients may be named.
    names_clients: bool,
    records: Records,
}

impl Watch {
    fn new(observed: Observer, names_clients: bool) -> Arc<Self> {
        let history = Mutex::new(History::new(&observed.snapshot()));
        let (started, records) = (stats::date(), Records::default());
        Arc::new(Self { observed, history, started, names_clients, records })
    }

    /// The busiest clients, where their addresses may be shown.
    fn clients(&self) -> Vec<ClientLoad> {
        match self.names_clients {
            true => self.observed.busiest_clients(config::BUSIEST_CLIENTS),
            false => Vec::new(),
        }
    }

    /// The largest transfers, where the addresses of clients may be shown.
    fn transfers(&self) -> Vec<Transfer> {
        match self.names_clients {
            true => self.observed.transfers(config::TRANSFERS),
            false => Vec::new(),
        }
    }

    fn sample_until(&self, stopped: &Receiver<Infallible>) {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(config::SAMPLE_INTERVAL) {
            let snapshot = self.observed.snapshot();
            self.history().add(snapshot);
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }
}

/// Answers each path.
#[derive(Debug)]
struct Routes {
    watch: Arc<Watch>,
    hosts: Hosts,
}

impl Handler for Routes {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        Ok(answer(&self.watch, &self.hosts, request, request.target.path.as_bytes()))
    }
}

/// The endpoint that answers while the process runs.
const HEALTH: &[u8] = b"healthz";

/// The endpoint that says whether the server should get requests.
const READINESS: &[u8] = b"readyz";

/// The query parameter with which [`READINESS`] tells of a full queue, too.
const FULL: &str = "full";

/// Answers a request for the endpoint of this name.
fn answer(watch: &Watch, hosts: &Hosts, request: &Request<'_>, endpoint: &[u8]) -> Response {
    // Health reveals no data, and health checkers send any host name.
    let is_health = matches!(endpoint, HEALTH | READINESS);
    if !is_health && !hosts.admit(request) {
        return Response::error(Status::MISDIRECTED_REQUEST, UNKNOWN_HOST);
    }
    if !matches!(request.method, Method::Get | Method::Head) {
        return Response::error(
            Status::METHOD_NOT_ALLOWED,
            "This endpoint is read-only: use GET or HEAD.",
        )
        .with_known_field("Allow", ALLOW);
    }
    let response = match endpoint {
        b"" => page::response(),
        b"metrics" => metrics_text::response(watch),
        b"stats.json" => stats::response(watch),
        b"history.json" => records::response(watch),
        HEALTH => plain(Status::OK, "alive\n"),
        READINESS => readiness(&watch.observed, request.query(FULL).is_some()),
        _ => {
            let known = "The endpoints are /, /metrics, /stats.json, /history.json, /healthz, \
                         /readyz and /readyz?full.";
            Response::error(Status::NOT_FOUND, known)
        }
    };
    // The figures are outdated a moment later.
    response
        .with_known_field("Cache-Control", "no-store")
        .with_known_field("X-Content-Type-Options", "nosniff")
}

/// Whether a load balancer should send requests to the observed server.
///
/// A full queue alone is no reason against it: whatever takes one server out for that sends its
/// requests to the others, which are full next. A balancer that sees all servers out refuses
/// requests that they could answer. Who wants to know asks for it.
fn readiness(observed: &Observer, tells_fullness: bool) -> Response {
    if !observed.is_ready() {
        plain(Status::SERVICE_UNAVAILABLE, "stopping\n")
    } else if tells_fullness && observed.is_queue_full() {
        plain(Status::SERVICE_UNAVAILABLE, "the queue is full\n")
    } else {
        plain(Status::OK, "ready\n")
    }
}

fn plain(status: Status, text: &'static str) -> Response {
    Response::new(status)
        .with_known_field("Content-Type", "text/plain; charset=utf-8")
        .with_body(crate::handler::Body::Bytes(text.into()))
}

/// A duration in JSON: seconds, or null.
fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}
