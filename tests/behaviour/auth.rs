//! Basic authentication: guesses hold no worker, and known users are let in.
#![cfg(feature = "auth")]
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cws::{Accepts, BasicAuth, Config, Error, Handler, Request, Response, Server, User};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// With this cost a check takes a good part of a second, long enough for other requests.
const SLOW: u32 = 12;
const FAST: u32 = 4;

fn start(password: &str, cost: u32, workers: usize) -> (Server, SocketAddr) {
    start_with(password, cost, Config::default().workers(workers))
}

fn start_with(password: &str, cost: u32, config: Config) -> (Server, SocketAddr) {
    let user = format!("ann:{}", bcrypt::hash(password, cost).unwrap());
    let inner = |_: &Request<'_>| Response::ok("text/plain", "the secret");
    let handler = BasicAuth::new(vec![User::parse(&user).unwrap()], inner);
    // A check may take long on a busy machine.
    let config = config.queue_timeout(crate::support::PATIENCE);
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

/// There is one worker, so a check on it would delay the known user.
#[test]
fn guesses_do_not_delay_a_known_user() {
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

/// Requests whose check is done all return to the queue at once, even if it is short.
#[test]
fn a_short_queue_takes_back_all_requests_after_their_check() {
    let config = Config::default().workers(1).queue(1);
    let (server, address) = start_with("good", SLOW, config);
    let mut streams: Vec<_> = (0..6).map(|_| connect(address)).collect();
    for (at, stream) in streams.iter_mut().enumerate() {
        ask(stream, "ann:good");
        crate::support::wait_for("it to wait without a worker", || {
            (server.snapshot().get(cws::Counter::Unhandled) > at as u64).then_some(())
        });
    }
    for stream in &mut streams {
        assert_eq!(Reply::read(stream).status, 200);
    }
}

/// Different passwords are checked one after another. Every request gets its response.
#[test]
fn different_passwords_are_checked_one_after_another() {
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

/// A client that disconnects during the check costs nothing more than the check.
#[test]
fn a_client_that_disconnects_during_its_check_is_dropped() {
    let (server, address) = start("good", 10, 1);
    let mut streams: Vec<_> = (0..8).map(|_| connect(address)).collect();
    for (at, stream) in streams.iter_mut().enumerate() {
        ask(stream, format!("ann:guess{at}"));
        // Closed with a reset, which the server sees at once.
        socket2::SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
    drop(streams);
    assert_eq!(status(&mut connect(address), "ann:good"), 200);
    crate::support::wait_for("the others to be gone", || {
        (server.open_connections() == 0).then_some(())
    });
}

#[test]
fn passwords_that_bcrypt_would_truncate_are_refused() {
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

/// A handler that takes bodies gets them behind a password, too.
#[test]
fn bodies_pass_the_password() {
    struct Length;

    impl Handler for Length {
        type State = ();

        fn state(&self, _: usize) {}

        fn accepts(&self) -> Accepts {
            Accepts::nothing().with_bodies("/", 100)
        }

        fn handle(&self, request: &Request<'_>, _: &mut ()) -> Result<Response, Error> {
            Ok(Response::text(request.body().len().to_string()))
        }
    }

    let user = User::parse(&format!("ann:{}", bcrypt::hash("good", FAST).unwrap())).unwrap();
    let handler = BasicAuth::new(vec![user], Length);
    let server = Server::start(Config::default().workers(1), handler).unwrap();
    let mut stream = connect(server.addresses()[0]);
    for credentials in ["ann:good", "ann:good"] {
        let token = STANDARD.encode(credentials);
        let fields = format!("Host: a\r\nContent-Length: 5\r\nAuthorization: Basic {token}");
        write!(stream, "POST / HTTP/1.1\r\n{fields}\r\n\r\nhello").unwrap();
        assert_eq!(Reply::read(&mut stream).body, b"5");
    }
}
