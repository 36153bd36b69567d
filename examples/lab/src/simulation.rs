//! A simulation of a pool whose clients retry: who waits, who gives up, who comes again.
//!
//! It shares with the load generator what clients do, and nothing with the server: what it and a
//! real run agree on is no accident of one implementation.

use crate::chance::exponential;
use crate::load::{Pause, Restraint, Retries};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// The weight of a completion in the moving average of the service times.
const WEIGHT: f64 = 1.0 / 8.0;

/// The part of the patience within which a response must be complete, if the age is measured. The
/// rest is for the way.
const MARGIN: f64 = 0.9;

/// The order in which waiting requests are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// First come, first served.
    Fifo,
    /// Last come, first served.
    Lifo,
    /// Clients take turns by the service time that they have had (P. Goyal, H. M. Vin and H. Cheng,
    /// Start-time fair queueing, SIGCOMM 1996). The newest request of the client with the most of
    /// them gives way.
    Turns,
}

/// The longest wait of a request that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// There is none.
    Unlimited,
    /// This time.
    Fixed(Duration),
    /// min(T/2, .9 T - S), for a patience T and the mean service time S that is measured.
    Measured,
}

/// The most requests that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Any number.
    Unlimited,
    /// This number.
    Fixed(usize),
    /// W A / S, for W workers, the age A and the mean service time S that is measured.
    Measured,
}

/// A pool, and clients that retry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulation {
    /// The number of workers.
    pub workers: usize,
    /// The shortest service time.
    pub service: Duration,
    /// The mean of an exponentially distributed addition, as a part of the service time.
    pub noise: f64,
    /// The order of service.
    pub order: Order,
    /// The longest wait.
    pub age: Age,
    /// The most requests that wait.
    pub bound: Bound,
    /// How long a client waits for an answer to each try. Its server does not know when it hangs
    /// up.
    pub patience: Duration,
    /// What clients do after a failed try.
    pub retries: Retries,
    /// Seed of the service times.
    pub seed: u64,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// When it was meant to start.
    pub intended: Duration,
    /// The number of tries that were sent.
    pub tries: u32,
    /// When the answer came, if one came within the patience of its try.
    pub answered: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker has finished this try.
    Done(Try),
    /// The patience for this try ends.
    TimeOut(Try),
    /// Another try of this request is due.
    Due(usize),
}

/// A try of a request, by its index and the number of the try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Try {
    request: usize,
    number: u32,
}

/// A try that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    of: Try,
    since: Duration,
}

/// A client of the pool.
struct Client {
    waiting: VecDeque<Waiting>,
    /// The start tag of its next request.
    start: f64,
    restraint: Restraint,
}

struct State<'a> {
    simulation: &'a Simulation,
    starts: &'a [(Duration, usize)],
    sent: Vec<Sent>,
    /// The number of the try whose answer each request's client waits for.
    awaited: Vec<Option<u32>>,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    clients: Vec<Client>,
    /// The number of waiting tries of all clients.
    waiting: usize,
    idle: usize,
    /// The start tag of the request that was taken last.
    virtual_time: f64,
    /// The moving average of the service times.
    mean: Option<f64>,
    random: fastrand::Rng,
    services: &'a mut Services<'a>,
}

/// Draws the service time of a request that a worker begins at this time.
type Services<'a> = dyn FnMut(Duration, &mut fastrand::Rng) -> Duration + 'a;

impl Simulation {
    /// The outcomes of requests at these times, which are in order, each by a client with this
    /// number.
    pub fn run(&self, starts: &[(Duration, usize)]) -> Vec<Sent> {
        let Self { service, noise, .. } = *self;
        self.run_with(starts, &mut |_, random| service.mul_f64(1.0 + noise * exponential(random)))
    }

