//! The queue's disciplines and what happens when it is full, over sockets. The order is decided by
//! events: a handler holds the only worker until the test releases it.
#![allow(clippy::unwrap_used)]

use crate::support::{PATIENCE, Reply, wait_for};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use cws::{
    Body, CloseReason, Config, ConnectionPhase, Counter, Lane, NoPermit, Permit, Request, Response,
    Schedule, Server, Stream, WhenFull,
};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server with one worker, the targets in the order of service, and the sender that releases one
/// service.
fn gated(config: Config) -> (Server, Receiver<String>, Sender<()>) {
    gated_with(config, |_| None)
}

/// The same, where `answer` may have a response of its own to a request that is released.
fn gated_with(
    config: Config,
    answer: impl Fn(&Request<'_>) -> Option<Response> + Send + Sync + 'static,
) -> (Server, Receiver<String>, Sender<()>) {
    let (entered, order) = unbounded();
    let (release, released) = unbounded::<()>();
    let handler = move |request: &Request<'_>| {
        let _ = entered.send(String::from_utf8_lossy(request.target.raw).into_owned());
        let _ = released.recv();
        answer(request).unwrap_or_else(|| Response::ok("text/plain", "released"))
    };
    (Server::start(config.workers(1), handler).unwrap(), order, release)
}

/// A connection from 127.0.0.`client` that has sent a request.
fn ask(client: u8, server: SocketAddr, target: &str) -> TcpStream {
    send(client, server, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

/// A connection from 127.0.0.`client` that has sent these bytes.
fn send(client: u8, server: SocketAddr, bytes: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, client], 0)).into()).unwrap();
    socket.connect_timeout(&server.into(), PATIENCE).unwrap();
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
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
    let queue = server.snapshot().queue;
    assert_eq!((queue.service, queue.age), (None, Duration::from_millis(100)), "half the patience");
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

/// A target of `/sized/N` has so much content that an empty response overtakes it for N hours.
fn sized(request: &Request<'_>) -> Option<Response> {
    let hours: u64 = request
        .target
        .raw
        .strip_prefix(b"/sized/")?
        .iter()
        .try_fold(0, |sum, digit| Some(10 * sum + u64::from(digit.checked_sub(b'0')?)))?;
    let content = Stream::new(hours * 3600 * (16 << 20), std::iter::empty());
    Some(Response::text("").with_body(Body::Stream(content)))
}

/// The content is never sent: each request is for the head of a response. So sizes can be so large
/// that the times between arrivals do not matter.
#[test]
fn the_smallest_is_first_once_its_size_is_known() {
    let config = Config::default().schedule(Schedule::SmallestFirst);
    let (server, order, release) = gated_with(config, sized);
    let address = server.addresses()[0];
    let head =
        |target: &str| send(2, address, &format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut streams = Vec::new();
    for known in ["/sized/3", "/sized/1", "/sized/2"] {
        streams.push(head(known));
        release.send(()).unwrap();
        assert_eq!(order.recv_timeout(PATIENCE).unwrap(), known);
        status_of_head(streams.last_mut().unwrap());
    }
    streams.push(head("/held"));
    assert_eq!(order.recv_timeout(PATIENCE).unwrap(), "/held");
    for (at, target) in
        ["/sized/3", "/sized/1", "/sized/5", "/sized/2", "/empty"].iter().enumerate()
    {
        streams.push(head(target));
        wait_for_waiting(&server, at + 1);
    }
    drop(release);
    let served: Vec<String> = (0..5).map(|_| order.recv_timeout(PATIENCE).unwrap()).collect();
    // The first was ready for the worker before the last of them came. One whose size is not known
    // counts as empty.
    let sizes = served[1..].iter().map(|target| match target.as_str() {
        "/sized/5" | "/empty" => 0,
        known => known["/sized/".len()..].parse::<u64>().unwrap(),
    });
    assert!(sizes.is_sorted(), "{served:?}");
    assert!(["/sized/5", "/sized/1"].contains(&&*served[0]), "{served:?}");
}

/// Reads the head of a response that has no content.
fn status_of_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{:?}", head.escape_ascii().to_string());
}

/// A server whose only worker is held and whose queue is full of these requests, all of which wait.
struct Full {
    // The server comes last: it waits for its worker, and for connections that were just served.
    release: Sender<()>,
    held: TcpStream,
    waiting: Vec<(String, TcpStream)>,
    order: Receiver<String>,
    server: Server,
}

