//! The waiting room, the channel behind it, and the hand-over between them.
//!
//! No job is forgotten in the room. Whoever puts one in looks at the channel afterwards, and moves
//! the next one in if the channel has none ready. Whoever takes one from the channel looks at the
//! room afterwards, and does the same. Both orders are sequentially consistent, so one of the two
//! sees what the other did.

use super::clients::{ClientLoad, Clients};
use super::discipline::{Charge, Discipline, Entry, Victim};
use super::primitives::{AtomicUsize, Mutex, Receiver, Sender, bounded};
use crate::config;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{self, PoisonError};
use std::time::{Duration, Instant};

/// What the queue has to know of its items.
pub trait Queued: Debug + Send {
    /// The client: see [`Entry::client`].
    fn client(&self) -> IpAddr;
    /// See [`Entry::size`].
    fn size(&self) -> u64;
    /// See [`Entry::stays`].
    fn stays(&self) -> bool;
}

/// An item in the channel.
#[derive(Debug)]
pub struct Slot<T> {
    /// The item.
    pub item: T,
    /// When it was queued.
    pub since: Instant,
    /// What its client was charged for it, if it was in the room and clients are charged.
    pub charge: Option<Charge>,
    /// Its number in the room, if it was there.
    pub(super) number: Option<u64>,
}

/// The queue, as workers and observers use it.
#[derive(Debug)]
pub struct Queue<T> {
    channel: Receiver<Slot<T>>,
    room: Mutex<Room<T>>,
    /// The number of entries in the room.
    waiting: AtomicUsize,
    /// What clients had lately. It takes no part in the hand-over, so its lock is the plain one. It
    /// is never held together with the room's.
    clients: sync::Mutex<Clients>,
}

#[derive(Debug)]
struct Room<T> {
    discipline: Box<dyn Discipline<T>>,
    /// For those that move entries to the channel. None when there is nothing more to move, so that
    /// the channel ends.
    sender: Option<Sender<Slot<T>>>,
    is_closed: bool,
    /// The number of entries that have been in the room.
    arrivals: u64,
}

impl<T: Queued> Queue<T> {
    /// A queue whose channel has `slots`, and the sender for whoever fills it.
    pub fn new(discipline: Box<dyn Discipline<T>>, slots: usize) -> (Self, Sender<Slot<T>>) {
        let (sender, channel) = bounded(slots);
        let room = Room { discipline, sender: Some(sender.clone()), is_closed: false, arrivals: 0 };
        let (room, clients) = (Mutex::new(room), sync::Mutex::new(Clients::default()));
        (Self { channel, room, waiting: AtomicUsize::new(0), clients }, sender)
    }

    /// The number of items that wait.
    pub fn len(&self) -> usize {
        // An item that moves to the channel between the two reads is not counted.
        self.channel.len() + self.in_room()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.channel.is_empty() && self.in_room() == 0
    }

