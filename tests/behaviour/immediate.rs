//! What needs no worker is answered without one, whatever the workers do.
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, exchange, get, wait_for};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use cws::{Config, Counter, Error, Handler, Immediate, Lane, NoPermit, Request, Response, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const NOW: &[u8] = b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n";
const COSTLY: &[u8] = b"GET /costly HTTP/1.1\r\nHost: a\r\n\r\n";
const HELD: &[u8] = b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n";
const LONG: Duration = Duration::from_secs(3600);

/// Answers `/now` immediately, or on a worker. `/costly` is the same, but it takes so long that
/// workers get some of the requests that come together. Everything else has a worker: `/held` once
/// it is released.
#[derive(Default)]
struct Mixed {
    /// Calls on workers, those that have ended, and those of them that took long.
    entered: AtomicUsize,
    ended: AtomicUsize,
    slow: AtomicUsize,
    /// Calls of the immediate part.
    asked: AtomicUsize,
    released: Option<Receiver<()>>,
    /// What requests for `/first` wait for: that its sender is dropped.
    first: Option<Receiver<()>>,
}

impl Handler for Mixed {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        let number = self.entered.fetch_add(1, SeqCst);
        match request.target.raw {
            b"/held" => _ = self.released.as_ref().unwrap().recv(),
            b"/slow" => thread::sleep(Duration::from_millis(5)),
            // One in a hundred takes long.
            b"/bimodal" if number.is_multiple_of(100) => {
                thread::sleep(Duration::from_millis(100));
                self.slow.fetch_add(1, SeqCst);
            }
            _ => {}
        }
        self.ended.fetch_add(1, SeqCst);
        Ok(match request.target.raw {
            b"/large" => Response::text("x".repeat(8 << 20)),
            b"/now" | b"/costly" => Response::text("now\n"),
            b"/first" => Response::text("first\n"),
            b"/count" => Response::text(self.asked.load(SeqCst).to_string()),
            b"/panic" => panic!("on purpose"),
            _ => Response::text("made by a worker\n"),
        })
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }
}

impl Immediate for Mixed {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        let number = self.asked.fetch_add(1, SeqCst);
        match request.target.raw {
            b"/now" => Some(Response::text("now\n")),
            b"/costly" => {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(50) {}
                Some(Response::text("now\n"))
            }
            b"/count" => Some(Response::text(number.to_string())),
            b"/first" => {
                let _ = self.first.as_ref().unwrap().recv();
                Some(Response::text("first\n"))
            }
            b"/panic" => panic!("on purpose"),
            _ => None,
        }
    }
}

/// A server with such a handler.
struct Held {
    // First: the workers are released before the server waits for them.
    release: Sender<()>,
    server: Server,
    handler: Arc<Mixed>,
}

/// A handler that the test keeps a pointer to.
struct Shared(Arc<Mixed>);

impl Handler for Shared {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, request: &Request<'_>, state: &mut ()) -> Result<Response, Error> {
        self.0.handle(request, state)
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        self.0.immediate()
    }
}

impl Held {
    fn start(config: Config) -> Self {
        let (release, released) = unbounded();
        let handler = Arc::new(Mixed { released: Some(released), ..Mixed::default() });
        let config = config.idle_timeout(LONG).header_timeout(LONG);
        let server = Server::start(config, Shared(Arc::clone(&handler))).unwrap();
        Self { release, server, handler }
    }

    fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = connect(self.address());
        stream.write_all(bytes).unwrap();
        stream
    }

    /// Connections whose requests hold this many workers.
    fn hold(&self, workers: usize) -> Vec<TcpStream> {
        let before = self.handler.entered.load(SeqCst);
        let held = (0..workers).map(|_| self.send(HELD)).collect();
        let all = before + workers;
        wait_for("the workers to be held", || {
            (self.handler.entered.load(SeqCst) == all).then_some(())
        });
        held
    }
}

fn check_now(stream: &mut TcpStream) {
    assert_eq!(Reply::read(stream).body, b"now\n");
}

