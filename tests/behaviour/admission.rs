//! Refusals: full queue, queue timeout, disconnected clients, connection limits.
#![allow(clippy::unwrap_used)]

use crate::support::gate::Gated;
#[cfg(feature = "cli")]
use crate::support::{RealServer, Site, TESTFILE, command};
use crate::support::{Reply, connect, get, wait_for};
use crossbeam_channel::Sender;
use cws::{CloseReason, Config, Counter, Server};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server with one worker, the number of calls of its handler, and the sender that releases them.
fn gated(config: Config) -> (Server, Arc<AtomicUsize>, Sender<()>) {
    let Gated { release, server, entered } = Gated::start(config);
    (server, entered, release)
}

/// A connection whose request holds the only worker.
fn hold_the_worker(address: SocketAddr, entered: &AtomicUsize) -> TcpStream {
    let before = entered.load(Ordering::SeqCst);
    let mut stream = connect(address);
    stream.write_all(GET).unwrap();
    wait_for("the worker to be held", || (entered.load(Ordering::SeqCst) > before).then_some(()));
    stream
}

/// Reads one complete 503 response. Where the connection does not persist, it ends without a reset.
fn refusal(stream: &mut TcpStream, persists: bool) {
    let reply = Reply::read(stream);
    assert_eq!(reply.status, 503);
    assert_eq!(reply.field("Connection"), (!persists).then_some("close"));
    let seconds: u64 = reply.field("Retry-After").unwrap().parse().unwrap();
    assert!((1..=cws::internals::config::RETRY_AFTER_MOST).contains(&seconds), "{seconds}");
    if !persists {
        assert_eq!(stream.read(&mut [0]).expect("a clean end, no reset"), 0);
    }
}

#[test]
fn a_kept_connection_is_refused_like_a_new_one() {
    let (server, entered, release) = gated(Config::default().queue(1));
    let address = server.addresses()[0];
    let mut kept = connect(address);
    kept.write_all(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut kept).body, b"released");
    let mut held = hold_the_worker(address, &entered);
    let mut queued = connect(address);
    queued.write_all(GET).unwrap();
    // A probe is answered at once if the queue is full.
    wait_for("a full queue", || {
        let mut probe = connect(address);
        probe.write_all(GET).unwrap();
        probe.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        matches!(probe.read(&mut [0; 1]), Ok(1)).then_some(())
    });
    kept.write_all(GET).unwrap();
    refusal(&mut kept, true);
    drop(release);
    assert_eq!(Reply::read(&mut held).body, b"released");
    assert_eq!(Reply::read(&mut queued).body, b"released");
}

#[test]
fn a_request_past_its_queue_timeout_is_refused_without_calling_the_handler() {
    let queue_timeout = Duration::from_millis(50);
    let (server, entered, release) = gated(Config::default().queue_timeout(queue_timeout));
    let address = server.addresses()[0];
    let mut held = hold_the_worker(address, &entered);
    let mut late = connect(address);
    late.write_all(GET).unwrap();
    let start = std::time::Instant::now();
    wait_for("the queue timeout to pass", || (start.elapsed() > 4 * queue_timeout).then_some(()));
    release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
    refusal(&mut late, true);
    assert_eq!(entered.load(Ordering::SeqCst), 1, "the handler was not called for it");
    assert_eq!(server.snapshot().get(Counter::Expired), 1);
}

#[test]
fn a_disconnected_client_costs_no_work_and_a_half_closed_one_is_served() {
    let (server, entered, release) = gated(Config::default());
    let address = server.addresses()[0];
    let mut held = hold_the_worker(address, &entered);
    let mut gone = connect(address);
    let mut half = connect(address);
    gone.write_all(GET).unwrap();
    half.write_all(GET).unwrap();
    wait_for("all three connections", || (server.open_connections() == 3).then_some(()));
    half.shutdown(Shutdown::Write).unwrap();
    socket2::SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
    drop(gone);
    let start = std::time::Instant::now();
    wait_for("a while in the queue", || {
        (start.elapsed() > 20 * cws::internals::config::GONE_CHECK_AFTER).then_some(())
    });
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
    assert_eq!(Reply::read(&mut half).body, b"released");
    // The one that was gone may come after the other.
    let closed = || server.snapshot().closed(CloseReason::PeerGone);
    wait_for("the other to be closed", || (closed() == 1).then_some(()));
    assert_eq!(entered.load(Ordering::SeqCst), 2, "the handler was called for the other two");
}

#[test]
fn connections_over_the_limit_per_client_are_refused() {
    let (server, _, _release) = gated(Config::default().per_client(Some(2)));
    let address = server.addresses()[0];
    let first = connect(address);
    let second = connect(address);
    wait_for("both to be counted", || (server.open_connections() == 2).then_some(()));
    let mut third = connect(address);
    third.write_all(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    third.shutdown(Shutdown::Write).unwrap();
    refusal(&mut third, false);
    drop((first, third));
    wait_for("their places to be free", || (server.open_connections() == 1).then_some(()));
    assert_eq!(get(address, "/quick").body, b"released");
    assert_eq!(server.snapshot().get(Counter::TooManyConnections), 1);
    drop(second);
}

#[cfg(feature = "cli")]
#[test]
fn the_deadline_option_alone_bounds_the_queue() {
    let site = Site::new();
    let options = ["--workers", "4", "--deadline", "200ms"];
    let server = RealServer::start(&site, &options);
    wait_for("the start lines", || {
        let log = server.stderr();
        let said = log.contains("4 workers; queue by the deadline;")
            && log.contains("deadline 200ms: a request waits for at most 100ms");
        said.then_some(())
    });
    let explicit = [&options[..], &["--queue", "9", "--queue-timeout", "3s"]].concat();
    let server = RealServer::start(&site, &explicit);
    wait_for("the start lines", || server.stderr().contains("queue 9;").then_some(()));
    assert!(!server.stderr().contains("a request waits for at most"));
}

/// Without free descriptors the server waits. It does not end, spin or flood its log, and a client
/// whose connection was accepted also gets its file.
#[cfg(feature = "cli")]
#[test]
fn the_server_survives_a_shortage_of_descriptors() {
    let site = Site::new();
    let mut shell = command("sh");
    let server = env!("CARGO_BIN_EXE_server");
    let script = format!(
        "ulimit -n 40; exec '{server}' --root '{}' --workers 2 --no-cache --no-defer-accept \
         --max-connections 1000 0",
        site.path().display()
    );
    shell.args(["-c", &script]);
    let server = RealServer::spawn(shell);
    let mut silent: Vec<_> = (0..60).map(|_| connect(server.address())).collect();
    wait_for("the shortage to be logged", || {
        server.stderr().contains("cannot accept connections for now").then_some(())
    });
    // Behind each of them is a connection that would take the descriptor of its file.
    let mut waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(server.address());
            stream.write_all(b"GET testfile HTTP/1.0\r\n\r\n").unwrap();
            silent.push(connect(server.address()));
            stream
        })
        .collect();
    // The shortage lasts longer than the longest pause, so some connections are closed to make
    // room.
    let start = std::time::Instant::now();
    let longest = cws::internals::config::ACCEPT_PAUSE_MOST;
    wait_for("several refusals", || (start.elapsed() > longest * 3 / 2).then_some(()));
    for stream in &mut waiting {
        assert_eq!(Reply::read(stream).body, TESTFILE);
    }
    drop(silent);
    let warnings = server.stderr().matches("cannot accept").count();
    assert_eq!(warnings, 1, "one line for each shortage");
}
