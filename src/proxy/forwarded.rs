//! `Forwarded` (RFC 7239) and `X-Forwarded-For`: whose request a trusted proxy passes on.
//!
//! Each proxy adds the address of its own peer at the right end. So the list is read from there:
//! the right end is a trusted proxy's word, and what is left of the first address that is not
//! trusted is anybody's. Nothing on the left, such as a quotation mark that is never closed, can
//! change how the right is read.

use crate::config::{self, ClientAddress};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The client of a request, and what it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its address; the port is 0 if that is not known.
    pub client: SocketAddr,
    /// The last value alone has decided.
    pub of_last: bool,
}

/// The client of a request that came from the trusted address `from`; `values` are those of the
/// field, the last one first. It is the first address from the right that is not trusted. An
/// element that names no address ends the search, and so do too many of them: then the client is
/// the last trusted proxy that has been found.
pub fn client<'b>(
    values: impl Iterator<Item = &'b [u8]>,
    field: ClientAddress,
    from: SocketAddr,
    trusts: impl Fn(IpAddr) -> bool,
) -> Found {
    let (mut client, mut left) = (from, config::FORWARDED_HOPS);
    for (at, value) in values.enumerate() {
        let found = |client| Found { client, of_last: at == 0 };
        let mut rest = Some(value);
        while let Some(list) = rest {
            let element = match field {
                ClientAddress::Forwarded => last_forwarded(list),
                _ => last_plain(list),
            };
            let (before, node) = match element {
                Some((before, Node::Address(node))) => (before, Some(node)),
                Some((before, Node::Absent)) => (before, None),
                Some((_, Node::Unknown)) | None => return found(client),
            };
            if let Some(node) = node {
                client = node;
                if !trusts(node.ip()) {
                    return found(client);
                }
            }
            left -= 1;
            if left == 0 {
                return found(client);
            }
            rest = before;
        }
    }
    Found { client, of_last: false }
}

/// What an element of the list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    /// An address; the port is 0 if it is not told.
    Address(SocketAddr),
    /// Nothing that is an address: `unknown`, an obfuscated identifier, or something malformed.
    Unknown,
    /// Nothing at all: the element is empty, and ignored (RFC 9110, section 5.6.1).
    Absent,
}

/// The part of a list in front of its last element, if there is more, and that element.
type Last<'b> = Option<(Option<&'b [u8]>, Node)>;

/// The last element of `X-Forwarded-For`.
fn last_plain(list: &[u8]) -> Last<'_> {
    let comma = list.iter().rposition(|&byte| byte == b',');
    let element = list[comma.map_or(0, |comma| comma + 1)..].trim_ascii();
    let node = match element {
        b"" => Node::Absent,
        element => address(element, true),
    };
    Some((comma.map(|comma| &list[..comma]), node))
}

/// The last element of `Forwarded`: its `for` parameter. None if a quoted string has no beginning.
fn last_forwarded(list: &[u8]) -> Last<'_> {
    let (mut node, mut is_empty, mut end) = (None, true, list.len());
    loop {
        let (start, separator) = last_part(&list[..end])?;
        let part = list[start..end].trim_ascii();
        is_empty &= part.is_empty();
        if let Some(value) = value_of_for(part) {
            // No parameter may occur twice (RFC 7239, section 4).
            node = Some(if node.is_none() { node_of(value) } else { Node::Unknown });
        }
        if separator == Some(b';') {
            end = start - 1;
            continue;
        }
        let node = node.unwrap_or(if is_empty { Node::Absent } else { Node::Unknown });
        return Some((separator.map(|_| &list[..start - 1]), node));
    }
}

/// Where the last part of a list begins, and the comma or semicolon in front of it. None if a
/// quoted string has no beginning.
fn last_part(list: &[u8]) -> Option<(usize, Option<u8>)> {
    let mut at = list.len();
    while let Some(before) = at.checked_sub(1) {
        match list[before] {
            separator @ (b',' | b';') => return Some((at, Some(separator))),
            b'"' => at = opening_quote(&list[..before])?,
            _ => at = before,
        }
    }
    Some((0, None))
}