impl Full {
    fn of(config: Config, requests: &[(u8, &str)]) -> Self {
        let (server, order, release) = gated(config.queue(requests.len()).defer_accept(false));
        let held = ask(9, server.addresses()[0], "/held");
        assert_eq!(order.recv_timeout(PATIENCE).unwrap(), "/held");
        let mut full = Self { release, held, waiting: Vec::new(), order, server };
        for (at, (client, target)) in requests.iter().enumerate() {
            full.ask(*client, target);
            wait_for_waiting(&full.server, at + 1);
        }
        full
    }

    fn ask(&mut self, client: u8, target: &str) {
        let stream = ask(client, self.server.addresses()[0], target);
        self.waiting.push((target.to_owned(), stream));
    }

    /// The target of the one request that is refused now; the others still wait.
    fn gone(&mut self) -> String {
        let at = wait_for("a refusal", || {
            self.waiting.iter().position(|(_, stream)| {
                stream.set_nonblocking(true).unwrap();
                let has_come = stream.peek(&mut [0]).is_ok();
                stream.set_nonblocking(false).unwrap();
                has_come
            })
        });
        let (target, mut stream) = self.waiting.remove(at);
        assert_eq!(Reply::read(&mut stream).status, 503);
        target
    }

    /// The order in which those that wait are served, after which each has its response.
    fn served(mut self) -> Vec<String> {
        drop(self.release);
        let order = &self.order;
        let next = |_: &_| order.recv_timeout(PATIENCE).unwrap();
        let served = self.waiting.iter().map(next).collect();
        assert_eq!(Reply::read(&mut self.held).status, 200);
        assert!(self.waiting.iter_mut().all(|(_, stream)| Reply::read(stream).status == 200));
        assert!(self.order.try_recv().is_err(), "the handler is not called for who gave way");
        served
    }
}

#[test]
fn who_gives_way_is_the_newest_or_the_oldest_of_all_or_of_the_client_that_has_most() {
    let requests = [(2, "/a0"), (3, "/b0"), (2, "/a1"), (2, "/a2")];
    use Schedule::{Fair, Fifo, Lifo, SmallestFirst};
    for (schedule, when_full, gone) in [
        (Fair, WhenFull::Refuse, "/a2"),
        (Fair, WhenFull::DropHead, "/a0"),
        (Fifo, WhenFull::Refuse, "/new"),
        (Fifo, WhenFull::DropHead, "/a0"),
        (Lifo, WhenFull::Refuse, "/new"),
        (Lifo, WhenFull::DropHead, "/a0"),
        (SmallestFirst, WhenFull::Refuse, "/new"),
        (SmallestFirst, WhenFull::DropHead, "/a0"),
    ] {
        let case = format!("{schedule:?}, {when_full:?}");
        let config = Config::default().schedule(schedule).when_full(when_full);
        let mut full = Full::of(config, &requests);
        full.ask(4, "/new");
        assert_eq!(full.gone(), gone, "{case}");
        assert_eq!(full.server.snapshot().get(Counter::QueueFull), 1, "{case}");
        let mut expected: Vec<String> = full.waiting.iter().map(|of| of.0.clone()).collect();
        let mut served = full.served();
        expected.sort();
        served.sort();
        assert_eq!(served, expected, "{case}");
    }
}

/// The client that has most gives way even if its first request is the next one to be served.
#[test]
fn what_is_ready_for_a_worker_counts_as_waiting() {
    let mut full = Full::of(Config::default(), &[(2, "/a0"), (2, "/a1")]);
    full.ask(3, "/b0");
    assert_eq!(full.gone(), "/a1");
    // They are equal now, and the newcomer is the newest.
    full.ask(3, "/b1");
    assert_eq!(full.gone(), "/b1");
    full.ask(4, "/c0");
    assert_eq!(full.gone(), "/c0");
    let mut served = full.served();
    served.sort();
    assert_eq!(served, ["/a0", "/b0"]);
}

/// If one of four gives way each time, all choices come up in so many rounds, but for a chance of
/// about 1 in 10^7.
#[test]
fn anybody_gives_way_at_random_the_newcomer_included() {
    let requests = [(2, "/0"), (2, "/1"), (2, "/2")];
    for schedule in [Schedule::Fair, Schedule::Fifo, Schedule::SmallestFirst] {
        let config = Config::default().schedule(schedule).when_full(WhenFull::DropRandom);
        let mut full = Full::of(config, &requests);
        let mut places = [0; 4];
        for nth in 3..67 {
            full.ask(2, &format!("/{nth}"));
            let before: Vec<String> = full.waiting.iter().map(|of| of.0.clone()).collect();
            let gone = full.gone();
            places[before.iter().position(|target| *target == gone).unwrap()] += 1;
        }
        assert!(places.iter().all(|&count| count > 0), "{schedule:?}: {places:?}");
        assert_eq!(full.server.snapshot().get(Counter::QueueFull), 64);
        full.served();
    }
}

