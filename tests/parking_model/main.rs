//! Interleavings of the threads that park, arm, take, nudge and close, on the real parking.
//!
//! The files of `src/parking` are compiled over locks, sockets and a poller of the model's own, so
//! that `shuttle` decides at each of their steps which thread goes on. The orders tried are the
//! same in each run; `CWS_MODEL_RUNS` is their number for each plan and scheduler. A failure
//! prints its schedule, which `shuttle::replay` repeats. Orders of memory weaker than sequential
//! consistency are not modelled: but for the highest slot's number, the locks order everything.
#![allow(dead_code, reason = "each variant of the model uses its own part")]
#![allow(clippy::duplicate_mod, reason = "parking is compiled once for each kind of slot")]
#![allow(clippy::new_without_default, reason = "so are the originals")]

#[cfg(target_os = "linux")]
mod fidelity;
mod kernel;
mod plan;
mod planted;
mod poller;
mod primitives;
mod sound;

use plan::{Act::*, PLAIN, Plan, explore};
use planted::slot::{BUG, Bug};
use shuttle::FailurePersistence;
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

/// What the model says of a mistake in the slots, if anything.
fn verdict(bug: Bug, plan: Plan) -> Option<String> {
    BUG.set(bug);
    let run = || explore(move || planted::scenario::run(plan), FailurePersistence::None);
    let found = panic::catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = found.downcast_ref::<String>().cloned();
    text.or_else(|| found.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .or(Some(String::new()))
}

#[test]
fn the_model_finds_planted_bugs() {
    for plan in [KEPT, NUDGED] {
        assert_eq!(verdict(Bug::None, plan), None, "the copy is as good as the original");
    }
    for (bug, plan) in [
        (Bug::EventLeavesNoNote, KEPT),
        (Bug::ArmsUnlocked, KEPT),
        (Bug::NotesUnheeded, KEPT),
        (Bug::NudgeLeavesNoNote, NUDGED),
        (Bug::EventDropsNudge, NUDGED),
        (Bug::NudgeOnlyNotes, NUDGED),
    ] {
        let verdict = verdict(bug, plan).unwrap_or_else(|| panic!("{bug:?} was not found"));
        assert!(verdict.contains("deadlock"), "{bug:?}: {verdict}");
    }
}
