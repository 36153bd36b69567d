//! The library as an embedder uses it: handlers, delays, panics, start and stop.
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, get, wait_for};
use cws::{
    Accepts, Body, CloseReason, Config, Counter, Delay, Error, Handler, Method, Request, Response,
};
use cws::{Lane, NoPermit, Server, StartError, Status, with_state};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

fn config(workers: usize) -> Config {
    Config::default().workers(workers)
}

#[test]
fn a_closure_is_a_handler() {
    let server = Server::start(config(1), |request: &Request<'_>| {
        assert_eq!(request.method, Method::Get);
        let agent = request.field("user-agent").unwrap_or(b"nobody").escape_ascii();
        let text = format!("{agent} asked for {}", request.target.raw.escape_ascii());
        Response::ok("text/plain", text).with_field("X-Made-By", "closure").unwrap()
    });
    let server = server.unwrap();
    let reply = get(server.addresses()[0], "/a?b");
    assert_eq!(reply.body, b"nobody asked for /a?b");
    assert_eq!(reply.field("X-Made-By"), Some("closure"));
}

#[test]
fn a_panic_affects_only_its_own_request() {
    let server = Server::start(config(2), |request: &Request<'_>| {
        assert!(request.target.raw != b"/panic", "on purpose");
        Response::ok("text/plain", "fine")
    });
    let server = server.unwrap();
    let address = server.addresses()[0];
    for _ in 0..10 {
        let reply = get(address, "/panic");
        assert_eq!(reply.status, 500);
        assert_eq!(reply.field("Connection"), Some("close"));
        assert_eq!(get(address, "/").body, b"fine");
    }
    assert_eq!(server.workers_alive(), 2, "the worker is kept");
    let snapshot = server.shutdown().snapshot;
    assert_eq!(snapshot.get(Counter::Panics), 10);
    assert_eq!(snapshot.responses(5), 10);
    assert_eq!(snapshot.responses(2), 10);
}

/// A malformed field, or one that the server sets itself, is an error; `?` turns it into a 500.
#[test]
fn a_field_that_cannot_be_added_is_an_error() {
    let server = Server::start(config(1), |request: &Request<'_>| -> Result<Response, Error> {
        Ok(match request.target.raw {
            b"/malformed" => {
                Response::text("x").with_field("Location", "/\r\nSet-Cookie: stolen")?
            }
            b"/own" => Response::text("x").with_field("content-length", "5")?,
            b"/status" => cws::IntoResponse::into_response((Status::CREATED, "made")),
            _ => return Err(Error::new(Status::NOT_FOUND, "no <such> thing")),
        })
    });
    let address = server.as_ref().unwrap().addresses()[0];
    for path in ["/malformed", "/own"] {
        let reply = get(address, path);
        assert_eq!((reply.status, reply.field("Set-Cookie")), (500, None), "{path}");
    }
    let reply = get(address, "/status");
    assert_eq!((reply.status, &reply.body[..]), (201, &b"made"[..]));
    let reply = get(address, "/");
    assert_eq!(reply.status, 404);
    assert!(String::from_utf8(reply.body).unwrap().contains("no &lt;such&gt; thing"));
}

/// Each worker creates its own state on its own thread, and again after a panic.
#[test]
fn workers_have_state_of_their_own() {
    let made = Arc::new(AtomicUsize::new(0));
    let make = {
        let made = Arc::clone(&made);
        move |worker: usize| {
            made.fetch_add(1, Ordering::SeqCst);
            // Not `Send`: it never leaves its thread.
            (std::rc::Rc::new(worker), std::thread::current().id(), 0)
        }
    };
    let handle = |request: &Request<'_>, state: &mut (std::rc::Rc<usize>, _, u32)| {
        assert_eq!(std::thread::current().id(), state.1, "it stays on its thread");
        assert_eq!(*state.0, request.worker());
        state.2 += 1;
        assert!(request.target.raw != b"/panic", "on purpose");
        state.2.to_string()
    };
    let server = Server::start(config(1), with_state(make, handle)).unwrap();
    let address = server.addresses()[0];
    assert_eq!(get(address, "/").body, b"1");
    assert_eq!(get(address, "/").body, b"2");
    assert_eq!(get(address, "/panic").status, 500);
    assert_eq!(get(address, "/").body, b"1", "created again");
    assert_eq!(made.load(Ordering::SeqCst), 2);
    assert_eq!(server.workers_alive(), 1);
}

