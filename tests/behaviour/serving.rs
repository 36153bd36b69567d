//! Responses to clients: content, fields, persistence, pipelining, redirects.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "dates are compared with the clock")]

use crate::support::{PATIENCE, Reply, Site, TESTFILE, connect, exchange, get};
use cws::internals::config;
use cws::{Config, Server, StaticFiles};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

fn start(site: &Site) -> Server {
    let config = Config::default().workers(2);
    Server::start(config, StaticFiles::new(site.path()).unwrap()).unwrap()
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_response_carries_its_fields() {
    let site = Site::new();
    let path = site.put("page.html", "<p>hi</p>");
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    let server = start(&site);
    let before = SystemTime::now() - Duration::from_secs(1);
    let reply = get(server.addresses()[0], "/page.html");
    assert_eq!((reply.status, reply.version.as_str()), (200, "HTTP/1.1"));
    assert_eq!(reply.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.field("Content-Length"), Some("9"));
    assert_eq!(reply.field("Last-Modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(reply.field("Connection"), Some("close"));
    let date = httpdate::parse_http_date(reply.field("Date").unwrap()).unwrap();
    assert!(date >= before && date <= SystemTime::now());
    assert_eq!(reply.body, b"<p>hi</p>");
}

#[test]
fn a_file_from_the_future_has_no_validators() {
    let site = Site::new();
    let path = site.put("a.txt", "a");
    let future = SystemTime::now() + Duration::from_secs(86_400);
    File::options().write(true).open(path).unwrap().set_modified(future).unwrap();
    let server = start(&site);
    let reply = get(server.addresses()[0], "/a.txt");
    assert_eq!((reply.status, reply.field("Last-Modified")), (200, None));
    assert_eq!(reply.field("ETag"), None, "it may be being written");
}

/// A field cannot contain a time before 1970, but the file is served.
#[test]
fn a_file_from_before_the_epoch_is_served() {
    let site = Site::new();
    let path = site.put("old.txt", "old");
    let past = SystemTime::UNIX_EPOCH - Duration::from_secs(86_400);
    File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    let server = start(&site);
    assert_eq!(get(server.addresses()[0], "/old.txt").body, b"old");
    assert_eq!(get(server.addresses()[0], "/").status, 200, "and listed");
}

#[test]
fn media_types_follow_extension_or_content() {
    let site = Site::new();
    site.put("a.png", "x");
    site.put("a.json", "{}");
    site.put("README", "text\n");
    site.put("program", [0x7f, b'E', b'L', b'F', 2, 1, 0]);
    site.put("large", "text\n".repeat(100_000));
    let server = start(&site);
    for (path, expected) in [
        ("/a.png", "image/png"),
        ("/a.json", "application/json; charset=utf-8"),
        ("/README", "text/plain; charset=utf-8"),
        ("/program", "application/octet-stream"),
        ("/large", "text/plain; charset=utf-8"),
    ] {
        let reply = get(server.addresses()[0], path);
        assert_eq!(reply.field("Content-Type"), Some(expected), "{path}");
    }
}

#[test]
fn head_gives_the_fields_of_get_without_content() {
    let site = Site::new();
    site.put("large.bin", content(300_000));
    let server = start(&site);
    for path in ["/testfile", "/large.bin", "/nosuch", "/"] {
        let ask = |method: &str| {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let reply = exchange(server.addresses()[0], request.as_bytes());
            Reply::all(&reply, method == "HEAD").remove(0)
        };
        let (mut got, mut head) = (ask("GET"), ask("HEAD"));
        got.body.clear();
        // The length of a listing may be missing if it is not known yet.
        let is_told = path != "/" || head.field("Content-Length").is_some();
        for reply in [&mut got, &mut head] {
            let is_same = |name: &str| name != "Date" && (is_told || name != "Content-Length");
            reply.fields.retain(|(name, _)| is_same(name));
        }
        assert_eq!(got, head, "{path}");
    }
}

#[test]
fn files_of_all_sizes_arrive_whole() {
    let site = Site::new();
    let sizes = [0, 1, 1023, 16 * 1024, 16 * 1024 + 1, 256 * 1024, 256 * 1024 + 1, 5_000_000];
    for size in sizes {
        site.put(&format!("{size}.bin"), content(size));
    }
    let server = start(&site);
    let mut stream = connect(server.addresses()[0]);
    for size in sizes {
        write!(stream, "GET /{size}.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut body = vec![0; size];
        stream.read_exact(&mut body).unwrap();
        assert!(body == content(size), "{size} bytes");
    }
}

#[test]
fn the_response_has_the_version_of_the_request() {
    let site = Site::new();
    let server = start(&site);
    for (request, version, connection) in [
        ("GET testfile HTTP/1.0\r\n\r\n", "HTTP/1.0", Some("close")),
        ("GET testfile HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.0", Some("keep-alive")),
        ("GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1", None),
        ("GET /% HTTP/1.0\r\n\r\n", "HTTP/1.0", Some("close")),
        ("GET /% HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1", Some("close")),
    ] {
        let reply = exchange(server.addresses()[0], request.as_bytes());
        let replies = Reply::all(&reply, false);
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].version, version, "{request:?}");
        assert_eq!(replies[0].field("Connection"), connection, "{request:?}");
    }
}

#[test]
fn a_connection_serves_many_requests() {
    let site = Site::new();
    let server = start(&site);
    let mut stream = connect(server.addresses()[0]);
    for _ in 0..200 {
        stream.write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(Reply::read(&mut stream).body, TESTFILE);
    }
    assert_eq!(server.open_connections(), 1);
    stream.write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(Reply::all(&rest, false).len(), 1, "then the connection is closed");
}

/// A client that sends in pieces must get an acknowledgement of each: it waits for it before it
/// sends the next one (Nagle's algorithm), and the system would delay it by 40 ms.
#[test]
fn a_request_in_pieces_is_not_delayed() {
    let site = Site::new();
    let server = start(&site);
    let mut stream = connect(server.addresses()[0]);
    stream.set_nodelay(false).unwrap();
    let begun = Instant::now();
    for _ in 0..600 {
        for piece in
            ["GET /testfile HTTP/1.1\r\n", "Host: a\r\nContent-Length: 4\r\n\r\n", "bo", "dy"]
        {
            stream.write_all(piece.as_bytes()).unwrap();
        }
        assert_eq!(Reply::read(&mut stream).body, TESTFILE);
    }
    assert!(begun.elapsed() < PATIENCE, "it takes about a second, or else a minute");
}

/// Sends `count` requests at once, while reading; checks that the answers come in order.
fn pipeline(address: SocketAddr, count: usize) {
    let mut stream = connect(address);
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for at in 0..count {
            write!(writer, "GET /{}.txt HTTP/1.1\r\nHost: a\r\n\r\n", at % 3).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    sender.join().unwrap();
    let replies = Reply::all(&bytes, false);
    assert_eq!(replies.len(), count);
    for (at, reply) in replies.iter().enumerate() {
        assert_eq!(reply.body, (at % 3).to_string().into_bytes(), "number {at}");
    }
}

/// A connection that was served before is parked without a check for new bytes. Bytes that were not
/// read before are found anyway, before the connection counts as idle.
#[test]
fn a_pipeline_on_a_known_connection_does_not_stall() {
    let site = Site::new();
    let config = Config::default().idle_timeout(Duration::from_millis(200));
    let server = Server::start(config, StaticFiles::new(site.path()).unwrap()).unwrap();
    let request = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = connect(server.addresses()[0]);
    for _ in 0..2 {
        stream.write_all(request).unwrap();
        assert_eq!(Reply::read(&mut stream).body, TESTFILE);
    }
    // Two reads of data; the first one contains only complete requests.
    let start = "GET /testfile HTTP/1.1\r\nHost: a\r\nX-Padding: ";
    let padding = "x".repeat(config::READ_BYTES / 4 - start.len() - 4);
    let large = format!("{start}{padding}\r\n\r\n");
    stream.write_all(large.repeat(8).as_bytes()).unwrap();
    for number in 0..8 {
        assert_eq!(Reply::read(&mut stream).body, TESTFILE, "number {number}");
    }
}

/// A client that closes its side together with a later request gets the close in return.
#[test]
fn a_close_that_comes_with_a_request_is_noticed() {
    let site = Site::new();
    let server = start(&site);
    let request = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";
    for before in 0..3 {
        let mut stream = connect(server.addresses()[0]);
        for _ in 0..before {
            stream.write_all(request).unwrap();
            assert_eq!(Reply::read(&mut stream).body, TESTFILE);
        }
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(Reply::read(&mut stream).body, TESTFILE);
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0, "long before the idle timeout");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = Site::new();
    for number in 0..3 {
        site.put(&format!("{number}.txt"), number.to_string());
    }
    let server = start(&site);
    let address = server.addresses()[0];
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| pipeline(address, 2000));
        }
    });
}

