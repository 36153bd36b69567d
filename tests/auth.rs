//! Passwords: who guesses holds no worker, and who knows one is let in.
#![cfg(feature = "auth")]
#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cws::{BasicAuth, Config, Request, Response, Server, User};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use support::{Reply, connect};

/// A password's check takes a good part of a second, so that much can happen meanwhile.
const SLOW: u32 = 12;
const FAST: u32 = 4;

fn start(password: &str, cost: u32, workers: usize) -> (Server, SocketAddr) {
    start_with(password, cost, Config::default().workers(workers))
}

fn start_with(password: &str, cost: u32, config: Config) -> (Server, SocketAddr) {
    let user = format!("ann:{}", bcrypt::hash(password, cost).unwrap());
    let inner = |_: &Request<'_>| Response::ok("text/plain", "the secret");
    let handler = BasicAuth::new(vec![User::parse(&user).unwrap()], inner);
    // Checks take as long as they take on a busy machine.
    let config = config.queue_timeout(support::PATIENCE);
    let server = Server::start(config, handler).unwrap();
    let address = server.addresses()[0];
    (server, address)
}

fn ask(stream: &mut TcpStream, credentials: impl AsRef<[u8]>) {
    let token = STANDARD.encode(credentials);
    write!(stream, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {token}\r\n\r\n").unwrap();
}

fn status(stream: &mut TcpStream, credentials: impl AsRef<[u8]>) -> u16 {
    ask(stream, credentials);
    Reply::read(stream).status
}

/// There is one worker, so it would be noticed if a password took it.
#[test]
fn guesses_take_no_worker_from_who_is_known() {
    let (server, address) = start("good", SLOW, 1);
    let mut known = connect(address);
    assert_eq!(status(&mut known, "ann:good"), 200);
    let mut guessing: Vec<_> = (0..24).map(|_| connect(address)).collect();
    for stream in &mut guessing {
        ask(stream, "ann:guess");
    }
    for (at, stream) in (0..4).map(|at| (at, connect(address))) {
        ask(&mut { stream }, format!("ann:other{at}"));
    }
    for _ in 0..10 {
        assert_eq!(status(&mut known, "ann:good"), 200);
    }
    let last = guessing.last_mut().unwrap();
    last.set_nonblocking(true).unwrap();
    let nothing = last.read(&mut [0]).expect_err("its password is still being checked");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    last.set_nonblocking(false).unwrap();
    for stream in &mut guessing {
        assert_eq!(Reply::read(stream).status, 401);
    }
    assert_eq!(status(&mut known, "ann:good"), 200);
    drop(server);
}

#[test]
fn parallel_first_requests_with_the_same_password_are_all_let_in() {
    let (_server, address) = start("good", SLOW, 2);
    let mut streams: Vec<_> = (0..6).map(|_| connect(address)).collect();
    streams.iter_mut().for_each(|stream| ask(stream, "ann:good"));
    for stream in &mut streams {
        assert_eq!(Reply::read(stream).status, 200);
    }
}

/// Those who were admitted come back to the queue all at once, however few may wait there.
#[test]
fn a_short_queue_takes_back_all_who_waited_for_a_verdict() {
    let config = Config::default().workers(1).queue(1);
    let (server, address) = start_with("good", SLOW, config);
    let mut streams: Vec<_> = (0..6).map(|_| connect(address)).collect();
    for (at, stream) in streams.iter_mut().enumerate() {
        ask(stream, "ann:good");
        support::wait_for("it to wait without a worker", || {
            (server.snapshot().get(cws::Counter::Unhandled) > at as u64).then_some(())
        });
    }
    for stream in &mut streams {
        assert_eq!(Reply::read(stream).status, 200);
    }
}

/// Different passwords are checked one after another; all who ask get their verdict.
#[test]
fn different_passwords_wait_in_line() {
    let (_server, address) = start("good", 8, 1);
    let mut guessing: Vec<_> = (0..8).map(|_| connect(address)).collect();
    for (at, stream) in guessing.iter_mut().enumerate() {
        ask(stream, format!("ann:guess{at}"));
    }
    let mut known = connect(address);
    assert_eq!(status(&mut known, "ann:good"), 200);
    for stream in &mut guessing {
        assert_eq!(Reply::read(stream).status, 401);
    }
}

/// A client that ends while its password is checked costs nothing but that.
#[test]
fn who_does_not_wait_for_the_verdict_is_forgotten() {
    let (server, address) = start("good", 10, 1);
    let mut streams: Vec<_> = (0..8).map(|_| connect(address)).collect();
    for (at, stream) in streams.iter_mut().enumerate() {
        ask(stream, format!("ann:guess{at}"));
        // Closed with a reset, which the server is told of at once.
        socket2::SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
    drop(streams);
    assert_eq!(status(&mut connect(address), "ann:good"), 200);
    support::wait_for("the others to be gone", || (server.open_connections() == 0).then_some(()));
}

#[test]
fn what_bcrypt_would_not_look_at_is_no_password() {
    let (_server, address) = start("secret", FAST, 1);
    let mut stream = connect(address);
    assert_eq!(status(&mut stream, "ann:secret\0secret"), 401);
    assert_eq!(status(&mut stream, "ann:secret\0"), 401);
    assert_eq!(status(&mut stream, "ann:secret"), 200);

    let long = "x".repeat(72);
    let (_server, address) = start(&long, FAST, 1);
    let mut stream = connect(address);
    assert_eq!(status(&mut stream, format!("ann:{long}y")), 401);
    assert_eq!(status(&mut stream, format!("ann:{long}")), 200);
    assert_eq!(status(&mut stream, format!("ann:{}", &long[1..])), 401);
}