/// A worker whose state cannot be created answers 500, and tries again for the next request.
#[test]
fn a_failed_state_affects_only_its_request() {
    let tries = AtomicUsize::new(0);
    let make = move |_| {
        assert!(tries.fetch_add(1, Ordering::SeqCst) > 0, "the first attempt fails");
        "state"
    };
    let handle = |_: &Request<'_>, state: &mut &'static str| *state;
    let server = Server::start(config(1), with_state(make, handle)).unwrap();
    assert_eq!(get(server.addresses()[0], "/").status, 500);
    assert_eq!(get(server.addresses()[0], "/").body, b"state");
}

/// A handler can read the peer, the target, the fields and the worker's number.
#[test]
fn a_request_has_its_peer_target_and_fields() {
    let patience = Some(Duration::from_secs(60));
    let config = config(1).patience(patience);
    let server = Server::start(config, |request: &Request<'_>| {
        let segments = request.segments().unwrap().join(",");
        let pairs: Vec<_> =
            request.query_pairs().map(|(key, value)| format!("{key}={value}")).collect();
        let fields = request.fields().filter(|(name, _)| name.starts_with("X-")).count();
        assert!(request.time_left().unwrap() <= Duration::from_secs(60));
        assert!(request.waited() < crate::support::PATIENCE);
        let peer = request.peer();
        format!("{segments} {} {fields} {} {peer}", pairs.join(","), request.worker())
    });
    let server = server.unwrap();
    let mut stream = connect(server.addresses()[0]);
    let head = "GET /a%20b/%c3%a9?q=x+y&z=%26 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-A: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let body = String::from_utf8(Reply::read(&mut stream).body).unwrap();
    assert_eq!(body, format!("a b,\u{e9} q=x y,z=& 2 1 {}", stream.local_addr().unwrap()));
}

#[test]
fn statuses_without_content_have_none() {
    let server = Server::start(config(1), |_: &Request<'_>| {
        Response::new(Status::NO_CONTENT).with_body(Body::Bytes("unwanted".into()))
    });
    let server = server.unwrap();
    let reply = get(server.addresses()[0], "/");
    assert_eq!((reply.status, reply.field("Content-Length")), (204, None));
    assert!(reply.body.is_empty());
}

/// W workers serve exactly W requests at a time: each request waits here for all the others.
#[test]
fn the_pool_has_exactly_the_configured_number_of_workers() {
    const WORKERS: usize = 4;
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let barrier = Arc::new(Barrier::new(WORKERS));
    let handler = {
        let (busy, most) = (Arc::clone(&busy), Arc::clone(&most));
        move |_: &Request<'_>| {
            let now = busy.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            barrier.wait();
            busy.fetch_sub(1, Ordering::SeqCst);
            Response::ok("text/plain", "done")
        }
    };
    let server = Server::start(config(WORKERS), handler).unwrap();
    let address = server.addresses()[0];
    std::thread::scope(|scope| {
        for _ in 0..3 * WORKERS {
            scope.spawn(|| assert_eq!(get(address, "/").body, b"done"));
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), WORKERS);
}

#[test]
fn the_delay_applies_only_to_found_resources() {
    let delay = Duration::from_millis(300);
    let handler = Delay::new(delay, |request: &Request<'_>| match request.target.raw {
        b"/found" => Response::ok("text/plain", "found"),
        _ => Response::error(Status::NOT_FOUND, "missing"),
    });
    let server = Server::start(config(1), handler).unwrap();
    let took = |path| {
        let start = Instant::now();
        get(server.addresses()[0], path);
        start.elapsed()
    };
    assert!(took("/found") >= delay);
    let found_at_once = (0..20).any(|_| took("/missing") < delay);
    assert!(found_at_once, "a miss is not delayed");
}

/// Blocks its worker until released.
struct Gate(crossbeam_channel::Receiver<()>);

impl Handler for Gate {
    type State = ();

