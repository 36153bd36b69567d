//! Large files: complete for many readers at once, sent while no worker is free, and bounded in the
//! kernel for readers that stall.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]

use crate::support::{Site, connect, get, wait_for};
use cws::internals::config as bounds;
use cws::{Config, Handler, Immediate, Request, Response, Server, StaticFiles};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Content in which each place differs from its neighbours at the distance of a piece.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn site(length: usize) -> Site {
    let site = Site::new();
    site.put("large", content(length));
    site
}

fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream
}

/// The body of the next response, which has this length.
fn read_body(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    body
}

#[test]
fn many_readers_at_once_get_a_complete_file_each() {
    let site = site(3 * MIB + 7);
    let files = StaticFiles::new(site.path()).unwrap();
    let server = Server::start(Config::default().workers(2), files).unwrap();
    let (address, expected) = (server.addresses()[0], content(3 * MIB + 7));
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut stream = ask(address);
                assert!(read_body(&mut stream, expected.len()) == expected);
                // The kernel may now buffer more for this connection.
                stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                assert!(read_body(&mut stream, expected.len()) == expected);
            });
        }
    });
}

/// A reader that takes a few bytes at a time leaves the socket neither empty nor full.
#[test]
fn a_reader_that_opens_and_closes_its_window_gets_everything() {
    let site = site(12 * MIB);
    let files = StaticFiles::new(site.path()).unwrap();
    let server = Server::start(Config::default().workers(1), files).unwrap();
    let mut stream = ask(server.addresses()[0]);
    let expected = content(12 * MIB);
    let mut received = read_body(&mut stream, 1);
    let mut sizes = [1, 100, 512 << 10, 3000].into_iter().cycle();
    while received.len() < expected.len() {
        let mut buffer = vec![0; sizes.next().unwrap().min(expected.len() - received.len())];
        stream.read_exact(&mut buffer).unwrap();
        received.extend_from_slice(&buffer);
    }
    assert!(received == expected);
}

/// Files, and a path that holds its worker until the test releases it.
struct Held<'a> {
    files: StaticFiles,
    gate: &'a Barrier,
}

impl Handler for Held<'static> {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, state: &mut ()) -> Result<Response, cws::Error> {
        if request.target.raw == b"/hold" {
            self.gate.wait();
            self.gate.wait();
            return Ok(Response::ok("text/plain", "held"));
        }
        self.files.handle(request, state)
    }
}

#[test]
fn readers_are_served_while_all_workers_are_held() {
    let site = site(32 * MIB);
    let gate: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
    let files = StaticFiles::new(site.path()).unwrap();
    let server = Server::start(Config::default().workers(1), Held { files, gate }).unwrap();
    let address = server.addresses()[0];
    let mut readers: Vec<_> = (0..4).map(|_| ask(address)).collect();
    let parked = || server.snapshot().connections(cws::ConnectionPhase::Flushing) == 4;
    wait_for("the readers' sockets to be full", || parked().then_some(()));
    let holding = thread::spawn(move || get(address, "/hold").body);
    gate.wait();
    let expected = content(32 * MIB);
    for reader in &mut readers {
        assert!(read_body(reader, expected.len()) == expected);
    }
    gate.wait();
    assert_eq!(holding.join().unwrap(), b"held");
}

/// Holds the acceptor itself at `/hold`. `/small` tells for how many readers there is a piece.
struct HeldAcceptor {
    files: StaticFiles,
    gate: &'static Barrier,
    readers: Arc<OnceLock<Vec<TcpStream>>>,
}

impl Handler for HeldAcceptor {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, state: &mut ()) -> Result<Response, cws::Error> {
        self.files.handle(request, state)
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }
}

impl Immediate for HeldAcceptor {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        match request.target.raw {
            b"/hold" => {
                self.gate.wait();
                self.gate.wait();
                Some(Response::text("held"))
            }
            b"/small" => {
                // Less than a piece can be a rest that was on its way.
                let mut piece = vec![0; bounds::SEND_PIECE / 2];
                let mut has_piece =
                    |of: &TcpStream| of.peek(&mut piece).is_ok_and(|there| there == piece.len());
                let readers = self.readers.get().unwrap();
                let count = readers.iter().filter(|of| has_piece(of)).count();
                Some(Response::text(count.to_string()))
            }
            _ => None,
        }
    }
}

