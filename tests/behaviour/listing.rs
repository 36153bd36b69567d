//! Listings of many entries: complete, framed like other responses, and made while they are sent.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, connect, exchange, get, wait_for};
use cws::internals::config;
use cws::{Config, Memory, MemoryUse, Server, StaticFiles};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Instant;

const ENTRIES: usize = 20_000;

/// A site with a directory of many files, shared by the tests.
fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let site = Site::new();
        let folder = site.path().join("many");
        fs::create_dir(&folder).unwrap();
        for number in 0..ENTRIES {
            fs::File::create(folder.join(format!("file{number:05}.txt"))).unwrap();
        }
        site
    })
}

fn ask(server: &RealServer, request: &str) -> Vec<u8> {
    exchange(server.address(), request.as_bytes())
}

/// The names in a page, in order.
fn names(page: &[u8]) -> Vec<String> {
    let page = std::str::from_utf8(page).unwrap();
    let cells = page.split("<bdi>").skip(1);
    cells.map(|cell| cell.split("</bdi>").next().unwrap().to_owned()).collect()
}

#[test]
fn many_entries_are_listed_in_order_in_every_http_version() {
    let server = RealServer::start(site(), &["--workers", "2"]);
    let reply = get(server.address(), "/many/");
    let expected: Vec<_> = (0..ENTRIES).map(|number| format!("file{number:05}.txt")).collect();
    assert!(names(&reply.body) == expected);
    assert!(reply.body.ends_with(b"</html>\n"));

    // In HTTP/1.0 the connection can stay open too, because the length is known.
    let two = "GET /many/?sort=name&order=desc HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
               GET /testfile HTTP/1.0\r\n\r\n";
    let replies = Reply::all(&ask(&server, two), false);
    assert_eq!(replies.len(), 2);
    assert_eq!(replies[0].field("Connection"), Some("keep-alive"));
    assert!(names(&replies[0].body).iter().rev().eq(&expected));

    let json = get(server.address(), "/many/?format=json");
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), ENTRIES);
    assert_eq!(json["entries"][17]["name"], "file00017.txt");

    let bare = ask(&server, "GET /many/\r\n");
    assert!(bare == reply.body, "HTTP/0.9 gets the page and nothing else");
}

#[test]
fn head_has_the_same_fields_as_get() {
    let server = RealServer::start(site(), &["--workers", "1"]);
    for target in ["/many/", "/many/?format=json", "/"] {
        let request =
            |method| format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let cold = Reply::all(&ask(&server, &request("HEAD")), true).remove(0);
        assert_eq!(cold.field("Content-Length"), None, "HEAD does not read the directory");
        let got = Reply::all(&ask(&server, &request("GET")), false).remove(0);
        // The length is known for a second after a GET.
        let head = wait_for("the length", || {
            let got = get(server.address(), target);
            let head = Reply::all(&ask(&server, &request("HEAD")), true).remove(0);
            let length = head.field("Content-Length").map(str::to_owned);
            length.is_some_and(|length| length == got.body.len().to_string()).then_some(head)
        });
        let fields = |reply: &Reply| {
            let own = |name: &str| ["Date", "Content-Length"].contains(&name);
            let fields = reply.fields.iter().filter(|(name, _)| !own(name));
            fields.cloned().collect::<Vec<_>>()
        };
        assert_eq!(fields(&head), fields(&got), "{target}");
        assert_eq!(fields(&cold), fields(&got), "{target}");
    }
}

/// The connection stays open after a response to HEAD without a length.
#[test]
fn a_response_to_head_without_a_length_ends_with_its_fields() {
    let server = RealServer::start(site(), &["--workers", "1"]);
    let two = "HEAD /many/ HTTP/1.1\r\nHost: a\r\n\r\n\
               HEAD /testfile HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let replies = Reply::all(&ask(&server, two), true);
    assert_eq!(replies.len(), 2);
    assert_eq!(replies[0].field("Content-Length"), None);
    assert_eq!(replies[1].field("Content-Length"), Some("13"));
}

/// A server for the directory of many files, with a memory budget of its own.
fn start(memory: &Memory) -> Server {
    let files = StaticFiles::new(site().path()).unwrap();
    let files = files.with_memory(memory.clone()).with_workers(4);
    Server::start(Config::default().workers(4), files).unwrap()
}

fn listed(memory: &Memory) -> u64 {
    memory.held_for(MemoryUse::Listings)
}

