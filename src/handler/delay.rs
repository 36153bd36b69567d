//! A handler that simulates a slow back-end.

use super::error::Error;
use super::response::Response;
use super::service::ServiceTime;
use super::{Handler, Immediate, forward_to_inner};
use crate::http::request::Request;
use crate::http::status::Status;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// Adds the service time of a back-end, such as a database, to another handler.
///
/// The worker sleeps for the delay if the inner handler finds the resource (200, 206 and 304).
/// Other responses, such as errors and redirects, need no back-end and are not delayed.
///
/// The delays of a random law are those of its seed: the first n requests have the first n of them,
/// whichever worker serves which.
#[derive(Debug)]
#[must_use]
pub struct Delay<H> {
    service: ServiceTime,
    /// How many delays are drawn.
    drawn: AtomicU64,
    inner: H,
}

impl<H: Handler> Delay<H> {
    /// Adds a back-end with this service time to `inner`: a constant one if it is a
    /// [`Duration`](std::time::Duration).
    pub fn new(service: impl Into<ServiceTime>, inner: H) -> Self {
        Self { service: service.into(), drawn: AtomicU64::new(0), inner }
    }
}

impl<H: Handler> Handler for Delay<H> {
    forward_to_inner!();

    /// A back-end takes time, and whether it is needed shows only when the resource is found.
    fn immediate(&self) -> Option<&dyn Immediate> {
        if self.service.mean().is_zero() { self.inner.immediate() } else { None }
    }

    fn handle(&self, request: &Request<'_>, state: &mut H::State) -> Result<Response, Error> {
        let response = self.inner.handle(request, state)?;
        let found = [Status::OK, Status::PARTIAL_CONTENT, Status::NOT_MODIFIED];
        if found.contains(&response.status()) {
            let delay = match self.service.constant() {
                Some(delay) => delay,
                None => self.service.sample(self.drawn.fetch_add(1, Relaxed)),
            };
            if !delay.is_zero() {
                thread::sleep(delay);
            }
        }
        Ok(response)
    }
}
