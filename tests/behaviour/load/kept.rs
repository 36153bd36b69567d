//! Kept connections: their number, and what happens if the server closes them.

use super::servers::{FakeServer, OK, answer, ask_once, client, read_request};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Answer, Connections, Failure, Population, Think};
use std::io::Write;
use std::time::Duration;

fn starts(count: u64) -> Vec<Duration> {
    Arrivals::constant(500.0).starts(Stop::Count(count))
}

#[test]
fn requests_share_connections_up_to_the_bound() {
    let delay = Duration::from_millis(5);
    let server = FakeServer::start(move |stream, _| answer(stream, delay, OK));
    let run = client(server.address, Connections::Kept(2)).open_loop(&starts(60)).unwrap();
    assert!(run.outcomes.iter().all(|outcome| outcome.answer == Answer::Status(200)));
    assert_eq!(server.accepted(), 2);
    // Sixty delays on two connections: the last requests waited for a connection, which counts.
    let last = run.outcomes.last().unwrap();
    assert!(last.ended >= 30 * delay);
    assert!(last.begun.unwrap() > last.intended + last.lateness, "{last:?}");
}

#[test]
fn each_request_has_its_own_connection_if_none_is_kept() {
    let server = FakeServer::start(move |stream, _| answer(stream, Duration::ZERO, OK));
    client(server.address, Connections::NewEach).open_loop(&starts(20)).unwrap();
    assert_eq!(server.accepted(), 20);
}

/// Chunks, interim heads, empty bodies and versions: the connection can be used again.
#[test]
fn responses_of_every_framing_leave_the_connection_usable() {
    let whole: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
    ];
    for &response in whole {
        let server = FakeServer::start(move |stream, _| answer(stream, Duration::ZERO, response));
        let run = client(server.address, Connections::Kept(1)).open_loop(&starts(10)).unwrap();
        let shown = response.escape_ascii();
        assert!(run.outcomes.iter().all(|outcome| outcome.is_success()), "{shown}");
        assert!(run.outcomes.iter().all(|o| o.bytes == response.len() as u64), "{shown}");
        assert_eq!(server.accepted(), 1, "{shown}");
    }
}

/// A response without persistence leaves no usable connection, nor do surplus bytes.
#[test]
fn responses_can_end_their_connection() {
    let ending: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n",
    ];
    for &response in ending {
        let server = FakeServer::start(move |stream, _| answer(stream, Duration::ZERO, response));
        let run = client(server.address, Connections::Kept(1)).open_loop(&starts(5)).unwrap();
        assert!(run.outcomes.iter().all(|outcome| outcome.is_success()));
        assert_eq!((server.accepted(), run.conduct.reconnects()), (5, 0));
    }
}

/// A server may close a kept connection at any time. Then the request is sent again once, and this
/// is no failure.
#[test]
fn a_closed_kept_connection_is_no_failure() {
    let server = FakeServer::start(|mut stream, _| {
        // Three answers, and a close without an answer at the fourth request.
        for _ in 0..3 {
            if !read_request(&mut stream) || stream.write_all(OK).is_err() {
                return;
            }
        }
        read_request(&mut stream);
    });
    let run = client(server.address, Connections::Kept(1)).open_loop(&starts(30)).unwrap();
    for outcome in &run.outcomes {
        assert_eq!((outcome.answer, outcome.tries), (Answer::Status(200), 1));
    }
    assert_eq!(server.accepted(), 10);
    assert_eq!(run.conduct.reconnects(), 9);
}

/// The same if the close comes while the connection is idle: the client sees it before the next
/// request.
#[test]
fn a_closed_idle_connection_is_not_used_again() {
    let server = FakeServer::start(|mut stream, _| {
        if read_request(&mut stream) {
            stream.write_all(OK).unwrap();
        }
    });
    let think = Think::Fixed(Duration::from_millis(20));
    let population = Population { clients: 1, think };
    let client = client(server.address, Connections::Kept(1));
    let run = client.closed_loop(&population, Stop::Count(10)).unwrap();
    assert!(run.outcomes.iter().all(|outcome| outcome.is_success()));
    assert_eq!(server.accepted(), 10);
}

/// After the first byte of a response the request may have had an effect, so it is not repeated.
#[test]
fn a_cut_response_on_a_kept_connection_is_a_failure() {
    let server = FakeServer::start(|mut stream, _| {
        if read_request(&mut stream) && stream.write_all(OK).is_ok() && read_request(&mut stream) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap();
        }
    });
    let run = client(server.address, Connections::Kept(1)).open_loop(&starts(2)).unwrap();
    let answers: Vec<_> = run.outcomes.iter().map(|outcome| outcome.answer).collect();
    assert_eq!(answers, [Answer::Status(200), Answer::Failed(Failure::Cut)]);
    assert_eq!(run.conduct.reconnects(), 0);
}

/// A server that closes each new connection is not retried for ever.
#[test]
fn a_new_connection_that_is_closed_is_a_failure() {
    let server = FakeServer::start(|mut stream, _| {
        read_request(&mut stream);
    });
    let outcome = ask_once(&client(server.address, Connections::Kept(1)));
    assert_eq!((outcome.answer, outcome.tries), (Answer::Failed(Failure::Closed), 1));
    assert_eq!(server.accepted(), 1);
}
