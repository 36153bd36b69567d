//! Turns for clients: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996).
//!
//! Each client has a virtual time, in which it has had its service so far; the server's virtual
//! time is that of the client whose turn it was last. The client whose virtual time is least is
//! next. How long a service takes is not known when it begins, so the client is charged the moving
//! average, and the charge is corrected at its end, as in the priority and fairness of Kubernetes'
//! API server (KEP-1040).
//!
//! A client that comes, or comes back, starts at the server's virtual time: it has no claim to the
//! past. A client that has had more than its turn keeps its debt until the others have had as much,
//! or until nobody waits.
//!
//! Refusals cost time as well, if little, so a client that has something here is charged a fixed
//! amount for each. It cannot gain by asking again at once.

use super::discipline::{Charge, Discipline, Entry, Victim, Waiting};
use super::discipline::{position, put_back, take_expired};
use crate::config;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

/// A time in nanoseconds on the clocks that services alone drive.
type Virtual = u64;

/// The latest service has a weight of 1/8 in the guess, like the latest round trip in TCP's (RFC
/// 6298).
const SMOOTHING: u64 = 8;

/// Fair queueing over clients.
#[derive(Debug)]
pub struct Fair<T> {
    clients: HashMap<IpAddr, Client<T>>,
    /// The clients with waiting entries, by virtual time, then by the arrival of the first entry.
    ready: BTreeSet<(Virtual, u64, IpAddr)>,
    /// The same clients by the number of their entries.
    lengths: BTreeSet<(usize, IpAddr)>,
    now: Virtual,
    waiting: usize,
    in_service: usize,
    guess: u64,
}

/// A client that has an entry here or in service, or that is in debt.
#[derive(Debug)]
struct Client<T> {
    entries: VecDeque<Entry<T>>,
    in_service: usize,
    /// Its virtual time: the start of its next service.
    start: Virtual,
    /// The number of times that it has come back while it was being served.
    visit: u64,
    /// The time that it had lost when it last came back.
    lost: Virtual,
}

impl<T> Client<T> {
    /// Its place in the index of those that are ready, if something of it waits.
    fn place(&self, address: IpAddr) -> Option<(Virtual, u64, IpAddr)> {
        self.entries.front().map(|first| (self.start, first.number, address))
    }
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self {
            clients: HashMap::new(),
            ready: BTreeSet::new(),
            lengths: BTreeSet::new(),
            now: 0,
            waiting: 0,
            in_service: 0,
            guess: 0,
        }
    }
}

impl<T> Fair<T> {
    /// Changes a client, and keeps the indices as it then is. A client that has nothing here is
    /// forgotten, unless it is in debt.
    fn change<R>(&mut self, address: IpAddr, change: impl FnOnce(&mut Client<T>) -> R) -> R {
        let now = self.now;
        let entries = VecDeque::new();
        let fresh = || Client { entries, in_service: 0, start: now, visit: 0, lost: 0 };
        let client = self.clients.entry(address).or_insert_with(fresh);
        let before = client.place(address);
        let (length, in_service) = (client.entries.len(), client.in_service);
        let done = change(client);
        let after = client.place(address);
        self.waiting = self.waiting + client.entries.len() - length;
        self.in_service = self.in_service + client.in_service - in_service;
        // Most changes leave one of the indices as it is.
        if before != after {
            before.map(|place| self.ready.remove(&place));
            self.ready.extend(after);
        }
        if length != client.entries.len() {
            self.lengths.remove(&(length, address));
            self.lengths
                .extend((!client.entries.is_empty()).then_some((client.entries.len(), address)));
        }
        if client.entries.is_empty() && client.in_service == 0 && client.start <= self.now {
            self.clients.remove(&address);
        }
        if self.waiting == 0 && self.in_service == 0 {
            // Nobody is behind anybody.
            self.clients.clear();
            self.now = 0;
        }
        self.forget_debts();
        done
    }

    /// Forgets debts when they are many, so that clients that have gone take a bounded amount of
    /// memory.
    fn forget_debts(&mut self) {
        let active = self.ready.len() + self.in_service;
        if self.clients.len() <= 2 * active + config::DEBTORS {
            return;
        }
        let now = self.now;
        let is_active = |client: &Client<T>| !client.entries.is_empty() || client.in_service > 0;
        self.clients.retain(|_, client| is_active(client) || client.start > now);
        if self.clients.len() > active + config::DEBTORS {
            self.clients.retain(|_, client| is_active(client));
        }
    }

