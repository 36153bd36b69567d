//! The limits of rates, for a connection and for all together: how exact they are, who is held up
//! by them, and what they cost.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]

use crate::support::{PATIENCE, Reply, Site, connect, get, wait_for};
use bytes::Bytes;
use cws::{Body, CloseReason, Config, Handler, Request, Response, Server, StaticFiles, Stream};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";

/// Settings of a server whose end waits for nobody.
fn hasty() -> Config {
    Config::default().workers(2).drain_timeout(Duration::ZERO)
}

/// Answers `/large` with so many bytes, and `/stream` with a stream.
fn bytes_in_memory(length: usize) -> impl Handler {
    let large = Bytes::from(vec![b'x'; length]);
    move |request: &Request<'_>| match request.target.raw {
        b"/large" => Response::text("").with_body(Body::Bytes(large.clone())),
        b"/stream" => {
            let pieces = (0..1_000_000).map(|_| Bytes::from(vec![b's'; 10_000]));
            Response::stream("text/plain", Stream::chunked(pieces))
        }
        _ => Response::text("small\n"),
    }
}

fn ask(address: SocketAddr, target: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// Bytes per second that a new connection gets within this time, from before it asks until the last
/// of them comes.
fn rate_of(address: SocketAddr, target: &str, time: Duration) -> f64 {
    let start = Instant::now();
    let mut stream = ask(address, target);
    let (mut buffer, mut sum) = (vec![0; 1 << 20], 0);
    loop {
        sum += stream.read(&mut buffer).unwrap();
        let elapsed = start.elapsed();
        if elapsed >= time {
            return sum as f64 / elapsed.as_secs_f64();
        }
    }
}

/// Bytes that a new connection gets until this moment.
fn got_until(address: SocketAddr, target: &str, end: Instant) -> usize {
    let mut stream = ask(address, target);
    let (mut buffer, mut sum) = (vec![0; 1 << 20], 0);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if Instant::now() > end {
            return sum;
        }
        sum += read;
    }
}

fn assert_near(rate: f64, limit: u64, what: &str) {
    let error = rate / limit as f64 - 1.0;
    assert!(error.abs() <= 0.03, "{what}: {:.2} % from {limit}", 100.0 * error);
}

/// All of this happens within the same five seconds: one limit for each connection, one for all
/// together, and both, for files, streams and content in memory.
#[test]
fn rates_are_within_three_percent() {
    const TIME: Duration = Duration::from_secs(5);
    let site = Site::new();
    site.put("large", vec![b'f'; 32 << 20]);
    let own = |rate| hasty().limit_rate(rate);
    let files = || StaticFiles::new(site.path()).unwrap();
    let slow = Server::start(own(10_000), files()).unwrap();
    let each = Server::start(own(1_000_000), bytes_in_memory(32 << 20)).unwrap();
    let fast = Server::start(own(5_000_000), files()).unwrap();
    let all = Server::start(hasty().limit_total(3_000_000), files()).unwrap();
    let both = own(400_000).limit_total(1_000_000);
    let both = Server::start(both, bytes_in_memory(32 << 20)).unwrap();
    let first = |server: &Server| server.addresses()[0];
    thread::scope(|scope| {
        let start = |server, target, times: usize| {
            let address = first(server);
            let one = move || rate_of(address, target, TIME);
            (0..times).map(|_| scope.spawn(one)).collect::<Vec<_>>()
        };
        let end = Instant::now() + TIME;
        let together = |server, target, times: usize| {
            let address = first(server);
            let one = move || got_until(address, target, end);
            (0..times).map(|_| scope.spawn(one)).collect::<Vec<_>>()
        };
        let owns = [
            ("a slow file", 10_000, start(&slow, "/large", 2)),
            ("bytes", 1_000_000, start(&each, "/large", 2)),
            ("a stream", 1_000_000, start(&each, "/stream", 2)),
            ("a file", 5_000_000, start(&fast, "/large", 1)),
        ];
        let totals =
            [(3_000_000, together(&all, "/large", 5)), (1_000_000, together(&both, "/stream", 4))];
        for (what, limit, threads) in owns {
            threads.into_iter().for_each(|one| assert_near(one.join().unwrap(), limit, what));
        }
        for (limit, threads) in totals {
            let sum: usize = threads.into_iter().map(|one| one.join().unwrap()).sum();
            assert_near(sum as f64 / TIME.as_secs_f64(), limit, "all together");
        }
    });
}

