//! The health path is answered without a worker and before the queue.
#![allow(clippy::unwrap_used)]

use crate::support::gate::Gated;
use crate::support::{Reply, connect, get, wait_for};
use cws::{CloseReason, Config, Counter};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
const QUICK: &[u8] = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n";

fn config() -> Config {
    Config::default().health(Some("/healthz".to_owned()))
}

fn check_health(reply: &Reply) {
    assert_eq!((reply.status, &reply.body[..]), (200, &b"ok\n"[..]));
    assert_eq!(reply.field("Content-Type"), Some("text/plain"));
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
}

#[test]
fn it_is_answered_while_the_worker_is_busy_and_the_queue_is_full() {
    const WAITING: usize = 1000;
    // Both ends of each connection are in this process.
    assert!(cws::raise_descriptor_limit() > 2 * WAITING + 100);
    let config = config().queue(WAITING).max_connections(2 * WAITING);
    let gated = Gated::start(config.queue_timeout(Duration::from_secs(3600)));
    let mut held = gated.hold_the_worker();
    let waiting: Vec<_> = (0..WAITING).map(|_| gated.send(QUICK)).collect();
    wait_for("all to wait", || (gated.server.snapshot().queue.waiting == WAITING).then_some(()));
    let mut client = connect(gated.address());
    for _ in 0..3 {
        client.write_all(HEALTH).unwrap();
        let reply = Reply::read(&mut client);
        check_health(&reply);
        assert_eq!(reply.field("Connection"), None, "the connection persists");
    }
    client.write_all(&HEALTH.repeat(50)).unwrap();
    (0..50).for_each(|_| check_health(&Reply::read(&mut client)));
    // Another method is the handler's, and the queue is full.
    client.write_all(b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut client).status, 503);
    client.write_all(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let replies = Reply::all(&bytes, true);
    assert_eq!((replies.len(), replies[0].status), (1, 200), "without content");
    assert_eq!(replies[0].field("Content-Length"), Some("3"));
    let snapshot = gated.server.snapshot();
    assert_eq!(gated.entered(), 1, "the handler has not been asked since");
    // One on its way between the channel and the room is not counted for a moment.
    let in_queue = || gated.server.snapshot().queue.waiting;
    wait_for("all to wait still", || (in_queue() == WAITING).then_some(()));
    let counters = [Counter::Health, Counter::Refused, Counter::Handled, Counter::Unhandled];
    assert_eq!(counters.map(|of| snapshot.get(of)), [54, 1, 0, 0]);
    let asked = 1 + WAITING as u64 + 1;
    assert_eq!(snapshot.get(Counter::Offered), asked, "the one that was refused included");
    assert_eq!(snapshot.responses_in_all(), 55);
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
    for mut stream in waiting {
        assert_eq!(Reply::read(&mut stream).body, b"released");
    }
}

#[test]
fn only_get_and_head_of_exactly_this_path_are_answered() {
    let gated = Gated::start(config());
    for (request, body) in [
        ("GET /healthz", "ok\n"),
        ("GET /healthz?verbose", "ok\n"),
        ("GET /%68ealthz", "ok\n"),
        ("GET http://a/healthz", "ok\n"),
        ("GET /healthz/", "released"),
        ("GET /healthz/deep", "released"),
        ("GET /health", "released"),
        ("GET /?/healthz", "released"),
        ("POST /healthz", "released"),
        ("OPTIONS /healthz", "released"),
    ] {
        // With a body, too, which the handler does not take.
        for tail in ["\r\n", "Content-Length: 3\r\n\r\nabc"] {
            let mut stream =
                gated.send(format!("{request} HTTP/1.1\r\nHost: a\r\n{tail}").as_bytes());
            if request.starts_with("GET /?") {
                gated.release.send(()).unwrap();
            }
            let reply = Reply::read(&mut stream);
            assert_eq!(reply.body.escape_ascii().to_string(), body.escape_default().to_string());
            stream.write_all(QUICK).unwrap();
            assert_eq!(Reply::read(&mut stream).body, b"released", "{request} keeps it");
        }
    }
    for (request, status) in [
        (&b"GET /healthz HTTP/1.1\r\n\r\n"[..], 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET healthz HTTP/1.0\r\n\r\n", 200),
    ] {
        let replies = Reply::all(&crate::support::exchange(gated.address(), request), false);
        assert_eq!((replies.len(), replies[0].status), (1, status));
        assert_eq!(replies[0].field("Connection"), Some("close"));
    }
    let off = Gated::start(Config::default());
    assert_eq!(get(off.address(), "/healthz").body, b"released", "off by default");
}

#[test]
fn a_worker_answers_it_between_pipelined_requests() {
    let gated = Gated::start(config());
    let mut stream = gated.send(&[QUICK, HEALTH, QUICK, HEALTH].concat());
    for _ in 0..2 {
        assert_eq!(Reply::read(&mut stream).body, b"released");
        check_health(&Reply::read(&mut stream));
    }
    let snapshot = gated.server.snapshot();
    let counters = [Counter::Health, Counter::Handled, Counter::Unhandled, Counter::Offered];
    assert_eq!(counters.map(|of| snapshot.get(of)), [2, 2, 2, 2]);
}

#[test]
fn the_limit_of_connections_per_client_does_not_apply() {
    let gated = Gated::start(config().per_client(Some(1)));
    let first = gated.send(QUICK);
    wait_for("it to be counted", || (gated.server.open_connections() == 1).then_some(()));
    let mut second = gated.send(HEALTH);
    check_health(&Reply::read(&mut second));
    second.write_all(QUICK).unwrap();
    assert_eq!(Reply::read(&mut second).status, 503, "the limit applies to others");
    drop(first);
}

#[test]
fn idle_and_incomplete_connections_make_room_for_its_client() {
    const PLACES: usize = 10;
    let gated = Gated::start(config().max_connections(PLACES));
    let mut held = gated.hold_the_worker();
    let mut others: Vec<_> = (1..PLACES)
        .map(|nth| match nth % 3 {
            0 => gated.send(b""),
            1 => gated.send(b"GET /quick HT"),
            _ => gated.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfour"),
        })
        .collect();
    wait_for("all places", || (gated.server.open_connections() == PLACES).then_some(()));
    for _ in 0..PLACES / 2 {
        let mut stream = gated.send(HEALTH);
        check_health(&Reply::read(&mut stream));
        others.push(stream);
    }
    let snapshot = gated.server.snapshot();
    let ended = [CloseReason::Evicted, CloseReason::Displaced, CloseReason::Refused];
    let ended: u64 = ended.iter().map(|&reason| snapshot.closed(reason)).sum();
    assert!(ended >= PLACES as u64 / 2, "one for each");
    assert_eq!(gated.entered(), 1);
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
}

#[test]
fn it_ends_connections_while_the_server_stops() {
    let gated = Gated::start(config());
    let mut held = gated.hold_the_worker();
    let (most, end) = HEALTH.split_at(HEALTH.len() - 2);
    let mut client = gated.send(most);
    wait_for("both", || (gated.server.open_connections() == 2).then_some(()));
    gated.server.stopper().stop();
    let is_closed = || TcpStream::connect(gated.address()).is_err();
    wait_for("the listener to close", || is_closed().then_some(()));
    client.write_all(end).unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let replies = Reply::all(&bytes, false);
    check_health(&replies[0]);
    assert_eq!(replies[0].field("Connection"), Some("close"));
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).body, b"released");
}

