//! Properties of the fair queue in a simulated pool.

use super::tests::address;
use super::{Charge, Discipline, Entry, Fair, Victim};
use crate::config;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

/// How a client's requests come.
#[derive(Debug, Clone)]
enum Source {
    /// So many wait at any time.
    Backlog(usize),
    /// At these microseconds.
    At(Vec<u64>),
    /// Each of so many connections sends the next one this many microseconds after the last
    /// response.
    Closed(usize, u64),
}

/// A client, and the microseconds that its services take in turn.
#[derive(Debug, Clone)]
struct Client {
    source: Source,
    services: Vec<u64>,
}

/// What a client has had, in microseconds.
#[derive(Debug, Clone, Default)]
struct Had {
    begun: usize,
    ended: usize,
    /// The time of the services that have ended.
    service: u64,
    longest_wait: u64,
}

/// Workers that take what the fair queue gives them, on a clock of their own.
struct Pool<'a> {
    queue: Fair<usize>,
    workers: usize,
    clients: &'a [Client],
    had: Vec<Had>,
    clock: u64,
    origin: Instant,
    numbers: u64,
    /// Arrivals, by time, then by order.
    arrivals: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// Ends of services, with the client, the time that it took, and its charge.
    ends: BTreeMap<(u64, u64), (usize, u64, Charge)>,
}

impl<'a> Pool<'a> {
    fn new(workers: usize, clients: &'a [Client]) -> Self {
        let mut pool = Self {
            queue: Fair::default(),
            workers,
            clients,
            had: vec![Had::default(); clients.len()],
            clock: 0,
            origin: Instant::now(),
            numbers: 0,
            arrivals: BinaryHeap::new(),
            ends: BTreeMap::new(),
        };
        for (client, of) in clients.iter().enumerate() {
            match &of.source {
                Source::Backlog(count) | Source::Closed(count, _) => {
                    (0..*count).for_each(|_| pool.will_arrive(0, client));
                }
                Source::At(times) => times.iter().for_each(|&at| pool.will_arrive(at, client)),
            }
        }
        pool
    }

    fn will_arrive(&mut self, at: u64, client: usize) {
        self.numbers += 1;
        self.arrivals.push(Reverse((at, self.numbers, client)));
    }

    fn run(mut self, until: u64) -> Vec<Had> {
        while self.clock < until {
            self.begin();
            let arrival = self.arrivals.peek().map(|Reverse((at, ..))| *at);
            let end = self.ends.keys().next().map(|of| of.0);
            match (arrival, end) {
                // A worker that ends takes the next one before anybody can send another.
                (arrival, Some(end)) if arrival.is_none_or(|at| end <= at) => self.end(),
                (Some(_), _) => self.arrive(),
                _ => break,
            }
        }
        assert!(self.queue.is_sound());
        self.had
    }

    fn arrive(&mut self) {
        let Some(Reverse((at, _, client))) = self.arrivals.pop() else { return };
        self.clock = at;
        self.numbers += 1;
        let since = self.origin + Duration::from_micros(at);
        let (number, client) = (self.numbers, (client, address(client as u32)));
        let entry =
            Entry { item: client.0, number, client: client.1, since, size: 0, stays: false };
        self.queue.admit(entry);
    }

    fn begin(&mut self) {
        while self.ends.len() < self.workers {
            let Some((entry, charge)) = self.queue.next() else { return };
            let client = entry.item;
            let had = &mut self.had[client];
            let services = &self.clients[client].services;
            let took = services[had.begun % services.len()];
            had.begun += 1;
            let now = self.origin + Duration::from_micros(self.clock);
            had.longest_wait = had.longest_wait.max((now - entry.since).as_micros() as u64);
            self.numbers += 1;
            let charge = charge.expect("clients are charged");
            self.ends.insert((self.clock + took, self.numbers), (client, took, charge));
            if let Source::Backlog(_) = self.clients[client].source {
                self.will_arrive(self.clock, client);
                self.arrive();
            }
        }
    }

    fn end(&mut self) {
        let Some(((at, _), (client, took, charge))) = self.ends.pop_first() else { return };
        self.clock = at;
        self.queue.ended(charge, Duration::from_micros(took));
        self.had[client].ended += 1;
        self.had[client].service += took;
        if let Source::Closed(_, pause) = self.clients[client].source {
            self.will_arrive(at + pause, client);
        }
    }
}

fn backlogged(services: Vec<u64>) -> Client {
    Client { source: Source::Backlog(3), services }
}

