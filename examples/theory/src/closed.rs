//! Clients that wait for their answer, think, and ask again: the closed system and its bounds.
//!
//! N clients share c servers; a client thinks for Z between an answer and its next request. Times
//! are in units of the mean service time, rates in requests for each of those. Such clients slow
//! down with the server, so they cannot overload it: at most N requests are ever there.

use crate::basics::{TheoryError, at_least_one, finite};

/// So many clients with this think time at a pool of so many servers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closed {
    servers: u32,
    clients: u32,
    think: f64,
}

/// What the clients meet: how many requests are completed, and how long each takes, wait included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Response {
    /// Requests completed for each mean service time, X.
    pub throughput: f64,
    /// The mean time from request to answer, R, in service times.
    pub time: f64,
}

impl Closed {
    /// The system of so many servers and clients, who think for `think` service times.
    pub fn new(servers: u32, clients: u32, think: f64) -> Result<Self, TheoryError> {
        let servers = at_least_one(servers)?;
        if clients == 0 {
            return Err(TheoryError::OutOfRange { what: "the number of clients", value: 0.0 });
        }
        Ok(Self { servers, clients, think: finite("the think time", think)? })
    }

    /// The asymptotes, which no system can pass whatever its distributions:
    /// X <= min(N / (1 + Z), c) and R >= max(1, N / c - Z) (Denning and Buzen 1978; for several
    /// servers, Lazowska et al. 1984, chapter 5).
    pub fn bounds(&self) -> Response {
        let (servers, clients) = (f64::from(self.servers), f64::from(self.clients));
        Response {
            throughput: (clients / (1.0 + self.think)).min(servers),
            time: (clients / servers - self.think).max(1.0),
        }
    }

    /// The number of clients at which the asymptotes cross, N* = c (1 + Z): with fewer the servers
    /// wait for clients, with more the clients wait for servers.
    pub fn knee(&self) -> f64 {
        f64::from(self.servers) * (1.0 + self.think)
    }

    /// The exact means for exponential service: what mean value analysis gives (Reiser and
    /// Lavenberg 1980).
    ///
    /// They are summed from the product form (Gordon and Newell 1967): the recursion of MVA for
    /// several servers takes differences of near numbers, and loses its digits when the servers are
    /// busy.
    pub fn mva(&self) -> Response {
        // The logarithm of the weight of each number of requests at the pool: clients leave their
        // thinking at (N - k) / Z, and the pool at min(k, c).
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
