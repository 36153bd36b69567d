//! Signals: what was asked for is answered, what is idle is closed, and the process ends.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod support;

use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use support::{RealServer, Reply, Site, TESTFILE, connect, wait_for};

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
        assert_eq!(idle.read(&mut [0]).unwrap(), 0, "the idle one is closed");
        assert_eq!(server.wait().code(), Some(0), "SIG{signal}");
        assert!(TcpStream::connect(address).is_err());
        let log = server.stderr();
        assert!(
            log.contains("stopped after")
                && log.contains("7 handled, 0 refused (0 expired), 0 cut"),
            "{log}"
        );
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
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
fn the_drain_deadline_ends_what_does_not_end() {
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
fn it_does_not_end_by_itself() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--idle-timeout", "50ms"]);
    let mut stream = connect(server.address());
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the idle timeout");
    assert!(server.is_running());
}

#[test]
fn a_drain_delay_serves_on() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--drain-delay", "700ms"]);
    let mut kept = connect(server.address());
    server.signal("TERM");
    wait_for("the signal", || server.stderr().contains("stopping").then_some(()));
    assert_eq!(support::get(server.address(), "/testfile").body, TESTFILE, "still serving");
    ask(&mut kept);
    let reply = Reply::read(&mut kept);
    assert_eq!((reply.status, reply.field("Connection")), (200, None), "as if nothing were");
    assert_eq!(server.wait().code(), Some(0));
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn a_hangup_is_no_reason_to_end() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &[]);
    server.signal("HUP");
    assert_eq!(support::get(server.address(), "/testfile").body, TESTFILE);
    assert!(server.is_running());
}

/// Connections that wait in the kernel for a place are not lost: one after another gets it.
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

/// The kernel keeps back who has not spoken yet; who speaks in time is heard all the same.
#[test]
fn who_was_connected_in_time_may_still_ask() {
    let site = Site::new();
    for option in [&[][..], &["--no-defer-accept"]] {
        let mut server = RealServer::start(&site, option);
        let mut silent = connect(server.address());
        server.signal("TERM");
        wait_for("the signal", || server.stderr().contains("stopping").then_some(()));
        ask(&mut silent);
        let reply = Reply::read(&mut silent);
        assert_eq!((reply.body.as_slice(), reply.field("Connection")), (TESTFILE, Some("close")));
        assert_eq!(server.wait().code(), Some(0));
    }
}

/// Half a request is given a little time, and does not hold up the end until the drain timeout.
#[test]
fn half_a_request_is_answered_and_does_not_hold_up_the_end() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--drain-timeout", "1h", "--header-timeout", "1h"]);
    let mut half = connect(server.address());
    half.write_all(b"GET /te").unwrap();
    // Served from the same listener behind it, so the half is known to have come.
    support::get(server.address(), "/testfile");
    server.signal("TERM");
    let mut bytes = Vec::new();
    half.read_to_end(&mut bytes).expect("a clean end, no reset");
    assert!(bytes.starts_with(b"HTTP/1.1 408"), "{}", bytes.escape_ascii());
    drop(half);
    assert_eq!(server.wait().code(), Some(0));
}

/// A request that was sent while the server listened is answered, whatever state it was in.
#[test]
fn nothing_that_was_sent_in_time_is_lost() {
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

/// What became of requests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    sent: u32,
    /// Those that got a whole answer, with what was asked for.
    answered: u32,
    /// Those that did not, although the server had not said that it would close.
    lost: u32,
}

/// Asks again and again on one connection until it is told that it ends, or until it ends by
/// itself.
fn until_the_end(address: SocketAddr) -> Tally {
    let mut stream = connect(address);
    let mut tally = Tally::default();
    loop {
        tally.sent += 1;
        // A connection that ends unannounced may do so before the request is written.
        let reply = stream.write_all(GET).ok().and_then(|()| whole_reply(&mut stream));
        let Some(reply) = reply else {
            tally.lost += 1;
            return tally;
        };
        assert_eq!((reply.status, reply.body.as_slice()), (200, TESTFILE));
        tally.answered += 1;
        if reply.field("Connection") == Some("close") {
            let end = stream.read(&mut [0]).expect("a clean end, no reset");
            assert_eq!(end, 0, "nothing behind the last answer");
            return tally;
        }
    }
}

/// One response; none if the connection ends, however it does, before that is whole.
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
            Err(error) => panic!("an answer that does not come: {error}"),
        }
    }
}

/// How a server that loses requests ends a connection.
#[derive(Debug, Clone, Copy)]
enum Rogue {
    /// It resets it when a request has come.
    Resets,
    /// It closes it when a request has come.
    Closes,
    /// It closes it within an answer.
    CutsShort,
    /// It closes it between two requests, without a word.
    ClosesUnannounced,
    /// It says in an answer that it closes, and does.
    Announces,
}

/// Answers two requests, and ends the third in its way.
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

/// The instrument of the test above sees what it looks for.
#[test]
fn a_lost_request_is_counted_however_it_is_lost() {
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
