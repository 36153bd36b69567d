//! Requests with bodies: who takes them gets them whole, and nobody else pays for them.
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, get, wait_for};
use cws::{
    Accepts, Config, ConnectionPhase, Counter, Handler, Memory, MemoryUse, Request, Response,
    Server,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The bytes of a body that `/upload` takes.
const MOST: u64 = 1 << 20;

/// Answers with the length of the body and a sum of its bytes.
struct Uploads;

impl Handler for Uploads {
    type State = ();

    fn state(&self, _: usize) {}

    fn accepts(&self) -> Accepts {
        Accepts::nothing().with_bodies("/upload", MOST).with_bodies("/upload/small", 5)
    }

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, cws::Error> {
        Ok(Response::text(told(request.body())))
    }
}

fn told(body: &[u8]) -> String {
    let sum: u64 = body.iter().map(|&byte| u64::from(byte)).sum();
    format!("{} bytes, {sum}", body.len())
}

fn start(config: Config) -> Server {
    Server::start(config.workers(1), Uploads).unwrap()
}

fn post(path: &str, fields: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn ask(address: SocketAddr, bytes: &[u8]) -> (TcpStream, Reply) {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let reply = Reply::read(&mut stream);
    (stream, reply)
}

/// Whole, byte by byte, and with the next request behind it.
#[test]
fn a_body_comes_as_it_was_sent() {
    let server = start(Config::default());
    let address = server.addresses()[0];
    let hello = told(b"hello world").into_bytes();
    let known = [post("/upload", "Content-Length: 11\r\n"), b"hello world".to_vec()].concat();
    let chunks = b"5\r\nhello\r\n1;a=b\r\n \r\n5\r\nworld\r\n0\r\nT: v\r\n\r\n";
    let chunked = [&post("/upload", "Transfer-Encoding: chunked\r\n")[..], chunks].concat();
    for request in [known, chunked] {
        assert_eq!(ask(address, &request).1.body, hello, "whole");
        let mut stream = connect(address);
        for byte in &request {
            stream.write_all(&[*byte]).unwrap();
        }
        assert_eq!(Reply::read(&mut stream).body, hello, "byte by byte");
        let (mut stream, first) = ask(address, &request.repeat(3));
        assert_eq!(first.body, hello);
        for _ in 0..2 {
            assert_eq!(Reply::read(&mut stream).body, hello, "one behind another");
        }
    }
}

#[test]
fn a_large_body_comes_whole() {
    let server = start(Config::default());
    let body: Vec<u8> = (0..MOST).map(|at| (at % 251) as u8).collect();
    let head = post("/upload", &format!("Content-Length: {MOST}\r\n"));
    let (mut stream, reply) = ask(server.addresses()[0], &[head, body.clone()].concat());
    assert_eq!(reply.body, told(&body).into_bytes());
    // In chunks of all sizes.
    let mut chunked = post("/upload", "Transfer-Encoding: chunked\r\n");
    let mut rest = &body[..];
    for size in (1..).step_by(7) {
        let (chunk, tail) = rest.split_at(rest.len().min(size));
        write!(chunked, "{:x}\r\n", chunk.len()).unwrap();
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
        rest = tail;
        if chunk.is_empty() {
            break;
        }
    }
    stream.write_all(&chunked).unwrap();
    assert_eq!(Reply::read(&mut stream).body, told(&body).into_bytes());
    drop(stream);
    wait_for("its memory to be free", || {
        (server.snapshot().memory.held[MemoryUse::Heads as usize] == 0).then_some(())
    });
}

/// What the handler does not take for a path is dropped, or refused where it is longer than that.
#[test]
fn each_path_has_its_own_bound() {
    let server = start(Config::default().body_bytes(100));
    let address = server.addresses()[0];
    let of = |path: &str, length: usize| {
        let head = post(path, &format!("Content-Length: {length}\r\n"));
        ask(address, &[head, vec![b'x'; length]].concat()).1
    };
    let rows = [
        ("/upload", 1000, 200, 1000),
        ("/uplo%61d/x", 1000, 200, 1000),
        ("/upload/small", 5, 200, 5),
        ("/upload/small", 6, 413, 0),
        ("/else", 100, 200, 0),
        ("/else", 101, 413, 0),
    ];
    for (path, length, status, kept) in rows {
        let reply = of(path, length);
        assert_eq!(reply.status, status, "{path}, {length}");
        if status == 200 {
            assert_eq!(reply.body, told(&vec![b'x'; kept]).into_bytes(), "{path}, {length}");
        }
    }
    // Refused by its length alone, before any of it has come.
    let head = post("/upload", &format!("Content-Length: {}\r\n", MOST + 1));
    assert_eq!(ask(address, &head).1.status, 413);
    // Chunks tell no length beforehand.
    let head = post("/upload/small", "Transfer-Encoding: chunked\r\n");
    let request = [&head[..], b"4\r\nfour\r\n2\r\nab\r\n0\r\n\r\n"].concat();
    assert_eq!(ask(address, &request).1.status, 413);
}

/// A client that waits to be asked is asked where its body is wanted, and its connection lives;
/// where it is not, the final status comes at once.
#[test]
fn a_body_that_is_held_back_is_asked_for() {
    let server = start(Config::default());
    let address = server.addresses()[0];
    let expect = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let mut stream = connect(address);
    for _ in 0..2 {
        stream.write_all(&post("/upload", expect)).unwrap();
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut got = vec![0; interim.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, interim);
        stream.write_all(b"hello").unwrap();
        let reply = Reply::read(&mut stream);
        assert_eq!((reply.status, reply.body), (200, told(b"hello").into_bytes()));
    }
    let mut stream = connect(address);
    stream.write_all(&post("/else", expect)).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let replies = Reply::all(&all, false);
    assert_eq!((replies.len(), replies[0].status), (1, 200));
    assert_eq!(replies[0].field("Connection"), Some("close"));
    let mut stream = connect(address);
    let too_long = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", MOST + 1);
    stream.write_all(&post("/upload", &too_long)).unwrap();
    assert_eq!(Reply::read(&mut stream).status, 413, "instead of 100");
}

/// A thousand clients send a megabyte each, and trickle: no worker is taken, the bound of all
/// memory holds, and who has a request is served meanwhile.
#[test]
fn slow_bodies_cost_no_worker_and_stay_within_the_bound() {
    const CLIENTS: usize = 1000;
    const BOUND: u64 = 24 << 20;
    let memory = Memory::new(BOUND);
    let config = Config::default().memory(memory).max_connections(2 * CLIENTS);
    let server = start(config.queue(4).min_rate(1));
    let address = server.addresses()[0];
    let head = post("/upload", &format!("Content-Length: {MOST}\r\n"));
    let mut slow: Vec<_> = (0..CLIENTS).map(|_| connect(address)).collect();
    for stream in &mut slow {
        stream.write_all(&head).unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    // Much more than all of them may hold, a KiB at a time.
    for round in 0..64 {
        for stream in &mut slow {
            // Some have been sent away by then.
            let _ = stream.write(&[b'x'; 1024]);
        }
        let snapshot = server.snapshot();
        assert!(snapshot.memory.held_in_all() <= BOUND, "{:?}", snapshot.memory);
        assert_eq!(snapshot.connections(ConnectionPhase::InService), 0, "round {round}");
        assert_eq!(snapshot.connections(ConnectionPhase::Queued), 0, "round {round}");
        if round % 8 == 0 {
            assert_eq!(get(address, "/").body, told(b"").into_bytes(), "round {round}");
            // Its worker may still have to count it out.
            wait_for("its worker to be idle", || {
                (server.snapshot().connections(ConnectionPhase::InService) == 0).then_some(())
            });
        }
    }
    // The kernel may still hold much of it.
    let snapshot = wait_for("it to be too much", || {
        let snapshot = server.snapshot();
        assert!(snapshot.memory.held_in_all() <= BOUND, "{:?}", snapshot.memory);
        // The eight others have been answered, and are closed.
        let were_sent_away = snapshot.closed_in_all() > 8;
        (snapshot.memory.refused > 0 || were_sent_away).then_some(snapshot)
    });
    assert!(snapshot.connections(ConnectionPhase::ReadingBody) > 0, "some are still at it");
    assert_eq!(snapshot.get(Counter::Handled), 8, "none of theirs is whole");
}

/// The slowest body gives way, and the others come whole.
#[test]
fn a_body_in_time_is_served_beside_those_that_stall() {
    let config = Config::default().body_timeout(Duration::from_millis(400));
    let server = start(config);
    let address = server.addresses()[0];
    let mut stalled = connect(address);
    stalled.write_all(&post("/upload", "Content-Length: 9\r\n")).unwrap();
    let head = post("/upload", "Content-Length: 5\r\n");
    let (_, reply) = ask(address, &[&head[..], b"hello"].concat());
    assert_eq!(reply.body, told(b"hello").into_bytes());
    assert_eq!(Reply::read(&mut stalled).status, 408);
}
