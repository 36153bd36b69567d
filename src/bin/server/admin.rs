//! The options of `server` for those who watch it: the admin address, and lines of figures.

use crossbeam_channel::{Receiver, RecvTimeoutError};
use cws::{Admin, Figures, Observer};
use log::{info, warn};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// An address with a port; a port alone is on the loopback address.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let port = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    match port {
        Some(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().map_err(|_| "write it like 9090 or 127.0.0.1:9090".to_owned()),
    }
}

/// A host name without a port.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_name) {
        return Err("write the name alone, like stats.example".to_owned());
    }
    Ok(text.to_owned())
}

/// Serves the figures of the observed server there, and says where.
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

/// Waits for a signal, and logs a line of figures after each interval until it comes.
pub(crate) fn report_until(
    signals: &Receiver<()>,
    interval: Option<Duration>,
    observed: &Observer,
) {
    let Some(interval) = interval else {
        // The thread that sends it never ends, so this waits for a signal and nothing else.
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
    fn a_port_alone_is_on_loopback() {
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