    /// The same, with service times from `services` in place of `service` and `noise`. It gets the
    /// time at which a worker begins, and the simulation's random numbers.
    pub fn run_with<'a>(
        &'a self,
        starts: &'a [(Duration, usize)],
        services: &'a mut Services<'a>,
    ) -> Vec<Sent> {
        let clients = starts.iter().map(|&(_, client)| client + 1).max().unwrap_or_default();
        let client = || Client {
            waiting: VecDeque::new(),
            start: 0.0,
            restraint: Restraint::new(self.retries.limit),
        };
        let sent = starts.iter();
        let seed = match self.retries.pause {
            Pause::Backoff { seed, .. } => seed,
            Pause::AtOnce => 0,
        };
        let mut state = State {
            simulation: self,
            starts,
            sent: sent.map(|&(intended, _)| Sent { intended, tries: 0, answered: None }).collect(),
            awaited: vec![None; starts.len()],
            events: BinaryHeap::new(),
            clients: (0..clients).map(|_| client()).collect(),
            waiting: 0,
            idle: self.workers,
            virtual_time: 0.0,
            mean: None,
            random: fastrand::Rng::with_seed(self.seed ^ seed.rotate_left(32)),
            services,
        };
        let mut next = 0;
        loop {
            let due = state.events.peek().map(|Reverse((at, _))| *at);
            match (starts.get(next), due) {
                (Some(&(start, _)), due) if due.is_none_or(|due| start < due) => {
                    state.begin(next, start);
                    next += 1;
                }
                (_, None) => return state.sent,
                (_, Some(_)) => {
                    let Some(Reverse((now, event))) = state.events.pop() else { continue };
                    state.happen(event, now);
                }
            }
        }
    }
}

impl Simulation {
    /// The longest wait while the measured mean service time is this, in seconds.
    pub fn age_at(&self, mean: f64) -> Duration {
        match self.age {
            Age::Unlimited => Duration::MAX,
            Age::Fixed(age) => age,
            Age::Measured => {
                let service = Duration::from_secs_f64(mean);
                self.patience.mul_f64(MARGIN).saturating_sub(service).min(self.patience / 2)
            }
        }
    }

    /// The most requests that wait while the measured mean service time is this, in seconds. `None`
    /// stands for a pool that has measured nothing.
    pub fn bound_at(&self, mean: Option<f64>) -> usize {
        match (self.bound, mean) {
            (Bound::Unlimited, _) | (Bound::Measured, None) => usize::MAX,
            (Bound::Fixed(most), _) => most,
            (Bound::Measured, Some(mean)) => {
                let services = self.age_at(mean).as_secs_f64() / mean;
                // At least one for each worker; a conversion from infinity gives the largest.
                ((self.workers as f64 * services) as usize).max(self.workers)
            }
        }
    }
}