/// A client that the limit makes slow is not a slow client.
#[test]
fn a_fast_reader_is_not_dropped_for_the_limit() {
    let config = || hasty().write_timeout(Duration::from_millis(200)).min_rate(1 << 20);
    for config in [config().limit_rate(20_000), config().limit_total(40_000)] {
        let server = Server::start(config, bytes_in_memory(25_000)).unwrap();
        let clients = [(); 2].map(|()| {
            let mut stream = ask(server.addresses()[0], "/large");
            thread::spawn(move || Reply::read(&mut stream).body.len())
        });
        assert_eq!(clients.map(|client| client.join().unwrap()), [25_000; 2]);
        assert_eq!(server.snapshot().closed(CloseReason::WriteTimeout), 0);
    }
}

/// One that does not take what the limit lets it have is one all the same.
#[test]
fn a_reader_that_is_slower_than_the_limit_is_dropped() {
    let config = || hasty().write_timeout(Duration::from_millis(500)).min_rate(1 << 20);
    for config in [config().limit_rate(4 << 20), config().limit_total(4 << 20)] {
        let server = Server::start(config, bytes_in_memory(64 << 20)).unwrap();
        let stream = connect(server.addresses()[0]);
        socket2::SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
        (&stream).write_all(LARGE).unwrap();
        // It reads at a fifth of the minimum rate.
        let mut buffer = vec![0; 10_000];
        wait_for("the slow client to be closed", || {
            thread::sleep(Duration::from_millis(50));
            let _ = (&stream).read(&mut buffer);
            (server.snapshot().closed(CloseReason::WriteTimeout) == 1).then_some(())
        });
    }
}

/// The limit is the connection's: requests that follow one another share it.
#[test]
fn many_small_responses_of_one_connection_share_its_limit() {
    const RATE: u64 = 100_000;
    let config = hasty().limit_rate(RATE);
    let server = Server::start(config, bytes_in_memory(1000)).unwrap();
    let address = server.addresses()[0];
    // One after the other, and all at once.
    for pipelined in [1, 50] {
        let (mut stream, start, mut sum) = (connect(address), Instant::now(), 0);
        for _ in 0..100 / pipelined {
            stream.write_all(&LARGE.repeat(pipelined)).unwrap();
            for _ in 0..pipelined {
                sum += Reply::read(&mut stream).body.len();
            }
        }
        assert_eq!(sum, 100_000);
        // Heads count, too; what may go at once is the rate of 50 ms.
        let least = (sum as f64 / RATE as f64) - 0.05;
        let elapsed = start.elapsed().as_secs_f64();
        assert!(elapsed >= least, "{elapsed} s for {sum} bytes, {pipelined} at once");
    }
}

/// Reads until another client has got so many bytes; returns what this one has got by then.
fn read_until(stream: &mut TcpStream, piece: usize, pause: Duration, end: Instant) -> usize {
    let (mut buffer, mut sum) = (vec![0; piece], 0);
    while Instant::now() < end {
        sum += stream.read(&mut buffer).unwrap();
        thread::sleep(pause);
    }
    sum
}

/// Whoever takes what it gets has as much as the others, whatever it does; what a slow one leaves,
/// they share.
#[test]
fn all_together_share_a_limit_fairly() {
    const TOTAL: u64 = 2_000_000;
    let config = hasty().limit_total(TOTAL);
    let server = Server::start(config, bytes_in_memory(64 << 20)).unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    let got = thread::scope(|scope| {
        let readers = [(1 << 20, 0, "/large"), (4096, 0, "/large"), (4000, 40, "/stream")];
        let threads = readers.map(|(piece, pause, target)| {
            let stream = connect(server.addresses()[0]);
            if pause > 0 {
                // It takes 100 KB/s, and the kernel holds little for it.
                socket2::SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
            }
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            (&stream).write_all(request.as_bytes()).unwrap();
            let pause = Duration::from_millis(pause);
            let mut stream = stream;
            scope.spawn(move || read_until(&mut stream, piece, pause, end))
        });
        threads.map(|thread| thread.join().unwrap() as f64)
    });
    let [one, other, slow] = got;
    assert!((one / other - 1.0).abs() < 0.15, "{got:?}");
    assert!(slow < one / 2.0, "{got:?}");
    assert!(one + other > TOTAL as f64 * 1.2, "they have more than two thirds: {got:?}");
}

