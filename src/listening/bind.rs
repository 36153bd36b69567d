//! Binding TCP sockets to addresses.

use super::{Listener, StartError};
use crate::config;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// Attempts to find one port that is free on several addresses.
const PORT_TRIES: usize = 16;

/// Listens on all addresses; with port 0, on one free port for all of them.
pub(super) fn listen(addresses: &[SocketAddr]) -> Result<Vec<Listener>, StartError> {
    let mut tries = PORT_TRIES;
    loop {
        tries -= 1;
        match listen_once(addresses) {
            Err(StartError::Listen(address, error))
                if tries > 0 && address.port() == 0 && error.kind() == ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
}

fn listen_once(addresses: &[SocketAddr]) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    let mut free_port = 0;
    let has_ipv4 = addresses.iter().any(SocketAddr::is_ipv4);
    for &address in addresses {
        let failed = |error| StartError::Listen(address, error);
        let mut wanted = address;
        if wanted.port() == 0 {
            wanted.set_port(free_port);
        }
        let listener = match listen_on(wanted, has_ipv4) {
            Ok(listener) => listener,
            // A host name can resolve to a family that this machine lacks.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable && addresses.len() > 1 => {
                log::warn!("{address} is left out: this machine has no such address");
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        free_port = listener.address().map_or(0, |address| address.port());
        listeners.push(listener);
    }
    if listeners.is_empty() {
        return Err(StartError::Listen(addresses[0], ErrorKind::AddrNotAvailable.into()));
    }
    Ok(listeners)
}

/// A non-blocking listener with a longer backlog than std's.
fn listen_on(address: SocketAddr, has_ipv4: bool) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` also accepts IPv4, unless an IPv4 address is listed as well.
        socket.set_only_v6(has_ipv4 || !address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(config::BACKLOG)?;
    Listener::of_tcp(socket.into())
}