/// Its first piece fills the sockets. The second one is made when the first has been read, so its
/// worker's job is in the queue from then on.
fn two_pieces() -> Response {
    let pieces = [vec![b'1'; PIECE], b"second".to_vec()].map(Bytes::from);
    Response::text("").with_body(Body::Stream(Stream::chunked(pieces.into_iter())))
}

/// So large that no socket holds it.
const PIECE: usize = 8 << 20;

/// Reads up to the end of the first piece.
fn read_first_piece(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"1\r\n") {
        let mut some = vec![0; 1 << 16];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "the end of a stream");
        bytes.extend_from_slice(&some[..count]);
    }
    assert!(bytes.len() > PIECE);
}

/// A request that a worker has begun. On a busy machine one may become too old before, and is sent
/// again.
fn begun(client: u8, server: SocketAddr, target: &str, order: &Receiver<String>) -> TcpStream {
    loop {
        let stream = ask(client, server, target);
        stream.set_nonblocking(true).unwrap();
        let has_begun = wait_for("a start or a refusal", || match order.try_recv() {
            Ok(started) => Some(started == target),
            Err(_) => stream.peek(&mut [0]).is_ok().then_some(false),
        });
        stream.set_nonblocking(false).unwrap();
        if has_begun {
            return stream;
        }
    }
}

/// Others give way for newcomers and expire around it; the response that has begun goes on.
#[test]
fn a_stream_is_neither_refused_nor_too_old_while_it_waits_for_a_worker() {
    for schedule in [Schedule::Fair, Schedule::Fifo, Schedule::Lifo, Schedule::SmallestFirst] {
        for when_full in [WhenFull::Refuse, WhenFull::DropHead, WhenFull::DropRandom] {
            let config = Config::default().schedule(schedule).when_full(when_full).queue(2);
            let config = config.queue_timeout(Duration::from_millis(50)).defer_accept(false);
            let (server, order, release) =
                gated_with(config, |request| (request.target.raw == b"/stream").then(two_pieces));
            let address = server.addresses()[0];
            let mut stream = begun(2, address, "/stream", &order);
            release.send(()).unwrap();
            let mut held = begun(9, address, "/held", &order);
            let refused = || {
                let snapshot = server.snapshot();
                snapshot.get(Counter::QueueFull) + snapshot.get(Counter::Expired)
            };
            let before = refused();
            let mut others = vec![ask(2, address, "/other")];
            read_first_piece(&mut stream);
            // Each of them comes after the stream.
            others.extend((0..6).map(|_| ask(2, address, "/other")));
            assert!(others.iter_mut().all(|other| Reply::read(other).status == 503));
            assert_eq!(refused() - before, 7, "{schedule:?}, {when_full:?}");
            assert_eq!(server.snapshot().queue.waiting, 0, "a stream is no request");
            drop(release);
            let mut rest = Vec::new();
            while !rest.ends_with(b"second\r\n0\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                rest.push(byte[0]);
            }
            assert_eq!(Reply::read(&mut held).status, 200);
        }
    }
}

/// A server whose requests for `/lane` share a lane with one permit, which the test gets.
fn with_lane(config: Config) -> (Server, Receiver<String>, Sender<()>, Receiver<Permit>) {
    let (give, permits) = unbounded();
    let lane = Lane::new(1, 10);
    let (server, order, release) = gated_with(config, move |request| {
        let permit = (request.target.raw == b"/lane").then(|| lane.enter(1))?;
        Some(match permit {
            Ok(permit) => {
                give.send(permit).unwrap();
                Response::text("permitted")
            }
            Err(NoPermit::Wait(wait)) => Response::deferred(wait),
            Err(NoPermit::Full) => panic!("the lane has room"),
        })
    });
    (server, order, release, permits)
}

/// Others give way for newcomers around it. What is too old in all is refused by its worker alone.
#[test]
fn a_deferred_request_is_neither_refused_nor_too_old_while_it_waits_in_the_room() {
    std::thread::scope(|scope| {
        for schedule in [Schedule::Fair, Schedule::Fifo, Schedule::Lifo, Schedule::SmallestFirst] {
            for when_full in [WhenFull::Refuse, WhenFull::DropHead, WhenFull::DropRandom] {
                scope.spawn(move || {
                    let config = Config::default().schedule(schedule).when_full(when_full);
                    let case = format!("{schedule:?}, {when_full:?}");
                    deferred_returns(config.defer_accept(false).queue(2), false, &case);
                });
            }
            // So long that the others have come by then.
            let config = Config::default().schedule(schedule).queue_timeout(Duration::from_secs(2));
            scope.spawn(move || {
                deferred_returns(config.queue(2), true, &format!("{schedule:?}, too old"));
            });
        }
    });
}

