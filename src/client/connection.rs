//! Opens and closes the client's connection, and keeps TIME_WAIT away from the client port.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Fetch, FetchError};

/// Connects to the first address of the host that answers. `timeout` applies to each address.
///
/// # Errors
/// The most informative error of all addresses; of equals, the last one.
pub(super) fn open(fetch: &Fetch) -> Result<TcpStream, FetchError> {
    let addresses = resolve(fetch.host.as_str(), fetch.port)?;
    open_any(&addresses, fetch).unwrap_or_else(|| {
        let source = io::Error::other("the name has no address");
        Err(FetchError::Resolve { host: fetch.host.as_str().to_owned(), source })
    })
}

fn open_any(addresses: &[SocketAddr], fetch: &Fetch) -> Option<Result<TcpStream, FetchError>> {
    let mut telling: Option<FetchError> = None;
    for &address in addresses {
        let attempt = refuse_same_port(address, fetch.client_port)
            .and_then(|()| dial(address, fetch.client_port, fetch.timeout));
        match attempt {
            Ok(stream) => return Some(Ok(stream)),
            Err(error) => {
                if telling.as_ref().is_none_or(|other| other.weight() <= error.weight()) {
                    telling = Some(error);
                }
            }
        }
    }
    telling.map(Err)
}

/// After a whole response: waits up to `wait` for the server to close first.
///
/// The side that closes first keeps the connection in TIME_WAIT for a minute. While the client has
/// it in TIME_WAIT, the same client port cannot connect to the same server (EADDRNOTAVAIL).
/// Shutting down the writing side does not help: it sends the client's FIN first. Bytes beyond the
/// response are dropped.
pub(super) fn let_server_close(mut stream: TcpStream, wait: Duration) {
    let start = Instant::now();
    let mut beyond = [0; 4096];
    loop {
        let left = wait.saturating_sub(start.elapsed());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut beyond) {
            Ok(0) => {
                // The server closed first, so an ordinary close leaves TIME_WAIT with the server.
                // If this call fails, the close is a reset, which no longer matters to the server.
                let _ = SockRef::from(&stream).set_linger(None);
                return;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Timeout or reset: the close is a reset, see `dial`.
            Err(_) => return,
        }
    }
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
    let found = (host, port).to_socket_addrs();
    let addresses =
        found.map_err(|source| FetchError::Resolve { host: host.to_owned(), source })?;
    // Use an IPv4 socket for an IPv4-mapped IPv6 address.
    Ok(addresses
        .map(|address| match address.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::from((ip, port)),
            IpAddr::V6(_) => address,
        })
        .collect())
}

/// Refuses a client port that equals the server's port on the same host: it can only fail.
fn refuse_same_port(address: SocketAddr, client_port: Option<u16>) -> Result<(), FetchError> {
    if client_port == Some(address.port()) && is_local(address) {
        return Err(FetchError::SamePort(address));
    }
    Ok(())
}

/// Whether the address belongs to this machine: only then can a socket be bound to it.
fn is_local(mut address: SocketAddr) -> bool {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        return true;
    }
    address.set_port(0);
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, None);
    probe.is_ok_and(|socket| socket.bind(&address.into()).is_ok())
}

/// Connects to one address within `timeout`, from `client_port` if given.
fn dial(
    address: SocketAddr,
    client_port: Option<u16>,
    timeout: Duration,
) -> Result<TcpStream, FetchError> {
    let refused = |source| FetchError::Connect { address, client_port, source };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(refused)?;
    if let Some(port) = client_port {
        bind(&socket, address, port).map_err(|source| FetchError::ClientPort { port, source })?;
    }
    connect(socket, address, client_port, timeout)
}

/// Connects a socket, which is bound to `client_port` if given.
fn connect(
    socket: Socket,
    address: SocketAddr,
    client_port: Option<u16>,
    timeout: Duration,
) -> Result<TcpStream, FetchError> {
    let refused = |source| FetchError::Connect { address, client_port, source };
    socket.connect_timeout(&address.into(), timeout).map_err(refused)?;
    let stream = TcpStream::from(socket);
    if reached_itself(&stream) {
        // Reset instead of close: otherwise TIME_WAIT blocks the port for a server.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return Err(FetchError::SelfConnected(address));
    }
    if client_port.is_some() {
        // From here on, a close before the server's close is a reset, including one after an error
        // or Ctrl-C. It leaves no TIME_WAIT, and the port is free again at once.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(refused)?;
    }
    stream.set_read_timeout(Some(timeout)).map_err(refused)?;
    stream.set_write_timeout(Some(timeout)).map_err(refused)?;
    Ok(stream)
}

