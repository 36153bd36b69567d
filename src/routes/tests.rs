//! Which route answers what, without a socket.

use super::{Endpoint, RouteError, RouteTable, Routes, WorkerStates};
use crate::handler::{Accepts, Body, Error, Handler, IntoResponse, Response};
use crate::http::request::{Arrival, FieldSlots, Request};
use crate::http::target::DecodedPath;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a table answers: the status, `Allow` or `Location`, and the content.
fn ask_with<S: 'static>(
    table: &RouteTable<S>,
    states: &mut WorkerStates<S>,
    line: &str,
    body: &[u8],
) -> (u16, Option<String>, String) {
    let head = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut slots = FieldSlots::default();
    let request = Request::parse(head.as_bytes(), &mut slots).expect("a request");
    let response = table.handle(&request.with_body(body, Arrival::NONE), states).into_response();
    let fields = String::from_utf8_lossy(response.fields()).into_owned();
    let value = |name: &str| {
        let line = fields.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches(": ").to_owned())
    };
    let told = value("Allow").or_else(|| value("Location"));
    let content = match response.body() {
        Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    (response.status().code(), told, content)
}

fn ask<S: 'static>(table: &RouteTable<S>, line: &str) -> (u16, Option<String>, String) {
    ask_with(table, &mut table.state(1), line, b"")
}

/// An endpoint that says its name and its parameters.
fn says(name: &'static str) -> impl Endpoint<(), fn(&Request<'_>)> {
    move |request: &Request<'_>| {
        let params: Vec<_> =
            request.params().iter().map(|(key, value)| format!(" {key}={value}")).collect();
        format!("{name}{}", params.concat())
    }
}

fn table() -> RouteTable {
    Routes::new()
        .get("/", says("top"))
        .get("/items", says("list"))
        .post("/items", 4, says("add"))
        .get("/items/new", says("form"))
        .get("/items/{id}", says("one"))
        .delete("/items/{id}", says("gone"))
        .get("/items/{id}/parts/{part}", says("part"))
        .get("/img/{name}.png", says("picture"))
        .get("/files/{*rest}", says("files"))
        .get("/a b/{{c}}", says("odd"))
        .on("PURGE", "/cache", 0, says("purged"))
        .on("OPTIONS", "/own", 0, says("own options"))
        .on("HEAD", "/own", 0, says("own head"))
        .get("/own", says("own"))
        .build()
        .expect("a table")
}

#[test]
fn the_most_specific_route_answers() {
    let table = table();
    let rows = [
        ("/", "top"),
        ("/items", "list"),
        ("//items", "list"),
        ("/x/../items", "list"),
        ("/%69tems", "list"),
        ("/items?q=/x", "list"),
        ("/items/new", "form"),
        ("/items/7", "one id=7"),
        ("/items/new%20", "one id=new "),
        ("/items/%c3%a9", "one id=\u{e9}"),
        ("/items/7/parts/%2e%2e%2e", "part id=7 part=..."),
        ("/img/a.png", "picture name=a"),
        ("/files/a/b", "files rest=a/b"),
        ("/files/a/b/", "files rest=a/b/"),
        ("/a%20b/%7Bc%7D", "odd"),
    ];
    for (path, said) in rows {
        assert_eq!(ask(&table, &format!("GET {path}")), (200, None, said.to_owned()), "{path}");
    }
    let nowhere = [
        "/item",
        "/items/",
        "/items/7/",
        "/items/7/parts",
        "/items/%ff",
        "/files/",
        "/files",
        "/Items",
        "/img/.png",
    ];
    for path in nowhere {
        assert_eq!(ask(&table, &format!("GET {path}")).0, 404, "{path}");
    }
}

/// Escapes are decoded once, and none makes a slash of a pattern's.
#[test]
fn an_encoded_slash_leads_to_no_route() {
    for path in ["/items%2fnew", "/items/a%2Fb", "/files/%2f", "/a%00"] {
        assert!(DecodedPath::decode(path.as_bytes()).is_err(), "refused before: {path}");
    }
    assert_eq!(ask(&table(), "GET /items/%252f").2, "one id=%2f");
}