#[test]
fn all_readers_of_a_directory_share_its_entries() {
    let memory = Memory::new(100 << 20);
    let server = start(&memory);
    let address = server.addresses()[0];
    assert_eq!(get(address, "/many/").status, 200);
    let once = listed(&memory);
    assert!(once > ENTRIES as u64 * 20, "the entries are counted: {once} bytes");
    // All at once, in orders that are not prepared yet.
    let readers: Vec<_> = std::thread::scope(|scope| {
        let queries = ["", "?order=desc", "?sort=size", "?sort=time&order=desc"];
        let readers: Vec<_> = (0..16)
            .map(|number| scope.spawn(move || start_reading(address, queries[number % 4])))
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(listed(&memory) < once + once / 2, "{} of {once} bytes", listed(&memory));
    // A later reading finds the directory unchanged and takes no more memory.
    let unused = listed(&memory);
    let later = Instant::now() + config::CACHE_FRESH;
    wait_for("the listing to expire", || (Instant::now() > later).then_some(()));
    let last = start_reading(address, "");
    assert!(listed(&memory) <= unused, "{} instead of {unused} bytes", listed(&memory));
    assert_eq!(memory.refused(), 0);
    drop((readers, last));
    wait_for("the memory", || (listed(&memory) == 0).then_some(()));
}

#[test]
fn a_directory_that_does_not_fit_in_memory_is_refused_and_counted() {
    let memory = Memory::new(64 << 10);
    let server = start(&memory);
    let address = server.addresses()[0];
    for count in 1..4 {
        let reply = get(address, "/many/");
        assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")));
        assert_eq!(memory.refused(), count);
        assert_eq!(listed(&memory), 0, "its memory was released");
    }
    assert_eq!(get(address, "/").status, 200, "a small directory fits");
    // Cached listings make room for new ones.
    let few = Memory::new(12 << 10);
    let site = Site::new();
    for number in 0..20 {
        site.put(&format!("dir{number}/file"), "x");
    }
    let files = StaticFiles::new(site.path()).unwrap().with_memory(few.clone());
    let server = Server::start(Config::default(), files).unwrap();
    for number in 0..20 {
        assert_eq!(get(server.addresses()[0], &format!("/dir{number}/")).status, 200);
    }
    assert!(listed(&few) > 0 && few.held() <= few.most());
}

#[test]
fn a_listing_is_at_most_a_second_old() {
    let site = Site::new();
    site.put("dir/a", "1");
    let memory = Memory::new(1 << 20);
    let files = StaticFiles::new(site.path()).unwrap().with_memory(memory);
    let server = Server::start(Config::default(), files).unwrap();
    let listing = || get(server.addresses()[0], "/dir/").body;
    for name in ["b", "c", "d"] {
        assert!(!names(&listing()).contains(&name.to_owned()));
        site.put(&format!("dir/{name}"), "1");
        // Within one tick of the file system's clock, a change may not show.
        let seen = || names(&listing()).contains(&name.to_owned()).then_some(());
        wait_for("a new name", seen);
        fs::remove_file(site.path().join("dir/a")).ok();
    }
    let changed = Instant::now();
    site.put("dir/b", "x".repeat(5000));
    let size = || String::from_utf8(listing()).unwrap().contains("4.9 KiB").then_some(());
    wait_for("a new size", size);
    assert!(
        changed.elapsed() < 3 * config::CACHE_FRESH,
        "a changed size must show in time, though the directory's time does not change"
    );
    fs::remove_dir_all(site.path().join("dir")).unwrap();
    wait_for("its removal to show", || {
        (get(server.addresses()[0], "/dir/").status == 404).then_some(())
    });
}

/// Requests a listing and reads its first bytes, with a small receive buffer.
fn start_reading(address: SocketAddr, query: &str) -> TcpStream {
    let mut stream = connect(address);
    let small = socket2::SockRef::from(&stream).set_recv_buffer_size(64 * 1024);
    small.unwrap();
    let request = format!("GET /many/{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut start = [0; 100];
    stream.read_exact(&mut start).unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200"), "{}", start.escape_ascii());
    stream
}

#[test]
fn slow_readers_hold_no_worker_and_no_page_in_memory() {
    const READERS: usize = 24;
    let server = RealServer::start(site(), &["--workers", "1"]);
    let whole = get(server.address(), "/many/").body.len();
    let before = server.resident_bytes();
    let mut readers: Vec<_> = (0..READERS).map(|_| start_reading(server.address(), "")).collect();
    assert_eq!(get(server.address(), "/testfile").status, 200, "the worker is free");
    let each = (server.resident_bytes().saturating_sub(before)) / READERS;
    assert!(each < whole / 2, "{each} bytes a reader, of {whole} of the page");
    // The rest of the page is complete.
    let mut rest = Vec::new();
    readers[0].read_to_end(&mut rest).unwrap();
    assert!(names(&rest).len() > ENTRIES - 10 && rest.ends_with(b"</html>\n"));
    drop(readers);
    wait_for("the memory", || {
        (server.resident_bytes() < before + READERS * whole / 4).then_some(())
    });
}
