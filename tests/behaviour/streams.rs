//! Responses that are made while they are sent: workers alone make them, a piece at a time.
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, get, wait_for};
use bytes::Bytes;
use cws::{Body, CloseReason, Config, Counter, Memory, Request, Response, Server, Status, Stream};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// So large that no socket holds two of them.
const PIECE: usize = 4 << 20;

fn streamed(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Response {
    Response::text("").with_body(Body::Stream(Stream::chunked(pieces)))
}

fn small_pieces() -> impl Iterator<Item = Bytes> {
    ["one ", "", "two ", "three"].into_iter().map(Bytes::from)
}

fn ask(server: &Server, request: &str) -> Vec<u8> {
    let mut stream = connect(server.addresses()[0]);
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("a clean end");
    all
}

#[test]
fn a_stream_of_unknown_length_is_chunked_and_ends_the_connection_in_1_0() {
    let handler = |_: &Request<'_>| streamed(small_pieces());
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let of_1_1 = ask(&server, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(of_1_1).unwrap();
    assert!(text.contains("Transfer-Encoding: chunked\r\n") && !text.contains("Content-Length"));
    assert!(text.ends_with("\r\n\r\n4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"), "{text}");
    let of_1_0 = ask(&server, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let text = String::from_utf8(of_1_0).unwrap();
    assert!(text.contains("Connection: close\r\n") && !text.contains("Transfer-Encoding"));
    assert!(text.ends_with("\r\n\r\none two three"), "{text}");
    let of_head = ask(&server, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(of_head.ends_with(b"Connection: close\r\n\r\n"), "no content");
    // The connection goes on behind the last chunk.
    let mut stream = connect(server.addresses()[0]);
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{request}{last}").as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(String::from_utf8(all).unwrap().matches("\r\n0\r\n\r\n").count(), 2);
}

/// Parts of a sequence get their chunks too, where one of them is of unknown length.
#[test]
fn a_sequence_with_a_stream_in_it_is_chunked() {
    let handler = |_: &Request<'_>| {
        let parts = [
            Body::Bytes(Bytes::from_static(b"first ")),
            Body::Stream(Stream::chunked(small_pieces())),
            Body::Empty,
            Body::Bytes(Bytes::from_static(b" last")),
        ];
        Response::text("").with_body(Body::Sequence(parts.into()))
    };
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let reply = ask(&server, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(reply).unwrap();
    let (_, chunks) = text.split_once("\r\n\r\n").unwrap();
    let expected = "6\r\nfirst \r\n4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n5\r\n last\r\n0\r\n\r\n";
    assert_eq!(chunks, expected);
}

/// The threads that make pieces are workers, though the client takes them late and slowly; and a
/// client that takes none holds no worker.
#[test]
fn workers_alone_make_pieces() {
    let makers = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&makers);
    let handler = move |request: &Request<'_>| match request.target.raw {
        b"/stream" => {
            let seen = Arc::clone(&seen);
            streamed((0..8).map(move |_| {
                let name = std::thread::current().name().unwrap().to_owned();
                seen.lock().unwrap().insert(name);
                Bytes::from(vec![b'~'; PIECE])
            }))
        }
        _ => Response::text("small"),
    };
    let server = Server::start(Config::default().workers(2), handler).unwrap();
    let mut slow: Vec<_> = (0..6).map(|_| connect(server.addresses()[0])).collect();
    for stream in &mut slow {
        let request = b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(get(server.addresses()[0], "/").body, b"small");
    }
    for mut stream in slow {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("a clean end");
        assert_eq!(all.iter().filter(|&&byte| byte == b'~').count(), 8 * PIECE);
    }
    let makers = makers.lock().unwrap();
    assert!(makers.iter().all(|name| name.starts_with("worker-")), "{makers:?}");
}

/// Pieces that come when they are told to.
fn told_pieces(next: Receiver<&'static str>) -> impl Iterator<Item = Bytes> {
    next.into_iter().map(Bytes::from)
}

/// An iterator that waits holds the worker that runs it and delays no other request.
#[test]
fn a_slow_stream_costs_its_own_request() {
    let (tell, next) = channel();
    let next = Mutex::new(Some(next));
    let handler = move |request: &Request<'_>| match request.target.raw {
        b"/slow" => streamed(told_pieces(next.lock().unwrap().take().unwrap())),
        _ => Response::text("small"),
    };
    let server = Server::start(Config::default().workers(2), handler).unwrap();
    let mut slow = connect(server.addresses()[0]);
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    for piece in ["a", "b", "c"] {
        assert_eq!(get(server.addresses()[0], "/").body, b"small", "beside it");
        tell.send(piece).unwrap();
        // It is sent when it is made, and not when the next one is.
        let mut seen = Vec::new();
        while !seen.ends_with(format!("1\r\n{piece}\r\n").as_bytes()) {
            let mut byte = [0];
            slow.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
    }
    drop(tell);
    let mut end = Vec::new();
    slow.read_to_end(&mut end).unwrap();
    assert_eq!(end, b"0\r\n\r\n");
}

/// The pieces that wait for slow clients are claimed from the budget, whatever their sizes: those
/// of a stream that do not fit end it.
#[test]
fn pieces_that_wait_stay_within_the_memory_bound() {
    const BOUND: u64 = 24 << 20;
    let handler = |_: &Request<'_>| {
        streamed(
            (0..64).map(|number| Bytes::from(vec![b'~'; if number == 0 { 10 } else { PIECE }])),
        )
    };
    let config = Config::default().workers(2).memory(Memory::new(BOUND));
    let server = Server::start(config, handler).unwrap();
    let mut deaf: Vec<_> = (0..32).map(|_| connect(server.addresses()[0])).collect();
    for stream in &mut deaf {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    wait_for("a stream to end for lack of memory", || {
        let snapshot = server.snapshot();
        assert!(snapshot.memory.held_in_all() <= BOUND, "{:?}", snapshot.memory);
        (snapshot.closed(CloseReason::NoMemory) > 0).then_some(())
    });
}

/// Notes on which thread it is dropped.
struct Dropped(Arc<Mutex<BTreeSet<String>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().insert(name);
    }
}

/// A client that goes away in the middle of a stream does not make the acceptor run the stream's
/// destructor; nor does one that reads all of it.
#[test]
fn the_acceptor_drops_no_stream() {
    let dropped = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&dropped);
    let handler = move |request: &Request<'_>| {
        let guard = Dropped(Arc::clone(&seen));
        let pieces = if request.target.raw == b"/short" { 3 } else { 64 };
        streamed((0..pieces).map(move |_| {
            let _held = &guard;
            Bytes::from(vec![b'~'; PIECE])
        }))
    };
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let ask = |path: &str| {
        let mut stream = connect(server.addresses()[0]);
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    for _ in 0..4 {
        let mut gone = ask("/long");
        gone.read_exact(&mut [0; 1000]).unwrap();
        // Unread bytes make the close a reset.
        drop(gone);
        let mut all = Vec::new();
        ask("/short").read_to_end(&mut all).unwrap();
        assert!(all.len() > 3 * PIECE);
    }
    wait_for("all to be closed", || (server.open_connections() == 0).then_some(()));
    drop(server);
    let dropped = dropped.lock().unwrap();
    assert!(!dropped.contains("acceptor") && !dropped.is_empty(), "{dropped:?}");
}

