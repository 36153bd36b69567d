//! A handler that simulates a slow back-end.

use super::error::Error;
use super::response::Response;
use super::{Handler, Immediate, forward_to_inner};
use crate::http::request::Request;
use crate::http::status::Status;
use std::thread;
use std::time::Duration;

/// Adds the service time of a back-end, such as a database, to another handler.
///
/// The worker sleeps for the delay if the inner handler finds the resource (200, 206 and 304).
/// Other responses, such as errors and redirects, need no back-end and are not delayed.
#[derive(Debug)]
#[must_use]
pub struct Delay<H> {
    delay: Duration,
    inner: H,
}

impl<H: Handler> Delay<H> {
    /// Adds a back-end with this service time to `inner`.
    pub fn new(delay: Duration, inner: H) -> Self {
        Self { delay, inner }
    }
}

impl<H: Handler> Handler for Delay<H> {
    forward_to_inner!();

    /// A back-end takes time, and whether it is needed shows only when the resource is found.
    fn immediate(&self) -> Option<&dyn Immediate> {
        if self.delay.is_zero() { self.inner.immediate() } else { None }
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
}
