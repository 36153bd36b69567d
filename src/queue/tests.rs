//! Properties of the disciplines as plain values.

use super::{Charge, Discipline, Entry, Fair, Line, Smallest, Victim};
use crate::config;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

pub(super) fn address(client: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + client).into()
}

/// What happens to a queue.
#[derive(Debug, Clone)]
enum Event {
    Admit(Arrival),
    Replace(Arrival, Victim),
    Next,
    /// One of those in service ends, after so many microseconds.
    Ended(prop::sample::Index, u64),
    /// Those that have waited for more milliseconds than that are over.
    Expire(u64),
}

#[derive(Debug, Clone)]
struct Arrival {
    client: u32,
    size: u64,
    stays: bool,
    /// Milliseconds since the arrival before.
    gap: u64,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let sizes = prop_oneof![Just(0), 0..8u64, 0..u64::from(u32::MAX), Just(u64::MAX)];
    (0..5u32, sizes, prop::bool::weighted(0.2), 0..20u64)
        .prop_map(|(client, size, stays, gap)| Arrival { client, size, stays, gap })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let victim = prop_oneof![
        Just(Victim::Newest),
        Just(Victim::Oldest),
        (0.0..=1.0).prop_map(Victim::Random)
    ];
    let took = prop_oneof![Just(0), 1..100_000u64, Just(u64::MAX)];
    let event = prop_oneof![
        4 => arrival().prop_map(Event::Admit),
        2 => (arrival(), victim).prop_map(|(arrival, victim)| Event::Replace(arrival, victim)),
        4 => Just(Event::Next),
        4 => (any::<prop::sample::Index>(), took).prop_map(|(of, took)| Event::Ended(of, took)),
        1 => (0..200u64).prop_map(Event::Expire),
    ];
    prop::collection::vec(event, 1..200)
}

/// A discipline beside a list of what has to be in it.
struct Model<D> {
    discipline: D,
    waiting: BTreeMap<u64, Entry<u64>>,
    in_service: Vec<Charge>,
    now: Instant,
    arrivals: u64,
}

/// Checks a choice: what was taken as next, and those that go on waiting.
type CheckNext = fn(&Entry<u64>, &BTreeMap<u64, Entry<u64>>) -> bool;
/// Checks which entry gave way, of those that are given.
type CheckVictim = fn(u64, Victim, &BTreeMap<u64, Entry<u64>>) -> bool;

impl<D: Discipline<u64>> Model<D> {
    fn new(discipline: D) -> Self {
        let (waiting, in_service) = (BTreeMap::new(), Vec::new());
        Self { discipline, waiting, in_service, now: Instant::now(), arrivals: 0 }
    }

    /// An entry, and a copy of it in the list.
    fn arrives(&mut self, arrival: &Arrival) -> Entry<u64> {
        self.now += Duration::from_millis(arrival.gap);
        self.arrivals += 1;
        let entry = || Entry {
            item: self.arrivals,
            number: self.arrivals,
            client: address(arrival.client),
            since: self.now,
            size: arrival.size,
            stays: arrival.stays,
        };
        let copy = entry();
        let entry = entry();
        self.waiting.insert(self.arrivals, copy);
        entry
    }

    /// The entry is one that waits, is as it was, and does not wait any more.
    fn leaves(&mut self, entry: &Entry<u64>) {
        let copy = self.waiting.remove(&entry.number).expect("it waits, and has not left before");
        assert_eq!(format!("{entry:?}"), format!("{copy:?}"));
    }

    fn run(&mut self, event: &Event, check_next: CheckNext, check_victim: CheckVictim) {
        match event {
            Event::Admit(arrival) => {
                let entry = self.arrives(arrival);
                self.discipline.admit(entry);
            }
            Event::Replace(arrival, victim) => {
                let entry = self.arrives(arrival);
                match self.discipline.replace(entry, *victim) {
                    Some(gone) => {
                        assert!(!gone.stays, "{gone:?}");
                        assert!(check_victim(gone.number, *victim, &self.waiting), "{gone:?}");
                        self.leaves(&gone);
                    }
                    None => assert!(self.waiting.values().all(|entry| entry.stays)),
                }
            }
            Event::Next => match self.discipline.next() {
                Some((entry, charge)) => {
                    self.leaves(&entry);
                    assert!(check_next(&entry, &self.waiting), "{entry:?} of {:?}", self.waiting);
                    if let Some(charge) = charge {
                        assert_eq!(charge.client, entry.client);
                        self.in_service.push(charge);
                    }
                }
                None => assert!(self.waiting.is_empty(), "{:?}", self.waiting),
            },
            Event::Ended(which, took) => {
                if !self.in_service.is_empty() {
                    let charge = self.in_service.swap_remove(which.index(self.in_service.len()));
                    self.discipline.ended(charge, Duration::from_micros(*took));
                }
            }
            Event::Expire(age) => {
                let (now, age) = (self.now, Duration::from_millis(*age));
                let is_over = |entry: &Entry<u64>| now - entry.since > age;
                for entry in self.discipline.expire(&is_over) {
                    assert!(is_over(&entry) && !entry.stays, "{entry:?}");
                    self.leaves(&entry);
                }
                assert!(self.waiting.values().all(|entry| entry.stays || !is_over(entry)));
            }
        }
        assert_eq!(self.discipline.len(), self.waiting.len());
    }

