//! Every wire case three ways (whole, byte by byte, with the next request behind it), against the
//! pure parser and against a real socket.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]

use crate::support::wire_cases::{WIRE_CASES, WireCase};
use crate::support::{Reply, Site, TESTFILE, connect, gated, wait_for};
use cws::StaticFiles;
use cws::internals::config;
use cws::internals::http::body::BodyDecoder;
use cws::internals::http::conditional::{Precondition, Validators};
use cws::internals::http::fault::Fault;
use cws::internals::http::head::{HeadLimits, HeadScanner, Scan, empty_lines};
use cws::internals::http::request::{FieldSlots, Request};
use cws::{Config, ConnectionPhase, Counter, Method, Response, Server, Status};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

const NEXT: &[u8] = b"GET /testfile HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n";

/// The length of a request's head as who reads finds it, or the fault in the framing.
fn frame(bytes: &[u8]) -> Result<usize, Fault> {
    let limits =
        HeadLimits { head: config::HEAD_BYTES, target: config::TARGET_BYTES, http09: false };
    let mut scanner = HeadScanner::default();
    let head = match scanner.scan(bytes, limits) {
        Scan::Complete(head) => head,
        Scan::Refused(fault) => return Err(fault),
        Scan::Partial => panic!("a whole head: {:?}", bytes.escape_ascii().to_string()),
    };
    BodyDecoder::new(scanner.framing()?.body, config::BODY_BYTES)?.skip(&bytes[head..])?;
    Ok(head)
}

/// What who reads and who parses make of a request: nothing wrong, or the fault.
fn parse(bytes: &[u8]) -> Option<Fault> {
    let bytes = &bytes[empty_lines(bytes)..];
    let head = match frame(bytes) {
        Ok(head) => head,
        Err(fault) => return Some(fault),
    };
    let mut slots = FieldSlots::default();
    match Request::parse(&bytes[..head], &mut slots) {
        Ok(request) if request.method == Method::Other => Some(Fault::Method),
        Ok(request) if request.target.raw.len() > config::TARGET_BYTES => {
            Some(Fault::TargetTooLong)
        }
        Ok(_) => None,
        Err(fault) => Some(fault),
    }
}

#[test]
fn the_pure_parser_finds_the_same_faults() {
    for case in WIRE_CASES {
        let shown = case.request.escape_ascii().to_string();
        match parse(case.request) {
            Some(fault) => {
                assert_eq!(fault.status().code(), case.status, "{shown}");
                assert!(!case.keeps, "a fault ends the connection: {shown}");
            }
            None => assert!(matches!(case.status, 200 | 404 | 405), "no fault found: {shown}"),
        }
    }
}

fn start(site: &Site) -> Server {
    let config = Config::default().workers(2).http09(false);
    Server::start(config, StaticFiles::new(site.path()).unwrap()).unwrap()
}

/// What comes of a refused request while its client goes on holding its side open: the refusal
/// must not wait for it.
fn refusals_to(address: SocketAddr, request: &[u8]) -> Vec<Reply> {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a clean end, no reset");
    Reply::all(&bytes, false)
}

/// Writes in pieces, ends the sending side, and reads to the end.
fn replies_to(address: SocketAddr, pieces: impl Iterator<Item = Vec<u8>>) -> Vec<Reply> {
    let mut stream = connect(address);
    for piece in pieces {
        stream.write_all(&piece).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("a clean end, no reset");
    Reply::all(&bytes, false)
}

fn check(case: &WireCase, replies: &[Reply], next_behind: bool) {
    let shown = case.request.escape_ascii().to_string();
    let expected = if case.keeps && next_behind { 2 } else { 1 };
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.len(), expected, "{statuses:?} to {shown}");
    assert_eq!(statuses[0], case.status, "{shown}");
    if case.status == 200 {
        assert_eq!(replies[0].body, TESTFILE, "{shown}");
    } else {
        let page = String::from_utf8(replies[0].body.clone()).unwrap();
        assert!(page.contains(&format!("<h1>{}", case.status)), "{page}");
    }
    let last = replies.last().unwrap();
    if !case.keeps || next_behind {
        assert_eq!(last.field("Connection"), Some("close"), "{shown}");
    }
    if expected == 2 {
        assert_eq!((last.status, &last.body[..]), (200, TESTFILE), "behind {shown}");
    }
}

