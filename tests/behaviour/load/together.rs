//! Several groups of clients at once, each from its own address, and the limits that they set
//! themselves.

use super::servers::{FakeServer, OK, answer, client};
use lab::arrivals::{Arrivals, Stop};
use lab::load::{Answer, Client, Connections, Group, Limit, Retries, Starts, run_together};
use std::net::Ipv4Addr;
use std::time::Duration;

const BUSY: &[u8] = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";

/// Every address of 127.0.0.0/8 is local on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn each_group_has_its_own_address_and_its_own_connections() {
    use lab::load::{Population, Think};
    use std::collections::BTreeMap;
    use std::net::IpAddr;
    use std::sync::{Arc, Mutex};

    let address = |last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
    let seen: Arc<Mutex<BTreeMap<IpAddr, usize>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let server = FakeServer::start(move |stream, _| {
        *noted.lock().unwrap().entry(stream.peer_addr().unwrap().ip()).or_default() += 1;
        answer(stream, Duration::ZERO, OK);
    });
    let from = |last, connections| Client {
        source: Some(address(last)),
        ..client(server.address, connections)
    };
    let starts = Arrivals::constant(1000.0).starts(Stop::Count(20));
    let population = Population { clients: 3, think: Think::None };
    let groups = [
        Group { client: from(2, Connections::NewEach), starts: Starts::Open(&starts) },
        Group { client: from(3, Connections::Kept(1)), starts: Starts::Open(&starts[..10]) },
        Group {
            client: from(4, Connections::Kept(3)),
            starts: Starts::Closed(population, Stop::Count(30)),
        },
    ];
    let runs = run_together(&groups).unwrap();
    let counts: Vec<usize> = runs.iter().map(|run| run.outcomes.len()).collect();
    assert_eq!(counts, [20, 10, 30]);
    let outcomes = runs.iter().flat_map(|run| &run.outcomes);
    assert!(outcomes.into_iter().all(|outcome| outcome.answer == Answer::Status(200)));
    let seen = seen.lock().unwrap();
    assert_eq!((seen[&address(2)], seen[&address(3)]), (20, 1));
    assert!((1..=3).contains(&seen[&address(4)]), "{seen:?}");
    // Each group's start times are its own.
    assert_eq!(runs[1].outcomes.iter().map(|each| each.intended).max(), Some(starts[9]));
}

#[test]
fn without_an_address_of_its_own_a_client_gets_one_from_the_system() {
    let server = FakeServer::start(|stream, _| {
        assert_eq!(stream.peer_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
        answer(stream, Duration::ZERO, OK);
    });
    let groups = [Group {
        client: client(server.address, Connections::NewEach),
        starts: Starts::Open(&[Duration::ZERO]),
    }];
    assert_eq!(run_together(&groups).unwrap()[0].outcomes[0].answer, Answer::Status(200));
}

/// A full budget of ten tokens pays for ten retries of all requests together.
#[test]
fn a_budget_limits_the_retries_of_all_requests() {
    let server = FakeServer::start(|stream, _| answer(stream, Duration::ZERO, BUSY));
    let retries = Retries { limit: Limit::BUDGET, ..Retries::at_once(3) };
    let client = Client { retries, ..client(server.address, Connections::NewEach) };
    let run = client.open_loop(&[Duration::ZERO; 20]).unwrap();
    let tries: u32 = run.outcomes.iter().map(|outcome| outcome.tries).sum();
    assert_eq!((tries, server.accepted()), (30, 30));
}

/// A throttled client withholds most requests from a server that accepts none.
#[test]
fn a_throttle_withholds_what_would_be_refused() {
    let server = FakeServer::start(|stream, _| answer(stream, Duration::ZERO, BUSY));
    let limit = Limit::throttle(Duration::from_secs(60), 1);
    let retries = Retries { limit, ..Retries::at_once(3) };
    let client = Client { retries, ..client(server.address, Connections::NewEach) };
    let starts = Arrivals::constant(2000.0).starts(Stop::Count(400));
    let run = client.open_loop(&starts).unwrap();
    assert_eq!(run.outcomes.len(), 400);
    // The expected number of tries is about the sum of 1 / (n + 1) over all n: a logarithm.
    let tries: u32 = run.outcomes.iter().map(|outcome| outcome.tries).sum();
    assert_eq!(tries as usize, server.accepted());
    assert!((1..40).contains(&tries), "{tries}");
    let withheld = run.outcomes.iter().filter(|outcome| outcome.answer == Answer::Withheld);
    assert!(withheld.count() > 360);
}
