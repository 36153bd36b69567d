//! An ideal pool that serves requests of several sizes in one of four orders.

use crate::sample::Sample;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// When it arrives.
    pub at: Duration,
    /// The number of its size.
    pub size: usize,
    /// How long a worker needs for it.
    pub service: Duration,
}

/// The order of service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// First come, first served.
    Fifo,
    /// Last come, first served.
    Lifo,
    /// The sizes take turns by the service time that they have had (start-time fair queueing).
    Fair,
    /// The shortest service first; one that waits is overtaken by those that arrive within this
    /// many of its services.
    Smallest(f64),
}

/// The waits of requests, by their sizes.
#[derive(Debug, Clone)]
pub struct Waits {
    /// Wait and service of each request.
    served: Vec<(usize, Duration, Duration)>,
}

impl Waits {
    /// Of requests in the order of their arrival: the size, the wait and the service of each.
    pub fn new(served: Vec<(usize, Duration, Duration)>) -> Self {
        Self { served }
    }

    /// Those after a share of all, in which the pool has filled.
    pub fn settled(self, share: f64) -> Self {
        let from = (self.served.len() as f64 * share) as usize;
        Self { served: self.served[from.min(self.served.len())..].to_vec() }
    }

    /// The mean wait in seconds.
    pub fn mean_wait(&self) -> f64 {
        mean(self.served.iter().map(|(_, wait, _)| wait.as_secs_f64()))
    }

    /// The 99th percentile of the time to an answer, in seconds.
    pub fn p99(&self) -> f64 {
        let times: Sample = self.served.iter().map(|(_, wait, service)| *wait + *service).collect();
        times.percentile(0.99).as_secs_f64()
    }

    /// The time to an answer over the service, on average over all requests.
    pub fn slowdown(&self) -> f64 {
        mean(self.served.iter().map(slowdown))
    }

    /// The same of one size; none without such a request.
    pub fn slowdown_of(&self, size: usize) -> Option<f64> {
        let of = self.of(size).map(slowdown);
        (of.clone().count() > 0).then(|| mean(of))
    }

    /// The mean wait of one size in seconds; none without such a request.
    pub fn mean_wait_of(&self, size: usize) -> Option<f64> {
        let of = self.of(size).map(|(_, wait, _)| wait.as_secs_f64());
        (of.clone().count() > 0).then(|| mean(of))
    }

    /// How far the waits of the same requests are from these, on average, over the mean of these.
    pub fn apart(&self, from: &Self) -> f64 {
        let pairs = self.served.iter().zip(&from.served);
        mean(pairs.map(|(one, other)| one.1.abs_diff(other.1).as_secs_f64())) / from.mean_wait()
    }

    /// The longest wait of all, in seconds.
    pub fn longest(&self) -> f64 {
        let longest = self.served.iter().map(|(_, wait, _)| *wait).max();
        longest.unwrap_or_default().as_secs_f64()
    }

    fn of(&self, size: usize) -> impl Iterator<Item = &(usize, Duration, Duration)> + Clone {
        self.served.iter().filter(move |(each, ..)| *each == size)
    }
}

fn slowdown((_, wait, service): &(usize, Duration, Duration)) -> f64 {
    1.0 + wait.div_duration_f64(*service)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f64
}

/// A pool of workers. With `ready`, the next request is chosen when the one before it starts, as
/// this server does: a worker that ends a service finds it there. It goes back only if it is alone
/// when another one arrives.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// The number of workers.
    pub workers: usize,
    /// The order of service.
    pub order: Order,
    /// Whether the next request is chosen before a worker is free.
    pub ready: bool,
}

impl Pool {
    /// Serves requests of this many sizes, which are in the order of their arrival, and returns
    /// their waits in the same order.
    pub fn serve(&self, sizes: usize, requests: &[Request]) -> Waits {
        let mut line = Line::new(self.order, sizes);
        let mut next: Option<usize> = None;
        let mut idle = self.workers;
        let mut ends: BinaryHeap<Reverse<Duration>> = BinaryHeap::new();
        let mut waits = vec![Duration::ZERO; requests.len()];
        let mut arrived = 0;
        loop {
            let arrival = requests.get(arrived).map(|request| request.at);
            let end = ends.peek().map(|Reverse(end)| *end);
            let now = match (arrival, end) {
                (Some(arrival), Some(end)) if arrival < end => arrival,
                (Some(arrival), None) => arrival,
                (_, Some(end)) => end,
                (None, None) => break,
            };
            if arrival == Some(now) && end != Some(now) {
                if let Some(alone) = next.take_if(|_| line.is_empty()) {
                    line.put_back(alone, &requests[alone]);
                }
                line.push(arrived, &requests[arrived]);
                arrived += 1;
            } else {
                ends.pop();
                idle += 1;
            }
            while idle > 0 || (self.ready && next.is_none()) {
                let Some(chosen) = next.take().or_else(|| line.pop(requests)) else { break };
                if idle == 0 {
                    next = Some(chosen);
                    break;
                }
                idle -= 1;
                waits[chosen] = now - requests[chosen].at;
                ends.push(Reverse(now + requests[chosen].service));
            }
        }
        let each = requests.iter().zip(waits);
        Waits::new(each.map(|(request, wait)| (request.size, wait, request.service)).collect())
    }
}

