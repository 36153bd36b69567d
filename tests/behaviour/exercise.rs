//! The exercise as an automatic grader would check it: the names of both binaries, the client's
//! port, the output byte for byte, and many concurrent clients.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, TESTFILE, command};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;
use std::time::{Duration, Instant};

fn client(server: SocketAddr, more: &[&str]) -> Output {
    let mut command = command(env!("CARGO_BIN_EXE_client"));
    command.args([&server.ip().to_string(), &server.port().to_string()]).args(more);
    command.output().unwrap()
}

/// A port for the client alone. The socket is bound with `SO_REUSEADDR`, as the client's own, so
/// that no other program gets the port while it is open.
fn reserved_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

#[test]
fn the_client_prints_the_servers_response_unchanged() {
    let site = Site::new();
    let server = RealServer::start(&site, &[]);
    let output = client(server.address(), &[]);
    assert!(output.status.success());
    assert_eq!(output.stderr, b"");
    let reply = &Reply::all(&output.stdout, false)[..];
    let [reply] = reply else { panic!("one response") };
    assert_eq!((reply.version.as_str(), reply.status), ("HTTP/1.0", 200));
    assert_eq!(reply.field("Connection"), Some("close"));
    assert_eq!(reply.body, TESTFILE);
    // The same bytes as on a raw socket, except for the date.
    let raw = crate::support::exchange(server.address(), b"GET testfile HTTP/1.0\r\n\r\n");
    let undated = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect()
    };
    let (printed, sent): (Vec<String>, Vec<String>) = (undated(&output.stdout), undated(&raw));
    assert_eq!(printed, sent);
}

/// Several times from one port: neither side may leave the port blocked.
#[test]
fn the_client_connects_from_its_port() {
    let site = Site::new();
    let server = RealServer::start(&site, &[]);
    let (_reserved, port) = reserved_port();
    for run in 0..5 {
        let output = client(server.address(), &[&port.to_string()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "run {run}: {errors}");
    }
    let log = crate::support::wait_for("five lines", || {
        let log = server.stderr();
        (log.matches("\"GET testfile HTTP/1.0\" 200").count() == 5).then_some(log)
    });
    assert_eq!(log.matches(&format!("127.0.0.1:{port} ")).count(), 5, "{log}");
}

#[test]
fn path_head_and_fail_options_work() {
    let site = Site::new();
    let server = RealServer::start(&site, &[]);
    let output = client(server.address(), &["--path", "nosuch", "--fail"]);
    assert_eq!(output.status.code(), Some(22));
    assert!(output.stdout.starts_with(b"HTTP/1.0 404 Not Found\r\n"));
    let output = client(server.address(), &["--path", "nosuch"]);
    assert_eq!(output.status.code(), Some(0), "a complete response");
    let output = client(server.address(), &["--head"]);
    assert!(output.status.success());
    assert!(output.stdout.ends_with(b"\r\n\r\n"), "only the head");
}

/// Ten clients on W workers take ceil(10/W) delays, and far less than ten.
#[test]
fn ten_clients_at_once_share_the_workers() {
    let site = Site::new();
    let delay = Duration::from_millis(400);
    for (workers, rounds) in [(10, 1), (4, 3)] {
        let options = ["--workers", &workers.to_string(), "--delay", "400ms"];
        let server = RealServer::start(&site, &options);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let output = client(server.address(), &[]);
                    assert!(output.status.success());
                    assert!(output.stdout.ends_with(TESTFILE));
                });
            }
        });
        let took = start.elapsed();
        assert!(took >= delay * rounds, "{workers} workers took {took:?}");
        // One worker fewer would take one or two rounds more.
        assert!(took < delay * (rounds + 2), "{workers} workers took {took:?}");
    }
}
