//! The smallest response first, with ageing.

use super::discipline::{Charge, Discipline, Entry, Victim};
use crate::config;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Instant;

/// Smallest first. An entry's rank is the time of its arrival plus a time for its size, so one that
/// waits is overtaken by those that arrive within the time for its size, and by no others.
#[derive(Debug)]
pub struct Smallest<T> {
    /// By rank, then by number of arrival.
    entries: BTreeMap<(u64, u64), Entry<T>>,
    /// The rank of each, by its number of arrival.
    ranks: BTreeMap<u64, u64>,
    /// When the first arrived.
    origin: Option<Instant>,
}

impl<T> Default for Smallest<T> {
    fn default() -> Self {
        let (entries, ranks) = (BTreeMap::new(), BTreeMap::new());
        Self { entries, ranks, origin: None }
    }
}

impl<T> Smallest<T> {
    fn remove(&mut self, number: u64) -> Option<Entry<T>> {
        let rank = self.ranks.remove(&number)?;
        self.entries.remove(&(rank, number))
    }

    fn stays(&self, number: u64) -> bool {
        let rank = self.ranks.get(&number);
        let entry = rank.and_then(|rank| self.entries.get(&(*rank, number)));
        entry.is_some_and(|entry| entry.stays)
    }

    /// The number of the one that gives way.
    fn victim(&self, victim: Victim) -> Option<u64> {
        let numbers = || self.ranks.keys().copied();
        let may_go = |number: &u64| !self.stays(*number);
        match victim {
            Victim::Newest => numbers().rev().find(may_go),
            Victim::Oldest => numbers().find(may_go),
            Victim::Random(fraction) => {
                let from = (fraction * self.ranks.len() as f64) as usize;
                numbers().skip(from).find(may_go).or_else(|| numbers().take(from).find(may_go))
            }
        }
    }
}

impl<T: Debug + Send> Discipline<T> for Smallest<T> {
    fn admit(&mut self, entry: Entry<T>) {
        let origin = *self.origin.get_or_insert(entry.since);
        let arrived = entry.since.saturating_duration_since(origin).as_nanos();
        let overtaken = u128::from(entry.size) * 1_000_000_000 / u128::from(config::AGEING_RATE);
        let rank = u64::try_from(arrived + overtaken).unwrap_or(u64::MAX);
        self.ranks.insert(entry.number, rank);
        self.entries.insert((rank, entry.number), entry);
    }

    fn next(&mut self) -> Option<(Entry<T>, Option<Charge>)> {
        let ((_, number), entry) = self.entries.pop_first()?;
        self.ranks.remove(&number);
        Some((entry, None))
    }

    fn replace(&mut self, newcomer: Entry<T>, victim: Victim) -> Option<Entry<T>> {
        self.admit(newcomer);
        self.victim(victim).and_then(|number| self.remove(number))
    }

    fn expire(&mut self, is_over: &dyn Fn(&Entry<T>) -> bool) -> Vec<Entry<T>> {
        let is_out = |entry: &Entry<T>| !entry.stays && is_over(entry);
        let entries = self.entries.iter();
        let numbers = entries.filter(|(_, entry)| is_out(entry)).map(|((_, number), _)| *number);
        let numbers: Vec<u64> = numbers.collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn each_has_the_same_chance_to_give_way_however_long_it_has_waited() {
        let numbers = [1, 1000, 1001, 5000];
        let gone = (0..4).map(|quarter| {
            let mut smallest = Smallest::default();
            let (client, since) = (Ipv4Addr::LOCALHOST.into(), Instant::now());
            for number in numbers {
                smallest.admit(Entry { item: (), number, client, since, size: 0, stays: false });
            }
            smallest.victim(Victim::Random(f64::from(quarter) / 4.0 + 0.1))
        });
        assert_eq!(gone.collect::<Vec<_>>(), numbers.map(Some));
    }
}
