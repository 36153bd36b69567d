//! The header of the PROXY protocol, version 1 or 2, with which a proxy begins a connection ("The
//! PROXY protocol", Willy Tarreau, <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! The header is delimited here, within bounds and whatever the pieces in which it arrives. The
//! crate `ppp` parses it when it is whole.

use crate::config;
use core::net::{IpAddr, SocketAddr};
use ppp::{v1, v2};

/// What the bytes at the start of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// More bytes may complete the header.
    Partial,
    /// A whole header of so many bytes.
    Complete(usize, Source),
    /// No header, whatever follows, for this reason.
    Refused(&'static str),
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client's, with this address.
    Client(SocketAddr),
    /// A client's whose address the proxy does not tell.
    Unknown,
    /// The proxy's own: a health check, for example.
    Proxy,
}

const V1_START: &[u8] = b"PROXY ";
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN";
const LINE_END: &[u8] = b"\r\n";

/// The bytes of a header of version 2 in front of the addresses.
const V2_FIXED: usize = 16;

const NO_HEADER: &str = "it does not begin with a PROXY header";
const TOO_LONG: &str = "its PROXY header is too long";
const MALFORMED: &str = "its PROXY header is malformed";

/// Looks at all bytes that have arrived on a connection. Each call looks from the start, at a few
/// hundred bytes at most.
pub fn read(bytes: &[u8]) -> Announcement {
    if begins(bytes, V1_START) {
        read_text(bytes)
    } else if begins(bytes, v2::PROTOCOL_PREFIX) {
        read_binary(bytes)
    } else {
        Announcement::Refused(NO_HEADER)
    }
}

/// True if `bytes` begin with `start`, or may do so when more have come.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let both = bytes.len().min(start.len());
    bytes[..both] == start[..both]
}

fn read_text(bytes: &[u8]) -> Announcement {
    let bounded = &bytes[..bytes.len().min(config::PROXY_V1_BYTES)];
    let Some(end) = bounded.iter().position(|&byte| byte == b'\n') else {
        let is_full = bounded.len() == config::PROXY_V1_BYTES;
        return if is_full { Announcement::Refused(TOO_LONG) } else { Announcement::Partial };
    };
    let line = &bounded[..=end];
    if let Some(rest) = line.strip_prefix(V1_UNKNOWN)
        && rest.ends_with(LINE_END)
        && rest.starts_with(if rest == LINE_END { LINE_END } else { b" " })
    {
        // What is in the rest is ignored (section 2.1). `ppp` refuses some of it.
        return Announcement::Complete(line.len(), Source::Unknown);
    }
    // `ppp` takes a sign in front of a port, and waits for more behind an early line end.
    let is_plain = line.ends_with(LINE_END) && !line.contains(&b'+');
    let Some(header) = v1::Header::try_from(line).ok().filter(|_| is_plain) else {
        return Announcement::Refused(MALFORMED);
    };
    let source = match header.addresses {
        v1::Addresses::Tcp4(of) => client(of.source_address.into(), of.source_port),
        v1::Addresses::Tcp6(of) => client(of.source_address.into(), of.source_port),
        v1::Addresses::Unknown => Source::Unknown,
    };
    Announcement::Complete(line.len(), source)
}

fn read_binary(bytes: &[u8]) -> Announcement {
    let Some(&[.., version_command, _, high, low]) = bytes.first_chunk::<V2_FIXED>() else {
        return Announcement::Partial;
    };
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Announcement::Refused(MALFORMED),
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > config::PROXY_V2_BYTES {
        return Announcement::Refused(TOO_LONG);
    }
    // The addresses of a local connection are ignored, and so is their family (section 2.2).
    let parsed = match bytes.get(..length) {
        None if is_local => return Announcement::Partial,
        Some(_) if is_local => return Announcement::Complete(length, Source::Proxy),
        // Without the whole header it finds what no later byte can repair.
        whole => v2::Header::try_from(whole.unwrap_or(bytes)),
    };
    let header = match parsed {
        Ok(header) => header,
        Err(v2::ParseError::Partial(..)) => return Announcement::Partial,
        Err(_) => return Announcement::Refused(MALFORMED),
    };
    let source = match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(of)) => {
            client(of.source_address.into(), of.source_port)
        }
        (v2::Protocol::Stream, v2::Addresses::IPv6(of)) => {
            client(of.source_address.into(), of.source_port)
        }
        // A client on a UNIX socket, or none that the protocol has an address for.
        _ => Source::Unknown,
    };
    Announcement::Complete(length, source)
}

