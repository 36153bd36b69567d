//! A process that was stopped for longer than its deadlines serves what came in time.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{RealServer, Reply, Site, TESTFILE, connect, wait_for};

const GET: &[u8] = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";

/// Shorter than the stalls, and longer than what goes between two of them takes.
const TIMEOUT: &str = "1s";
const STALL: Duration = Duration::from_millis(1300);

fn start(site: &Site, timeout: &str) -> RealServer {
    // All may come at once, and none is refused for that.
    let queue = ["--queue", "4096", "--access-log", "off"];
    RealServer::start(site, &[&["--workers", "2", timeout, TIMEOUT][..], &queue].concat())
}

/// Stops the process for longer than its deadlines, and does something meanwhile.
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
fn requests_that_came_while_it_was_stopped_are_answered() {
    let site = Site::new();
    let server = start(&site, "--idle-timeout");
    // The table is looked at twice, for those that are reported in one wait and for the others.
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
fn heads_that_were_completed_while_it_was_stopped_are_served() {
    let site = Site::new();
    let server = start(&site, "--header-timeout");
    let (first, second) = GET.split_at(20);
    let mut streams: Vec<_> = (0..20).map(|_| kept(&server)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(first).unwrap());
    // Served behind them, so the halves have been read.
    kept(&server);
    stall(&server, || streams.iter_mut().for_each(|stream| stream.write_all(second).unwrap()));
    for stream in &mut streams {
        assert_eq!(Reply::read(stream).body, TESTFILE);
    }
}

/// A client that read while the server was stopped has taken its response in time.
#[test]
fn responses_that_were_read_while_it_was_stopped_go_on() {
    let site = Site::new();
    let large = 32 << 20;
    site.put("large", vec![b'x'; large]);
    let server = start(&site, "--write-timeout");
    let mut stream = connect(server.address());
    socket2::SockRef::from(&stream).set_recv_buffer_size(1 << 20).unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = vec![0; 64 << 10];
    stream.read_exact(&mut bytes).unwrap();
    stall(&server, || stream.read_exact(&mut bytes).unwrap());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > large - (128 << 10), "{}", rest.len());
}

#[test]
fn who_says_nothing_is_closed_all_the_same() {
    let site = Site::new();
    let server = start(&site, "--idle-timeout");
    let mut silent = kept(&server);
    stall(&server, || ());
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "the idle timeout");
}
