//! The interface to an embedder's code: a handler turns a complete request into a response.

mod accepts;
mod body;
mod response;
mod error;
#[cfg(any(feature = "admin", feature = "files"))]
mod redirect;
mod service;
mod delay;
mod call;
mod immediate;

pub use accepts::Accepts;
#[cfg(feature = "routes")]
pub(crate) use accepts::Piece;
pub(crate) use body::Made;
pub use body::{Body, FileSlice, Stream};
pub(crate) use call::WorkerHandler;
pub use delay::Delay;
pub use error::{Error, IntoResponse};
pub use immediate::Immediate;
pub(crate) use immediate::ImmediateHandler;
#[cfg(any(feature = "admin", feature = "files"))]
pub(crate) use redirect::redirect_to_slash;
pub use response::{FieldError, OWN_FIELDS, Response};
#[cfg(feature = "internals")]
pub use service::{Law, law};
pub use service::{ServiceTime, ServiceTimeError};

use crate::http::request::Request;
use bytes::Bytes;
use std::fmt;

/// Responds to requests. All workers share one handler, and each worker has a
/// [`State`](Self::State) of its own.
///
/// A call occupies its worker until it returns; this is the service time. The server catches a
/// panic: the client gets a 500, and the worker creates a new state and continues.
///
/// A closure that takes a request is a handler without state. [`with_state`] makes a handler with
/// state from two closures. The type of a closure's argument has to be written: `|request:
/// &Request<'_>| ..`. Without it the compiler says that an "implementation of `FnOnce` is not
/// general enough".
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "write |request: &Request<'_>| .., or implement `Handler`",
    note = "`Routes` become a handler by `.build()?`",
    note = "handlers of several types go under the paths of `Routes` by `.mount(path, handler)`"
)]
pub trait Handler: Send + Sync + 'static {
    /// The state of one worker, such as a database connection; `()` if there is none.
    type State: 'static;

    /// Creates the state of worker number `worker` (from 1), on that worker's thread: before its
    /// first request, and again after a panic. If this call panics, the client gets a 500, and the
    /// next request tries again.
    fn state(&self, worker: usize) -> Self::State;

    /// The response to a request, or an error that is converted to one. The server does not send
    /// the content of a response to HEAD.
    fn handle(&self, request: &Request<'_>, state: &mut Self::State) -> Result<Response, Error>;

    /// What it answers without a worker, if there is anything: see [`Immediate`].
    fn immediate(&self) -> Option<&dyn Immediate> {
        None
    }

    /// What the handler accepts besides requests without a body. The server calls this once, at its
    /// start.
    fn accepts(&self) -> Accepts {
        Accepts::default()
    }

    /// Closes file descriptors that are only cached: the system has run out of them.
    fn give_way(&self) {}

    /// Releases what has not been used lately. A thread that may block calls this about once a
    /// second.
    fn tend(&self) {}

    /// Header fields, each with its line end, that the server adds to its own responses, such as
    /// refusals.
    fn common_fields(&self) -> Bytes {
        Bytes::new()
    }
}

/// All of a handler in front of `self.inner: H` but its `handle` and what it answers immediately. A
/// wrapper that leaves out one of these silently takes it from the handler behind it.
macro_rules! forward_to_inner {
    () => {
        type State = H::State;

        fn state(&self, worker: usize) -> H::State {
            self.inner.state(worker)
        }

        fn accepts(&self) -> $crate::handler::Accepts {
            self.inner.accepts()
        }

        fn give_way(&self) {
            self.inner.give_way();
        }

        fn tend(&self) {
            self.inner.tend();
        }

        fn common_fields(&self) -> bytes::Bytes {
            self.inner.common_fields()
        }
    };
}
pub(crate) use forward_to_inner;

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

/// A handler from two closures: `make` creates the state of a worker (see [`Handler::state`]), and
/// `handle` responds to requests with it.
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

/// The handler that [`with_state`] returns.
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