#[test]
fn methods_of_a_path() {
    let table = table();
    let rows = [
        ("HEAD /items", 200, None, "list"),
        ("POST /items", 200, None, "add"),
        ("DELETE /items/7", 200, None, "gone id=7"),
        ("OPTIONS /items", 204, Some("GET, HEAD, POST, OPTIONS"), ""),
        ("OPTIONS /items/7", 204, Some("GET, HEAD, DELETE, OPTIONS"), ""),
        ("OPTIONS /own", 200, None, "own options"),
        ("HEAD /own", 200, None, "own head"),
        ("PURGE /cache", 200, None, "purged"),
        ("OPTIONS *", 204, Some("DELETE, GET, HEAD, OPTIONS, POST, PURGE"), ""),
    ];
    for (line, status, told, said) in rows {
        assert_eq!(ask(&table, line), (status, told.map(str::to_owned), said.to_owned()), "{line}");
    }
    let refused = [
        ("PUT /items", "GET, HEAD, POST, OPTIONS"),
        ("POST /items/7", "GET, HEAD, DELETE, OPTIONS"),
        ("GET /cache", "PURGE, OPTIONS"),
        ("HEAD /cache", "PURGE, OPTIONS"),
        ("purge /cache", "PURGE, OPTIONS"),
        ("PATCH /own", "OPTIONS, HEAD, GET"),
    ];
    for (line, allow) in refused {
        let (status, told, _) = ask(&table, line);
        assert_eq!((status, told.as_deref()), (405, Some(allow)), "{line}");
    }
}

#[test]
fn a_route_bounds_its_bodies_exactly() {
    let echo = |request: &Request<'_>| request.body().to_vec();
    let table = Routes::new()
        .post("/items", 4, echo)
        .put("/items", 8, echo)
        .get("/items", echo)
        .post("/items/{id}/blob", 100, echo)
        .build()
        .expect("a table");
    let mut states = table.state(1);
    let rows: [(&str, &[u8], u16); 6] = [
        ("POST /items", b"abcd", 200),
        ("POST /items", b"abcde", 413),
        ("PUT /items", b"abcdefgh", 200),
        ("PUT /items", b"abcdefghi", 413),
        ("POST /items/1/blob", b"abcdefghi", 200),
        ("POST /items", b"", 200),
    ];
    for (line, body, expected) in rows {
        let (status, _, said) = ask_with(&table, &mut states, line, body);
        assert_eq!(status, expected, "{line}");
        assert!(status != 200 || said.as_bytes() == body, "{line}: {said}");
    }
    let (status, _, said) = ask_with(&table, &mut states, "GET /items", b"not asked for");
    assert_eq!((status, &said[..]), (200, ""), "a body that it does not take is dropped");
}

fn limit(accepts: &Accepts, path: &str) -> u64 {
    accepts.body_limit(&DecodedPath::decode(path.as_bytes()).expect("a path"))
}

/// Whoever reads the message keeps no more of it than the route's limit.
#[test]
fn what_a_table_accepts_is_what_its_routes_do() {
    let echo = |_: &Request<'_>| "";
    let inner = Routes::new().put("/x/{y}", 50, echo).build().expect("a table");
    let table = Routes::new()
        .post("/", 1, echo)
        .post("/items", 4, echo)
        .put("/items", 8, echo)
        .post("/items/{id}", 16, echo)
        .mount("/inner/{z}", inner)
        .post("/inner/a/here", 32, echo)
        .mount("/", |_: &Request<'_>| "")
        .build()
        .expect("a table");
    let accepts = table.accepts();
    let rows = [
        ("/", 1),
        ("/items", 8),
        ("/items/7", 16),
        ("/items/7/8", 0),
        ("/other", 0),
        ("/inner/a/x/y", 50),
        ("/inner/a/x", 0),
        ("/inner/a/here", 32),
    ];
    for (path, most) in rows {
        assert_eq!(limit(&accepts, path), most, "{path}");
    }
    assert!(!accepts.takes_unknown_methods());
    let table = Routes::new().on("PURGE", "/", 0, echo).build().expect("a table");
    assert!(table.accepts().takes_unknown_methods());
}

#[test]
fn a_mounted_handler_sees_what_is_beneath_its_prefix() {
    let inner = Routes::new()
        .get("/", says("inner top"))
        .get("/{id}", says("inner"))
        .build()
        .expect("a table");
    let raw = |request: &Request<'_>| {
        let path = &request.target.path;
        format!("{}|{}", path.prefix().escape_ascii(), path.as_bytes().escape_ascii())
    };
    let table = Routes::new()
        .get("/raw/version", says("version"))
        .mount("/users/{user}/things", inner)
        .mount("/raw/", raw)
        .mount("/exact", raw)
        .get("/exact", says("a route"))
        .build()
        .expect("a table");
    let rows = [
        ("GET /users/u/things", "inner top user=u"),
        ("GET /users/u/things/", "inner top user=u"),
        ("GET /users/u/things/7", "inner user=u id=7"),
        ("GET /raw", "raw|"),
        ("PURGE /raw/a/%ff", "raw|a/\\xff"),
        ("POST /raw/", "raw|"),
        ("GET /raw/version", "version"),
        ("GET /exact", "a route"),
        ("GET /exact/x", "exact|x"),
    ];
    for (line, said) in rows {
        assert_eq!(ask(&table, line), (200, None, said.to_owned()), "{line}");
    }
    assert_eq!(ask(&table, "POST /raw/version").0, 405, "the route is known");
    for path in ["/users/%ff/things/7", "/users/u/things/%ff", "/users/u", "/rawer"] {
        assert_eq!(ask(&table, &format!("GET {path}")).0, 404, "{path}");
    }
}

