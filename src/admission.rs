//! Who is let in: how many connections, how many from one address, and until when.

use crate::config::{self, Config};
use crate::lock::lock;
use crate::memory::{Claim, Memory, MemoryUse};
use crate::parking::Waker;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The stages of a server's life. Each comes once, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// It serves.
    Serving,
    /// It was told to stop: it serves, and says that it is not ready.
    Leaving,
    /// It takes no more connections, and each response ends its connection.
    Draining,
    /// The drain deadline has passed: what is queued is dropped.
    Cut,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Serving, Self::Leaving, Self::Draining, Self::Cut];
}

/// The count of open connections and its bounds.
#[derive(Debug)]
pub struct Admission {
    most: usize,
    open: AtomicUsize,
    per_client: Option<PerClient>,
    /// What each connection holds is part of it.
    memory: Memory,
    stage: AtomicU8,
    waker: Waker,
}

/// Connections counted by client; touched once when one is opened and once when it is closed.
#[derive(Debug)]
struct PerClient {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A client's connections beside what one address may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// No more than it may.
    Within,
    /// More; the request on this one is refused when it has come.
    Exceeded,
    /// More than twice as many: refusals themselves would take too many places.
    FarExceeded,
}

/// One connection's place; dropping it makes room for another.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    /// The client it is counted under.
    client: Option<IpAddr>,
    /// None where another took the last of the memory in between.
    _memory: Option<Claim>,
}

/// What stands for a client: its IPv4 address, or the /64 of its IPv6 address. A /64 is one link's
/// (RFC 4291, section 2.5.4), and whoever is on it chooses among its addresses (RFC 8981).
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
    /// Room for as many connections as `config` allows; `waker` wakes the acceptor when it can go
    /// on.
    pub fn new(config: &Config, waker: Waker) -> Arc<Self> {
        let per_client =
            config.per_client.map(|most| PerClient { most, open: Mutex::new(HashMap::new()) });
        Arc::new(Self {
            most: config.max_connections,
            open: AtomicUsize::new(0),
            per_client,
            memory: config.memory.clone(),
            stage: AtomicU8::new(Stage::Serving as u8),
            waker,
        })
    }

    /// Takes a place. Only the acceptor calls this, after [`Admission::has_room`] has told it that
    /// there is one, so the bound is exact.
    pub fn enter(self: &Arc<Self>) -> Place {
        debug_assert!(self.open() < self.most);
        self.open.fetch_add(1, SeqCst);
        let _memory = self.memory.claim(MemoryUse::Connections, config::CONNECTION_BYTES);
        Place { admission: Arc::clone(self), client: None, _memory }
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// True where a place is free, and there is memory for who takes it beside what is kept for
    /// requests.
    pub fn has_room(&self) -> bool {
        let spare = self.memory.most() / config::MEMORY_SPARE;
        self.open() < self.most && self.memory.has_room(config::CONNECTION_BYTES + spare)
    }

    /// Goes on to a later stage; wakes the acceptor, which acts on it.
    pub fn enter_stage(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, SeqCst);
        self.waker.wake();
    }

    /// The stage it is in.
    pub fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.stage.load(SeqCst)).min(Stage::ALL.len() - 1)]
    }
}

impl Place {
    /// Counts the connection under its client, and tells whether that has too many. One that is
    /// refused is counted too, as long as it is open.
    pub fn count_client(&mut self, address: IpAddr) -> Share {
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
}

impl Drop for Place {
    /// The acceptor waits for a place when there was none, and for the last one when it drains.
    fn drop(&mut self) {
        let Self { admission, client, .. } = self;
        if let (Some(client), Some(per_client)) = (client, &admission.per_client) {
            let mut open = lock(&per_client.open);
            if let Some(count) = open.get_mut(client) {
                *count -= 1;
                if *count == 0 {
                    open.remove(client);
                }
            }
        }
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
    fn an_ipv6_client_is_its_link_and_a_mapped_address_is_ipv4() {
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
    fn the_addresses_of_one_link_have_one_share() {
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
        assert_eq!(again.count_client(ip("2001:db8::9")), Share::Within, "their places are free");
    }
}