fn deferred_returns(config: Config, expires: bool, case: &str) {
    let (server, order, release, permits) = with_lane(config);
    let address = server.addresses()[0];
    let entered = |target: &str| assert_eq!(order.recv_timeout(PATIENCE).unwrap(), target);
    let mut first = ask(2, address, "/lane");
    release.send(()).unwrap();
    entered("/lane");
    assert_eq!(Reply::read(&mut first).status, 200);
    let mut deferred = ask(2, address, "/lane");
    release.send(()).unwrap();
    entered("/lane");
    let mut held = ask(9, address, "/held");
    entered("/held");
    let mut others = vec![ask(2, address, "/other")];
    wait_for_waiting(&server, 1);
    drop(permits.recv_timeout(PATIENCE).unwrap());
    wait_for_waiting(&server, 2);
    others.extend((0..4).map(|_| ask(2, address, "/other")));
    // One of the others still waits, until it is too old.
    let refused = if expires { 5 } else { 4 };
    wait_for(case, || {
        let snapshot = server.snapshot();
        let count = snapshot.get(Counter::QueueFull) + snapshot.get(Counter::Expired);
        (count == refused).then_some(())
    });
    wait_for_waiting(&server, if expires { 1 } else { 2 });
    drop(release);
    let reply = Reply::read(&mut deferred);
    assert_eq!(reply.status, if expires { 503 } else { 200 }, "{case}");
    assert_eq!(Reply::read(&mut held).status, 200);
    let is_refused = |stream: &mut TcpStream| Reply::read(stream).status == 503;
    let count = others.into_iter().filter_map(|mut other| is_refused(&mut other).then_some(()));
    assert_eq!(count.count() as u64, refused, "{case}");
}

/// What waits in the room, and what is blocked in front of it, is served after the stop.
#[test]
fn a_stop_serves_those_that_wait_and_those_that_are_blocked() {
    for schedule in [Schedule::Fair, Schedule::Fifo, Schedule::Lifo, Schedule::SmallestFirst] {
        let config = Config::default().schedule(schedule).when_full(WhenFull::Block);
        let mut full = Full::of(config, &[(2, "/a0"), (3, "/b0"), (2, "/a1")]);
        for (nth, target) in ["/a2", "/b1", "/a3"].iter().enumerate() {
            full.ask(2, target);
            wait_for_whole(&full.server, 5 + nth);
        }
        full.server.stopper().stop();
        wait_for("the stop", || (!full.server.is_ready()).then_some(()));
        drop(full.release);
        let replies = full.waiting.iter_mut().map(|(_, stream)| Reply::read(stream));
        for reply in std::iter::once(Reply::read(&mut full.held)).chain(replies) {
            assert_eq!(reply.status, 200, "{schedule:?}");
        }
        let summary = full.server.join();
        assert_eq!((summary.cut, summary.snapshot.get(Counter::Handled)), (0, 7), "{schedule:?}");
        assert_eq!(summary.snapshot.arrivals(), summary.snapshot.departures());
    }
}

/// Waits until the server has read the request of each of so many connections.
fn wait_for_whole(server: &Server, connections: usize) {
    wait_for("the requests", || {
        let snapshot = server.snapshot();
        let whole = [ConnectionPhase::InService, ConnectionPhase::Queued];
        let count: usize = whole.map(|phase| snapshot.connections(phase)).iter().sum();
        (count == connections).then_some(())
    });
}

/// The drain timeout ends a server whose worker is held, with a full room and blocked requests.
#[test]
fn the_drain_timeout_ends_a_full_room() {
    for schedule in [Schedule::Fair, Schedule::Fifo, Schedule::Lifo, Schedule::SmallestFirst] {
        let config = Config::default().schedule(schedule).when_full(WhenFull::Block);
        let config = config.drain_timeout(Duration::from_millis(100));
        let mut full = Full::of(config, &[(2, "/a0"), (3, "/b0"), (2, "/a1")]);
        full.ask(2, "/a2");
        full.ask(3, "/b1");
        wait_for_whole(&full.server, 6);
        let Full { server, order, release, held, waiting } = full;
        let (ended, end) = unbounded();
        std::thread::spawn(move || drop(ended.send(Box::new(server.shutdown()))));
        // The worker is held until then, so the server ends without it.
        let summary = end.recv_timeout(PATIENCE).expect("an end");
        assert_eq!(summary.cut, 6, "{schedule:?}");
        drop(release);
        for (_, mut stream) in waiting {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            assert!(bytes.is_empty(), "{:?}", bytes.escape_ascii().to_string());
        }
        assert!(order.try_recv().is_err(), "the handler is called for none of them");
        drop(held);
    }
}

