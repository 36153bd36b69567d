//! What the acceptor answers itself: requests for which the handler needs no time.
//!
//! Waking a worker, and moving a connection to its processor, costs about as much as such a
//! response. The workers bring more where so many requests come that one thread cannot read and
//! answer them all. So the acceptor answers those that it finds in the first part of a round, and
//! leaves the others to the workers while they are quick. While they are not, it answers all of
//! them: whoever needs no worker does not wait for one.

use super::Acceptor;
use crate::config;
use crate::connection::{Connection, Exchange, Message, Next};
use std::time::{Duration, Instant};

/// For how long the acceptor answers in each round, beside this many workers.
pub(super) fn answer_time(workers: usize) -> Duration {
    let at_once = workers.min(num_cpus::get());
    config::ANSWER_TIME / u32::try_from(at_once).unwrap_or(u32::MAX)
}

impl Acceptor {
    /// Answers a message, or queues it for a worker. The requests pipelined behind an answered one
    /// follow, until it is another connection's turn. That is at once if the acceptor has been busy
    /// for a while in this round: no discipline orders what it answers, so whoever pipelines most
    /// would get most.
    pub(super) fn serve(&mut self, connection: Box<Connection>, message: Message) {
        let mut exchange = self.exchange(connection, message);
        for in_a_row in 1.. {
            let (connection, next) = match self.answer(exchange) {
                Ok(answered) => answered,
                Err(exchange) => return self.enqueue(exchange),
            };
            exchange = match next {
                Next::Serve(message)
                    if in_a_row < config::PIPELINE_TURN && self.context.may_continue() =>
                {
                    self.exchange(connection, message)
                }
                Next::Produce => return self.carry_out(connection, next),
                next => return self.settle(connection, next),
            };
        }
    }

    fn exchange(&self, connection: Box<Connection>, message: Message) -> Exchange {
        Exchange::new(connection, message, self.context.sizes.as_deref())
    }

    /// Answers a message that needs no worker. The error returns any other.
    fn answer(&mut self, exchange: Exchange) -> Result<(Box<Connection>, Next), Exchange> {
        let exchange = match exchange.answer_health(&mut self.context) {
            Ok(answered) => return Ok(answered),
            Err(exchange) => exchange,
        };
        if exchange.connection.is_one_too_many() || self.prefers_workers() {
            return Err(exchange);
        }
        self.answer_immediately(exchange)
    }

    /// Answers a message if the handler needs no time for it.
    pub(super) fn answer_immediately(
        &mut self,
        exchange: Exchange,
    ) -> Result<(Box<Connection>, Next), Exchange> {
        let Some(handler) = &self.immediate else { return Err(exchange) };
        let answered = exchange.answer_immediately(handler, &mut self.context)?;
        self.has_answered = true;
        Ok(answered)
    }

    /// True if the acceptor has answered for long enough in this round, and workers go on at once.
    fn prefers_workers(&mut self) -> bool {
        if self.immediate.is_none() {
            return true;
        }
        // The first one needs no worker even if the acceptor had no processor for a while.
        if !self.has_answered && self.context.queue.is_empty() {
            return false;
        }
        let now = Instant::now();
        let is_over = self.has_answered && now >= self.context.round + self.answer_time;
        (is_over || !self.context.queue.is_empty()) && self.workers_are_quick(now)
    }

    /// True if the workers do short work, and do not all lag behind now.
    fn workers_are_quick(&mut self, now: Instant) -> bool {
        // Well below the wait at which the queue is slow.
        let short = config::CHANNEL_WAIT / 4;
        self.recent_service(now).is_none_or(|service| service <= short)
            && self.context.recorder.has_quick_worker(now, config::CHANNEL_WAIT)
    }
}
