//! A refusal because of the queue keeps its connection, where the request was read whole.
#![allow(clippy::unwrap_used)]

use crate::support::gate::Gated;
use crate::support::{Reply, wait_for};
use cws::{Config, Counter};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const QUICK: &[u8] = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n";

/// Without a queue, each request is refused while the worker is held.
fn full() -> (TcpStream, Gated) {
    let gated = Gated::start(Config::default().queue(0));
    (gated.hold_the_worker(), gated)
}

fn check_refusal(reply: &Reply) {
    assert_eq!(reply.status, 503);
    let seconds: u64 = reply.field("Retry-After").unwrap().parse().unwrap();
    assert!((1..=cws::internals::config::RETRY_AFTER_MOST).contains(&seconds), "{seconds}");
}

/// Reads to the end, and returns the bytes.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a clean end, no reset");
    bytes
}

#[test]
fn a_refused_client_is_served_later_on_the_same_connection() {
    let (mut held, gated) = full();
    let mut kept = gated.send(QUICK);
    for _ in 0..3 {
        let reply = Reply::read(&mut kept);
        check_refusal(&reply);
        assert_eq!(reply.field("Connection"), None, "HTTP/1.1 persists without a word");
        kept.write_all(QUICK).unwrap();
    }
    check_refusal(&Reply::read(&mut kept));
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
    assert_eq!(gated.ask_until_served(&mut kept).body, b"released");
    drop((held, kept));
    let Gated { server, release, .. } = gated;
    drop(release);
    let books = server.shutdown().snapshot;
    assert_eq!(books.get(Counter::Accepted), 2, "one connection for all tries");
    assert_eq!(books.closed_in_all(), 2);
    assert_eq!(books.get(Counter::Handled), 2);
    assert!(books.get(Counter::QueueFull) >= 4);
    assert_eq!(books.get(Counter::QueueFull), books.get(Counter::Refused));
    assert_eq!(books.responses_in_all(), 2 + books.get(Counter::Refused));
}

#[test]
fn what_was_read_whole_keeps_its_connection_unless_the_client_ends_it() {
    let (_held, gated) = full();
    let sized = |line: &str, length: usize, body: &str| {
        format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let chunked = |line: &str| {
        let body = "2\r\nhe\r\n0\r\n\r\n";
        format!("{line} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
    };
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    // The handler takes bodies at `/kept`; others are dropped.
    let requests = [
        (get.to_owned(), 1),
        (sized("POST /", 5, "hello"), 1),
        (sized("POST /kept", 5, "hello"), 1),
        (chunked("PUT /"), 1),
        (chunked("POST /kept"), 1),
        (sized("POST /kept", 2, &format!("he{get}")), 2),
        (format!("{get}{get}\r\n{get}"), 3),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), 1),
    ];
    for (request, count) in &requests {
        let mut stream = gated.send(request.as_bytes());
        for _ in 0..*count {
            let reply = Reply::read(&mut stream);
            check_refusal(&reply);
            assert_ne!(reply.field("Connection"), Some("close"), "{request:?}");
        }
        stream.write_all(b"GET /quick HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let replies = Reply::all(&rest(&mut stream), false);
        assert_eq!(replies.len(), 1, "{request:?}: one for the request that follows");
        check_refusal(&replies[0]);
        assert_eq!(replies[0].field("Connection"), Some("close"));
    }
}

#[test]
fn other_refusals_close_the_connection() {
    let (_held, gated) = full();
    let get = "GET / HTTP/1.1\r\nHost: a\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n";
    let requests = [
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 503),
        (format!("{get}Connection: close\r\n\r\n"), 503),
        (format!("{get}Connection: close\r\n\r\n{get}\r\n"), 503),
        (format!("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n{get}\r\n"), 503),
        // Its body may come or not.
        (format!("{post}Expect: 100-continue\r\n\r\n"), 503),
        // What is malformed would be refused with room in the queue, too.
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("BREW{}\r\n", &get[3..]), 501),
    ];
    for (request, status) in &requests {
        let replies = Reply::all(&rest(&mut gated.send(request.as_bytes())), false);
        assert_eq!(replies.len(), 1, "{request:?}");
        assert_eq!(replies[0].status, *status, "{request:?}");
        assert_eq!(replies[0].field("Connection"), Some("close"), "{request:?}");
    }
    let snapshot = gated.server.snapshot();
    assert_eq!(snapshot.get(Counter::QueueFull), 5);
    assert_eq!(snapshot.get(Counter::Malformed), 2);
    assert_eq!(snapshot.get(Counter::Unhandled), 0, "no worker had them");
}

