//! What the kernel does for a listener and its connections: it completes them, keeps them until
//! they are accepted, and knows what their peers have taken.

use crate::config;
use crate::metrics::AcceptQueue;
use crate::notes::note;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

/// The kernel's queue of connections that are complete and wait to be accepted, where it tells: for
/// a listening socket Linux puts the queue's length and bound into `TCP_INFO` (`tcp_get_info` in
/// `net/ipv4/tcp.c`), in the fields that tell of unacknowledged segments elsewhere.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no crate that is used here wraps this option")]
pub fn accept_queue(listener: &TcpListener) -> Option<AcceptQueue> {
    use std::mem::{MaybeUninit, size_of};
    use std::os::fd::AsRawFd;

    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open while `listener` is borrowed; the kernel writes `length`
    // bytes at most; any bytes, zeroes that it leaves included, make a `tcp_info`, which is
    // nothing but integers.
    let info = unsafe {
        let outcome = libc::getsockopt(
            listener.as_raw_fd(),
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
pub fn accept_queue(_listener: &TcpListener) -> Option<AcceptQueue> {
    None
}

/// True where a connection waits to be accepted.
pub fn has_client(listener: &TcpListener) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut looked_at = [PollFd::new(listener, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut looked_at, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Bytes that the kernel has taken for a connection's peer, and that the peer has not (tcp(7),
/// `SIOCOUTQ`); none where it does not tell.
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

/// Has the kernel keep a connection back until its first bytes have come, or no longer: so the
/// first read finds them, and the poller need not be asked. One whose client says nothing is handed
/// over when the kernel has asked after it, which it does after a second (tcp(7)).
pub fn defer_accept(listener: &TcpListener, deferred: bool) {
    #[cfg(target_os = "linux")]
    if let Err(error) = set_tcp_option(listener, libc::TCP_DEFER_ACCEPT, deferred.into()) {
        // Accepting works without it as well.
        note!(Debug, "cannot change when connections are handed over: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (listener, deferred);
}

/// Has no new connection begin, from now on; those that have begun go on, and wait to be accepted.
/// False where the system cannot do that.
///
/// The kernel drops the segments that open connections, so their clients ask again, after a second
/// (RFC 6298, section 2), and are refused then, when nobody listens. A connection that is complete
/// when its listener is closed would be reset instead, and its request lost.
#[cfg(target_os = "linux")]
pub fn begin_no_more(listener: &TcpListener) -> bool {
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
    let attached = SockRef::from(listener).attach_filter(&filter);
    if let Err(error) = &attached {
        note!(Debug, "cannot keep connections from beginning: {error}");
    }
    attached.is_ok()
}

/// Other systems have other filters.
#[cfg(not(target_os = "linux"))]
pub fn begin_no_more(_listener: &TcpListener) -> bool {
    false
}

/// Has connections take no more than [`config::UNSENT_BYTES`] ahead of what can go out.
///
/// What the kernel holds beyond that is of no use: it costs memory for each client that is slow to
/// read, and when a fast one has read, the kernel sends the next of it from within the client's
/// acknowledgement, and wakes the sender then.
pub fn bound_unsent(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    if let Err(error) = set_tcp_option(listener, libc::TCP_NOTSENT_LOWAT, config::UNSENT_BYTES) {
        note!(Debug, "cannot bound what connections hold unsent: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// Sets an option that is a number. Connections have what their listener has.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no crate that is used here wraps these options")]
fn set_tcp_option(
    listener: &TcpListener,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    use std::mem::size_of;
    use std::os::fd::AsRawFd;

    // SAFETY: the descriptor is open while `listener` is borrowed; the kernel reads one `c_int`,
    // which lives until the call returns.
    let outcome = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has connections acknowledge a request along with its answer, which takes a segment less than
/// doing so at once. A client that sends in pieces waits for an acknowledgement before the next one
/// (Nagle's algorithm, RFC 9293, section 3.7.4), so whoever finds half of something must give it.
pub fn acknowledge_with_answer(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::net::sockopt::set_tcp_quickack(listener, false) {
        note!(Debug, "cannot change how connections acknowledge: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpStream;

    #[test]
    fn what_waits_is_counted() {
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
    fn what_is_kept_back_comes_when_it_speaks() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let waiting = || accept_queue(&listener).expect("Linux tells").waiting;
        defer_accept(&listener, true);
        let connect = || TcpStream::connect(address).expect("listening");
        let (mut early, mut late) = (connect(), connect());
        assert_eq!(waiting(), 0);
        early.write_all(b"x").expect("connected");
        assert_eq!(waiting(), 1);
        // From now on the kernel keeps nobody back; but whom it has, it has.
        defer_accept(&listener, false);
        let _silent = connect();
        assert_eq!(waiting(), 2);
        late.write_all(b"x").expect("connected");
        assert_eq!(waiting(), 3);
    }

    #[test]
    fn what_has_begun_goes_on_and_nothing_else_begins() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut early = TcpStream::connect(address).expect("listening");
        assert!(begin_no_more(&listener));
        let wait = std::time::Duration::from_millis(50);
        let late = TcpStream::connect_timeout(&address, wait).expect_err("nothing begins");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut, "it may ask again");
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
    fn what_the_peer_has_not_taken_is_known() {
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

    #[test]
    #[allow(unsafe_code, reason = "no crate that is used here wraps this option")]
    fn a_connection_has_the_bound_of_its_listener() {
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
        assert_eq!((outcome, value), (0, config::UNSENT_BYTES));
    }
}
