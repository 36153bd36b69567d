//! Cached files, absent names and redirects need no worker, and are never out of date or
//! open to anybody else for that.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

use crate::support::{RealServer, Reply, Site, TESTFILE, connect, exchange, get, wait_for};
use crossbeam_channel::unbounded;
use cws::{AdminPages, Config, Counter, Request, Routes, Server, StaticFiles};
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn immediate(server: &Server) -> u64 {
    server.snapshot().get(Counter::Immediate)
}

/// Asks for a path until that needs no worker any more: the file is in the cache, and its times are
/// old enough to tell a change.
fn warm(server: &Server, path: &str) {
    wait_for("the file to need no worker", || {
        let before = immediate(server);
        get(server.addresses()[0], path);
        (immediate(server) > before).then_some(())
    });
}

/// A site, and a route that holds the only worker until it is released.
fn held_site(site: &Site) -> (Server, crossbeam_channel::Sender<()>, AdminPages) {
    let (release, released) = unbounded::<()>();
    let admin = AdminPages::new();
    let routes = Routes::new()
        .get("/held", move |_: &Request<'_>| {
            let _ = released.recv();
            "released\n"
        })
        .immediate("/version", |_: &Request<'_>| "1\n")
        .mount("/files", StaticFiles::new(site.path()).unwrap())
        .mount("/healthz", admin.health())
        .mount("/readyz", admin.readiness())
        .build()
        .unwrap();
    let config = Config::default().workers(1).queue_timeout(Duration::from_secs(3600));
    let server = Server::start(config, routes).unwrap();
    admin.observe(server.observer()).unwrap();
    (server, release, admin)
}

