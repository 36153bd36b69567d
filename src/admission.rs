//! Admission of connections: limits in total, per client and in memory, and the stages of a
//! shutdown.

use crate::config::{self, Config};
use crate::lock::lock;
use crate::memory::{Claim, Memory, MemoryUse};
use crate::parking::Waker;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The stages of a server's life, in order. Each is entered at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// The server serves requests.
    Serving,
    /// A stop was requested. The server still serves, and reports that it is not ready.
    Leaving,
    /// The server accepts no connections, and closes each connection after its response.
    Draining,
    /// The drain timeout has passed. Queued requests are dropped.
    Cut,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Serving, Self::Leaving, Self::Draining, Self::Cut];
}

/// The number of open connections and its limits.
#[derive(Debug)]
pub struct Admission {
    most: usize,
    open: AtomicUsize,
    per_client: Option<PerClient>,
    /// Each connection claims a part of this budget.
    memory: Memory,
    stage: AtomicU8,
    /// Another process continues with the listeners.
    is_handed_over: AtomicBool,
    waker: Waker,
}

/// Connections counted by client. The lock is taken when a connection is opened and when it is
/// closed.
#[derive(Debug)]
struct PerClient {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// The number of a client's connections, compared with the limit per client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// At most the limit.
    Within,
    /// Over the limit: refuse the request on this connection when it has come.
    Exceeded,
    /// Over twice the limit: close the connection without a response, because refusals would take
    /// too many places.
    FarExceeded,
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    /// The client that the connection is counted for.
    client: Option<IpAddr>,
    /// The memory of the connection. `None` if another claim took the last of the budget after
    /// `has_room`.
    _memory: Option<Claim>,
}

/// The address that identifies a client: its IPv4 address, or the /64 prefix of its IPv6 address. A
/// /64 is one link (RFC 4291, section 2.5.4), and a host on it can choose among its addresses (RFC
/// 8981).
pub fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
    }
}

impl Admission {
    /// Admits as many connections as `config` allows. `waker` wakes the acceptor when it can accept
    /// again.
    pub fn new(config: &Config, waker: Waker) -> Arc<Self> {
        let per_client =
            config.per_client.map(|most| PerClient { most, open: Mutex::new(HashMap::new()) });
        Arc::new(Self {
            most: config.max_connections,
            open: AtomicUsize::new(0),
            per_client,
            memory: config.memory.clone(),
            stage: AtomicU8::new(Stage::Serving as u8),
            is_handed_over: AtomicBool::new(false),
            waker,
        })
    }

    /// Takes a place. Only the acceptor calls this, and only after [`Admission::has_room`] returned
    /// true, so the limit is exact.
    pub fn enter(self: &Arc<Self>) -> Place {
        debug_assert!(self.open() < self.most);
        self.open.fetch_add(1, SeqCst);
        let _memory = self.memory.claim(MemoryUse::Connections, config::CONNECTION_BYTES);
        Place { admission: Arc::clone(self), client: None, _memory }
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// True if a place is free and the memory budget has room for a connection, beyond the share
    /// that is kept for requests.
    pub fn has_room(&self) -> bool {
        let spare = self.memory.most() / config::MEMORY_SPARE;
        self.open() < self.most && self.memory.has_room(config::CONNECTION_BYTES + spare)
    }

    /// Enters a later stage, and wakes the acceptor to act on it.
    pub fn enter_stage(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, SeqCst);
        self.waker.wake();
    }

    /// Starts the shutdown of a server whose listeners another process continues with.
    pub fn hand_over(&self) {
        self.is_handed_over.store(true, SeqCst);
        self.enter_stage(Stage::Leaving);
    }

    /// True if another process continues with the listeners.
    pub fn is_handed_over(&self) -> bool {
        self.is_handed_over.load(SeqCst)
    }

    /// The current stage.
    pub fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.stage.load(SeqCst)).min(Stage::ALL.len() - 1)]
    }
}

impl Place {
    /// Counts the connection for this client, and for no other any more, and compares with the
    /// limit. A refused connection counts too while it is open.
    pub fn count_client(&mut self, address: IpAddr) -> Share {
        self.count_nobody();
        let Some(per_client) = &self.admission.per_client else { return Share::Within };
        let client = client_key(address);
        let mut open = lock(&per_client.open);
        let count = open.entry(client).or_insert(0);
        *count += 1;
        self.client = Some(client);
        match *count {
            count if count <= per_client.most => Share::Within,
            count if count <= per_client.most.saturating_mul(2) => Share::Exceeded,
            _ => Share::FarExceeded,
        }
    }

    /// Counts the connection for no client any more.
    pub fn count_nobody(&mut self) {
        let Some(client) = self.client.take() else { return };
        let Some(per_client) = &self.admission.per_client else { return };
        let mut open = lock(&per_client.open);
        if let Some(count) = open.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&client);
            }
        }
    }
}

impl Drop for Place {
    /// Wakes the acceptor if it waits: for a free place, or for the last connection while draining.
    fn drop(&mut self) {
        self.count_nobody();
        let admission = &self.admission;
        let before = admission.open.fetch_sub(1, SeqCst);
        if before == admission.most || (before == 1 && admission.stage() >= Stage::Draining) {
            admission.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parking::{Parked, Parking, Socket};

    struct Nobody;

    impl Parked for Nobody {
        fn socket(&mut self) -> &mut Socket {
            unreachable!("nobody is parked")
        }
    }

    fn admission(per_client: usize) -> Arc<Admission> {
        let parking: Parking<Nobody> = Parking::new(1).expect("a poller");
        let config = Config::default().per_client(Some(per_client));
        Admission::new(&config, parking.waker())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_ipv6_client_is_its_prefix_and_a_mapped_address_counts_as_ipv4() {
        for (address, client) in [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client_key(ip(address)), ip(client), "{address}");
        }
        assert_ne!(client_key(ip("2001:db8:1:2::1")), client_key(ip("2001:db8:1:3::1")));
    }

    #[test]
    fn all_addresses_of_one_ipv6_prefix_count_as_one_client() {
        let admission = admission(2);
        let mut places: Vec<_> = (0..30).map(|_| admission.enter()).collect();
        let shares = places.iter_mut().enumerate().map(|(number, place)| {
            place.count_client(ip(&format!("2001:db8::{}:{number}", number % 7)))
        });
        assert_eq!(shares.filter(|share| *share == Share::Within).count(), 2);
        let mut other = admission.enter();
        assert_eq!(other.count_client(ip("2001:db8:0:1::1")), Share::Within);
        drop(places);
        let mut again = admission.enter();
        assert_eq!(
            again.count_client(ip("2001:db8::9")),
            Share::Within,
            "the places are free again"
        );
    }
}