    /// Takes out all that waits, and ends all services.
    fn drain(&mut self, check_next: CheckNext) {
        while !self.waiting.is_empty() {
            self.run(&Event::Next, check_next, |_, _, _| true);
        }
        for charge in self.in_service.drain(..) {
            self.discipline.ended(charge, Duration::from_millis(1));
        }
        assert!(self.discipline.next().is_none());
    }
}

/// In one line for all, the newest, the oldest or any of those that may go gives way.
fn gives_way(gone: u64, victim: Victim, waiting: &BTreeMap<u64, Entry<u64>>) -> bool {
    let mut may_go = waiting.values().filter(|entry| !entry.stays).map(|entry| entry.number);
    match victim {
        Victim::Newest => may_go.next_back() == Some(gone),
        Victim::Oldest => may_go.next() == Some(gone),
        Victim::Random(_) => may_go.any(|number| number == gone),
    }
}

/// One of the longest line, of those that have one that may go, gives way.
fn gives_way_fairly(gone: u64, victim: Victim, waiting: &BTreeMap<u64, Entry<u64>>) -> bool {
    let client = waiting[&gone].client;
    let length = |client| waiting.values().filter(|entry| entry.client == client).count();
    let mut others = waiting.values().filter(|entry| !entry.stays);
    let line = waiting.values().filter(|entry| entry.client == client && !entry.stays);
    let mut line = line.map(|entry| entry.number);
    others.all(|entry| length(entry.client) <= length(client))
        && match victim {
            Victim::Newest => line.next_back() == Some(gone),
            Victim::Oldest => line.next() == Some(gone),
            Victim::Random(_) => line.any(|number| number == gone),
        }
}

/// The time in which one that waits is overtaken by those that come.
fn ageing(entry: &Entry<u64>) -> Duration {
    Duration::from_secs_f64(entry.size as f64 / config::AGEING_RATE as f64)
}

/// The smaller of two that came at the same time is next, and none overtakes one that has aged.
fn is_smallest(next: &Entry<u64>, waiting: &BTreeMap<u64, Entry<u64>>) -> bool {
    let rounding = Duration::from_micros(1);
    waiting.values().all(|other| {
        let is_smaller = other.since != next.since
            || (next.size, next.number) < (other.size, other.number)
            || ageing(next) <= ageing(other) + rounding;
        is_smaller && next.since <= other.since + ageing(other) + rounding
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn the_oldest_is_first(events in events()) {
        let mut model = Model::new(Line::oldest_first());
        let is_oldest: CheckNext = |next, waiting| waiting.keys().all(|other| *other > next.number);
        events.iter().for_each(|event| model.run(event, is_oldest, gives_way));
        model.drain(is_oldest);
    }

    #[test]
    fn the_newest_is_first(events in events()) {
        let mut model = Model::new(Line::newest_first());
        let is_newest: CheckNext = |next, waiting| waiting.keys().all(|other| *other < next.number);
        events.iter().for_each(|event| model.run(event, is_newest, gives_way));
        model.drain(is_newest);
    }

    #[test]
    fn the_smallest_is_first_unless_a_larger_one_has_aged(events in events()) {
        let mut model = Model::new(Smallest::default());
        events.iter().for_each(|event| model.run(event, is_smallest, gives_way));
        model.drain(is_smallest);
    }

    #[test]
    fn each_client_is_served_in_order_and_the_longest_line_gives_way(events in events()) {
        let mut model = Model::new(Fair::default());
        let is_oldest_of_client: CheckNext = |next, waiting| {
            let mut line = waiting.values().filter(|other| other.client == next.client);
            line.all(|other| other.number > next.number)
        };
        for event in &events {
            model.run(event, is_oldest_of_client, gives_way_fairly);
            prop_assert!(model.discipline.is_sound(), "{:?}", model.discipline);
        }
        model.drain(is_oldest_of_client);
        prop_assert!(model.discipline.is_sound(), "{:?}", model.discipline);
    }

    #[test]
    fn one_client_alone_is_served_in_order_of_arrival(events in events()) {
        let mut model = Model::new(Fair::default());
        let is_oldest: CheckNext = |next, waiting| waiting.keys().all(|other| *other > next.number);
        for event in events {
            let of_one = |arrival: Arrival| Arrival { client: 0, ..arrival };
            let event = match event {
                Event::Admit(arrival) => Event::Admit(of_one(arrival)),
                Event::Replace(arrival, victim) => Event::Replace(of_one(arrival), victim),
                other => other,
            };
            model.run(&event, is_oldest, gives_way);
        }
        model.drain(is_oldest);
    }
}
