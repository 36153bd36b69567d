//! The admin server: its figures match what clients did, and it answers while the pool is busy.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, connect, exchange, gated, get, installed, wait_for};
use cws::{
    Admin, AdminPages, Config, ConnectionPhase, Counter, Delay, Request, Response, Schedule,
    Server, WhenFull,
};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

fn loopback() -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]
}

fn watched(server: &Server) -> (Admin, SocketAddr) {
    let admin = Admin::start(loopback(), server.observer()).unwrap();
    let address = admin.addresses()[0];
    (admin, address)
}

/// The values of the Prometheus text format, by name and labels.
fn metrics(admin: SocketAddr) -> BTreeMap<String, f64> {
    let reply = get(admin, "/metrics");
    assert_eq!(reply.field("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(reply.body).unwrap();
    let mut values = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(matches!(what, "HELP" | "TYPE") && words.next().is_some(), "{line}");
            if what == "TYPE" {
                assert!(kinds.insert(name.to_owned(), ()).is_none(), "{name} is described once");
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        let is_known = kinds.keys().any(|kind| family.starts_with(kind.as_str()));
        assert!(is_known, "{family} has a type");
        assert!(values.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}");
    }
    values
}

fn stats(admin: SocketAddr) -> serde_json::Value {
    let reply = get(admin, "/stats.json");
    assert_eq!(reply.field("Content-Type"), Some("application/json"));
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn the_figures_match_what_clients_did() {
    let delay = Duration::from_millis(10);
    let handler = |request: &Request<'_>| match request.target.raw {
        b"/missing" => Response::error(cws::Status::NOT_FOUND, "not here"),
        b"/panic" => panic!("on purpose"),
        _ => Response::ok("text/plain", "0123456789"),
    };
    let config = Config::default().workers(2);
    let server = Server::start(config, Delay::new(delay, handler)).unwrap();
    let (_admin, admin) = watched(&server);
    let address = server.addresses()[0];
    for path in ["/a", "/b", "/c", "/d", "/missing", "/missing", "/panic"] {
        get(address, path);
    }
    exchange(address, b"GET /two\x01 HTTP/1.1\r\nHost: a\r\n\r\n");
    // A worker may record a request shortly after its client has read the last byte.
    let metrics = wait_for("all to be counted", || {
        Some(metrics(admin)).filter(|m| m["cws_departures_total"] == m["cws_arrivals_total"])
    });
    let exact = [
        ("cws_requests_handled_total", 7.0),
        ("cws_requests_refused_total{reason=\"malformed\"}", 1.0),
        ("cws_requests_refused_total{reason=\"queue_full\"}", 0.0),
        ("cws_responses_total{class=\"2xx\"}", 4.0),
        ("cws_responses_total{class=\"4xx\"}", 3.0),
        ("cws_responses_total{class=\"5xx\"}", 1.0),
        ("cws_handler_panics_total", 1.0),
        ("cws_connections_accepted_total", 8.0),
        ("cws_service_seconds_count", 7.0),
        ("cws_service_seconds_bucket{le=\"+Inf\"}", 7.0),
        ("cws_workers", 2.0),
        ("cws_workers_replaced_total", 0.0),
        ("cws_queue_waiting_requests", 0.0),
    ];
    for (name, value) in exact {
        assert_eq!(metrics.get(name), Some(&value), "{name}");
    }
    // Four requests were delayed; the others took far less time.
    let service = metrics["cws_service_seconds_sum"];
    assert!((0.04..4.0).contains(&service), "{service}");
    let handle = metrics["cws_worker_seconds_total{activity=\"handle\"}"];
    assert!((0.04..=service).contains(&handle), "{handle} of {service}");
    assert!(metrics["cws_service_seconds_bucket{le=\"0.005\"}"] <= 3.0);
    assert!(metrics["cws_sent_bytes_total"] > 4.0 * 10.0);
    assert!(metrics["cws_received_bytes_total"] > 8.0 * 20.0);

    let stats = stats(admin);
    assert_eq!(stats["totals"]["handled"], 7);
    assert_eq!(stats["totals"]["responses"]["4xx"], 3);
    assert_eq!(stats["minute"]["service"]["count"], 7);
    let residual = stats["minute"]["little"]["residual"].as_f64().unwrap();
    assert!(residual < 0.02, "all have left, so Little's law holds: {residual}");
    let snapshot = server.shutdown().snapshot;
    assert_eq!((snapshot.get(Counter::Handled), snapshot.arrivals()), (7, snapshot.departures()));
}

/// The only worker is in its handler and the queue is full. The admin server has its own worker.
#[test]
fn it_answers_while_the_pool_is_busy() {
    let (gate, handler) = gated();
    let config = Config::default().workers(1).queue(1);
    let server = Server::start(config, handler).unwrap();
    let (_admin, admin) = watched(&server);
    assert_eq!(get(admin, "/readyz").body, b"ready\n");
    let address = server.addresses()[0];
    let mut clients = Vec::new();
    for waiting in 0..2 {
        let mut client = connect(address);
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        wait_for("the request to be taken or queued", || {
            let snapshot = server.snapshot();
            let busy = snapshot.connections(ConnectionPhase::InService) == 1;
            (busy && snapshot.queue.waiting == waiting).then_some(())
        });
        clients.push(client);
    }
    assert_eq!(get(admin, "/readyz").body, b"ready\n", "a full queue is no reason to go elsewhere");
    for path in ["/readyz?full", "/readyz?verbose=1&full=1"] {
        let full = get(admin, path);
        assert_eq!((full.status, &full.body[..]), (503, &b"the queue is full\n"[..]), "{path}");
    }
    assert_eq!(get(admin, "/healthz").body, b"alive\n");
    let seen = stats(admin);
    assert_eq!(seen["workers"][0]["activity"], "handle");
    assert_eq!((&seen["queue"]["waiting"], &seen["queue"]["bound"]), (&1.into(), &1.into()));
    assert!(seen["queue"]["oldest"].as_f64().unwrap() > 0.0);
    assert_eq!(metrics(admin)["cws_connections{phase=\"queued\"}"], 1.0);
    assert_eq!(get(address, "/").status, 503);
    assert_eq!(metrics(admin)["cws_requests_refused_total{reason=\"queue_full\"}"], 1.0);
    assert_eq!(stats(admin)["totals"]["queue_full"], 1);
    for mut client in clients {
        gate.wait();
        assert_eq!(Reply::read(&mut client).body, b"done");
    }
    let full = || get(admin, "/readyz?full").status == 503;
    wait_for("room in the queue", || (!full()).then_some(()));
}

/// A connection from this address of the machine.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    stream
}

/// A greedy client has a request in service and three that wait, which fill the queue. Its next one
/// is refused. When another client comes, the greedy one's newest gives way.
#[test]
#[cfg(target_os = "linux")]
fn the_busiest_clients_are_named_on_the_admin_address_alone() {
    let (gate, handler) = gated();
    let server = Server::start(Config::default().workers(1).queue(3), handler).unwrap();
    let (_admin, admin) = watched(&server);
    assert_eq!(stats(admin)["clients"], json!([]), "nobody has waited");
    let address = server.addresses()[0];
    let (greedy, polite) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let ask = |from| {
        let mut client = connect_from(from, address);
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        client
    };
    let mut clients = vec![ask(greedy)];
    wait_for("the worker to be held", || {
        (server.snapshot().connections(ConnectionPhase::InService) == 1).then_some(())
    });
    for waiting in 1..=3 {
        clients.push(ask(greedy));
        wait_for("the queue", || (server.snapshot().queue.waiting == waiting).then_some(()));
    }
    assert_eq!(Reply::read(&mut ask(greedy)).status, 503);
    clients.push(ask(polite));
    let mut newest = clients.remove(3);
    assert_eq!(Reply::read(&mut newest).status, 503, "the longest client's newest gives way");
    let row = |client: &str, waiting, in_service, refused| {
        json!({
            "client": client, "waiting": waiting, "in_service": in_service, "refused": refused,
            "service_share": null,
        })
    };
    // The polite client has had no turn, so it is next, and nothing of it waits.
    let expected = json!([row("127.0.0.2", 2, 0, 2)]);
    wait_for("its turn", || (stats(admin)["clients"] == expected).then_some(()));
    let observer = server.observer();
    assert_eq!(observer.busiest_clients(1).len(), 1);
    let text = String::from_utf8(get(admin, "/metrics").body).unwrap();
    assert!(!text.contains("127.0.0."), "{text}");
    // All clients can read mounted pages.
    let mounted = AdminPages::new();
    let public = Server::start(Config::default().workers(1), mounted.clone()).unwrap();
    mounted.observe(observer).unwrap();
    assert_eq!(stats(public.addresses()[0])["clients"], json!([]));

    // In an order that is not that of arrival.
    for _ in &clients {
        gate.wait();
    }
    clients.iter_mut().for_each(|client| assert_eq!(Reply::read(client).body, b"done"));
    // Each of both has had one service after a wait, and the greedy client has nothing here.
    let seen = wait_for("the services to be counted", || {
        let seen = stats(admin)["clients"].take();
        let shares = [&seen[0], &seen[1]].map(|of| of["service_share"].as_f64());
        shares.iter().all(|share| *share > Some(0.0)).then_some(seen)
    });
    assert_eq!((&seen[0]["client"], &seen[0]["refused"]), (&json!("127.0.0.2"), &json!(2)));
    let shares = [&seen[0], &seen[1]].map(|of| of["service_share"].as_f64().unwrap());
    assert!((shares[0] + shares[1] - 1.0).abs() < 1e-9, "{shares:?}");
}

/// Whichever request gives way for another, it is counted as one that the full queue refused.
#[test]
fn a_request_that_gives_way_was_refused_by_the_full_queue() {
    let schedules = [Schedule::Fair, Schedule::Fifo, Schedule::Lifo, Schedule::SmallestFirst];
    let choices = [
        (WhenFull::Refuse, 1),
        (WhenFull::DropHead, 1),
        (WhenFull::DropRandom, 1),
        (WhenFull::Block, 0),
    ];
    for (schedule, (when_full, refused)) in
        schedules.into_iter().flat_map(|schedule| choices.map(|choice| (schedule, choice)))
    {
        let case = format!("{schedule:?} {when_full:?}");
        let (gate, handler) = gated();
        let config = Config::default().workers(1).queue(2);
        let server =
            Server::start(config.schedule(schedule).when_full(when_full), handler).unwrap();
        let (_admin, admin) = watched(&server);
        let address = server.addresses()[0];
        let ask = || {
            let mut client = connect(address);
            client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
            client
        };
        let mut clients = vec![ask()];
        wait_for("the worker to be held", || {
            (server.snapshot().connections(ConnectionPhase::InService) == 1).then_some(())
        });
        for waiting in 1..=2 {
            clients.push(ask());
            wait_for("the queue", || (server.snapshot().queue.waiting == waiting).then_some(()));
        }
        clients.push(ask());
        wait_for(&case, || (server.snapshot().get(Counter::QueueFull) == refused).then_some(()));
        for _ in 0..4 - refused {
            gate.wait();
        }
        let mut statuses: Vec<u16> =
            clients.iter_mut().map(|client| Reply::read(client).status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses.iter().filter(|&&of| of == 503).count() as u64, refused, "{case}");
        let metrics = metrics(admin);
        let reasons = ["queue_full", "expired", "too_many_connections", "no_memory"];
        let found = reasons
            .map(|reason| metrics[&format!("cws_requests_refused_total{{reason=\"{reason}\"}}")]);
        assert_eq!(found, [refused as f64, 0.0, 0.0, 0.0], "{case}");
        let offered = metrics["cws_requests_offered_total"];
        assert_eq!(offered, 4.0, "each of them asked once, whoever gave way: {case}");
        let totals = stats(admin)["totals"].take();
        assert_eq!((&totals["queue_full"], &totals["refused"]), (&json!(refused), &json!(refused)));
        let minute = stats(admin)["minute"].take();
        assert_eq!(minute["shed"], minute["queue_full"], "{case}");
    }
}

/// One request expires while it waits and the worker is held, the other when its turn comes.
#[test]
fn a_request_that_expires_in_the_room_is_counted_as_expired() {
    let (gate, handler) = gated();
    let age = Duration::from_millis(200);
    let server = Server::start(Config::default().workers(1).queue_timeout(age), handler).unwrap();
    let (_admin, admin) = watched(&server);
    assert_eq!(stats(admin)["queue"]["age"], 0.2);
    let address = server.addresses()[0];
    let ask = || {
        let mut client = connect(address);
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        client
    };
    let mut held = ask();
    wait_for("the worker to be held", || {
        (server.snapshot().connections(ConnectionPhase::InService) == 1).then_some(())
    });
    let mut late = [ask(), ask()];
    let expired = || metrics(admin)["cws_requests_refused_total{reason=\"expired\"}"];
    wait_for("both to expire while the worker is held", || (expired() == 2.0).then_some(()));
    gate.wait();
    assert_eq!(Reply::read(&mut held).status, 200);
    assert_eq!(late.each_mut().map(|client| Reply::read(client).status), [503, 503]);
    let minute = stats(admin)["minute"].take();
    assert_eq!((&minute["shed"], &minute["queue_full"]), (&minute["expired"], &json!(0.0)));
    assert_eq!(server.observer().busiest_clients(10)[0].refused, 2);
}

/// Clients wait for 20 s. A service is far shorter than 8 s, so the age is half of that.
#[test]
fn the_limits_in_force_follow_the_measured_service() {
    let handler = Delay::new(Duration::from_millis(10), |_: &Request<'_>| "");
    let config = Config::default().workers(2).patience(Duration::from_secs(20));
    let server = Server::start(config, handler).unwrap();
    let (_admin, admin) = watched(&server);
    let before = stats(admin)["queue"].take();
    assert_eq!((&before["age"], &before["bound"]), (&json!(10.0), &json!(1024)));
    assert_eq!(before["service"], json!(null));
    assert!(!metrics(admin).contains_key("cws_queue_service_seconds"));
    get(server.addresses()[0], "/");
    let queue = wait_for("the service to be measured", || {
        Some(stats(admin)["queue"].take()).filter(|queue| !queue["service"].is_null())
    });
    let service = queue["service"].as_f64().unwrap();
    assert!((0.01..8.0).contains(&service), "{service}");
    assert_eq!(queue["age"], json!(10.0));
    assert_eq!(queue["bound"], json!((2.0 * 10.0 / service).ceil() as usize + 2));
    let metrics = metrics(admin);
    let found = ["age_seconds", "service_seconds", "bound_requests"]
        .map(|name| metrics[&format!("cws_queue_{name}")]);
    assert_eq!(found, [10.0, service, queue["bound"].as_f64().unwrap()]);
}

/// The only worker is busy until a second request has expired. A third connection of the same
/// client exceeds the limit.
#[test]
fn each_refusal_has_its_reason() {
    let (gate, handler) = gated();
    // Longer than the first request takes to reach the worker on a busy machine.
    let patience = Duration::from_millis(300);
    let config = Config::default().workers(1).queue_timeout(patience);
    let server = Server::start(config.per_client(Some(2)), handler).unwrap();
    let (_admin, admin) = watched(&server);
    let address = server.addresses()[0];
    let ask = |bytes: &[u8]| {
        let mut client = connect(address);
        client.write_all(bytes).unwrap();
        client
    };
    let request = b"GET / HTTP/1.0\r\n\r\n";
    let mut held = ask(request);
    wait_for("the worker to be held", || {
        (server.snapshot().connections(ConnectionPhase::InService) == 1).then_some(())
    });
    let mut late = ask(request);
    assert_eq!(Reply::read(&mut ask(request)).status, 503, "over the limit per client");
    assert_eq!(Reply::read(&mut late).status, 503, "too old, while the worker is held");
    gate.wait();
    assert_eq!(Reply::read(&mut held).status, 200);
    drop((held, late));
    wait_for("both places to be free", || (server.open_connections() == 0).then_some(()));
    assert_eq!(Reply::read(&mut ask(b"GET / HTTP/2.0\r\n\r\n")).status, 505);
    // A worker records what it has done after the response.
    let has_all = || metrics(admin)["cws_queue_wait_seconds_count"] == 3.0;
    wait_for("the worker's figures", || has_all().then_some(()));
    let metrics = metrics(admin);
    for reason in ["expired", "too_many_connections", "malformed"] {
        let name = format!("cws_requests_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(metrics[&name], 1.0, "{reason}");
    }
    assert_eq!(metrics["cws_requests_refused_total{reason=\"queue_full\"}"], 0.0);
    // Both formats have the same names and numbers, and the reasons add up to the total.
    let totals = stats(admin)["totals"].take();
    let reasons = ["queue_full", "expired", "too_many_connections", "no_memory", "too_slow"];
    let refused = reasons.iter().chain(&["malformed"]).map(|reason| {
        let name = format!("cws_requests_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(totals[*reason], metrics[&name] as u64, "{reason}");
        metrics[&name]
    });
    assert_eq!(totals["refused"], refused.sum::<f64>() as u64);
    assert!(metrics["cws_queue_wait_seconds_sum"] > patience.as_secs_f64());
    assert_eq!(metrics["cws_service_seconds_count"], 1.0);
}

#[test]
fn connections_are_counted_by_their_phase() {
    let server = Server::start(Config::default().workers(1), |request: &Request<'_>| match request
        .target
        .raw
    {
        b"/large" => Response::ok("text/plain", vec![b'x'; 64 << 20]),
        _ => Response::ok("text/plain", "small"),
    });
    let server = server.unwrap();
    let address = server.addresses()[0];
    let open = |bytes: &[u8]| {
        let mut client = connect(address);
        client.write_all(bytes).unwrap();
        client
    };
    let mut kept = open(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    Reply::read(&mut kept);
    let clients = [
        kept,
        open(b""),
        open(b"GET / HT"),
        open(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"),
        open(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"),
        open(b"GET / HTTP/9\r\n\r\n"),
    ];
    let wanted = [
        (ConnectionPhase::Idle, 2),
        (ConnectionPhase::ReadingHead, 1),
        (ConnectionPhase::Queued, 0),
        (ConnectionPhase::InService, 0),
        (ConnectionPhase::Flushing, 1),
        (ConnectionPhase::ReadingBody, 1),
        (ConnectionPhase::Lingering, 1),
    ];
    wait_for("each to be in its phase", || {
        let snapshot = server.snapshot();
        wanted.iter().all(|&(phase, count)| snapshot.connections(phase) == count).then_some(())
    });
    drop(clients);
}

#[test]
fn it_is_read_only() {
    let handler = |_: &Request<'_>| Response::ok("text/plain", "");
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let (_held, admin) = watched(&server);
    let post =
        b"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let reply = Reply::all(&exchange(admin, post), false).remove(0);
    assert_eq!((reply.status, reply.field("Allow")), (405, Some("GET, HEAD")));
    assert!(String::from_utf8(reply.body).unwrap().contains("This endpoint is read-only"));
    let nothing = get(admin, "/etc/passwd");
    assert_eq!(nothing.status, 404);
    let head = exchange(admin, b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let head = Reply::all(&head, true).remove(0);
    assert_eq!((head.status, head.body.len()), (200, 0));
    let page = get(admin, "/");
    assert!(page.field("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(!text.contains("/* style */") && !text.contains("/* script */"));
    let text = text.replace("http://www.w3.org/2000/svg", "");
    assert!(!text.contains("http://") && !text.contains("https://"), "it asks nobody else");
}

/// DNS rebinding: requests with another site's host name.
#[test]
fn it_answers_to_unknown_host_names_for_health_only() {
    let site = Site::new();
    let mut own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    own.truncate(own.trim_end().len());
    // Also where it is bound to all addresses.
    for admin in ["0", "0.0.0.0:0"] {
        let options = ["--admin", admin, "--admin-host", "stats.example,b.example", "--quiet"];
        let server = RealServer::start(&site, &options);
        let mut admin = server.admin();
        admin.set_ip(Ipv4Addr::LOCALHOST.into());
        let ask = |path: &str, host: &str| {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            Reply::all(&exchange(admin, request.as_bytes()), false).remove(0)
        };
        for path in ["/", "/metrics", "/stats.json", "/nothing"] {
            for host in ["evil.example", "evil.example:9090", "localhost.evil.example"] {
                let reply = ask(path, host);
                let text = String::from_utf8(reply.body).unwrap();
                assert_eq!(reply.status, 421, "{path} of {host}");
                assert!(text.contains("421 Misdirected Request"), "{text}");
                assert!(text.contains("--admin-host NAME"), "{text}");
                assert!(!text.contains("cws_") && !text.contains("workers"), "{text}");
            }
            let good = ["127.0.0.1", "192.0.2.7:80", "[::1]:9090", "localhost:1", "a.localhost"];
            for host in good.into_iter().chain(["stats.example", "B.example:80", &own]) {
                let expected = if path == "/nothing" { 404 } else { 200 };
                assert_eq!(ask(path, host).status, expected, "{path} of {host}");
            }
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(ask(path, "kubelet.example").status, 200, "{path}");
        }
        let nameless = exchange(admin, b"GET /stats.json HTTP/1.0\r\n\r\n");
        assert!(nameless.starts_with(b"HTTP/1.0 200"), "{}", nameless.escape_ascii());
    }
    let mut command = crate::support::command(env!("CARGO_BIN_EXE_server"));
    command.args(["--root", site.path().to_str().unwrap(), "--admin", "0", "0"]);
    let server = RealServer::spawn({
        command.env("CWS_ADMIN_HOST", "c.example,d.example");
        command
    });
    let request = b"GET /metrics HTTP/1.1\r\nHost: d.example\r\nConnection: close\r\n\r\n";
    assert!(exchange(server.admin(), request).starts_with(b"HTTP/1.1 200"));
}

#[test]
fn it_is_not_ready_once_the_server_is_stopping() {
    let site = Site::new();
    let options = ["--admin", "0", "--drain-delay", "10s", "--workers", "1"];
    let server = RealServer::start(&site, &options);
    let admin = server.admin();
    assert!(admin.ip().is_loopback());
    assert_eq!(get(admin, "/readyz").status, 200);
    server.signal("TERM");
    let reply = wait_for("the word that it is not ready", || {
        Some(get(admin, "/readyz")).filter(|reply| reply.status == 503)
    });
    assert_eq!(reply.body, b"stopping\n");
    assert_eq!(get(admin, "/healthz").status, 200);
    assert_eq!(get(server.address(), "/testfile").status, 200, "it serves on meanwhile");
    assert_eq!(stats(admin)["ready"], false);
}

#[test]
fn figures_are_logged_at_the_interval() {
    let site = Site::new();
    let server = RealServer::start(&site, &["--stats-interval", "50ms", "--access-log", "off"]);
    get(server.address(), "/testfile");
    wait_for("the lines", || {
        let log = server.stderr();
        let figures =
            log.lines().find(|line| line.contains("requests/s") && line.contains("Little"));
        let idle = log.lines().any(|line| line.contains("idle: no requests in the last"));
        (figures.is_some() && idle).then_some(())
    });
}

#[test]
fn an_admin_address_in_use_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = crate::support::command(env!("CARGO_BIN_EXE_server"));
    let output = command.args(["--admin", &address, "--quiet", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    let wanted = format!("cannot start the admin page: cannot listen on {address}");
    assert!(line.contains(&wanted) && line.lines().count() == 1, "{line}");
}

#[test]
fn promtool_accepts_the_metrics() {
    let Some(mut promtool) = installed("promtool") else { return };
    let handler = |_: &Request<'_>| Response::ok("text/plain", "");
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let (_held, admin) = watched(&server);
    get(server.addresses()[0], "/");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let output = feed(promtool, &get(admin, "/metrics").body);
    assert_eq!(output, "", "promtool has nothing to say");
}

fn feed(mut command: Command, bytes: &[u8]) -> String {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}
