//! Who is at the other end of a connection, and who asks: the peer, or the client that a trusted
//! proxy names.
//!
//! The client of a connection is its peer, or the address in its PROXY header. If that is a trusted
//! proxy, each request can have a client of its own, which a field names.

use super::Context;
use crate::admission::{Place, Share, client_key};
use crate::config::Config;
#[cfg(feature = "proxy")]
use crate::config::{self, ClientAddress};
#[cfg(feature = "proxy")]
use crate::proxy::forwarded;
use crate::proxy::request_id::{self, Identifiers};
use crate::proxy::values_from_last;
use std::net::{IpAddr, SocketAddr};

/// The ends of a connection, and the client of the request in progress.
#[derive(Debug)]
pub(super) struct Origin {
    peer: SocketAddr,
    /// The client of the connection.
    end: SocketAddr,
    /// The client of the request in progress; without one, that of the connection.
    client: SocketAddr,
    /// The number of the client's connections or requests, compared with the limit.
    share: Share,
    /// What a trusted proxy says in a head counts.
    is_trusted: bool,
    /// A head is looked at for more than its message.
    looks_at_heads: bool,
    /// The identifier of the request in progress; empty if it has none yet.
    request_id: String,
    /// The last value of the field that was read, and the client that it alone names.
    #[cfg(feature = "proxy")]
    known: Option<Box<(Vec<u8>, SocketAddr)>>,
    place: Place,
}

impl Origin {
    /// The origin of a new connection. It counts for its peer, unless that is a trusted proxy, or a
    /// PROXY header will follow.
    pub(super) fn new(peer: SocketAddr, place: Place, config: &Config) -> Self {
        let mut origin = Self {
            peer,
            end: peer,
            client: peer,
            share: Share::Within,
            is_trusted: false,
            looks_at_heads: config.request_id,
            request_id: String::new(),
            #[cfg(feature = "proxy")]
            known: None,
            place,
        };
        if !config.takes_proxy_headers() {
            origin.announce(peer, config);
        } else {
            origin.is_trusted = config.trusts(peer.ip());
        }
        origin
    }

    /// Takes the address for that of the connection's client.
    pub(super) fn announce(&mut self, end: SocketAddr, config: &Config) {
        (self.end, self.client) = (end, end);
        self.trust(config.trusts(end.ip()), config);
        if !self.is_trusted {
            self.share = self.place.count_client(end.ip());
        }
    }

    /// Says whether the other end is a trusted proxy, whose words in heads count.
    pub(super) fn trust(&mut self, is_trusted: bool, config: &Config) {
        self.is_trusted = is_trusted;
        #[cfg(feature = "proxy")]
        let names_clients = is_trusted && config.client_address.is_some();
        #[cfg(not(feature = "proxy"))]
        let names_clients = false;
        self.looks_at_heads = names_clients || config.request_id;
    }

    /// The socket's peer.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The client of the request in progress, or of the connection. The port is 0 if it is not
    /// known.
    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    /// What identifies that client in the queue.
    pub(super) fn key(&self) -> IpAddr {
        client_key(self.client.ip())
    }

    /// How many connections its client has, or requests in progress.
    pub(super) fn share(&self) -> Share {
        self.share
    }

    /// True if it is a trusted proxy's, so that its requests can have several clients.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// The identifier of the request in progress; empty if it has none.
    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// True if [`Origin::begin`] has something to do.
    pub(super) fn looks_at_heads(&self) -> bool {
        self.looks_at_heads
    }

    /// A request begins, whose head this is.
    #[inline(never)]
    pub(super) fn begin(&mut self, head: &[u8], context: &mut Context) {
        #[cfg(feature = "proxy")]
        if let (true, Some(field)) = (self.is_trusted, context.config.client_address) {
            self.find_client(head, field, &context.config);
        }
        if context.config.request_id {
            let given = || request_id::taken_over(values_from_last(head, request_id::FIELD));
            match self.is_trusted.then(given).flatten() {
                Some(given) => {
                    self.request_id.clear();
                    self.request_id.push_str(given);
                }
                None => context.identifiers.write(&mut self.request_id),
            }
        }
    }

    /// Makes an identifier for a request that has none, because its head was never whole.
    pub(super) fn identify(&mut self, identifiers: &mut Identifiers) {
        if self.request_id.is_empty() {
            identifiers.write(&mut self.request_id);
        }
    }

    /// The response to the request is sent.
    pub(super) fn end(&mut self) {
        if self.looks_at_heads {
            self.forget();
        }
    }

    #[inline(never)]
    fn forget(&mut self) {
        self.request_id.clear();
        self.client = self.end;
        if self.is_trusted {
            self.place.count_nobody();
            self.share = Share::Within;
        }
    }

    #[cfg(feature = "proxy")]
    fn find_client(&mut self, head: &[u8], field: ClientAddress, config: &Config) {
        let values = || values_from_last(head, field.name());
        self.client = match (&self.known, values().next()) {
            (Some(known), Some(last)) if known.0 == last => known.1,
            (_, last) => {
                let found =
                    forwarded::client(values(), field, self.end, |address| config.trusts(address));
                if let (true, Some(last)) = (found.of_last, last)
                    && last.len() <= config::FORWARDED_KEPT
                {
                    self.known = Some(Box::new((last.to_vec(), found.client)));
                }
                found.client
            }
        };
        // A trusted proxy is not limited.
        if !config.trusts(self.client.ip()) {
            self.share = self.place.count_client(self.client.ip());
        }
    }
}
