//! The pool: W named threads that drain the channel of jobs.

use crate::connection::Connection;
use crate::connection::{Context, Job, Step};
use crate::handler::Handler;
use crate::metrics::CloseReason;
use crate::parking::Parking;
use crossbeam_channel::{Receiver, Sender};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// What a worker thread owns while it lives.
#[derive(Debug)]
pub struct Worker<H> {
    /// Where the jobs come from; it disconnects when the acceptor has ended and all are taken.
    pub jobs: Receiver<Job>,
    /// Where connections go that wait for their peers.
    pub parking: Arc<Parking<Connection>>,
    /// What answers.
    pub handler: Arc<H>,
    /// What stepping a connection needs.
    pub context: Context,
    /// Dropped with the worker: its other end sees when all workers have ended.
    pub alive: Sender<Infallible>,
}

impl<H: Handler> Worker<H> {
    /// Starts the thread of worker number `number`.
    pub fn start(self, number: usize) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || self.run())
    }

    fn run(mut self) {
        sleep_precisely();
        while let Ok(job) = self.jobs.recv() {
            let step = if self.context.admission.is_cut() {
                Step::Close(job.connection, CloseReason::Cut)
            } else {
                job.connection.serve(job.since, &*self.handler, &mut self.context)
            };
            settle(step, &self.parking, &self.context);
        }
        drop(self.alive);
    }
}

/// Parks or closes; gives back a connection that wants a place in the queue.
pub fn settle(
    step: Step,
    parking: &Parking<Connection>,
    context: &Context,
) -> Option<Box<Connection>> {
    match step {
        Step::Dispatch(connection) => return Some(connection),
        Step::Park(connection, interest) => {
            if let Err((_closed, error)) = parking.park(connection, interest) {
                log::error!("cannot watch a connection: {error}; it is closed");
                context.recorder.closed(CloseReason::Unwatchable);
            }
        }
        Step::Close(connection, reason) => {
            drop(connection);
            context.recorder.closed(reason);
        }
    }
    None
}

/// Asks for sleeps that end when they should. The default slack lets a sleep of D overshoot by
/// 50 microseconds and more, and the pool would miss W/D by that much.
fn sleep_precisely() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        log::debug!("cannot set the timer slack: {error}");
    }
}