fn client(address: IpAddr, port: u16) -> Source {
    match address.to_canonical() {
        // No connection comes from there.
        address if address.is_unspecified() => Source::Unknown,
        address => Source::Client(SocketAddr::new(address, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(last: u8, port: u16) -> Source {
        client([192, 0, 2, last].into(), port)
    }

    /// A header of version 2: the bytes behind the signature, with their true length between.
    fn binary(version_command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let length = u16::try_from(behind.len()).expect("short").to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[version_command, family], &length, behind].concat()
    }

    const ADDRESSES: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 0, 80];

    /// A header gives the same in pieces of any size, and the bytes behind it change nothing.
    fn check(header: &[u8], source: Source) {
        let shown = header.escape_ascii().to_string();
        for end in 0..header.len() {
            assert_eq!(read(&header[..end]), Announcement::Partial, "{end} bytes of {shown}");
        }
        for behind in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", header, b"\0", b"\n"] {
            let all = [header, behind].concat();
            assert_eq!(read(&all), Announcement::Complete(header.len(), source), "{shown}");
        }
    }

    /// Some start of it is refused, and so is all that continues it.
    fn check_refused(header: &[u8]) {
        let refused = |end| matches!(read(&header[..end]), Announcement::Refused(_));
        let first = (0..=header.len()).find(|&end| refused(end));
        let shown = header.escape_ascii().to_string();
        let first = first.unwrap_or_else(|| panic!("{shown} is refused: {:?}", read(header)));
        assert!((first..=header.len()).all(refused), "{shown} stays refused");
    }

    #[test]
    fn headers_of_version_1() {
        let v6 = client("2001:db8::7".parse().expect("an address"), 65535);
        let rows = [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n", v4(1, 4711)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n", v4(1, 0)),
            ("PROXY TCP6 2001:db8::7 2001:db8::8 65535 80\r\n", v6),
            ("PROXY UNKNOWN\r\n", Source::Unknown),
            ("PROXY TCP4 0.0.0.0 192.0.2.2 4711 80\r\n", Source::Unknown),
            ("PROXY TCP6 :: ::1 4711 80\r\n", Source::Unknown),
            ("PROXY UNKNOWN 192.0.2.1 192.0.2.2 4711 80\r\n", Source::Unknown),
            ("PROXY UNKNOWN whatever, the line is ignored\r\n", Source::Unknown),
        ];
        for (header, source) in rows {
            check(header.as_bytes(), source);
        }
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 16));
        assert_eq!(longest.len(), config::PROXY_V1_BYTES);
        check(longest.as_bytes(), Source::Unknown);
    }

    #[test]
    fn malformed_headers_of_version_1_are_refused() {
        for header in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 4711 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 -1 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 04711 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 99999999999999999999 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
            "PROXY TCP4 192.0.2.1\r\n",
            "PROXY TCP4\r\n",
            "PROXY \r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 4711 80\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 4711 80\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::8 4711 80\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 4711 80\r\n",
            "PROXY TCP6 2001:db8::7%eth0 2001:db8::8 4711 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80 90\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 4711 80\r\n",
            "PROXY TCP4\t192.0.2.1 192.0.2.2 4711 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80 \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 4711\r80\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 4711 80\r\n",
            "PROXY tcp4 192.0.2.1 192.0.2.2 4711 80\r\n",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWN 192.0.2.1\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN\r\r\n",
            "PROXY TCP4 192.0.2.1\0 192.0.2.2 4711 80\r\n",
            "PROXY TCP4 \u{661}92.0.2.1 192.0.2.2 4711 80\r\n",
            "proxy TCP4 192.0.2.1 192.0.2.2 4711 80\r\n",
            "PROXYTCP4 192.0.2.1 192.0.2.2 4711 80\r\n",
            " PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n",
            "\r\nPROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\n",
            "\x16\x03\x01",
        ] {
            check_refused(header.as_bytes());
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 15));
        check_refused(long.as_bytes());
        // Without a line end it is refused at the bound, and not before.
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        assert_eq!(read(&endless[..106]), Announcement::Partial);
        assert_eq!(read(&endless[..107]), Announcement::Refused(TOO_LONG));
    }

    #[test]
    fn headers_of_version_2() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0xff; 2], &[0, 80]];
        let v6 = v6.concat();
        let client_6 = client("2001:db8::7".parse().expect("an address"), 65535);
        // A CRC, a TLS block, and one whose length lies: extensions are skipped unread.
        let extensions =
            [&[3, 0, 4, 1, 2, 3, 4][..], &[0x20, 0, 5, 1, 0, 0, 0, 0], &[4, 0xff, 0xff]];
        let extended = [&ADDRESSES[..], &extensions.concat()].concat();
        let unix = [7; 216];
        let rows = [
            (binary(0x21, 0x11, &ADDRESSES), v4(1, 4711)),
            (binary(0x21, 0x11, &extended), v4(1, 4711)),
            (binary(0x21, 0x21, &v6), client_6),
            (binary(0x20, 0x00, b""), Source::Proxy),
            (binary(0x20, 0x11, &ADDRESSES), Source::Proxy),
            (binary(0x20, 0x11, b""), Source::Proxy),
            (binary(0x20, 0xff, b"what is here is ignored"), Source::Proxy),
            (binary(0x21, 0x00, b""), Source::Unknown),
            (binary(0x21, 0x00, b"unspecified"), Source::Unknown),
            (binary(0x21, 0x31, &unix), Source::Unknown),
            (binary(0x21, 0x12, &ADDRESSES), Source::Unknown),
            (binary(0x21, 0x10, &ADDRESSES), Source::Unknown),
            (binary(0x21, 0x11, &[&ADDRESSES[..], &[0; 4096 - 28]].concat()), v4(1, 4711)),
        ];
        for (header, source) in rows {
            check(&header, source);
        }
    }

    #[test]
    fn malformed_headers_of_version_2_are_refused() {
        for (command, family, behind) in [
            (0x11, 0x11, &ADDRESSES[..]),
            (0x31, 0x11, &ADDRESSES),
            (0x01, 0x11, &ADDRESSES),
            (0x22, 0x11, &ADDRESSES),
            (0x2f, 0x11, &ADDRESSES),
            (0x21, 0x41, &ADDRESSES),
            (0x21, 0x13, &ADDRESSES),
            // Their length has no room for the addresses of their family.
            (0x21, 0x11, b""),
            (0x21, 0x11, &ADDRESSES[..11]),
            (0x21, 0x21, &ADDRESSES),
            (0x21, 0x31, &ADDRESSES),
            // One byte more than the bound.
            (0x21, 0x11, &[0; 4096 - 15]),
            (0x20, 0x00, &[0; 4096 - 15]),
            (0x20, 0x00, &[0; 0xffff]),
        ] {
            let header = binary(command, family, behind);
            assert!(matches!(read(&header[..16]), Announcement::Refused(_)), "before more is read");
            check_refused(&header);
        }
        check_refused(b"\r\n\r\n\0\r\nQUIT\r");
        check_refused(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_the_outcome_is_final(
            start in prop_oneof![
                Just(&b""[..]), Just(V1_START), Just(&b"PROXY TCP4 1.2.3.4 "[..]),
                Just(v2::PROTOCOL_PREFIX), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..]),
            ],
            bytes in prop::collection::vec(prop_oneof![
                any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'1'), Just(b'.'),
                Just(0), Just(0x21), Just(0x11),
            ], 0..300),
        ) {
            let all = [start, &bytes].concat();
            let mut outcome = Announcement::Partial;
            for end in 0..=all.len() {
                let found = read(&all[..end]);
                if outcome != Announcement::Partial {
                    prop_assert_eq!(found, outcome, "more bytes change nothing");
                }
                if let Announcement::Complete(length, _) = found {
                    prop_assert!(length <= end && length <= config::PROXY_V2_BYTES);
                }
                outcome = found;
            }
        }

        #[test]
        fn what_ppp_writes_is_read(
            source in any::<SocketAddr>(), target in any::<SocketAddr>(), is_text in any::<bool>(),
        ) {
            let bare = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
            let (source, target) = (bare(source), bare(target));
            prop_assume!(source.is_ipv4() == target.is_ipv4());
            let header = match is_text {
                true => v1::Addresses::from((source, target)).to_string().into_bytes(),
                false => v2::Builder::with_addresses(
                    v2::Version::Two | v2::Command::Proxy,
                    v2::Protocol::Stream,
                    (source, target),
                ).build().expect("a header"),
            };
            let expected = Announcement::Complete(header.len(), client(source.ip(), source.port()));
            prop_assert_eq!(read(&header), expected);
        }
    }
}
