//! Silent, slow and non-reading clients: none of them occupies a worker or a place in the queue.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]

use crate::support::{PATIENCE, Reply, Site, TESTFILE, connect, get, wait_for};
use cws::{CloseReason, Config, Request, Response, Server, StaticFiles};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";

fn start(site: &Site, config: Config) -> Server {
    Server::start(config, StaticFiles::new(site.path()).unwrap()).unwrap()
}

/// Reads to the end, which must not be a reset.
fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a clean end, no reset");
    bytes
}

fn status_of(stream: TcpStream) -> u16 {
    let replies = Reply::all(&read_to_end(stream), false);
    assert_eq!(replies.len(), 1);
    replies[0].status
}

#[test]
fn silent_and_trickling_clients_delay_no_request() {
    let site = Site::new();
    let server = start(&site, Config::default().workers(2).queue(4));
    let address = server.addresses()[0];
    let silent: Vec<_> = (0..200).map(|_| connect(address)).collect();
    let mut trickling: Vec<_> = (0..200).map(|_| connect(address)).collect();
    for round in 0..10 {
        for stream in &mut trickling {
            stream.write_all(&GET[round..=round]).unwrap();
        }
        let start = Instant::now();
        assert_eq!(get(address, "/testfile").body, TESTFILE);
        assert!(start.elapsed() < Duration::from_secs(1), "served beside 400 slow clients");
    }
    // They are slow but valid: each is served when its head is complete.
    for stream in &mut trickling {
        stream.write_all(&GET[10..]).unwrap();
        assert_eq!(Reply::read(stream).body, TESTFILE);
    }
    assert_eq!(server.open_connections(), silent.len() + trickling.len());
}

#[test]
fn idle_connections_far_beyond_the_workers_are_kept() {
    let site = Site::new();
    let server = start(&site, Config::default().workers(2).queue(4));
    let address = server.addresses()[0];
    let mut idle: Vec<_> = (0..300).map(|_| connect(address)).collect();
    for _ in 0..3 {
        for stream in &mut idle {
            stream.write_all(GET).unwrap();
            assert_eq!(Reply::read(stream).body, TESTFILE);
        }
        assert_eq!(get(address, "/testfile").body, TESTFILE);
    }
}

/// A server with one worker that sends more than socket buffers hold.
fn large_server(config: Config) -> Server {
    let large = bytes::Bytes::from(vec![b'x'; 32 << 20]);
    let handler = move |request: &Request<'_>| match request.target.raw {
        b"/large" => Response::ok("text/plain", large.clone()),
        _ => Response::ok("text/plain", "small"),
    };
    Server::start(config.workers(1), handler).unwrap()
}

#[test]
fn clients_that_do_not_read_hold_no_worker() {
    let server = large_server(Config::default());
    let address = server.addresses()[0];
    let mut deaf: Vec<_> = (0..20).map(|_| connect(address)).collect();
    for stream in &mut deaf {
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    }
    for _ in 0..5 {
        assert_eq!(get(address, "/").body, b"small");
    }
    // They can read the rest later.
    let replies = Reply::all(&read_to_end(deaf.remove(0)), false);
    assert_eq!(replies[0].body.len(), 32 << 20);
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let server = large_server(Config::default().write_timeout(Duration::from_millis(300)));
    let mut deaf = connect(server.addresses()[0]);
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for("the write timeout", || {
        (server.snapshot().closed(CloseReason::WriteTimeout) == 1).then_some(())
    });
    assert_eq!(server.open_connections(), 0);
}

