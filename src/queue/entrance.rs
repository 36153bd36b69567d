//! The acceptor's side of the queue: straight into the channel while that is quick, else into the
//! room.

use super::discipline::{Entry, Victim};
use super::primitives::{Sender, TrySendError};
use super::room::{Queue, Queued, Slot};
use crate::config;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The only way into a queue. Dropping it closes the queue.
#[derive(Debug)]
pub struct Entrance<T: Queued> {
    queue: Arc<Queue<T>>,
    channel: Sender<Slot<T>>,
    /// How long the channel may take to hand an item over.
    quick: Duration,
    pace: Option<Pace>,
}

/// How quickly the channel is emptied, while it is filled from here alone.
#[derive(Debug)]
struct Pace {
    /// The number of items that have been in it.
    sent: usize,
    /// The number that had been when the last check began.
    mark: usize,
    /// When that was.
    since: Instant,
}

impl<T: Queued> Entrance<T> {
    /// The entrance of a queue, whose channel `channel` fills. What the channel has not handed over
    /// within `quick` moves to the room.
    pub fn new(queue: Arc<Queue<T>>, channel: Sender<Slot<T>>, quick: Duration) -> Self {
        Self { queue, channel, quick, pace: None }
    }

    /// Queues an item, which has waited since `since`.
    pub fn put(&mut self, item: T, since: Instant, now: Instant) {
        let item = match self.is_direct(now) {
            true => match self.channel.try_send(Slot { item, since, charge: None, number: None }) {
                Ok(()) => {
                    if let Some(pace) = &mut self.pace {
                        pace.sent += 1;
                    }
                    return;
                }
                Err(TrySendError::Full(slot) | TrySendError::Disconnected(slot)) => slot.item,
            },
            false => item,
        };
        self.pace = None;
        self.queue.admit(item, since);
    }

    /// Queues an item in place of the one that gives way, which can be itself.
    /// True beside it says that it is.
    pub fn replace(&mut self, item: T, since: Instant, victim: Victim) -> Option<(Entry<T>, bool)> {
        if self.queue.in_room() == 0 {
            self.recall();
        }
        self.queue.replace(item, since, victim)
    }

    /// Takes out what has waited too long, in the room and of what is ready in the channel; nothing
    /// is too old that has come within `age`.
    pub fn expire(
        &self,
        now: Instant,
        age: Duration,
        is_over: &dyn Fn(&Entry<T>) -> bool,
    ) -> Vec<Entry<T>> {
        // While the channel is quick nothing is taken out of a worker's hands.
        let is_young = |pace: &Pace| now.saturating_duration_since(pace.since) <= age;
        if self.queue.in_room() == 0 && self.pace.as_ref().is_some_and(is_young) {
            return Vec::new();
        }
        self.queue.expire(is_over)
    }

    /// Moves what waits to the room, if the channel has become slow.
    pub fn look(&mut self, now: Instant) {
        if self.queue.in_channel() > config::CHANNEL_READY {
            self.is_direct(now);
        }
    }

    /// When to look again, if that is soon.
    pub fn next_look(&self) -> Option<Instant> {
        let in_channel = self.queue.in_channel();
        let pause = if in_channel > config::CHANNEL_READY && self.queue.in_room() == 0 {
            self.quick
        } else if self.queue.is_empty() {
            return None;
        } else {
            config::EXPIRY_PAUSE
        };
        Some(Instant::now() + pause)
    }

    /// True if the channel is quick and nobody waits in the room. Otherwise, what waits in the
    /// channel moves to the room.
    fn is_direct(&mut self, now: Instant) -> bool {
        if self.queue.in_room() > 0 {
            return false;
        }
        let length = self.queue.in_channel();
        let pace = self.pace.get_or_insert(Pace { sent: length, mark: length, since: now });
        if length <= config::CHANNEL_READY {
            *pace = Pace { sent: length, mark: length, since: now };
            return true;
        }
        if pace.sent.saturating_sub(length) >= pace.mark {
            (pace.mark, pace.since) = (pace.sent, now);
            return true;
        }
        if now.saturating_duration_since(pace.since) <= self.quick {
            return true;
        }
        self.recall();
        // Workers may have been quicker.
        self.queue.in_room() == 0
    }

    fn recall(&mut self) {
        self.pace = None;
        self.queue.recall();
    }
}

impl<T: Queued> Drop for Entrance<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}
