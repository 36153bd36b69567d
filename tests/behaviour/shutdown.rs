//! Signals: requests are answered, idle connections are closed, and the process exits.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, TESTFILE, connect, wait_for};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const GET: &[u8] = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";

fn ask(stream: &mut TcpStream) {
    stream.write_all(GET).unwrap();
}

#[test]
fn requests_in_flight_are_answered_before_the_end() {
    let site = Site::new();
    for signal in ["TERM", "INT"] {
        // Two workers and six requests: some are in service, some in the queue.
        let mut server = RealServer::start(&site, &["--workers", "2", "--delay", "150ms"]);
        let address = server.address();
        let mut idle = connect(address);
        ask(&mut idle);
        assert_eq!(Reply::read(&mut idle).body, TESTFILE);
        let mut busy: Vec<_> = (0..6).map(|_| connect(address)).collect();
        busy.iter_mut().for_each(ask);
        server.signal(signal);
        for stream in &mut busy {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("a clean end, no reset");
            let replies = Reply::all(&bytes, false);
            assert_eq!(replies.len(), 1, "SIG{signal}");
            assert_eq!(replies[0].body, TESTFILE);
        }
        assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0, "the idle connection is closed");
        assert_eq!(server.wait().code(), Some(0), "SIG{signal}");
        assert!(TcpStream::connect(address).is_err());
        let log = server.stderr();
        assert!(
            log.contains("stopped after") && log.contains("7 handled, 0 refused, 0 cut"),
            "{log}"
        );
    }
}

#[test]
fn a_second_signal_stops_the_server_at_once() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--workers", "1", "--delay", "1h"]);
    let mut stuck = connect(server.address());
    ask(&mut stuck);
    server.signal("TERM");
    wait_for("the first signal", || server.stderr().contains("stopping").then_some(()));
    assert!(server.is_running());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(128 + 15));
}

#[test]
fn requests_are_cut_at_the_drain_timeout() {
    let site = Site::new();
    let options = ["--workers", "1", "--delay", "1h", "--drain-timeout", "200ms"];
    let mut server = RealServer::start(&site, &options);
    let mut in_service = connect(server.address());
    let mut queued = connect(server.address());
    ask(&mut in_service);
    ask(&mut queued);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(3), "requests were cut");
    let log = server.stderr();
    assert!(log.contains("2 cut"), "{log}");
}

#[test]
fn the_server_does_not_exit_by_itself() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--idle-timeout", "50ms"]);
    let mut stream = connect(server.address());
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0, "the idle timeout");
    assert!(server.is_running());
}

#[test]
fn requests_are_served_during_the_drain_delay() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--drain-delay", "700ms"]);
    let mut kept = connect(server.address());
    server.signal("TERM");
    wait_for("the signal", || server.stderr().contains("stopping").then_some(()));
    assert_eq!(crate::support::get(server.address(), "/testfile").body, TESTFILE, "still serving");
    ask(&mut kept);
    let reply = Reply::read(&mut kept);
    assert_eq!((reply.status, reply.field("Connection")), (200, None), "as before the signal");
    assert_eq!(server.wait().code(), Some(0));
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn sighup_does_not_stop_the_server() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &[]);
    server.signal("HUP");
    assert_eq!(crate::support::get(server.address(), "/testfile").body, TESTFILE);
    assert!(server.is_running());
}

/// Connections that wait in the kernel for a free place are not lost: they are served in turn.
#[test]
fn the_backlog_is_served_before_the_end() {
    let site = Site::new();
    let options = ["--workers", "1", "--max-connections", "1", "--delay", "5ms"];
    let mut server = RealServer::start(&site, &options);
    let mut waiting: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    waiting.iter_mut().for_each(ask);
    server.signal("TERM");
    for stream in &mut waiting {
        assert_eq!(Reply::read(stream).body, TESTFILE);
    }
    assert_eq!(server.wait().code(), Some(0));
}

/// The kernel holds back connections without data. A client that sends its request in time is
/// served.
#[test]
fn clients_that_connected_in_time_are_served() {
    let site = Site::new();
    for option in [&[][..], &["--no-defer-accept"]] {
        let mut server = RealServer::start(&site, option);
        let mut silent = connect(server.address());
        server.signal("TERM");
        wait_for("the signal", || server.stderr().contains("stopping").then_some(()));
        ask(&mut silent);
        // A response that is ready before the acceptor has seen the signal keeps its connection.
        assert_eq!(Reply::read(&mut silent).body, TESTFILE);
        assert_eq!(server.wait().code(), Some(0));
    }
}