/// The position of the quotation mark that opens the quoted string whose closing one follows. Those
/// inside have a backslash in front (RFC 9110, section 5.6.4).
fn opening_quote(before: &[u8]) -> Option<usize> {
    let mut end = before.len();
    loop {
        let at = before[..end].iter().rposition(|&byte| byte == b'"')?;
        let backslashes = before[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
        if backslashes % 2 == 0 {
            return Some(at);
        }
        end = at;
    }
}

/// The value of a parameter with the name `for`.
fn value_of_for(parameter: &[u8]) -> Option<&[u8]> {
    let (name, value) = parameter.split_at_checked(3)?;
    value.strip_prefix(b"=").filter(|_| name.eq_ignore_ascii_case(b"for"))
}

/// The node of a `for` parameter, which may be quoted (RFC 7239, section 6).
fn node_of(value: &[u8]) -> Node {
    let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    address(quoted.unwrap_or(value), false)
}

/// An address, with a port or without. IPv6 has brackets, unless it `may_be_bare`.
fn address(text: &[u8], may_be_bare: bool) -> Node {
    let Ok(text) = std::str::from_utf8(text) else { return Node::Unknown };
    let (address, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().ok().map(IpAddr::V6), port),
        None if may_be_bare && text.matches(':').nth(1).is_some() => (text.parse().ok(), ""),
        None => {
            let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (address.parse().ok().filter(IpAddr::is_ipv4), port)
        }
    };
    // No request comes from the unspecified address.
    let address = address.map(|of| of.to_canonical()).filter(|of| !of.is_unspecified());
    match (address, port_of(port)) {
        (Some(address), Some(port)) => Node::Address(SocketAddr::new(address, port)),
        _ => Node::Unknown,
    }
}