/// At this rate, with so many that wait, a turn comes once in five seconds.
#[test]
fn small_responses_do_not_wait_behind_large_ones() {
    let config = hasty().limit_total(50_000).health("/healthz".to_owned());
    let server = Server::start(config, bytes_in_memory(64 << 20)).unwrap();
    let address = server.addresses()[0];
    let _large: Vec<_> = (0..200).map(|_| ask(address, "/large")).collect();
    wait_for("all to wait", || {
        (server.snapshot().connections(cws::ConnectionPhase::Flushing) == 200).then_some(())
    });
    let start = Instant::now();
    for target in ["/", "/healthz"].repeat(5) {
        assert_eq!(get(address, target).status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_drain_ends_limited_responses_at_its_timeout_and_not_before() {
    let config = || Config::default().workers(1).limit_rate(100_000).limit_total(200_000);
    let patient = config().drain_timeout(PATIENCE);
    let server = Server::start(patient, bytes_in_memory(40_000)).unwrap();
    let mut stream = ask(server.addresses()[0], "/large");
    stream.read_exact(&mut [0]).unwrap();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| all.len())
    });
    assert_eq!(server.shutdown().cut, 0);
    assert!(reader.join().unwrap().unwrap() > 40_000);

    let hasty = config().drain_timeout(Duration::from_millis(200));
    let server = Server::start(hasty, bytes_in_memory(64 << 20)).unwrap();
    let mut streams: Vec<_> = (0..3).map(|_| ask(server.addresses()[0], "/large")).collect();
    for stream in &mut streams {
        stream.read_exact(&mut [0]).unwrap();
    }
    let start = Instant::now();
    assert_eq!(server.shutdown().cut, 3);
    assert!(start.elapsed() < PATIENCE / 2);
}

/// While they wait, whatever their clients do, the acceptor wakes at most once for each tick of 5
/// ms. One that spins comes round ten thousand times a second.
#[test]
fn whoever_waits_for_a_limit_costs_no_wakeup() {
    let site = Site::new();
    site.put("large", vec![b'f'; 8 << 20]);
    let config = || hasty().limit_rate(10_000);
    for config in [config(), config().limit_total(20_000)] {
        let server = Server::start(config, StaticFiles::new(site.path()).unwrap()).unwrap();
        let address = server.addresses()[0];
        // One asks for more meanwhile, one has said all it says, one goes.
        let mut streams: Vec<_> = (0..6).map(|_| ask(address, "/large")).collect();
        streams[0].write_all(&LARGE.repeat(3)).unwrap();
        streams[1].shutdown(Shutdown::Write).unwrap();
        streams[2].read_exact(&mut [0]).unwrap();
        drop(streams.remove(2));
        wait_for("the gone client to be noticed", || {
            (server.open_connections() == 5).then_some(())
        });
        let (before, start) = (server.observer().rounds(), Instant::now());
        let mut got = 0;
        while start.elapsed() < Duration::from_millis(700) {
            got += streams[3].read(&mut [0; 4096]).unwrap();
        }
        let rounds = server.observer().rounds() - before;
        let ticks = start.elapsed().as_millis() as u64 / 5;
        assert!(rounds <= 2 * ticks, "{rounds} rounds in {ticks} ticks");
        assert!(got > 0, "it was sent something meanwhile");
    }
}

/// A request that arrives while a response waits for its limit is answered as soon as that has
/// gone: one that only the next look at idle connections finds takes a quarter of a second more.
#[test]
fn requests_that_come_during_a_pause_are_answered() {
    let server = Server::start(hasty().limit_rate(500_000), bytes_in_memory(30_000)).unwrap();
    let (mut stream, start) = (ask(server.addresses()[0], "/large"), Instant::now());
    for _ in 0..20 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(LARGE).unwrap();
        stream.read_exact(&mut vec![0; 30_000]).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// Those that wait go on when the limit is lifted, or sink to a new one.
#[test]
fn limits_change_while_responses_wait() {
    let server =
        Server::start(hasty().limit_rate(2000).limit_total(2000), bytes_in_memory(1_000_000));
    let server = server.unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| ask(server.addresses()[0], "/large")).collect();
    for client in &mut clients {
        client.read_exact(&mut [0]).unwrap();
    }
    let reloader = server.reloader();
    let handler = bytes_in_memory(1);
    reloader.reload(&Config::default(), &handler);
    for client in &mut clients {
        client.read_exact(&mut vec![0; 1_000_000]).unwrap();
    }
    reloader.reload(&hasty().limit_rate(100_000), &handler);
    let rate = rate_of(server.addresses()[0], "/large", Duration::from_secs(1));
    assert!(rate < 110_000.0, "{rate}");
}

#[test]
fn limits_that_let_nothing_through_are_errors() {
    for config in [Config::default().limit_rate(0), Config::default().limit_total(1023)] {
        let error = Server::check(&config).unwrap_err().to_string();
        assert!(error.contains("bytes per second for") && error.contains("1024"), "{error}");
    }
}