#[test]
fn a_refused_head_request_gets_no_content() {
    let (_held, gated) = full();
    let mut stream = gated.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The head of its response is followed by the response to the next request.
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let replies = Reply::all(&bytes, true);
    check_refusal(&replies[0]);
    assert!(replies[0].field("Content-Length").unwrap().parse::<u64>().unwrap() > 0);
    stream.write_all(QUICK).unwrap();
    check_refusal(&Reply::read(&mut stream));
}

#[test]
fn a_request_that_waited_for_too_long_keeps_its_connection() {
    let patience = Duration::from_millis(50);
    let gated = Gated::start(Config::default().queue_timeout(patience));
    let mut held = gated.hold_the_worker();
    // A second request follows each of them in the same bytes.
    let mut late = gated.send(&QUICK.repeat(2));
    let mut malformed = gated.send(b"GET / HTTP/1.1\r\n\r\n");
    // The worker is still held.
    check_refusal(&Reply::read(&mut late));
    assert_eq!(rest(&mut malformed).get(..12), Some(&b"HTTP/1.1 400"[..]));
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
    // The one behind it has its own time, which a busy machine can use up.
    let next = Reply::read(&mut late);
    assert!(next.body == b"released" || next.status == 503, "{next:?}");
    assert_eq!(gated.ask_until_served(&mut late).body, b"released");
    let snapshot = gated.server.snapshot();
    assert!(snapshot.get(Counter::Expired) >= 1);
    assert_eq!(snapshot.get(Counter::Malformed), 1);
    assert_eq!(snapshot.get(Counter::Refused), snapshot.get(Counter::Expired) + 1);
}

#[test]
fn refusals_end_connections_while_the_server_stops() {
    // Longer than a busy machine takes to begin to stop.
    let patience = Duration::from_secs(2);
    let gated = Gated::start(Config::default().queue_timeout(patience));
    let mut held = gated.hold_the_worker();
    let mut late = gated.send(QUICK);
    gated.server.stopper().stop();
    let is_closed = || TcpStream::connect(gated.address()).is_err();
    wait_for("the listener to close", || is_closed().then_some(()));
    let replies = Reply::all(&rest(&mut late), false);
    check_refusal(&replies[0]);
    assert_eq!(replies[0].field("Connection"), Some("close"));
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
}

/// Reads so many responses, in large pieces.
#[cfg(all(feature = "cli", target_os = "linux"))]
fn read(stream: &mut TcpStream, count: usize) -> Vec<Reply> {
    let (mut replies, mut bytes) = (Vec::new(), Vec::new());
    while replies.len() < count {
        let mut some = [0; 16 << 10];
        let length = stream.read(&mut some).unwrap();
        assert!(length > 0, "the end after {} responses", replies.len());
        bytes.extend_from_slice(&some[..length]);
        while let Some((reply, rest)) = Reply::first(&bytes, false) {
            bytes = rest.to_vec();
            replies.push(reply);
        }
    }
    assert_eq!((replies.len(), bytes.len()), (count, 0), "no more than that");
    replies
}