/// Also the case that every thread of a pool blocks at once, and that a seat stays reserved while
/// jobs wait: all W workers serve, and nobody else's request needs one of them.
#[test]
fn all_workers_are_busy_and_a_thousand_requests_wait() {
    const WORKERS: usize = 2;
    const WAITING: usize = 1000;
    assert!(cws::raise_descriptor_limit() > 2 * WAITING + 200);
    let config = Config::default().workers(WORKERS).queue(WAITING).queue_timeout(LONG);
    let held = Held::start(config.max_connections(2 * WAITING));
    let mut streams = held.hold(WORKERS);
    streams.extend((0..WAITING).map(|_| held.send(HELD)));
    wait_for("all to wait", || (held.server.snapshot().queue.waiting == WAITING).then_some(()));

    let mut client = connect(held.address());
    for _ in 0..100 {
        client.write_all(NOW).unwrap();
        check_now(&mut client);
    }
    // Many pipelined ones, and a new connection for each.
    client.write_all(&NOW.repeat(500)).unwrap();
    (0..500).for_each(|_| check_now(&mut client));
    for _ in 0..100 {
        assert_eq!(get(held.address(), "/now").body, b"now\n");
    }
    // In between, one that needs a worker: the queue is full.
    client.write_all(&[NOW, HELD, NOW].concat()).unwrap();
    check_now(&mut client);
    assert_eq!(Reply::read(&mut client).status, 503);
    check_now(&mut client);

    let snapshot = held.server.snapshot();
    assert_eq!(snapshot.get(Counter::Immediate), 702);
    assert_eq!((snapshot.get(Counter::Handled), snapshot.get(Counter::QueueFull)), (0, 1));
    // One on its way between the channel and the room is not counted for a moment.
    let waiting = || held.server.snapshot().queue.waiting;
    wait_for("nobody to have lost a place", || (waiting() == WAITING).then_some(()));
    assert_eq!(held.handler.entered.load(SeqCst), WORKERS, "each worker has one");
    assert_eq!(snapshot.arrivals(), (WORKERS + WAITING) as u64, "they are in no other books");
    assert_eq!((snapshot.departures(), snapshot.service.count()), (0, 0));
    assert_eq!(snapshot.responses_in_all(), 703);
    (0..WORKERS + WAITING).for_each(|_| held.release.send(()).unwrap());
    for mut stream in streams {
        assert_eq!(Reply::read(&mut stream).status, 200);
    }
    let snapshot = held.server.shutdown().snapshot;
    assert_eq!(snapshot.arrivals(), snapshot.departures());
}

/// Without a queue an idle worker is the only room, and it is not taken by those who need none.
#[test]
fn without_a_queue_nobody_is_refused_who_needs_no_worker() {
    let held = Held::start(Config::default().workers(2).queue(0));
    let mut first = held.hold(1);
    // The other worker is quick, so it is asked for some of them.
    let mut clients: Vec<_> = (0..40).map(|_| connect(held.address())).collect();
    for _ in 0..5 {
        clients.iter_mut().for_each(|client| client.write_all(COSTLY).unwrap());
        clients.iter_mut().for_each(check_now);
    }
    wait_for("the other worker", || {
        let is_idle = |of: &cws::WorkerTimes| of.activity == cws::Activity::Idle;
        held.server.snapshot().workers.iter().any(is_idle).then_some(())
    });
    first.extend(held.hold(1));
    let mut client = held.send(&[&NOW.repeat(40)[..], HELD, &NOW.repeat(40)].concat());
    (0..40).for_each(|_| check_now(&mut client));
    assert_eq!(Reply::read(&mut client).status, 503);
    (0..40).for_each(|_| check_now(&mut client));
    first.iter().for_each(|_| held.release.send(()).unwrap());
    first.iter_mut().for_each(|stream| assert_eq!(Reply::read(stream).status, 200));
}

