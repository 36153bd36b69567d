//! The server under a small memory limit: it survives clients that demand much memory, and serves
//! the others.
#![cfg(feature = "cli")]
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use crate::support::limits::{MemoryLimit, Polite};
use crate::support::{PATIENCE, RealServer, Reply, Site, TESTFILE, connect, wait_for};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The memory budget of the server.
const MEMORY_OPTION: [&str; 2] = ["--memory", "24MiB"];

/// The kernel's limit: more than twice the budget, for threads, code and sockets too.
const LIMIT: u64 = 64 << 20;

/// The size of a head in bytes, near the maximum.
const HEAD: usize = 15_000;

/// The descriptors that this process needs: one for each client.
const DESCRIPTORS: usize = 8192;

/// Starts the real server for `site` under a memory limit.
fn start(limit: &MemoryLimit, site: &Site, options: &[&str]) -> RealServer {
    let mut command = limit.command();
    command.args(["--root", site.path().to_str().unwrap(), "0", "--workers", "2"]);
    limit.spawn(with_memory(command, options))
}

fn with_memory(mut command: Command, options: &[&str]) -> Command {
    command.args(MEMORY_OPTION).args(options);
    command
}

/// Sends bytes. The write may fail if the server has ended; a test reports that better afterwards
/// than here.
fn send(mut stream: &TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// A client with a small receive buffer that does not read.
fn deaf(address: SocketAddr) -> Option<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).ok()?;
    Some(socket.into())
}

/// Waits until all responses have begun, or until no more begin: a response that does not fit in
/// memory may wait for its turn.
fn wait_for_responses(server: &mut RealServer, clients: &[TcpStream]) {
    let has_begun = |client: &&TcpStream| {
        client.set_nonblocking(true).unwrap();
        let seen = client.peek(&mut [0]);
        !matches!(seen, Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    let (mut before, mut since) = (0, Instant::now());
    wait_for("the first bytes of responses", || {
        let begun = clients.iter().filter(has_begun).count();
        if begun != before {
            (before, since) = (begun, Instant::now());
        }
        let no_more_come = since.elapsed() > Duration::from_secs(2);
        (begun == clients.len() || no_more_come || !server.is_running()).then_some(())
    });
}

/// Creates `count` files in a directory of the site, with names of `length` bytes.
fn put_names(site: &Site, directory: &str, count: usize, length: usize) {
    let folder = site.path().join(directory);
    std::fs::create_dir(&folder).unwrap();
    for number in 0..count {
        File::create(folder.join(format!("{number:0>length$}"))).unwrap();
    }
}

/// Checks that a new client is served, if need be after several tries.
fn a_new_client_is_served(server: &mut RealServer) {
    wait_for("a new client's answer", || {
        assert!(server.is_running());
        let patience = PATIENCE / 4;
        let mut stream = TcpStream::connect_timeout(&server.address(), patience).ok()?;
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        let (reply, _) = Reply::first(&bytes, false)?;
        (reply.status == 200 && reply.body == TESTFILE).then_some(())
    });
}

#[test]
fn unread_listings_stay_within_the_memory_limit() {
    let site = Site::new();
    for number in 0..4 {
        put_names(&site, &format!("many{number}"), 5000, 246);
    }
    let limit = MemoryLimit::new(LIMIT);
    let mut server = start(&limit, &site, &[]);
    let polite = Polite::start(server.address());
    let mut clients = Vec::new();
    // A different order or directory in each request, so that no two clients of a round share a
    // page.
    for number in 0..48 {
        let Some(client) = deaf(server.address()) else { break };
        let sort = ["name", "size", "time"][number / 4 % 3];
        let order = ["asc", "desc"][number / 12 % 2];
        let target = format!("/many{}/?sort={sort}&order={order}", number % 4);
        send(&client, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        clients.push(client);
    }
    wait_for_responses(&mut server, &clients);
    limit.check(&mut server, "with listings unread");
    polite.wait_for_answers(3);
    a_new_client_is_served(&mut server);
    polite.finish();
    limit.check(&mut server, "at the end");
}

/// At most half of the workers read directories, however many clients ask for listings.
#[test]
fn constant_listing_stays_within_the_memory_limit_and_delays_others_little() {
    let site = Site::new();
    put_names(&site, "many", cws::internals::config::LISTING_ENTRIES, 24);
    let limit = MemoryLimit::new(LIMIT);
    let mut server = start(&limit, &site, &[]);
    let address = server.address();
    let polite = Polite::start(address);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let is_over = &is_over;
            let sort = ["name", "size", "time"][number % 3];
            let target = format!("/many/?sort={sort}&order={}", ["asc", "desc"][number / 4]);
            scope.spawn(move || list_again_and_again(address, &target, is_over));
        }
        std::thread::sleep(Duration::from_secs(2));
        is_over.store(true, Relaxed);
    });
    let median = polite.finish();
    limit.check(&mut server, "with listings read");
    assert!(median < Duration::from_millis(100), "a file in memory took {median:?}");
}

