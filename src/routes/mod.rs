//! Routes: which handler answers which method at which path.

mod endpoint;
mod mounted;
mod pattern;
mod table;

#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;
pub use pattern::RouteError;
pub use table::{RouteTable, WorkerStates};

use crate::handler::Handler;
use endpoint::{Answer, erase};
use mounted::AnyHandler;
use std::fmt;

/// Methods and paths, and what answers at each; [`build`](Self::build) makes a [`Handler`] of them.
///
/// It needs the feature `routes`.
///
/// ```
/// use cws::{Config, Request, Response, Routes, Server};
///
/// let routes = Routes::new()
///     .get("/hello/{name}", |request: &Request<'_>| {
///         format!("hello, {}\n", request.param("name").unwrap_or_default())
///     })
///     .post("/echo", 64 << 10, |request: &Request<'_>| request.body().to_vec())
///     .build()?;
/// let server = Server::start(Config::default(), routes)?;
/// # server.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Patterns
///
/// `/items/{id}` has a parameter: any one segment. `/img/{id}.png` has one with something around
/// it. `/files/{*rest}` takes one or more segments. `{{` and `}}` stand for braces. A handler reads
/// what a parameter stands for by `Request::param`.
///
/// Patterns are compared with the *decoded* path of a request, so they are written decoded:
/// `/a b` fits `/a%20b`. An encoded slash (`%2F`) never is a slash of a pattern: the server refuses
/// it by 400 before any route is tried, as it refuses `%00`. Dot segments, encoded or not, are
/// resolved before, and doubled slashes are one. A slash at the end counts: `/items` and `/items/`
/// are two paths. No pattern fits a path that is not UTF-8, but a mounted handler gets it.
///
/// Where several fit, literal segments come before parameters, and these before `{*rest}`.
///
/// # Methods
///
/// HEAD is answered by the endpoint of GET, and OPTIONS by a list of methods, unless there are
/// endpoints of their own. Another method at a known path is refused by 405, an unknown path by
/// 404, or by the [fallback](Self::fallback).
///
/// # State
///
/// Each worker has a state of its own, such as a database connection, which
/// [`with_state`](Self::with_state) makes and endpoints may take.
///
/// ```
/// # use cws::{Request, Routes};
/// let routes = Routes::with_state(|_worker| 0_u64)
///     .get("/", |_: &Request<'_>| "count me at /count\n")
///     .get("/count", |_: &Request<'_>, served: &mut u64| {
///         *served += 1;
///         format!("{served}\n")
///     })
///     .build()?;
/// # Ok::<(), cws::RouteError>(())
/// ```
pub struct Routes<S = ()> {
    make: Box<dyn Fn(usize) -> S + Send + Sync>,
    routes: Vec<Route<S>>,
    mounts: Vec<(String, Box<dyn AnyHandler>)>,
    fallback: Option<Answer<S>>,
}

/// What answers one method at the paths of one pattern.
struct Route<S> {
    pattern: String,
    method: String,
    /// The bytes of a body that it takes.
    most: u64,
    answer: Answer<S>,
}

impl Routes {
    /// No routes, and no state.
    pub fn new() -> Self {
        Self::with_state(|_| ())
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: 'static> Routes<S> {
    /// No routes; `make` makes the state of a worker, from its number (see [`Handler::state`]).
    pub fn with_state(make: impl Fn(usize) -> S + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), routes: Vec::new(), mounts: Vec::new(), fallback: None }
    }

    /// Answers GET, and HEAD with the same but its content.
    #[must_use]
    pub fn get<F>(self, pattern: &str, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("GET", pattern, 0, endpoint)
    }

    /// Answers POST; a body of more than `most` bytes is refused by 413.
    #[must_use]
    pub fn post<F>(self, pattern: &str, most: u64, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("POST", pattern, most, endpoint)
    }

    /// Answers PUT; a body of more than `most` bytes is refused by 413.
    #[must_use]
    pub fn put<F>(self, pattern: &str, most: u64, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("PUT", pattern, most, endpoint)
    }

    /// Answers PATCH; a body of more than `most` bytes is refused by 413.
    #[must_use]
    pub fn patch<F>(self, pattern: &str, most: u64, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("PATCH", pattern, most, endpoint)
    }

    /// Answers DELETE.
    #[must_use]
    pub fn delete<F>(self, pattern: &str, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("DELETE", pattern, 0, endpoint)
    }

    /// Answers any method, by its name, whose case matters; those that are not registered, too.
    /// Where `most` is 0, a body is dropped; a longer one than `most` is refused by 413.
    #[must_use]
    pub fn on<F>(
        mut self,
        method: &str,
        pattern: &str,
        most: u64,
        endpoint: impl Endpoint<S, F>,
    ) -> Self {
        let (method, pattern, answer) = (method.to_owned(), pattern.to_owned(), erase(endpoint));
        self.routes.push(Route { pattern, method, most, answer });
        self
    }

    /// Has another handler answer, whatever the method, at `prefix` and all beneath it. It sees the
    /// path without the prefix, has a state of its own in each worker, and gets the parameters that
    /// the prefix may have. Routes that are more specific come first: `/static/version` before
    /// `/static`. Under `/` it answers all that no route and no other mount fits.
    ///
    /// ```
    /// # #[cfg(feature = "files")] {
    /// # use cws::{Routes, Request, StaticFiles};
    /// let users = Routes::new().get("/{id}", |_: &Request<'_>| "a user\n").build()?;
    /// let routes = Routes::new()
    ///     .get("/static/version", |_: &Request<'_>| "1\n")
    ///     .mount("/static", StaticFiles::new("src".as_ref())?)
    ///     .mount("/users", users)
    ///     .build()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn mount(mut self, prefix: &str, handler: impl Handler) -> Self {
        self.mounts.push((prefix.to_owned(), Box::new(handler)));
        self
    }

    /// Answers where nothing else fits the path, instead of a 404.
    #[must_use]
    pub fn fallback<F>(mut self, endpoint: impl Endpoint<S, F>) -> Self {
        self.fallback = Some(erase(endpoint));
        self
    }

    /// The handler of all these.
    ///
    /// # Errors
    ///
    /// If a pattern is malformed, or two fit the same paths and neither is more specific; the error
    /// names both.
    pub fn build(self) -> Result<RouteTable<S>, RouteError> {
        RouteTable::new(self)
    }
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.routes.iter().map(|route| format!("{} {}", route.method, route.pattern));
        let mounts = self.mounts.iter().map(|(prefix, _)| format!("{prefix} and beneath"));
        f.debug_list().entries(routes.chain(mounts)).finish()
    }
}