/// Some of those that need no worker are queued while the worker seems quick, as it does at the
/// start of what takes long. They are not refused for that when they have waited too long.
#[test]
fn nobody_is_refused_who_was_queued_for_a_worker_that_seemed_quick() {
    let patience = Duration::from_millis(20);
    let held = Held::start(Config::default().workers(1).queue_timeout(patience));
    for _ in 0..5 {
        let mut clients: Vec<_> = (0..40).map(|_| connect(held.server.addresses()[0])).collect();
        let mut holding = held.send(HELD);
        clients.iter_mut().for_each(|client| client.write_all(COSTLY).unwrap());
        clients.iter_mut().for_each(check_now);
        held.release.send(()).unwrap();
        assert_eq!(Reply::read(&mut holding).status, 200);
    }
}

/// The acceptor answers most of those that come together, unless that takes it long.
#[test]
fn workers_get_what_would_keep_the_acceptor_from_reading() {
    const TOGETHER: usize = 16;
    // A busy machine may stop the acceptor in the middle, or the workers.
    let counts = |request| -> Vec<usize> {
        std::iter::repeat_with(|| answered_at_once(request, TOGETHER)).take(10).collect()
    };
    let (quick, costly) = (counts(NOW), counts(COSTLY));
    assert!(quick.iter().any(|&count| count >= TOGETHER * 3 / 4), "{quick:?}");
    assert!(costly.iter().any(|count| (1..TOGETHER / 2).contains(count)), "{costly:?}");
}

/// How many of these requests need no worker, if they come in one round of the acceptor.
fn answered_at_once(request: &[u8], together: usize) -> usize {
    let (go, first) = bounded::<()>(0);
    let handler = Arc::new(Mixed { first: Some(first), ..Mixed::default() });
    let server = Server::start(Config::default().workers(2), Shared(Arc::clone(&handler))).unwrap();
    // Kept connections: what they send comes in a round of its own.
    let mut clients: Vec<_> = (0..=together).map(|_| connect(server.addresses()[0])).collect();
    for client in &mut clients {
        client.write_all(NOW).unwrap();
        check_now(client);
    }
    let mut holding = clients.remove(0);
    let handled = || server.snapshot().get(Counter::Handled) as usize;
    let (asked, before) = (handler.asked.load(SeqCst), handled());
    holding.write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for("the acceptor to be held", || (handler.asked.load(SeqCst) > asked).then_some(()));
    clients.iter_mut().for_each(|client| client.write_all(request).unwrap());
    drop(go);
    clients.iter_mut().for_each(check_now);
    assert_eq!(Reply::read(&mut holding).body, b"first\n");
    together - (handled() - before)
}

/// Slow readers, deadlines and the drain need the thread that answers immediately, and no worker.
#[test]
fn the_other_duties_go_on_while_all_workers_are_busy() {
    let (release, released) = unbounded();
    let handler = Arc::new(Mixed { released: Some(released), ..Mixed::default() });
    let config = Config::default().workers(1).header_timeout(Duration::from_secs(3));
    let server = Server::start(config, Shared(Arc::clone(&handler))).unwrap();
    let address = server.addresses()[0];
    let held = Held { release, server, handler };
    // A worker has begun this response; its reader takes its time.
    let mut slow = held.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    wait_for("the response", || (held.handler.ended.load(SeqCst) == 1).then_some(()));
    let _first = held.hold(1);
    let mut late = held.send(b"GET /now HT");
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).unwrap();
    let reply = Reply::all(&bytes, false).remove(0);
    assert_eq!(reply.body.len(), 8 << 20, "sent while the worker was held");
    assert_eq!(Reply::read(&mut late).status, 408, "its deadline passed meanwhile");

    let (most, end) = NOW.split_at(NOW.len() - 2);
    let mut client = held.send(most);
    wait_for("it to arrive", || (held.server.open_connections() >= 3).then_some(()));
    held.server.stopper().stop();
    wait_for("the listener to close", || TcpStream::connect(address).is_err().then_some(()));
    client.write_all(end).unwrap();
    let reply = Reply::read(&mut client);
    assert_eq!((reply.status, reply.field("Connection")), (200, Some("close")));
    held.release.send(()).unwrap();
}