#[test]
fn whole() {
    let site = Site::new();
    let server = start(&site);
    for case in WIRE_CASES {
        let replies = replies_to(server.addresses()[0], [case.request.to_vec()].into_iter());
        check(case, &replies, false);
        if !case.keeps {
            check(case, &refusals_to(server.addresses()[0], case.request), false);
        }
    }
}

#[test]
fn byte_by_byte() {
    let site = Site::new();
    let server = start(&site);
    for case in WIRE_CASES {
        let bytes = case.request.iter().map(|byte| vec![*byte]);
        check(case, &replies_to(server.addresses()[0], bytes), false);
    }
}

#[test]
fn with_the_next_request_behind_it() {
    let site = Site::new();
    let server = start(&site);
    // Behind a client that waits for 100 comes its body, so what follows is not a next request.
    let waits = |case: &&WireCase| !case.request.windows(7).any(|bytes| bytes == b"Expect:");
    for case in WIRE_CASES.iter().filter(waits) {
        let both = [case.request, NEXT].concat();
        // Who was served last and sends more all the same may be cut off: the server has ended by
        // the time the byte comes (RFC 9112, section 9.6). A refusal waits for what still comes.
        if case.keeps || case.status >= 400 {
            let bytes = both.iter().map(|byte| vec![*byte]);
            check(case, &replies_to(server.addresses()[0], bytes), case.keeps);
        }
        check(case, &replies_to(server.addresses()[0], [both].into_iter()), case.keeps);
    }
}

fn get_with(address: SocketAddr, target: &str, fields: &str) -> Reply {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\n");
    let mut replies = replies_to(address, [request.into_bytes()].into_iter());
    assert_eq!(replies.len(), 1, "{fields}");
    replies.remove(0)
}

#[test]
fn empty_elements_of_a_list_of_tags_say_nothing() {
    let handler = |request: &Request<'_>| match Validators::new("tag", None).check(request) {
        Precondition::Holds => Response::new(Status::NO_CONTENT),
        Precondition::NotModified => Response::new(Status::NOT_MODIFIED),
        Precondition::Failed => Response::new(Status::PRECONDITION_FAILED),
    };
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let rows = [
        ("If-None-Match: , \"tag\"", 304),
        ("If-None-Match: ,,\"a\" , ,W/\"tag\",", 304),
        ("If-None-Match: , \"other\"", 204),
        ("If-None-Match: ,", 204),
        ("If-Match: , \"tag\"", 204),
        ("If-Match: ,\t, \"a\",,\"tag\",", 204),
        ("If-Match: , \"other\"", 412),
        ("If-Match: ,", 412),
    ];
    for (fields, status) in rows {
        assert_eq!(get_with(server.addresses()[0], "/", fields).status, status, "{fields}");
    }
}

#[test]
fn empty_elements_of_other_lists_say_nothing() {
    let site = Site::new();
    site.put("testfile.gz", "compressed");
    let server = start(&site);
    let ask = |target, fields| get_with(server.addresses()[0], target, fields);
    let coding = |fields| ask("/testfile", fields).field("Content-Encoding").map(str::to_owned);
    assert_eq!(coding("Accept-Encoding: , gzip").as_deref(), Some("gzip"));
    assert_eq!(coding("Accept-Encoding: ,,br;q=1,,gzip;q=0.5,").as_deref(), Some("gzip"));
    assert_eq!(coding("Accept-Encoding: ,").as_deref(), None);
    for range in ["Range: bytes=, 0-1", "Range: bytes=,,0-1, ,"] {
        let reply = ask("/testfile", range);
        assert_eq!((reply.status, &reply.body[..]), (206, &TESTFILE[..2]), "{range}");
    }
    for accept in ["Accept: , application/json", "Accept: ,application/json,, text/html;q=0.5,"] {
        let reply = ask("/", accept);
        assert_eq!(reply.field("Content-Type"), Some("application/json"), "{accept}");
    }
}