/// A stopped process finds many requests of one client, and some of another, when it continues: the
/// responses alternate.
#[cfg(all(feature = "cli", target_os = "linux"))]
#[test]
fn a_client_that_pipelines_into_a_full_queue_is_answered_once_a_turn() {
    use crate::support::{RealServer, Site, connect};
    let site = Site::new();
    let options = ["--workers", "1", "--queue", "0", "--delay", "1h", "--health", "/healthz"];
    // A slow test is neither an idle client nor a slow reader.
    let waits = ["--idle-timeout", "1h", "--write-timeout", "1h"];
    let server = RealServer::start(&site, &[&options[..], &waits].concat());
    let mut held = connect(server.address());
    held.write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let ask = |path: &str, count: usize| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(count).into_bytes()
    };
    let [mut greedy, mut polite] = [(); 2].map(|()| {
        let mut stream = connect(server.address());
        // Only a refusal shows that the worker is held.
        wait_for("the worker to be held", || {
            stream.write_all(&ask("/first", 1)).unwrap();
            Some(Reply::read(&mut stream)).filter(|reply| reply.status == 503)
        });
        stream
    });
    // A connection gets one refusal a turn, or a few responses.
    for (many, few, status, a_turn) in
        [("/greedy", "/polite", 503, 1), ("/healthz", "/modest", 200, 16)]
    {
        server.signal("STOP");
        wait_for("the process to stop", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
            stat.contains(") T ").then_some(())
        });
        greedy.write_all(&ask(many, 800)).unwrap();
        polite.write_all(&ask(few, 20)).unwrap();
        server.signal("CONT");
        read(&mut polite, 20).iter().for_each(check_refusal);
        assert!(read(&mut greedy, 800).iter().all(|reply| reply.status == status));
        let [many, few] = [many, few].map(|path| format!(" {path} "));
        let log = wait_for("the log", || {
            Some(server.stderr()).filter(|log| log.matches(&many).count() == 800)
        });
        let before = log.split(&few).take(20).map(|part| part.matches(&many).count());
        assert!(before.sum::<usize>() <= (a_turn + 1) * 20, "{log}");
    }
}

/// A process that ends with its test.
#[cfg(unix)]
struct Killed(std::process::Child);

#[cfg(unix)]
impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy in front of an overloaded server keeps its connections, refused or not.
#[cfg(unix)]
#[test]
fn haproxy_needs_few_connections_for_many_refusals() {
    use std::os::unix::net::UnixStream;
    use std::process::Stdio;
    const CLIENTS: usize = 8;
    const EACH: usize = 100;
    let Some(mut haproxy) = crate::support::installed("haproxy") else { return };
    let (mut held, gated) = full();
    let dir = tempfile::tempdir().unwrap();
    let (front, file) = (dir.path().join("front"), dir.path().join("haproxy.cfg"));
    let config = format!(
        "defaults\n mode http\n option http-keep-alive\n http-reuse always\n retries 0\n \
         timeout connect 20s\n timeout client 20s\n timeout server 20s\n\
         listen front\n bind {}\n server one {}\n",
        front.display(),
        gated.address()
    );
    std::fs::write(&file, config).unwrap();
    haproxy.args(["-db", "-q", "-f"]).arg(&file).stdin(Stdio::null());
    let _proxy = Killed(haproxy.spawn().unwrap());
    let connect = || {
        let stream = wait_for("the proxy", || UnixStream::connect(&front).ok());
        stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
        stream
    };
    let ask = |stream: &mut UnixStream| {
        stream.write_all(QUICK).unwrap();
        let mut bytes = Vec::new();
        loop {
            if let Some((reply, _)) = Reply::first(&bytes, false) {
                return reply;
            }
            let mut some = [0; 4096];
            let count = stream.read(&mut some).unwrap();
            assert!(count > 0, "the end after {}", bytes.escape_ascii());
            bytes.extend_from_slice(&some[..count]);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut stream = connect();
                for _ in 0..EACH {
                    check_refusal(&ask(&mut stream));
                }
            });
        }
    });
    let snapshot = gated.server.snapshot();
    let (opened, refused) = (snapshot.get(Counter::Accepted), snapshot.get(Counter::QueueFull));
    assert_eq!(refused, (CLIENTS * EACH) as u64, "each refusal is the server's");
    assert!(opened <= 1 + 2 * CLIENTS as u64, "{opened} connections for {refused} refusals");
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
    let mut stream = connect();
    let served = wait_for("room", || Some(ask(&mut stream)).filter(|reply| reply.status == 200));
    assert_eq!(served.body, b"released");
}
