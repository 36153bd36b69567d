//! The queue's disciplines and what happens when it is full, over sockets. The order is decided by
//! events: a handler holds the only worker until the test releases it.
#![allow(clippy::unwrap_used)]

mod support;

use crossbeam_channel::{Receiver, Sender, unbounded};
use cws::{CloseReason, Config, Counter, Request, Response, Schedule, Server, WhenFull};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use support::{PATIENCE, Reply, wait_for};

/// A server with one worker, the targets in the order of service, and the sender that releases one
/// service.
fn gated(config: Config) -> (Server, Receiver<String>, Sender<()>) {
    let (entered, order) = unbounded();
    let (release, released) = unbounded::<()>();
    let handler = move |request: &Request<'_>| {
        let _ = entered.send(String::from_utf8_lossy(request.target.raw).into_owned());
        let _ = released.recv();
        Response::ok("text/plain", "released")
    };
    (Server::start(config.workers(1), handler).unwrap(), order, release)
}

/// A connection from 127.0.0.`client` that has sent a request.
fn ask(client: u8, server: SocketAddr, target: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, client], 0)).into()).unwrap();
    socket.connect_timeout(&server.into(), PATIENCE).unwrap();
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream
}

fn wait_for_waiting(server: &Server, count: usize) {
    wait_for("the queue to fill", || (server.snapshot().queue.waiting == count).then_some(()));
}

/// The order in which requests are served that arrive one after another while the worker is held.
fn order_of(schedule: Schedule, requests: &[(u8, &str)]) -> Vec<String> {
    let (server, order, release) = gated(Config::default().schedule(schedule));
    let address = server.addresses()[0];
    let mut streams = vec![ask(9, address, "/held")];
    assert_eq!(order.recv_timeout(PATIENCE).unwrap(), "/held");
    for (at, (client, target)) in requests.iter().enumerate() {
        streams.push(ask(*client, address, target));
        wait_for_waiting(&server, at + 1);
    }
    let mut served = Vec::new();
    for _ in requests {
        release.send(()).unwrap();
        served.push(order.recv_timeout(PATIENCE).unwrap());
    }
    release.send(()).unwrap();
    for stream in &mut streams {
        assert_eq!(Reply::read(stream).body, b"released");
    }
    served
}

#[test]
fn clients_take_turns_and_one_client_is_served_in_order() {
    let names: Vec<String> = (0..12).map(|nth| format!("/a{nth}")).collect();
    let mut requests: Vec<(u8, &str)> = names.iter().map(|name| (2, name.as_str())).collect();
    requests.extend([(3, "/b0"), (3, "/b1"), (4, "/c0")]);
    let order = order_of(Schedule::Fair, &requests);
    let place = |name: &str| order.iter().position(|served| served == name).unwrap();
    // Some of the first client's are ahead: the one that is ready, and one before each guess holds.
    assert!(place("/b0") < 6 && place("/c0") < 6 && place("/b1") < 9, "{order:?}");
    let of_a: Vec<_> = order.iter().filter(|name| name.starts_with("/a")).collect();
    assert!(of_a.iter().zip(&names).all(|(served, name)| *served == name), "{order:?}");
}

#[test]
fn the_oldest_or_the_newest_is_first() {
    let requests = [(2, "/0"), (3, "/1"), (2, "/2"), (3, "/3"), (2, "/4")];
    assert_eq!(order_of(Schedule::Fifo, &requests), ["/0", "/1", "/2", "/3", "/4"]);
    let order = order_of(Schedule::Lifo, &requests);
    // The one that was ready in the channel is first. It is an early one.
    assert!(order.iter().position(|name| name == "/4").unwrap() <= 2, "{order:?}");
}

#[test]
fn what_waits_too_long_is_refused_while_the_worker_is_held() {
    let (server, order, release) = gated(Config::default().patience(Duration::from_millis(200)));
    let address = server.addresses()[0];
    let mut held = ask(2, address, "/held");
    order.recv_timeout(PATIENCE).unwrap();
    let start = std::time::Instant::now();
    let mut late: Vec<_> = (0..4).map(|_| ask(3, address, "/late")).collect();
    assert!(late.iter_mut().all(|stream| Reply::read(stream).status == 503));
    assert!(start.elapsed() >= Duration::from_millis(100), "not before its time");
    assert_eq!(server.snapshot().get(Counter::Expired), 4);
    drop(release);
    assert_eq!(Reply::read(&mut held).status, 200);
    assert!(order.try_recv().is_err(), "the handler was not called for them");
}

#[test]
fn a_blocked_request_waits_for_room_and_those_that_leave_do_not_hinder() {
    let config = Config::default().queue(1).when_full(WhenFull::Block);
    let (server, order, release) = gated(config);
    let address = server.addresses()[0];
    let mut streams = vec![ask(2, address, "/0")];
    order.recv_timeout(PATIENCE).unwrap();
    streams.push(ask(2, address, "/1"));
    wait_for_waiting(&server, 1);
    let gone = ask(3, address, "/gone");
    wait_for("three connections", || (server.open_connections() == 3).then_some(()));
    streams.push(ask(4, address, "/2"));
    wait_for("four connections", || (server.open_connections() == 4).then_some(()));
    socket2::SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
    drop(gone);
    wait_for("its end", || (server.snapshot().closed(CloseReason::PeerGone) == 1).then_some(()));
    assert_eq!(server.snapshot().get(Counter::Refused), 0);
    for _ in 0..3 {
        release.send(()).unwrap();
    }
    assert!(streams.iter_mut().all(|stream| Reply::read(stream).status == 200));
}

#[test]
fn a_blocked_request_is_refused_at_its_age_while_the_worker_is_held() {
    let patience = Duration::from_millis(200);
    let config = Config::default().queue(0).patience(patience).when_full(WhenFull::Block);
    let (server, order, release) = gated(config);
    let address = server.addresses()[0];
    let mut held = ask(2, address, "/held");
    order.recv_timeout(PATIENCE).unwrap();
    let mut blocked = ask(3, address, "/blocked");
    assert_eq!(Reply::read(&mut blocked).status, 503);
    assert_eq!(server.snapshot().get(Counter::Expired), 1);
    drop(release);
    assert_eq!(Reply::read(&mut held).status, 200);
}