    /// The number of items in the room.
    pub(super) fn in_room(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// The number of items in the channel.
    pub(super) fn in_channel(&self) -> usize {
        self.channel.len()
    }

    /// The next item, if there is one. `ended` is the service that this thread has just ended, and
    /// how long it took.
    pub fn try_take(&self, mut ended: Option<(Charge, Duration)>) -> Option<Slot<T>> {
        loop {
            if let Ok(slot) = self.channel.try_recv() {
                self.feed(ended);
                return Some(slot);
            }
            // Another thread may take what this one moves in.
            if !self.feed(ended.take()) {
                return None;
            }
        }
    }

    /// Waits for the next item. None once there will be no more.
    pub fn take(&self) -> Option<Slot<T>> {
        let slot = self.channel.recv().ok()?;
        self.feed(None);
        Some(slot)
    }

    /// A request of this client was refused.
    pub fn refused(&self, client: IpAddr, now: Instant) {
        self.clients().refused(client, now);
        if self.in_room() > 0 {
            self.room().discipline.refused(client);
        }
    }

    /// The clients with the most items in the room, and those that were refused most or served
    /// longest lately, at most this many.
    pub fn busiest(&self, most: usize) -> Vec<ClientLoad> {
        let notable = self.clients().notable(most, Instant::now());
        let waiting = self.room().discipline.busiest(most, &notable);
        self.clients().busiest(most, notable, waiting)
    }

    /// Puts an item into the room.
    pub(super) fn admit(&self, item: T, since: Instant) {
        let mut room = self.room();
        let entry = room.entry(item, since);
        room.discipline.admit(entry);
        self.changed(&room);
        drop(room);
        self.feed(None);
    }

    /// Puts an item into the room, and takes out the one that gives way, which can be the one that
    /// is ready in the channel. True beside it says that the newcomer does.
    pub(super) fn replace(
        &self,
        item: T,
        since: Instant,
        victim: Victim,
    ) -> Option<(Entry<T>, bool)> {
        let mut room = self.room();
        self.take_back_ready(&mut room);
        let entry = room.entry(item, since);
        let number = entry.number;
        let gone = room.discipline.replace(entry, victim);
        self.changed(&room);
        drop(room);
        self.feed(None);
        gone.map(|entry| {
            let is_newcomer = entry.number == number;
            (entry, is_newcomer)
        })
    }

    /// Moves what is in the channel back to the room.
    pub(super) fn recall(&self) {
        let mut room = self.room();
        // No more than are there now: workers feed the channel meanwhile.
        for _ in 0..self.channel.len() {
            let Ok(slot) = self.channel.try_recv() else { break };
            room.take_back(slot);
        }
        self.changed(&room);
        drop(room);
        self.feed(None);
    }

    /// Takes out what has waited too long: in the room, and of what is ready in the channel.
    pub(super) fn expire(&self, is_over: &dyn Fn(&Entry<T>) -> bool) -> Vec<Entry<T>> {
        let mut room = self.room();
        self.take_back_ready(&mut room);
        let expired = room.discipline.expire(is_over);
        self.changed(&room);
        drop(room);
        self.feed(None);
        expired
    }

    /// Takes what is ready back into the room, so that it is looked at there. A longer channel is
    /// quick, or will be recalled.
    fn take_back_ready(&self, room: &mut Room<T>) {
        if self.channel.len() <= config::CHANNEL_READY
            && let Ok(slot) = self.channel.try_recv()
        {
            room.take_back(slot);
        }
    }

    /// Nothing more will be put in. The channel ends when the last item has been moved there.
    pub(super) fn close(&self) {
        let mut room = self.room();
        room.is_closed = true;
        self.changed(&room);
        if room.discipline.is_empty() {
            room.sender = None;
        }
    }

    /// Moves the next entry to the channel, unless that has one ready; true if it did.
    fn feed(&self, mut ended: Option<(Charge, Duration)>) -> bool {
        while ended.is_some() || self.in_room() > 0 {
            let served = ended.take();
            if let Some((charge, took)) = served {
                self.clients().served(charge.client, took, Instant::now());
            }
            let mut room = self.room();
            if let Some((charge, took)) = served {
                room.discipline.ended(charge, took);
            }
            if self.channel.len() >= config::CHANNEL_READY {
                return false;
            }
            // Without a sender, nothing is left to move.
            let Some(sender) = room.sender.clone() else { return false };
            let Some((entry, charge)) = room.discipline.next() else { return false };
            self.changed(&room);
            if room.is_closed && room.discipline.is_empty() {
                room.sender = None;
            }
            drop(room);
            let Entry { item, since, number, .. } = entry;
            // Sending can wake a thread, which is a system call: not under the lock.
            let sent = sender.try_send(Slot { item, since, charge, number: Some(number) });
            let Err(error) = sent else { return true };
            // The acceptor has filled the channel meanwhile. Workers may have emptied it by the
            // time that this one is back in the room, and have found nothing there: look again.
            let mut room = self.room();
            room.take_back(error.into_inner());
            room.sender.get_or_insert(sender);
            self.changed(&room);
        }
        false
    }

    fn changed(&self, room: &Room<T>) {
        self.waiting.store(room.discipline.len(), SeqCst);
    }

    fn clients(&self) -> impl std::ops::DerefMut<Target = Clients> + '_ {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> impl std::ops::DerefMut<Target = Room<T>> + '_ {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Queued> Room<T> {
    fn entry(&mut self, item: T, since: Instant) -> Entry<T> {
        self.arrivals += 1;
        entry(item, since, self.arrivals)
    }

    /// Takes in what nobody has taken from the channel.
    fn take_back(&mut self, slot: Slot<T>) {
        let Slot { item, since, charge, number } = slot;
        match number {
            Some(number) => self.discipline.take_back(entry(item, since, number), charge),
            None => {
                let entry = self.entry(item, since);
                self.discipline.admit(entry);
            }
        }
    }
}

fn entry<T: Queued>(item: T, since: Instant, number: u64) -> Entry<T> {
    let (client, size, stays) = (item.client(), item.size(), item.stays());
    Entry { item, number, client, since, size, stays }
}
