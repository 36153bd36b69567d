//! What is sent: methods, bodies, fields and mixes, as a raw server receives them.

use super::servers::{FakeServer, OK, PATIENCE, answer, ask_once, client, read_request};
use crossbeam_channel::{Receiver, unbounded};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{
    Answer, Client, Connections, Failure, Feed, Message, Mix, Observer, Outcome, Parts,
};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

fn message(method: &str, path: &str, body: Option<&[u8]>) -> Message {
    let connections = Connections::Kept(1);
    Parts { method, path, host: "h", fields: &[], body, connections }.message()
}

fn sending(target: SocketAddr, connections: Connections, message: Message) -> Client {
    Client { requests: Mix::one(message), ..client(target, connections) }
}

/// A server that passes on the request lines that it gets, and answers each request without a body.
fn recording() -> (FakeServer, Receiver<String>) {
    let (heard, lines) = unbounded();
    let server = FakeServer::start(move |mut stream, _| {
        let mut head = Vec::new();
        let mut byte = [0];
        while let Ok(1) = stream.read(&mut byte) {
            head.push(byte[0]);
            if head.ends_with(b"\r\n\r\n") {
                let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                heard.send(text.lines().next().unwrap().to_owned()).unwrap();
                if stream.write_all(OK).is_err() {
                    return;
                }
            }
        }
    });
    (server, lines)
}

/// A HEAD is answered by a head alone, even if it announces a length. The next exchange on the
/// connection is not disturbed, whatever its method.
#[test]
fn the_response_to_a_head_has_no_body() {
    let server = FakeServer::start(|mut stream, _| {
        let mut heads = 0;
        while read_request(&mut stream) {
            heads += 1;
            let only_head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
            let response = if heads % 2 == 1 { &only_head[..] } else { OK };
            if stream.write_all(response).is_err() {
                return;
            }
        }
    });
    let (supply, feed) = unbounded();
    for number in 0..6 {
        let method = if number % 2 == 0 { "HEAD" } else { "GET" };
        let start = Duration::from_millis(10 * number);
        supply.send((start, Arc::new(message(method, "/", None)))).unwrap();
    }
    drop(supply);
    let client = client(server.address, Connections::Kept(1));
    let mut outcomes = Vec::new();
    let mut each = |outcome: Outcome| outcomes.push(outcome);
    client.replay_into(Feed::new(feed), &mut each).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.answer == Answer::Status(200)), "{outcomes:?}");
    assert_eq!((outcomes.len(), server.accepted()), (6, 1));
}

