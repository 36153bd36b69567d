//! Threads that wait for disks and streams, so that neither the acceptor nor a worker has to.

use crate::admission::Stage;
use crate::config;
use crate::connection::{Context, Errand, Step};
use crate::handler::Handler;
use crate::metrics::CloseReason;
use crate::workers::settle;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::convert::Infallible;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What a fetcher thread owns while it lives.
#[derive(Debug)]
pub struct Fetcher<H> {
    /// The connections that wait for one.
    pub errands: Receiver<Errand>,
    /// What is tended in between, by one of them.
    pub tended: Option<Arc<H>>,
    /// What stepping a connection needs.
    pub context: Context,
    /// Dropped with the thread: its other end sees when all have ended.
    pub alive: Sender<Infallible>,
}

impl<H: Handler> Fetcher<H> {
    /// Starts the thread of fetcher number `number`.
    pub fn start(self, number: usize) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("fetcher-{number}")).spawn(move || self.run())
    }

    fn run(mut self) {
        while panic::catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.context.recorder.closed(CloseReason::Panicked);
            log::error!("a stream or a file made a fetcher panic; its client was lost");
        }
        drop(self.alive);
    }

    /// Takes errands until all who send them have ended.
    fn work(&mut self) {
        let mut next_tending = Instant::now() + config::TEND_INTERVAL;
        loop {
            let errand = match self.tended {
                Some(_) => self.errands.recv_deadline(next_tending),
                None => self.errands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match errand {
                Ok(errand) => self.go(errand),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(handler) = &self.tended
                && Instant::now() >= next_tending
            {
                next_tending = Instant::now() + config::TEND_INTERVAL;
                handler.tend();
            }
        }
    }

    fn go(&mut self, Errand { connection, since }: Errand) {
        let is_cut = |context: &Context| context.admission.stage() == Stage::Cut;
        if is_cut(&self.context) {
            return self.settle(Step::Close(connection, CloseReason::Cut));
        }
        let step = match connection.fetch(since, &mut self.context) {
            // Nobody looks into the table any more.
            Step::Park(connection, _) if is_cut(&self.context) => {
                Step::Close(connection, CloseReason::Cut)
            }
            step => step,
        };
        self.settle(step);
    }

    fn settle(&self, step: Step) {
        // It hands nothing to the queue: what could go there is parked, to be found at once.
        if let Some(connection) = settle(step, &self.context.parking, &self.context) {
            log::error!("a fetcher had a request to queue; its client is lost");
            drop(connection);
        }
    }
}
