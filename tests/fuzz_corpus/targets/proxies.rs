//! What proxies say of their clients: the PROXY header, and the fields of a request.

use cws::internals::config::{ClientAddress, PROXY_V2_BYTES, REQUEST_ID_BYTES};
use cws::internals::proxy::forwarded::client;
use cws::internals::proxy::header::{Announcement, read};
use cws::internals::proxy::request_id::taken_over;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The outcome does not depend on the pieces, and no later byte changes it.
pub fn announcement(bytes: &[u8]) {
    let whole = read(bytes);
    for ends in super::ways_to_split(bytes) {
        let mut outcome = Announcement::Partial;
        for end in ends {
            let found = read(&bytes[..end]);
            assert!(outcome == Announcement::Partial || found == outcome, "it is final");
            outcome = found;
        }
        assert_eq!(outcome, whole);
    }
    match whole {
        Announcement::Partial => assert!(bytes.len() < PROXY_V2_BYTES, "bounded"),
        Announcement::Complete(length, _) => {
            assert!(length <= bytes.len().min(PROXY_V2_BYTES));
            assert_eq!(read(&bytes[..length]), whole, "alone");
            assert_eq!(read(&bytes[..length - 1]), Announcement::Partial, "not before");
        }
        Announcement::Refused(_) => {
            assert_eq!(read(&[bytes, &b"\r\n"[..]].concat()), whole, "whatever follows");
        }
    }
}

/// 10.0.0.0/8 is trusted.
fn trusts(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
}

/// What a trusted proxy adds at the right decides, whatever is on the left, and on one line or two.
pub fn forwarded(bytes: &[u8]) {
    let from = SocketAddr::from(([10, 0, 0, 1], 7));
    let own = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for (field, added) in [
        (ClientAddress::XForwardedFor, &b", 192.0.2.1, 10.0.0.2"[..]),
        (ClientAddress::Forwarded, b", for=\"192.0.2.1:1\";proto=http, by=_x;for=10.0.0.2"),
    ] {
        let find = |values: &[&[u8]]| client(values.iter().copied(), field, from, trusts);
        let (found, joined) = (find(&[bytes]), [bytes, added].concat());
        assert_eq!(find(&[&joined]).client.ip(), own);
        let added = &added[2..];
        assert_eq!(find(&[added, bytes]), find(&[&joined]), "in two lines");
        let behind = find(&[bytes, added]);
        if found.of_last {
            assert_eq!(behind, found, "what is in front changes nothing");
        } else {
            assert!(trusts(found.client.ip()), "all of it is trusted");
        }
        assert_eq!(found.client.ip(), found.client.ip().to_canonical());
    }
    if let Some(id) = taken_over([bytes].into_iter()) {
        assert!(id.as_bytes() == bytes && (1..=REQUEST_ID_BYTES).contains(&id.len()));
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>,;".contains(&byte)));
    }
}
