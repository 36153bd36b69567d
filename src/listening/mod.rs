//! Listeners, and the kernel's options and state of them and their connections: the accept queue,
//! deferred accepts, unsent and unacknowledged bytes.

mod policy;
mod error;
mod bind;
mod file;
mod listener;

pub use error::StartError;
pub use listener::Listener;

use crate::config;
use crate::http::request::UNIX_PEER;
use crate::metrics::AcceptQueue;
#[cfg(target_os = "linux")]
use crate::notes::note;
use rustix::net::{AddressFamily, SocketAddrAny};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;

/// The length and limit of the kernel's accept queue, which holds connections that are complete and
/// not yet accepted. `None` if the kernel does not tell. For a listening socket, Linux stores the
/// two in fields of `TCP_INFO` that count segments for other sockets (`tcp_get_info` in
/// `net/ipv4/tcp.c`). It does not tell of UNIX sockets.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no crate that is used here wraps this option")]
pub fn accept_queue(listener: impl AsFd) -> Option<AcceptQueue> {
    use std::mem::{MaybeUninit, size_of};
    use std::os::fd::AsRawFd;

    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open while `listener` is borrowed; the kernel writes `length`
    // bytes at most; any bytes, zeroes that it leaves included, make a `tcp_info`, which is
    // nothing but integers.
    let info = unsafe {
        let outcome = libc::getsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        );
        if outcome != 0 {
            return None;
        }
        info.assume_init()
    };
    Some(AcceptQueue { waiting: info.tcpi_unacked as usize, bound: info.tcpi_sacked as usize })
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub fn accept_queue(_listener: impl AsFd) -> Option<AcceptQueue> {
    None
}

