//! Tests interleavings of the acceptor, which puts items into the queue, and the workers, which
//! take them, on the real code of the hand-over.
//!
//! The files of `src/queue` are compiled over simulated locks and a simulated channel, so that
//! `shuttle` decides at each step which thread runs next. Every run tries the same schedules.
//! `CWS_MODEL_RUNS` sets their number for each plan and scheduler. A failure prints its schedule,
//! which `shuttle::replay` repeats.
//!
//! What must hold: each item is served or let go, once. While something waits, an idle worker gets
//! it, even if another worker never ends its service and nothing more arrives. At the end of the
//! entrance, the workers end, after everything is taken. No lock is held while something is sent to
//! the channel or awaited. A thread that waits in vain is a deadlock, which `shuttle` reports.
#![allow(dead_code, reason = "each variant of the model uses a part")]
#![allow(clippy::needless_update, reason = "a plan says what differs from the plain one")]
#![allow(clippy::duplicate_mod, reason = "the queue is compiled once more with planted bugs")]

mod config;
mod plan;
mod planted;
#[path = "../parking_model/preemption.rs"]
mod preemption;
mod primitives;
#[path = "../parking_model/search.rs"]
mod search;
mod sound;

use plan::{Act::*, Order, PLAIN, Plan, RARE, exhaust, explore, explore_times};
use planted::room::{BUG, Bug};
use shuttle::FailurePersistence;
use std::panic::{self, AssertUnwindSafe};

const ORDERS: [Order; 4] = [Order::Fair, Order::Fifo, Order::Lifo, Order::Smallest];

/// Bursts of few items for workers that are quick, so that they sleep in between.
const BURSTS: Plan = Plan {
    acts: &[Put(2), Await, Put(1), Await, Put(4), Await, Put(1), Put(2), Await],
    workers: 3,
    ..PLAIN
};

/// The channel becomes slow, so that what waits moves to the room, and quick again.
const SLOW: Plan = Plan {
    acts: &[Put(3), Later, Put(2), Look, Put(1), Await, Put(3), Later, Look, Await],
    ..PLAIN
};

/// All but one of the workers are in services that end last.
const HELD: Plan = Plan {
    acts: &[Hold, Put(2), Later, Look, Put(2), Await, Put(1), Await, Release, Put(2)],
    ..PLAIN
};

/// The only worker is held, so that everything is in the room. Then the entrance goes.
const FILLED: Plan =
    Plan { acts: &[Hold, Put(4), Later, Look, Put(2), Release], workers: 1, ..PLAIN };

/// Some give way for others, and some are let go because of their age.
const FULL: Plan = Plan {
    acts: &[
        Put(3),
        Await,
        Replace(1),
        Await,
        Put(2),
        Replace(2),
        Put(1),
        Expire,
        Replace(2),
        Later,
        Put(2),
        Expire,
        Await,
    ],
    ..PLAIN
};

/// The channel has room for one, so that what is moved there may have to go back.
const NARROW: Plan =
    Plan { acts: &[Put(3), Await, Put(2), Put(2), Await, Put(3)], slots: 1, workers: 3, ..PLAIN };

/// The same while a worker is held.
const NARROW_HELD: Plan = Plan {
    acts: &[Hold, Put(2), Put(2), Await, Put(3), Await, Release],
    slots: 1,
    workers: 3,
    ..PLAIN
};

/// Small enough to try every order: the channel has room for one, and an item goes straight there
/// while another is on its way from the room.
const TINY: Plan = Plan { acts: &[Put(3), Await], slots: 1, ..PLAIN };

/// The same with a service that ends last.
const TINY_HELD: Plan =
    Plan { acts: &[PutHeld, Put(2), Await, Release], slots: 1, workers: 2, ..PLAIN };

/// What waits in the channel goes back to the room while workers come for it.
const TINY_RECALL: Plan = Plan { acts: &[PutHeld, Put(2), Later, Look, Await, Release], ..PLAIN };

/// Longer, with two such services: what comes back from a full channel meets idle workers.
const NARROW_TWICE: Plan = Plan {
    acts: &[PutHeld, Put(2), PutHeld, Put(2), Await, Release],
    slots: 1,
    workers: 3,
    ..PLAIN
};

