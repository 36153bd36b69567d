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

use crate::handler::{Handler, IntoResponse, Response};
use crate::http::request::Request;
use endpoint::{Answer, erase};
use mounted::AnyHandler;
use std::fmt;
use std::sync::Arc;

/// A set of endpoints by method and path, from which [`build`](Self::build) makes a [`Handler`].
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
/// `/items/{id}` has a parameter, which matches any one segment. In `/img/{id}.png` it matches a
/// part of a segment. `/files/{*rest}` matches one or more segments. Write `{{` and `}}` for
/// literal braces. A handler reads the value of a parameter with `Request::param`.
///
/// Patterns match the *decoded* path of a request, so write them decoded: `/a b` matches `/a%20b`.
/// The server refuses an encoded slash (`%2F`) and `%00` with 400 before any route is tried. Dot
/// segments, encoded or not, are resolved, and repeated slashes count as one. A trailing slash
/// counts: `/items` and `/items/` are different paths. No pattern matches a path that is not UTF-8,
/// but a mounted handler may get one.
///
/// If several patterns match, literal segments take precedence over parameters, and parameters over
/// `{*rest}`.
///
/// # Methods
///
/// The endpoint of GET also answers HEAD, and OPTIONS is answered with a list of methods, unless
/// they have endpoints of their own. Another method at a known path gets 405. An unknown path gets
/// 404, or the [fallback](Self::fallback).
///
/// # State
///
/// Each worker has a state of its own, such as a database connection.
/// [`with_state`](Self::with_state) sets how it is created, and endpoints may take it as their
/// second argument.
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

/// The endpoint for one method and pattern.
struct Route<S> {
    pattern: String,
    method: String,
    /// The most bytes of a request body; 0 drops the body.
    most: u64,
    answer: Answer<S>,
    /// The same, if it needs no worker.
    at_once: Option<Arc<AtOnce>>,
}

/// An endpoint that needs neither state nor time.
type AtOnce = dyn Fn(&Request<'_>) -> Response + Send + Sync;

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
    /// No routes. `make` creates the state of a worker from its number (see [`Handler::state`]).
    pub fn with_state(make: impl Fn(usize) -> S + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), routes: Vec::new(), mounts: Vec::new(), fallback: None }
    }

    /// Answers GET, and HEAD with the same response without its content.
    #[must_use]
    pub fn get<F>(self, pattern: &str, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("GET", pattern, 0, endpoint)
    }

    /// Answers POST. A body of more than `most` bytes gets 413.
    #[must_use]
    pub fn post<F>(self, pattern: &str, most: u64, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("POST", pattern, most, endpoint)
    }

    /// Answers PUT. A body of more than `most` bytes gets 413.
    #[must_use]
    pub fn put<F>(self, pattern: &str, most: u64, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("PUT", pattern, most, endpoint)
    }

    /// Answers PATCH. A body of more than `most` bytes gets 413.
    #[must_use]
    pub fn patch<F>(self, pattern: &str, most: u64, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("PATCH", pattern, most, endpoint)
    }

    /// Answers DELETE.
    #[must_use]
    pub fn delete<F>(self, pattern: &str, endpoint: impl Endpoint<S, F>) -> Self {
        self.on("DELETE", pattern, 0, endpoint)
    }

    /// Answers the method of this name, which is case-sensitive and need not be registered. If
    /// `most` is 0, a body is dropped; otherwise a body of more than `most` bytes gets 413.
    #[must_use]
    pub fn on<F>(
        mut self,
        method: &str,
        pattern: &str,
        most: u64,
        endpoint: impl Endpoint<S, F>,
    ) -> Self {
        let (method, pattern, answer) = (method.to_owned(), pattern.to_owned(), erase(endpoint));
        self.routes.push(Route { pattern, method, most, answer, at_once: None });
        self
    }

    /// Answers GET, and HEAD, from memory and without a worker, also while all workers are busy and
    /// the queue is full. All clients wait for the endpoint meanwhile, so it must take
    /// microseconds: see [`Immediate`](crate::handler::Immediate).
    ///
    /// ```
    /// # use cws::{Request, Routes};
    /// let routes = Routes::new()
    ///     .immediate("/version", |_: &Request<'_>| "1\n")
    ///     .get("/report", |_: &Request<'_>| "what a database has found\n")
    ///     .build()?;
    /// # Ok::<(), cws::RouteError>(())
    /// ```
    #[must_use]
    pub fn immediate<R: IntoResponse>(
        mut self,
        pattern: &str,
        endpoint: impl Fn(&Request<'_>) -> R + Send + Sync + 'static,
    ) -> Self {
        let at_once: Arc<AtOnce> = Arc::new(move |request| endpoint(request).into_response());
        let also = Arc::clone(&at_once);
        let answer: Answer<S> = Box::new(move |request, _| also(request));
        let (method, pattern) = ("GET".to_owned(), pattern.to_owned());
        self.routes.push(Route { pattern, method, most: 0, answer, at_once: Some(at_once) });
        self
    }

    /// Passes all requests for `prefix` and the paths below it to another handler, whatever the
    /// method. The handler sees the path without the prefix, has its own state in each worker, and
    /// gets the parameters of the prefix. More specific routes take precedence: `/static/version`
    /// before `/static`. A handler mounted at `/` gets all requests that match no route and no
    /// other mount; then the [fallback](Self::fallback) is not used.
    ///
    /// ```
    /// # #[cfg(feature = "files")] {
    /// # use cws::{Routes, Request, StaticFiles};
    /// let users = Routes::new().get("/{id}", |_: &Request<'_>| "a user\n").build()?;
    /// let routes = Routes::new()
    ///     .get("/static/version", |_: &Request<'_>| "1\n")
    ///     .mount("/static", StaticFiles::new("src")?)
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

    /// Answers requests whose path matches nothing else, instead of a 404.
    #[must_use]
    pub fn fallback<F>(mut self, endpoint: impl Endpoint<S, F>) -> Self {
        self.fallback = Some(erase(endpoint));
        self
    }

    /// Makes a handler of these routes.
    ///
    /// # Errors
    ///
    /// If a pattern or a method is malformed, or if two patterns match the same paths and neither
    /// is more specific. The error names them.
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