#[test]
fn a_half_closed_client_gets_its_whole_response() {
    let site = Site::new();
    site.put("large.bin", content(3_000_000));
    let server = start(&site);
    let request = b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    let replies = Reply::all(&exchange(server.addresses()[0], request), false);
    assert_eq!(replies.len(), 1);
    assert!(replies[0].body == content(3_000_000));
}

#[test]
fn directories_have_an_index_a_listing_or_a_redirect() {
    let site = Site::new();
    site.put("index.html", "top");
    site.put("a b/index.html", "below");
    site.put("plain/file", "x");
    let server = start(&site);
    let address = server.addresses()[0];
    assert_eq!(get(address, "/").body, b"top");
    assert_eq!(get(address, "/a%20b/").body, b"below");
    assert_eq!(get(address, "/plain/").status, 200, "a listing");
    for (path, location) in [
        ("/plain", "./plain/"),
        ("/a%20b?x=1&y=%22", "./a%20b/?x=1&y=%22"),
        ("//plain", "./plain/"),
        ("/./a%20b/../plain", "./plain/"),
        ("http://example.org/plain", "./plain/"),
    ] {
        let reply = get(address, path);
        assert_eq!(reply.status, 301, "{path}");
        assert_eq!(reply.field("Location"), Some(location), "{path}");
    }
}

