//! What operators ask a server: metrics, health, the live page, from a port of its own.
//!
//! It is a second, one-worker [`Server`] with a handler of its own, so it answers while the pool
//! that it tells of is saturated, and until that one has ended.

mod history;
mod hosts;
mod metrics_text;
mod page;
mod pages;
mod sampler;
mod stats;

pub use pages::AdminPages;

use crate::config::{self, AccessLog, Config};
use crate::handler::{Handler, Response};
use crate::http::request::{Method, Request};
use crate::http::status::Status;
use crate::memory::Memory;
use crate::server::{Observer, Server, StartError};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use history::History;
use hosts::Hosts;
use sampler::Sampler;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the admin address answers to.
const ALLOW: &str = "GET, HEAD";

/// What is said to who asks for another machine's name.
const STRANGE_NAME: &str = "This page answers to no such host name, so that no other site can read \
it through a browser. Ask for it by its IP address, as localhost, or by this machine's name; for \
another name start the server with --admin-host NAME.";

/// The running admin side of a server. Dropping it ends it.
#[derive(Debug)]
pub struct Admin {
    server: Server,
    _sampler: Sampler,
}

impl Admin {
    /// Serves the figures of a server on `listen`, to those who ask for an address, `localhost` or
    /// this machine's name.
    pub fn start(listen: Vec<SocketAddr>, observed: Observer) -> Result<Self, StartError> {
        Self::start_named(listen, &[], observed)
    }

    /// The same, also to those who ask for one of `names`: host names without a port.
    pub fn start_named(
        listen: Vec<SocketAddr>,
        names: &[String],
        observed: Observer,
    ) -> Result<Self, StartError> {
        let watch = Watch::new(observed);
        let config = Config {
            listen,
            workers: 1,
            max_connections: config::ADMIN_CONNECTIONS,
            access_log: AccessLog::Off,
            write_timeout: config::ADMIN_WRITE_TIMEOUT,
            drain_timeout: config::ADMIN_DRAIN_TIMEOUT,
            // Of its own, so that it answers while the pool's is used up.
            memory: Memory::new(config::MEMORY_LEAST),
            http09: false,
            ..Config::default()
        };
        let server =
            Server::start(config, Routes { watch: Arc::clone(&watch), hosts: Hosts::new(names) })?;
        Ok(Self { server, _sampler: Sampler::start(watch)? })
    }

    /// The addresses it listens on, with their real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server.addresses()
    }
}

/// A server that is watched, and what was seen of it.
#[derive(Debug)]
struct Watch {
    observed: Observer,
    history: Mutex<History>,
    /// The date of its start, which tells one run from the next.
    started: String,
}

impl Watch {
    fn new(observed: Observer) -> Arc<Self> {
        let history = Mutex::new(History::new(&observed.snapshot()));
        Arc::new(Self { observed, history, started: stats::date() })
    }

    fn sample_until(&self, stopped: &Receiver<Infallible>) {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(config::SAMPLE_INTERVAL) {
            let snapshot = self.observed.snapshot();
            self.history().add(snapshot);
        }
    }

    /// The history is whole at every moment, so a panic elsewhere cannot have spoiled it.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each path and its answer.
#[derive(Debug)]
struct Routes {
    watch: Arc<Watch>,
    hosts: Hosts,
}

impl Handler for Routes {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Response {
        answer(&self.watch, &self.hosts, request, request.target.path.as_bytes())
    }
}

/// Answers a request for the endpoint of this name.
fn answer(watch: &Watch, hosts: &Hosts, request: &Request<'_>, endpoint: &[u8]) -> Response {
    // Health tells nothing, and who looks after it sends what name it likes.
    let is_health = matches!(endpoint, b"healthz" | b"readyz");
    if !is_health && !hosts.admit(request) {
        return Response::error(Status::MISDIRECTED_REQUEST, STRANGE_NAME);
    }
    if !matches!(request.method, Method::Get | Method::Head) {
        return Response::error(Status::METHOD_NOT_ALLOWED, "Here is only to look at.")
            .with_known_field("Allow", ALLOW);
    }
    let response = match endpoint {
        b"" => page::response(),
        b"metrics" => metrics_text::response(watch),
        b"stats.json" => stats::response(watch),
        b"healthz" => plain(Status::OK, "alive\n"),
        b"readyz" => readiness(&watch.observed),
        _ => {
            let known = "Here are /, /metrics, /stats.json, /healthz and /readyz.";
            Response::error(Status::NOT_FOUND, known)
        }
    };
    // Figures of a moment are of no use a moment later.
    response
        .with_known_field("Cache-Control", "no-store")
        .with_known_field("X-Content-Type-Options", "nosniff")
}

/// Whether a load balancer should send requests here.
fn readiness(observed: &Observer) -> Response {
    if !observed.is_ready() {
        plain(Status::SERVICE_UNAVAILABLE, "stopping\n")
    } else if observed.is_queue_full() {
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
