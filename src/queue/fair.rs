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

use super::discipline::{Charge, ClientLoad, Discipline, Entry, Victim, position, take_expired};
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
        let fresh = || Client { entries: VecDeque::new(), in_service: 0, start: now };
        let client = self.clients.entry(address).or_insert_with(fresh);
        let before = (client.entries.len(), client.in_service);
        if let Some(first) = client.entries.front() {
            self.ready.remove(&(client.start, first.number, address));
            self.lengths.remove(&(before.0, address));
        }
        let done = change(client);
        self.waiting = self.waiting + client.entries.len() - before.0;
        self.in_service = self.in_service + client.in_service - before.1;
        if let Some(first) = client.entries.front() {
            self.ready.insert((client.start, first.number, address));
            self.lengths.insert((client.entries.len(), address));
        } else if client.in_service == 0 && client.start <= self.now {
            self.clients.remove(&address);
        }
        if self.waiting == 0 && self.in_service == 0 {
            // Nobody is behind anybody.
            self.clients.clear();
            self.now = 0;
        }
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
            if client.entries.is_empty() {
                client.start = client.start.max(now);
            }
            client.entries.push_back(entry);
        });
        self.forget_debts();
    }

    fn next(&mut self) -> Option<(Entry<T>, Option<Charge>)> {
        let &(start, _, address) = self.ready.first()?;
        self.now = self.now.max(start);
        let guess = self.guess;
        let entry = self.change(address, |client| {
            client.in_service += 1;
            client.start = client.start.saturating_add(guess);
            client.entries.pop_front()
        })?;
        Some((entry, Some(Charge { client: address, guess: Duration::from_nanos(guess) })))
    }

    fn ended(&mut self, charge: Charge, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.guess = match self.guess {
            0 => took,
            guess => guess - guess / SMOOTHING + took / SMOOTHING,
        };
        // A longer debt than that would outlive all who wait.
        let took = took.min(config::DEBT_MOST.as_nanos() as u64);
        let guess = charge.guess.as_nanos() as u64;
        self.change(charge.client, |client| {
            client.in_service = client.in_service.saturating_sub(1);
            client.start = client.start.saturating_sub(guess).saturating_add(took);
        });
    }

    fn replace(&mut self, newcomer: Entry<T>, victim: Victim) -> Option<Entry<T>> {
        let address = newcomer.client;
        self.admit(newcomer);
        // Of several lines that are equally long, the newcomer's.
        let own = self.clients.get(&address).map_or(0, |client| client.entries.len());
        let longest = *self.lengths.last()?;
        let longest = if longest.0 == own { address } else { longest.1 };
        // All entries of the longest line may be ones that stay.
        self.take_victim(longest, victim).or_else(|| self.take_victim(address, Victim::Newest))
    }

    fn expire(&mut self, is_over: &dyn Fn(&Entry<T>) -> bool) -> Vec<Entry<T>> {
        let mut expired = Vec::new();
        let addresses: Vec<IpAddr> = self.lengths.iter().map(|of| of.1).collect();
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

    fn busiest(&self, most: usize) -> Vec<ClientLoad> {
        let loads = self.lengths.iter().rev().take(most).map(|&(waiting, client)| {
            let in_service = self.clients.get(&client).map_or(0, |client| client.in_service);
            ClientLoad { client, waiting, in_service }
        });
        loads.collect()
    }
}
