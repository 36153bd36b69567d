//! Tests interleavings of the threads that park, arm, take, nudge and close, on the real parking
//! code.
//!
//! The files of `src/parking` are compiled over simulated locks, sockets and a simulated poller, so
//! that `shuttle` decides at each step which thread runs next. Every run tries the same schedules.
//! `CWS_MODEL_RUNS` sets their number for each plan and scheduler. Small runs are tried in every
//! order with a few preemptions (`CWS_MODEL_PREEMPTIONS`). A failure prints its schedule, which
//! `shuttle::replay` repeats.
//!
//! The model assumes sequential consistency. That is enough, because the locks order everything
//! except the number of the highest slot.
#![allow(dead_code, reason = "each variant of the model uses a part")]
#![allow(clippy::duplicate_mod, reason = "parking is compiled once for each kind of slot")]

#[cfg(target_os = "linux")]
mod fidelity;
mod kernel;
mod notes;
mod plan;
mod planted;
mod poller;
mod preemption;
mod primitives;
mod search;
mod sound;

use plan::{Act::*, PLAIN, Plan, exhaust, explore};
use planted::slot::{BUG, Bug};
use shuttle::FailurePersistence;
use sound::tiny::Event;
use std::panic::{self, AssertUnwindSafe};

/// One request after another, and some at once. The second connection reuses the descriptor number
/// of the first.
const KEPT: Plan = Plan {
    peers: &[&[
        &[Send(1), Receive(1), Send(2), Receive(2), Send(1), Receive(1), End],
        &[Send(3), Receive(3), End],
    ]],
    ..PLAIN
};

/// Connections that open and close, so that descriptor numbers are reused while events for them are
/// pending.
const REUSED: Plan = Plan {
    peers: &[
        &[&[Send(1), End, Receive(1)], &[Send(1), Receive(1), Reset], &[Send(2), Reset]],
        &[&[Send(1), Receive(1), End], &[Send(1), End, Receive(1)]],
    ],
    workers: 2,
    ..PLAIN
};

/// Some requests wait for another thread, and others do not.
const NUDGED: Plan = Plan {
    peers: &[
        &[&[Send(1), Receive(1), Send(2), Receive(2), End], &[Send(1), Receive(1), End]],
        &[&[Send(2), Reset], &[Send(1), End, Receive(1)]],
    ],
    errands: true,
    ..PLAIN
};

/// Nudges for whichever connection is there. Some connections have no room to write.
const ASTRAY: Plan = Plan {
    peers: &[
        &[&[Send(2), Receive(2), Send(1), Receive(1), End], &[Send(1), Receive(1), End]],
        &[&[Send(1), Leave, End]],
    ],
    strays: 4,
    ..PLAIN
};

/// The acceptor also takes connections without an event, and closes some of them.
const SWEPT: Plan = Plan {
    peers: &[
        &[&[Send(1), Receive(1), Send(1), Receive(1), End], &[Send(1), Receive(1), End]],
        &[&[Send(2), Receive(2), End], &[Send(1), End, Receive(1)]],
    ],
    batch: 2,
    errands: true,
    strays: 1,
    sweeps: true,
    ..PLAIN
};

/// Requests that come while the answer to the one before is written.
const LINED: Plan = Plan {
    peers: &[
        &[&[Send(1), Receive(1), Send(1), Send(1), Receive(2), Send(1), Receive(1), End]],
        &[&[Send(1), Receive(1), Send(1), Send(1), Send(1), Receive(3), End]],
    ],
    room: 3,
    ..PLAIN
};

fn assert_holds(plan: Plan) {
    explore(move || sound::scenario::run(plan), FailurePersistence::Print);
}

#[test]
fn persistent_connections_lose_no_request() {
    assert_holds(KEPT);
}

#[test]
fn a_turn_hides_no_event() {
    assert_holds(LINED);
}

#[test]
fn reused_descriptor_numbers_lose_no_event() {
    assert_holds(REUSED);
}

#[test]
fn no_nudge_is_lost() {
    assert_holds(NUDGED);
}

#[test]
fn a_stray_nudge_loses_no_event() {
    assert_holds(ASTRAY);
}

#[test]
fn a_connection_taken_without_an_event_is_not_lost() {
    assert_holds(SWEPT);
}

#[test]
fn no_order_loses_an_event_while_a_worker_parks() {
    for event in [Event::Byte, Event::Nudge, Event::Room] {
        let orders = exhaust(move || sound::tiny::run(event), FailurePersistence::Print);
        assert!(orders > 100, "{event:?}: only {orders} orders were tried");
    }
}

/// The failure that a search finds with this bug, if it finds one.
fn failure(bug: Bug, search: impl FnOnce()) -> Option<String> {
    BUG.set(bug);
    let found = panic::catch_unwind(AssertUnwindSafe(search)).err()?;
    Some(found.downcast_ref::<String>().expect("a message").clone())
}

fn search_at_random(bug: Bug, plan: Plan) -> Option<String> {
    failure(bug, || explore(move || planted::scenario::run(plan), FailurePersistence::None))
}

fn search_all_orders(bug: Bug, event: planted::tiny::Event) -> Option<String> {
    failure(bug, || {
        exhaust(move || planted::tiny::run(event), FailurePersistence::None);
    })
}

fn assert_lost(bug: Bug, failure: Option<String>) {
    let failure = failure.unwrap_or_else(|| panic!("{bug:?} was not found"));
    assert!(failure.contains("deadlock"), "{bug:?}: {failure}");
}

#[test]
fn planted_bugs_are_found_by_random_search() {
    for plan in [KEPT, NUDGED] {
        let failure = search_at_random(Bug::None, plan);
        assert_eq!(failure, None, "without a bug, the copy behaves as the original");
    }
    for (bug, plan) in [
        (Bug::EventLeavesNoNote, KEPT),
        (Bug::ArmsUnlocked, KEPT),
        (Bug::NotesIgnored, KEPT),
        (Bug::NudgeLeavesNoNote, NUDGED),
        (Bug::EventRemovesNudge, NUDGED),
        (Bug::NudgeOnlyNotes, NUDGED),
    ] {
        assert_lost(bug, search_at_random(bug, plan));
    }
}

#[test]
fn planted_bugs_are_found_by_exhaustive_search() {
    use planted::tiny::Event::{Byte, Nudge, Room};
    for event in [Byte, Nudge, Room] {
        let failure = search_all_orders(Bug::None, event);
        assert_eq!(failure, None, "without a bug, the copy behaves as the original");
    }
    for (bug, event) in [
        (Bug::EventLeavesNoNote, Byte),
        (Bug::ArmsUnlocked, Room),
        (Bug::ArmsUnlocked, Nudge),
        (Bug::NotesIgnored, Byte),
        (Bug::NotesIgnored, Nudge),
        (Bug::NudgeLeavesNoNote, Nudge),
        (Bug::NudgeOnlyNotes, Nudge),
    ] {
        assert_lost(bug, search_all_orders(bug, event));
    }
}
