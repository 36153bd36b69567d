//! Requests that another thread supplies while the load runs: each with its time and its message.

use super::crowd::{Demand, Due};
use super::message::Message;
use crossbeam_channel::Receiver;
use std::sync::Arc;
use std::time::Duration;

/// Requests in the order of their starts, from a channel.
///
/// The thread that drives the requests waits for the channel if it is empty, so the supplier must
/// keep ahead. If it does not, requests start late, which shows in the
/// [`Conduct`](super::Conduct).
#[derive(Debug)]
pub struct Feed {
    supply: Receiver<(Duration, Arc<Message>)>,
    next: Option<(Duration, Arc<Message>)>,
}

impl Feed {
    /// The requests of a channel. It ends when all senders are gone. Waits for the first one.
    pub fn new(supply: Receiver<(Duration, Arc<Message>)>) -> Self {
        let next = supply.recv().ok();
        Self { supply, next }
    }
}

impl Demand for Feed {
    fn next(&self) -> Option<Duration> {
        self.next.as_ref().map(|(start, _)| *start)
    }

    fn take(&mut self) -> Due {
        match std::mem::replace(&mut self.next, self.supply.recv().ok()) {
            Some((_, message)) => Due::Given(message),
            None => Due::Drawn,
        }
    }

    fn ended(&mut self, _: Duration) {}

    fn has_arrivals(&self) -> bool {
        true
    }
}
