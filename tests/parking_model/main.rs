//! Interleavings of the threads that park, arm, take, nudge and close, on the real parking.
//!
//! The files of `src/parking` are compiled over locks, sockets and a poller of the model's own, so
//! that `shuttle` decides at each of their steps which thread goes on. The orders tried are the
//! same in each run; `CWS_MODEL_RUNS` is their number for each plan and scheduler. Small runs are
//! tried in every order with a few interruptions (`CWS_MODEL_PREEMPTIONS`). A failure prints its
//! schedule, which `shuttle::replay` repeats. Orders of memory weaker than sequential
//! consistency are not modelled: but for the highest slot's number, the locks order everything.
#![allow(dead_code, reason = "each variant of the model uses its own part")]
#![allow(clippy::duplicate_mod, reason = "parking is compiled once for each kind of slot")]

#[cfg(target_os = "linux")]
mod fidelity;
mod kernel;
mod plan;
mod planted;
mod poller;
mod preemption;
mod primitives;
mod sound;

use plan::{Act::*, PLAIN, Plan, exhaust, explore};
use planted::slot::{BUG, Bug};
use shuttle::FailurePersistence;
use sound::tiny::Event;
use std::panic::{self, AssertUnwindSafe};

/// A request after the other, and some at once; the second connection gets the first one's number.
const KEPT: Plan = Plan {
    peers: &[&[
        &[Send(1), Receive(1), Send(2), Receive(2), Send(1), Receive(1), End],
        &[Send(3), Receive(3), End],
    ]],
    ..PLAIN
};

/// Connections that come and go, so that numbers change hands while events for them are held.
const REUSED: Plan = Plan {
    peers: &[
        &[&[Send(1), End, Receive(1)], &[Send(1), Receive(1), Reset], &[Send(2), Reset]],
        &[&[Send(1), Receive(1), End], &[Send(1), End, Receive(1)]],
    ],
    workers: 2,
    ..PLAIN
};

/// Requests that wait for another thread, beside those that do not.
const NUDGED: Plan = Plan {
    peers: &[
        &[&[Send(1), Receive(1), Send(2), Receive(2), End], &[Send(1), Receive(1), End]],
        &[&[Send(2), Reset], &[Send(1), End, Receive(1)]],
    ],
    errands: true,
    ..PLAIN
};

/// Nudges that hit whoever is there, among them some who have no room.
const ASTRAY: Plan = Plan {
    peers: &[
        &[&[Send(2), Receive(2), Send(1), Receive(1), End], &[Send(1), Receive(1), End]],
        &[&[Send(1), Leave, End]],
    ],
    strays: 4,
    ..PLAIN
};

/// The acceptor takes connections without an event too, and closes some of them.
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

fn holds(plan: Plan) {
    explore(move || sound::scenario::run(plan), FailurePersistence::Print);
}

#[test]
fn kept_connections_miss_no_request() {
    holds(KEPT);
}

#[test]
fn numbers_change_hands_without_harm() {
    holds(REUSED);
}

#[test]
fn no_nudge_is_lost() {
    holds(NUDGED);
}

#[test]
fn a_nudge_of_somebody_else_costs_no_report() {
    holds(ASTRAY);
}

#[test]
fn who_is_taken_without_an_event_is_not_lost() {
    holds(SWEPT);
}

#[test]
fn no_order_loses_what_comes_while_a_worker_parks() {
    for event in [Event::Byte, Event::Nudge, Event::Room] {
        let orders = exhaust(move || sound::tiny::run(event), FailurePersistence::Print);
        assert!(orders > 100, "{event:?}: {orders} orders are not all");
    }
}

/// What a search says of a mistake in the slots, if anything.
fn verdict(bug: Bug, search: impl FnOnce()) -> Option<String> {
    BUG.set(bug);
    let found = panic::catch_unwind(AssertUnwindSafe(search)).err()?;
    Some(found.downcast_ref::<String>().expect("a word about it").clone())
}

fn is_found_at_random(bug: Bug, plan: Plan) -> Option<String> {
    verdict(bug, || explore(move || planted::scenario::run(plan), FailurePersistence::None))
}

fn is_found_by_all_orders(bug: Bug, event: planted::tiny::Event) -> Option<String> {
    verdict(bug, || {
        exhaust(move || planted::tiny::run(event), FailurePersistence::None);
    })
}

fn assert_lost(bug: Bug, verdict: Option<String>) {
    let verdict = verdict.unwrap_or_else(|| panic!("{bug:?} was not found"));
    assert!(verdict.contains("deadlock"), "{bug:?}: {verdict}");
}

#[test]
fn planted_bugs_are_found_at_random() {
    for plan in [KEPT, NUDGED] {
        let verdict = is_found_at_random(Bug::None, plan);
        assert_eq!(verdict, None, "the copy is as good as the original");
    }
    for (bug, plan) in [
        (Bug::EventLeavesNoNote, KEPT),
        (Bug::ArmsUnlocked, KEPT),
        (Bug::NotesUnheeded, KEPT),
        (Bug::NudgeLeavesNoNote, NUDGED),
        (Bug::EventDropsNudge, NUDGED),
        (Bug::NudgeOnlyNotes, NUDGED),
    ] {
        assert_lost(bug, is_found_at_random(bug, plan));
    }
}

#[test]
fn planted_bugs_are_found_by_all_orders() {
    use planted::tiny::Event::{Byte, Nudge, Room};
    for event in [Byte, Nudge, Room] {
        let verdict = is_found_by_all_orders(Bug::None, event);
        assert_eq!(verdict, None, "the copy is as good as the original");
    }
    for (bug, event) in [
        (Bug::EventLeavesNoNote, Byte),
        (Bug::ArmsUnlocked, Room),
        (Bug::ArmsUnlocked, Nudge),
        (Bug::NotesUnheeded, Byte),
        (Bug::NotesUnheeded, Nudge),
        (Bug::NudgeLeavesNoNote, Nudge),
        (Bug::NudgeOnlyNotes, Nudge),
    ] {
        assert_lost(bug, is_found_by_all_orders(bug, event));
    }
}