/// True if a connection waits to be accepted.
pub fn has_client(listener: impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut looked_at = [PollFd::new(&listener, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut looked_at, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Accepts a connection that does not block, and returns it with its peer: [`UNIX_PEER`] if it came
/// by a UNIX socket. What [`TcpStream`] does here, it does to the stream of any family.
#[cfg(target_os = "linux")]
pub fn accept(listener: impl AsFd) -> io::Result<(TcpStream, SocketAddr)> {
    use rustix::net::{SocketFlags, acceptfrom_with};
    // Setting the mode with the same call saves one.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, peer) = acceptfrom_with(listener, flags)?;
    Ok((stream.into(), known_peer(peer)?))
}

/// The same in several steps.
#[cfg(not(target_os = "linux"))]
pub fn accept(listener: impl AsFd) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = rustix::net::acceptfrom(listener)?;
    rustix::io::fcntl_setfd(&stream, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&stream, true)?;
    Ok((stream.into(), known_peer(peer)?))
}

fn known_peer(peer: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    let peer = peer.and_then(|peer| match peer.address_family() {
        AddressFamily::UNIX => Some(UNIX_PEER),
        _ => SocketAddr::try_from(peer).ok(),
    });
    peer.ok_or_else(|| io::Error::other("the peer of a connection has no address"))
}

/// The bytes that the kernel has accepted for a connection's peer and that the peer has not
/// acknowledged (tcp(7), `SIOCOUTQ`). `None` if the kernel does not tell.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no crate that is used here wraps this request")]
pub fn unacknowledged(connection: impl AsFd) -> Option<usize> {
    use std::os::fd::AsRawFd;

    let mut bytes: libc::c_int = 0;
    let descriptor = connection.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open while `connection` is borrowed; the kernel writes one `c_int`,
    // which lives until the call returns.
    let outcome = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &raw mut bytes) };
    if outcome == 0 { usize::try_from(bytes).ok() } else { None }
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub fn unacknowledged(_connection: impl AsFd) -> Option<usize> {
    None
}

/// Makes the kernel hand over a connection only when its first bytes have come, or stops doing so.
/// Then the first read finds data, and the poller need not be asked. If the client sends nothing,
/// the kernel hands over the connection after about a second (tcp(7)).
pub fn defer_accept(listener: impl AsFd, deferred: bool) {
    #[cfg(target_os = "linux")]
    if let Err(error) = set_tcp_option(listener, libc::TCP_DEFER_ACCEPT, deferred.into()) {
        // Not an error: accepting works without it.
        note!(Debug, "cannot set TCP_DEFER_ACCEPT: {error} (continuing without it)");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (listener, deferred);
}

/// Stops new connections; those whose handshake has begun complete and wait to be accepted. Returns
/// false if the system cannot do this.
///
/// The kernel drops SYN segments, so their clients retransmit after a second (RFC 6298, section 2),
/// and are refused then, because the listener is closed. Without this, a connection that completes
/// when the listener is closed would be reset and its request lost.
#[cfg(target_os = "linux")]
pub fn stop_new_connections(listener: impl AsFd) -> bool {
    use socket2::{SockFilter, SockRef};
    // Classic BPF (`linux/bpf_common.h`); for a TCP socket the packet begins with the TCP header,
    // whose byte 13 has the flags (RFC 9293, section 3.1).
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    let attached = SockRef::from(&listener).attach_filter(&filter);
    if let Err(error) = &attached {
        note!(
            Debug,
            "cannot filter new connections: {error} (some may be reset when the listener is closed)"
        );
    }
    attached.is_ok()
}

/// Other systems have other filters.
#[cfg(not(target_os = "linux"))]
pub fn stop_new_connections(_listener: impl AsFd) -> bool {
    false
}

/// Limits the unsent bytes that the kernel buffers for each connection to [`config::UNSENT_BYTES`].
/// More would cost memory for each slow reader. Readers that prove fast get more later
/// ([`set_unsent_bound`]).
pub fn bound_unsent(listener: impl AsFd) {
    set_unsent_bound(listener, config::UNSENT_BYTES);
}

/// Limits the unsent bytes that the kernel buffers for a connection; true if the kernel agrees. A
/// UNIX socket has no such limit: what a slow reader costs there is bounded by its send buffer.
#[cfg(target_os = "linux")]
pub fn set_unsent_bound(socket: impl AsFd, bytes: usize) -> bool {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let outcome = set_tcp_option(socket, libc::TCP_NOTSENT_LOWAT, value);
    if let Err(error) = outcome.as_ref()
        && !is_of_tcp_alone(error)
    {
        note!(Debug, "cannot set TCP_NOTSENT_LOWAT: {error} (slow clients cost more memory)");
    }
    outcome.is_ok()
}

/// Other systems have no such limit.
#[cfg(not(target_os = "linux"))]
pub fn set_unsent_bound(_socket: impl AsFd, _bytes: usize) -> bool {
    false
}

/// True if an option was refused because the socket is no TCP socket, but a UNIX socket.
#[cfg(target_os = "linux")]
fn is_of_tcp_alone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

/// Sets an integer option. Accepted connections inherit it from the listener.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no crate that is used here wraps these options")]
fn set_tcp_option(socket: impl AsFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    use std::mem::size_of;
    use std::os::fd::AsRawFd;

    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel reads one `c_int`,
    // which lives until the call returns.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes connections acknowledge a request together with its response, which saves a segment. A
/// client that sends in pieces waits for an acknowledgement before the next piece (Nagle's
/// algorithm, RFC 9293, section 3.7.4), so the code that finds an incomplete message must
/// acknowledge it.
pub fn acknowledge_with_answer(listener: impl AsFd) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::net::sockopt::set_tcp_quickack(listener, false) {
        note!(Debug, "cannot change TCP_QUICKACK: {error} (continuing without it)");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// Has the connections of a listener on the loopback interface send as fast as their clients read.
///
/// BBR measures what a network carries, and paces what it sends by that (the Internet-Draft "BBR
/// Congestion Control"). Within a machine there is no network: it measures how fast the two
/// programs are, and a timer for each segment makes them slower. So where BBR is the default, these
/// connections get another algorithm, one that each kernel has.
#[cfg(target_os = "linux")]
pub fn leave_unpaced(listener: impl AsFd) {
    use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
    if !tcp_congestion(&listener).is_ok_and(|name| name.starts_with("bbr")) {
        return;
    }
    let mut others = ["cubic", "reno"].iter().map(|name| set_tcp_congestion(&listener, name));
    if !others.any(|set| set.is_ok()) {
        note!(Debug, "cannot replace BBR on the loopback interface (continuing with it)");
    }
}

/// Other systems do not pace.
#[cfg(not(target_os = "linux"))]
pub fn leave_unpaced(_listener: impl AsFd) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_accept_queue_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = || accept_queue(&listener).expect("Linux tells");
        assert_eq!(seen().waiting, 0);
        let _clients = [0; 3].map(|_| TcpStream::connect(address).expect("listening"));
        assert_eq!(seen().waiting, 3);
        assert!(seen().bound >= 3);
        listener.accept().expect("three wait");
        assert_eq!(seen().waiting, 2);
    }

    #[test]
    fn a_deferred_connection_is_handed_over_when_it_sends() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let waiting = || accept_queue(&listener).expect("Linux tells").waiting;
        defer_accept(&listener, true);
        let connect = || TcpStream::connect(address).expect("listening");
        let (mut early, mut late) = (connect(), connect());
        assert_eq!(waiting(), 0);
        early.write_all(b"x").expect("connected");
        assert_eq!(waiting(), 1);
        // New connections are no longer deferred. Those that were stay so.
        defer_accept(&listener, false);
        let _silent = connect();
        assert_eq!(waiting(), 2);
        late.write_all(b"x").expect("connected");
        assert_eq!(waiting(), 3);
    }

    #[test]
    fn stop_new_connections_keeps_those_whose_handshake_has_begun() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut early = TcpStream::connect(address).expect("listening");
        assert!(stop_new_connections(&listener));
        let wait = std::time::Duration::from_millis(50);
        let late = TcpStream::connect_timeout(&address, wait).expect_err("no connection can begin");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut, "the client may retransmit");
        assert!(has_client(&listener));
        let (mut accepted, _) = listener.accept().expect("it had begun");
        assert!(!has_client(&listener));
        early.write_all(b"x").expect("connected");
        io::Read::read_exact(&mut accepted, &mut [0]).expect("what was sent comes");
        drop(listener);
        let late = TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(late.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn unacknowledged_bytes_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (mut connection, _) = listener.accept().expect("one waits");
        assert_eq!(unacknowledged(&connection), Some(0));
        connection.set_nonblocking(true).expect("a socket");
        while connection.write(&[0; 64 << 10]).is_ok() {}
        let left = unacknowledged(&connection);
        assert!(left > Some(0));
        io::Read::read_exact(&mut client, &mut vec![0; 1 << 20]).expect("more than that came");
        assert!(unacknowledged(&connection) < left);
    }

    /// Whatever the system's default is, no connection within the machine is paced; all others, and
    /// those of a socket that was passed, keep theirs.
    #[test]
    fn a_connection_within_the_machine_is_not_paced() {
        use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
        let standard = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let has_bbr = set_tcp_congestion(&standard, "bbr").is_ok();
        let default = tcp_congestion(&standard).expect("Linux tells");
        leave_unpaced(&standard);
        let left = tcp_congestion(&standard).expect("Linux tells");
        match has_bbr {
            true => assert!(["cubic", "reno"].contains(&&*left), "{left}"),
            false => assert_eq!(left, default),
        }
        let _client = TcpStream::connect(standard.local_addr().expect("bound"));
        let (connection, _) = standard.accept().expect("one waits");
        assert_eq!(tcp_congestion(&connection).expect("Linux tells"), left);

        let of = |listener: &Listener| tcp_congestion(listener).expect("Linux tells");
        let bind = |address: &str| {
            let address = address.parse().expect("an address");
            Listener::bind(&[address]).expect("a free port").remove(0)
        };
        let plain = TcpListener::bind("0.0.0.0:0").expect("a free port");
        let default = tcp_congestion(&plain).expect("Linux tells");
        assert_eq!(of(&bind("0.0.0.0:0")), default);
        assert!(!of(&bind("127.0.0.1:0")).starts_with("bbr"));
        if set_tcp_congestion(&plain, "bbr").is_ok() {
            assert_eq!(of(&Listener::adopt(plain).expect("it listens")), "bbr");
        }
    }

    #[test]
    #[allow(unsafe_code, reason = "no crate that is used here wraps this option")]
    fn a_connection_inherits_the_unsent_limit_of_its_listener() {
        use std::os::fd::AsRawFd;

        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        bound_unsent(&listener);
        let _client = TcpStream::connect(listener.local_addr().expect("bound"));
        let (connection, _) = listener.accept().expect("one waits");
        let mut value: libc::c_int = 0;
        let mut length = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the descriptor is open; the kernel writes `length` bytes at most, which are those
        // of one `c_int`.
        let outcome = unsafe {
            libc::getsockopt(
                connection.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_NOTSENT_LOWAT,
                (&raw mut value).cast(),
                &raw mut length,
            )
        };
        assert_eq!((outcome, value as usize), (0, config::UNSENT_BYTES));
    }
}