impl State<'_> {
    fn happen(&mut self, event: Event, now: Duration) {
        match event {
            Event::Due(request) => self.begin(request, now),
            Event::TimeOut(of) => self.fail(of, now),
            Event::Done(of) => {
                if self.is_awaited(of) {
                    self.awaited[of.request] = None;
                    self.sent[of.request].answered = Some(now);
                    self.client(of).restraint.succeeded(now);
                }
                self.idle += 1;
                self.take(now);
            }
        }
    }

    fn is_awaited(&self, of: Try) -> bool {
        self.awaited[of.request] == Some(of.number)
    }

    fn client(&mut self, of: Try) -> &mut Client {
        &mut self.clients[self.starts[of.request].1]
    }

    /// Sends a try.
    fn begin(&mut self, request: usize, now: Duration) {
        let of = Try { request, number: self.sent[request].tries + 1 };
        if !self.client(of).restraint.admits(now) {
            return;
        }
        self.sent[request].tries = of.number;
        self.awaited[request] = Some(of.number);
        let patience = self.simulation.patience;
        self.events.push(Reverse((now + patience, Event::TimeOut(of))));
        let virtual_time = self.virtual_time;
        let client = self.client(of);
        if client.waiting.is_empty() {
            client.start = client.start.max(virtual_time);
        }
        client.waiting.push_back(Waiting { of, since: now });
        self.waiting += 1;
        self.take(now);
        if self.waiting > self.bound() {
            let refused = self.give_way(of);
            self.waiting -= 1;
            self.fail(refused, now);
        }
    }

    /// Removes the try that is refused when the queue is full: the new one, or with turns the
    /// newest one of the client with the most of them.
    fn give_way(&mut self, newest: Try) -> Try {
        let client = match self.simulation.order {
            Order::Fifo | Order::Lifo => self.client(newest),
            Order::Turns => {
                let longest = self.clients.iter_mut().max_by_key(|client| client.waiting.len());
                match longest {
                    Some(client) => client,
                    None => return newest,
                }
            }
        };
        client.waiting.pop_back().map_or(newest, |waiting| waiting.of)
    }

    /// After a try failed: the next one, if the client makes one.
    fn fail(&mut self, of: Try, now: Duration) {
        if !self.is_awaited(of) {
            // The client has hung up before, and has reacted then.
            return;
        }
        self.awaited[of.request] = None;
        let retries = self.simulation.retries;
        if of.number > retries.most || !self.client(of).restraint.retries() {
            return;
        }
        let pause = retries.pause.after(of.number, &mut self.random);
        self.events.push(Reverse((now + pause, Event::Due(of.request))));
    }

    /// Idle workers take waiting tries.
    fn take(&mut self, now: Duration) {
        while self.idle > 0 {
            let Some(Waiting { of, since }) = self.next() else { return };
            self.waiting -= 1;
            if now - since > self.age() {
                self.fail(of, now);
                continue;
            }
            let took = (self.services)(now, &mut self.random);
            let seconds = took.as_secs_f64();
            self.client(of).start += seconds;
            self.mean = Some(self.mean.map_or(seconds, |mean| mean + WEIGHT * (seconds - mean)));
            self.idle -= 1;
            self.events.push(Reverse((now + took, Event::Done(of))));
        }
    }

    /// Removes the try that is next.
    fn next(&mut self) -> Option<Waiting> {
        let waiting = self.clients.iter_mut().filter(|client| !client.waiting.is_empty());
        match self.simulation.order {
            Order::Fifo => {
                let first = waiting.min_by_key(|client| client.waiting.front().map(|of| of.since));
                first?.waiting.pop_front()
            }
            Order::Lifo => {
                let last = waiting.max_by_key(|client| client.waiting.back().map(|of| of.since));
                last?.waiting.pop_back()
            }
            Order::Turns => {
                let first = waiting.min_by(|one, other| one.start.total_cmp(&other.start))?;
                self.virtual_time = first.start;
                first.waiting.pop_front()
            }
        }
    }

    fn age(&self) -> Duration {
        self.simulation.age_at(self.mean.unwrap_or_default())
    }

    fn bound(&self) -> usize {
        self.simulation.bound_at(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::{Arrivals, Rate, Stop};
    use crate::moments::Moments;
    use crate::twin::Twin;

    const SERVICE: Duration = Duration::from_millis(10);

    fn pool(order: Order, age: Age, bound: Bound) -> Simulation {
        Simulation {
            workers: 4,
            service: SERVICE,
            noise: 0.0,
            order,
            age,
            bound,
            patience: 10 * SERVICE,
            retries: Retries::NONE,
            seed: 1,
        }
    }

    /// Requests at `times` the capacity of four workers, for 400 services; every `nth` one is of
    /// the second client.
    fn starts(times: f64, nth: usize) -> Vec<(Duration, usize)> {
        let rate = Rate::constant(times * 4.0 / SERVICE.as_secs_f64());
        let starts = Arrivals::poisson(rate, 3).starts(Stop::After(400 * SERVICE));
        let numbered = starts.into_iter().enumerate();
        numbered.map(|(number, start)| (start, usize::from(number % nth == 0))).collect()
    }

    fn good(sent: &[Sent], starts: &[(Duration, usize)], client: usize) -> f64 {
        let of = sent.iter().zip(starts).filter(|(_, start)| start.1 == client);
        let answered: Moments =
            of.map(|(sent, _)| f64::from(u8::from(sent.answered.is_some()))).collect();
        answered.mean()
    }

    /// Without retries, and below the knee, it is the twin.
    #[test]
    fn it_serves_as_the_twin_does() {
        let starts = starts(0.9, 2);
        let sent = pool(Order::Fifo, Age::Unlimited, Bound::Unlimited).run(&starts);
        let arrivals: Vec<Duration> = starts.iter().map(|&(start, _)| start).collect();
        let fates = Twin::unbounded(4, SERVICE).replay(&arrivals);
        for ((sent, fate), arrival) in sent.iter().zip(fates).zip(arrivals) {
            let wait = fate.wait().expect("nothing is refused");
            assert_eq!(sent.answered, Some(arrival + wait + SERVICE));
            assert_eq!(sent.tries, 1);
        }
    }

    #[test]
    fn past_the_knee_a_bound_keeps_what_no_bound_loses() {
        let starts = starts(3.0, 2);
        let share = |age, bound| good(&pool(Order::Fifo, age, bound).run(&starts), &starts, 0);
        assert!(share(Age::Unlimited, Bound::Unlimited) < 0.05);
        for (age, bound) in [
            (Age::Unlimited, Bound::Fixed(16)),
            (Age::Fixed(5 * SERVICE), Bound::Unlimited),
            (Age::Measured, Bound::Measured),
        ] {
            let share = share(age, bound);
            assert!((share - 1.0 / 3.0).abs() < 0.03, "{age:?} {bound:?}: {share}");
        }
    }

    /// Twice the capacity, a tenth of it from the second client: a fifth of the capacity.
    #[test]
    fn turns_serve_a_client_that_asks_for_less_than_its_share() {
        let starts = starts(2.0, 10);
        let share = |order, client| {
            good(&pool(order, Age::Measured, Bound::Measured).run(&starts), &starts, client)
        };
        assert!(share(Order::Turns, 1) > 0.99);
        assert!((0.4..0.6).contains(&share(Order::Fifo, 1)));
        assert!((0.4..0.6).contains(&share(Order::Lifo, 1)));
        let rest = share(Order::Turns, 0);
        assert!((rest - 0.8 / 1.8).abs() < 0.03, "the other one gets the rest: {rest}");
    }

    #[test]
    fn each_try_is_counted_and_the_last_one_may_succeed() {
        let mut crowded = pool(Order::Fifo, Age::Unlimited, Bound::Fixed(0));
        crowded.retries = Retries::at_once(3);
        let five: Vec<_> = (0..5).map(|number| (Duration::from_nanos(number), 0)).collect();
        let sent = crowded.run(&five);
        assert!(sent[..4].iter().all(|sent| sent.tries == 1 && sent.answered.is_some()));
        assert_eq!((sent[4].tries, sent[4].answered), (4, None), "refused four times");
        let pause = Pause::Backoff { first: 1000 * SERVICE, most: 1000 * SERVICE, seed: 1 };
        crowded.retries.pause = pause;
        let later = crowded.run(&five)[4];
        assert_eq!(later.tries, 2);
        assert!(later.answered.is_some(), "the pool is idle by then");
    }

    /// The server does not know that a client has hung up, and serves its try.
    #[test]
    fn a_try_that_is_given_up_still_takes_a_worker() {
        let mut impatient = pool(Order::Fifo, Age::Unlimited, Bound::Unlimited);
        (impatient.workers, impatient.patience) = (1, SERVICE * 3 / 2);
        let sent = impatient.run(&[(Duration::ZERO, 0), (SERVICE / 4, 0), (SERVICE, 0)]);
        let answers: Vec<_> = sent.iter().map(|sent| sent.answered).collect();
        assert_eq!(answers, [Some(SERVICE), None, None], "the second wastes the third's time");
    }
}