/// The port behind an address; 0 if it is not told. None for what is no port.
fn port_of(text: &str) -> Option<u16> {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty().then_some(0) };
    let is_digit = |byte: u8| byte.is_ascii_digit();
    if let Some(obfuscated) = port.strip_prefix('_') {
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        return (!obfuscated.is_empty() && obfuscated.bytes().all(is_safe)).then_some(0);
    }
    if port.bytes().all(is_digit) { port.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientAddress::{Forwarded, XForwardedFor};
    use proptest::prelude::*;

    fn from() -> SocketAddr {
        "10.0.0.1:4711".parse().expect("an address")
    }

    /// 10.0.0.0/8 and fd00::/8 are trusted.
    fn trusts(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address.octets()[0] == 0xfd,
        }
    }

    /// The client of the values in the order in which they stand in a head.
    fn found(field: ClientAddress, values: &[&[u8]]) -> Found {
        client(values.iter().rev().copied(), field, from(), trusts)
    }

    fn check(field: ClientAddress, rows: &[(&str, &str)]) {
        for (value, expected) in rows {
            let expected = match *expected {
                "" => from(),
                text => text.parse().expect("an address"),
            };
            assert_eq!(found(field, &[value.as_bytes()]).client, expected, "{value:?}");
        }
    }

    #[test]
    fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
        check(
            XForwardedFor,
            &[
                ("192.0.2.1", "192.0.2.1:0"),
                ("192.0.2.1, 10.0.0.2", "192.0.2.1:0"),
                ("192.0.2.1,10.0.0.2,10.0.0.3", "192.0.2.1:0"),
                ("198.51.100.7, 192.0.2.1", "192.0.2.1:0"),
                ("127.0.0.1, 192.0.2.1, 10.0.0.2", "192.0.2.1:0"),
                ("10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
                ("192.0.2.1:4711", "192.0.2.1:4711"),
                ("192.0.2.1:65535", "192.0.2.1:65535"),
                ("2001:db8::7", "[2001:db8::7]:0"),
                ("[2001:db8::7]", "[2001:db8::7]:0"),
                ("[2001:db8::7]:80", "[2001:db8::7]:80"),
                ("::1", "[::1]:0"),
                ("::ffff:192.0.2.1", "192.0.2.1:0"),
                ("192.0.2.1, ::ffff:10.0.0.9", "192.0.2.1:0"),
                ("192.0.2.1, fd00::5", "192.0.2.1:0"),
                (" ,, 192.0.2.1 ,\t, ", "192.0.2.1:0"),
                ("", ""),
                (",", ""),
            ],
        );
        check(
            Forwarded,
            &[
                ("for=192.0.2.1", "192.0.2.1:0"),
                ("For=192.0.2.1", "192.0.2.1:0"),
                ("FOR=\"192.0.2.1\"", "192.0.2.1:0"),
                ("for=\"192.0.2.1:4711\"", "192.0.2.1:4711"),
                ("for=192.0.2.1:4711", "192.0.2.1:4711"),
                ("for=\"[2001:db8::7]\"", "[2001:db8::7]:0"),
                ("for=\"[2001:db8::7]:4711\"", "[2001:db8::7]:4711"),
                ("for=\"192.0.2.1:_port.7-x\"", "192.0.2.1:0"),
                ("for=192.0.2.1;proto=https;by=203.0.113.43", "192.0.2.1:0"),
                ("proto=https;by=203.0.113.43;for=192.0.2.1", "192.0.2.1:0"),
                ("by=203.0.113.43 ; for=192.0.2.1 ;", "192.0.2.1:0"),
                ("host=\"a,b;for=1.2.3.4\";for=192.0.2.1", "192.0.2.1:0"),
                ("for=192.0.2.1;host=\"a,b;for=1.2.3.4\"", "192.0.2.1:0"),
                ("for=192.0.2.1;host=\"a\\\", for=1.2.3.4\"", "192.0.2.1:0"),
                ("for=192.0.2.1;host=\"a\\\\\"", "192.0.2.1:0"),
                ("for=192.0.2.1, for=10.0.0.2", "192.0.2.1:0"),
                ("for=192.0.2.1;proto=http,, for=10.0.0.2;proto=http , ", "192.0.2.1:0"),
                ("for=1.2.3.4, for=192.0.2.1", "192.0.2.1:0"),
                ("", ""),
                (" , ; , ", ""),
            ],
        );
    }

    /// What names no address ends the search, and nothing left of it counts.
    #[test]
    fn what_is_no_address_leaves_the_last_trusted_proxy() {
        for bad in [
            "0.0.0.0",
            "[::]",
            "[::ffff:0.0.0.0]",
            "unknown",
            "_hidden",
            "_SEVKISEK",
            "",
            "a",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.01",
            "0xc0000201",
            "3221225985",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:99999999999999999999",
            "192.0.2.1:-1",
            "192.0.2.1:+1",
            "192.0.2.1:8o",
            "192.0.2.1:_",
            "192.0.2.1:_a b",
            "192.0.2.1 10.0.0.1",
            "192.0.2.1/24",
            "[192.0.2.1]",
            "[2001:db8::7",
            "2001:db8::7]",
            "[2001:db8::7]80",
            "[2001:db8::7]:",
            "[]",
            "[::1%lo]",
            "[2001:db8::7]:65536",
            "\"",
            "'192.0.2.1'",
            "192.0.2.1;",
            "\u{661}92.0.2.1",
            "\0",
        ] {
            if !bad.is_empty() {
                let list = format!("192.0.2.1, {bad}, 10.0.0.2");
                check(XForwardedFor, &[(&list, "10.0.0.2:0"), (bad, "")]);
            }
            if bad != "192.0.2.1;" {
                let list = format!("for=192.0.2.1, for={bad}, for=10.0.0.2");
                check(Forwarded, &[(&list, "10.0.0.2:0")]);
            }
        }
        check(XForwardedFor, &[("\"192.0.2.1\"", ""), ("for=192.0.2.1", "")]);
        check(
            Forwarded,
            &[
                ("for=2001:db8::7", ""),
                ("for=\"2001:db8::7\"", ""),
                ("for=\"192.0.2\\.1\"", ""),
                ("for = 192.0.2.1", ""),
                ("for= 192.0.2.1", ""),
                ("192.0.2.1", ""),
                ("for", ""),
                ("for=", ""),
                ("by=192.0.2.1", ""),
                ("proto=https", ""),
                ("for=192.0.2.1;for=192.0.2.1", ""),
                ("for=192.0.2.1;by=x;for=10.0.0.1", ""),
                ("xfor=192.0.2.1", ""),
                ("for=192.0.2.1\"", ""),
            ],
        );
    }

    /// A client can send anything, and its proxy appends the client's own address.
    #[test]
    fn nothing_that_a_client_sends_changes_what_its_proxy_adds() {
        for forged in [
            "for=1.2.3.4",
            "for=\"1.2.3.4",
            "\"",
            "\\",
            "\\\"",
            "for=\"a\\",
            "for=\"a\\\\",
            ";",
            "=",
            "for=\"",
            "for=1.2.3.4;",
            "for=1.2.3.4;by=\"",
            "\"\"\"",
            ",,,,",
            "host=\"x, for=1.2.3.4",
        ] {
            for own in
                ["for=192.0.2.1", "for=\"192.0.2.1\"", "proto=http;for=\"192.0.2.1:7\";by=_x"]
            {
                let list = format!("{forged}, {own}");
                let client = found(Forwarded, &[list.as_bytes()]).client;
                assert_eq!(client.ip().to_string(), "192.0.2.1", "{list}");
                let lines = found(Forwarded, &[forged.as_bytes(), own.as_bytes()]).client;
                assert_eq!(lines, client, "{list}");
            }
            let list = format!("{forged}, 192.0.2.1, 10.0.0.3");
            check(XForwardedFor, &[(&list, "192.0.2.1:0")]);
        }
    }

    #[test]
    fn several_values_are_one_list() {
        let of = |values: &[&[u8]]| {
            let found = found(XForwardedFor, values);
            (found.client.ip().to_string(), found.of_last)
        };
        assert_eq!(of(&[b"192.0.2.1", b"10.0.0.2"]), ("192.0.2.1".to_owned(), false));
        assert_eq!(of(&[b"1.2.3.4", b"192.0.2.1, 10.0.0.2"]), ("192.0.2.1".to_owned(), true));
        assert_eq!(
            of(&[b"192.0.2.1", b"", b"10.0.0.2, 10.0.0.3"]),
            ("192.0.2.1".to_owned(), false)
        );
        assert_eq!(of(&[b"192.0.2.1", b"unknown"]), ("10.0.0.1".to_owned(), true));
        assert_eq!(of(&[b"192.0.2.1", b"?", b"10.0.0.2"]), ("10.0.0.2".to_owned(), false));
        assert_eq!(of(&[]), ("10.0.0.1".to_owned(), false));
    }

    #[test]
    fn a_long_list_is_bounded_work() {
        let list = format!("192.0.2.1{}", ", 10.0.0.2".repeat(100_000));
        check(XForwardedFor, &[(&list, "10.0.0.2:0")]);
        let list = format!("for=192.0.2.1{}", ", for=10.0.0.2".repeat(config::FORWARDED_HOPS - 1));
        check(
            Forwarded,
            &[(&list, "192.0.2.1:0"), (&format!("{list}, for=10.0.0.2"), "10.0.0.2:0")],
        );
        // All of it is one element, and is looked at once.
        let list = format!("for=\"{}\"", "\\\"".repeat(500_000));
        check(Forwarded, &[(&list, "")]);
    }

    /// Any byte, and more often those that mean something.
    fn special() -> impl Strategy<Value = u8> {
        prop_oneof![1 => any::<u8>(), 2 => prop::sample::select(b"\"\\,;=[]:. 1".to_vec())]
    }

    proptest! {
        #[test]
        fn what_is_in_front_of_an_address_that_is_not_trusted_changes_nothing(
            front in prop::collection::vec(special(), 0..60),
            hops in 0usize..4,
            address in any::<IpAddr>(),
        ) {
            let canonical = address.to_canonical();
            prop_assume!(!trusts(canonical) && !canonical.is_unspecified());
            let shown = match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            let plain = format!(",{shown}{}", ", 10.9.9.9".repeat(hops));
            let plain = [&front[..], plain.as_bytes()].concat();
            let quoted = format!(",for=\"{shown}\"{}", ", for=10.9.9.9;proto=http".repeat(hops));
            let quoted = [&front[..], quoted.as_bytes()].concat();
            let client = SocketAddr::new(address.to_canonical(), 0);
            let expected = Found { client, of_last: true };
            prop_assert_eq!(found(XForwardedFor, &[&plain]), expected);
            prop_assert_eq!(found(Forwarded, &[&quoted]), expected);
        }

        #[test]
        fn no_bytes_panic(
            values in prop::collection::vec(prop::collection::vec(special(), 0..60), 0..4),
        ) {
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            for field in [Forwarded, XForwardedFor] {
                found(field, &values);
            }
        }
    }
}
