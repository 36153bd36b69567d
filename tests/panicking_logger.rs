//! A logger that panics: its lines are lost, and nothing else.
#![allow(clippy::unwrap_used)]

mod support;

use cws::{AccessLog, Config, Request, Server};
use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;
use support::{Reply, connect, get};

struct Panicking;

impl Log for Panicking {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &Record<'_>) {
        panic!("the logger");
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_that_panics_costs_no_thread() {
    log::set_logger(&Panicking).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let config = Config::default().workers(2).access_log(AccessLog::Common);
    let server = Server::start(config, |request: &Request<'_>| {
        assert!(request.target.raw != b"/panic", "on purpose");
        "served"
    });
    let server = server.unwrap();
    let address = server.addresses()[0];
    for _ in 0..4 {
        assert_eq!(get(address, "/panic").status, 500);
        let mut stream = connect(address);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n").unwrap();
        assert_eq!(Reply::read(&mut stream).status, 400);
        assert_eq!(get(address, "/").body, b"served");
    }
    assert_eq!(server.workers_alive(), 2);
}
