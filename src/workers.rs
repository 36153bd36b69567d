//! The pool: W named threads that drain the job channel.

use crate::admission::Stage;
use crate::connection::{Connection, Context, Next, Work};
use crate::handler::{Handler, WorkerHandler};
use crate::metrics::{Activity, CloseReason, Counter, Turn};
use crate::notes::note;
use crate::queue::{Charge, Slot};
use crate::scheduling;
use crossbeam_channel::Sender;
use std::convert::Infallible;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What a worker thread owns.
#[derive(Debug)]
pub struct Worker<H> {
    /// The handler that all workers share.
    pub handler: Arc<H>,
    /// What it needs to step connections.
    pub context: Context,
    /// The request in service. After a panic it still has to be counted as finished.
    pub turn: Option<Turn>,
    /// What the client in service was charged, and since when it is served.
    pub charge: Option<(Charge, Instant)>,
    /// Dropped at the end of the thread, so that the receiver sees when all have ended.
    pub alive: Sender<Infallible>,
}

impl<H: Handler> Worker<H> {
    /// Starts the thread of worker `number`.
    pub fn start(self, number: usize) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || self.run(number))
    }

    fn run(mut self, number: usize) {
        scheduling::sleep_precisely();
        let mut handler = WorkerHandler::new(Arc::clone(&self.handler), number);
        // A panic that is not caught around the handler ends this call of `work`. The next call
        // runs on the same thread, so the pool keeps its size.
        while panic::catch_unwind(AssertUnwindSafe(|| self.work(&mut handler))).is_err() {
            if let Some(turn) = self.turn.take() {
                self.context.recorder.let_go(turn, Instant::now());
            }
            self.context.recorder.count(Counter::WorkersReplaced);
            self.context.recorder.closed(CloseReason::Panicked);
            note!(Error, "a worker panicked outside of the handler: its connection is closed");
        }
        drop(self.alive);
    }

    fn work(&mut self, handler: &mut WorkerHandler<H>) {
        let mut now = Instant::now();
        while let Some((Slot { item, since, .. }, taken)) = self.next_job(now) {
            self.context.renew();
            let (connection, next) = match item {
                Work::Serve(exchange) => {
                    self.context.recorder.enter(Activity::Parse, taken);
                    let turn = self.turn.insert(Turn { since, taken, handled: false });
                    match self.context.admission.stage() {
                        Stage::Cut => self.abandon(exchange.connection),
                        _ => exchange.serve(turn, handler, &mut self.context),
                    }
                }
                Work::Produce(mut connection) => {
                    self.context.produce_jobs.fetch_sub(1, Relaxed);
                    let next = match self.context.admission.stage() {
                        Stage::Cut => Next::Close(CloseReason::Cut),
                        _ => connection.advance_response(since, &mut self.context),
                    };
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

    /// Drops a job: the drain deadline has passed.
    fn abandon(&self, connection: Box<Connection>) -> (Box<Connection>, Next) {
        self.context.recorder.count(Counter::Abandoned);
        (connection, Next::Close(CloseReason::Cut))
    }

    /// The next job and when it was taken: `now` if one waits already, which is when the last one
    /// ended. None if the queue has ended, that is after the acceptor has ended and all jobs are
    /// taken.
    fn next_job(&mut self, now: Instant) -> Option<(Slot<Work>, Instant)> {
        let ended = self
            .charge
            .take()
            .map(|(charge, taken)| (charge, now.saturating_duration_since(taken)));
        let (slot, taken) = match self.context.queue.try_take(ended) {
            Some(slot) => (slot, now),
            None => {
                self.context.recorder.enter(Activity::Idle, now);
                // Without a queue, an idle worker is the only room.
                fence(SeqCst);
                self.wake_for_blocked();
                let slot = self.context.queue.take()?;
                (slot, Instant::now())
            }
        };
        self.charge = slot.charge.map(|charge| (charge, taken));
        self.wake_for_blocked();
        Some((slot, taken))
    }

    /// Wakes the acceptor if connections wait for room in the queue.
    fn wake_for_blocked(&self) {
        if self.context.blocked.load(SeqCst) > 0 {
            self.context.parking.waker().wake();
        }
    }
}
