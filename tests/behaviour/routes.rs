//! Routes over a socket: handlers of others mounted, bodies bounded, figures in the same port.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, get, wait_for};
use cws::{AdminPages, BasicAuth, Config, Request, Routes, Server, StaticFiles, Status, User};
use std::io::Write;
use std::net::SocketAddr;

fn config(workers: usize) -> Config {
    Config::default().workers(workers)
}

/// Sends a request of these lines and this body, and reads the reply.
fn send(address: SocketAddr, lines: &str, body: &[u8]) -> Reply {
    let mut stream = connect(address);
    let head = format!("{lines}\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    Reply::read(&mut stream)
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

/// A folder as a site has it: a page, a sub-folder, a name that is no text.
fn site() -> tempfile::TempDir {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir(root.join("sub dir")).unwrap();
    std::fs::write(root.join("page.txt"), "a page\n").unwrap();
    std::fs::write(root.join("sub dir/inner.txt"), "inner\n").unwrap();
    std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff.txt")), "bytes\n").unwrap();
    folder
}

/// Where a relative reference leads from a path (RFC 3986, section 5.2.2), as a browser has it.
fn resolve(base: &str, reference: &str) -> String {
    let mut segments: Vec<&str> = base.split('/').collect();
    segments.pop();
    for part in reference.split('/') {
        match part {
            "." => {}
            ".." => {
                segments.pop();
            }
            part => segments.push(part),
        }
    }
    let path = segments.join("/");
    if reference.ends_with("..") { format!("{path}/") } else { path }
}

/// Follows redirects and every link of every listing, from the top of a mount.
#[test]
fn files_under_a_prefix_are_all_found_by_their_links() {
    let folder = site();
    let routes = Routes::new()
        .get("/", |_: &Request<'_>| "not the files")
        .mount("/a/static", StaticFiles::new(folder.path()).unwrap())
        .build()
        .unwrap();
    let server = Server::start(config(1), routes).unwrap();
    let address = server.addresses()[0];
    let mut to_visit = vec!["/a/static".to_owned()];
    let mut seen = std::collections::BTreeMap::new();
    while let Some(path) = to_visit.pop() {
        let reply = get(address, &path);
        if let Some(location) = reply.field("Location") {
            assert_eq!(reply.status, 301, "{path}");
            to_visit.push(resolve(&path, location));
            seen.insert(path, "a redirect".to_owned());
            continue;
        }
        assert_eq!(reply.status, 200, "{path}");
        let body = text(&reply);
        if path.ends_with('/') {
            let links = body.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            for link in links.filter(|link| !link.starts_with('?')) {
                let linked = resolve(&path, link);
                assert!(linked.starts_with("/a/static/"), "{path} leads to {linked} by {link}");
                if !seen.contains_key(&linked) && !to_visit.contains(&linked) {
                    to_visit.push(linked);
                }
            }
        }
        seen.insert(path, body);
    }
    assert_eq!(seen["/a/static"], "a redirect");
    assert_eq!(seen["/a/static/page.txt"], "a page\n");
    assert_eq!(seen["/a/static/sub%20dir/inner.txt"], "inner\n");
    assert_eq!(seen["/a/static/%FF.txt"], "bytes\n");
    assert!(seen.contains_key("/a/static/sub%20dir/"));
    assert_eq!(seen.len(), 6, "{:?}", seen.keys());
    let reply = get(address, "/a/static/sub%20dir?x=1");
    assert_eq!(reply.field("Location"), Some("./sub%20dir/?x=1"));
    assert_eq!(get(address, "/").body, b"not the files");
    for path in ["/page.txt", "/a/page.txt", "/a/static/../../page.txt", "/a/static/no"] {
        assert_eq!(get(address, path).status, 404, "{path}");
    }
    assert_eq!(get(address, "/a/static%2fpage.txt").status, 400);
}

/// Ranges, conditions and methods are the mounted handler's own.
#[test]
fn a_mounted_handler_answers_all_methods_and_fields() {
    let folder = site();
    let routes =
        Routes::new().mount("/s", StaticFiles::new(folder.path()).unwrap()).build().unwrap();
    let server = Server::start(config(1), routes).unwrap();
    let address = server.addresses()[0];
    let part = send(address, "GET /s/page.txt HTTP/1.1\r\nRange: bytes=2-5", b"");
    assert_eq!((part.status, &part.body[..]), (206, &b"page"[..]));
    let options = send(address, "OPTIONS /s/page.txt HTTP/1.1", b"");
    assert_eq!((options.status, options.field("Allow")), (204, Some("GET, HEAD, OPTIONS")));
    assert_eq!(send(address, "DELETE /s/page.txt HTTP/1.1", b"").status, 405);
    // What the server refuses itself is refused as the mounted handler has it.
    let refused = send(address, "GET /%zz HTTP/1.1", b"");
    assert_eq!((refused.status, refused.field("X-Content-Type-Options")), (400, Some("nosniff")));
}

/// A password before one prefix is none before the other; what a handler defers is asked again.
#[test]
fn a_password_guards_its_own_prefix() {
    let hash = bcrypt::hash("pw", 4).unwrap();
    let user = User::parse(&format!("u:{hash}")).unwrap();
    let guarded = BasicAuth::new(vec![user], |_: &Request<'_>| "secret");
    let routes = Routes::new()
        .get("/open", |_: &Request<'_>| "open")
        .mount("/secret", guarded)
        .build()
        .unwrap();
    let server = Server::start(config(1), routes).unwrap();
    let address = server.addresses()[0];
    assert_eq!(get(address, "/open").body, b"open");
    assert_eq!(get(address, "/secret/x").status, 401);
    let wrong = send(address, "GET /secret/x HTTP/1.1\r\nAuthorization: Basic dTpubw==", b"");
    assert_eq!(wrong.status, 401);
    let right = send(address, "GET /secret/x HTTP/1.1\r\nAuthorization: Basic dTpwdw==", b"");
    assert_eq!(right.body, b"secret");
}

#[test]
fn methods_and_unknown_paths_are_answered_as_rfc_9110_has_it() {
    let routes = Routes::new()
        .get("/items/{id}", |request: &Request<'_>| request.param("id").unwrap().to_owned())
        .on("BREW", "/pot", 0, |_: &Request<'_>| Status::NO_CONTENT)
        .build()
        .unwrap();
    let server = Server::start(config(1), routes).unwrap();
    let address = server.addresses()[0];
    assert_eq!(text(&get(address, "/items/%C3%A9")), "\u{e9}");
    let head = {
        let mut stream = connect(address);
        let lines = "HEAD /items/abc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(lines.as_bytes()).unwrap();
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut all).unwrap();
        String::from_utf8(all).unwrap()
    };
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("Content-Length: 3\r\n"), "{head}");
    let refused = send(address, "POST /items/abc HTTP/1.1", b"");
    assert_eq!((refused.status, refused.field("Allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(send(address, "BREW /pot HTTP/1.1", b"").status, 204);
    assert_eq!(send(address, "BREW /items/abc HTTP/1.1", b"").status, 405);
    assert_eq!(get(address, "/nowhere").status, 404);
}

#[test]
fn bodies_come_within_the_limit_of_their_route() {
    let echo = |request: &Request<'_>| request.body().to_vec();
    let routes = Routes::new()
        .post("/small", 4, echo)
        .post("/large", 1 << 20, echo)
        .get("/small", echo)
        .build()
        .unwrap();
    let server = Server::start(config(1), routes).unwrap();
    let address = server.addresses()[0];
    assert_eq!(send(address, "POST /small HTTP/1.1", b"abcd").body, b"abcd");
    assert_eq!(send(address, "POST /small HTTP/1.1", b"abcde").status, 413);
    let long: Vec<u8> = (0..1 << 20).map(|n: u32| n as u8).collect();
    assert_eq!(send(address, "POST /large HTTP/1.1", &long).body, long);
    let dropped = send(address, "GET /small HTTP/1.1", b"abcd");
    assert_eq!((dropped.status, dropped.body.len()), (200, 0));
    let mut stream = connect(address);
    let chunked = "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(format!("{chunked}2\r\nab\r\n1\r\nc\r\n0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut stream).body, b"abc");
}

/// The figures come from the server that serves them, and its other port needs none.
#[test]
fn health_and_figures_are_served_in_the_same_port() {
    let admin = AdminPages::new();
    let routes = Routes::new()
        .get("/", |_: &Request<'_>| "home")
        .mount("/admin", admin.clone())
        .mount("/healthz", admin.health())
        .mount("/readyz", admin.readiness())
        .mount("/metrics", admin.metrics())
        .build()
        .unwrap();
    let server = Server::start(config(1), routes).unwrap();
    let address = server.addresses()[0];
    // `get` asks for an address, which is a good name.
    let ask = |path: &str| {
        let mut stream = connect(address);
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
            .unwrap();
        Reply::read(&mut stream)
    };
    assert_eq!((ask("/healthz").status, ask("/readyz").status), (200, 503), "not observed yet");
    assert_eq!(ask("/metrics").status, 503);
    admin.observe(server.observer()).unwrap();
    assert_eq!(text(&ask("/readyz")), "ready\n");
    let moved = ask("/admin");
    assert_eq!((moved.status, moved.field("Location")), (301, Some("./admin/")));
    assert!(text(&ask("/admin/")).contains("<!DOCTYPE html>"));
    assert_eq!(text(&ask("/admin/healthz")), "alive\n");
    for path in ["/healthz/x", "/metrics/metrics", "/admin/no"] {
        assert_eq!(ask(path).status, 404, "{path}");
    }
    let accepted = || -> f64 {
        let metrics = text(&ask("/metrics"));
        let line = metrics.lines().find(|line| line.starts_with("cws_connections_accepted_total "));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let before = accepted();
    for _ in 0..5 {
        assert_eq!(ask("/").body, b"home");
    }
    wait_for("the connections to be counted", || (accepted() >= before + 6.0).then_some(()));
    // No other site's page may read figures through a browser; health is for everybody.
    for (path, status) in [("/metrics", 421), ("/admin/stats.json", 421), ("/healthz", 200)] {
        let mut stream = connect(address);
        let head = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream).status, status, "{path}");
    }
    // The handler that observes its own server does not keep it from its end.
    let summary = server.shutdown();
    assert_eq!(summary.cut, 0);
}

/// A handler of the `http` crate's types, behind a real socket.
#[cfg(feature = "http")]
#[test]
fn a_handler_of_the_http_crate_is_served() {
    fn describe(request: http::Request<bytes::Bytes>) -> http::Response<String> {
        let agent = request.headers().get("user-agent").map(|value| value.to_str().unwrap());
        let text = format!("{} {} {agent:?}", request.method(), request.uri());
        http::Response::builder().status(202).header("X-Made-By", "http").body(text).unwrap()
    }
    let routes = Routes::new()
        .get("/one/{id}", describe)
        .mount("/all", cws::from_http(1 << 10, describe))
        .build()
        .unwrap();
    let server = Server::start(config(1), routes).unwrap();
    let address = server.addresses()[0];
    let one = send(address, "GET /one/7?q HTTP/1.1\r\nUser-Agent: me", b"");
    assert_eq!((one.status, one.field("x-made-by")), (202, Some("http")));
    assert_eq!(text(&one), "GET /one/7?q Some(\"me\")");
    assert_eq!(text(&send(address, "BREW /all/x HTTP/1.1", b"")), "BREW /x None");
}
