//! The options of `server` for monitoring: the admin address and periodic statistics.

use crossbeam_channel::{Receiver, RecvTimeoutError};
use cws::{Admin, Figures, Observer};
use log::{info, warn};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// An address with a port. A port alone means the loopback address.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let port = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    match port {
        Some(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().map_err(|_| "write it as 9090 or 127.0.0.1:9090".to_owned()),
    }
}

/// A host name without a port.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_name) {
        return Err("write a host name without a port: stats.example".to_owned());
    }
    Ok(text.to_owned())
}

/// Starts the admin server for the observed server, and prints its addresses.
pub(crate) fn start(
    address: SocketAddr,
    names: &[String],
    observed: Observer,
) -> Result<Admin, String> {
    let admin = Admin::start_named(vec![address], names, observed)
        .map_err(|error| format!("cannot start the admin page: {error}"))?;
    for address in admin.addresses() {
        super::announce(&format!("admin page on http://{address}/"));
        if !address.ip().is_loopback() {
            warn!("the admin page has no password: anyone who can reach {address} can read it");
        }
    }
    Ok(admin)
}

/// Waits for a signal. Until then, logs the figures after each interval.
pub(crate) fn report_until(
    signals: &Receiver<()>,
    interval: Option<Duration>,
    observed: &Observer,
) {
    let Some(interval) = interval else {
        // The sender's thread never ends, so this waits only for a signal.
        let _ = signals.recv();
        return;
    };
    let mut before = observed.snapshot();
    while let Err(RecvTimeoutError::Timeout) = signals.recv_timeout(interval) {
        let after = observed.snapshot();
        let figures = Figures::between(&before, &after);
        info!(target: "stats", "{}", figures.line());
        info!(target: "stats", "{}", figures.condition());
        before = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_means_the_loopback_address() {
        let rows = [
            ("9090", Ok("127.0.0.1:9090")),
            (":9090", Ok("127.0.0.1:9090")),
            ("localhost:0", Ok("127.0.0.1:0")),
            ("0.0.0.0:80", Ok("0.0.0.0:80")),
            ("[::1]:80", Ok("[::1]:80")),
            ("example.com:80", Err(())),
            ("127.0.0.1", Err(())),
            ("70000", Err(())),
            ("", Err(())),
        ];
        for (text, wanted) in rows {
            let wanted = wanted.map(|text| text.parse().expect("an address"));
            assert_eq!(address(text).map_err(|_| ()), wanted, "{text}");
        }
    }
}
