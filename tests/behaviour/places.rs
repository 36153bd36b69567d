//! Eviction: when all places are taken, the connection that has made the least progress is closed
//! first.
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, gated, get, wait_for};
#[cfg(feature = "admin")]
use cws::Admin;
use cws::{CloseReason, Config, ConnectionPhase, Request, Response, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const PLACES: usize = 50;
/// A timeout that does not expire within a test.
const HOUR: Duration = Duration::from_secs(3600);

/// A server with one worker and few places. The response at `/large` exceeds all socket buffers.
fn start(config: Config) -> Server {
    let large = bytes::Bytes::from(vec![b'x'; 32 << 20]);
    let handler = move |request: &Request<'_>| match request.target.raw {
        b"/large" => Response::ok("text/plain", large.clone()),
        _ => Response::ok("text/plain", "small"),
    };
    let max_connections = PLACES.min(config.max_connections);
    let config = config.workers(1).max_connections(max_connections).idle_timeout(HOUR);
    Server::start(config, handler).unwrap()
}

/// Sends as much as there is room for.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_nonblocking(true).unwrap();
    let mut left = bytes;
    while !left.is_empty() {
        match stream.write(left) {
            Ok(count) => left = &left[count..],
            // The buffer is full, or the connection was closed.
            Err(_) => break,
        }
    }
}

/// Takes all places with clients that send `bytes` and nothing else, and adds another at every
/// `pause` while `then` runs.
fn besiege(server: &Server, bytes: &[u8], pause: Duration, then: impl FnOnce()) {
    let address = server.addresses()[0];
    let besieger = || {
        let mut stream = connect(address);
        send(&mut stream, bytes);
        stream
    };
    let mut held: Vec<_> = (0..PLACES).map(|_| besieger()).collect();
    wait_for("all places to be taken", || (server.open_connections() == PLACES).then_some(()));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                held.push(besieger());
                std::thread::sleep(pause);
            }
        });
        // Dropped at the end of `then`, also if it panics.
        let _end = AtEnd(|| is_over.store(true, Ordering::SeqCst));
        then();
    });
}

