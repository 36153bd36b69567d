//! The options of `server` for monitoring: the admin address and periodic statistics.

use crate::signals::End;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use cws::{Admin, Figures, Listener, Observer};
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
    listeners: Vec<Listener>,
    names: &[String],
    observed: Observer,
) -> Result<Admin, String> {
    let admin = Admin::start_on(listeners, names, observed)
        .map_err(|error| format!("cannot start the admin page: {error}"))?;
    crate::serving::announce_all("admin page on", admin.addresses(), admin.paths());
    for address in admin.addresses().iter().filter(|address| !address.ip().is_loopback()) {
        warn!("the admin page has no password: anyone who can reach {address} can read it");
    }
    Ok(admin)
}

/// Waits for the end. Until then, logs the figures after each interval.
pub(crate) fn report_until(
    ends: &Receiver<End>,
    interval: Option<Duration>,
    observed: &Observer,
) -> End {
    let mut before = observed.snapshot();
    loop {
        let end = match interval {
            Some(interval) => ends.recv_timeout(interval),
            None => ends.recv().map_err(RecvTimeoutError::from),
        };
        match end {
            Ok(end) => return end,
            Err(RecvTimeoutError::Timeout) => {}
            // The thread that waits for signals never ends.
            Err(RecvTimeoutError::Disconnected) => return End::Signal,
        }
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
