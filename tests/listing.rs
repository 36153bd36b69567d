//! Listings of many entries: whole, framed as anything else is, and made as they are read.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use support::{RealServer, Reply, Site, connect, exchange, get, wait_for};

const ENTRIES: usize = 20_000;

/// A site with a directory of many files, made once.
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

/// The names in a page, in their order.
fn names(page: &[u8]) -> Vec<String> {
    let page = std::str::from_utf8(page).unwrap();
    let cells = page.split("<bdi>").skip(1);
    cells.map(|cell| cell.split("</bdi>").next().unwrap().to_owned()).collect()
}

#[test]
fn many_entries_are_listed_in_order_in_every_version() {
    let server = RealServer::start(site(), &["--workers", "2"]);
    let reply = get(server.address(), "/many/");
    let expected: Vec<_> = (0..ENTRIES).map(|number| format!("file{number:05}.txt")).collect();
    assert!(names(&reply.body) == expected);
    assert!(reply.body.ends_with(b"</html>\n"));

    // In HTTP/1.0 a connection can go on as well, since the length is known.
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
fn head_tells_what_get_sends() {
    let server = RealServer::start(site(), &["--workers", "1"]);
    for target in ["/many/", "/many/?format=json", "/"] {
        let request =
            |method| format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let got = Reply::all(&ask(&server, &request("GET")), false).remove(0);
        let head = Reply::all(&ask(&server, &request("HEAD")), true).remove(0);
        assert_eq!(head.field("Content-Length"), Some(got.body.len().to_string().as_str()));
        let without_date = |reply: &Reply| {
            let fields = reply.fields.iter().filter(|(name, _)| name != "Date");
            fields.cloned().collect::<Vec<_>>()
        };
        assert_eq!(without_date(&head), without_date(&got), "{target}");
    }
}

fn resident_bytes(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Takes a listing as far as its first bytes, into a small window.
fn start_reading(server: &RealServer) -> TcpStream {
    let mut stream = connect(server.address());
    let small = socket2::SockRef::from(&stream).set_recv_buffer_size(64 * 1024);
    small.unwrap();
    stream.write_all(b"GET /many/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    stream
}

#[test]
fn slow_readers_hold_neither_a_worker_nor_the_page() {
    const READERS: usize = 24;
    let server = RealServer::start(site(), &["--workers", "1"]);
    let whole = get(server.address(), "/many/").body.len();
    let before = resident_bytes(server.pid());
    let mut readers: Vec<_> = (0..READERS).map(|_| start_reading(&server)).collect();
    assert_eq!(get(server.address(), "/testfile").status, 200, "the worker is free");
    let each = (resident_bytes(server.pid()).saturating_sub(before)) / READERS;
    assert!(each < whole / 2, "{each} bytes a reader, of {whole} of the page");
    // What they get in the end is whole, byte for byte.
    let mut rest = Vec::new();
    readers[0].read_to_end(&mut rest).unwrap();
    assert!(names(&rest).len() > ENTRIES - 10 && rest.ends_with(b"</html>\n"));
    drop(readers);
    wait_for("the memory", || {
        (resident_bytes(server.pid()) < before + READERS * whole / 4).then_some(())
    });
}
