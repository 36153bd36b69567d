//! The last connections of a stopping server: none is lost, and none causes a busy loop.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use crate::support::{PATIENCE, RealServer, Site, TESTFILE, wait_for};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Sends a GET on new connections until a connect is refused. Counts the answers, and returns the
/// errors of established connections.
fn ask_until_refused(address: SocketAddr, answers: &AtomicUsize) -> Vec<String> {
    let mut lost = Vec::new();
    loop {
        let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return lost,
            Err(error) => {
                lost.push(format!("connecting: {error}"));
                continue;
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reply = Vec::new();
        let outcome = stream
            .write_all(b"GET /testfile HTTP/1.0\r\n\r\n")
            .and_then(|()| stream.read_to_end(&mut reply));
        match outcome {
            Ok(_) if reply.ends_with(TESTFILE) => {
                answers.fetch_add(1, Ordering::SeqCst);
            }
            Ok(_) => lost.push(format!("answered by {:?}", reply.escape_ascii().to_string())),
            Err(error) => lost.push(error.to_string()),
        }
    }
}

/// Each established connection gets an answer, however many connect while the listener is closed.
#[test]
fn no_connection_is_lost_in_a_storm_of_connects() {
    let site = Site::new();
    for options in [&[][..], &[], &["--no-defer-accept"], &["--no-defer-accept"]] {
        let mut server = RealServer::start(&site, &[&["--quiet"], options].concat());
        let address = server.address();
        let answers = AtomicUsize::new(0);
        let lost: Vec<_> = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..64).map(|_| scope.spawn(|| ask_until_refused(address, &answers))).collect();
            wait_for("a storm", || (answers.load(Ordering::SeqCst) > 2000).then_some(()));
            server.signal("TERM");
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(lost, [""; 0], "of {answers:?}, {options:?}");
        assert_eq!(server.wait().code(), Some(0));
    }
}

/// The `/proc` folder of the acceptor's thread, as soon as the thread has its name.
fn acceptor_of(server: &RealServer) -> PathBuf {
    let is_acceptor = |thread: &PathBuf| {
        fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim_end() == "acceptor")
    };
    wait_for("the acceptor", || {
        let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        threads.map(|thread| thread.unwrap().path()).find(is_acceptor)
    })
}

/// The processor time of a thread. `None` after it has ended.
fn time_on_processor(thread: &Path) -> Option<Duration> {
    let figures = fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(Duration::from_nanos(figures.split(' ').next()?.parse().ok()?))
}

/// Without open connections, the acceptor sleeps while its listener stays open for late clients.
#[test]
fn a_stop_without_connections_takes_no_processor_time() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &[]);
    let acceptor = acceptor_of(&server);
    let before = time_on_processor(&acceptor).unwrap();
    server.signal("TERM");
    let mut last = before;
    wait_for("the end", || match time_on_processor(&acceptor) {
        Some(time) => {
            last = time;
            (!server.is_running()).then_some(())
        }
        None => Some(()),
    });
    assert_eq!(server.wait().code(), Some(0));
    let spent = last - before;
    assert!(spent < cws::internals::config::DRAIN_DEFERRED / 25, "{spent:?}");
}
