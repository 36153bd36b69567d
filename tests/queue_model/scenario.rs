//! An acceptor that puts items into the queue, and workers that take them.

use super::discipline::{Charge, Discipline, Entry, Victim};
use super::entrance::Entrance;
use super::fair::Fair;
use super::line::Line;
use super::room::{Queue, Queued, Slot};
use super::smallest::Smallest;
use crate::config;
use crate::plan::{Act, Order, Plan};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicIsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What waits. Its number decides everything else about it.
#[derive(Debug)]
struct Item {
    number: usize,
    /// Its service lasts until it is released.
    is_held: bool,
}

impl Queued for Item {
    fn client(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, (self.number % 3) as u8))
    }

    fn size(&self) -> u64 {
        (self.number * 7919 % 5) as u64
    }

    fn stays(&self) -> bool {
        self.is_held || self.number % 4 == 3
    }
}

/// What has become of the items.
#[derive(Debug, Default)]
struct Books {
    /// Of each item, whether it was served or let go.
    done: Vec<bool>,
    holds: bool,
    may_release: bool,
}

struct World {
    queue: Arc<Queue<Item>>,
    books: Mutex<Books>,
    changed: Condvar,
}

impl World {
    fn finish(&self, number: usize) {
        let mut books = self.books.lock().expect("no panic");
        assert!(!std::mem::replace(&mut books.done[number], true), "item {number} comes twice");
        self.changed.notify_all();
    }

    fn await_until(&self, is_so: impl Fn(&Books) -> bool) {
        let mut books = self.books.lock().expect("no panic");
        while !is_so(&books) {
            books = self.changed.wait(books).expect("no panic");
        }
    }

    fn note(&self, note: impl FnOnce(&mut Books)) {
        note(&mut self.books.lock().expect("no panic"));
        self.changed.notify_all();
    }

    /// As a worker of the server does it.
    fn work(&self) {
        let mut charge = None;
        loop {
            let ended = charge.take().map(|charge| (charge, Duration::from_millis(5)));
            let slot = match self.queue.try_take(ended) {
                Some(slot) => slot,
                None => match self.queue.take() {
                    Some(slot) => slot,
                    None => return,
                },
            };
            let Slot { item, charge: new, .. } = slot;
            charge = new;
            self.finish(item.number);
            if item.is_held {
                self.note(|books| books.holds = true);
                self.await_until(|books| books.may_release);
            }
        }
    }
}

/// A discipline that counts what clients are charged for and has not ended.
#[derive(Debug)]
struct Audited {
    discipline: Box<dyn Discipline<Item>>,
    charges: Arc<AtomicIsize>,
}

impl Discipline<Item> for Audited {
    fn admit(&mut self, entry: Entry<Item>) {
        self.discipline.admit(entry);
    }

    fn next(&mut self) -> Option<(Entry<Item>, Option<Charge>)> {
        let next = self.discipline.next();
        let is_charged = matches!(next, Some((_, Some(_))));
        self.charges.fetch_add(is_charged.into(), Relaxed);
        next
    }

    fn take_back(&mut self, entry: Entry<Item>, charge: Option<Charge>) {
        self.charges.fetch_sub(charge.is_some().into(), Relaxed);
        self.discipline.take_back(entry, charge);
    }

    fn ended(&mut self, charge: Charge, took: Duration) {
        self.charges.fetch_sub(1, Relaxed);
        self.discipline.ended(charge, took);
    }

    fn replace(&mut self, newcomer: Entry<Item>, victim: Victim) -> Option<Entry<Item>> {
        self.discipline.replace(newcomer, victim)
    }

    fn expire(&mut self, is_over: &dyn Fn(&Entry<Item>) -> bool) -> Vec<Entry<Item>> {
        self.discipline.expire(is_over)
    }

    fn len(&self) -> usize {
        self.discipline.len()
    }
}

/// Runs a plan once.
pub fn run(plan: Plan, order: Order) {
    let discipline: Box<dyn Discipline<Item>> = match order {
        Order::Fair => Box::new(Fair::default()),
        Order::Fifo => Box::new(Line::oldest_first()),
        Order::Lifo => Box::new(Line::newest_first()),
        Order::Smallest => Box::new(Smallest::default()),
    };
    let charges = Arc::new(AtomicIsize::new(0));
    let audited = Audited { discipline, charges: Arc::clone(&charges) };
    let (queue, channel) = Queue::new(Box::new(audited), plan.slots);
    let queue = Arc::new(queue);
    let entrance = Entrance::new(Arc::clone(&queue), channel, config::CHANNEL_WAIT);
    let (books, changed) = (Mutex::default(), Condvar::new());
    let world = Arc::new(World { queue, books, changed });
    let start_worker = |_| {
        let world = Arc::clone(&world);
        thread::spawn(move || world.work())
    };
    let workers: Vec<_> = (0..plan.workers).map(start_worker).collect();
    let mut acceptor = Acceptor { world: &world, entrance, now: Instant::now() };
    plan.acts.iter().for_each(|act| acceptor.act(*act));
    drop(acceptor);
    workers.into_iter().for_each(|worker| worker.join().expect("it does not panic"));
    let done = std::mem::take(&mut world.books.lock().expect("no panic").done);
    assert!(done.iter().all(|done| *done), "an item is lost: {done:?}");
    assert!(world.queue.is_empty(), "something still waits");
    assert_eq!(charges.load(Relaxed), 0, "clients are still charged for what has ended");
}

struct Acceptor<'w> {
    world: &'w World,
    entrance: Entrance<Item>,
    now: Instant,
}

impl Acceptor<'_> {
    fn act(&mut self, act: Act) {
        match act {
            Act::Put(count) => (0..count).for_each(|_| self.put(false)),
            Act::Hold => {
                self.put(true);
                self.world.await_until(|books| books.holds);
            }
            Act::PutHeld => self.put(true),
            Act::Release => self.world.note(|books| books.may_release = true),
            Act::Replace(count) => (0..count).for_each(|_| self.replace()),
            Act::Expire => {
                for entry in
                    self.entrance.expire(self.now, Duration::ZERO, &|entry| entry.number % 2 == 0)
                {
                    assert!(!entry.stays, "it was admitted before");
                    self.world.finish(entry.item.number);
                }
            }
            Act::Later => self.now += 2 * config::CHANNEL_WAIT,
            Act::Look => self.entrance.look(self.now),
            Act::Await => self.world.await_until(|books| books.done.iter().all(|done| *done)),
        }
    }

    fn item(&self, is_held: bool) -> Item {
        let mut number = 0;
        self.world.note(|books| {
            number = books.done.len();
            books.done.push(false);
        });
        Item { number, is_held }
    }

    fn put(&mut self, is_held: bool) {
        let item = self.item(is_held);
        self.entrance.put(item, self.now, self.now);
    }

    fn replace(&mut self) {
        let item = self.item(false);
        let number = item.number;
        let victim = match thread_rng().gen_range(0..3) {
            0 => Victim::Newest,
            1 => Victim::Oldest,
            _ => Victim::Random(thread_rng().gen_range(0.0..1.0)),
        };
        if let Some((entry, is_newcomer)) = self.entrance.replace(item, self.now, victim) {
            assert!(!entry.stays, "it was admitted before");
            assert_eq!(entry.item.number == number, is_newcomer);
            self.world.finish(entry.item.number);
        }
    }
}
