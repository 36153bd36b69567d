//! HTTP semantics of files: conditional requests, ranges, codings, methods and site options.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, exchange, get};
use cws::{Config, Server, SiteOptions, StaticFiles};
use std::fs::File;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn start_with(files: &crate::support::Site, site: SiteOptions) -> Server {
    let handler = StaticFiles::new(files.path()).unwrap().with_options(site);
    Server::start(Config::default().workers(2), handler).unwrap()
}

fn start(files: &crate::support::Site) -> Server {
    start_with(files, SiteOptions::default())
}

fn ask(address: SocketAddr, method: &str, target: &str, fields: &str) -> Reply {
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    let bytes = exchange(address, request.as_bytes());
    // Neither a 304 nor a response to HEAD has content, whatever its Content-Length.
    let head_only = method == "HEAD" || bytes.starts_with(b"HTTP/1.1 304");
    let mut replies = Reply::all(&bytes, head_only);
    assert_eq!(replies.len(), 1);
    replies.remove(0)
}

/// A site with `digits` (100 bytes) and `large` (1,000,000 bytes), both last changed in 1994.
fn digits() -> crate::support::Site {
    let files = crate::support::Site::new();
    for (name, length) in [("digits", 100), ("large", 1_000_000)] {
        let content: Vec<u8> = (0..length).map(|at| b'0' + (at % 10) as u8).collect();
        let path = files.put(name, content);
        set_modified(&path, 784_111_777_123);
    }
    files
}