/// A stream that has nothing yet holds no worker, and goes on when it has something.
#[test]
fn a_stream_that_has_nothing_yet_holds_no_worker() {
    let (tell, next) = channel();
    let next = Mutex::new(Some(next));
    let handler = move |request: &Request<'_>| match request.target.raw {
        b"/events" => {
            let next: Receiver<&'static str> = next.lock().unwrap().take().unwrap();
            let poll = move || match next.try_recv() {
                Ok(event) => Some(Bytes::from(event)),
                Err(TryRecvError::Empty) => Some(Bytes::new()),
                Err(TryRecvError::Disconnected) => None,
            };
            streamed(std::iter::from_fn(poll))
        }
        b"/never" => streamed(std::iter::repeat(Bytes::new())),
        _ => Response::text("small"),
    };
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let ask = |path: &str| {
        let mut stream = connect(server.addresses()[0]);
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        stream
    };
    let (mut events, never) = (ask("/events"), ask("/never"));
    let mut seen = Vec::new();
    for event in ["one", "two"] {
        assert_eq!(get(server.addresses()[0], "/").body, b"small", "beside two silent streams");
        tell.send(event).unwrap();
        while !seen.ends_with(event.as_bytes()) {
            let mut byte = [0];
            events.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
    }
    drop((tell, never));
    events.read_to_end(&mut seen).unwrap();
    assert!(seen.ends_with(b"\r\n\r\nonetwo"));
    wait_for("both to be closed", || (server.open_connections() == 0).then_some(()));
}