fn list_again_and_again(address: SocketAddr, target: &str, is_over: &AtomicBool) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    while !is_over.load(Relaxed) {
        let mut stream = connect(address);
        let mut bytes = Vec::new();
        // A request that is refused, or cut at the end of the test, is repeated.
        let _ = send(&stream, request.as_bytes()) && stream.read_to_end(&mut bytes).is_ok();
    }
}

#[test]
fn incomplete_heads_stay_within_the_memory_limit() {
    let most = cws::raise_descriptor_limit();
    assert!(most >= DESCRIPTORS, "raise the limit of descriptors (ulimit -n {DESCRIPTORS})");
    let site = Site::new();
    let limit = MemoryLimit::new(LIMIT);
    let mut server =
        start(&limit, &site, &["--max-connections", "5000", "--header-timeout", "60s"]);
    let polite = Polite::start(server.address());
    let head = format!("GET /testfile HTTP/1.1\r\nHost: a\r\nX-A: {}", "x".repeat(HEAD));
    let mut clients = Vec::new();
    for _ in 0..4800 {
        // If the backlog is full too, no more clients can attack.
        let patience = Duration::from_secs(1);
        let Ok(client) = TcpStream::connect_timeout(&server.address(), patience) else { break };
        client.set_write_timeout(Some(patience)).unwrap();
        send(&client, head.as_bytes());
        clients.push(client);
    }
    polite.wait_for_answers(10);
    limit.check(&mut server, "with incomplete heads");
    a_new_client_is_served(&mut server);
    polite.finish();
    limit.check(&mut server, "at the end");
}

/// Sends requests whose log lines have the maximum length. Ends early if the server does.
fn log_much(address: SocketAddr, requests: usize) {
    let mut stream = connect(address);
    let mut head = b"GET /testfile HTTP/1.1\r\nHost: a\r\n".to_vec();
    for name in ["Referer", "User-Agent"] {
        // Each of these bytes takes four in the log.
        head.extend_from_slice(format!("{name}: ").as_bytes());
        head.extend_from_slice(&[0x80; HEAD / 2]);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    for _ in 0..requests {
        let mut byte = [0; 4096];
        if !send(&stream, &head) || !matches!(stream.read(&mut byte), Ok(1..)) {
            return;
        }
    }
}

#[test]
fn unread_log_lines_stay_within_the_memory_limit() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open for reading, so that the server may write to it, but never read.
    let _unread = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let limit = MemoryLimit::new(LIMIT);
    let command = logging_to(&pipe, &limit.command());
    let mut command = with_memory(command, &["--access-log", "combined", "--workers", "2"]);
    command.args(["--root", site.path().to_str().unwrap(), "0"]);
    let mut server = limit.spawn(command);
    let address = server.address();
    let polite = Polite::start(address);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || log_much(address, 600));
        }
    });
    limit.check(&mut server, "with a log unread");
    polite.wait_for_answers(3);
    a_new_client_is_served(&mut server);
    polite.finish();
    limit.check(&mut server, "at the end");
}

/// The same command with its standard error redirected to `path`.
fn logging_to(path: &Path, inner: &Command) -> Command {
    let mut outer = crate::support::command("sh");
    outer.args(["-c", "exec \"$@\" 2>\"$0\""]).arg(path).arg(inner.get_program());
    outer.args(inner.get_args());
    outer
}

/// Clients that hold places without completing a request give way to new ones before their timeout.
#[test]
fn incomplete_heads_and_bodies_give_way_to_new_clients() {
    let site = Site::new();
    let limit = MemoryLimit::new(LIMIT);
    let options = ["--max-connections", "40", "--header-timeout", "60s", "--no-defer-accept"];
    let mut server = start(&limit, &site, &options);
    let body = 256 << 10;
    let request = format!("GET /testfile HTTP/1.1\r\nHost: a\r\nContent-Length: {body}\r\n\r\n");
    let mut clients = Vec::new();
    for number in 0..40 {
        let client = connect(server.address());
        if number % 2 == 0 {
            assert!(send(&client, &request.as_bytes()[..20]));
        } else {
            assert!(send(&client, request.as_bytes()) && send(&client, &vec![b'x'; body - 1]));
        }
        clients.push(client);
    }
    a_new_client_is_served(&mut server);
    limit.check(&mut server, "with all places held");
}
