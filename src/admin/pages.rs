//! The admin endpoints as handlers, for a port that serves something else as well.

use super::hosts::Hosts;
use super::sampler::Sampler;
use super::{HEALTH, READINESS, Watch, answer, plain};
use crate::handler::redirect_to_slash;
use crate::handler::{Error, Handler, Immediate, Response};
use crate::http::request::Request;
use crate::http::status::Status;
use crate::observer::Observer;
use crate::server::StartError;
use std::sync::{Arc, OnceLock};

/// The endpoints of [`Admin`](super::Admin) as a handler, which can be mounted in the observed
/// server itself.
///
/// It needs the feature `admin`.
///
/// A server can only be observed once it runs, so this takes two steps: mount clones of this
/// handler, start the server, then call [`observe`](Self::observe). Until then, all endpoints
/// except `/healthz` answer 503.
///
/// Every client of the server can read the mounted endpoints, so they do not name the busiest
/// clients. Health and readiness need no worker. Requests for the other endpoints wait in the
/// server's queue. In contrast, an [`Admin`](super::Admin) server has its own port and worker, and
/// answers even if the pool is saturated.
///
/// ```
/// use cws::{AdminPages, Config, Request, Routes, Server};
///
/// let admin = AdminPages::new();
/// let routes = Routes::new()
///     .get("/", |_: &Request<'_>| "hello\n")
///     .mount("/admin", admin.clone())
///     .mount("/healthz", admin.health())
///     .build()?;
/// let server = Server::start(Config::default(), routes)?;
/// admin.observe(server.observer())?;
/// # server.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct AdminPages {
    seen: Arc<OnceLock<Seen>>,
    hosts: Arc<Hosts>,
    /// The only endpoint, which is served at the prefix itself. `None` serves all endpoints below
    /// the prefix.
    only: Option<&'static [u8]>,
}

/// The server that is observed, and its sampler.
#[derive(Debug)]
struct Seen {
    watch: Arc<Watch>,
    _sampler: Sampler,
}

impl AdminPages {
    /// All endpoints: the live page, `metrics`, `stats.json`, `history.json`, `healthz` and
    /// `readyz`. Those with figures answer to requests whose host is an IP address, `localhost` or
    /// this machine's name.
    pub fn new() -> Self {
        Self::named(&[])
    }

    /// Like [`new`](Self::new), but the endpoints with figures also accept the host names in
    /// `names`, which have no port.
    pub fn named(names: &[String]) -> Self {
        Self { seen: Arc::default(), hosts: Arc::new(Hosts::new(names)), only: None }
    }

    /// Only the health check: 200 while the process runs. Mount it at `/healthz`, for example.
    pub fn health(&self) -> Self {
        self.only(HEALTH)
    }

    /// Only the readiness check: 503 before the server is observed and from the moment that it is
    /// told to stop; with the query `full`, also while its queue is full.
    pub fn readiness(&self) -> Self {
        self.only(READINESS)
    }

    /// Only the figures in Prometheus' text format.
    pub fn metrics(&self) -> Self {
        self.only(b"metrics")
    }

    /// The endpoint that a request is for. None for the prefix itself without its slash, and for a
    /// path below the prefix of a single endpoint.
    fn endpoint<'a>(&self, request: &'a Request<'_>) -> Option<&'a [u8]> {
        let path = &request.target.path;
        let is_top = path.as_bytes().is_empty();
        match self.only {
            Some(endpoint) => is_top.then_some(endpoint),
            None => (!is_top || path.is_directory()).then(|| path.as_bytes()),
        }
    }

    fn only(&self, endpoint: &'static [u8]) -> Self {
        Self { only: Some(endpoint), ..self.clone() }
    }

    /// Sets the server to observe, for all clones. Only the first call has an effect.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread for the sampler.
    pub fn observe(&self, observed: Observer) -> Result<(), StartError> {
        // Clients must not learn one another's addresses.
        let watch = Watch::new(observed, false);
        let sampler = Sampler::start(Arc::clone(&watch))?;
        if self.seen.set(Seen { watch, _sampler: sampler }).is_err() {
            log::warn!("the admin endpoints observe a server already; the other one is ignored");
        }
        Ok(())
    }
}

impl Default for AdminPages {
    fn default() -> Self {
        Self::new()
    }
}

impl Immediate for AdminPages {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        let needs_nothing = matches!(self.endpoint(request)?, HEALTH | READINESS);
        if needs_nothing { self.handle(request, &mut ()).ok() } else { None }
    }
}

impl Handler for AdminPages {
    type State = ();

    fn state(&self, _: usize) {}

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        let Some(endpoint) = self.endpoint(request) else {
            if self.only.is_some() {
                return Err(Error::new(Status::NOT_FOUND, "There is nothing at this path."));
            }
            // The page's links are relative.
            return Ok(redirect_to_slash(&request.target));
        };
        Ok(match self.seen.get() {
            Some(seen) => answer(&seen.watch, &self.hosts, request, endpoint),
            None if endpoint == HEALTH => plain(Status::OK, "alive\n"),
            None => Response::busy("The server is starting."),
        })
    }
}
