//! Calls the handler on a worker, with the worker's own state, and catches panics.

use super::{Handler, IntoResponse, Response};
use crate::http::request::Request;
use crate::notes::note;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The shared handler, and its state for one worker.
pub struct WorkerHandler<H: Handler> {
    handler: Arc<H>,
    worker: usize,
    /// None before the first request and after a panic.
    state: Option<H::State>,
}

impl<H: Handler> WorkerHandler<H> {
    /// The handler for worker number `worker`.
    pub fn new(handler: Arc<H>, worker: usize) -> Self {
        Self { handler, worker, state: None }
    }

    /// The handler's response to a request.
    ///
    /// # Errors
    ///
    /// If the handler panics: the message of the panic.
    pub fn answer(&mut self, request: &Request<'_>) -> Result<Response, String> {
        let Self { handler, worker, state } = self;
        let answer = || {
            let state = state.get_or_insert_with(|| handler.state(*worker));
            handler.handle(request, state).into_response()
        };
        catch_unwind(AssertUnwindSafe(answer)).map_err(|panic| {
            // A panic may leave the state inconsistent, so it is dropped. The drop may panic, too.
            if catch_unwind(AssertUnwindSafe(|| drop(self.state.take()))).is_err() {
                note!(
                    Error,
                    "the handler's state panicked while it was dropped; the worker continues"
                );
            }
            message(&*panic)
        })
    }
}

/// The text of a panic.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
