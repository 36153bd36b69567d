//! The back-end delay of the exercise, in front of another handler.

use super::Handler;
use super::accepts::Accepts;
use super::error::Error;
use super::response::Response;
use crate::http::request::Request;
use crate::http::status::Status;
use bytes::Bytes;
use std::thread;
use std::time::Duration;

/// A handler behind a back-end that takes its time: parse, delay, respond.
///
/// The delay is slept where the inner handler found what was asked for (200, 206 and 304), as a
/// database lookup would take it; what is refused or redirected needs no back-end.
#[derive(Debug)]
pub struct Delay<H> {
    delay: Duration,
    inner: H,
}

impl<H: Handler> Delay<H> {
    /// Puts a back-end of this service time behind `inner`.
    pub fn new(delay: Duration, inner: H) -> Self {
        Self { delay, inner }
    }
}

impl<H: Handler> Handler for Delay<H> {
    type State = H::State;

    fn state(&self, worker: usize) -> H::State {
        self.inner.state(worker)
    }

    fn handle(&self, request: &Request<'_>, state: &mut H::State) -> Result<Response, Error> {
        let response = self.inner.handle(request, state)?;
        let found = [Status::OK, Status::PARTIAL_CONTENT, Status::NOT_MODIFIED];
        let found = found.contains(&response.status());
        if found && !self.delay.is_zero() {
            thread::sleep(self.delay);
        }
        Ok(response)
    }

    fn accepts(&self) -> Accepts {
        self.inner.accepts()
    }

    fn give_way(&self) {
        self.inner.give_way();
    }

    fn tend(&self) {
        self.inner.tend();
    }

    fn common_fields(&self) -> Bytes {
        self.inner.common_fields()
    }
}