/// Panics again when it is dropped, outside the code that guards a handler.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a second panic, on purpose");
    }
}

/// It pays for the time of the panic, while others wait, and then it has its turns again.
#[test]
fn a_client_whose_worker_panicked_is_charged_no_longer() {
    let config = Config::default().defer_accept(false);
    let (server, order, release) = gated_with(config, |request| {
        if request.target.raw.starts_with(b"/die") {
            std::panic::panic_any(Bomb);
        }
        None
    });
    let address = server.addresses()[0];
    let round = |requests: &[(u8, &str)]| {
        let mut streams = vec![ask(9, address, "/held")];
        assert_eq!(order.recv_timeout(PATIENCE).unwrap(), "/held");
        for (at, (client, target)) in requests.iter().enumerate() {
            streams.push(ask(*client, address, target));
            wait_for_waiting(&server, at + 1);
        }
        let next = |_: &_| {
            release.send(()).unwrap();
            order.recv_timeout(PATIENCE).unwrap()
        };
        let served: Vec<String> = requests.iter().map(next).collect();
        // The last one is in service, and nothing that panicked is.
        let busiest = server.observer().busiest_clients(10);
        let in_service: usize = busiest.iter().filter_map(|client| client.in_service).sum();
        assert_eq!(in_service, 1, "{busiest:?}");
        release.send(()).unwrap();
        for (stream, (_, target)) in streams.iter_mut().skip(1).zip(requests) {
            match target.starts_with("/die") {
                true => assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "its connection is lost"),
                false => assert_eq!(Reply::read(stream).status, 200),
            }
        }
        wait_for("the worker to be idle", || {
            (server.snapshot().connections(ConnectionPhase::InService) == 0).then_some(())
        });
        served
    };
    round(&[(2, "/die"), (2, "/die"), (2, "/a"), (3, "/b"), (3, "/b"), (3, "/b")]);
    assert_eq!(server.snapshot().get(Counter::WorkersReplaced), 2);
    let served = round(&[(3, "/b"), (3, "/b"), (3, "/b"), (3, "/b"), (3, "/b"), (2, "/a")]);
    assert!(served.iter().position(|target| target == "/a").unwrap() <= 2, "{served:?}");
}

/// The first service takes five times as long as clients wait. Then the age and the bound are those
/// of an average that says little; short services bring them back.
#[test]
fn a_server_whose_first_service_was_very_long_serves_as_before() {
    let patience = Duration::from_millis(100);
    let (server, held, release) = slow_at_first(patience);
    assert_eq!(server.snapshot().queue.age, patience / 10);
    drop((held, release));
    let address = server.addresses()[0];
    let mut served = 0;
    wait_for("an average of short services", || {
        served += usize::from(crate::support::get(address, "/short").status == 200);
        (server.snapshot().queue.age == patience / 2).then_some(())
    });
    assert!(served > 0);
}

/// Nothing has been served for ten times as long as clients wait: the average is forgotten.
#[test]
fn a_very_long_service_is_forgotten_while_nothing_is_served() {
    let patience = Duration::from_millis(50);
    let (server, _held, _release) = slow_at_first(patience);
    wait_for("the average to be forgotten", || {
        let queue = server.snapshot().queue;
        (queue.service.is_none() && queue.age == patience / 2).then_some(())
    });
    assert_eq!(server.snapshot().queue.bound, Config::QUEUE);
}

/// A server whose only service until now took more than five times the patience.
fn slow_at_first(patience: Duration) -> (Server, TcpStream, Sender<()>) {
    let (server, order, release) = gated(Config::default().patience(patience));
    let mut held = ask(2, server.addresses()[0], "/held");
    order.recv_timeout(PATIENCE).unwrap();
    let start = std::time::Instant::now();
    wait_for("a long service", || (start.elapsed() > 5 * patience).then_some(()));
    release.send(()).unwrap();
    assert_eq!(Reply::read(&mut held).status, 200);
    let service = wait_for("its end", || server.snapshot().queue.service);
    assert!(service > 5 * patience, "{service:?}");
    (server, held, release)
}
