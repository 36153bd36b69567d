//! A logger that blocks: the thread that reads from all clients does not wait for it.
#![allow(clippy::unwrap_used)]

mod support;

use cws::{AccessLog, Config, Request, Server};
use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use support::{Reply, connect, get, wait_for};

/// Blocks on the lines of refusals until it is released, and notes which threads call it.
struct Blocking {
    released: Mutex<Receiver<()>>,
    callers: Mutex<Vec<String>>,
}

impl Log for Blocking {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let caller = std::thread::current().name().unwrap_or_default().to_owned();
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).push(caller);
        if record.args().to_string().contains(" 400 ") {
            // Its end is dropped in time, which releases this.
            let _ = self.released.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_that_blocks_holds_nobody_up() {
    let (release, released) = channel();
    let logger: &'static Blocking =
        Box::leak(Box::new(Blocking { released: Mutex::new(released), callers: Mutex::default() }));
    log::set_logger(logger).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let config = Config { workers: 1, access_log: AccessLog::Common, ..Config::default() };
    let server = Server::start(config, |_: &Request<'_>| "served").unwrap();
    let address = server.addresses()[0];
    for _ in 0..10 {
        let mut stream = connect(address);
        // The acceptor itself refuses this, and has a line of the access log to write.
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n").unwrap();
        assert_eq!(Reply::read(&mut stream).status, 400);
        assert_eq!(get(address, "/").body, b"served", "while the logger blocks");
    }
    let callers = || logger.callers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    wait_for("a refusal's line to reach the logger", || {
        callers().iter().any(|name| name == "notes").then_some(())
    });
    assert!(!callers().iter().any(|name| name == "acceptor"), "{:?}", callers());
    // No line is lost.
    drop(release);
    drop(server);
    let refusals = callers().iter().filter(|name| *name == "notes").count();
    assert!(refusals >= 10, "{refusals} of 10 lines");
}