#[test]
fn a_site_beside_blocking_work_is_served_while_the_worker_is_held() {
    let site = Site::new();
    site.put("folder/index.html", "an index");
    let (server, release, _admin) = held_site(&site);
    let address = server.addresses()[0];
    let known = ["/files/testfile", "/files/absent", "/files/folder", "/files/folder/"];
    // A check of a name stays good for a second, and changes of a file show in its times after two.
    let settled = Instant::now() + Duration::from_millis(2500);
    wait_for("the files to settle", || (Instant::now() > settled).then_some(()));
    known.iter().for_each(|path| warm(&server, path));
    let mut held = connect(address);
    held.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let is_busy = || server.observer().snapshot().workers[0].activity == cws::Activity::Handle;
    wait_for("the worker to be held", || is_busy().then_some(()));
    let before = immediate(&server);

    // For longer than a check stays good.
    let (end, mut rounds) = (Instant::now() + Duration::from_millis(2500), 0);
    while Instant::now() < end {
        assert_eq!(get(address, "/files/testfile").body, TESTFILE);
        assert_eq!(get(address, "/files/absent").status, 404);
        assert_eq!(get(address, "/files/folder").field("Location"), Some("./folder/"));
        assert_eq!(get(address, "/files/folder/").body, b"an index");
        assert_eq!(get(address, "/files/.hidden").status, 404);
        assert_eq!(get(address, "/version").body, b"1\n");
        assert_eq!(get(address, "/healthz").body, b"alive\n");
        assert_eq!(get(address, "/readyz").body, b"ready\n");
        rounds += 1;
    }
    assert_eq!(immediate(&server) - before, 8 * rounds);

    // What has changed is not served as it was: it is read by a worker.
    site.put("testfile", "changed");
    let until = Instant::now() + Duration::from_millis(1500);
    wait_for("the check to become old", || (Instant::now() > until).then_some(()));
    let mut changed = connect(address);
    changed.write_all(b"GET /files/testfile HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for("it to wait", || (server.snapshot().queue.waiting == 1).then_some(()));
    release.send(()).unwrap();
    assert_eq!(Reply::read(&mut changed).body, b"changed");
    assert_eq!(Reply::read(&mut held).body, b"released\n");
}

/// A reply without what differs from one to the next.
fn comparable(address: SocketAddr, request: &str) -> Vec<(u16, Vec<String>, Vec<u8>)> {
    let bytes = exchange(address, request.as_bytes());
    let replies = Reply::all(&bytes, request.starts_with("HEAD "));
    let fields = |reply: &Reply| -> Vec<String> {
        let shown = reply.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Date"));
        shown.map(|(name, value)| format!("{name}: {value}")).collect()
    };
    replies.iter().map(|reply| (reply.status, fields(reply), reply.body.clone())).collect()
}

/// The same response comes from a worker that reads the file and from the cache without a worker.
#[test]
fn a_response_is_the_same_with_and_without_a_worker() {
    let site = Site::new();
    site.put("folder/index.html", "an index");
    site.put("code.js", "let a = 1;");
    site.put("code.js.gz", "compressed");
    site.put("empty", "");
    site.put("large.js", "// A file that is sent from its descriptor.\n".repeat(3000));
    site.put("large.js.gz", "compressed");
    site.put("form.txt", "short");
    site.put("form.txt.gz", "a form that is kept open\n".repeat(3000));
    let cold = RealServer::start(&site, &["--no-cache"]);
    let (warm_server, address) = {
        let files = StaticFiles::new(site.path()).unwrap();
        let server = Server::start(Config::default().workers(1), files).unwrap();
        let address = server.addresses()[0];
        (server, address)
    };
    let tag = get(cold.address(), "/testfile").field("ETag").unwrap().to_owned();
    let date = get(cold.address(), "/testfile").field("Last-Modified").unwrap().to_owned();
    let mut requests = Vec::new();
    let files = ["testfile", "code.js", "empty", "large.js", "form.txt"];
    for target in files.into_iter().chain(["folder", "folder/", "absent", ".hidden", "a%20b"]) {
        for method in ["GET", "HEAD", "OPTIONS"] {
            for fields in [
                String::new(),
                format!("If-None-Match: {tag}\r\n"),
                "If-None-Match: \"other\"\r\n".to_owned(),
                "If-None-Match: *\r\n".to_owned(),
                "If-Match: \"other\"\r\n".to_owned(),
                format!("If-Modified-Since: {date}\r\n"),
                format!("If-Unmodified-Since: {date}\r\n"),
                "Range: bytes=2-4\r\n".to_owned(),
                "Range: bytes=-3\r\n".to_owned(),
                "Range: bytes=900-\r\n".to_owned(),
                "Accept-Encoding: gzip, br\r\n".to_owned(),
                "Accept-Encoding: identity;q=0\r\n".to_owned(),
                "Accept-Encoding: identity;q=0, gzip\r\n".to_owned(),
                "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n".to_owned(),
            ] {
                requests.push(format!(
                    "{method} /{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"
                ));
            }
        }
    }
    // The first round fills the cache.
    for round in 0..3 {
        for request in &requests {
            let (with, without) =
                (comparable(cold.address(), request), comparable(address, request));
            assert_eq!(with, without, "round {round}: {request}");
        }
    }
    let snapshot = warm_server.snapshot();
    let (at_once, handled) = (snapshot.get(Counter::Immediate), snapshot.get(Counter::Handled));
    assert!(at_once > handled, "most needed no worker: {at_once} of {}", at_once + handled);
}

/// A file that is kept open is sent without a worker. Parts of it are read, which is a worker's. A
/// change shows at once, although the last check of its name is recent.
#[test]
fn a_large_file_needs_no_worker_and_is_never_out_of_date() {
    let site = Site::new();
    let content = |of: &str| of.repeat(100_000);
    site.put("large", content("first"));
    let files = StaticFiles::new(site.path()).unwrap();
    let server = Server::start(Config::default().workers(1), files).unwrap();
    let address = server.addresses()[0];
    warm(&server, "/large");
    let before = immediate(&server);
    assert!(get(address, "/large").body == content("first").as_bytes());
    assert_eq!(immediate(&server), before + 1);
    let part = b"GET /large HTTP/1.0\r\nRange: bytes=4-7\r\n\r\n";
    assert_eq!(Reply::all(&exchange(address, part), false)[0].body, b"tfir");
    assert_eq!(immediate(&server), before + 1);
    // In place: the descriptor is the same.
    std::fs::write(site.path().join("large"), content("later")).unwrap();
    assert!(get(address, "/large").body == content("later").as_bytes());
    std::fs::write(site.path().join("large"), "short").unwrap();
    assert_eq!(get(address, "/large").body, b"short");
}

/// A file in memory is nobody's who has not shown the password.
#[test]
fn a_password_is_asked_for_before_anything_is_answered() {
    let site = Site::new();
    let user = format!("ann:{}", bcrypt::hash("secret", 4).unwrap());
    let server = RealServer::start(&site, &["--auth", &user, "--admin", "0"]);
    let ask = |credentials: &str| {
        let request = format!("GET /testfile HTTP/1.0\r\n{credentials}\r\n");
        Reply::all(&exchange(server.address(), request.as_bytes()), false).remove(0).status
    };
    let good = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
    let totals = || {
        let stats = get(server.admin(), "/stats.json").body;
        let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
        stats["totals"]["immediate"].as_u64().unwrap()
    };
    wait_for("the file to need no worker", || {
        assert_eq!(ask(good), 200);
        (totals() > 0).then_some(())
    });
    let before = totals();
    for bad in ["", "Authorization: Basic YW5uOndyb25n\r\n", "Authorization: Bearer a\r\n"] {
        assert_eq!(ask(bad), 401, "{bad}");
        assert_eq!(ask(good), 200);
        assert_eq!(ask(bad), 401, "{bad}");
    }
    assert!(totals() >= before + 3);
}

/// A simulated back-end takes a worker's time for each response.
#[test]
fn with_a_delay_every_request_has_a_worker() {
    let site = Site::new();
    let server = RealServer::start(&site, &["--delay", "1ms", "--admin", "0"]);
    (0..20).for_each(|_| assert_eq!(get(server.address(), "/testfile").body, TESTFILE));
    let stats = get(server.admin(), "/stats.json").body;
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    let totals = &stats["totals"];
    assert_eq!((totals["handled"].as_u64(), totals["immediate"].as_u64()), (Some(20), Some(0)));
}

/// A batch of requests, all there at once, does not cost one wakeup of a worker for each.
#[cfg(target_os = "linux")]
#[test]
fn a_batch_of_requests_wakes_few_threads() {
    const BATCH: usize = 64;
    let site = Site::new();
    let server = RealServer::start(&site, &["--workers", "2", "--access-log", "off"]);
    let mut clients: Vec<_> = (0..BATCH).map(|_| connect(server.address())).collect();
    let request = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut switches = Vec::new();
    for _ in 0..5 {
        let before = sleeps(server.pid());
        server.signal("STOP");
        wait_for("it to stop", || is_stopped(server.pid()).then_some(()));
        clients.iter_mut().for_each(|client| client.write_all(request).unwrap());
        server.signal("CONT");
        clients.iter_mut().for_each(|client| assert_eq!(Reply::read(client).body, TESTFILE));
        switches.push(sleeps(server.pid()) - before);
    }
    switches.sort_unstable();
    // One for each request of a batch would be 64 and more.
    assert!(switches[2] < BATCH as u64 / 2, "{switches:?}");
}

/// The times that the threads of a process went to sleep.
#[cfg(target_os = "linux")]
fn sleeps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_task = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse().ok()
    };
    tasks.filter_map(of_task).sum()
}

#[cfg(target_os = "linux")]
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}
