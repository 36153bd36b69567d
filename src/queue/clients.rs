//! What clients take of the server, for whoever looks at it.

use super::discipline::Waiting;
use super::recent::Recent;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What one client takes of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ClientLoad {
    /// Its IPv4 address, or the /64 prefix of its IPv6 address.
    pub client: IpAddr,
    /// How many of its requests wait, once the queue has become slow: those that workers take at
    /// once are not told apart. None if the schedule does not tell clients apart.
    pub waiting: Option<usize>,
    /// How many of its requests that have waited are served now or next. None if the schedule does
    /// not tell clients apart.
    pub in_service: Option<usize>,
    /// How many of its requests the server refused with 503 lately, at least: in a time that ends
    /// now and is half a minute to a minute long.
    pub refused: u64,
    /// Its share of the service time, in the same time, of all requests that have waited. None if
    /// there were none.
    pub service_share: Option<f64>,
}

impl ClientLoad {
    /// The client as text: `192.0.2.1`, or `2001:db8::/64`; `unix:` for all peers of UNIX sockets,
    /// which have no addresses.
    pub fn name(&self) -> String {
        match self.client {
            IpAddr::V4(address) if address.is_unspecified() => "unix:".to_owned(),
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(prefix) => format!("{prefix}/64"),
        }
    }

    /// The requests that it has here, or would like to have.
    fn demand(&self) -> u64 {
        let here = self.waiting.unwrap_or_default() + self.in_service.unwrap_or_default();
        self.refused.saturating_add(here as u64)
    }
}

/// What clients had lately.
#[derive(Debug, Default)]
pub struct Clients {
    /// Refused requests.
    refused: Recent,
    /// Nanoseconds of service, of requests that have waited.
    service: Recent,
}

impl Clients {
    /// A request was refused.
    pub fn refused(&mut self, client: IpAddr, now: Instant) {
        self.refused.add(client, 1, now);
    }

    /// A request that has waited was served for this time.
    pub fn served(&mut self, client: IpAddr, took: Duration, now: Instant) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.service.add(client, nanos, now);
    }

    /// Those that were refused most and served longest, at most this many of each.
    pub fn notable(&mut self, most: usize, now: Instant) -> Vec<IpAddr> {
        self.refused.forget(now);
        self.service.forget(now);
        self.refused.busiest(most).chain(self.service.busiest(most)).collect()
    }

    /// The busiest of `notable` and of those that wait, at most this many, by the requests that
    /// they have here or were refused, then by service time.
    pub fn busiest(
        &self,
        most: usize,
        notable: Vec<IpAddr>,
        waiting: Option<Vec<Waiting>>,
    ) -> Vec<ClientLoad> {
        let of_room = waiting.iter().flatten().map(|of| of.client);
        let mut clients: Vec<IpAddr> = notable.into_iter().chain(of_room).collect();
        clients.sort_unstable();
        clients.dedup();
        let total = self.service.total();
        let load = |client: IpAddr| {
            let found = waiting.as_deref().map(|of| of.iter().find(|of| of.client == client));
            let share = self.service.of(client) as f64 / total as f64;
            ClientLoad {
                client,
                waiting: found.map(|of| of.map_or(0, |of| of.waiting)),
                in_service: found.map(|of| of.map_or(0, |of| of.in_service)),
                refused: self.refused.of(client),
                service_share: (total > 0).then_some(share),
            }
        };
        let mut loads: Vec<ClientLoad> = clients.into_iter().map(load).collect();
        let rank = |load: &ClientLoad| (load.demand(), load.service_share.unwrap_or_default());
        loads.sort_by(|one, other| {
            let (one, other) = (rank(one), rank(other));
            other.0.cmp(&one.0).then(other.1.total_cmp(&one.1))
        });
        loads.truncate(most);
        loads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_client_is_in_the_list_for_any_reason_and_once() {
        let client = |number: u32| IpAddr::V4(number.into());
        let (mut clients, now) = (Clients::default(), Instant::now());
        for _ in 0..9 {
            clients.refused(client(1), now);
        }
        clients.served(client(1), Duration::from_millis(30), now);
        clients.served(client(2), Duration::from_millis(90), now);
        let notable = clients.notable(10, now);
        let waiting = vec![
            Waiting { client: client(1), waiting: 4, in_service: 1 },
            Waiting { client: client(3), waiting: 20, in_service: 0 },
        ];
        let found = clients.busiest(10, notable.clone(), Some(waiting));
        let row = |number, waiting, in_service, refused, share| ClientLoad {
            client: client(number),
            waiting,
            in_service,
            refused,
            service_share: Some(share),
        };
        let expected = [
            row(3, Some(20), Some(0), 0, 0.0),
            row(1, Some(4), Some(1), 9, 0.25),
            row(2, Some(0), Some(0), 0, 0.75),
        ];
        assert_eq!(found, expected);
        // Where clients are all the same, it is not known who waits.
        let expected = [row(1, None, None, 9, 0.25), row(2, None, None, 0, 0.75)];
        assert_eq!(clients.busiest(10, notable.clone(), None), expected);
        assert_eq!(clients.busiest(1, notable, None), expected[..1]);
    }

    #[test]
    fn a_prefix_is_shown_as_one() {
        let prefix = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, 0);
        let name = |client| {
            let (waiting, in_service) = (None, None);
            ClientLoad { client, waiting, in_service, refused: 0, service_share: None }.name()
        };
        assert_eq!(name(prefix.into()), "2001:db8:1:2::/64");
        assert_eq!(name([192, 0, 2, 1].into()), "192.0.2.1");
    }
}