/// More than fits into the buffers of both sides: the connection becomes writable many times.
#[test]
fn a_large_body_arrives_whole() {
    let body: Vec<u8> = (0..16 << 20).map(|at: u32| (at % 251) as u8).collect();
    let expected = body.clone();
    let server = FakeServer::start(move |mut stream, _| {
        while read_request(&mut stream) {
            let mut got = vec![0; expected.len()];
            stream.read_exact(&mut got).unwrap();
            let status = if got == expected { "200 OK" } else { "400 Bad" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let upload = message("PUT", "/", Some(&body));
    let client = sending(server.address, Connections::Kept(1), upload);
    let run = client.open_loop(&[Duration::ZERO; 3]).unwrap();
    assert!(run.outcomes.iter().all(|outcome| outcome.answer == Answer::Status(200)));
    assert_eq!(server.accepted(), 1);
}

/// A server that refuses a body may answer without reading it. Its answer counts, and the
/// connection is not used again.
#[test]
fn an_answer_before_the_end_of_the_body_counts() {
    let server = FakeServer::start(|mut stream, _| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").unwrap();
        // The rest of the body is never read. The client hangs up.
        thread::park_timeout(PATIENCE);
    });
    let upload = message("POST", "/", Some(&vec![b'x'; 32 << 20]));
    let client = sending(server.address, Connections::Kept(1), upload);
    let run = client.open_loop(&[Duration::ZERO, Duration::ZERO]).unwrap();
    let answers: Vec<_> = run.outcomes.iter().map(|outcome| outcome.answer).collect();
    assert_eq!(answers, [Answer::Status(413); 2]);
    assert_eq!(server.accepted(), 2);
}

/// The server may have acted on the request before it closed the kept connection.
#[test]
fn only_idempotent_requests_are_sent_again_on_a_new_connection() {
    let server = FakeServer::start(|mut stream, _| {
        if read_request(&mut stream) && stream.write_all(OK).is_ok() {
            read_request(&mut stream);
        }
    });
    let starts = [Duration::ZERO, Duration::from_millis(50)];
    for (method, last) in [
        ("PUT", Answer::Status(200)),
        ("POST", Answer::Failed(Failure::Closed)),
        ("PATCH", Answer::Failed(Failure::Closed)),
    ] {
        let client = sending(server.address, Connections::Kept(1), message(method, "/", None));
        let run = client.open_loop(&starts).unwrap();
        let answers: Vec<_> = run.outcomes.iter().map(|outcome| outcome.answer).collect();
        assert_eq!(answers, [Answer::Status(200), last], "{method}");
    }
}

#[test]
fn a_mix_arrives_in_the_shares_of_its_weights() {
    let (server, lines) = recording();
    let weights = [("/a", 6.0), ("/b", 3.0), ("/c", 1.0)];
    let messages = weights.map(|(path, weight)| (message("GET", path, None), weight));
    let requests = Mix::weighted(messages, 1).unwrap();
    let client = Client { requests, ..client(server.address, Connections::Kept(4)) };
    let starts = Arrivals::constant(5000.0).starts(Stop::Count(1000));
    let run = client.open_loop(&starts).unwrap();
    let mut statistic = 0.0;
    let lines: Vec<String> = lines.try_iter().collect();
    for (number, (path, weight)) in weights.into_iter().enumerate() {
        let line = format!("GET {path} HTTP/1.1");
        let count = lines.iter().filter(|heard| **heard == line).count();
        let of = run.outcomes.iter().filter(|outcome| outcome.message == number);
        assert_eq!(count, of.count(), "each outcome has the number of its message");
        let expected = 100.0 * weight;
        statistic += (count as f64 - expected).powi(2) / expected;
    }
    // The 99.9th percentile of chi-square with two degrees of freedom.
    assert!(statistic < 13.82, "{statistic}");
    let again = client.open_loop(&starts).unwrap();
    let numbers = |outcomes: &[Outcome]| {
        let mut of: Vec<_> = outcomes.iter().map(|o| (o.intended, o.message)).collect();
        of.sort_unstable();
        of
    };
    assert_eq!(numbers(&run.outcomes), numbers(&again.outcomes), "the seed decides");
}

/// Requests that have started are finished.
#[test]
fn an_observer_can_end_the_load() {
    struct Impatient {
        started: AtomicUsize,
        ended: usize,
        is_enough: AtomicBool,
    }
    impl Observer for Impatient {
        fn started(&mut self) {
            let started = self.started.fetch_add(1, SeqCst) + 1;
            self.is_enough.store(started >= 7, SeqCst);
        }
        fn ended(&mut self, outcome: Outcome) {
            assert!(outcome.is_success());
            self.ended += 1;
        }
        fn wants_more(&self) -> bool {
            !self.is_enough.load(SeqCst)
        }
    }
    let server = FakeServer::start(|stream, _| answer(stream, Duration::from_millis(20), OK));
    let mut each =
        Impatient { started: AtomicUsize::new(0), ended: 0, is_enough: AtomicBool::new(false) };
    let starts = Arrivals::constant(1000.0).starts(Stop::Count(100_000));
    client(server.address, Connections::NewEach).open_loop_into(&starts, &mut each).unwrap();
    assert_eq!((each.started.into_inner(), each.ended), (7, 7));
}

/// The generator reads on while it sends, so a giant head ends the exchange at its bound.
#[test]
fn a_giant_head_has_a_bound_while_the_body_is_sent() {
    let server = FakeServer::start(|mut stream, _| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"A: bcdefghijklmnopqrstuvwxyz\r\n").is_ok() {}
    });
    let upload = message("POST", "/", Some(&vec![b'x'; 32 << 20]));
    let outcome = ask_once(&sending(server.address, Connections::NewEach, upload));
    assert_eq!(outcome.answer, Answer::Failed(Failure::Malformed));
    assert!(outcome.bytes < 1 << 20, "{}", outcome.bytes);
}
