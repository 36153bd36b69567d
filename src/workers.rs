//! The pool: W named threads that drain the channel of jobs.

use crate::admission::Stage;
use crate::connection::{Connection, Context, Job, Next, Work};
use crate::handler::{Handler, WorkerHandler};
use crate::metrics::{Activity, CloseReason, Counter, Turn};
use crossbeam_channel::Sender;
use std::convert::Infallible;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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
        while let Some((Job { work, since }, taken)) = self.next_job(now) {
            let (connection, next) = match work {
                Work::Serve(exchange) => {
                    self.context.recorder.enter(Activity::Parse, taken);
                    let turn = self.turn.insert(Turn { since, taken, handled: false });
                    match self.context.admission.stage() {
                        Stage::Cut => self.abandon(exchange.connection),
                        _ => exchange.serve(turn, handler, &mut self.context),
                    }
                }
                Work::Produce(mut connection) => {
                    self.context.unmade.fetch_sub(1, Relaxed);
                    let next = connection.go_on_sending(since, &mut self.context);
                    (connection, next)
                }
            };
            self.context.settle(connection, next);
            now = Instant::now();
            if let Some(turn) = self.turn.take() {
                self.context.recorder.let_go(turn, now);
            }
        }
    }

    /// The drain deadline has passed.
    fn abandon(&self, connection: Box<Connection>) -> (Box<Connection>, Next) {
        self.context.recorder.count(Counter::Abandoned);
        (connection, Next::Close(CloseReason::Cut))
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

/// Asks for sleeps that end when they should. The default slack lets a sleep of D overshoot by
/// 50 microseconds and more, and the pool would miss W/D by that much.
fn sleep_precisely() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        log::debug!("cannot set the timer slack: {error}");
    }
}
