//! Threads that wait for disks, so that neither the acceptor nor a worker has to.

use crate::admission::Stage;
use crate::config;
use crate::connection::{Connection, Context, Errand, Next};
use crate::handler::Handler;
use crate::metrics::CloseReason;
use crate::notes::note;
use crossbeam_channel::{RecvTimeoutError, Sender};
use std::convert::Infallible;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What a fetcher thread owns.
#[derive(Debug)]
pub struct Fetcher<H> {
    /// The handler whose `give_way` and `tend` it calls.
    pub handler: Arc<H>,
    /// It calls `tend`; one fetcher is enough for that.
    pub tends: bool,
    /// What it needs to step connections.
    pub context: Context,
    /// Dropped at the end of the thread, so that the receiver sees when all have ended.
    pub alive: Sender<Infallible>,
}

impl<H: Handler> Fetcher<H> {
    /// Starts the thread of fetcher `number`.
    pub fn start(self, number: usize) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("fetcher-{number}")).spawn(move || self.run())
    }

    fn run(mut self) {
        while panic::catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.context.recorder.closed(CloseReason::Panicked);
            note!(Error, "a fetcher panicked while it read a file: its connection is closed");
        }
        drop(self.alive);
    }

    /// Runs errands until all senders are dropped.
    fn work(&mut self) {
        let mut next_tending = Instant::now() + config::TEND_INTERVAL;
        loop {
            let errand = match self.tends {
                true => self.context.errands.recv_deadline(next_tending),
                false => self.context.errands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            self.context.renew();
            match errand {
                Ok(Errand::Fetch { connection, since }) => self.fetch(connection, since),
                Ok(Errand::Discard(unsent)) => drop(unsent),
                Ok(Errand::GiveWay) => self.ask("gave way", Handler::give_way),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.tends && Instant::now() >= next_tending {
                next_tending = Instant::now() + config::TEND_INTERVAL;
                self.ask("tended what it holds", Handler::tend);
            }
        }
    }

    /// Calls the handler for something other than a request.
    fn ask(&self, what: &str, duty: fn(&H)) {
        if panic::catch_unwind(AssertUnwindSafe(|| duty(&self.handler))).is_err() {
            note!(Error, "the handler panicked while it {what}");
        }
    }

    fn fetch(&mut self, mut connection: Box<Connection>, since: Instant) {
        let next = match self.context.admission.stage() {
            Stage::Cut => Next::Close(CloseReason::Cut),
            _ => connection.advance_response(since, &mut self.context),
        };
        self.context.settle(connection, next);
    }
}
