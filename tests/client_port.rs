//! Uses the client port twenty times in a row against a server that never closes.
//!
//! This is the only test in its program, because no other test may start a process meanwhile:
//! between fork and exec, a child has copies of sockets that this process closes, and keeps them
//! open.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use cws::client::{Fetch, Outcome, fetch};
use socket2::{Domain, Socket, Type};

const RUNS: usize = 20;
const HELLO: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Accepts one connection, which must come from this port, answers it, and leaves it open.
fn answer_one(listener: &TcpListener, from: u16) -> TcpStream {
    let (mut stream, peer) = listener.accept().unwrap();
    assert_eq!(peer.port(), from);
    stream.read_exact(&mut [0; b"GET testfile HTTP/1.0\r\n\r\n".len()]).unwrap();
    stream.write_all(HELLO).unwrap();
    stream
}

#[test]
fn no_run_leaves_a_time_wait_for_the_next_one() {
    // Bound with SO_REUSEADDR here and in the client, so that no other program gets the port.
    let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    reserved.set_reuse_address(true).unwrap();
    reserved.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    let from = reserved.local_addr().unwrap().as_socket().unwrap().port();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        // Keep all connections open until the end.
        (0..RUNS).map(|_| answer_one(&listener, from)).collect::<Vec<_>>()
    });
    let request = Fetch {
        client_port: Some(from),
        fin_wait: Duration::from_millis(10),
        ..Fetch::new("127.0.0.1".parse().unwrap(), port)
    };
    for _ in 0..RUNS {
        let mut printed = Vec::new();
        let outcome = fetch(&request, &mut printed).unwrap();
        assert_eq!(outcome, Outcome::Complete { status: Some(200) });
        assert_eq!(printed, HELLO);
    }
    server.join().unwrap();
}