/// A client that asks for the end of the connection gets each piece when it is made, too.
#[test]
fn the_last_response_of_a_connection_is_not_held_back() {
    let (tell, next) = channel();
    let next = Mutex::new(Some(next));
    let handler =
        move |_: &Request<'_>| streamed(told_pieces(next.lock().unwrap().take().unwrap()));
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let mut stream = connect(server.addresses()[0]);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    let mut quick = 0;
    for piece in ["a", "b", "c", "d", "e"] {
        tell.send(piece).unwrap();
        let sent = Instant::now();
        while !seen.ends_with(piece.as_bytes())
            || !String::from_utf8_lossy(&seen).contains("\r\n\r\n")
        {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        // The kernel holds back what is marked as incomplete for 200 ms.
        quick += u32::from(sent.elapsed() < Duration::from_millis(150));
    }
    assert!(quick > 0, "all of five pieces were held back");
    // The stream ends, and with it the server.
    drop(tell);
}

/// No piece is made after the end of the server.
#[test]
fn streams_end_with_the_drain_timeout() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let handler = move |_: &Request<'_>| {
        let counted = Arc::clone(&counted);
        streamed(std::iter::repeat_with(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Bytes::from_static(b"piece")
        }))
    };
    let config = Config::default().workers(1).drain_timeout(Duration::from_millis(100));
    let server = Server::start(config, handler).unwrap();
    let mut clients: Vec<_> = (0..30).map(|_| connect(server.addresses()[0])).collect();
    for stream in &mut clients {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    wait_for("pieces", || (made.load(Ordering::SeqCst) > 1000).then_some(()));
    let observer = server.observer();
    server.shutdown();
    let at_the_end = made.load(Ordering::SeqCst);
    wait_for("all to be closed", || (observer.snapshot().closed_in_all() == 30).then_some(()));
    let later = made.load(Ordering::SeqCst) - at_the_end;
    assert!(later <= 1, "{later} pieces beside the one that was being made");
    drop(clients);
}

/// An iterator whose destructor panics.
struct Bomb;

impl Iterator for Bomb {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        None
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

/// A panicking destructor costs neither the response nor a worker, and each connection is counted
/// once.
#[test]
fn a_stream_that_panics_when_it_is_dropped_costs_nothing() {
    let handler = |_: &Request<'_>| {
        let bombs = [Body::Stream(Stream::chunked(Bomb)), Body::Stream(Stream::chunked(Bomb))];
        Response::text("").with_body(Body::Sequence(bombs.into()))
    };
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    for method in ["GET", "HEAD", "GET"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let all = String::from_utf8(ask(&server, &request)).unwrap();
        assert!(all.starts_with("HTTP/1.1 200"), "{method}: {all}");
    }
    wait_for("all to be closed", || (server.open_connections() == 0).then_some(()));
    let snapshot = server.snapshot();
    assert_eq!((snapshot.closed_in_all(), snapshot.get(Counter::WorkersReplaced)), (3, 0));
}

/// A stream without end ends with its server.
#[test]
fn an_endless_stream_ends_with_its_server() {
    let handler = |_: &Request<'_>| streamed(std::iter::repeat(Bytes::from_static(b"again ")));
    let config = Config::default().workers(1).drain_timeout(Duration::from_millis(200));
    let server = Server::start(config, handler).unwrap();
    let mut stream = connect(server.addresses()[0]);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    wait_for("it to be under way", || (server.snapshot().get(Counter::Handled) == 1).then_some(()));
    let summary = server.shutdown();
    reader.join().unwrap();
    assert_eq!(summary.cut, 1);
}

/// A stream that cannot go on ends its connection without the last chunk, by which the client
/// knows; the worker goes on.
#[test]
fn a_stream_that_panics_is_cut_off() {
    let handler = |request: &Request<'_>| match request.target.raw {
        b"/panic" => streamed((0..3).map(|number| {
            assert!(number < 2, "on purpose");
            Bytes::from_static(b"x")
        })),
        b"/short" => Response::new(Status::OK)
            .with_body(Body::Stream(Stream::new(5, std::iter::once(Bytes::from_static(b"x"))))),
        _ => Response::text("small"),
    };
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    for path in ["/panic", "/short"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let all = String::from_utf8(ask(&server, &request)).unwrap();
        assert!(all.starts_with("HTTP/1.1 200") && !all.ends_with("0\r\n\r\n"), "{all}");
    }
    assert_eq!(get(server.addresses()[0], "/").body, b"small");
    assert_eq!(server.workers_alive(), 1);
    wait_for("both to be counted", || {
        (server.snapshot().closed(CloseReason::BodyFailed) == 2).then_some(())
    });
    assert_eq!(
        Reply::read(&mut {
            let mut stream = connect(server.addresses()[0]);
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .status,
        200
    );
}