#[test]
fn what_nothing_fits_goes_to_the_mount_at_the_top_or_to_the_fallback() {
    let with_mount =
        Routes::new().get("/a/{b}", says("route")).mount("/", says_path).build().expect("a table");
    let with_fallback =
        Routes::new().get("/a/{b}", says("route")).fallback(says_path).build().expect("a table");
    for table in [with_mount, with_fallback] {
        assert_eq!(ask(&table, "GET /a/b").2, "route b=b");
        for (path, said) in [("/x/y", "x/y"), ("/", ""), ("/a/%ff", "a/\\xff"), ("/a", "a")] {
            assert_eq!(ask(&table, &format!("PUT {path}")).2, said, "{path}");
        }
        assert_eq!(ask(&table, "PUT /a/b").0, 405);
    }
}

fn says_path(request: &Request<'_>) -> String {
    request.target.path.as_bytes().escape_ascii().to_string()
}

/// A handler that counts what it is asked to do.
struct Counts(Arc<AtomicUsize>);

impl Handler for Counts {
    type State = usize;

    fn state(&self, worker: usize) -> usize {
        worker * 100
    }

    fn handle(&self, _: &Request<'_>, served: &mut usize) -> Result<Response, Error> {
        *served += 1;
        Ok(Response::text(served.to_string()))
    }

    fn give_way(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn tend(&self) {
        self.0.fetch_add(10, Ordering::SeqCst);
    }

    fn common_fields(&self) -> Bytes {
        "X-A: b\r\n".into()
    }
}

#[test]
fn each_worker_has_a_state_for_the_routes_and_one_for_each_mount() {
    let count = Arc::new(AtomicUsize::new(0));
    let table = Routes::with_state(|worker| format!("w{worker}"))
        .get("/own", |_: &Request<'_>, state: &mut String| {
            state.push('+');
            state.clone()
        })
        .mount("/one", Counts(Arc::clone(&count)))
        .mount("/two", Counts(Arc::clone(&count)))
        .build()
        .expect("a table");
    let [mut first, mut second] = [table.state(1), table.state(2)];
    let mut said = |worker: usize, path: &str| {
        let states = if worker == 1 { &mut first } else { &mut second };
        ask_with(&table, states, &format!("GET {path}"), b"").2
    };
    let rows = [
        (1, "/own", "w1+"),
        (1, "/one", "101"),
        (1, "/one", "102"),
        (1, "/two", "101"),
        (2, "/two", "201"),
        (2, "/own", "w2+"),
        (1, "/own", "w1++"),
    ];
    for (worker, path, expected) in rows {
        assert_eq!(said(worker, path), expected, "{worker} {path}");
    }
    table.give_way();
    table.tend();
    assert_eq!(count.load(Ordering::SeqCst), 22);
    assert_eq!(&table.common_fields()[..], b"X-A: b\r\n");
}

#[test]
fn routes_that_conflict_are_an_error_that_names_both() {
    let e = |_: &Request<'_>| "";
    let rows = [
        (Routes::new().get("/a/{b}", e).post("/a/{c}", 1, e), "/a/{c} beside /a/{b}"),
        (Routes::new().get("/a/{b}", e).get("/a/{*c}", e), "/a/{*c} beside /a/{b}"),
        (Routes::new().get("/a", e).get("/a", e), "GET /a beside GET /a"),
        (Routes::new().mount("/a", e).mount("/a/", e), "/a/ beside /a"),
        (Routes::new().mount("/a", e).get("/a/{b}", e), "/a beside /a/{b}"),
        (Routes::new().mount("/", e).mount("/", e), "/ beside /"),
        (Routes::new().mount("/", e).fallback(e), "a fallback beside /"),
    ];
    for (routes, named) in rows {
        let said = routes.build().expect_err(named).to_string();
        assert!(said.starts_with(&format!("cannot route {named}: ")), "{said}");
    }
    let malformed = ["a", "/a/{", "/{}", "/{a}{b}", "/{*a}/b", "/{a}/{a}", "/a//b"];
    for pattern in malformed {
        let error = Routes::new().get(pattern, e).build().expect_err(pattern);
        assert!(matches!(error, RouteError::Pattern(..)), "{error}");
        assert!(error.to_string().contains(&format!("{pattern:?}")), "{error}");
    }
    let error = Routes::new().mount("/a/{*b}", e).build().expect_err("a catch-all");
    assert!(matches!(error, RouteError::Pattern(..)), "{error}");
    let error = Routes::new().on("GE T", "/", 0, e).build().expect_err("no token");
    assert_eq!(error, RouteError::Method("GE T".to_owned()));
}