/// Binds the client port on all local addresses of this address family only.
fn bind(socket: &Socket, address: SocketAddr, port: u16) -> io::Result<()> {
    // Without this, an old connection from this port to any server makes the bind fail.
    socket.set_reuse_address(true)?;
    let any = if address.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        socket.set_only_v6(true)?;
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    socket.bind(&SocketAddr::new(any, port).into())
}

/// Whether both ends are the same socket. By TCP's simultaneous open (RFC 9293, section 3.5), a
/// socket can connect to its own port if nothing listens there. An ephemeral port can equal the
/// target by chance.
fn reached_itself(stream: &TcpStream) -> bool {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => local.ip() == peer.ip() && local.port() == peer.port(),
        // The peer has gone, so it was not this socket.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
        listener.local_addr().expect("address of a listener").port()
    }

    #[test]
    fn a_socket_connected_to_itself_is_an_error() {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let outcome = dial(address, Some(port), TIMEOUT);
        assert!(matches!(outcome, Err(FetchError::SelfConnected(a)) if a == address));
        // The attempt leaves no TIME_WAIT on the port.
        let plain = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        plain.bind(&address.into()).expect("the port is free at once, without SO_REUSEADDR");
    }

    /// The system can choose the target as the ephemeral port. Here the test forces it.
    #[test]
    fn an_ephemeral_port_connected_to_itself_is_an_error() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        let address = socket.local_addr().expect("its address").as_socket().expect("of IPv4");
        let outcome = connect(socket, address, None, TIMEOUT);
        assert!(
            matches!(outcome, Err(FetchError::SelfConnected(a)) if a == address),
            "{outcome:?}"
        );
    }

    #[test]
    fn every_address_is_tried_until_one_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
        let good = listener.local_addr().expect("address of a listener");
        let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let fetch = Fetch::new("unused".parse().expect("host"), 1);
        let stream = open_any(&[closed, good], &fetch).expect("some address").expect("answer");
        assert_eq!(stream.peer_addr().expect("peer"), good);
        assert!(open_any(&[], &fetch).is_none());
    }

    #[test]
    fn the_most_informative_error_is_reported_and_of_equals_the_last() {
        let holder = TcpListener::bind("0.0.0.0:0").expect("bind port 0");
        let held = holder.local_addr().expect("address of a listener").port();
        let [one, two] = [free_port(), free_port()];
        let closed = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // A documentation address (RFC 3849): there is no route to it, or no IPv6.
        let unreachable = "[2001:db8::1]:80".parse().expect("address");
        let mut fetch = Fetch::new("unused".parse().expect("host"), 1);
        fetch.timeout = Duration::from_millis(100);
        let error = |addresses: &[SocketAddr], fetch: &Fetch| match open_any(addresses, fetch) {
            Some(Err(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let text = error(&[closed(one), closed(two)], &fetch);
        assert!(text.contains(&format!("127.0.0.1:{two}: connection refused")), "{text}");
        let text = error(&[closed(one), unreachable], &fetch);
        let timed_out = text.contains("timed out");
        assert!(timed_out || text.contains(&format!("127.0.0.1:{one}")), "{text}");
        fetch.client_port = Some(held);
        let text = error(&[closed(one), unreachable], &fetch);
        assert!(text.contains(&format!("cannot use client port {held}")), "{text}");
    }

    #[test]
    fn only_addresses_of_this_machine_are_local() {
        for own in ["127.0.0.1:80", "127.8.9.1:80", "0.0.0.0:80", "[::1]:80", "[::]:80"] {
            assert!(is_local(own.parse().expect("address")), "{own}");
        }
        // Reserved (RFC 1112, section 4) and documentation (RFC 3849) addresses belong to no
        // machine.
        for other in ["240.0.0.1:80", "[2001:db8::1]:80"] {
            assert!(!is_local(other.parse().expect("address")), "{other}");
        }
    }

    #[test]
    fn the_same_port_is_refused_on_this_host_only() {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let other = SocketAddr::from((Ipv4Addr::new(240, 0, 0, 1), 80));
        assert!(matches!(refuse_same_port(own, Some(80)), Err(FetchError::SamePort(_))));
        assert!(refuse_same_port(own, Some(81)).is_ok());
        assert!(refuse_same_port(own, None).is_ok());
        assert!(refuse_same_port(other, Some(80)).is_ok());
    }
}