#[test]
fn names_of_any_bytes_are_served() {
    use std::os::unix::ffi::OsStrExt;
    let site = Site::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe .txt");
    std::fs::write(site.path().join(name), "bytes").unwrap();
    site.put(&"n".repeat(255), "long");
    site.put("a;b+c", "literal");
    let server = start(&site);
    let address = server.addresses()[0];
    assert_eq!(get(address, "/%FF%fe%20.txt").body, b"bytes");
    assert_eq!(get(address, &format!("/{}", "n".repeat(255))).body, b"long");
    assert_eq!(get(address, &format!("/{}", "n".repeat(256))).status, 404);
    assert_eq!(get(address, "/a;b+c").body, b"literal");
}

#[test]
fn a_wrong_method_gets_405_with_allow() {
    let site = Site::new();
    let server = start(&site);
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let request =
            format!("{method} /testfile HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let reply = exchange(server.addresses()[0], request.as_bytes());
        let reply = Reply::all(&reply, false).remove(0);
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.field("Allow"), Some("GET, HEAD, OPTIONS"), "{method}");
    }
}

/// A response that cannot be completed ends early, without padding.
#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let site = Site::new();
    let path = site.put("large.bin", content(64 << 20));
    let server = start(&site);
    let mut stream = connect(server.addresses()[0]);
    stream.write_all(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut received = vec![0; 1000];
    stream.read_exact(&mut received).unwrap();
    File::options().write(true).open(path).unwrap().set_len(1000).unwrap();
    // The end may be a reset; what matters is that the response is short.
    let _ = stream.read_to_end(&mut received);
    assert!(received.len() < 64 << 20);
    assert_eq!(get(server.addresses()[0], "/testfile").body, TESTFILE);
}

#[test]
fn large_bodies_are_discarded_up_to_the_limit_and_refused_above() {
    let site = Site::new();
    let server = start(&site);
    let address = server.addresses()[0];
    let body = content(cws::internals::config::BODY_BYTES as usize);
    let mut stream = connect(address);
    for _ in 0..3 {
        write!(stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())
            .unwrap();
        stream.write_all(&body).unwrap();
        assert_eq!(Reply::read(&mut stream).status, 405);
    }
    // One byte more is refused, and the client can read the refusal while it sends the body.
    let mut stream = connect(address);
    write!(stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len() + 1)
        .unwrap();
    stream.write_all(&body[..body.len() / 2]).unwrap();
    let mut bytes = Vec::new();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut bytes).expect("a clean end, no reset");
    assert_eq!(Reply::all(&bytes, false)[0].status, 413);
}

/// The system generates some files when they are read; their reported sizes are wrong.
#[test]
#[cfg(target_os = "linux")]
fn files_with_a_wrong_size_are_served_whole_or_refused() {
    let ask = |root: &str, name: &str, fields: &str| {
        let files = StaticFiles::new(std::path::Path::new(root)).unwrap();
        let server = Server::start(Config::default(), files).unwrap();
        let request =
            format!("GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
        let replies = [(); 2].map(|()| {
            let bytes = exchange(server.addresses()[0], request.as_bytes());
            Reply::all(&bytes, false).remove(0)
        });
        let [_, reply] = replies;
        assert_eq!((reply.field("ETag"), reply.field("Last-Modified")), (None, None), "{name}");
        reply
    };
    for (root, name) in
        [("/proc", "version"), ("/proc/sys/kernel", "ostype"), ("/sys/class/net/lo", "mtu")]
    {
        let content = std::fs::read(format!("{root}/{name}")).unwrap();
        let told = std::fs::metadata(format!("{root}/{name}")).unwrap().len();
        assert_ne!(told, content.len() as u64, "{name} has a wrong size");
        let reply = ask(root, name, "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n");
        assert_eq!((reply.status, reply.body), (200, content), "{root}/{name}");
    }
    let own = ask("/proc/self", "status", "");
    assert!(own.body.starts_with(b"Name:") && own.body.len() > 500, "longer than one line");
    let part = ask("/proc", "version", "Range: bytes=0-4\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &b"Linux"[..]));
    let content = std::fs::read("/proc/kallsyms").unwrap_or_default();
    if content.len() > config::UNSIZED_FILE as usize {
        assert_eq!(ask("/proc", "kallsyms", "").status, 403, "it is too long");
    }
    // It may have data, or belong to another user; it must be answered anyway.
    let status = ask("/proc", "kmsg", "").status;
    assert!(matches!(status, 200 | 403 | 404), "{status}");
}

#[test]
fn an_empty_file_is_served() {
    let site = Site::new();
    site.put("empty", "");
    let server = start(&site);
    let reply = get(server.addresses()[0], "/empty");
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert!(reply.field("ETag").is_some());
}