/// The worker is held and the queue is full, so nobody but the acceptor can answer.
#[cfg(feature = "cli")]
#[test]
fn readiness_without_a_worker_tells_of_a_full_queue_only_if_asked() {
    use cws::{AdminPages, Request, Routes, Server};
    let (gate, held) = crate::support::gated();
    let admin = AdminPages::new();
    let routes = Routes::new()
        .get("/held", move |request: &Request<'_>| held(request))
        .mount("/readyz", admin.readiness())
        .mount("/admin", admin.clone())
        .build()
        .unwrap();
    let server = Server::start(Config::default().workers(1).queue(1), routes).unwrap();
    let address = server.addresses()[0];
    assert_eq!(get(address, "/readyz").status, 503, "it is starting");
    admin.observe(server.observer()).unwrap();
    let said = |path: &str| {
        let Reply { status, body, .. } = get(address, path);
        (status, String::from_utf8(body).unwrap())
    };
    let ready = (200, "ready\n".to_owned());
    wait_for("the worker to be free", || (said("/readyz?full") == ready).then_some(()));
    let mut clients = Vec::new();
    for waiting in 0..2 {
        let mut client = connect(address);
        client.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        wait_for("the request to be taken or queued", || {
            let snapshot = server.snapshot();
            let busy = snapshot.connections(cws::ConnectionPhase::InService) == 1;
            (busy && snapshot.queue.waiting == waiting).then_some(())
        });
        clients.push(client);
    }
    for prefix in ["", "/admin"] {
        assert_eq!(said(&format!("{prefix}/readyz")), ready);
        let full = (503, "the queue is full\n".to_owned());
        assert_eq!(said(&format!("{prefix}/readyz?full")), full);
    }
    for mut client in clients {
        gate.wait();
        assert_eq!(Reply::read(&mut client).body, b"done");
    }
}

#[cfg(feature = "cli")]
#[test]
fn the_command_answers_it_without_a_password_and_logs_it() {
    use crate::support::{RealServer, Site, command};
    let site = Site::new();
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    let user = "ann:$2y$04$abcdefghijklmnopqrstuu5s0bVnIpGyLEpMv1JSBYdWIyPFyVOOm";
    server.args(["--root", site.path().to_str().unwrap(), "--auth", user, "--admin", "0", "0"]);
    let server = RealServer::spawn({
        server.env("CWS_HEALTH", "/healthz");
        server
    });
    assert_eq!(get(server.address(), "/testfile").status, 401);
    check_health(&get(server.address(), "/healthz"));
    wait_for("the log", || server.stderr().contains("\"GET /healthz HTTP/1.1\" 200").then_some(()));
    let metrics = String::from_utf8(get(server.admin(), "/metrics").body).unwrap();
    assert!(metrics.contains("\ncws_requests_health_total 1\n"), "{metrics}");
}
