//! The largest responses under way, as the admin server shows them.
#![cfg(feature = "admin")]
#![allow(clippy::unwrap_used)]

use crate::support::{connect, get, wait_for};
use bytes::Bytes;
use cws::{Admin, Body, Config, Request, Response, Server, Stream};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Settings of a server whose end waits for nobody.
fn hasty() -> Config {
    Config::default().workers(1).drain_timeout(Duration::ZERO)
}

fn loopback() -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]
}

/// Content of the length in the path, or without end.
fn content(request: &Request<'_>) -> Response {
    let path = String::from_utf8_lossy(request.target.path.as_bytes()).into_owned();
    let body = match path.trim_start_matches('/').split('/').next().unwrap().parse() {
        Ok(length) => Body::Bytes(Bytes::from(vec![b'x'; length])),
        Err(_) => {
            let pieces = std::iter::repeat_with(|| Bytes::from(vec![b's'; 10_000]));
            Body::Stream(Stream::chunked(pieces))
        }
    };
    Response::text("").with_body(body)
}

fn ask(address: SocketAddr, target: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn transfers(admin: SocketAddr) -> Vec<Value> {
    let stats: Value = serde_json::from_slice(&get(admin, "/stats.json").body).unwrap();
    stats["transfers"].as_array().unwrap().clone()
}

#[test]
fn a_slow_reader_shows_what_it_reads_and_how_far_it_is() {
    let config = hasty().limit_rate(100_000);
    let server = Server::start(config, content).unwrap();
    let admin = Admin::start(loopback(), server.observer()).unwrap();
    let admin = admin.addresses()[0];
    assert_eq!(transfers(admin), [json!(null); 0], "nobody reads anything");
    let hostile = "/5000000/%3Cb%3E<script>alert(1)</script>\"'\\\u{202e}\u{e9}&";
    let long = format!("/4000000/{}", "long".repeat(500));
    let address = server.addresses()[0];
    let mut streams = [hostile, &long, "/endless"].map(|target| ask(address, target));
    let listed = wait_for("all of them to have a rate", || {
        streams.iter_mut().for_each(|stream| assert!(stream.read(&mut [0; 4096]).unwrap() > 0));
        let listed = transfers(admin);
        (listed.len() == 3 && listed.iter().all(|of| !of["rate"].is_null())).then_some(listed)
    });
    let [first, second, endless] = &listed[..] else { panic!("{listed:?}") };
    for of in &listed {
        assert_eq!(of["client"], "127.0.0.1");
        let (sent, rate) = (of["sent"].as_u64().unwrap(), of["rate"].as_f64().unwrap());
        assert!(sent > 10_000 && rate > 50_000.0 && rate < 150_000.0, "{of}");
        assert!(of["target"].as_str().unwrap().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(of.as_object().unwrap().len(), 5, "{of}");
    }
    assert_eq!((&first["length"], &second["length"]), (&json!(5_000_000), &json!(4_000_000)));
    assert!(endless["length"].is_null() && endless["target"] == "/endless");
    let shown = first["target"].as_str().unwrap();
    assert!(shown.starts_with("/5000000/%3Cb%3E<script>alert(1)</script>\\\"'\\\\\\xe2\\x80\\xae"));
    let shown = second["target"].as_str().unwrap();
    assert!(shown.len() == 256 + 3 && shown.ends_with("longlon..."), "{shown}");
    // Addresses of clients are nowhere else.
    let metrics = String::from_utf8(get(admin, "/metrics").body).unwrap();
    assert!(!metrics.contains("127.0.0.1") && !metrics.contains("5000000/"));
    drop(streams);
    wait_for("the list to be empty", || transfers(admin).is_empty().then_some(()));
}

/// Sixty of them: the list has the fifty largest, in order.
#[test]
fn the_list_is_bounded_and_has_the_largest() {
    let config = hasty().limit_rate(2000).min_rate(0);
    let server = Server::start(config, content).unwrap();
    let admin = Admin::start(loopback(), server.observer()).unwrap();
    let admin = admin.addresses()[0];
    let ask = |number| ask(server.addresses()[0], &format!("/{}", 100_000 + 1000 * number));
    let streams: Vec<TcpStream> = (0..60).map(ask).collect();
    let largest: Vec<u64> = (10..60).rev().map(|number| 100_000 + 1000 * number).collect();
    wait_for("all to be under way", || {
        let listed = transfers(admin);
        assert!(listed.len() <= 50);
        let lengths: Vec<_> = listed.iter().map(|of| of["length"].as_u64().unwrap()).collect();
        (lengths == largest).then_some(())
    });
    assert_eq!(server.observer().transfers(3).len(), 3);
    drop(streams);
}

/// The rate is that of the last seconds: it follows a reader that changes.
#[test]
fn the_rate_follows_the_reader() {
    let server = Server::start(hasty(), content).unwrap();
    let mut stream = ask(server.addresses()[0], "/endless");
    let rate = || server.observer().transfers(1).first().and_then(|of| of.rate);
    wait_for("a fast reader", || {
        stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
        rate().filter(|rate| *rate > 10e6)
    });
    wait_for("a slow one", || {
        std::thread::sleep(Duration::from_millis(20));
        stream.read_exact(&mut [0; 1000]).unwrap();
        rate().filter(|rate| *rate < 10e6)
    });
}