    /// True if the indices and counts are those of the clients, and these are bounded.
    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        let waiting = self.clients.iter().filter(|(_, client)| !client.entries.is_empty());
        let ready = waiting.clone().map(|(&address, client)| {
            (client.start, client.entries.front().map_or(0, |first| first.number), address)
        });
        let lengths = waiting.map(|(&address, client)| (client.entries.len(), address));
        let count = |of: fn(&Client<T>) -> usize| self.clients.values().map(of).sum::<usize>();
        let active = self.waiting + self.in_service;
        ready.collect::<BTreeSet<_>>() == self.ready
            && lengths.collect::<BTreeSet<_>>() == self.lengths
            && count(|client| client.entries.len()) == self.waiting
            && count(|client| client.in_service) == self.in_service
            && self.clients.len() <= 2 * active + config::DEBTORS + 1
            && (active > 0 || self.clients.is_empty())
    }

    /// The entry of this client that gives way.
    fn take_victim(&mut self, address: IpAddr, victim: Victim) -> Option<Entry<T>> {
        self.change(address, |client| {
            let entries = &mut client.entries;
            let at = position(entries.len(), victim, |at| entries[at].stays)?;
            entries.remove(at)
        })
    }
}

impl<T: Debug + Send> Discipline<T> for Fair<T> {
    fn admit(&mut self, entry: Entry<T>) {
        let now = self.now;
        self.change(entry.client, |client| {
            if client.entries.is_empty() && client.start < now {
                client.visit += 1;
                client.lost = now - client.start;
                client.start = now;
            }
            client.entries.push_back(entry);
        });
    }

    fn next(&mut self) -> Option<(Entry<T>, Option<Charge>)> {
        let &(start, _, address) = self.ready.first()?;
        self.now = self.now.max(start);
        let guess = self.guess;
        let (entry, visit) = self.change(address, |client| {
            client.in_service += 1;
            client.start = client.start.saturating_add(guess);
            (client.entries.pop_front(), client.visit)
        });
        let charge = Charge { client: address, guess: Duration::from_nanos(guess), visit };
        Some((entry?, Some(charge)))
    }

    fn take_back(&mut self, entry: Entry<T>, charge: Option<Charge>) {
        self.change(entry.client, |client| {
            if let Some(charge) = charge {
                client.in_service = client.in_service.saturating_sub(1);
                let guess = charge.guess.as_nanos() as u64;
                client.start = client.start.saturating_sub(guess);
            }
            put_back(&mut client.entries, entry);
        });
    }

    fn ended(&mut self, charge: Charge, took: Duration) {
        // A longer debt than that would outlive all who wait.
        let took = took.min(config::DEBT_MOST).as_nanos() as u64;
        self.guess = match self.guess {
            // It went back into the queue: that says nothing about services.
            guess if took == 0 => guess,
            0 => took,
            guess => guess - guess / SMOOTHING + took / SMOOTHING,
        };
        let guess = charge.guess.as_nanos() as u64;
        self.change(charge.client, |client| {
            client.in_service = client.in_service.saturating_sub(1);
            if charge.visit == client.visit {
                client.start = client.start.saturating_sub(guess).saturating_add(took);
                return;
            }
            // It has come back meanwhile. Had this been known before, it would have lost more time
            // then, or less.
            let known = client.lost.saturating_add(guess);
            client.lost = known.saturating_sub(took);
            client.start = client.start.saturating_add(took.saturating_sub(known));
        });
    }

    fn replace(&mut self, newcomer: Entry<T>, victim: Victim) -> Option<Entry<T>> {
        let own = newcomer.client;
        self.admit(newcomer);
        let may_go = |address: &IpAddr| {
            let client = self.clients.get(address);
            client.is_some_and(|client| client.entries.iter().any(|entry| !entry.stays))
        };
        let &(most, longest) = self.lengths.iter().rev().find(|(_, address)| may_go(address))?;
        // Of several lines that are equally long, the newcomer's.
        let is_as_long = self.lengths.contains(&(most, own)) && may_go(&own);
        self.take_victim(if is_as_long { own } else { longest }, victim)
    }