/// The handler blocks its worker once in a hundred times, and requests come in batches. If the
/// thread that reads ran it, everybody would stand still for as long.
#[test]
fn a_handler_that_blocks_now_and_then_blocks_no_reader() {
    const ROUNDS: usize = 60;
    let held = Held::start(Config::default().workers(2).queue(64).queue_timeout(LONG));
    let (stop, stopped) = bounded::<()>(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            let stopped = stopped.clone();
            let mut clients: Vec<_> = (0..32).map(|_| connect(held.address())).collect();
            scope.spawn(move || {
                // Each round is a batch of requests, of which some wait for a worker.
                while stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
                    for client in &mut clients {
                        client.write_all(b"GET /bimodal HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                    }
                    for client in &mut clients {
                        Reply::read(client);
                    }
                }
            });
        }
        let mut client = connect(held.address());
        let mut delayed = 0;
        for _ in 0..ROUNDS {
            // Every slow service that ends between a request and its response may have delayed it.
            wait_for("both workers to be busy", || {
                (held.server.snapshot().queue.waiting > 0).then_some(())
            });
            let before = held.handler.slow.load(SeqCst);
            client.write_all(NOW).unwrap();
            check_now(&mut client);
            delayed += usize::from(held.handler.slow.load(SeqCst) > before);
        }
        drop(stop);
        assert!(delayed < ROUNDS / 2, "{delayed} of {ROUNDS} waited for others' services");
    });
}

/// Under load they take their part again, although nothing else tells that they are quick by now.
#[test]
fn workers_that_were_slow_once_are_not_spared_for_ever() {
    let held = Held::start(Config::default().workers(1));
    get(held.address(), "/slow");
    let mut clients: Vec<_> = (0..16).map(|_| connect(held.address())).collect();
    wait_for("the worker to answer what needs none", || {
        clients.iter_mut().for_each(|client| client.write_all(COSTLY).unwrap());
        clients.iter_mut().for_each(check_now);
        (held.server.snapshot().get(Counter::Handled) > 1).then_some(())
    });
}