/// An incomplete request gets a little time, but does not delay the shutdown until the drain
/// timeout.
#[test]
fn an_incomplete_request_does_not_delay_the_shutdown() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--drain-timeout", "1h", "--header-timeout", "1h"]);
    let mut half = connect(server.address());
    half.write_all(b"GET /te").unwrap();
    // Served after it on the same listener, so the server has read the incomplete request.
    crate::support::get(server.address(), "/testfile");
    server.signal("TERM");
    let mut bytes = Vec::new();
    half.read_to_end(&mut bytes).expect("a clean end, no reset");
    assert!(bytes.starts_with(b"HTTP/1.1 408"), "{}", bytes.escape_ascii());
    drop(half);
    assert_eq!(server.wait().code(), Some(0));
}

/// A request that was sent while the server listened is answered in any state of the connection.
#[test]
fn no_request_sent_in_time_is_lost() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--workers", "4", "--delay", "5ms"]);
    let address = server.address();
    let tally = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..32).map(|_| scope.spawn(|| until_the_end(address))).collect();
        wait_for("some load", || (server.stderr().matches(" 200 ").count() > 200).then_some(()));
        server.signal("TERM");
        let tallies = clients.into_iter().map(|client| client.join().unwrap());
        tallies.fold(Tally::default(), |sum, tally| Tally {
            sent: sum.sent + tally.sent,
            answered: sum.answered + tally.answered,
            lost: sum.lost + tally.lost,
        })
    });
    assert_eq!(server.wait().code(), Some(0));
    assert!(tally.sent > 200);
    assert_eq!(tally, Tally { answered: tally.sent, lost: 0, ..tally });
}

/// Counts of requests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    sent: u32,
    /// Requests with a complete and correct response.
    answered: u32,
    /// Requests without one, although the server had not announced the close.
    lost: u32,
}

/// Sends requests on one connection until the server announces the close, or closes it.
fn until_the_end(address: SocketAddr) -> Tally {
    let mut stream = connect(address);
    let mut tally = Tally::default();
    loop {
        tally.sent += 1;
        // If the connection ends without an announcement, writing the request may fail.
        let reply = stream.write_all(GET).ok().and_then(|()| whole_reply(&mut stream));
        let Some(reply) = reply else {
            tally.lost += 1;
            return tally;
        };
        assert_eq!((reply.status, reply.body.as_slice()), (200, TESTFILE));
        tally.answered += 1;
        if reply.field("Connection") == Some("close") {
            let end = stream.read(&mut [0]).expect("a clean end, no reset");
            assert_eq!(end, 0, "nothing follows the last response");
            return tally;
        }
    }
}

/// One response. `None` if the connection ends before it is complete.
fn whole_reply(stream: &mut TcpStream) -> Option<Reply> {
    let mut bytes = Vec::new();
    loop {
        if let Some((reply, rest)) = Reply::first(&bytes, false) {
            assert!(rest.is_empty(), "one answer to one request");
            return Some(reply);
        }
        let mut some = [0; 1024];
        match stream.read(&mut some) {
            Ok(0) => return None,
            Ok(count) => bytes.extend_from_slice(&some[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no response: {error}"),
        }
    }
}

/// How a faulty server ends a connection.
#[derive(Debug, Clone, Copy)]
enum Rogue {
    /// It resets the connection after a request.
    Resets,
    /// It closes the connection after a request.
    Closes,
    /// It closes the connection within a response.
    CutsShort,
    /// It closes the connection between two requests without an announcement.
    ClosesUnannounced,
    /// It announces the close in a response, and closes.
    Announces,
}

/// Answers two requests, and fails the third in the given way.
fn rogue(listener: &TcpListener, way: Rogue) {
    const KEPT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, test!\n";
    let (mut stream, _) = listener.accept().unwrap();
    let hear = |stream: &mut TcpStream| stream.read_exact(&mut [0; GET.len()]).unwrap();
    for _ in 0..2 {
        hear(&mut stream);
        stream.write_all(KEPT.as_bytes()).unwrap();
    }
    if !matches!(way, Rogue::ClosesUnannounced) {
        hear(&mut stream);
    }
    match way {
        Rogue::Resets => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
        Rogue::Closes | Rogue::ClosesUnannounced => {}
        Rogue::CutsShort => stream.write_all(&KEPT.as_bytes()[..KEPT.len() - 1]).unwrap(),
        Rogue::Announces => {
            let last = KEPT.replacen("Content", "Connection: close\r\nContent", 1);
            stream.write_all(last.as_bytes()).unwrap();
        }
    }
}

/// The test above detects each kind of loss.
#[test]
fn each_kind_of_lost_request_is_counted() {
    use Rogue::{Announces, Closes, ClosesUnannounced, CutsShort, Resets};
    for way in [Resets, Closes, CutsShort, ClosesUnannounced, Announces] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tally = std::thread::scope(|scope| {
            scope.spawn(|| rogue(&listener, way));
            until_the_end(address)
        });
        let (answered, lost) = if matches!(way, Announces) { (3, 0) } else { (2, 1) };
        assert_eq!(tally, Tally { sent: 3, answered, lost }, "{way:?}");
    }
}
