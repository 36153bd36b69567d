//! The pool: W named threads that drain the channel of jobs.

use crate::admission::Stage;
use crate::connection::{Connection, Context, Job, Step};
use crate::handler::{Handler, WorkerHandler};
use crate::metrics::{Activity, CloseReason, Counter, Turn};
use crate::parking::Parking;
use crossbeam_channel::Sender;
use std::convert::Infallible;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What a worker thread owns while it lives.
#[derive(Debug)]
pub struct Worker<H> {
    /// What answers.
    pub handler: Arc<H>,
    /// What stepping a connection needs.
    pub context: Context,
    /// The turn under way, which a panic must not leave in the books for ever.
    pub turn: Option<Turn>,
    /// Dropped with the worker: its other end sees when all workers have ended.
    pub alive: Sender<Infallible>,
}

impl<H: Handler> Worker<H> {
    /// Starts the thread of worker number `number`.
    pub fn start(self, number: usize) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || self.run(number))
    }

    fn run(mut self, number: usize) {
        sleep_precisely();
        let mut handler = WorkerHandler::new(Arc::clone(&self.handler), number);
        // A panic that gets past the one around the handler ends a worker's life. The next one
        // lives on the same thread, so that no panic can cost the pool its size.
        while panic::catch_unwind(AssertUnwindSafe(|| self.work(&mut handler))).is_err() {
            if let Some(turn) = self.turn.take() {
                self.context.recorder.let_go(turn, Instant::now());
            }
            self.context.recorder.count(Counter::WorkersReplaced);
            self.context.recorder.closed(CloseReason::Panicked);
            log::error!("a worker died and was replaced; its client was lost");
        }
        drop(self.alive);
    }

    fn work(&mut self, handler: &mut WorkerHandler<H>) {
        let mut now = Instant::now();
        while let Some((Job { connection, since }, taken)) = self.next_job(now) {
            self.context.recorder.enter(Activity::Parse, taken);
            let turn = self.turn.insert(Turn { since, taken, handled: false });
            let step = if self.context.admission.stage() == Stage::Cut {
                self.context.recorder.count(Counter::Abandoned);
                Step::Close(connection, CloseReason::Cut)
            } else {
                connection.serve(turn, handler, &mut self.context)
            };
            settle(step, &self.context.parking, &self.context);
            now = Instant::now();
            if let Some(turn) = self.turn.take() {
                self.context.recorder.let_go(turn, now);
            }
        }
    }

    /// The next job, and when it was taken: now, where one waits. None when the channel is
    /// disconnected, which it is when the acceptor has ended and all jobs are taken.
    fn next_job(&self, now: Instant) -> Option<(Job, Instant)> {
        if let Ok(job) = self.context.queue.try_recv() {
            return Some((job, now));
        }
        self.context.recorder.enter(Activity::Idle, now);
        let job = self.context.queue.recv().ok()?;
        Some((job, Instant::now()))
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
            let key = connection.key();
            if let Err((_closed, error)) = parking.park(connection, interest) {
                log::error!("cannot watch a connection: {error}; it is closed");
                context.recorder.closed(CloseReason::Unwatchable);
            }
            // Nobody looks into the table any more. Looked at behind the parking: the one who looks
            // last does so when the stage has been entered.
            if context.admission.stage() == Stage::Cut
                && let Some(_cut) = parking.take(key)
            {
                context.recorder.closed(CloseReason::Cut);
            }
        }
        Step::Fetch(connection) => {
            if let Err(_closed) = context.send_errand(connection) {
                context.recorder.closed(CloseReason::Cut);
            }
        }
        Step::Close(connection, reason) => {
            // Counted first: the client may look at the books as soon as it sees the end.
            context.recorder.closed(reason);
            connection.end(reason);
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
