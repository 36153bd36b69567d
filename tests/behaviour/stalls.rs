//! A process that was suspended for longer than its timeouts still serves requests that came in
//! time.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, TESTFILE, connect, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";

/// Shorter than the stalls, and longer than the actions between two stalls.
const TIMEOUT: &str = "1s";
const STALL: Duration = Duration::from_millis(1300);

fn start(site: &Site, timeout: &str) -> RealServer {
    // All requests may come at once, and none is refused for it.
    let queue = ["--queue", "4096", "--access-log", "off"];
    RealServer::start(site, &[&["--workers", "2", timeout, TIMEOUT][..], &queue].concat())
}

/// Suspends the process for longer than its timeouts, and runs `meanwhile`.
fn stall(server: &RealServer, meanwhile: impl FnOnce()) {
    server.signal("STOP");
    let since = Instant::now();
    meanwhile();
    wait_for("the deadlines to pass", || (since.elapsed() > STALL).then_some(()));
    server.signal("CONT");
}

/// A connection that has been served.
fn kept(server: &RealServer) -> TcpStream {
    let mut stream = connect(server.address());
    stream.write_all(GET).unwrap();
    assert_eq!(Reply::read(&mut stream).body, TESTFILE);
    stream
}

#[test]
fn requests_that_came_during_a_stall_are_answered() {
    let site = Site::new();
    let server = start(&site, "--idle-timeout");
    // More connections than the events of one wait: some are only found by the sweep.
    let mut streams: Vec<_> = (0..1200).map(|_| kept(&server)).collect();
    stall(&server, || streams.iter_mut().for_each(|stream| stream.write_all(GET).unwrap()));
    let lost = streams.iter_mut().filter_map(|stream| {
        let mut start = [0; 15];
        let outcome = stream.read_exact(&mut start);
        (outcome.is_err() || start != *b"HTTP/1.1 200 OK").then_some(outcome)
    });
    let lost: Vec<_> = lost.collect();
    assert!(lost.is_empty(), "{} of 1200 were lost: {:?}", lost.len(), lost[0]);
}

#[test]
fn heads_completed_during_a_stall_are_served() {
    let site = Site::new();
    let server = start(&site, "--header-timeout");
    let (first, second) = GET.split_at(20);
    let mut streams: Vec<_> = (0..20).map(|_| kept(&server)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(first).unwrap());
    // Served after them, so the server has read the incomplete heads.
    kept(&server);
    stall(&server, || streams.iter_mut().for_each(|stream| stream.write_all(second).unwrap()));
    for stream in &mut streams {
        assert_eq!(Reply::read(stream).body, TESTFILE);
    }
}

/// A client that read during the stall has read its response in time.
#[test]
fn responses_read_during_a_stall_continue() {
    let site = Site::new();
    let large = 32 << 20;
    site.put("large", vec![b'x'; large]);
    let server = start(&site, "--write-timeout");
    let mut stream = connect(server.address());
    socket2::SockRef::from(&stream).set_recv_buffer_size(1 << 20).unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = vec![0; 64 << 10];
    stream.read_exact(&mut bytes).unwrap();
    wait_for("as much again", || {
        stream.peek(&mut bytes).is_ok_and(|there| there == bytes.len()).then_some(())
    });
    stall(&server, || stream.read_exact(&mut bytes).unwrap());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > large - (128 << 10), "{}", rest.len());
}

#[test]
fn silent_connections_are_closed_after_a_stall() {
    let site = Site::new();
    let server = start(&site, "--idle-timeout");
    let mut silent = kept(&server);
    stall(&server, || ());
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0, "the idle timeout");
}
