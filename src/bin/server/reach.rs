//! How people reach the server: addresses for their browsers, and a QR code for their phones.

use crate::serving::announce;
use cws::Listener;
use log::{info, warn};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

#[derive(Debug, clap::Args)]
pub(crate) struct ReachArgs {
    /// Print a QR code of the URL at which phones reach the server
    #[arg(long, env = "CWS_QR", value_parser = crate::values::flag())]
    qr: bool,
}

impl ReachArgs {
    /// Logs the URLs that others can use, or how to make some, for a machine with these interfaces.
    pub(crate) fn tell(&self, listening: &[SocketAddr], interfaces: &[IpAddr]) {
        if listening.is_empty() {
            return;
        }
        let urls = urls(listening, interfaces);
        let is_general = listening.iter().any(|address| address.ip().is_unspecified());
        match urls.is_empty() {
            true if is_general => info!("this machine has no address at which others reach it"),
            true => info!("only this machine reaches it: --bind :: opens it to others"),
            false if is_general => info!("others reach it at {}", urls.join(" ")),
            // The addresses were chosen, and are in the lines above.
            false => {}
        }
        match urls.first() {
            _ if !self.qr => {}
            Some(url) => match QrCode::new(url) {
                // Dark terminals are more frequent: what is light in print is drawn in the colour
                // of the text.
                Ok(code) => {
                    let mut picture = code.render::<Dense1x2>();
                    picture.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark);
                    announce(&picture.build());
                }
                Err(error) => warn!("cannot make a QR code of {url}: {error}"),
            },
            None => warn!("there is no QR code, since only this machine reaches the server"),
        }
    }
}

/// The addresses of this machine's interfaces, those first that phones are most likely to reach.
/// None if no listener is for all of them.
pub(crate) fn interfaces(listeners: &[Listener]) -> Vec<IpAddr> {
    let is_general = |of: &Listener| of.address().is_some_and(|of| of.ip().is_unspecified());
    if !listeners.iter().any(is_general) {
        return Vec::new();
    }
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        warn!("cannot list the addresses of this machine: {error}");
        Vec::new()
    });
    let mut found: Vec<IpAddr> = found.iter().map(if_addrs::Interface::ip).collect();
    found.sort_by_key(|address| rank(*address));
    found
}

/// The order of addresses: those of private networks, then public ones; IPv4 first.
fn rank(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) if address.is_private() => 0,
        IpAddr::V4(_) => 1,
        IpAddr::V6(address) if address.is_unique_local() => 2,
        IpAddr::V6(_) => 3,
    }
}

/// The URLs at which others reach a server that listens at these addresses.
fn urls(listening: &[SocketAddr], interfaces: &[IpAddr]) -> Vec<String> {
    let mut urls = Vec::new();
    for address in listening {
        let any = address.ip();
        // An IPv6 listener takes IPv4 connections, too.
        let at: Vec<IpAddr> = match any {
            IpAddr::V4(any) if any.is_unspecified() => {
                interfaces.iter().copied().filter(IpAddr::is_ipv4).collect()
            }
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => interfaces.to_vec(),
            one => vec![one],
        };
        for ip in at.into_iter().filter(|ip| is_reachable(*ip)) {
            let url = format!("http://{}/", SocketAddr::new(ip, address.port()));
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    urls
}

/// False for loopback addresses, and for link-local ones, which browsers do not take without a
/// zone.
fn is_reachable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_loopback() && !is_link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_that_others_reach_has_a_url() {
        let interfaces: Vec<IpAddr> =
            ["127.0.0.1", "::1", "192.168.1.5", "fe80::1", "169.254.3.4", "fd00::5", "203.0.113.9"]
                .map(|text| text.parse().expect("an address"))
                .to_vec();
        for (listening, expected) in [
            (vec!["127.0.0.1:80"], vec![]),
            (vec!["[::1]:80", "127.0.0.1:80"], vec![]),
            (vec!["0.0.0.0:8080"], vec!["http://192.168.1.5:8080/", "http://203.0.113.9:8080/"]),
            (
                vec!["[::]:81"],
                vec!["http://192.168.1.5:81/", "http://[fd00::5]:81/", "http://203.0.113.9:81/"],
            ),
            (vec!["192.168.1.5:80", "127.0.0.1:80"], vec!["http://192.168.1.5:80/"]),
        ] {
            let listening: Vec<SocketAddr> =
                listening.iter().map(|text| text.parse().expect("an address")).collect();
            assert_eq!(urls(&listening, &interfaces), expected, "{listening:?}");
        }
    }

    #[test]
    fn private_addresses_come_first() {
        let mut addresses: Vec<IpAddr> = ["2001:db8::1", "203.0.113.9", "fd00::5", "10.0.0.3"]
            .map(|text| text.parse().expect("an address"))
            .to_vec();
        addresses.sort_by_key(|address| rank(*address));
        let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        assert_eq!(texts, ["10.0.0.3", "203.0.113.9", "fd00::5", "2001:db8::1"]);
    }
}