    fn expire(&mut self, is_over: &dyn Fn(&Entry<T>) -> bool) -> Vec<Entry<T>> {
        let mut expired = Vec::new();
        // Most have nothing to lose, and a look is cheaper than a change.
        let has_expired =
            |client: &Client<T>| client.entries.iter().any(|entry| !entry.stays && is_over(entry));
        let clients = self.clients.iter().filter(|(_, client)| has_expired(client));
        let addresses: Vec<IpAddr> = clients.map(|(&address, _)| address).collect();
        for address in addresses {
            self.change(address, |client| {
                take_expired(&mut client.entries, is_over, &mut expired);
            });
        }
        expired
    }

    fn len(&self) -> usize {
        self.waiting
    }

    fn refused(&mut self, client: IpAddr) {
        if !self.clients.contains_key(&client) {
            return;
        }
        let cost = config::REFUSAL_COST.as_nanos() as u64;
        let most = self.now.saturating_add(config::DEBT_MOST.as_nanos() as u64);
        self.change(client, |client| {
            if client.start < most {
                client.start = client.start.saturating_add(cost);
            }
        });
    }

    fn busiest(&self, most: usize, others: &[IpAddr]) -> Option<Vec<Waiting>> {
        let longest = self.lengths.iter().rev().take(most).map(|&(_, address)| address);
        let wanted: BTreeSet<IpAddr> = longest.chain(others.iter().copied()).collect();
        let known = wanted.into_iter().filter_map(|address| {
            let client = self.clients.get(&address)?;
            let (waiting, in_service) = (client.entries.len(), client.in_service);
            Some(Waiting { client: address, waiting, in_service })
        });
        Some(known.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn client(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn entry(number: u64, of: u32) -> Entry<()> {
        let (client, since) = (client(of), Instant::now());
        Entry { item: (), number, client, since, size: 0, stays: false }
    }

    /// The turns of two clients in 300 services of 1 ms, if both always have something waiting and
    /// one of them is refused `refusals` times for each service that it gets.
    fn turns(refusals: u32) -> [u32; 2] {
        let mut fair = Fair::default();
        let mut turns = [0; 2];
        for number in 0..20 {
            fair.admit(entry(number, number as u32 % 2));
        }
        for number in 20..320 {
            let (served, charge) = fair.next().expect("somebody waits");
            let of = usize::from(served.client == client(1));
            turns[of] += 1;
            if of == 0 {
                (0..refusals).for_each(|_| fair.refused(client(0)));
            }
            fair.ended(charge.expect("clients are charged"), Duration::from_millis(1));
            fair.admit(entry(number, of as u32));
        }
        turns
    }

    #[test]
    fn refusals_count_as_service() {
        let near = |turns: [u32; 2], of: [u32; 2]| {
            let is_near = turns[0].abs_diff(of[0]) <= 2 && turns[1].abs_diff(of[1]) <= 2;
            assert!(is_near, "{turns:?} for {of:?}");
        };
        near(turns(0), [150, 150]);
        // 1 ms of service and 50 refusals of 20 us each cost as much as 2 ms of service.
        let of_a_service =
            (Duration::from_millis(1).as_nanos() / config::REFUSAL_COST.as_nanos()) as u32;
        near(turns(of_a_service), [100, 200]);
        near(turns(9 * of_a_service), [27, 273]);
    }

    #[test]
    fn the_debt_of_refusals_is_bounded_and_takes_no_memory() {
        let mut fair = Fair::default();
        for number in 0..1000 {
            fair.refused(client(number));
        }
        assert_eq!(fair.clients.len(), 0, "who has nothing here is not known");
        (0..2).for_each(|number| fair.admit(entry(number, 1)));
        let (_, charge) = fair.next().expect("two wait");
        fair.ended(charge.expect("clients are charged"), config::DEBT_MOST);
        (0..1000).for_each(|_| fair.refused(client(1)));
        assert_eq!(Duration::from_nanos(fair.clients[&client(1)].start), config::DEBT_MOST);
        assert_eq!(
            fair.next().map(|(entry, _)| entry.client),
            Some(client(1)),
            "nobody else waits"
        );
    }
}
