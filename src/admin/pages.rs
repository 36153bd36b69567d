//! The admin endpoints as handlers, for a port that serves something else as well.

use super::hosts::Hosts;
use super::sampler::Sampler;
use super::{Watch, answer, plain};
use crate::handler::redirect_to_slash;
use crate::handler::{Error, Handler, Response};
use crate::http::request::Request;
use crate::http::status::Status;
use crate::server::{Observer, StartError};
use std::sync::{Arc, OnceLock};

/// What [`Admin`](super::Admin) serves, as a handler to be mounted in the server that it tells of.
///
/// It needs the feature `admin`.
///
/// A server can be observed once it runs, so this takes two steps: mount clones of it, start the
/// server, then tell it what to [`observe`](Self::observe). Until then, all but `/healthz` is
/// answered by 503.
///
/// Whoever can reach the server can read what is mounted. And what the pool serves waits in its
/// queue: an [`Admin`](super::Admin) has a port and a worker of its own, and answers while the pool
/// is saturated.
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
    /// The one endpoint that is served at the prefix itself, instead of all beneath it.
    only: Option<&'static [u8]>,
}

/// The server that is observed, and its sampler.
#[derive(Debug)]
struct Seen {
    watch: Arc<Watch>,
    _sampler: Sampler,
}

impl AdminPages {
    /// All endpoints: the live page, `metrics`, `stats.json`, `healthz` and `readyz`. Those with
    /// figures answer to requests whose host is an IP address, `localhost` or this machine's name.
    pub fn new() -> Self {
        Self::named(&[])
    }

    /// The same, also to requests for one of `names`: host names without a port.
    pub fn named(names: &[String]) -> Self {
        Self { seen: Arc::default(), hosts: Arc::new(Hosts::new(names)), only: None }
    }

    /// Whether the process is alive, alone: to be mounted under `/healthz`, say.
    pub fn health(&self) -> Self {
        self.only(b"healthz")
    }

    /// Whether the server should be sent requests, alone.
    pub fn readiness(&self) -> Self {
        self.only(b"readyz")
    }

    /// The figures in Prometheus' text format, alone.
    pub fn metrics(&self) -> Self {
        self.only(b"metrics")
    }

    fn only(&self, endpoint: &'static [u8]) -> Self {
        Self { only: Some(endpoint), ..self.clone() }
    }

    /// Tells of this server from now on, for all clones; the first one counts.
    ///
    /// # Errors
    ///
    /// If there is no thread for the samples.
    pub fn observe(&self, observed: Observer) -> Result<(), StartError> {
        let watch = Watch::new(observed);
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

impl Handler for AdminPages {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        let path = &request.target.path;
        let is_top = path.as_bytes().is_empty();
        if self.only.is_none() && is_top && !path.is_directory() {
            // The page's links are relative.
            return Ok(redirect_to_slash(&request.target));
        }
        let endpoint = match self.only {
            Some(endpoint) if is_top => endpoint,
            Some(_) => return Err(Error::new(Status::NOT_FOUND, "Nothing is at this path.")),
            None => path.as_bytes(),
        };
        Ok(match self.seen.get() {
            Some(seen) => answer(&seen.watch, &self.hosts, request, endpoint),
            None if endpoint == b"healthz" => plain(Status::OK, "alive\n"),
            None => Response::busy("The server is starting."),
        })
    }
}