/// One who pipelines without end gets a turn like all others.
#[test]
fn a_client_that_pipelines_does_not_keep_the_others_waiting() {
    const MANY: usize = 5000;
    let (go, first) = bounded::<()>(1);
    let handler = Arc::new(Mixed { first: Some(first), ..Mixed::default() });
    let server = Server::start(Config::default().workers(1), Shared(handler)).unwrap();
    let address = server.addresses()[0];
    let mut greedy = connect(address);
    let writer = greedy.try_clone().unwrap();
    let sent = thread::spawn(move || {
        let request = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n".repeat(MANY);
        // It may not read anything until it has sent everything.
        let _ = (&writer).write_all(&request);
    });
    let mut polite = connect(address);
    polite.write_all(b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    drop(go);
    let count: usize = String::from_utf8(Reply::read(&mut polite).body).unwrap().parse().unwrap();
    assert!(count < MANY / 10, "it came after {count} of the other's");
    (0..MANY).for_each(|_| assert_eq!(Reply::read(&mut greedy).body, b"first\n"));
    sent.join().unwrap();
}

/// No discipline orders what needs no worker, so each client gets one answer in turn.
#[test]
fn many_clients_that_pipeline_do_not_keep_the_others_waiting() {
    const GREEDY: usize = 40;
    const EACH: usize = 16;
    let (go, first) = bounded::<()>(1);
    let (release, released) = bounded::<()>(1);
    let mixed = Mixed { first: Some(first), released: Some(released), ..Mixed::default() };
    let handler = Arc::new(mixed);
    let server = Server::start(Config::default().workers(1), Shared(Arc::clone(&handler))).unwrap();
    let ask = |bytes: &[u8]| {
        let mut stream = connect(server.addresses()[0]);
        stream.write_all(bytes).unwrap();
        stream
    };
    let mut holding = ask(HELD);
    wait_for("the worker", || (handler.entered.load(SeqCst) == 1).then_some(()));
    // For its first millisecond the worker may still be a quick one.
    let held = Instant::now();
    wait_for("the worker to lag", || (held.elapsed() > Duration::from_millis(2)).then_some(()));
    let request = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
    let greedy: Vec<_> = (0..GREEDY).map(|_| ask(&request.repeat(EACH))).collect();
    let mut polite = ask(b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(go);
    let count: usize = String::from_utf8(Reply::read(&mut polite).body).unwrap().parse().unwrap();
    assert!(count < GREEDY * EACH / 2, "it came after {count} of the others'");
    for mut stream in greedy {
        (0..EACH).for_each(|_| assert_eq!(Reply::read(&mut stream).body, b"first\n"));
    }
    drop(release);
    assert_eq!(Reply::read(&mut holding).status, 200);
}

#[test]
fn a_panic_costs_its_own_client_the_response_and_nobody_else_anything() {
    let held = Held::start(Config::default().workers(1));
    for round in 1..=3 {
        let replies =
            Reply::all(&exchange(held.address(), b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n"), false);
        assert_eq!((replies.len(), replies[0].status), (1, 500));
        assert_eq!(get(held.address(), "/now").body, b"now\n");
        assert_eq!(held.server.snapshot().get(Counter::Panics), round);
    }
    let snapshot = held.server.shutdown().snapshot;
    let counters = [Counter::Immediate, Counter::Handled, Counter::WorkersReplaced];
    let [at_once, handled, replaced] = counters.map(|of| snapshot.get(of));
    assert_eq!((at_once + handled, replaced), (6, 0));
    assert!(at_once >= 3, "a connection at a time needs no worker");
    assert_eq!(snapshot.responses_in_all(), 6);
}

/// Work that needs a permit. Its result needs no time.
#[derive(Clone)]
struct Prepared {
    lane: Arc<Lane>,
    is_deferred: Arc<AtomicBool>,
    is_done: Arc<AtomicBool>,
}

impl Handler for Prepared {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, _: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        match self.lane.enter(1) {
            Err(NoPermit::Wait(wait)) => {
                self.is_deferred.store(true, SeqCst);
                Ok(Response::deferred(wait))
            }
            Ok(_) | Err(NoPermit::Full) => panic!("the test has the only permit"),
        }
    }

    fn immediate(&self) -> Option<&dyn Immediate> {
        Some(self)
    }
}

impl Immediate for Prepared {
    fn respond(&self, request: &Request<'_>) -> Option<Response> {
        let waited = request.waited().as_micros().to_string();
        self.is_done.load(SeqCst).then(|| Response::text(waited))
    }
}

#[test]
fn a_deferred_request_has_waited_even_if_it_needs_no_worker_in_the_end() {
    let lane = Arc::new(Lane::new(1, 1));
    let prepared = Prepared { lane, is_deferred: Arc::default(), is_done: Arc::default() };
    let permit = prepared.lane.enter(0).unwrap();
    let server = Server::start(Config::default().workers(1), prepared.clone()).unwrap();
    let mut client = connect(server.addresses()[0]);
    client.write_all(NOW).unwrap();
    wait_for("the deferral", || prepared.is_deferred.load(SeqCst).then_some(()));
    let start = Instant::now();
    wait_for("some time", || (start.elapsed() > Duration::from_millis(20)).then_some(()));
    prepared.is_done.store(true, SeqCst);
    let least = start.elapsed();
    drop(permit);
    let waited = String::from_utf8(Reply::read(&mut client).body).unwrap().parse().unwrap();
    assert!(Duration::from_micros(waited) >= least, "{waited} microseconds");
    assert_eq!(server.snapshot().get(Counter::Immediate), 1);
}
