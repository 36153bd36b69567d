//! The memory budget: it bounds what clients can make the server hold, and well-behaved clients are
//! served.
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, get, wait_for};
use cws::internals::config;
use cws::{Config, Lane, Memory, MemoryUse, NoPermit, Request, Response, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A server with one worker and a budget of 4 MiB, and the budget.
fn start(config: Config) -> (Server, Memory) {
    let memory = Memory::new(config::MEMORY_LEAST);
    let shared = bytes::Bytes::from(vec![b'x'; 32 * MIB]);
    let handler = move |request: &Request<'_>| match request.target.raw {
        b"/huge" => Response::ok("text/plain", vec![b'x'; 8 * MIB]),
        b"/large" => Response::ok("text/plain", vec![b'x'; MIB]),
        b"/shared" => Response::ok("text/plain", shared.clone()),
        _ => Response::ok("text/plain", "small"),
    };
    let config = config.workers(1).memory(memory.clone());
    (Server::start(config, handler).unwrap(), memory)
}

/// A connection with a small receive buffer.
fn deaf(server: &Server, path: &str) -> TcpStream {
    let stream = connect(server.addresses()[0]);
    socket2::SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
    write!(&stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream
}

#[test]
fn a_response_that_does_not_fit_in_memory_is_refused() {
    let (server, memory) = start(Config::default());
    let address = server.addresses()[0];
    assert_eq!(get(address, "/huge").status, 503);
    assert_eq!(memory.refused(), 1);
    assert_eq!(get(address, "/large").body.len(), MIB);
    assert_eq!(get(address, "/shared").body.len(), 32 * MIB, "shared content is not claimed");
    wait_for("all memory to be released", || (memory.held() == 0).then_some(()));
}

#[test]
fn unread_responses_stay_within_the_budget() {
    let (server, memory) = start(Config::default());
    let address = server.addresses()[0];
    let readers: Vec<_> = (0..20).map(|_| deaf(&server, "/large")).collect();
    wait_for("some to be refused", || (memory.refused() > 10).then_some(()));
    assert!(memory.held_for(MemoryUse::Responses) >= 2 * MIB as u64);
    assert!(memory.held() <= memory.most());
    assert_eq!(get(address, "/").body, b"small");
    assert_eq!(server.snapshot().memory.refused, memory.refused());
    drop(readers);
    wait_for("all memory to be released", || (memory.held() == 0).then_some(()));
}

/// Incomplete heads fill the memory twice over. Complete requests are still served.
#[test]
fn incomplete_heads_stay_within_the_budget() {
    let (server, memory) = start(Config::default());
    let address = server.addresses()[0];
    let half = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 15_000]].concat();
    let mut halves = Vec::new();
    for _ in 0..2 * config::MEMORY_LEAST as usize / half.len() {
        let mut stream = connect(address);
        stream.write_all(&half).unwrap();
        halves.push(stream);
        assert!(memory.held() <= memory.most());
    }
    let has_read = || server.snapshot().connections(cws::ConnectionPhase::ReadingHead) > 0;
    wait_for("some heads to be read", || has_read().then_some(()));
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(8000));
    for _ in 0..20 {
        let mut polite = connect(address);
        polite.write_all(large.as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut polite).body, b"small");
    }
    assert!(memory.held_for(MemoryUse::Heads) > 0 && memory.held() <= memory.most());
    drop(halves);
    wait_for("all memory to be released", || (memory.held() == 0).then_some(()));
}

/// With memory for about a hundred connections, silent ones make room for new ones.
#[test]
fn the_budget_bounds_the_number_of_connections() {
    let config = Config::default().max_connections(100_000);
    let (server, memory) = start(config);
    let spare = memory.most() / config::MEMORY_SPARE;
    let left = spare + 100 * config::CONNECTION_BYTES;
    let _taken = memory.claim(MemoryUse::Files, memory.most() - left).unwrap();
    let silent: Vec<_> = (0..300).map(|_| connect(server.addresses()[0])).collect();
    for _ in 0..5 {
        assert_eq!(get(server.addresses()[0], "/").body, b"small");
    }
    assert!(server.open_connections() <= 100, "{}", server.open_connections());
    assert!(memory.held() <= memory.most());
    drop(silent);
}

