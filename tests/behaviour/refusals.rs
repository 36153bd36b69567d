//! Error responses carry the header fields that are configured for every response.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, connect, exchange, wait_for};
use std::io::Write;

const FIELDS: &[&str] = &["--header", "X-Own: value", "--cors"];

fn start(site: &Site, options: &[&str]) -> RealServer {
    RealServer::start(site, &[FIELDS, options].concat())
}

fn reply(server: &RealServer, request: &[u8]) -> Reply {
    let mut replies = Reply::all(&exchange(server.address(), request), false);
    assert_eq!(replies.len(), 1, "{}", request.escape_ascii());
    replies.remove(0)
}

fn check(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status);
    let fields = [
        ("X-Own", "value"),
        ("X-Content-Type-Options", "nosniff"),
        ("Access-Control-Allow-Origin", "*"),
    ];
    for (name, value) in fields {
        assert_eq!(reply.field(name), Some(value), "{name} of a {status}");
    }
}

#[test]
fn error_responses_carry_the_configured_fields() {
    let site = Site::new();
    let server = start(&site, &[]);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    let large = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n".to_owned();
    let rows = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        (long, 414),
        (large, 413),
        ("GET /none HTTP/1.0\r\n\r\n".to_owned(), 404),
    ];
    for (request, status) in rows {
        check(&reply(&server, request.as_bytes()), status);
    }
}

#[test]
fn a_401_carries_the_configured_fields() {
    let site = Site::new();
    let user = format!("ann:{}", bcrypt::hash("good", 4).unwrap());
    let server = start(&site, &["--auth", &user]);
    check(&reply(&server, b"GET / HTTP/1.0\r\n\r\n"), 401);
    let wrong = b"GET / HTTP/1.0\r\nAuthorization: Basic YW5uOmJhZA==\r\n\r\n";
    check(&reply(&server, wrong), 401);
}

#[test]
fn a_503_for_a_full_queue_carries_the_configured_fields() {
    let site = Site::new();
    let options = ["--workers", "1", "--queue", "0", "--delay", "1h", "--admin", "0"];
    let server = start(&site, &options);
    let mut held = connect(server.address());
    held.write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for("the worker to be busy", || {
        let stats = crate::support::get(server.admin(), "/stats.json").body;
        let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
        (stats["workers"][0]["activity"] == "handle").then_some(())
    });
    check(&reply(&server, b"GET /testfile HTTP/1.0\r\n\r\n"), 503);
}
