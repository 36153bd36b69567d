//! Large files: complete for many readers at once, sent while no worker is free, and bounded in the
//! kernel for readers that stall.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]

mod support;

use cws::internals::config as bounds;
use cws::{Config, Handler, Request, Response, Server, StaticFiles};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use support::{Reply, Site, connect, get, wait_for};

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
                assert!(Reply::read(&mut stream).body == expected);
                // The kernel may now buffer more for this connection.
                stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                assert!(Reply::read(&mut stream).body == expected);
            });
        }
    });
}

/// A reader that takes a few bytes at a time leaves the socket neither empty nor full.
#[test]
fn a_reader_that_opens_and_closes_its_window_gets_everything() {
    let site = site(2 * MIB);
    let files = StaticFiles::new(site.path()).unwrap();
    let server = Server::start(Config::default().workers(1), files).unwrap();
    let mut stream = ask(server.addresses()[0]);
    socket2::SockRef::from(&stream).set_recv_buffer_size(8192).unwrap();
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut sizes = [1, 100, 64 << 10, 3000].into_iter().cycle();
    while !received.ends_with(&content(2 * MIB)[2 * MIB - 300..]) {
        let size: usize = sizes.next().unwrap();
        let read = stream.read(&mut buffer[..size]).unwrap();
        assert!(read > 0, "the connection is kept");
        received.extend_from_slice(&buffer[..read]);
    }
    assert!(Reply::first(&received, false).unwrap().0.body == content(2 * MIB));
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
    for reader in &mut readers {
        assert!(Reply::read(reader).body == content(32 * MIB));
    }
    gate.wait();
    assert_eq!(holding.join().unwrap(), b"held");
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