const PLANS: [(&str, Plan); 7] = [
    ("BURSTS", BURSTS),
    ("SLOW", SLOW),
    ("HELD", HELD),
    ("FILLED", FILLED),
    ("FULL", FULL),
    ("NARROW", NARROW),
    ("NARROW_HELD", NARROW_HELD),
];

fn assert_holds(order: Order) {
    for (_, plan) in PLANS {
        explore(move || sound::scenario::run(plan, order), FailurePersistence::Print);
    }
}

#[test]
fn the_fair_queue_loses_nothing() {
    assert_holds(Order::Fair);
}

#[test]
fn first_in_first_out_loses_nothing() {
    assert_holds(Order::Fifo);
}

#[test]
fn last_in_first_out_loses_nothing() {
    assert_holds(Order::Lifo);
}

#[test]
fn smallest_first_loses_nothing() {
    assert_holds(Order::Smallest);
}

#[test]
fn no_order_of_a_small_run_loses_anything() {
    for plan in [TINY, TINY_HELD, TINY_RECALL] {
        let run = move || sound::scenario::run(plan, Order::Fair);
        let orders = exhaust(run, FailurePersistence::Print);
        assert!(orders > 100, "{plan:?}: only {orders} orders were tried");
    }
}

#[test]
fn what_comes_back_from_a_full_channel_is_not_forgotten() {
    let run = || sound::scenario::run(NARROW_TWICE, Order::Fair);
    explore_times(RARE, run, FailurePersistence::Print);
}

/// The failure that a search finds with this bug, if it finds one.
fn failure(bug: Bug, plan: Plan, order: Order, search: fn(Plan, Order)) -> Option<String> {
    BUG.set(bug);
    let search = || search(plan, order);
    let found = panic::catch_unwind(AssertUnwindSafe(search)).err()?;
    let message = found.downcast_ref::<String>().cloned();
    Some(
        message
            .or_else(|| found.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .expect("a message"),
    )
}

fn search_at_random(plan: Plan, order: Order) {
    explore(move || planted::scenario::run(plan, order), FailurePersistence::None);
}

fn search_longer(plan: Plan, order: Order) {
    let run = move || planted::scenario::run(plan, order);
    explore_times(RARE, run, FailurePersistence::None);
}

fn search_all_orders(plan: Plan, order: Order) {
    exhaust(move || planted::scenario::run(plan, order), FailurePersistence::None);
}

#[test]
fn the_copy_behaves_as_the_original_without_a_bug() {
    for (name, plan) in PLANS {
        let failure = failure(Bug::None, plan, Order::Fair, search_at_random);
        assert_eq!(failure, None, "{name}");
    }
    for plan in [TINY, TINY_HELD, TINY_RECALL] {
        assert_eq!(failure(Bug::None, plan, Order::Fair, search_all_orders), None, "{plan:?}");
    }
}

fn assert_found(bug: Bug, plan: Plan, search: fn(Plan, Order), expected: &str) {
    let found = failure(bug, plan, Order::Fair, search);
    let found = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
    assert!(found.contains(expected), "{bug:?}: {found}");
}

#[test]
fn planted_bugs_are_found_by_random_search() {
    for (bug, plan, expected) in [
        (Bug::AdmitsWithoutFeeding, SLOW, "deadlock"),
        (Bug::ReplacesWithoutFeeding, FULL, "deadlock"),
        (Bug::RecallsWithoutFeeding, SLOW, "deadlock"),
        (Bug::DropsWhatComesBack, TINY, "deadlock"),
        (Bug::ClosesTooEarly, FILLED, "lost"),
        (Bug::KeepsTheSender, FILLED, "deadlock"),
        (Bug::SendsUnderTheLock, SLOW, "a lock is held"),
        (Bug::ChargesForEver, FILLED, "charged"),
    ] {
        assert_found(bug, plan, search_at_random, expected);
    }
    assert_found(Bug::ForgetsWhatComesBack, NARROW_TWICE, search_longer, "deadlock");
}

#[test]
fn planted_bugs_are_found_by_exhaustive_search() {
    for (bug, plan, expected) in [
        (Bug::TakesWithoutFeeding, TINY_RECALL, "deadlock"),
        (Bug::TriesWithoutFeeding, TINY_RECALL, "deadlock"),
        (Bug::FeedsBeforeCounting, TINY, "deadlock"),
    ] {
        assert_found(bug, plan, search_all_orders, expected);
    }
}
