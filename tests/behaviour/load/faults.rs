//! Servers that refuse, reset, stay silent, trickle or send garbage, and impatient clients.

use super::servers::{FakeServer, OK, PATIENCE, answer, ask_once, client, read_request};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{
    Advice, Answer, Client, Connections, Failure, Outcome, Pause, Population, Retries, Spoilt,
    Think,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(100);

fn new_each(target: SocketAddr) -> Client {
    client(target, Connections::NewEach)
}

/// An address on which nothing listens.
fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn each_fault_has_its_own_failure_kind() {
    let failure = |serve: fn(std::net::TcpStream)| {
        let server = FakeServer::start(move |stream, _| serve(stream));
        ask_once(&new_each(server.address)).answer
    };
    assert_eq!(ask_once(&new_each(closed_port())).answer, Answer::Failed(Failure::Refused));
    let reset = failure(|mut stream| {
        read_request(&mut stream);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(reset, Answer::Failed(Failure::Reset));
    let closed = failure(|mut stream| {
        read_request(&mut stream);
    });
    assert_eq!(closed, Answer::Failed(Failure::Closed));
    let cut = failure(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").unwrap();
    });
    assert_eq!(cut, Answer::Failed(Failure::Cut));
    for nonsense in [&b"SSH-2.0-OpenSSH\r\n"[..], b"HTTP/1.1 what\r\n\r\n", b"\0\xff\xfe"] {
        let server = FakeServer::start(move |mut stream, _| {
            read_request(&mut stream);
            stream.write_all(nonsense).unwrap();
        });
        let answer = ask_once(&new_each(server.address)).answer;
        assert_eq!(answer, Answer::Failed(Failure::Malformed), "{}", nonsense.escape_ascii());
    }
}

/// Received bytes do not restart a client's patience.
#[test]
fn silent_and_trickling_servers_end_the_patience() {
    let silent = FakeServer::start(|mut stream, _| {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let trickling = FakeServer::start(|mut stream, _| {
        read_request(&mut stream);
        for byte in OK.iter().cycle() {
            thread::sleep(Duration::from_millis(5));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    // This server never accepts: the kernel completes the connection.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    for target in [silent.address, trickling.address, deaf.local_addr().unwrap()] {
        for connections in [Connections::NewEach, Connections::Kept(1)] {
            let patient = Client { patience: SHORT, ..client(target, connections) };
            let outcome = ask_once(&patient);
            assert_eq!(outcome.answer, Answer::TimedOut);
            assert!(outcome.latency() >= SHORT);
        }
    }
}

/// A request that waits in vain for a kept connection times out, and is counted.
#[test]
fn patience_also_ends_without_a_connection() {
    let server = FakeServer::start(|stream, _| answer(stream, PATIENCE / 2, OK));
    let patient = Client { patience: SHORT, ..client(server.address, Connections::Kept(1)) };
    let run = patient.open_loop(&[Duration::ZERO; 3]).unwrap();
    assert!(run.outcomes.iter().all(|outcome| outcome.answer == Answer::TimedOut));
    let unbegun = run.outcomes.iter().filter(|outcome| outcome.begun.is_none()).count();
    assert_eq!(unbegun, 2);
    let summary = run.summary();
    assert_eq!((summary.count(), summary.success_count()), (3, 0));
    assert_eq!(summary.quantile(0.5), None, "failures are part of the sample");
}

/// A connection attempt that hangs delays no other request.
#[test]
fn a_stalled_connect_delays_no_other_request() {
    // The system drops connection attempts while the listener's queue is full.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let target = listener.local_addr().unwrap().as_socket().unwrap();
    let starts = Arrivals::constant(200.0).starts(Stop::Count(30));
    let run = Client { patience: SHORT, ..new_each(target) }.open_loop(&starts).unwrap();
    assert_eq!(run.outcomes.len(), 30);
    assert!(run.outcomes.iter().all(|outcome| outcome.answer == Answer::TimedOut));
    let unconnected = run.outcomes.iter().filter(|outcome| outcome.connected.is_none()).count();
    assert!(unconnected > 0, "some handshakes hung");
    // If each had waited for the one before it, the last would have been seconds late.
    assert!(run.conduct.lateness().quantile(0.5) < Some(SHORT));
}

#[test]
fn tries_are_limited_and_only_temporary_errors_are_retried() {
    let refused = Client { retries: Retries::at_once(2), ..new_each(closed_port()) };
    let outcome = ask_once(&refused);
    assert_eq!((outcome.answer, outcome.tries), (Answer::Failed(Failure::Refused), 3));
    let rows: [(&'static [u8], u32); 4] = [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 3),
        (b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", 3),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 1),
        (OK, 1),
    ];
    for (response, tries) in rows {
        let server = FakeServer::start(move |stream, _| answer(stream, Duration::ZERO, response));
        let client = Client { retries: Retries::at_once(2), ..new_each(server.address) };
        assert_eq!(ask_once(&client).tries, tries, "{}", response.escape_ascii());
        assert_eq!(server.accepted(), tries as usize);
    }
}

#[test]
fn a_retry_can_succeed() {
    let server = FakeServer::start(|stream, number| match number {
        0..3 => drop(stream),
        _ => answer(stream, Duration::ZERO, OK),
    });
    for connections in [Connections::NewEach, Connections::Kept(1)] {
        let client = Client { retries: Retries::at_once(5), ..client(server.address, connections) };
        let outcome = ask_once(&client);
        assert_eq!(outcome.answer, Answer::Status(200));
    }
    assert_eq!(server.accepted(), 5);
}

/// `Retry-After` affects only clients that honour it.
#[test]
fn retry_after_is_honoured_only_if_configured() {
    let server = FakeServer::start(|stream, number| match number {
        0 | 2 => answer(
            stream,
            Duration::ZERO,
            b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        ),
        _ => answer(stream, Duration::ZERO, OK),
    });
    let mut retries = Retries { advice: Advice::Honoured, ..Retries::at_once(1) };
    let outcome = ask_once(&Client { retries, ..new_each(server.address) });
    assert_eq!((outcome.answer, outcome.tries), (Answer::Status(200), 2));
    assert!(outcome.latency() >= Duration::from_secs(1));
    retries.advice = Advice::Ignored;
    let outcome = ask_once(&Client { retries, ..new_each(server.address) });
    assert_eq!(outcome.tries, 2);
}

/// Pauses are random below a bound that doubles, so that clients refused together do not return
/// together.
#[test]
fn pauses_back_off_with_jitter() {
    let first = Duration::from_millis(40);
    let pause = Pause::Backoff { first, most: 2 * first, seed: 9 };
    let retries = Retries { most: 3, pause, ..Retries::NONE };
    let client = Client { retries, ..new_each(closed_port()) };
    let run = client.open_loop(&[Duration::ZERO; 40]).unwrap();
    let mut ends: Vec<Duration> = run.outcomes.iter().map(|outcome| outcome.ended).collect();
    ends.sort();
    assert!(run.outcomes.iter().all(|outcome| outcome.tries == 4));
    // The mean of the sum of three pauses is (40 + 80 + 80) / 2 ms, and the sum is at most twice
    // that.
    assert!(ends[20] >= first, "{:?}", ends[20]);
    assert!(ends[35] - ends[5] >= first / 2, "they differ: {ends:?}");
}

/// Clients that are refused at once and do not think retry at once; the load still ends.
#[test]
fn a_closed_loop_against_a_closed_port_ends() {
    let population = Population { clients: 4, think: Think::None };
    let begun = Instant::now();
    let run = new_each(closed_port()).closed_loop(&population, Stop::After(SHORT)).unwrap();
    assert!(begun.elapsed() < PATIENCE);
    assert!(!run.outcomes.is_empty());
    let refused = Answer::Failed(Failure::Refused);
    assert!(run.outcomes.iter().all(|outcome| outcome.answer == refused));
}

/// The test below runs this in a separate process: the limit concerns the whole process.
#[test]
#[ignore = "it uses up the descriptors of its process"]
fn out_of_descriptors() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(40), ..limit }).unwrap();
    let client = Client { patience: SHORT, ..new_each(silent.local_addr().unwrap()) };
    let run = client.open_loop(&[Duration::ZERO; 100]).unwrap();
    assert_eq!(run.outcomes.len(), 100, "failures are part of the sample");
    let out = Answer::Failed(Failure::NoDescriptors);
    let tries = run.outcomes.iter().filter(|outcome| outcome.answer == out).count() as u64;
    assert!(tries >= 60, "{tries}");
    let reasons = run.conduct.spoilt(PATIENCE);
    assert_eq!(reasons, [Spoilt::Descriptors { tries }]);
    let said = reasons[0].to_string();
    assert!(said.contains("no free descriptor") && said.contains("ulimit -n"), "{said}");
}

#[test]
fn a_shortage_of_descriptors_is_reported() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output =
        command.args(["--ignored", "--exact", "load::faults::out_of_descriptors"]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// A generator that falls behind makes the run invalid, and reports why.
#[test]
fn a_late_generator_makes_its_run_invalid() {
    let server = FakeServer::start(|stream, _| answer(stream, Duration::ZERO, OK));
    let starts = Arrivals::constant(1000.0).starts(Stop::Count(300));
    let client = client(server.address, Connections::Kept(1));
    let mut slow_reader = |_: Outcome| thread::sleep(Duration::from_millis(4));
    let conduct = client.open_loop_into(&starts, &mut slow_reader).unwrap();
    let reasons = conduct.spoilt(Duration::from_millis(1));
    assert!(reasons.iter().any(|reason| matches!(reason, Spoilt::Late { .. })), "{reasons:?}");
    assert!(reasons.iter().any(|reason| matches!(reason, Spoilt::Variation { .. })), "{reasons:?}");
    let said = reasons[0].to_string();
    assert!(said.contains("started") && said.contains("intended start"), "{said}");
}