/// Calls a function when it is dropped.
struct AtEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Checks that complete requests of new clients are answered long before the timeouts of the
/// others.
fn new_clients_are_served(address: SocketAddr, path: &str, times: usize) {
    for _ in 0..times {
        let start = Instant::now();
        assert_eq!(get(address, path).status, 200);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[test]
fn incomplete_heads_give_way_to_a_complete_request() {
    let server = start(Config::default().header_timeout(HOUR));
    let address = server.addresses()[0];
    besiege(&server, &GET[..10], Duration::from_millis(2), || {
        new_clients_are_served(address, "/", 10);
    });
    assert!(server.snapshot().closed(CloseReason::Displaced) >= 1);
}

#[test]
fn silent_clients_give_way_to_a_complete_request() {
    let server = start(Config::default());
    let address = server.addresses()[0];
    besiege(&server, b"", Duration::from_millis(2), || {
        new_clients_are_served(address, "/", 10);
    });
    assert!(server.snapshot().closed(CloseReason::Evicted) >= 1);
}

#[test]
fn incomplete_bodies_give_way_to_a_complete_request() {
    let server = start(Config::default().body_timeout(HOUR));
    let address = server.addresses()[0];
    let short = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfour";
    besiege(&server, short, Duration::from_millis(2), || {
        new_clients_are_served(address, "/", 10);
    });
    assert!(server.snapshot().closed(CloseReason::Displaced) >= 1);
}

#[test]
fn clients_that_do_not_read_give_way_to_a_complete_request() {
    let server = start(Config::default().write_timeout(Duration::from_secs(8)));
    let address = server.addresses()[0];
    let large = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    besiege(&server, large, Duration::from_millis(50), || {
        new_clients_are_served(address, "/", 2);
    });
    assert!(server.snapshot().closed(CloseReason::Displaced) >= 1);
}

/// Received bytes are read before a connection is judged, so a client that completes its request is
/// served. An incomplete one gets a 408.
#[test]
fn an_evicted_client_gets_408_and_one_that_completes_its_request_stays() {
    let config = Config::default().header_timeout(HOUR);
    let server = start(config.max_connections(2));
    let address = server.addresses()[0];
    let mut halves: Vec<_> = (0..2).map(|_| connect(address)).collect();
    for stream in &mut halves {
        stream.write_all(&GET[..10]).unwrap();
    }
    wait_for("two incomplete heads", || {
        (server.snapshot().connections(ConnectionPhase::ReadingHead) == 2).then_some(())
    });
    let start = Instant::now();
    wait_for("the grace to pass", || {
        (start.elapsed() > 2 * cws::internals::config::PARTIAL_GRACE).then_some(())
    });
    halves[0].write_all(&GET[10..]).unwrap();
    assert_eq!(get(address, "/").body, b"small");
    assert_eq!(Reply::read(&mut halves[0]).body, b"small", "it completed its request");
    let mut last_bytes = Vec::new();
    halves[1].read_to_end(&mut last_bytes).expect("a clean end, no reset");
    assert!(last_bytes.starts_with(b"HTTP/1.1 408 "), "{}", last_bytes.escape_ascii());
}

/// Complete requests keep their places, however long they take. New connections wait in the kernel.
#[test]
fn complete_requests_keep_their_places_and_new_connections_wait() {
    let (gate, handler) = gated();
    let config = Config::default().workers(1).max_connections(2);
    let server = Server::start(config, handler).unwrap();
    let address = server.addresses()[0];
    // Each sends its request before the next one connects, so that none is silent while places are
    // short.
    let ask = |_| {
        let mut stream = connect(address);
        stream.write_all(GET).unwrap();
        stream
    };
    let mut clients: Vec<_> = (0..3).map(ask).collect();
    wait_for("two places to be taken", || (server.open_connections() == 2).then_some(()));
    let start = Instant::now();
    wait_for("a while", || {
        (start.elapsed() > cws::internals::config::EVICTABLE_AFTER).then_some(())
    });
    std::thread::scope(|scope| {
        // They are served in the order in which their requests were read.
        scope.spawn(|| {
            for _ in 0..3 {
                gate.wait();
            }
        });
        for stream in &mut clients {
            assert_eq!(Reply::read(stream).body, b"done");
        }
    });
    assert_eq!(server.snapshot().closed(CloseReason::Displaced), 0);
}

#[cfg(feature = "admin")]
#[test]
fn health_checks_are_answered_while_all_admin_places_are_taken() {
    let server = start(Config::default());
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let admin = Admin::start(listen, server.observer()).unwrap();
    let address = admin.addresses()[0];
    let places = cws::internals::config::ADMIN_CONNECTIONS;
    let pages = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(4000);
    for bytes in [&GET[..10], &pages, b""] {
        let _held: Vec<_> = (0..2 * places)
            .map(|_| {
                let mut stream = connect(address);
                send(&mut stream, bytes);
                stream
            })
            .collect();
        new_clients_are_served(address, "/healthz", 3);
    }
}

/// One client of each kind holds a place. As new clients come whose requests take long, the others
/// are closed in order of their progress.
#[test]
fn the_client_with_the_least_progress_is_evicted_first() {
    let large = bytes::Bytes::from(vec![b'x'; 32 << 20]);
    let (entered, entrances) = crossbeam_channel::unbounded();
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let handler = move |request: &Request<'_>| match request.target.raw {
        b"/large" => Response::ok("text/plain", large.clone()),
        b"/hold" => {
            let _ = entered.send(());
            let _ = released.recv();
            Response::ok("text/plain", "held")
        }
        _ => Response::ok("text/plain", "small"),
    };
    let write_timeout = Duration::from_secs(8);
    let config = Config::default().workers(4).max_connections(4).write_timeout(write_timeout);
    let config = config.header_timeout(HOUR).body_timeout(HOUR).idle_timeout(HOUR);
    let server = Server::start(config, handler).unwrap();
    let address = server.addresses()[0];
    // In reverse order of eviction, so that age would give another order.
    let kinds: [&[u8]; 4] = [
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfour",
        &GET[..10],
        GET,
    ];
    let phases = [
        ConnectionPhase::Flushing,
        ConnectionPhase::ReadingBody,
        ConnectionPhase::ReadingHead,
        ConnectionPhase::Idle,
    ];
    let mut held = Vec::new();
    for (bytes, phase) in kinds.iter().zip(phases) {
        let mut stream = connect(address);
        stream.write_all(bytes).unwrap();
        wait_for("its phase", || (server.snapshot().connections(phase) == 1).then_some(()));
        held.push(stream);
    }
    let start = Instant::now();
    wait_for("all to be there for a while", || {
        (start.elapsed() > cws::internals::config::EVICTABLE_AFTER.max(write_timeout / 15))
            .then_some(())
    });
    let mut new = Vec::new();
    for left in (0..4).rev() {
        let mut stream = connect(address);
        stream.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        entrances.recv_timeout(crate::support::PATIENCE).unwrap();
        let there = phases.map(|phase| server.snapshot().connections(phase));
        let expected: [usize; 4] = std::array::from_fn(|kind| usize::from(kind < left));
        assert_eq!(there, expected, "after {} new ones", 4 - left);
        new.push(stream);
    }
    drop(release);
    for stream in &mut new {
        assert_eq!(Reply::read(stream).body, b"held");
    }
}
