//! The kernel's queue of connections that are complete and wait to be accepted.

use crate::metrics::AcceptQueue;
use std::net::TcpListener;

/// What the kernel says of a listener's queue, where it does: for a listening socket Linux puts
/// the queue's length and bound into `TCP_INFO` (`tcp_get_info` in `net/ipv4/tcp.c`), in the
/// fields that tell of unacknowledged segments elsewhere.
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
    Some(AcceptQueue { waiting: info.tcpi_unacked as usize, most: info.tcpi_sacked as usize })
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub fn accept_queue(_listener: &TcpListener) -> Option<AcceptQueue> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn what_waits_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = || accept_queue(&listener).expect("Linux tells");
        assert_eq!(seen().waiting, 0);
        let _clients = [0; 3].map(|_| TcpStream::connect(address).expect("listening"));
        assert_eq!(seen().waiting, 3);
        assert!(seen().most >= 3);
        listener.accept().expect("three wait");
        assert_eq!(seen().waiting, 2);
    }
}