/// The largest difference between two.
fn spread(had: impl Iterator<Item = u64> + Clone) -> u64 {
    had.clone().max().unwrap_or(0) - had.min().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn equal_services_are_shared_to_within_two(workers in 1..6usize, clients in 2..7usize) {
        let clients = vec![backlogged(vec![1000]); clients];
        let had = Pool::new(workers, &clients).run(1_000_000);
        let total: u64 = had.iter().map(|had| had.service).sum();
        prop_assert!(total + workers as u64 * 1000 >= workers as u64 * 1_000_000);
        prop_assert!(spread(had.iter().map(|had| had.begun as u64)) <= 2, "{had:?}");
    }

    #[test]
    fn a_light_client_waits_for_one_turn_and_the_others_share_the_rest(
        workers in 1..6usize,
        heavy in 1..6usize,
        pauses in prop::collection::vec(0..4000u64, 300),
    ) {
        // It uses at most half of its share.
        let share = 1000 * (heavy as u64 + 1).div_ceil(workers as u64);
        let mut at = 0;
        let times = pauses.iter().map(|pause| { at += 2 * share + pause; at }).collect();
        let mut clients = vec![backlogged(vec![1000]); heavy];
        clients.push(Client { source: Source::At(times), services: vec![1000] });
        let had = Pool::new(workers, &clients).run(at + 10 * share);
        prop_assert_eq!(had[heavy].begun, pauses.len());
        let turn = 1000 * (1 + (heavy as u64).div_ceil(workers as u64));
        prop_assert!(had[heavy].longest_wait <= turn, "{} > {turn}", had[heavy].longest_wait);
        let begun = had[..heavy].iter().map(|had| had.begun as u64);
        prop_assert!(spread(begun) <= 2, "{had:?}");
    }

    #[test]
    fn services_that_are_unknown_and_different_are_shared_by_time(
        workers in 1..6usize,
        services in prop::collection::vec(prop::collection::vec(100..20_000u64, 1..5), 2..5),
    ) {
        // With no more clients than workers, each gets a worker of its own and more.
        let longest = services.iter().flatten().copied().max().unwrap_or(0);
        let clients: Vec<_> = services.into_iter().map(backlogged).collect();
        let had = Pool::new(workers, &clients).run(3_000_000);
        let spread = spread(had.iter().map(|had| had.service));
        prop_assert!(spread <= (workers as u64 + 1) * longest, "{spread}, {longest}: {had:?}");
    }

    #[test]
    fn who_comes_and_goes_gets_no_more_time_than_who_always_waits(
        workers in 1..6usize,
        bursts in prop::collection::vec((0..60_000u64, 1..12usize), 100),
        services in prop::collection::vec(100..20_000u64, 1..5),
        others in prop::collection::vec(100..20_000u64, 1..5),
    ) {
        let mut at = 0;
        let times = bursts.iter().flat_map(|(pause, count)| { at += pause; vec![at; *count] });
        let times: Vec<_> = times.collect();
        let longest = services.iter().chain(&others).copied().max().unwrap_or(0);
        let clients = [Client { source: Source::At(times), services }, backlogged(others)];
        let had = Pool::new(workers, &clients).run(at);
        let slack = (workers as u64 + 1) * longest;
        prop_assert!(had[0].service <= had[1].service + slack, "{longest}: {had:?}");
    }

    #[test]
    fn equal_clients_are_served_in_order_of_arrival_to_within_a_request(
        workers in 1..6usize,
        rounds in prop::collection::vec(Just((0..5u32).collect::<Vec<_>>()).prop_shuffle(), 20),
    ) {
        let mut queue = Fair::default();
        let mut ids = 0..;
        let since = Instant::now();
        for (round, clients) in rounds.iter().enumerate() {
            for &client in clients {
                let number = ids.next().expect("endless");
                let client = address(client);
                queue.admit(Entry { item: round, number, client, since, size: 0, stays: false });
            }
        }
        let mut in_service = Vec::new();
        for served in 0..100 {
            let (entry, charge) = queue.next().expect("it waits");
            // The first services are not measured yet.
            let round = (served / 5usize).abs_diff(entry.item);
            prop_assert!(round <= 1 || served < 5 * workers && round <= workers);
            in_service.extend(charge);
            if in_service.len() == workers {
                queue.ended(in_service.remove(0), Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn a_client_with_one_connection_and_long_services_gets_no_more_than_its_share_of_time() {
    let long = Client { source: Source::Closed(1, 1), services: vec![10_000] };
    let short = Client { source: Source::Closed(4, 1), services: vec![1_000] };
    let had = Pool::new(1, &[long, short]).run(10_000_000);
    let shares = had.iter().map(|had| had.service);
    assert!(spread(shares) <= 20_000, "{had:?}");
}

#[test]
fn the_longest_line_gives_way_to_who_comes() {
    let mut queue = Fair::default();
    let mut number = 0;
    let mut entry = |client| {
        number += 1;
        let (client, since) = (address(client), Instant::now());
        Entry { item: (), number, client, since, size: 0, stays: false }
    };
    (0..10).for_each(|_| queue.admit(entry(1)));
    (0..3).for_each(|_| queue.admit(entry(2)));
    let gone = queue.replace(entry(2), Victim::Newest).expect("one gives way");
    assert_eq!((gone.client, gone.number), (address(1), 10));
    let gone = queue.replace(entry(1), Victim::Newest).expect("one gives way");
    assert_eq!((gone.client, gone.number), (address(1), 15));
}

/// Each service is followed by a new client. One that has been served before gets its turns beside
/// them.
#[test]
fn who_has_been_served_is_not_starved_by_clients_that_come_for_the_first_time() {
    let mut queue = Fair::default();
    let mut number = 0;
    let mut admit = |queue: &mut Fair<()>, client| {
        number += 1;
        let (client, since) = (address(client), Instant::now());
        queue.admit(Entry { item: (), number, client, since, size: 0, stays: false });
    };
    admit(&mut queue, 0);
    (1..=20).for_each(|client| admit(&mut queue, client));
    let mut turns = Vec::new();
    for round in 0..200 {
        let (entry, charge) = queue.next().expect("it waits");
        admit(&mut queue, 100 + round);
        queue.ended(charge.expect("clients are charged"), Duration::from_millis(20));
        if entry.client == address(0) {
            turns.push(round);
            admit(&mut queue, 0);
        }
    }
    // In order of arrival it would get a turn after each 22 or more services: one of the newcomers
    // stays for each turn that it has.
    assert!(turns.len() >= 7, "{turns:?}");
    assert!(turns.windows(2).all(|of| of[1] - of[0] <= 2 * 22), "{turns:?}");
}

fn entry(number: u64, client: u32) -> Entry<()> {
    let (client, since) = (address(client), Instant::now());
    Entry { item: (), number, client, since, size: 0, stays: false }
}

#[test]
fn debts_take_a_bounded_amount_of_memory() {
    let mut queue = Fair::default();
    let most = 5 * config::DEBTORS as u32;
    // Many wait at a time, then are in debt, and then only one waits.
    for client in 0..most {
        queue.admit(entry(client.into(), client));
    }
    queue.admit(entry(most.into(), most));
    for served in 0..most {
        let (_, charge) = queue.next().expect("it waits");
        queue.ended(charge.expect("clients are charged"), Duration::from_secs(1));
        assert!(served % 64 > 0 || queue.is_sound());
    }
    assert!(queue.is_sound());
    // Clients come without end.
    for client in most + 1..3 * most {
        queue.admit(entry(client.into(), client));
        let (_, charge) = queue.next().expect("it waits");
        queue.ended(charge.expect("clients are charged"), Duration::from_secs(1));
        assert!(client % 64 > 0 || queue.is_sound());
    }
}

#[test]
fn what_goes_back_into_the_queue_costs_its_client_nothing_and_is_no_service() {
    let mut queue = Fair::default();
    (0..40).for_each(|number| queue.admit(entry(number, 1)));
    let next = |queue: &mut Fair<()>| {
        let (entry, charge) = queue.next().expect("it waits");
        (entry.client, charge.expect("clients are charged"))
    };
    let (_, first) = next(&mut queue);
    queue.ended(first, Duration::from_millis(20));
    for _ in 0..20 {
        let (_, charge) = next(&mut queue);
        queue.ended(charge, Duration::ZERO);
    }
    queue.admit(entry(41, 2));
    let (_, charge) = next(&mut queue);
    assert_eq!(charge.guess, Duration::from_millis(20));
}

#[test]
fn who_comes_back_has_no_claim_to_the_time_before() {
    come_back_after(Duration::from_micros(1));
}

#[test]
fn who_comes_back_owes_nothing_for_a_service_within_its_share_of_the_time_before() {
    come_back_after(Duration::from_millis(200));
}

/// A client comes back, and has had five services of that time meanwhile.
fn come_back_after(took: Duration) {
    let mut queue = Fair::default();
    let mut number = 0;
    let mut admit = |queue: &mut Fair<()>, client, count: usize| {
        for _ in 0..count {
            number += 1;
            let (client, since) = (address(client), Instant::now());
            queue.admit(Entry { item: (), number, client, since, size: 0, stays: false });
        }
    };
    let next = |queue: &mut Fair<()>| queue.next().and_then(|of| of.1).expect("it waits");
    admit(&mut queue, 1, 200);
    let first = next(&mut queue);
    queue.ended(first, Duration::from_millis(20));
    // They last while the other client has a hundred of 20 ms.
    admit(&mut queue, 2, 5);
    let mut long = Vec::new();
    for _ in 0..100 {
        let charge = next(&mut queue);
        if charge.client == address(2) {
            long.push(charge);
        } else {
            queue.ended(charge, Duration::from_millis(20));
        }
    }
    assert_eq!(long.len(), 5);
    admit(&mut queue, 2, 50);
    let turns = |queue: &mut _| (0..20).filter(|_| next(queue).client == address(2)).count();
    assert!((9..=11).contains(&turns(&mut queue)));
    for charge in long {
        queue.ended(charge, took);
    }
    assert!((9..=11).contains(&turns(&mut queue)));
}