    fn state(&self, _: usize) {}

    fn handle(&self, _: &Request<'_>, _: &mut ()) -> Result<Response, cws::Error> {
        let _ = self.0.recv();
        Ok(Response::ok("text/plain", "released"))
    }
}

fn send_request(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
}

#[test]
fn a_full_queue_is_answered_by_a_complete_503_at_once() {
    let (release, gate) = crossbeam_channel::unbounded();
    let config = Config::default().workers(1).queue(2);
    let server = Server::start(config, Gate(gate)).unwrap();
    let mut served: Vec<_> = (0..3).map(|_| connect(server.addresses()[0])).collect();
    // The worker takes the first one; only then can two more fill the queue.
    send_request(&mut served[0]);
    let mut refused = wait_for("the queue to fill", || {
        let mut probe = connect(server.addresses()[0]);
        send_request(&mut probe);
        probe.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        match probe.read(&mut [0; 5]) {
            Ok(5) => Some(probe),
            _ => {
                served.push(probe);
                None
            }
        }
    });
    refused.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    // The first bytes are read already.
    let mut rest = b"HTTP/".to_vec();
    let reply = wait_for("the rest", || {
        let mut some = [0; 1024];
        let count = refused.read(&mut some).unwrap();
        rest.extend_from_slice(&some[..count]);
        Reply::first(&rest, false).map(|(reply, _)| reply)
    });
    assert_eq!(reply.status, 503);
    assert!(reply.field("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(reply.field("Connection"), None, "the connection persists");
    // The queued requests were not lost.
    drop(release);
    send_request(&mut served[1]);
    let mut first = served.remove(0);
    assert_eq!(Reply::read(&mut first).body, b"released");
    drop((first, refused, served));
    assert!(server.shutdown().snapshot.get(Counter::QueueFull) >= 1);
}

#[test]
fn an_invalid_configuration_is_an_error() {
    let handler = |_: &Request<'_>| Response::ok("text/plain", "");
    for config in [
        Config::default().workers(0),
        Config::default().workers(usize::MAX),
        Config::default().queue(usize::MAX),
        Config::default().max_connections(0),
        Config::default().listen(vec![]),
        Config::default().patience_field(Some(String::new())),
        Config::default().patience_field(Some("no token".to_owned())),
        Config::default().health(Some(String::new())),
        Config::default().health(Some("healthz".to_owned())),
        Config::default().health(Some("/healthz?".to_owned())),
        Config::default().health(Some("/a//b".to_owned())),
        Config::default().health(Some("/a/../b".to_owned())),
        Config::default().health(Some("/%41".to_owned())),
    ] {
        let error = Server::start(config, handler).unwrap_err();
        assert!(matches!(error, StartError::Config(_)), "{error}");
    }
}

#[test]
fn several_addresses_share_a_free_port() {
    let listen = ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap()).to_vec();
    let config = Config::default().listen(listen).workers(1);
    let server = Server::start(config, |_: &Request<'_>| Response::ok("text/plain", "x")).unwrap();
    let [one, two] = server.addresses() else { panic!("two addresses") };
    assert_eq!(one.port(), two.port());
    assert_ne!(one.ip(), two.ip());
    for &address in [one, two] {
        assert_eq!(get(address, "/").body, b"x");
    }
}

#[test]
fn dropping_a_server_stops_it() {
    let server = Server::start(config(2), |_: &Request<'_>| Response::ok("text/plain", "x"));
    let server = server.unwrap();
    let address = server.addresses()[0];
    let mut idle = connect(address);
    send_request(&mut idle);
    assert_eq!(Reply::read(&mut idle).body, b"x");
    drop(server);
    assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0, "a clean end");
    assert!(TcpStream::connect(address).is_err(), "nothing listens");
}

/// During the drain delay, the server reports that it is not ready, and continues to serve.
#[test]
fn a_draining_server_is_not_ready_but_serves() {
    let config = config(1).drain_delay(crate::support::PATIENCE);
    let handler = |_: &Request<'_>| Response::ok("text/plain", "x");
    let server = Server::start(config.drain_timeout(Duration::ZERO), handler);
    let server = server.unwrap();
    assert!(server.is_ready());
    server.stopper().stop();
    assert!(!server.is_ready());
    assert_eq!(get(server.addresses()[0], "/").body, b"x");
    // Dropping it would take as long as the delay.
    std::mem::forget(server);
}

#[test]
fn the_counters_add_up() {
    let server = Server::start(config(2), |_: &Request<'_>| Response::ok("text/plain", "x"));
    let server = server.unwrap();
    let address = server.addresses()[0];
    for _ in 0..20 {
        get(address, "/");
    }
    drop(connect(address));
    wait_for("all to be closed", || (server.open_connections() == 0).then_some(()));
    let summary = server.shutdown();
    let snapshot = summary.snapshot;
    assert_eq!(snapshot.closed_in_all(), snapshot.get(Counter::Accepted));
    assert_eq!(snapshot.closed(CloseReason::Completed), 20);
    assert_eq!(snapshot.responses_in_all(), 20);
    assert_eq!(summary.cut, 0);
}

/// Browsers show the field beside the request.
#[test]
fn server_timing_is_sent_only_if_configured() {
    let delay = Duration::from_millis(20);
    let handler = |_: &Request<'_>| Response::ok("text/plain", "found");
    let timed = config(1).server_timing(true);
    let server = Server::start(timed, Delay::new(delay, handler)).unwrap();
    let reply = get(server.addresses()[0], "/");
    let field = reply.field("Server-Timing").unwrap();
    let millis = |name: &str| -> f64 {
        let entry = field.split(", ").find_map(|entry| entry.strip_prefix(name)).unwrap();
        entry.strip_prefix(";dur=").unwrap().parse().unwrap()
    };
    assert!(millis("queue_wait") >= 0.0 && millis("response_head") >= 0.0, "{field}");
    assert!(millis("handle") >= 20.0, "{field}");
    let silent = Server::start(config(1), handler).unwrap();
    assert_eq!(get(silent.addresses()[0], "/").field("Server-Timing"), None);
}

/// Takes every method, and answers with its name.
struct AnyMethod;

impl Handler for AnyMethod {
    type State = ();

    fn state(&self, _: usize) {}

    fn accepts(&self) -> Accepts {
        Accepts::nothing().with_unknown_methods()
    }

    fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
        Ok(Response::text(format!("{:?} {}", request.method, request.method_name())))
    }
}

#[test]
fn a_handler_gets_unknown_methods_if_it_wants_them() {
    let ask = |server: &Server| {
        let mut stream = connect(server.addresses()[0]);
        stream.write_all(b"brew /pot HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        Reply::read(&mut stream)
    };
    let wanted = Server::start(config(1), AnyMethod).unwrap();
    assert_eq!(ask(&wanted).body, b"Other brew");
    let unwanted = Server::start(config(1), |_: &Request<'_>| "not called").unwrap();
    assert_eq!(ask(&unwanted).status, 501);
}

/// With many workers, requests for different keys of a lane take their permits one after another.
/// None of them is asked again and again in the meantime.
#[test]
fn a_lane_serves_all_keys_in_order() {
    const CLIENTS: usize = 20;
    let calls = Arc::new(AtomicUsize::new(0));
    let (lane, counted) = (Lane::new(1, CLIENTS), Arc::clone(&calls));
    let handler = move |request: &Request<'_>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let key = request.query("key").unwrap().parse().unwrap();
        match lane.enter(key) {
            Ok(_permit) => {
                std::thread::sleep(Duration::from_millis(5));
                Response::text("done")
            }
            Err(NoPermit::Wait(wait)) => Response::deferred(wait),
            Err(NoPermit::Full) => Response::error(Status::SERVICE_UNAVAILABLE, "full"),
        }
    };
    let server = Server::start(config(4).queue_timeout(crate::support::PATIENCE), handler).unwrap();
    let address = server.addresses()[0];
    std::thread::scope(|scope| {
        for key in 0..CLIENTS {
            scope.spawn(move || {
                assert_eq!(get(address, &format!("/?key={key}")).body, b"done");
            });
        }
    });
    // Once to be deferred, and once with the permit.
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls <= 2 * CLIENTS + 8, "{calls} calls for {CLIENTS} requests");
}
