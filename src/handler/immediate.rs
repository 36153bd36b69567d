//! Responses that need no worker.

use super::{Handler, Response};
use crate::http::request::Request;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The part of a handler that takes no time: what it can answer from memory.
///
/// The thread that reads for all connections asks for it, before a request is queued. A request
/// that it answers needs no worker. It is answered while all workers are busy and the queue is
/// full, and at low load it saves waking a thread up.
///
/// Everybody waits for this thread, so a response must take microseconds. It must not wait for a
/// disk, a back-end, or a lock under which work is done. What may take longer is for
/// [`Handler::handle`], on a worker. The server catches a panic here as it does there.
///
/// ```
/// use cws::{Config, Error, Handler, Immediate, Request, Response, Server};
///
/// struct Shop;
///
/// impl Handler for Shop {
///     type State = ();
///
///     fn state(&self, _: usize) {}
///
///     fn handle(&self, _: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
///         Ok(Response::text("made by a worker, which may take a while\n"))
///     }
///
///     fn immediate(&self) -> Option<&dyn Immediate> {
///         Some(self)
///     }
/// }
///
/// impl Immediate for Shop {
///     fn respond(&self, request: &Request<'_>) -> Option<Response> {
///         let path = &request.target.path;
///         (path.as_bytes() == b"version").then(|| Response::text("1\n"))
///     }
/// }
///
/// let server = Server::start(Config::default(), Shop)?;
/// # server.shutdown();
/// # Ok::<(), cws::StartError>(())
/// ```
pub trait Immediate {
    /// The response to a request, if it takes no time. None leaves the request to a worker, for
    /// which it is parsed again.
    fn respond(&self, request: &Request<'_>) -> Option<Response>;
}

/// What a handler answers without a worker.
pub struct ImmediateHandler(Box<Respond>);

/// See [`Immediate::respond`].
type Respond = dyn Fn(&Request<'_>) -> Option<Response> + Send;

impl ImmediateHandler {
    /// That part of a handler, if it has one.
    pub fn of<H: Handler>(handler: &Arc<H>) -> Option<Self> {
        handler.immediate()?;
        let handler = Arc::clone(handler);
        Some(Self(Box::new(move |request| handler.immediate()?.respond(request))))
    }

    /// Its response to a request, if it has one that takes no time.
    ///
    /// # Errors
    ///
    /// If the handler panics: the message of the panic.
    pub fn answer(&self, request: &Request<'_>) -> Option<Result<Response, String>> {
        let answer = AssertUnwindSafe(|| (self.0)(request));
        catch_unwind(answer).map_err(|panic| super::call::message(&*panic)).transpose()
    }
}

impl fmt::Debug for ImmediateHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImmediateHandler").finish_non_exhaustive()
    }
}
