//! Upgrades and stops at odd moments, under load.

use super::chain::{Place, Running};
use super::clients::{Clients, Outcome};
use crate::support::wait_for;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const STORMS: u64 = 50;

const OPTIONS: [&str; 5] = ["0", "--workers", "2", "--drain-timeout", "5s"];

/// Spins, because a sleep is too coarse for the moments that matter here.
fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Each storm leaves one server, which some client reaches at every moment.
#[test]
fn no_request_is_lost_in_fifty_storms() {
    let place = Place::new();
    let mut server = place.start(&OPTIONS);
    let clients = Clients::start(server.address(), 4, 0, 0);
    for storm in 0..STORMS {
        server = match storm % 4 {
            0 | 1 => stop_the_old_one_meanwhile(&place, server, storm),
            2 => two_at_once(&place, server),
            _ => one_that_dies_half_way(&place, server, storm),
        };
        let made = clients.made();
        wait_for("more requests", || (clients.made() > made + 8).then_some(()));
    }
    let counts = clients.finish();
    assert!(counts.keys().all(|(_, outcome)| *outcome == Outcome::Success), "{counts:?}");
    assert!(server.is_running());
    server.signal("TERM");
    assert_eq!(server.code(), Some(0), "{}", server.log());
}

/// The old server is told to stop at some moment of its successor's last steps.
fn stop_the_old_one_meanwhile(place: &Place, mut old: Running, storm: u64) -> Running {
    let mut next = place.start(&OPTIONS);
    spin(Duration::from_micros(40 * storm));
    old.signal("TERM");
    assert_eq!(old.code(), Some(0), "{}", old.log());
    assert!(next.is_running(), "{}", next.log());
    // It offers the path when it has taken over.
    wait_for("the end of the takeover", || {
        ["took over from process", "has ended"]
            .iter()
            .any(|text| next.log().contains(text))
            .then_some(())
    });
    next
}

/// Both want to take over: they do, one after the other.
fn two_at_once(place: &Place, mut old: Running) -> Running {
    let mut both = [(); 2].map(|()| place.spawn(place.command(&OPTIONS)));
    assert_eq!(old.code(), Some(0), "{}", old.log());
    wait_for("one of them to end", || both.iter_mut().any(|one| !one.is_running()).then_some(()));
    let [mut one, mut other] = both;
    let (mut first, mut last) = if one.is_running() {
        (other, one)
    } else {
        std::mem::swap(&mut one, &mut other);
        (other, one)
    };
    assert_eq!(first.code(), Some(0), "{}", first.log());
    assert!(last.is_running(), "{}", last.log());
    last.logs("took over from process");
    last
}

/// A successor dies after each of the lines that it says. The server goes on.
fn one_that_dies_half_way(place: &Place, old: Running, storm: u64) -> Running {
    let lines = ["cws-takeover 1 0\n", "ready\n"];
    let said = storm as usize / 4 % 3;
    let mut link = UnixStream::connect(place.path()).unwrap();
    for line in &lines[..said] {
        link.write_all(line.as_bytes()).unwrap();
        // The sockets come with these bytes, and are dropped.
        assert!(link.read(&mut [0; 4096]).unwrap() > 0);
    }
    let before = old.log().matches("goes on").count();
    drop(link);
    if said > 0 {
        wait_for("the old one to go on", || {
            (old.log().matches("goes on").count() > before).then_some(())
        });
    }
    old
}

/// Whatever the moment at which a new server is told to stop, one of the two ends as it was told,
/// and the other is what it was.
#[test]
fn a_new_server_that_is_stopped_while_it_starts_leaves_one_state_or_the_other() {
    let place = Place::new();
    let mut old = place.start(&OPTIONS);
    for round in 0..20 {
        let mut next = place.spawn(place.command(&OPTIONS));
        spin(Duration::from_millis(3 * round));
        next.signal("TERM");
        let code = next.code();
        if next.log().contains("took over from process") {
            assert_eq!((code, old.code()), (Some(0), Some(0)), "{}", next.log());
            assert!(!place.path().exists(), "nobody serves");
            old = place.start(&OPTIONS);
        } else {
            // By the signal itself, before it was handled, or because of it.
            assert!([None, Some(1)].contains(&code), "{code:?}: {}", next.log());
            assert!(old.is_running(), "{}", old.log());
        }
        assert_eq!(crate::support::get(old.address(), "/testfile").status, 200);
    }
    old.signal("TERM");
    assert_eq!(old.code(), Some(0));
    assert!(fs::metadata(place.path()).is_err());
}