/// The acceptor finds room in the sockets of all readers, and then a request that came later: it
/// answers the request first.
#[test]
fn a_request_waits_for_no_download() {
    let site = site(32 * MIB);
    // On a busy machine a reader may have stood in line already when the acceptor was held.
    let seen: Vec<usize> = std::iter::repeat_with(|| readers_before_a_request(site.path()))
        .take(5)
        .take_while(|&readers| readers > 0)
        .collect();
    assert!(seen.len() < 5, "readers that were served before a request: {seen:?}");
}

/// The number of readers that get a piece before a request that comes behind them.
fn readers_before_a_request(root: &Path) -> usize {
    let gate: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
    let readers = Arc::new(OnceLock::new());
    let files = StaticFiles::new(root).unwrap();
    let handler = HeldAcceptor { files, gate, readers: Arc::clone(&readers) };
    let config = Config::default().workers(1).drain_timeout(Duration::from_millis(50));
    let server = Server::start(config, handler).unwrap();
    let address = server.addresses()[0];
    let downloads: Vec<_> = (0..8).map(|_| ask(address)).collect();
    let observer = server.observer();
    let mut sent = 0;
    wait_for("the readers' sockets to be full", || {
        let transfers = observer.transfers(downloads.len());
        let before = std::mem::replace(&mut sent, transfers.iter().map(|of| of.sent).sum());
        (transfers.len() == downloads.len() && sent == before).then_some(())
    });
    let mut small = connect(address);
    let holding = thread::spawn(move || get(address, "/hold").body);
    gate.wait();
    // Nobody sends now but the kernel, until it has nothing left.
    let mut buffer = vec![0; MIB];
    downloads.iter().for_each(|of| of.set_nonblocking(true).unwrap());
    let mut drain = || downloads.iter().any(|mut of| matches!(of.read(&mut buffer), Ok(1..)));
    let mut empty = 0;
    while empty < 3 {
        empty = if drain() { 0 } else { empty + 1 };
    }
    readers.set(downloads.iter().map(|of| of.try_clone().unwrap()).collect()).unwrap();
    small.write_all(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    gate.wait();
    let count = String::from_utf8(read_body(&mut small, 1)).unwrap().parse().unwrap();
    assert_eq!(holding.join().unwrap(), b"held");
    // They go on: each has its turn.
    let mut seen = vec![false; downloads.len()];
    wait_for("all readers to get more", || {
        for (mut of, seen) in downloads.iter().zip(&mut seen) {
            *seen |= matches!(of.read(&mut buffer), Ok(1..));
        }
        seen.iter().all(|&seen| seen).then_some(())
    });
    count
}

/// The bytes that the kernel holds for both ends of a stalled download.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_holds_little_for_a_reader_that_never_reads() {
    let site = site(32 * MIB);
    let files = StaticFiles::new(site.path()).unwrap();
    let config = Config::default().workers(1).drain_timeout(Duration::from_millis(50));
    let server = Server::start(config, files).unwrap();
    let stalled: Vec<_> = (0..8)
        .map(|_| {
            let stream = connect(server.addresses()[0]);
            // A window that does not grow.
            socket2::SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
            (&stream).write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let parked = || server.snapshot().connections(cws::ConnectionPhase::Flushing) == 8;
    wait_for("the readers' sockets to be full", || parked().then_some(()));
    // They end with what the kernel holds, because the rest is not sent any more.
    server.shutdown();
    for mut stream in stalled {
        let mut held = Vec::new();
        let _ = stream.read_to_end(&mut held);
        assert!(held.len() > bounds::UNSENT_BYTES / 2, "{}", held.len());
        let most = bounds::UNSENT_BYTES + bounds::SEND_PIECE + (256 << 10);
        assert!(held.len() < most, "{} bytes", held.len());
    }
}
