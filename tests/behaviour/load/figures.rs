//! The generator's figures for servers with known delays.

use super::servers::{FakeServer, OK, answer, client, read_request};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Answer, Connections, Outcome, Population, Think};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// No answer arrives before the server's delay is over, and few arrive much later.
#[test]
fn latencies_match_the_servers_delay() {
    let delay = 30 * MILLI;
    let server = FakeServer::start(move |stream, _| answer(stream, delay, OK));
    for connections in [Connections::NewEach, Connections::Kept(100)] {
        let starts = Arrivals::poisson(200.0, 1).starts(Stop::Count(100));
        let run = client(server.address, connections).open_loop(&starts).unwrap();
        let intended: Vec<_> = {
            let mut sorted = run.outcomes.clone();
            sorted.sort_by_key(|outcome| outcome.intended);
            sorted.iter().map(|outcome| outcome.intended).collect()
        };
        assert_eq!(intended, starts, "an outcome for each start");
        for outcome in &run.outcomes {
            assert_eq!((outcome.answer, outcome.tries), (Answer::Status(200), 1));
            assert_eq!(outcome.bytes, OK.len() as u64);
            let begun = outcome.begun.unwrap();
            let connected = outcome.connected.unwrap();
            let first_byte = outcome.first_byte.unwrap();
            assert!(outcome.intended + outcome.lateness <= begun);
            assert!(begun <= connected && connected <= first_byte && first_byte <= outcome.ended);
            assert!(first_byte >= connected + delay);
            assert!(outcome.latency() >= delay);
            assert!(outcome.service_clock().unwrap() >= delay);
        }
        let summary = run.summary();
        assert_eq!((summary.count(), summary.success_count(), summary.tries()), (100, 100, 100));
        let median = summary.quantile(0.5).unwrap();
        assert!((delay..10 * delay).contains(&median), "{median:?}");
        assert_eq!(run.conduct.lateness().count(), 100);
    }
}

/// A stall of the server affects all requests that are meant to start during it. A clock that
/// starts when a request is sent, as in a closed loop, shows one slow request.
#[test]
fn a_stall_shows_from_the_intended_start_and_hides_from_a_closed_clock() {
    let stall = 400 * MILLI;
    let stalled = AtomicBool::new(false);
    let server = FakeServer::start(move |mut stream, _| {
        let mut count = 0;
        while read_request(&mut stream) {
            count += 1;
            if count == 20 && !stalled.swap(true, SeqCst) {
                thread::sleep(stall);
            }
            stream.write_all(OK).unwrap();
        }
    });
    // One connection, 100 requests per second for a second: 40 of them are meant to start in the
    // stall.
    let starts = Arrivals::constant(100.0).starts(Stop::Count(100));
    let run = client(server.address, Connections::Kept(1)).open_loop(&starts).unwrap();
    assert_eq!(server.accepted(), 1);
    let stalled_at = starts[19];
    let slow = |clock: fn(&Outcome) -> Duration| {
        run.outcomes.iter().filter(|outcome| clock(outcome) >= stall / 4).count()
    };
    let by_intended = slow(Outcome::latency);
    let by_closed = slow(|outcome| outcome.service_clock().unwrap());
    // Requests meant to start in the first three quarters of the stall waited for at least a
    // quarter.
    assert!(by_intended >= 29, "{by_intended}");
    assert!(by_closed < by_intended / 2, "{by_closed} of {by_intended}");
    for outcome in run.outcomes.iter().filter(|outcome| outcome.intended >= stalled_at) {
        let left = (stalled_at + stall).saturating_sub(outcome.intended);
        assert!(outcome.latency() >= left, "{outcome:?}");
    }
    let p90 = run.summary().quantile(0.9).unwrap();
    assert!(p90 >= 2 * stall / 4, "the percentiles show it: {p90:?}");
}

#[test]
fn the_servers_own_times_are_recorded() {
    let timed = b"HTTP/1.1 200 OK\r\nServer-Timing: queue_wait;dur=1.5, handle;dur=20.25\r\n\
                  Content-Length: 0\r\n\r\n";
    let server = FakeServer::start(move |stream, _| answer(stream, Duration::ZERO, timed));
    let outcome = super::servers::ask_once(&client(server.address, Connections::NewEach));
    let micros = |micros| Some(Duration::from_micros(micros));
    assert_eq!(outcome.server.queue_wait, micros(1500));
    assert_eq!(outcome.server.handle, micros(20_250));
    assert_eq!(outcome.server.response_head, None);
}

/// N clients that think for Z have at most one request each, and send at most N/(Z+R).
#[test]
fn a_closed_loop_sends_after_the_answer_and_the_think_time() {
    let delay = 10 * MILLI;
    let server = FakeServer::start(move |stream, _| answer(stream, delay, OK));
    let seed = 1;
    for think in
        [Think::None, Think::Fixed(20 * MILLI), Think::Exponential { mean: 20 * MILLI, seed }]
    {
        let population = Population { clients: 5, think };
        let client = client(server.address, Connections::Kept(5));
        let run = client.closed_loop(&population, Stop::Count(60)).unwrap();
        assert_eq!(run.outcomes.len(), 60);
        assert!(run.outcomes.iter().all(|outcome| outcome.latency() >= delay));
        // At most five at a time.
        for outcome in &run.outcomes {
            let at = outcome.intended;
            let others = run.outcomes.iter().filter(|o| o.intended <= at && at < o.ended);
            assert!(others.count() <= 5);
        }
        let rounds = 60 / 5;
        if let Think::Fixed(time) = think {
            assert!(run.conduct.length() >= rounds * (time + delay));
        }
        assert!(run.conduct.length() >= rounds * delay);
        assert!(run.conduct.spoilt(Duration::from_secs(100)).is_empty());
    }
    assert!(server.accepted() <= 15, "connections are kept");
}

#[test]
fn a_closed_loop_ends_when_its_time_is_over() {
    let server = FakeServer::start(move |stream, _| answer(stream, MILLI, OK));
    let population = Population { clients: 3, think: Think::None };
    let length = 200 * MILLI;
    let run = client(server.address, Connections::Kept(3))
        .closed_loop(&population, Stop::After(length))
        .unwrap();
    assert!(run.outcomes.len() >= 3);
    assert!(run.outcomes.iter().all(|outcome| outcome.intended < length));
    assert!(run.outcomes.iter().all(|outcome| outcome.answer == Answer::Status(200)));
}