/// Idle connections take all memory that they may. Heads of any size still fit.
#[test]
fn idle_connections_leave_memory_for_requests() {
    let config = Config::default().max_connections(100_000);
    let (server, memory) = start(config);
    let address = server.addresses()[0];
    let spare = memory.most() / config::MEMORY_SPARE;
    let left = spare + 100 * config::CONNECTION_BYTES;
    let _taken = memory.claim(MemoryUse::Files, memory.most() - left).unwrap();
    let idle: Vec<_> = (0..300).map(|_| deaf(&server, "/")).collect();
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(8000));
    for _ in 0..20 {
        let mut polite = connect(address);
        polite.write_all(large.as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut polite).body, b"small");
    }
    assert!(memory.held() <= memory.most() && server.open_connections() <= 102);
    drop(idle);
}

/// A deferred request holds no worker. The handler is called again when the work is done.
#[test]
fn a_deferred_request_waits_without_a_worker() {
    let lane = Arc::new(Lane::new(1, 8));
    let asked = Arc::new(AtomicUsize::new(0));
    let permit = lane.enter(7).unwrap();
    let handler = {
        let (lane, asked) = (Arc::clone(&lane), Arc::clone(&asked));
        move |request: &Request<'_>| {
            if request.target.raw == b"/" {
                return Response::ok("text/plain", "at once");
            }
            asked.fetch_add(1, SeqCst);
            match lane.enter(7) {
                Ok(_permit) => Response::ok("text/plain", "done"),
                Err(NoPermit::Wait(wait)) => Response::deferred(wait),
                Err(NoPermit::Full) => unreachable!("the queue has room"),
            }
        }
    };
    let patience = Duration::from_secs(2);
    let config = Config::default().workers(1).queue_timeout(patience);
    let server = Server::start(config, handler).unwrap();
    let address = server.addresses()[0];
    let mut waiting: Vec<_> = (0..8).map(|_| connect(address)).collect();
    for stream in &mut waiting {
        // A pipelined request follows, and is answered after the first.
        write!(stream, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
    }
    wait_for("all to wait", || (asked.load(SeqCst) >= 8).then_some(()));
    assert_eq!(get(address, "/").body, b"at once");
    drop(permit);
    for stream in &mut waiting {
        assert_eq!(Reply::read(stream).body, b"done");
        assert_eq!(Reply::read(stream).body, b"at once");
    }
    drop(waiting);
    // The queue timeout applies to it too.
    let permit = lane.enter(7).unwrap();
    let mut kept = connect(address);
    for _ in 0..2 {
        write!(kept, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        assert_eq!(Reply::read(&mut kept).status, 503, "it exceeded the queue timeout");
        assert_eq!(Reply::read(&mut kept).body, b"at once", "the connection is kept");
    }
    drop(kept);
    assert_eq!(get(address, "/wait").status, 503);
    // A client that disconnects while it waits is dropped and delays no other.
    let before = asked.load(SeqCst);
    let gone = connect(address);
    write!(&gone, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for("it to wait", || (asked.load(SeqCst) > before).then_some(()));
    socket2::SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
    drop(gone);
    wait_for("it to be gone", || (server.open_connections() == 0).then_some(()));
    drop(permit);
    assert_eq!(get(address, "/wait").body, b"done");
    server.shutdown();
}

#[test]
fn shutdown_waits_for_deferred_requests() {
    let lane = Arc::new(Lane::new(1, 8));
    let permit = lane.enter(7).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let handler = {
        let asked = Arc::clone(&asked);
        move |_: &Request<'_>| {
            asked.fetch_add(1, SeqCst);
            match lane.enter(7) {
                Err(NoPermit::Wait(wait)) => Response::deferred(wait),
                _ => Response::ok("text/plain", "done"),
            }
        }
    };
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let mut stream = connect(server.addresses()[0]);
    write!(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for("it to wait", || (asked.load(SeqCst) > 0).then_some(()));
    server.stopper().stop();
    wait_for("the stop to be seen", || (!server.is_ready()).then_some(()));
    drop(permit);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(Reply::all(&bytes, false)[0].body, b"done");
    assert_eq!(server.join().cut, 0);
}
