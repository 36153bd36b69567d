//! What the acceptor does with the queue: who is let in, who gives way, who has waited too long.

use super::Acceptor;
use crate::config::{self, WhenFull};
use crate::connection::{Connection, Exchange, Next, Work};
use crate::http::fault::Fault;
use crate::metrics::{Counter, Turn};
use crate::queue::{Entry, Victim};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

/// What the acceptor remembers of the queue.
#[derive(Debug)]
pub(super) struct Queueing {
    /// The workers' mean service time, as of the last look.
    service: Option<Duration>,
    /// The same of those that have served lately.
    recent_service: Option<Duration>,
    /// When to look again.
    next_estimate: Instant,
    next_expiry: Instant,
    /// The keys of connections that wait for room in the queue, in order. Some may have gone.
    blocked: VecDeque<usize>,
}

impl Queueing {
    pub(super) fn new(now: Instant) -> Self {
        let (next_estimate, next_expiry) = (now, now);
        let (service, recent_service, blocked) = (None, None, VecDeque::new());
        Self { service, recent_service, next_estimate, next_expiry, blocked }
    }
}

impl Acceptor {
    /// Queues a message for a worker, or refuses it.
    pub(super) fn enqueue(&mut self, exchange: Exchange) {
        if exchange.connection.is_one_too_many() {
            return self.refuse(exchange, Fault::TooManyConnections);
        }
        let (now, waiting) = (Instant::now(), self.context.waiting());
        let since = exchange.blocked_since().unwrap_or(now);
        // A request asks and is admitted once: a deferred one that returns is not refused.
        let asks = !exchange.is_returning();
        if asks && self.is_full(waiting, now) {
            // It is queued only to save the acceptor's time, so it is not refused for that.
            return match self.answer_immediately(exchange) {
                Ok((connection, next)) => self.settle(connection, next),
                Err(exchange) => {
                    self.count_offered(&exchange);
                    self.enqueue_when_full(exchange, since, waiting);
                }
            };
        }
        if asks {
            self.count_offered(&exchange);
        }
        // Record first: a worker may finish it before we do.
        self.context.recorder.queued(since, waiting);
        self.entrance.put(Work::Serve(exchange), since, now);
    }

    /// Counts a request that asks for a worker. One that has waited for room was counted before.
    fn count_offered(&self, exchange: &Exchange) {
        if exchange.blocked_since().is_none() {
            self.context.recorder.count(Counter::Offered);
        }
    }

    fn enqueue_when_full(&mut self, exchange: Exchange, since: Instant, waiting: usize) {
        let Some(victim) = Victim::of(self.context.config.when_full, fastrand::f64()) else {
            return self.block(exchange, since);
        };
        match self.entrance.replace(Work::Serve(exchange), since, victim) {
            Some((entry, true)) => self.let_go(entry, Fault::QueueFull, false),
            gone => {
                self.context.recorder.queued(since, waiting);
                if let Some((entry, _)) = gone {
                    self.let_go(entry, Fault::QueueFull, true);
                }
            }
        }
    }

    /// Refuses what leaves the queue unserved; `was_queued` says that it is recorded as an arrival.
    fn let_go(&mut self, entry: Entry<Work>, fault: Fault, was_queued: bool) {
        match entry.item {
            Work::Serve(exchange) => {
                if !was_queued {
                    return self.refuse(exchange, fault);
                }
                let taken = Instant::now();
                let turn = Turn { since: entry.since, taken, handled: false };
                self.context.recorder.let_go(turn, taken);
                // What needs no worker is queued only while they seem quick. One may just have
                // begun what takes long: nobody is refused for that mistake.
                match self.answer_immediately(exchange) {
                    Ok((connection, next)) => self.settle(connection, next),
                    Err(exchange) => self.refuse(exchange, fault),
                }
            }
            // No discipline lets a response go that has begun.
            Work::Produce(connection) => {
                self.context.produce_jobs.fetch_sub(1, Relaxed);
                self.settle(connection, Next::Produce);
            }
        }
    }

    fn refuse(&mut self, exchange: Exchange, fault: Fault) {
        let (connection, next) = exchange.refuse(fault, &mut self.context);
        self.settle(connection, next);
    }

    /// True if the queue is at its bound. Jobs that idle workers are about to take do not count.
    /// Only the acceptor puts jobs in, so the queue cannot grow between this check and that. A
    /// worker that has just taken a job may still look idle, and admit one more.
    fn is_full(&mut self, waiting: usize, now: Instant) -> bool {
        // Without a patience the bound is fixed, and so is the least that it can be.
        if waiting < self.context.config.queue.unwrap_or(self.context.config.workers) {
            return false;
        }
        let most = self.bound(now);
        // Reading the workers' states costs time, so it comes last.
        waiting >= most && waiting >= most + self.context.recorder.idle_workers()
    }

