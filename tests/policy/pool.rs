//! An event simulation of the pool. The disciplines, the ages and the bounds are the server's own;
//! arrivals, services and time are not real.

use cws::internals::config::{self, Schedule};
use cws::internals::queue::ages::Limits;
use cws::internals::queue::{Charge, Discipline, Entry, Victim, discipline};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// Nanoseconds since the start.
type Nanos = u64;

/// The configured service time, which is the unit of the tables.
pub const D: Duration = Duration::from_millis(20);
/// The patience of clients.
pub const PATIENCE: Duration = Duration::from_millis(200);
pub const WORKERS: usize = 4;

/// The latest service has this weight in each worker's average.
const WEIGHT: f64 = 1.0 / 8.0;

/// The distribution of service times, in units of D.
#[derive(Debug, Clone, Copy)]
pub enum Service {
    /// So many times 1 + Exp(.02): a sleep and what is done beside it.
    Lab(f64),
    /// An exponential one with this mean.
    Exponential(f64),
}

impl Service {
    fn draw(self, random: &mut fastrand::Rng) -> Nanos {
        let exponential = |random: &mut fastrand::Rng, mean: f64| -mean * (1.0 - random.f64()).ln();
        let units = match self {
            Self::Lab(times) => times * (1.0 + exponential(random, 0.02)),
            Self::Exponential(mean) => exponential(random, mean),
        };
        (units * D.as_nanos() as f64) as Nanos
    }
}

/// Somebody who sends requests, at times of a Poisson process.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    /// Requests per D.
    pub rate: f64,
    pub service: Service,
}

/// When a client that was not served asks again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Retries {
    Never,
    /// Three times, at once.
    AtOnce,
    /// Three times, after a random part of D, 2 D and 4 D.
    Jitter,
}

/// What is simulated.
#[derive(Clone)]
pub struct Setting {
    pub schedule: Schedule,
    pub age: fn(&Limits, Option<Duration>) -> Duration,
    pub bound: fn(&Limits, Option<Duration>) -> usize,
    pub senders: Vec<Sender>,
    /// Arrivals are so many times as many from the first D to the second.
    pub burst: Option<(f64, f64, f64)>,
    pub retries: Retries,
    /// In D. What arrives before the first is not counted.
    pub warm_up: f64,
    pub length: f64,
}

/// The server's own age.
pub fn age(limits: &Limits, service: Option<Duration>) -> Duration {
    limits.age(None, service)
}

/// The server's own bound.
pub fn bound(limits: &Limits, service: Option<Duration>) -> usize {
    limits.bound(service)
}

/// What became of a request, with all its tries.
#[derive(Debug, Clone)]
pub struct Request {
    pub sender: usize,
    /// When it was first sent, in D.
    pub at: f64,
    /// In D, if one of its tries was answered in time.
    pub answered: Option<f64>,
    pub tries: usize,
    /// True if the last try was refused as it came.
    pub was_refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker ends a service.
    End(usize),
    /// A sender sends a new request.
    Arrive(usize),
    /// A request is sent again.
    Again(usize),
    /// A client gives a try up.
    Impatient(usize, usize),
}

/// A try of a request.
#[derive(Debug, Clone, Copy)]
struct Try {
    request: usize,
    number: usize,
}

struct Busy {
    entry: Entry<Try>,
    charge: Option<Charge>,
    took: Nanos,
}

struct Pool<'a> {
    setting: &'a Setting,
    limits: Limits,
    queue: Box<dyn Discipline<Try>>,
    /// The one in the channel, next whatever comes.
    ready: VecDeque<(Entry<Try>, Option<Charge>)>,
    workers: Vec<Option<Busy>>,
    averages: Vec<Option<f64>>,
    requests: Vec<Request>,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(Nanos, Event)>>,
    clock: Nanos,
    next_expiry: Nanos,
    numbers: u64,
    origin: Instant,
}

/// Simulates a setting, and tells of the requests that came after the warm-up.
pub fn simulate(setting: &Setting, seed: u64) -> Vec<Request> {
    let config = cws::Config::default().workers(WORKERS).patience(PATIENCE);
    let mut pool = Pool {
        setting,
        limits: Limits::new(&config),
        queue: discipline(setting.schedule),
        ready: VecDeque::new(),
        workers: (0..WORKERS).map(|_| None).collect(),
        averages: vec![None; WORKERS],
        requests: Vec::new(),
        random: fastrand::Rng::with_seed(seed),
        events: BinaryHeap::new(),
        clock: 0,
        next_expiry: 0,
        numbers: 0,
        origin: Instant::now(),
    };
    (0..setting.senders.len()).for_each(|sender| pool.will_arrive(sender));
    let until = (setting.length * D.as_nanos() as f64) as Nanos;
    while let Some(Reverse((at, event))) = pool.events.pop() {
        if at >= until {
            break;
        }
        pool.clock = at;
        pool.step(event);
    }
    // Those that came last are not decided yet.
    let (first, last) = (setting.warm_up, setting.length - in_units(PATIENCE.as_nanos() as u64));
    pool.requests.retain(|request| (first..last).contains(&request.at));
    pool.requests
}

