//! Clients behind proxies: the PROXY protocol, `Forwarded`, `X-Forwarded-For`, request identifiers.
#![cfg(feature = "proxy")]
#![allow(clippy::unwrap_used)]

use crate::support::gate::Gated;
use crate::support::{Reply, connect, wait_for};
use cws::{
    ClientAddress, CloseReason, Config, Counter, Error, Handler, Immediate, Request, Response,
    Server,
};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Says who asks: on a worker, or at once at `/now`.
struct Tell;

fn tell(request: &Request<'_>) -> Response {
    let (client, id) = (request.client(), request.request_id().unwrap_or("-"));
    Response::text(format!("{client} {id} {}", request.worker().min(1)))
}

impl Handler for Tell {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        assert!(request.peer().ip().is_loopback());
        Ok(tell(request))
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }
}

impl Immediate for Tell {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        (request.target.raw == b"/now").then(|| tell(request))
    }
}

fn trusting(networks: &[&str]) -> Config {
    let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
    Config::default().workers(2).trusted_proxies(networks)
}

/// The PROXY protocol from the loopback network.
fn announced() -> Config {
    trusting(&["127.0.0.0/8"]).proxy_protocol(true)
}

/// A field from the loopback network and from 10.0.0.0/8.
fn forwarded(field: ClientAddress) -> Config {
    trusting(&["127.0.0.1", "10.0.0.0/8"]).client_address(field)
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

/// The client in the body that [`Tell`] makes.
fn client(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    text(reply).split(' ').next().unwrap().to_owned()
}

fn send(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(server.addresses()[0]);
    // The server may have closed it already.
    let _ = stream.write_all(bytes);
    stream
}

/// Sends a request with these fields and reads the reply.
fn ask(stream: &mut TcpStream, path: &str, fields: &str) -> Reply {
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    Reply::read(stream)
}

/// Fails unless the connection ends without a byte.
fn check_closed(stream: &mut TcpStream, what: &str) {
    let mut bytes = Vec::new();
    // A reset is an end as well: the server has not read everything.
    let _ = stream.read_to_end(&mut bytes);
    assert_eq!(bytes.escape_ascii().to_string(), "", "{what}");
}

fn received(server: &Server) -> usize {
    server.snapshot().get(Counter::BytesReceived) as usize
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2: what follows the signature, with its true length.
fn v2(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
    let length = u16::try_from(behind.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, behind].concat()
}

/// From [2001:db8::7]:4711, with extensions.
fn v2_of_ipv6() -> Vec<u8> {
    let source = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let ports = [4711_u16.to_be_bytes(), 80_u16.to_be_bytes()].concat();
    let extensions = [&[3, 0, 4, 1, 2, 3, 4][..], &[4, 0, 2, 0, 0]].concat();
    v2(0x21, 0x21, &[&source[..], &[0; 16], &ports, &extensions].concat())
}

fn v2_of_ipv4(last: u8) -> Vec<u8> {
    v2(0x21, 0x11, &[192, 0, 2, last, 192, 0, 2, 2, 0x12, 0x67, 0, 80])
}

fn local() -> Vec<u8> {
    v2(0x20, 0x00, b"")
}

#[test]
fn a_proxy_header_is_read_whatever_the_pieces_in_which_it_arrives() {
    let server = Server::start(announced(), Tell).unwrap();
    for (header, expected) in [
        (V1.to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::8 1 2\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.9 ::1 1 2\r\n".to_vec(), "192.0.2.9"),
        (b"PROXY UNKNOWN ff ff\r\n".to_vec(), "127.0.0.1"),
        (v2_of_ipv4(1), "192.0.2.1"),
        (v2_of_ipv6(), "2001:db8::7"),
        (v2(0x21, 0x31, &[7; 216]), "127.0.0.1"),
        (local(), "127.0.0.1"),
    ] {
        for path in ["/", "/now"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let all = [&header, request.as_bytes()].concat();
            let step = if header.len() > 100 { 41 } else { 1 };
            for cut in (0..=header.len() + 4).step_by(step) {
                let before = received(&server);
                let mut stream = send(&server, &all[..cut]);
                wait_for("the first part", || (received(&server) == before + cut).then_some(()));
                stream.write_all(&all[cut..]).unwrap();
                let shown = all.escape_ascii().to_string();
                assert_eq!(client(&Reply::read(&mut stream)), expected, "{cut} of {shown}");
                // What follows on the connection has the same client, and no header.
                let next = ask(&mut stream, path, "X-Forwarded-For: 1.2.3.4\r\n");
                assert_eq!(client(&next), expected);
            }
        }
        let mut stream = send(&server, b"");
        for byte in [&header, &b"GET / HTTP/1.0\r\n\r\n"[..]].concat() {
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(client(&Reply::read(&mut stream)), expected, "byte by byte");
    }
    let snapshot = server.snapshot();
    assert_eq!(snapshot.closed(CloseReason::ProxyHeader), 0);
    assert_eq!(snapshot.get(Counter::Refused), 0);
}

#[test]
fn pipelined_requests_may_follow_the_header_at_once() {
    let server = Server::start(announced().defer_accept(true), Tell).unwrap();
    let requests =
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
    let mut stream = send(&server, &[V1, &requests].concat());
    for _ in 0..40 {
        assert_eq!(client(&Reply::read(&mut stream)), "192.0.2.1");
    }
}

#[test]
fn connections_that_do_not_begin_with_a_valid_header_are_closed_and_counted() {
    let server = Server::start(announced(), Tell).unwrap();
    let text = |line: &str| [line.as_bytes(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let mut bad = vec![
        text(""),
        text("\r\n"),
        text("PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n"),
        text("PROXY TCP4 192.0.2.1 192.0.2.2 -1 80\r\n"),
        text("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\n"),
        text("PROXY TCP4 192.0.2.1 192.0.2.2 4711 80 "),
        text("PROXY TCP4 192.0.2.1 192.0.2.2\r\n"),
        text("PROXY TCP4 999.0.2.1 192.0.2.2 4711 80\r\n"),
        text(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(100))),
        [b"PROXY ", &b"A".repeat(70_000)[..]].concat(),
        b"\x16\x03\x01\x02\x00\x01".to_vec(),
        b"\0".to_vec(),
        // Lengths that lie: no room for the addresses, or more than any header has.
        [SIGNATURE, b"\x21\x11\0\x0b", &[0; 64]].concat(),
        [SIGNATURE, b"\x21\x21\0\x0c", &[0; 64]].concat(),
        [SIGNATURE, b"\x21\x11\xff\xff", &[0; 70_000]].concat(),
        [SIGNATURE, b"\x20\0\x10\0", &[0; 70_000]].concat(),
        // Unknown versions, commands, families and protocols.
        v2(0x11, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x41, &[0; 12]),
        v2(0x21, 0x13, &[0; 12]),
    ];
    // Half of each protocol.
    bad.push([&SIGNATURE[..6], V1].concat());
    bad.push([b"PROXY ", SIGNATURE].concat());
    for (number, bytes) in bad.iter().enumerate() {
        let start = bytes[..bytes.len().min(80)].escape_ascii().to_string();
        check_closed(&mut send(&server, bytes), &start);
        let closed = || server.snapshot().closed(CloseReason::ProxyHeader) == number as u64 + 1;
        wait_for("it to be counted", || closed().then_some(()));
    }
    // It is half a header that ends.
    let mut half = send(&server, &V1[..20]);
    half.shutdown(Shutdown::Write).unwrap();
    check_closed(&mut half, "half a header");
    let closed = || server.snapshot().closed(CloseReason::ProxyHeader) == bad.len() as u64 + 1;
    wait_for("it to be counted", || closed().then_some(()));
    // A balancer that only connects is no error.
    drop(send(&server, b""));
    let closed = || server.snapshot().closed(CloseReason::PeerClosed) == 1;
    wait_for("it to be counted", || closed().then_some(()));
    assert_eq!(server.snapshot().responses_in_all(), 0);
    let mut stream = send(&server, V1);
    assert_eq!(client(&ask(&mut stream, "/", "")), "192.0.2.1", "the server is well");
}

#[test]
fn a_second_header_is_no_request() {
    let server = Server::start(announced(), Tell).unwrap();
    for second in [V1.to_vec(), v2_of_ipv4(3), local(), b"PROXY UNKNOWN\r\n".to_vec()] {
        for first in [V1.to_vec(), v2_of_ipv4(1)] {
            let all = [&first[..], &second, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let mut stream = send(&server, &all);
            assert_eq!(Reply::read(&mut stream).status, 400);
            assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0, "the connection is over");
        }
    }
    // Nor is one in front of a later request.
    let mut stream = send(&server, V1);
    assert_eq!(client(&ask(&mut stream, "/", "")), "192.0.2.1");
    stream.write_all(&v2_of_ipv4(9)).unwrap();
    assert_eq!(Reply::read(&mut stream).status, 400);
}

#[test]
fn only_a_trusted_proxy_may_announce_a_connection() {
    let server =
        Server::start(trusting(&["10.0.0.0/8", "::1"]).proxy_protocol(true), Tell).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (number, start) in [V1, &v2_of_ipv4(1), &local(), b""].into_iter().enumerate() {
        let mut stream = send(&server, &[start, request].concat());
        check_closed(&mut stream, "an untrusted peer");
        let closed = || server.snapshot().closed(CloseReason::UntrustedPeer) == number as u64 + 1;
        wait_for("it to be counted", || closed().then_some(()));
    }
    assert_eq!(server.snapshot().responses_in_all(), 0);
    // Where nobody expects a header, it is a malformed request, and changes nothing.
    let server = Server::start(trusting(&["127.0.0.1"]), Tell).unwrap();
    for start in [V1, &v2_of_ipv4(1)] {
        let mut stream = send(&server, &[start, request].concat());
        assert_eq!(Reply::read(&mut stream).status, 400);
    }
}

#[test]
fn the_header_must_come_in_time_and_the_request_may_take_longer() {
    let waits = announced().header_timeout(Duration::from_millis(100));
    let server = Server::start(waits.idle_timeout(Duration::from_secs(3600)), Tell).unwrap();
    let mut idle = send(&server, V1);
    let mut without = [&b""[..], &V1[..30], &SIGNATURE[..5], &v2_of_ipv4(1)[..20]]
        .map(|start| send(&server, start));
    for stream in &mut without {
        check_closed(stream, "late");
    }
    let late = || server.snapshot().closed(CloseReason::ProxyHeader) == 4;
    wait_for("all to be counted", || late().then_some(()));
    assert_eq!(client(&ask(&mut idle, "/", "")), "192.0.2.1", "it is idle, and not late");
    // A head after the header has its own deadline.
    let mut half = send(&server, &[V1, b"GET / HT"].concat());
    assert_eq!(Reply::read(&mut half).status, 408);
    // Silence after the header is that of any connection.
    let waits = announced().idle_timeout(Duration::from_millis(100));
    let server = Server::start(waits, Tell).unwrap();
    check_closed(&mut send(&server, V1), "idle");
    let idle = || server.snapshot().closed(CloseReason::IdleTimeout) == 1;
    wait_for("it to be counted", || idle().then_some(()));
}

#[test]
fn connections_without_a_header_yield_their_places_and_end_with_the_server() {
    let server = Server::start(announced().max_connections(4), Tell).unwrap();
    let silent: Vec<_> = (0..4).map(|_| send(&server, &V1[..9])).collect();
    wait_for("all places to be taken", || (server.open_connections() == 4).then_some(()));
    let mut stream = send(&server, V1);
    assert_eq!(client(&ask(&mut stream, "/", "")), "192.0.2.1");
    let start = std::time::Instant::now();
    let summary = server.shutdown();
    assert_eq!(summary.cut, 0);
    assert!(start.elapsed() < crate::support::PATIENCE, "the drain does not wait for headers");
    drop(silent);
}

#[test]
fn the_limit_per_client_holds_for_the_clients_that_a_proxy_announces() {
    let gated = Gated::start(announced().per_client(Some(2)));
    let quick = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n";
    let client = |last| gated.send(&[&v2_of_ipv4(last)[..], quick].concat());
    let mut kept = Vec::new();
    for last in 1..=5 {
        for _ in 0..2 {
            let mut stream = client(last);
            assert_eq!(Reply::read(&mut stream).status, 200, "client {last}");
            kept.push(stream);
        }
    }
    let mut third = client(1);
    let reply = Reply::read(&mut third);
    assert_eq!((reply.status, reply.field("Connection")), (503, Some("close")));
    let mut fourth = client(1);
    assert_eq!(Reply::read(&mut fourth).status, 503);
    check_closed(&mut client(1), "more than twice as many");
    // The proxy's own connections are not limited.
    for start in [local(), b"PROXY UNKNOWN\r\n".to_vec()] {
        for _ in 0..10 {
            let mut stream = gated.send(&[&start, &quick[..]].concat());
            assert_eq!(Reply::read(&mut stream).status, 200);
            kept.push(stream);
        }
    }
    drop((kept, third, fourth));
    wait_for("all to close", || (gated.server.open_connections() == 0).then_some(()));
    assert_eq!(Reply::read(&mut client(1)).status, 200, "its places are free again");
}

#[test]
fn a_field_names_the_client_of_each_request() {
    for (field, name, of) in [
        (ClientAddress::XForwardedFor, "X-Forwarded-For", ""),
        (ClientAddress::Forwarded, "Forwarded", "for="),
    ] {
        let server = Server::start(forwarded(field), Tell).unwrap();
        let mut stream = send(&server, b"");
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.2", "192.0.2.2"),
            ("", "127.0.0.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("unknown", "127.0.0.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("10.0.0.7", "10.0.0.7"),
            ("192.0.2.1:65536", "127.0.0.1"),
        ] {
            for path in ["/", "/now"] {
                let line = match value {
                    "" => String::new(),
                    value if value.contains(':') => format!("{name}: {of}\"{value}\"\r\n"),
                    value => format!("{name}: {of}{value}\r\n"),
                };
                assert_eq!(client(&ask(&mut stream, path, &line)), expected, "{line}");
                // What the client itself has sent is in front, and in lines before.
                let forged = format!("{name}: {of}1.2.3.4\r\n{name}: {of}1.2.3.5, ");
                let lines = format!("{forged}{of}192.0.2.9, {of}10.0.0.3\r\n");
                assert_eq!(client(&ask(&mut stream, path, &lines)), "192.0.2.9");
            }
        }
        // Only the one field is read.
        let other = "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n";
        let other = other.replace(&format!("{name}:"), "X-Real-IP:");
        assert_eq!(client(&ask(&mut stream, "/", &other)), "127.0.0.1");
        // Pipelined requests have a client each.
        let one = |of_client: &str| {
            format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: {of}{of_client}\r\n\r\n")
        };
        let pipelined: String = (1..=40).map(|last| one(&format!("192.0.2.{last}"))).collect();
        stream.write_all(pipelined.as_bytes()).unwrap();
        for last in 1..=40 {
            assert_eq!(client(&Reply::read(&mut stream)), format!("192.0.2.{last}"));
        }
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(client(&Reply::read(&mut stream)), "127.0.0.1");
    }
}

#[test]
fn fields_of_others_than_trusted_proxies_are_ignored() {
    let all = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n";
    for config in [
        trusting(&["10.0.0.0/8"]).client_address(ClientAddress::XForwardedFor),
        trusting(&["10.0.0.0/8"]).client_address(ClientAddress::Forwarded),
        // Nobody said which field counts.
        trusting(&["127.0.0.1"]),
        Config::default(),
    ] {
        let server = Server::start(config, Tell).unwrap();
        let mut stream = send(&server, b"");
        for path in ["/", "/now"] {
            assert_eq!(client(&ask(&mut stream, path, all)), "127.0.0.1");
        }
    }
    // Behind a PROXY header it is the client of the header who speaks, not the proxy.
    let config = forwarded(ClientAddress::XForwardedFor).proxy_protocol(true);
    let server = Server::start(config, Tell).unwrap();
    for (header, expected) in [
        (v2_of_ipv4(7), "192.0.2.7"),
        (b"PROXY TCP4 10.0.0.9 192.0.2.2 4711 80\r\n".to_vec(), "192.0.2.1"),
        (local(), "192.0.2.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x00, b""), "127.0.0.1"),
    ] {
        let mut stream = send(&server, &header);
        assert_eq!(client(&ask(&mut stream, "/", all)), expected);
        assert_eq!(client(&ask(&mut stream, "/now", all)), expected);
    }
}

#[test]
fn a_long_list_is_bounded_by_the_head_and_by_the_hops() {
    let own = ", 192.0.2.1, 10.0.0.4\r\n";
    let fields = format!("X-Forwarded-For: {}{own}", "1.2.3.4, ".repeat(64 * 1024 / 9));
    let server = Server::start(forwarded(ClientAddress::XForwardedFor), Tell).unwrap();
    assert_eq!(ask(&mut send(&server, b""), "/", &fields).status, 431);
    let lines = "X-Forwarded-For: 1.2.3.4\r\n".repeat(90);
    let mut stream = send(&server, b"");
    let fields_in_lines = format!("{lines}X-Forwarded-For: 192.0.2.1, 10.0.0.4\r\n");
    assert_eq!(client(&ask(&mut stream, "/", &fields_in_lines)), "192.0.2.1");
    let config = forwarded(ClientAddress::XForwardedFor);
    let server = Server::start(config.head_bytes(256 * 1024), Tell).unwrap();
    let mut stream = send(&server, b"");
    for path in ["/", "/now"] {
        assert_eq!(client(&ask(&mut stream, path, &fields)), "192.0.2.1");
        let trusted = format!("X-Forwarded-For: 1.2.3.4{}\r\n", ", 10.0.0.4".repeat(6000));
        assert_eq!(client(&ask(&mut stream, path, &trusted)), "10.0.0.4", "not the forged one");
    }
}

/// A connection of a proxy counts for the client whose request is in progress.
#[test]
fn the_limit_per_client_bounds_the_requests_in_progress_behind_a_proxy() {
    let config = forwarded(ClientAddress::XForwardedFor).per_client(Some(2));
    let gated = Gated::start(config);
    let of = |last: u8| format!("X-Forwarded-For: 192.0.2.{last}\r\n");
    let slow = |last| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", of(last));
    let mut first = gated.send(slow(1).as_bytes());
    wait_for("the worker to be held", || (gated.entered() == 1).then_some(()));
    let mut second = gated.send(slow(1).as_bytes());
    let waiting = || gated.server.snapshot().queue.waiting == 1;
    wait_for("the second to wait", || waiting().then_some(()));
    // The connection of the refused request stays open, for others as well.
    let mut shared = gated.send(b"");
    for _ in 0..10 {
        let reply = ask(&mut shared, "/quick", &of(1));
        assert_eq!((reply.status, reply.field("Connection")), (503, None));
        assert!(text(&reply).contains("requests in progress"), "{}", text(&reply));
    }
    assert_eq!(gated.server.snapshot().get(Counter::TooManyConnections), 10);
    // Others wait in the queue. A client that a proxy does not tell is not limited.
    let others: Vec<_> = [of(2), of(2), of(3), String::new(), String::new(), String::new()]
        .into_iter()
        .map(|fields| {
            gated.send(format!("GET /quick HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
        })
        .collect();
    let waiting = || gated.server.snapshot().queue.waiting == 7;
    wait_for("the others to wait", || waiting().then_some(()));
    gated.release.send(()).unwrap();
    gated.release.send(()).unwrap();
    for stream in [&mut first, &mut second] {
        assert_eq!(Reply::read(stream).status, 200);
    }
    for mut stream in others {
        assert_eq!(Reply::read(&mut stream).status, 200);
    }
    // Idle connections count for nobody, however many have served the client.
    for stream in [&mut first, &mut second, &mut shared] {
        assert_eq!(ask(stream, "/quick", &of(1)).status, 200);
    }
}

#[test]
fn a_pipelined_request_over_the_limit_is_refused_on_any_thread() {
    let config = forwarded(ClientAddress::XForwardedFor).per_client(Some(1));
    let (gate, handler) = crate::support::gated();
    let handler = move |request: &Request<'_>| match request.target.raw {
        b"/slow" => handler(request),
        _ => Response::text("quick"),
    };
    let server = Server::start(config, handler).unwrap();
    let of = |path: &str, last: u8| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.{last}\r\n\r\n")
    };
    let mut held = send(&server, of("/slow", 1).as_bytes());
    let in_service = || {
        let snapshot = server.snapshot();
        snapshot.workers.iter().any(|of| of.activity == cws::Activity::Handle)
    };
    wait_for("a worker to be held", || in_service().then_some(()));
    let pair = of("/quick", 2) + &of("/quick", 1);
    let mut stream = send(&server, pair.repeat(40).as_bytes());
    for _ in 0..40 {
        assert_eq!(Reply::read(&mut stream).status, 200);
        assert_eq!(Reply::read(&mut stream).status, 503);
    }
    gate.wait();
    assert_eq!(Reply::read(&mut held).status, 200);
    wait_for("its place to be free", || {
        stream.write_all(of("/quick", 1).as_bytes()).unwrap();
        (Reply::read(&mut stream).status == 200).then_some(())
    });
}

#[test]
fn the_queue_and_the_list_of_busy_clients_tell_clients_behind_a_proxy_apart() {
    let config = forwarded(ClientAddress::XForwardedFor).queue(4);
    let gated = Gated::start(config);
    let mut held = gated.hold_the_worker();
    let of = |last: u8| {
        format!("GET /quick HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.{last}\r\n\r\n")
    };
    // The greedy client fills the queue. Another one takes the place of one of its requests.
    let mut greedy: Vec<_> = (0..8).map(|_| gated.send(of(1).as_bytes())).collect();
    let refused = |count| gated.server.snapshot().get(Counter::QueueFull) == count;
    wait_for("the queue to be full", || refused(4).then_some(()));
    let mut others: Vec<_> = (0..2).map(|_| gated.send(of(2).as_bytes())).collect();
    wait_for("two to give way", || refused(6).then_some(()));
    let busiest = gated.server.observer().busiest_clients(10);
    let load = |name: &str| busiest.iter().find(|load| load.name() == name).copied();
    let demand = |load: cws::ClientLoad| load.waiting.unwrap() + load.in_service.unwrap();
    let greedy_load = load("192.0.2.1").unwrap();
    assert_eq!((greedy_load.refused, demand(greedy_load)), (6, 2));
    assert_eq!(demand(load("192.0.2.2").unwrap()), 2);
    assert!(load("127.0.0.1").is_none_or(|load| load.refused == 0), "{busiest:?}");
    gated.release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).status, 200);
    for stream in &mut others {
        assert_eq!(Reply::read(stream).status, 200);
    }
    let statuses = greedy.iter_mut().map(|stream| Reply::read(stream).status);
    assert_eq!(statuses.filter(|&status| status == 200).count(), 2);
}

fn id_of(reply: &Reply) -> String {
    let id = reply.field("X-Request-Id").unwrap_or_else(|| panic!("{reply:?}")).to_owned();
    assert!((1..=128).contains(&id.len()));
    id
}

fn is_made(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[test]
fn a_request_has_an_identifier_that_its_response_returns() {
    let server = Server::start(trusting(&["127.0.0.1"]).request_id(true), Tell).unwrap();
    let stranger = Server::start(trusting(&["10.0.0.1"]).request_id(true), Tell).unwrap();
    let nobody = Server::start(Config::default(), Tell).unwrap();
    let mut seen = std::collections::HashSet::new();
    let (mut trusted, mut other) = (send(&server, b""), send(&stranger, b""));
    let mut off = send(&nobody, b"");
    for path in ["/", "/now"] {
        for (fields, is_taken) in [
            ("", false),
            ("X-Request-Id: a-B.9_~+/=:@\r\n", true),
            ("x-request-id:\t7 \r\n", true),
            ("X-Request-Id: a b\r\n", false),
            ("X-Request-Id: \"quoted\"\r\n", false),
            ("X-Request-Id: a\r\nX-Request-Id: a\r\n", false),
            ("X-Request-Id:\r\n", false),
            ("X-Request-Id: \u{e4}\r\n", false),
            (&format!("X-Request-Id: {}\r\n", "z".repeat(128)), true),
            (&format!("X-Request-Id: {}\r\n", "z".repeat(129)), false),
        ] {
            let reply = ask(&mut trusted, path, fields);
            let id = id_of(&reply);
            assert_eq!(text(&reply).split(' ').nth(1), Some(&*id), "the handler has the same");
            let value = fields.split_once(':').map_or("", |(_, value)| value.trim());
            assert_eq!(id == value, is_taken, "{fields:?}: {id}");
            assert!(is_taken || is_made(&id) && seen.insert(id.clone()), "{fields:?}: {id}");
            let id = id_of(&ask(&mut other, path, fields));
            assert!(is_made(&id) && seen.insert(id.clone()), "a stranger's {fields:?}: {id}");
            let reply = ask(&mut off, path, fields);
            assert_eq!((reply.field("X-Request-Id"), reply.status), (None, 200));
            assert_eq!(text(&reply).split(' ').nth(1), Some("-"));
        }
    }
}

#[test]
fn refusals_and_the_health_path_have_an_identifier_as_well() {
    let config = trusting(&["127.0.0.1"]).request_id(true).queue(0);
    let config = config.health(Some("/healthz".to_owned()));
    let gated = Gated::start(config.header_timeout(Duration::from_millis(100)));
    let mut held = gated.hold_the_worker();
    let id = "X-Request-Id: mine-7\r\n";
    let mut stream = gated.send(b"");
    for (path, status) in [("/quick", 503), ("/healthz", 200), ("/%", 400)] {
        let reply = ask(&mut stream, path, id);
        assert_eq!((reply.status, &*id_of(&reply)), (status, "mine-7"), "{path}");
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\nX-Request-Id: mine-7\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine-7\r\nContent-Length: x\r\n\r\n", 400),
        ("FOO / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine-7\r\n\r\n", 501),
    ] {
        // A worker parses it, once the only one is free.
        let mut stream = gated.send(request.as_bytes());
        let reply = Reply::read(&mut stream);
        assert_eq!(id_of(&reply), "mine-7", "{request:?}: {reply:?}");
        assert!([status, 503].contains(&reply.status), "{request:?}");
    }
    // Of a head that is never whole nothing is taken over.
    for request in ["GET / HTTP/1.1\r\nX-Request-Id: mine-7\r\n", "\u{1}"] {
        let reply = Reply::read(&mut gated.send(request.as_bytes()));
        assert!(is_made(&id_of(&reply)), "{request:?}");
    }
    gated.release.send(()).unwrap();
    assert!(is_made(&id_of(&Reply::read(&mut held))));
}

#[test]
fn a_client_behind_a_proxy_protocol_cannot_choose_its_identifier() {
    let server = Server::start(announced().request_id(true), Tell).unwrap();
    for (header, is_taken) in [(V1.to_vec(), false), (local(), true), (v2_of_ipv4(1), false)] {
        let mut stream = send(&server, &header);
        let id = id_of(&ask(&mut stream, "/", "X-Request-Id: forged\r\n"));
        assert_eq!(id == "forged", is_taken, "{id}");
    }
}

#[test]
fn the_address_is_known_by_its_type() {
    let address: SocketAddr = "[::1]:0".parse().unwrap();
    let Ok(server) = Server::start(announced().listen(vec![address]), Tell) else { return };
    // ::1 is not in 127.0.0.0/8.
    check_closed(&mut send(&server, V1), "an untrusted peer");
}