    fn bound(&mut self, now: Instant) -> usize {
        let service = self.service(now);
        self.context.limits.bound(service)
    }

    /// The workers' mean service time.
    fn service(&mut self, now: Instant) -> Option<Duration> {
        self.estimate(now);
        self.queueing.service
    }

    /// The mean service time of the workers that have served lately. It is none while the acceptor
    /// answers everything: an estimate from before would have it go on with that for ever.
    pub(super) fn recent_service(&mut self, now: Instant) -> Option<Duration> {
        self.estimate(now);
        self.queueing.recent_service
    }

    /// Looks the service times up now and then.
    fn estimate(&mut self, now: Instant) {
        if now < self.queueing.next_estimate {
            return;
        }
        self.queueing.next_estimate = now + config::ESTIMATE_PAUSE;
        let mean = |memory| self.context.recorder.mean_service(memory);
        self.queueing.service = mean(self.context.limits.memory());
        self.queueing.recent_service = mean(config::RECENT_SERVICE);
    }

    /// Parks a whole message until the queue has room, or until it is too old. Its connection is
    /// not read meanwhile.
    fn block(&mut self, exchange: Exchange, since: Instant) {
        let age = self.context.limits.age(None, self.queueing.service);
        if since.elapsed() > age {
            return self.refuse(exchange, Fault::Expired);
        }
        let (connection, next) = exchange.block(since, &self.context);
        self.queueing.blocked.push_back(connection.key());
        self.settle(connection, next);
        self.tell_blocked();
        if self.queueing.blocked.len() > 2 * self.admission.open() + config::EVENT_BATCH {
            self.forget_unblocked();
        }
    }

    /// Has the workers wake the acceptor for each job that they take, while somebody is blocked.
    fn tell_blocked(&self) {
        self.context.blocked.store(self.queueing.blocked.len(), SeqCst);
    }

    /// Forgets those that have gone while they were blocked.
    fn forget_unblocked(&mut self) {
        let mut parked = HashSet::new();
        self.parking.for_each(|key, connection| {
            if connection.is_blocked() {
                parked.insert(key);
            }
        });
        self.queueing.blocked.retain(|key| parked.remove(key));
    }

    /// Lets the discipline order those that wait, refuses those that have waited too long, and lets
    /// in those for whom there was no room. It costs nothing while nobody waits.
    pub(super) fn tend_queue(&mut self) {
        if self.context.queue.is_empty() && self.queueing.blocked.is_empty() {
            return;
        }
        let now = Instant::now();
        self.entrance.look(now);
        if now >= self.queueing.next_expiry {
            self.expire_waiting(now);
        }
        while !self.queueing.blocked.is_empty() && !self.is_full(self.context.waiting(), now) {
            self.advance_blocked();
        }
        if self.context.config.when_full == WhenFull::Block {
            self.tell_blocked();
        }
    }

    /// Takes up the first of those that are blocked.
    fn advance_blocked(&mut self) {
        let key = self.queueing.blocked.pop_front();
        if let Some(connection) =
            key.and_then(|key| self.parking.take_if(key, Connection::is_blocked))
        {
            self.guarded(|acceptor| acceptor.advance(connection));
        }
    }

    /// When the queue has to be tended again, if that is soon.
    pub(super) fn next_tending(&self) -> Option<Instant> {
        let blocked = !self.queueing.blocked.is_empty();
        let expiry = blocked.then(|| Instant::now() + config::EXPIRY_PAUSE);
        expiry.into_iter().chain(self.entrance.next_look()).min()
    }

    fn expire_waiting(&mut self, now: Instant) {
        let limits = self.context.limits;
        self.bound(now);
        let service = self.queueing.service;
        let age = limits.age(None, service);
        let is_over = |entry: &Entry<Work>| {
            let waited = now.saturating_duration_since(entry.since);
            match entry.item.patience() {
                None => waited > age,
                own => waited > limits.age(own, service),
            }
        };
        for entry in self.entrance.expire(now, age, &is_over) {
            self.guarded(|acceptor| acceptor.let_go(entry, Fault::Expired, true));
        }
        // They are blocked in order of arrival, and refused if they have to be blocked once more.
        while let Some(&key) = self.queueing.blocked.front() {
            let parked = self.parking.look(key, |of| of.blocked_since()).flatten();
            if parked.is_some_and(|since| now.saturating_duration_since(since) <= age) {
                break;
            }
            self.advance_blocked();
        }
        // Looking at each of many must not take all of the acceptor's time.
        let pause = config::EXPIRY_PAUSE.max(now.elapsed() * config::LOOK_SHARE);
        self.queueing.next_expiry = now + pause;
    }
}