fn in_units(nanos: Nanos) -> f64 {
    nanos as f64 / D.as_nanos() as f64
}

impl Pool<'_> {
    fn step(&mut self, event: Event) {
        match event {
            Event::End(worker) => self.end(worker),
            Event::Arrive(sender) => {
                self.will_arrive(sender);
                let (at, request) = (in_units(self.clock), self.requests.len());
                let answered = None;
                self.requests.push(Request { sender, at, answered, tries: 0, was_refused: false });
                self.send(request);
            }
            Event::Again(request) => self.send(request),
            Event::Impatient(request, number) => self.failed(Try { request, number }),
        }
        if self.clock >= self.next_expiry {
            self.next_expiry = self.clock + config::EXPIRY_PAUSE.as_nanos() as Nanos;
            self.expire();
        }
    }

    fn will_arrive(&mut self, sender: usize) {
        let mut rate = self.setting.senders[sender].rate;
        if let Some((times, from, to)) = self.setting.burst
            && (from..to).contains(&in_units(self.clock))
        {
            rate *= times;
        }
        let pause = -(1.0 - self.random.f64()).ln() / rate * D.as_nanos() as f64;
        self.events.push(Reverse((self.clock + pause as Nanos, Event::Arrive(sender))));
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_nanos(self.clock)
    }

    /// The mean of the workers' moving averages.
    fn service(&self) -> Option<Duration> {
        let known = self.averages.iter().flatten();
        let count = known.clone().count();
        (count > 0).then(|| Duration::from_nanos((known.sum::<f64>() / count as f64) as u64))
    }

    fn send(&mut self, request: usize) {
        self.requests[request].tries += 1;
        let number = self.requests[request].tries;
        if self.setting.retries != Retries::Never {
            let at = self.clock + PATIENCE.as_nanos() as Nanos;
            self.events.push(Reverse((at, Event::Impatient(request, number))));
        }
        self.numbers += 1;
        let sender = self.requests[request].sender as u32;
        let entry = Entry {
            item: Try { request, number },
            number: self.numbers,
            client: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + sender)),
            since: self.now(),
            size: 0,
            stays: false,
        };
        let idle = self.workers.iter().filter(|worker| worker.is_none()).count();
        let waiting = self.queue.len() + self.ready.len();
        if waiting < (self.setting.bound)(&self.limits, self.service()).saturating_add(idle) {
            self.queue.admit(entry);
        } else if let Some(gone) = self.queue.replace(entry, Victim::Newest) {
            self.refused(gone.item);
        }
        self.begin();
    }

    fn refused(&mut self, tried: Try) {
        self.requests[tried.request].was_refused = true;
        self.failed(tried);
    }

    /// The client has seen no good answer, and may ask again. It does so once for each try.
    fn failed(&mut self, tried: Try) {
        let request = &self.requests[tried.request];
        if request.tries != tried.number || request.answered.is_some() || tried.number > 3 {
            return;
        }
        let most = (D.as_nanos() as Nanos) << (tried.number - 1);
        let pause = match self.setting.retries {
            Retries::Never => return,
            // The refusal travels to the client, and the next try back.
            Retries::AtOnce => 100_000,
            Retries::Jitter => self.random.u64(0..most),
        };
        self.events.push(Reverse((self.clock + pause, Event::Again(tried.request))));
    }

    /// Moves the next one to the channel.
    fn feed(&mut self) {
        if self.ready.len() < config::CHANNEL_READY {
            self.ready.extend(self.queue.next());
        }
    }

    fn begin(&mut self) {
        self.feed();
        while let Some(worker) = self.workers.iter().position(Option::is_none) {
            let Some((entry, charge)) = self.ready.pop_front() else { return };
            self.feed();
            let waited = self.now() - entry.since;
            if waited > (self.setting.age)(&self.limits, self.service()) {
                if let Some(charge) = charge {
                    self.queue.ended(charge, Duration::from_nanos(1));
                }
                self.failed(entry.item);
                continue;
            }
            let sender = self.requests[entry.item.request].sender;
            let took = self.setting.senders[sender].service.draw(&mut self.random);
            self.workers[worker] = Some(Busy { entry, charge, took });
            self.events.push(Reverse((self.clock + took, Event::End(worker))));
        }
    }

    fn end(&mut self, worker: usize) {
        let Some(Busy { entry, charge, took }) = self.workers[worker].take() else { return };
        let average = self.averages[worker].get_or_insert(took as f64);
        *average += WEIGHT * (took as f64 - *average);
        if let Some(charge) = charge {
            self.queue.ended(charge, Duration::from_nanos(took));
        }
        let lasted = self.now() - entry.since;
        let at = in_units(self.clock);
        let request = &mut self.requests[entry.item.request];
        if lasted <= PATIENCE && request.answered.is_none() {
            request.answered = Some(at);
        }
        self.begin();
    }

    fn expire(&mut self) {
        let (now, age) = (self.now(), (self.setting.age)(&self.limits, self.service()));
        // The look at each would take most of the time where none is ever too old.
        if age == Duration::MAX {
            return;
        }
        for entry in self.queue.expire(&|entry| now - entry.since > age) {
            self.failed(entry.item);
        }
    }
}
