//! A worker's hold on the handler: its own state, and a net under panics.

use super::{Handler, IntoResponse, Response};
use crate::http::request::Request;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The shared handler, and the state of one worker for it.
pub struct WorkerHandler<H: Handler> {
    handler: Arc<H>,
    worker: usize,
    /// None before the first request and after a panic.
    state: Option<H::State>,
}

impl<H: Handler> WorkerHandler<H> {
    /// The hold of worker number `worker`.
    pub fn new(handler: Arc<H>, worker: usize) -> Self {
        Self { handler, worker, state: None }
    }

    /// Has the handler answer; the error is the message of its panic.
    pub fn answer(&mut self, request: &Request<'_>) -> Result<Response, String> {
        let Self { handler, worker, state } = self;
        let answer = || {
            let state = state.get_or_insert_with(|| handler.state(*worker));
            handler.handle(request, state).into_response()
        };
        catch_unwind(AssertUnwindSafe(answer)).map_err(|panic| {
            // What a panic left half done is nobody's to use. Its destructor may panic as well.
            if catch_unwind(AssertUnwindSafe(|| drop(self.state.take()))).is_err() {
                log::error!("a worker's state panicked when it was dropped");
            }
            message(&*panic)
        })
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