#[test]
fn limits_of_a_head() {
    let site = Site::new();
    let server = start(&site);
    let ask = |request: String| {
        let replies = replies_to(server.addresses()[0], [request.into_bytes()].into_iter());
        assert_eq!(replies.len(), 1);
        replies[0].status
    };
    let head = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n")
    };
    let longest = format!("/{}", "a".repeat(config::TARGET_BYTES - 1));
    assert_eq!(ask(head(&longest, "")), 404);
    assert_eq!(ask(head(&format!("{longest}a"), "")), 414);
    assert_eq!(ask(head(&"/a".repeat(config::HEAD_BYTES), "")), 414);
    let many = |count: usize| "A: b\r\n".repeat(count);
    assert_eq!(ask(head("/testfile", &many(config::HEADER_FIELDS - 2))), 200);
    assert_eq!(ask(head("/testfile", &many(config::HEADER_FIELDS))), 431);
    let long = format!("A: {}\r\n", "b".repeat(config::HEAD_BYTES));
    assert_eq!(ask(head("/testfile", &long)), 431);
    let below = format!("A: {}\r\n", "b".repeat(config::HEAD_BYTES / 2));
    assert_eq!(ask(head("/testfile", &below)), 200);
}

#[test]
fn a_head_cut_short_is_answered() {
    let site = Site::new();
    let server = start(&site);
    for cut in ["G", "GET /testfile HTTP/1.0", "GET /testfile HTTP/1.1\r\nHost: a\r\n"] {
        let replies = replies_to(server.addresses()[0], [cut.as_bytes().to_vec()].into_iter());
        assert_eq!(replies.len(), 1, "{cut:?}");
        assert_eq!(replies[0].status, 400, "{cut:?}");
    }
    assert_eq!(replies_to(server.addresses()[0], std::iter::empty()), []);
}

/// The only worker is held, and others wait for it. A message framed wrong is refused while it is
/// read: at once, and without a place in the queue. A worker refuses what else is malformed.
#[test]
fn what_is_framed_wrong_waits_for_no_worker() {
    let (gate, handler) = gated();
    let config = Config::default().workers(1).queue(1).http09(false);
    let server = Server::start(config, handler).unwrap();
    let address = server.addresses()[0];
    let ask = |request: &[u8]| {
        let mut stream = connect(address);
        stream.write_all(request).unwrap();
        stream
    };
    let good = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut served = vec![ask(good)];
    wait_for("the worker to be held", || {
        (server.snapshot().connections(ConnectionPhase::InService) == 1).then_some(())
    });
    // One place is left in the queue, and stays free for all of them.
    let is_unframed = |bytes: &[u8]| frame(&bytes[empty_lines(bytes)..]).is_err();
    let unframed = WIRE_CASES.iter().filter(|case| is_unframed(case.request));
    assert!(unframed.clone().count() > 20, "many kinds");
    for case in unframed {
        let shown = case.request.escape_ascii().to_string();
        let replies = refusals_to(address, case.request);
        assert_eq!(replies.len(), 1, "{shown}");
        assert_eq!(replies[0].status, case.status, "{shown}");
    }
    // A body that is on its way is dropped before the request takes the place.
    let mut slow = connect(address);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
    let mut malformed = ask(b"GET / HTTP/1.1\r\nno host\r\n\r\n");
    wait_for("the place to be taken", || (server.snapshot().queue.waiting == 1).then_some(()));
    slow.write_all(b" full").unwrap();
    let turned_away = Reply::read(&mut slow);
    assert_eq!(turned_away.status, 503, "the queue is full, and it had no place in it");
    gate.wait();
    assert_eq!(Reply::read(&mut served.remove(0)).body, b"done");
    assert_eq!(Reply::read(&mut malformed).status, 400, "in its turn");
    assert_eq!(server.snapshot().get(Counter::QueueFull), 1);
}
