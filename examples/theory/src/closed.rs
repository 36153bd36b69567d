//! Closed systems: clients wait for their answer, think, and send the next request.
//!
//! N clients share c servers. A client thinks for the time Z between an answer and its next
//! request. Times are in units of the mean service time, and rates are requests per service time.
//! Such clients slow down with the server, so they cannot overload it: there are at most N requests
//! at any time.

use crate::basics::{TheoryError, at_least_one, finite};

/// A number of clients with this think time at a pool with a number of servers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closed {
    servers: u32,
    clients: u32,
    think: f64,
}

/// The performance of the system: the throughput, and the time of each request including its wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Response {
    /// Completed requests per mean service time, X.
    pub throughput: f64,
    /// The mean time from request to answer, R, in service times.
    pub time: f64,
}

impl Closed {
    /// A system with these servers and clients, which think for `think` service times.
    pub fn new(servers: u32, clients: u32, think: f64) -> Result<Self, TheoryError> {
        let servers = at_least_one(servers)?;
        if clients == 0 {
            return Err(TheoryError::OutOfRange { what: "the number of clients", value: 0.0 });
        }
        Ok(Self { servers, clients, think: finite("the think time", think)? })
    }

    /// The asymptotes, which no system exceeds for any distributions: X <= min(N / (1 + Z), c) and
    /// R >= max(1, N / c - Z) (Denning and Buzen 1978; for several servers, Lazowska et al. 1984,
    /// chapter 5).
    pub fn bounds(&self) -> Response {
        let (servers, clients) = (f64::from(self.servers), f64::from(self.clients));
        Response {
            throughput: (clients / (1.0 + self.think)).min(servers),
            time: (clients / servers - self.think).max(1.0),
        }
    }

    /// The number of clients at which the asymptotes cross, N* = c (1 + Z). With fewer clients,
    /// servers are idle at times; with more, clients wait.
    pub fn knee(&self) -> f64 {
        f64::from(self.servers) * (1.0 + self.think)
    }

    /// The exact means for exponential service: the results of mean value analysis (Reiser and
    /// Lavenberg 1980).
    ///
    /// They are computed from the product form (Gordon and Newell 1967). The recursion of MVA for
    /// several servers subtracts nearly equal numbers, and loses its precision when the servers are
    /// busy.
    pub fn mva(&self) -> Response {
        // The logarithm of the weight of each number k of requests at the pool: clients finish
        // thinking at the rate (N - k) / Z, and leave the pool at the rate min(k, c).
        let clients = self.clients;
        let busy = |present: u32| f64::from(present.min(self.servers));
        if self.think == 0.0 {
            let throughput = busy(clients);
            return Response { throughput, time: f64::from(clients) / throughput };
        }
        let mut weights = Vec::with_capacity(clients as usize + 1);
        let mut weight = 0.0;
        weights.push(weight);
        for present in 1..=clients {
            weight += (f64::from(clients - present + 1) / (self.think * busy(present))).ln();
            weights.push(weight);
        }
        let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut throughput, mut number) = (0.0, 0.0, 0.0);
        for (present, weight) in (0..=clients).zip(weights) {
            let share = (weight - largest).exp();
            sum += share;
            throughput += share * busy(present);
            number += share * f64::from(present);
        }
        // Little's law at the pool.
        Response { throughput: throughput / sum, time: number / throughput }
    }
}
