//! The test of Puma's hot restarts: requests go on through many upgrades, and none fails.

use super::chain::Place;
use super::clients::{Clients, Counts, Outcome};
use crate::support::wait_for;
use std::time::Instant;

const CLIENTS: usize = 10;

/// Makes the requests while one server after another takes over.
fn upgrade(restarts: usize, gets: usize, posts: usize) -> Counts {
    let place = Place::new();
    let options = ["0", "--workers", "2", "--quiet"];
    let mut server = place.start(&options);
    let clients = Clients::start(server.address(), CLIENTS, gets, posts);
    // The upgrades are spread over the requests.
    let each = (gets + posts) / (restarts + 1);
    for number in 1..=restarts {
        wait_for_requests(&clients, number * each);
        let next = place.start(&options);
        assert_eq!(next.address(), server.address());
        assert_eq!(server.code(), Some(0), "{}", server.log());
        server = next;
    }
    let counts = clients.finish();
    server.signal("TERM");
    assert_eq!(server.code(), Some(0));
    assert!(!place.path().exists(), "the last one removes the path");
    counts
}

fn wait_for_requests(clients: &Clients, wanted: usize) {
    wait_for("requests", || (clients.made() >= wanted).then_some(()));
}

fn check(counts: &Counts, gets: usize, posts: usize) {
    let successes = |method| counts.get(&(method, Outcome::Success)).copied().unwrap_or_default();
    assert!(successes("GET") >= gets && successes("POST") >= posts, "{counts:?}");
    assert_eq!(counts.len(), 2, "nothing but successes: {counts:?}");
}

/// A fifth of the whole, which takes a second to ten, as the machine is.
#[test]
fn requests_go_on_through_forty_upgrades() {
    check(&upgrade(40, 20_000, 600), 20_000, 600);
}

/// The whole: `cargo test --test behaviour upgrade -- --ignored --nocapture`.
#[test]
#[ignore = "it takes five seconds to a minute"]
fn requests_go_on_through_two_hundred_upgrades() {
    let begin = Instant::now();
    let counts = upgrade(200, 100_000, 3_000);
    eprintln!("200 upgrades in {:.1} s: {counts:?}", begin.elapsed().as_secs_f64());
    check(&counts, 100_000, 3_000);
}
