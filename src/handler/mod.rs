//! The door to an embedder's code: a handler gets a whole request and gives a response.

mod accepts;
mod body;
mod response;
mod error;
#[cfg(any(feature = "admin", feature = "files"))]
mod redirect;
mod delay;
mod call;

pub use accepts::Accepts;
#[cfg(feature = "routes")]
pub(crate) use accepts::Piece;
pub use body::{Body, FileSlice, Stream};
pub(crate) use call::WorkerHandler;
pub use delay::Delay;
pub use error::{Error, IntoResponse};
#[cfg(any(feature = "admin", feature = "files"))]
pub(crate) use redirect::redirect_to_slash;
pub use response::{FieldError, OWN_FIELDS, Response};

use crate::http::request::Request;
use bytes::Bytes;
use std::fmt;

/// Answers requests. All workers share one handler, and each has a [`State`](Self::State) of its
/// own.
///
/// A call holds its worker until it returns: that is the service time. A panic is caught: the
/// client gets a 500, and the worker makes its state anew and goes on.
///
/// A closure that takes a request is a handler without state; [`with_state`] makes one that has
/// state from two closures.
pub trait Handler: Send + Sync + 'static {
    /// What a worker has of its own, such as a database connection; `()` where it needs nothing.
    type State: 'static;

    /// Makes the state of worker number `worker` (from 1), on that worker's thread: before its
    /// first request, and again after a panic. Should this panic, the request is answered by a 500
    /// and the next one tries again.
    fn state(&self, worker: usize) -> Self::State;

    /// The response to a request, or an error that turns into one. The content of a response to
    /// HEAD is not sent.
    fn handle(&self, request: &Request<'_>, state: &mut Self::State) -> Result<Response, Error>;

    /// What it takes beyond requests without a body. It is asked once, when the server starts.
    fn accepts(&self) -> Accepts {
        Accepts::default()
    }

    /// Releases descriptors that are held for speed alone: the system is out of them.
    fn give_way(&self) {}

    /// Releases what nobody has asked for lately. A thread that may block calls it about once a
    /// second.
    fn tend(&self) {}

    /// Header fields, each with its line end, for the responses that the server makes itself: its
    /// refusals.
    fn common_fields(&self) -> Bytes {
        Bytes::new()
    }
}

impl<F, R> Handler for F
where
    F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
    R: IntoResponse,
{
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        Ok(self(request).into_response())
    }
}

/// A handler of two closures: `make` gives each worker its state (see [`Handler::state`]), and
/// `handle` answers with it.
///
/// ```
/// use cws::{Config, Request, Server, with_state};
///
/// let count = |request: &Request<'_>, served: &mut u64| {
///     *served += 1;
///     format!("worker {} has served {served}\n", request.worker())
/// };
/// let server = Server::start(Config::default(), with_state(|_worker| 0, count))?;
/// # server.shutdown();
/// # Ok::<(), cws::StartError>(())
/// ```
pub fn with_state<S, R, M, F>(make: M, handle: F) -> WithState<M, F>
where
    M: Fn(usize) -> S + Send + Sync + 'static,
    F: Fn(&Request<'_>, &mut S) -> R + Send + Sync + 'static,
    S: 'static,
    R: IntoResponse,
{
    WithState { make, handle }
}

/// See [`with_state`].
#[derive(Clone)]
pub struct WithState<M, F> {
    make: M,
    handle: F,
}

impl<M, F> fmt::Debug for WithState<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithState").finish_non_exhaustive()
    }
}

impl<S, R, M, F> Handler for WithState<M, F>
where
    M: Fn(usize) -> S + Send + Sync + 'static,
    F: Fn(&Request<'_>, &mut S) -> R + Send + Sync + 'static,
    S: 'static,
    R: IntoResponse,
{
    type State = S;

    fn state(&self, worker: usize) -> S {
        (self.make)(worker)
    }

    fn handle(&self, request: &Request<'_>, state: &mut S) -> Result<Response, Error> {
        Ok((self.handle)(request, state).into_response())
    }
}