/// The deadline counts from the first byte, so it also applies to a client that sends bytes slowly.
#[test]
fn a_head_that_never_ends_is_answered_by_408() {
    let site = Site::new();
    let header_timeout = Duration::from_millis(600);
    let server = start(&site, Config::default().workers(1).header_timeout(header_timeout));
    let stalled = connect(server.addresses()[0]);
    (&stalled).write_all(&GET[..20]).unwrap();
    let mut trickling = connect(server.addresses()[0]);
    trickling.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    trickling.write_all(b"GET /testfile HTTP/1.1\r\nX: ").unwrap();
    let start = Instant::now();
    let mut bytes = [0; 16];
    let count = loop {
        assert!(start.elapsed() < PATIENCE, "bytes must not restart the deadline");
        match trickling.read(&mut bytes) {
            Ok(count) => break count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                trickling.write_all(b"x").unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(bytes[..count].starts_with(b"HTTP/1.1 408"));
    assert!(start.elapsed() >= header_timeout / 2, "not before the timeout");
    assert_eq!(status_of(stalled), 408);
}

#[test]
fn a_body_that_never_ends_is_answered_by_408() {
    let site = Site::new();
    let body_timeout = Duration::from_millis(300);
    let server = start(&site, Config::default().workers(1).body_timeout(body_timeout));
    let mut stalled = connect(server.addresses()[0]);
    stalled
        .write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome")
        .unwrap();
    assert_eq!(get(server.addresses()[0], "/testfile").status, 200, "the worker is free");
    assert_eq!(status_of(stalled), 408);
}

/// Bytes received earlier do not compensate for a stall: otherwise it could last for 90 seconds.
#[test]
fn a_body_that_stalls_before_its_last_byte_is_answered_by_408() {
    let site = Site::new();
    let body_timeout = Duration::from_millis(300);
    let server = start(&site, Config::default().workers(1).body_timeout(body_timeout));
    let mut stalled = connect(server.addresses()[0]);
    let length = 100_000;
    write!(stalled, "GET /testfile HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
        .unwrap();
    stalled.write_all(&vec![b'x'; length - 1]).unwrap();
    assert_eq!(status_of(stalled), 408);
}

/// A body at the minimum rate is read to its end, which takes more than one window.
#[test]
fn a_slow_body_at_the_minimum_rate_is_read_to_its_end() {
    let site = Site::new();
    let body_timeout = Duration::from_millis(400);
    let config = Config::default().workers(1).body_timeout(body_timeout).min_rate(1000);
    let server = start(&site, config);
    let mut slow = connect(server.addresses()[0]);
    let length = 4000;
    write!(slow, "GET /testfile HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").unwrap();
    let start = Instant::now();
    for step in 1..=length / 200 {
        // 200 bytes allow 200 ms, and take 60 ms.
        let due = start + Duration::from_millis(60) * step;
        wait_for("the next step", || (Instant::now() >= due).then_some(()));
        slow.write_all(&[b'x'; 200]).unwrap();
    }
    assert!(start.elapsed() > 2 * body_timeout);
    assert_eq!(Reply::read(&mut slow).body, TESTFILE);
}

/// A refused client gets limited time, and a limited number of bytes, to read the refusal.
#[test]
fn lingering_is_bounded() {
    let site = Site::new();
    let server = start(&site, Config::default().workers(1));
    let refuse = || {
        let mut stream = connect(server.addresses()[0]);
        stream.write_all(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(Reply::read(&mut stream).status, 501);
        stream
    };
    let quiet = refuse();
    wait_for("the linger timeout", || (server.open_connections() == 0).then_some(()));
    drop(quiet);
    let mut endless = refuse();
    let before = Instant::now();
    let mut sent = 0;
    while endless.write_all(&[b'x'; 64 << 10]).is_ok() {
        sent += 64 << 10;
        assert!(sent < 1 << 30, "the server reads without limit");
    }
    assert!(before.elapsed() < PATIENCE);
}

#[test]
fn idle_connections_are_closed_in_silence() {
    let site = Site::new();
    let idle_timeout = Duration::from_millis(300);
    let server = start(&site, Config::default().workers(1).idle_timeout(idle_timeout));
    let silent = connect(server.addresses()[0]);
    let mut used = connect(server.addresses()[0]);
    used.write_all(GET).unwrap();
    assert_eq!(Reply::read(&mut used).body, TESTFILE);
    for stream in [silent, used] {
        assert_eq!(read_to_end(stream), b"");
    }
    assert_eq!(server.snapshot().closed(CloseReason::IdleTimeout), 2);
}

/// A connection is counted as closed before its client sees the close.
#[test]
fn a_close_is_counted_before_the_client_sees_it() {
    let site = Site::new();
    let server = start(&site, Config::default().workers(1));
    for round in 1..=300 {
        assert_eq!(get(server.addresses()[0], "/testfile").status, 200);
        assert_eq!(server.snapshot().closed(CloseReason::Completed), round);
    }
}

#[test]
fn the_longest_idle_connection_makes_room_for_a_new_one() {
    let site = Site::new();
    let server = start(&site, Config::default().workers(1).max_connections(3));
    let address = server.addresses()[0];
    let ask = |stream: &mut TcpStream| {
        stream.write_all(GET).unwrap();
        assert_eq!(Reply::read(stream).body, TESTFILE);
    };
    let mut old: Vec<_> = (0..3).map(|_| connect(address)).collect();
    for stream in &mut old {
        ask(stream);
    }
    ask(&mut old[0]);
    let mut new = connect(address);
    ask(&mut new);
    assert_eq!(read_to_end(old.remove(1)), b"", "it was idle for the longest time");
    for stream in &mut old {
        ask(stream);
    }
    assert_eq!(server.snapshot().closed(CloseReason::Evicted), 1);
}

/// A client that pipelines without end does not keep the only worker from other clients.
#[test]
fn an_endless_pipeline_does_not_block_other_clients() {
    let server = Server::start(Config::default().workers(1), |_: &Request<'_>| {
        std::thread::sleep(Duration::from_millis(2));
        Response::ok("text/plain", "x")
    });
    let server = server.unwrap();
    let address = server.addresses()[0];
    let mut greedy = connect(address);
    greedy.write_all(&GET.repeat(400)).unwrap();
    assert_eq!(Reply::read(&mut greedy).body, b"x");
    let before = server.snapshot().responses_in_all();
    assert_eq!(get(address, "/").body, b"x");
    let meanwhile = server.snapshot().responses_in_all() - before;
    assert!(meanwhile < 200, "the other waited for {meanwhile} pipelined requests");
}

/// Reads `rate` bytes per second until `until`. Returns whether it got that far.
fn read_slowly(stream: &mut TcpStream, rate: usize, until: Duration) -> bool {
    let start = Instant::now();
    let mut buffer = vec![0; rate / 20];
    let mut due = start;
    while start.elapsed() < until {
        due += Duration::from_millis(50);
        wait_for("the next step", || (Instant::now() >= due).then_some(()));
        if stream.read_exact(&mut buffer).is_err() {
            return false;
        }
    }
    true
}

/// The rate over each window counts: a slow, steady reader is served, a slower one is not.
#[test]
fn a_response_must_be_read_at_the_minimum_rate() {
    let server = large_server(
        Config::default().write_timeout(Duration::from_millis(500)).min_rate(2_000_000),
    );
    let ask = || {
        let stream = connect(server.addresses()[0]);
        socket2::SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
        (&stream).write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream
    };
    let (mut steady, mut slow) = (ask(), ask());
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(read_slowly(&mut steady, 8_000_000, Duration::from_secs(2))));
        scope.spawn(|| {
            read_slowly(&mut slow, 100_000, Duration::from_secs(2));
        });
    });
    wait_for("the slow client to be closed", || {
        (server.snapshot().closed(CloseReason::WriteTimeout) == 1).then_some(())
    });
}

/// The kernel has buffered much for it by then, and takes no more until most of that is read.
#[test]
fn a_fast_reader_may_become_slow() {
    let config = Config::default().write_timeout(Duration::from_millis(500)).min_rate(1024);
    let server = large_server(config);
    let mut stream = connect(server.addresses()[0]);
    socket2::SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read_exact(&mut vec![0; 16 << 20]).unwrap();
    assert!(read_slowly(&mut stream, 1_000_000, Duration::from_secs(3)));
    assert_eq!(server.snapshot().closed(CloseReason::WriteTimeout), 0);
}
