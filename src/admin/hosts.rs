//! The host names that the admin server accepts: only those that nobody else can point at its
//! address.

use crate::http::request::Request;
use crate::http::target::Form;
use std::net::{IpAddr, Ipv6Addr};

/// Names of this machine, in lower case and without a trailing dot.
///
/// This prevents DNS rebinding: the owner of `evil.example` changes its DNS record to this address
/// after a browser has loaded a page from it, and the page can then read responses from here as its
/// own origin's. The browser sends the name in `Host`. Others can neither rebind an IP address nor
/// `localhost` (RFC 6761, section 6.3) nor the machine's own name.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// These names, in addition to those that are always allowed.
    pub(super) fn new(names: &[String]) -> Self {
        let system = rustix::system::uname();
        let own = system.nodename().to_str().unwrap_or_default();
        let names = names.iter().map(String::as_str).chain([own]).map(plain);
        Self(names.filter(|name| !name.is_empty()).collect())
    }

    /// True for a request to a name of this machine, or without a name, as HTTP/1.0 allows.
    pub(super) fn admit(&self, request: &Request<'_>) -> bool {
        let authority = match request.target.form {
            // The target's authority overrides the field (RFC 9112, section 3.2.2).
            Form::Absolute => authority(request.target.raw),
            _ => request.field("Host").unwrap_or_default(),
        };
        std::str::from_utf8(authority).is_ok_and(|authority| self.has(authority))
    }

    fn has(&self, authority: &str) -> bool {
        if let Some(literal) = authority.strip_prefix('[') {
            let inside = literal.split(']').next().unwrap_or_default();
            let address = inside.split('%').next().unwrap_or_default();
            return address.parse::<Ipv6Addr>().is_ok();
        }
        let name = plain(authority.split(':').next().unwrap_or_default());
        let is_local = || name == "localhost" || name.ends_with(".localhost");
        name.is_empty() || is_local() || name.parse::<IpAddr>().is_ok() || self.0.contains(&name)
    }
}

/// The authority of a target in absolute form.
fn authority(raw: &[u8]) -> &[u8] {
    let start = raw.windows(2).position(|two| two == b"//").map_or(raw.len(), |at| at + 2);
    let rest = &raw[start..];
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    &rest[..end]
}

/// A name in the form in which names are compared.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::FieldSlots;

    fn admits(head: &str) -> bool {
        let hosts = Hosts::new(&["Stats.Example.".to_owned()]);
        let mut slots = FieldSlots::default();
        let request = Request::parse(head.as_bytes(), &mut slots).expect("a request");
        hosts.admit(&request)
    }

    #[test]
    fn addresses_and_own_names_are_good_and_others_are_not() {
        let uname = rustix::system::uname();
        let own = uname.nodename().to_str().expect("a name");
        let good = [
            "127.0.0.1",
            "127.0.0.1:9090",
            "192.0.2.7:80",
            "[::1]",
            "[2001:db8::1]:9090",
            "localhost",
            "LocalHost.:9090",
            "a.b.localhost",
            "stats.example",
            "STATS.EXAMPLE.:80",
            "",
            own,
        ];
        for host in good {
            assert!(admits(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), "{host}");
        }
        let strange = [
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "stats.example.evil.example",
            "sub.stats.example",
            "127.1",
        ];
        for host in strange {
            assert!(!admits(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), "{host}");
            assert!(!admits(&format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n")), "{host}");
        }
        assert!(admits("GET / HTTP/1.0\r\n\r\n"), "no name at all");
    }

    #[test]
    fn the_name_in_the_target_is_the_one_that_counts() {
        let ask = |target, host| {
            admits(&format!("GET http://{target}/metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        };
        assert!(ask("127.0.0.1:9090", "evil.example"));
        assert!(!ask("evil.example", "127.0.0.1"));
        assert!(!admits("GET http://evil.example?//127.0.0.1/ HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
}