/// The requests that wait, by their numbers.
enum Line {
    Fifo(VecDeque<usize>),
    Lifo(Vec<usize>),
    Smallest(f64, BTreeSet<(Duration, usize)>),
    Fair { waiting: Vec<VecDeque<usize>>, starts: Vec<Duration>, now: Duration },
}

impl Line {
    fn new(order: Order, sizes: usize) -> Self {
        match order {
            Order::Fifo => Self::Fifo(VecDeque::new()),
            Order::Lifo => Self::Lifo(Vec::new()),
            Order::Smallest(ageing) => Self::Smallest(ageing, BTreeSet::new()),
            Order::Fair => Self::Fair {
                waiting: vec![VecDeque::new(); sizes],
                starts: vec![Duration::ZERO; sizes],
                now: Duration::ZERO,
            },
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Fifo(line) => line.is_empty(),
            Self::Lifo(line) => line.is_empty(),
            Self::Smallest(_, line) => line.is_empty(),
            Self::Fair { waiting, .. } => waiting.iter().all(VecDeque::is_empty),
        }
    }

    /// Undoes the last choice, in a line that is empty since.
    fn put_back(&mut self, number: usize, request: &Request) {
        match self {
            Self::Fair { waiting, starts, .. } => {
                starts[request.size] = starts[request.size].saturating_sub(request.service);
                waiting[request.size].push_front(number);
            }
            _ => self.push(number, request),
        }
    }

    fn push(&mut self, number: usize, request: &Request) {
        match self {
            Self::Fifo(line) => line.push_back(number),
            Self::Lifo(line) => line.push(number),
            Self::Smallest(ageing, line) => {
                let rank = match ageing.is_finite() {
                    true => request.at + request.service.mul_f64(*ageing),
                    false => request.service,
                };
                line.insert((rank, number));
            }
            Self::Fair { waiting, starts, now } => {
                let start = &mut starts[request.size];
                if waiting[request.size].is_empty() {
                    *start = (*start).max(*now);
                }
                waiting[request.size].push_back(number);
            }
        }
    }

    fn pop(&mut self, requests: &[Request]) -> Option<usize> {
        match self {
            Self::Fifo(line) => line.pop_front(),
            Self::Lifo(line) => line.pop(),
            Self::Smallest(_, line) => line.pop_first().map(|(_, number)| number),
            Self::Fair { waiting, starts, now } => {
                let first = |size: &usize| Some((starts[*size], *waiting[*size].front()?));
                let size =
                    (0..starts.len()).filter(|size| first(size).is_some()).min_by_key(first)?;
                let number = waiting[size].pop_front()?;
                *now = starts[size];
                starts[size] += requests[number].service;
                Some(number)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(order: Order, ready: bool) -> Vec<u64> {
        let request = |(at, size): (u64, usize)| Request {
            at: Duration::from_millis(at),
            size,
            service: Duration::from_millis(1 << size),
        };
        // A long one is served while others come: 4 ms, then 1, 2 and 1 ms.
        let requests = [(0, 2), (1, 1), (2, 2), (3, 0)].map(request);
        let waits = Pool { workers: 1, order, ready }.serve(3, &requests);
        waits.served.iter().map(|(_, wait, _)| wait.as_millis() as u64).collect()
    }

    #[test]
    fn each_order_serves_in_its_own_order() {
        assert_eq!(waits(Order::Fifo, false), [0, 3, 4, 7]);
        assert_eq!(waits(Order::Lifo, false), [0, 8, 3, 1]);
        assert_eq!(waits(Order::Smallest(f64::INFINITY), false), [0, 4, 5, 1]);
        // Size 2 has had its turn: the others are first, by their arrivals.
        assert_eq!(waits(Order::Fair, false), [0, 3, 5, 3]);
        // With ageing by half a service, the rank is 2, 4 and 3.5: the order of arrival but one.
        assert_eq!(waits(Order::Smallest(0.5), false), [0, 3, 5, 3]);
    }

    /// The second and the third wait together; what is chosen when the first one ends stays.
    #[test]
    fn what_is_ready_is_not_overtaken() {
        assert_eq!(waits(Order::Fifo, true), [0, 3, 4, 7]);
        assert_eq!(waits(Order::Lifo, true), [0, 8, 2, 5]);
        assert_eq!(waits(Order::Smallest(f64::INFINITY), true), [0, 3, 5, 3]);
    }
}