fn set_modified(path: &std::path::Path, millis: u64) {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn conditional_requests_follow_rfc_9110() {
    let files = digits();
    let server = start(&files);
    let address = server.addresses()[0];
    let etag = ask(address, "GET", "/digits", "").field("ETag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "a strong tag: {etag}");
    let rows = [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: W/{etag}\r\n"), 304),
        (format!("If-None-Match: \"x\", {etag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-None-Match: \"x\"\r\n".into(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {MODIFIED}\r\n"), 200),
        (format!("If-Modified-Since: {MODIFIED}\r\n"), 304),
        ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n".into(), 304),
        ("If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n".into(), 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n".into(), 200),
        ("If-Modified-Since: soon\r\n".into(), 200),
        (format!("If-Match: {etag}\r\n"), 200),
        (format!("If-Match: W/{etag}\r\n"), 412),
        ("If-Match: \"x\"\r\n".into(), 412),
        (format!("If-Unmodified-Since: {MODIFIED}\r\n"), 200),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n".into(), 412),
    ];
    for (fields, status) in rows {
        for method in ["GET", "HEAD"] {
            let reply = ask(address, method, "/digits", &fields);
            assert_eq!(reply.status, status, "{method} {fields:?}");
            assert_eq!(reply.field("ETag"), Some(etag.as_str()), "{method} {fields:?}");
        }
    }
    let unchanged = ask(address, "GET", "/digits", &format!("If-None-Match: {etag}\r\n"));
    assert!(unchanged.body.is_empty());
    assert!(unchanged.field("Date").is_some() && unchanged.field("Vary").is_some());
    assert_eq!(unchanged.field("Content-Type"), None);
    let path = files.put("digits", "changed");
    set_modified(&path, 784_111_777_124);
    let reply = crate::support::wait_for("the change to show", || {
        let reply = ask(address, "GET", "/digits", &format!("If-None-Match: {etag}\r\n"));
        (reply.status == 200).then_some(reply)
    });
    assert_eq!(reply.body, b"changed");
}

#[test]
fn single_ranges_get_the_status_and_bytes_they_ask_for() {
    let files = digits();
    let server = start(&files);
    let address = server.addresses()[0];
    let rows = [
        ("digits", "bytes=0-0", 206, "bytes 0-0/100", 1),
        ("digits", "bytes=10-19", 206, "bytes 10-19/100", 10),
        ("digits", "bytes=95-", 206, "bytes 95-99/100", 5),
        ("digits", "bytes=-5", 206, "bytes 95-99/100", 5),
        ("digits", "bytes=0-99999999999", 206, "bytes 0-99/100", 100),
        ("digits", "bytes=100-", 416, "bytes */100", 0),
        ("digits", "bytes=-0", 416, "bytes */100", 0),
        ("large", "bytes=999990-", 206, "bytes 999990-999999/1000000", 10),
        ("large", "bytes=300000-599999", 206, "bytes 300000-599999/1000000", 300_000),
        ("large", "bytes=1000000-", 416, "bytes */1000000", 0),
    ];
    for (name, range, status, content_range, length) in rows {
        let reply = ask(address, "GET", &format!("/{name}"), &format!("Range: {range}\r\n"));
        assert_eq!(reply.status, status, "{name} {range}");
        assert_eq!(reply.field("Content-Range"), Some(content_range), "{name} {range}");
        assert_eq!(reply.field("Accept-Ranges"), Some("bytes"));
        if status == 206 {
            let first: usize = content_range[6..].split('-').next().unwrap().parse().unwrap();
            let expected: Vec<u8> =
                (first..first + length).map(|at| b'0' + (at % 10) as u8).collect();
            assert!(reply.body == expected, "{name} {range}");
        }
    }
    for range in ["bytes=0-,-1", "lines=0-5", "bytes=5-1", "bytes=x", "bytes=0-5,3-9"] {
        let reply = ask(address, "GET", "/digits", &format!("Range: {range}\r\n"));
        assert_eq!((reply.status, reply.body.len()), (200, 100), "{range}");
    }
    let head = ask(address, "HEAD", "/digits", "Range: bytes=0-5\r\n");
    assert_eq!(
        (head.status, head.field("Content-Length")),
        (200, Some("100")),
        "only GET has ranges"
    );
}

#[test]
fn if_range_yields_a_part_only_of_the_same_state() {
    let files = digits();
    let server = start(&files);
    let address = server.addresses()[0];
    let etag = ask(address, "GET", "/digits", "").field("ETag").unwrap().to_owned();
    for (condition, status) in [
        (etag.clone(), 206),
        (format!("W/{etag}"), 200),
        ("\"other\"".to_owned(), 200),
        (MODIFIED.to_owned(), 206),
        ("Sun, 06 Nov 1994 08:49:38 GMT".to_owned(), 200),
    ] {
        let fields = format!("Range: bytes=0-4\r\nIf-Range: {condition}\r\n");
        let reply = ask(address, "GET", "/digits", &fields);
        assert_eq!(reply.status, status, "{condition}");
        assert_eq!(reply.body.len(), if status == 206 { 5 } else { 100 }, "{condition}");
    }
}

#[test]
fn several_ranges_come_as_multipart() {
    let files = digits();
    let server = start(&files);
    for (name, whole) in [("digits", 100), ("large", 1_000_000)] {
        let target = format!("/{name}");
        let fields = "Range: bytes=1-3, 20-29 ,-2\r\n";
        let reply = ask(server.addresses()[0], "GET", &target, fields);
        assert_eq!((reply.status, reply.field("Content-Range")), (206, None));
        let media_type = reply.field("Content-Type").unwrap();
        let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let text = String::from_utf8(reply.body.clone()).unwrap();
        let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
        let parts: Vec<&str> = text.split(&format!("\r\n--{boundary}\r\n")).skip(1).collect();
        let kind = "Content-Type: text/plain; charset=utf-8\r\n";
        let part = |first: usize, last: usize, content: &str| {
            format!("{kind}Content-Range: bytes {first}-{last}/{whole}\r\n\r\n{content}")
        };
        let expected =
            [part(1, 3, "123"), part(20, 29, "0123456789"), part(whole - 2, whole - 1, "89")];
        assert_eq!(parts, expected, "{name}");
    }
}

#[test]
fn precompressed_forms_are_served_by_accept_encoding() {
    let files = crate::support::Site::new();
    files.put("a.js", "plain");
    files.put("a.js.gz", "gzipped");
    files.put("a.js.br", "brotli");
    files.put("b.css", "plain");
    set_modified(&files.put("b.css.gz", "old"), 1000);
    let server = start(&files);
    let address = server.addresses()[0];
    let rows = [
        ("/a.js", "", "plain", None),
        ("/a.js", "Accept-Encoding: gzip\r\n", "gzipped", Some("gzip")),
        ("/a.js", "Accept-Encoding: gzip, br, zstd\r\n", "brotli", Some("br")),
        ("/a.js", "Accept-Encoding: br;q=0.1, gzip\r\n", "gzipped", Some("gzip")),
        ("/a.js", "Accept-Encoding: zstd\r\n", "plain", None),
        ("/a.js", "Accept-Encoding: gzip;q=0\r\n", "plain", None),
        ("/b.css", "Accept-Encoding: gzip\r\n", "plain", None),
    ];
    let mut tags = Vec::new();
    for (path, fields, body, coding) in rows {
        let reply = ask(address, "GET", path, fields);
        assert_eq!(reply.body, body.as_bytes(), "{path} {fields:?}");
        assert_eq!(reply.field("Content-Encoding"), coding, "{path} {fields:?}");
        assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
        let script = reply.field("Content-Type").unwrap().starts_with("text/");
        assert!(script, "the media type is that of the decoded content");
        tags.push(reply.field("ETag").unwrap().to_owned());
    }
    assert_ne!(tags[0], tags[1], "each coding has its own tag");
    let part = ask(address, "GET", "/a.js", "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &b"gz"[..]), "a part of the chosen form");
    assert_eq!(part.field("Content-Encoding"), Some("gzip"));
    let none = ask(address, "GET", "/b.css", "Accept-Encoding: identity;q=0\r\n");
    assert_eq!(none.status, 406);
    let server = start_with(&files, site(|site| site.precompressed = false));
    let reply = ask(server.addresses()[0], "GET", "/a.js", "Accept-Encoding: gzip\r\n");
    assert_eq!((&reply.body[..], reply.field("Vary")), (&b"plain"[..], None));
}

fn site(change: impl FnOnce(&mut SiteOptions)) -> SiteOptions {
    let mut site = SiteOptions::default();
    change(&mut site);
    site
}

#[test]
fn options_and_cors_fields_are_sent() {
    let files = digits();
    let server = start(&files);
    for target in ["*", "/digits", "/nosuch"] {
        let reply = ask(server.addresses()[0], "OPTIONS", target, "");
        assert_eq!((reply.status, reply.field("Allow")), (204, Some("GET, HEAD, OPTIONS")));
        assert_eq!(reply.field("Access-Control-Allow-Methods"), None);
    }
    let server = start_with(&files, site(|site| site.cors = true));
    let address = server.addresses()[0];
    for path in ["/digits", "/nosuch"] {
        let reply = ask(address, "GET", path, "Origin: http://b\r\n");
        assert_eq!(reply.field("Access-Control-Allow-Origin"), Some("*"), "{path}");
    }
    let preflight = ask(address, "OPTIONS", "/digits", "Access-Control-Request-Method: GET\r\n");
    assert_eq!(preflight.field("Access-Control-Allow-Origin"), Some("*"));
    assert!(preflight.field("Access-Control-Allow-Methods").unwrap().contains("GET"));
    let part = ask(address, "GET", "/digits", "Range: bytes=0-4\r\n");
    assert!(part.field("Access-Control-Expose-Headers").unwrap().contains("Content-Range"));
}

#[test]
fn configured_fields_are_on_every_response() {
    let files = digits();
    let mut site = SiteOptions::default();
    site.add_field("X-Frame-Options", "DENY").unwrap();
    site.cache_control = Some("max-age=60".to_owned());
    let server = start_with(&files, site);
    let rows = [("/digits", 200, Some("max-age=60")), ("/nosuch", 404, None), ("/", 200, None)];
    for (path, status, cache_control) in rows {
        let reply = ask(server.addresses()[0], "GET", path, "");
        assert_eq!(reply.status, status);
        assert_eq!(reply.field("X-Frame-Options"), Some("DENY"));
        assert_eq!(reply.field("Cache-Control"), cache_control, "{path}");
        assert_eq!(reply.field("X-Content-Type-Options"), Some("nosniff"));
    }
}

#[test]
fn configured_media_types_are_used() {
    let files = crate::support::Site::new();
    files.put("a.custom", "x");
    let mut site = SiteOptions::default();
    site.media_types.set("custom", "application/x-custom");
    let server = start_with(&files, site);
    let reply = get(server.addresses()[0], "/a.custom");
    assert_eq!(reply.field("Content-Type"), Some("application/x-custom"));
}

#[test]
fn error_pages_and_the_spa_fallback_are_served() {
    let files = crate::support::Site::new();
    files.put("404.html", "<p>lost</p>");
    files.put("index.html", "<p>app</p>");
    let pages = [(404, "404.html".to_owned()), (405, "nosuch.html".to_owned())].into();
    let server = start_with(&files, site(|site| site.error_pages = pages));
    let address = server.addresses()[0];
    let lost = get(address, "/nosuch");
    assert_eq!((lost.status, &lost.body[..]), (404, &b"<p>lost</p>"[..]));
    assert_eq!(lost.field("Content-Type"), Some("text/html; charset=utf-8"));
    let wrong = ask(address, "POST", "/index.html", "");
    assert_eq!((wrong.status, wrong.field("Allow")), (405, Some("GET, HEAD, OPTIONS")));

    let server = start_with(&files, site(|site| site.spa = true));
    let address = server.addresses()[0];
    for (path, status, body) in
        [("/users/7", 200, "<p>app</p>"), ("/a/", 200, "<p>app</p>"), ("/", 200, "<p>app</p>")]
    {
        let reply = get(address, path);
        assert_eq!((reply.status, reply.body), (status, body.into()), "{path}");
    }
    assert_eq!(get(address, "/app.js").status, 404, "a path with an extension has no fallback");
    assert_eq!(get(address, "/.hidden").status, 404);
    assert_eq!(get(address, "/.git/config").status, 404);
    std::fs::remove_file(files.path().join("index.html")).unwrap();
    crate::support::wait_for("404 without an index, and no listing instead", || {
        (get(address, "/users/7").status == 404).then_some(())
    });
}

#[test]
fn the_first_index_name_that_exists_is_served() {
    let files = crate::support::Site::new();
    files.put("a/index.htm", "htm");
    files.put("b/index.htm", "htm");
    files.put("b/index.html", "html");
    files.put("c/default.txt", "own");
    let server = start(&files);
    assert_eq!(get(server.addresses()[0], "/a/").body, b"htm");
    assert_eq!(get(server.addresses()[0], "/b/").body, b"html");
    let server = start_with(&files, site(|site| site.index = vec!["default.txt".into()]));
    assert_eq!(get(server.addresses()[0], "/c/").body, b"own");
}

#[test]
fn an_index_that_leads_out_of_the_root_is_skipped() {
    let files = crate::support::Site::new();
    files.put("good/index.htm", "htm");
    files.put("bad/file", "x");
    for folder in ["good", "bad"] {
        let link = files.path().join(folder).join("index.html");
        std::os::unix::fs::symlink("/etc/passwd", link).unwrap();
    }
    let server = start(&files);
    let reply = get(server.addresses()[0], "/good/");
    assert_eq!((reply.status, &reply.body[..]), (200, &b"htm"[..]));
    assert_eq!(
        get(server.addresses()[0], "/bad/").status,
        403,
        "forbidden, and no listing instead"
    );
}

const GUARDS: [&str; 3] = ["Content-Security-Policy", "X-Frame-Options", "Referrer-Policy"];

#[test]
fn listings_have_security_fields() {
    let files = crate::support::Site::new();
    files.put("dir/file", "x");
    let server = start(&files);
    let address = server.addresses()[0];
    for target in ["/dir/", "/dir/?format=json", "/"] {
        for method in ["GET", "HEAD"] {
            let reply = ask(address, method, target, "");
            let policy = reply.field(GUARDS[0]).unwrap();
            for directive in ["default-src", "base-uri", "form-action", "frame-ancestors"] {
                assert!(policy.contains(&format!("{directive} 'none'")), "{target}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(reply.field(GUARDS[1]), Some("DENY"));
            assert_eq!(reply.field(GUARDS[2]), Some("no-referrer"));
        }
    }
    for path in ["/dir/file", "/nosuch", "/dir"] {
        let reply = get(address, path);
        assert!(GUARDS.iter().all(|name| reply.field(name).is_none()), "{path} is not a listing");
    }
    // A field that the site configures appears once.
    let mut site = SiteOptions::default();
    for name in GUARDS {
        site.add_field(&name.to_lowercase(), "own").unwrap();
    }
    let server = start_with(&files, site);
    let reply = get(server.addresses()[0], "/dir/");
    assert!(GUARDS.iter().all(|name| reply.field(name) == Some("own")), "{reply:?}");
}

#[test]
fn listings_are_sorted_and_escaped_and_available_as_json() {
    let files = crate::support::Site::new();
    files.put("dir/b.txt", "12345");
    files.put("dir/a <&\"'>.txt", "1");
    files.put("dir/sub/x", "");
    files.put("dir/.hidden", "");
    let server = start(&files);
    let address = server.addresses()[0];
    let page = get(address, "/dir/");
    assert_eq!(page.status, 200);
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    let html = String::from_utf8(page.body).unwrap();
    assert!(html.contains("a &lt;&amp;&quot;&#39;&gt;.txt") && !html.contains("a <&"), "{html}");
    assert!(!html.contains(".hidden</bdi>") && !html.contains("href=\"./.hidden"), "{html}");
    assert_eq!(html.matches("<script").count(), 1, "the page's own: {html}");
    let order = |html: &str| {
        let at = |name: &str| html.find(name).unwrap();
        let mut names = [("sub", at(">sub<")), ("a", at(">a &lt;")), ("b", at(">b.txt<"))];
        names.sort_by_key(|&(_, at)| at);
        names.map(|(name, _)| name)
    };
    assert_eq!(order(&html), ["sub", "a", "b"]);
    for (query, expected) in [
        ("sort=name&order=desc", ["sub", "b", "a"]),
        ("sort=size&order=asc", ["sub", "a", "b"]),
        ("sort=size&order=desc", ["sub", "b", "a"]),
    ] {
        let page = get(address, &format!("/dir/?{query}"));
        assert_eq!(order(&String::from_utf8(page.body).unwrap()), expected, "{query}");
    }
    for (target, fields) in [("/dir/?format=json", ""), ("/dir/", "Accept: application/json\r\n")] {
        let reply = ask(address, "GET", target, fields);
        assert_eq!(reply.field("Content-Type"), Some("application/json"));
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(json["path"], "/dir");
        assert_eq!(json["entries"].as_array().unwrap().len(), 3);
        assert_eq!(json["entries"][0]["type"], "directory");
        let href = json["entries"][1]["href"].as_str().unwrap();
        let linked = get(address, &format!("/dir/{}", href.trim_start_matches("./")));
        assert_eq!(linked.body, b"1", "its link leads to the file");
    }
    let server = start_with(&files, site(|site| site.listing = false));
    assert_eq!(get(server.addresses()[0], "/dir/").status, 403);
}

#[test]
fn thousands_of_entries_are_listed() {
    let files = crate::support::Site::new();
    for number in 0..3000 {
        files.put(&format!("many/{number:05}"), "");
    }
    let server = start(&files);
    let page = get(server.addresses()[0], "/many/");
    let html = String::from_utf8(page.body).unwrap();
    assert_eq!(html.matches("<tr").count() - 1, 3001, "and the link to the parent");
}

#[test]
fn an_http_0_9_request_gets_only_the_content() {
    let files = digits();
    let server = start(&files);
    let content = std::fs::read(files.path().join("digits")).unwrap();
    for request in ["GET /digits\r\n", "GET /digits\n", "GET digits\r\nHost: a\r\n\r\n"] {
        assert_eq!(exchange(server.addresses()[0], request.as_bytes()), content, "{request:?}");
    }
    let missing = exchange(server.addresses()[0], b"GET /nosuch\r\n");
    assert!(missing.starts_with(b"<!DOCTYPE html>"));
    for request in ["HEAD /digits\r\n", "GET /di gits\r\n"] {
        let reply = exchange(server.addresses()[0], request.as_bytes());
        assert!(reply.starts_with(b"HTTP/1.1 400"), "{request:?}");
    }
}

#[test]
fn links_out_of_the_root_are_followed_only_if_configured() {
    let files = crate::support::Site::new();
    files.put("outside", "outside");
    files.put("root/inside", "inside");
    let root = files.path().join("root");
    for (link, target) in [("out", files.path().join("outside")), ("in", root.join("inside"))] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    std::os::unix::fs::symlink("../root/inside", root.join("round")).unwrap();
    std::os::unix::fs::symlink(&root, root.join("self")).unwrap();
    for (follows, out) in [(false, 403), (true, 200)] {
        let handler = StaticFiles::new(&root).unwrap();
        let handler = if follows { handler.following_links() } else { handler };
        let config = Config::default().workers(1);
        let server = Server::start(config, handler).unwrap();
        let address = server.addresses()[0];
        assert_eq!(get(address, "/out").status, out, "follows: {follows}");
        for path in ["/in", "/round", "/self/inside"] {
            assert_eq!(get(address, path).body, b"inside", "{path}, follows: {follows}");
        }
        let listing = String::from_utf8(get(address, "/").body).unwrap();
        assert_eq!(listing.contains(">out<"), follows);
    }
}

#[test]
fn only_users_with_the_right_password_get_in() {
    let files = crate::support::Site::new();
    let hash = bcrypt::hash("open sesame", 4).unwrap();
    let auth = format!("ali:{hash}");
    let server = crate::support::RealServer::start(&files, &["--auth", &auth, "--workers", "1"]);
    // "ali:open sesame", "ali:open", "eve:open sesame"
    let rows = [
        ("", 401),
        ("Authorization: Basic YWxpOm9wZW4gc2VzYW1l\r\n", 200),
        ("Authorization: Basic YWxpOm9wZW4gc2VzYW1l\r\n", 200),
        ("Authorization: Basic YWxpOm9wZW4=\r\n", 401),
        ("Authorization: Basic ZXZlOm9wZW4gc2VzYW1l\r\n", 401),
        ("Authorization: Basic !!!\r\n", 401),
        ("Authorization: Bearer YWxpOm9wZW4gc2VzYW1l\r\n", 401),
    ];
    for (fields, status) in rows {
        let reply = ask(server.address(), "GET", "/testfile", fields);
        assert_eq!(reply.status, status, "{fields:?}");
        assert_eq!(reply.field("WWW-Authenticate").is_some(), status == 401, "{fields:?}");
    }
    let missing = ask(server.address(), "GET", "/nosuch", "");
    assert_eq!(missing.status, 401, "the response does not reveal which files exist");
    let preflight = ask(server.address(), "OPTIONS", "/testfile", "");
    assert_eq!(preflight.status, 204, "browsers send no password with it");
}

/// The browser requests the many files of a page at once, with a password that is not checked yet.
#[test]
fn parallel_requests_with_one_unchecked_password_are_all_served() {
    let files = crate::support::Site::new();
    let auth = format!("ali:{}", bcrypt::hash("open sesame", 8).unwrap());
    let server = crate::support::RealServer::start(&files, &["--auth", &auth, "--workers", "8"]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let fields = "Authorization: Basic YWxpOm9wZW4gc2VzYW1l\r\n";
                assert_eq!(ask(server.address(), "GET", "/testfile", fields).status, 200);
            });
        }
    });
}

#[test]
fn listings_show_what_links_lead_to() {
    let files = crate::support::Site::new();
    files.put("dir/file", "x");
    let root = files.path();
    std::os::unix::fs::symlink(root.join("dir"), root.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../testfile", root.join("dir/up")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("dir/out")).unwrap();
    std::os::unix::fs::symlink(root.join("nosuch"), root.join("dir/dangling")).unwrap();
    let far = files.put("dir/far", "x");
    set_modified(&far, 260_000_000_000_000);
    let server = start(&files);
    for path in ["/dir/", "/absolute/"] {
        let reply = get(server.addresses()[0], &format!("{path}?format=json"));
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        let names: Vec<_> = json["entries"].as_array().unwrap().iter().collect();
        let names: Vec<_> = names.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["far", "file", "up"], "{path}");
        assert_eq!(json["truncated"], false);
    }
    assert_eq!(get(server.addresses()[0], "/dir/dangling").status, 404);
    let top = get(server.addresses()[0], "/?format=json");
    assert!(String::from_utf8(top.body).unwrap().contains("absolute"));
}

#[test]
fn the_format_of_a_listing_is_negotiated() {
    let files = crate::support::Site::new();
    files.put("dir/file", "x");
    let server = start(&files);
    for (accept, is_json) in [
        ("application/json", true),
        ("APPLICATION/JSON", true),
        ("text/plain, application/json", true),
        ("text/html;q=0.5, application/json", true),
        ("application/json;q=0, text/html", false),
        ("application/jsonp", false),
        ("text/html, application/json", false),
        ("*/*", false),
    ] {
        let reply = ask(server.addresses()[0], "GET", "/dir/", &format!("Accept: {accept}\r\n"));
        let found = reply.field("Content-Type") == Some("application/json");
        assert_eq!(found, is_json, "{accept}");
    }
}

#[test]
fn a_precompressed_form_has_the_media_type_of_its_content() {
    let files = crate::support::Site::new();
    files.put("README", "text\n");
    files.put("README.gz", [0x1f, 0x8b, 8, 0, 0]);
    let server = start(&files);
    let reply = ask(server.addresses()[0], "GET", "/README", "Accept-Encoding: gzip\r\n");
    assert_eq!(reply.field("Content-Encoding"), Some("gzip"));
    assert_eq!(reply.field("Content-Type"), Some("text/plain; charset=utf-8"));
}
