//! Compares pools with a bounded queue, and times far out in the tail, with closed forms, with a
//! simulation, and with general laws.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use queueing_theory::{Mdck, Mmc, Mmck, TheoryError, erlang_b, mdck_blocking, mmck_blocking};
use std::collections::VecDeque;

fn assert_near(found: f64, expected: f64, relative: f64, what: &str) {
    let off = (found - expected).abs();
    assert!(off <= relative * expected.abs().max(1e-300), "{what}: {found} is not {expected}");
}

/// With one worker the response time is exponential with the rate 1 - rho, as far as it goes
/// (Kleinrock 1975, section 5.7).
#[test]
fn response_times_of_one_worker_are_exact_far_beyond_745_services() {
    for rho in [0.0, 0.5, 0.99, 0.999, 0.999_99, 1.0 - 1e-12] {
        let pool = Mmc::new(1, rho).unwrap();
        // Compare with the rate that this utilisation has in floating point.
        let rate = 1.0 - rho;
        for times in [0.0, 1e-9, 0.3, 1.0, 20.0, 700.0] {
            let found = pool.response_beyond(times / rate);
            assert_near(found, (-times).exp(), 1e-9, &format!("{rho}: {times}"));
        }
        for p in [0.0, 0.5, 0.99, 0.999_999] {
            let exact = -(1.0f64 - p).ln() / rate;
            let found = pool.response_percentile(p).unwrap();
            assert_near(found + 1.0, exact + 1.0, 1e-9, &format!("{rho}: {p}"));
        }
    }
    let p99 = Mmc::new(1, 0.999).unwrap().response_percentile(0.99).unwrap();
    assert_near(p99, 100f64.ln() / (1.0 - 0.999), 1e-9, "4605 services");
}

/// In the tail, only the slower of the two exponential times is left.
#[test]
fn response_times_of_several_workers_have_the_exact_tail() {
    for (servers, rho) in [(2, 0.9), (2, 0.999), (4, 0.999), (64, 0.9999)] {
        let pool = Mmc::new(servers, rho).unwrap();
        let rate = f64::from(servers) * (1.0 - rho);
        assert!(rate < 1.0, "the wait is slower than the service");
        let weight = pool.wait_probability() / (1.0 - rate);
        for time in [800.0, 3000.0, 20_000.0] {
            let exact = weight * (-rate * time).exp();
            assert_near(pool.response_beyond(time), exact, 1e-9, &format!("{servers}, {rho}"));
        }
    }
}

/// M/M/1/K: all shares are powers of rho (Kleinrock 1975, section 3.6).
#[test]
fn one_exponential_worker_with_a_bound_has_closed_forms() {
    for rho in [0.1, 0.5, 0.9, 1.0, 1.000_001, 1.1, 3.0] {
        for system in [1u32, 2, 5, 40] {
            let pool = Mmck::new(1, system, rho).unwrap();
            let share = |number: u32| f64::powi(rho, number as i32);
            let all: f64 = (0..=system).map(share).sum();
            let admitted: f64 = (0..system).map(share).sum();
            let wait: f64 = (0..system).map(|number| f64::from(number) * share(number)).sum();
            let what = format!("rho = {rho}, K = {system}");
            assert_near(pool.blocking(), share(system) / all, 1e-12, &what);
            assert_near(pool.throughput(), rho * admitted / all, 1e-12, &what);
            assert_near(pool.mean_wait() + 1.0, wait / admitted + 1.0, 1e-12, &what);
            // Who finds n leaves after n + 1 services: a sum of exponential times.
            for time in [0.1f64, 2.0, 30.0] {
                let beyond = |number: u32| -> f64 {
                    let term = |n: u32| (1..=n).map(|k| time / f64::from(k)).product::<f64>();
                    (0..=number).map(|n| term(n) * (-time).exp()).sum()
                };
                let exact: f64 = (0..system).map(|n| share(n) / admitted * beyond(n)).sum();
                assert_near(pool.response_beyond(time), exact, 1e-9, &what);
            }
        }
    }
}

#[test]
fn a_bound_that_is_never_reached_changes_nothing() {
    for (servers, rho) in [(1, 0.7), (3, 2.0 / 3.0), (4, 0.8), (64, 0.95)] {
        let (bounded, free) =
            (Mmck::new(servers, 3000, rho).unwrap(), Mmc::new(servers, rho).unwrap());
        assert_near(bounded.mean_wait(), free.mean_wait(), 1e-9, "mean");
        assert_near(bounded.wait_probability(), free.wait_probability(), 1e-9, "waits");
        for time in [0.0, 0.5, 3.0, 20.0] {
            let (found, exact) = (bounded.response_beyond(time), free.response_beyond(time));
            assert!((found - exact).abs() < 1e-12, "{servers}, {rho}: {found}, {exact}");
        }
    }
}

/// The integral of the distribution is the mean; and both formulas of the refused share agree.
#[test]
fn the_figures_of_a_bounded_exponential_pool_agree() {
    for (servers, system, rho) in [(4, 4, 0.7), (4, 12, 1.0), (2, 30, 1.5), (16, 40, 0.97)] {
        let pool = Mmck::new(servers, system, rho).unwrap();
        let what = format!("{servers}, {system}, {rho}");
        let offered = rho * f64::from(servers);
        assert_near(pool.blocking(), mmck_blocking(servers, system, offered).unwrap(), 1e-9, &what);
        let step = 1e-2;
        let sum: f64 =
            (0..10_000).map(|n| pool.response_beyond((f64::from(n) + 0.5) * step) * step).sum();
        assert_near(sum, 1.0 + pool.mean_wait(), 1e-4, &what);
        let p99 = pool.response_percentile(0.99).unwrap();
        assert_near(pool.response_beyond(p99), 0.01, 1e-9, &what);
    }
}

/// A bounded pool with constant service: the refused share, the mean wait and its 99th percentile.
/// It knows the departure times and nothing of the formulas.
fn simulated(servers: usize, system: usize, rho: f64, arrivals: u32) -> [f64; 3] {
    let mut state = 7u64;
    // SplitMix64 (Steele, Lea and Flood 2014).
    let mut gap = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let uniform = ((bits ^ (bits >> 31)) >> 11) as f64 + 0.5;
        -(uniform / 9_007_199_254_740_992.0).ln() / (rho * servers as f64)
    };
    let (mut now, mut refused, mut waits) = (0.0, 0.0, Vec::new());
    let mut departures = VecDeque::new();
    for _ in 0..arrivals {
        now += gap();
        while departures.front().is_some_and(|departure| *departure <= now) {
            departures.pop_front();
        }
        if departures.len() >= system {
            refused += 1.0;
            continue;
        }
        let start = match departures.len().checked_sub(servers) {
            Some(before) => departures[before],
            None => now,
        };
        departures.push_back(start + 1.0);
        waits.push(start - now);
    }
    let mean = waits.iter().sum::<f64>() / waits.len() as f64;
    let rank = waits.len() / 100 * 99;
    let (_, p99, _) = waits.select_nth_unstable_by(rank, f64::total_cmp);
    [refused / f64::from(arrivals), mean, *p99]
}

#[test]
fn bounded_constant_service_is_within_2_percent_of_a_simulation() {
    for (servers, room, rho) in [
        (1u32, 3u32, 0.9),
        (1, 10, 1.0),
        (2, 2, 0.8),
        (2, 6, 1.0),
        (4, 4, 0.9),
        (4, 8, 1.03),
        (4, 4, 1.5),
        (10, 10, 0.95),
        (10, 15, 1.0),
        (10, 20, 1.1),
        (24, 24, 1.0),
        (24, 24, 1.3),
    ] {
        let system = servers + room;
        let [refused, mean, p99] = simulated(servers as usize, system as usize, rho, 3_000_000);
        let pool = Mdck::new(servers, system, rho).unwrap();
        let what = format!("c = {servers}, K = {system}, rho = {rho}");
        assert_near(pool.blocking(), refused, 0.02, &format!("refused, {what}"));
        assert_near(mdck_blocking(servers, system, rho).unwrap(), pool.blocking(), 0.0, &what);
        let admitted = rho * f64::from(servers) * (1.0 - refused);
        assert_near(pool.throughput(), admitted, 0.02, &format!("throughput, {what}"));
        assert_near(pool.mean_wait(), mean, 0.06, &format!("mean wait, {what}"));
        assert_near(pool.wait_percentile(0.99).unwrap(), p99, 0.06, &format!("p99, {what}"));
    }
}

/// Without a queue, the distribution of the service does not matter (Erlang's B). With one worker,
/// M/D/1/2 has a closed form: P(no arrival in a service) = exp(-rho).
#[test]
fn bounded_constant_service_has_its_exact_cases() {
    for rho in [0.3f64, 0.9, 1.0, 1.7] {
        for servers in [1, 4, 32] {
            let lost = erlang_b(servers, rho * f64::from(servers)).unwrap();
            assert_near(mdck_blocking(servers, servers, rho).unwrap(), lost, 1e-12, "no queue");
        }
        let none = (-rho).exp();
        // After a departure the system is empty with the probability exp(-rho).
        let exact = 1.0 - 1.0 / (none + rho);
        assert_near(mdck_blocking(1, 2, rho).unwrap(), exact, 1e-6, &format!("M/D/1/2 at {rho}"));
    }
}

#[test]
fn invalid_bounds_are_errors() {
    assert!(matches!(Mmck::new(4, 3, 0.5), Err(TheoryError::OutOfRange { .. })));
    assert!(matches!(Mdck::new(4, 3, 0.5), Err(TheoryError::OutOfRange { .. })));
    assert_eq!(Mmck::new(0, 3, 0.5), Err(TheoryError::NoServers));
    assert_eq!(Mdck::new(0, 3, 0.5), Err(TheoryError::NoServers));
    for wrong in [f64::NAN, f64::INFINITY, -0.1] {
        assert!(Mmck::new(1, 2, wrong).is_err() && Mdck::new(1, 2, wrong).is_err());
    }
    assert!(Mmck::new(2, u32::MAX, 1.0).is_err(), "too many lengths");
}

fn is_share(value: f64) -> bool {
    (0.0..=1.0 + 1e-12).contains(&value)
}

/// Far above the capacity all workers are busy, and who is admitted waits for the next that is
/// free.
#[test]
fn far_above_the_capacity_the_throughput_is_that_of_the_workers() {
    for servers in [1, 10, 42, 64] {
        for utilisation in [100.0, 344.5, 1e6, 3e8] {
            let pool = Mdck::new(servers, servers + 1, utilisation).unwrap();
            let least = f64::from(servers) * (1.0 - 1.0 / utilisation);
            assert!(pool.throughput() >= least * 0.999, "{servers} {utilisation}: {pool:?}");
            let exponential = Mmck::new(servers, servers, utilisation).unwrap();
            let (found, most) = (exponential.throughput(), f64::from(servers));
            assert!((least * (1.0 - 1e-9)..=most).contains(&found), "{servers} {utilisation}");
        }
    }
}

/// Finite times of all magnitudes.
fn times() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-300i32..=308, 1.0f64..1.7).prop_map(|(power, of)| of * 10f64.powi(power)),
        Just(0.0)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn response_times_fall_and_are_shares(
        servers in 1u32..=4096, idle in 1e-15f64..1.0, one in times(), other in times(),
        p in 0.0f64..0.999_999_9,
    ) {
        let pool = Mmc::new(servers, 1.0 - idle).unwrap();
        let (early, late) = (one.min(other), one.max(other));
        let [before, after] = [early, late].map(|time| pool.response_beyond(time));
        prop_assert!(is_share(before) && is_share(after), "{before} {after}");
        prop_assert!(after <= before * (1.0 + 1e-12), "{before} {after}");
        // At least the service, at most the service and the wait one after the other.
        prop_assert!(before >= (-early).exp() * (1.0 - 1e-12));
        prop_assert!(after <= (-late / 2.0).exp() + pool.wait_beyond(late / 2.0) + 1e-12);
        let at = pool.response_percentile(p).unwrap();
        prop_assert!(at.is_finite() && at >= 0.0);
        prop_assert!((pool.response_beyond(at) - (1.0 - p)).abs() <= 1e-9, "{at}");
    }

    #[test]
    fn bounded_pools_have_shares_and_bounded_waits(
        servers in 1u32..=64, room in 0u32..=200, power in -9.0f64..9.0, time in 0.0f64..300.0,
    ) {
        let (system, rho) = (servers + room, 10f64.powf(power));
        let exponential = Mmck::new(servers, system, rho).unwrap();
        let waits = exponential.wait_probability();
        let shares = [exponential.blocking(), waits, exponential.response_beyond(time)];
        prop_assert!(shares.into_iter().all(is_share), "{shares:?}");
        let most = f64::from(room) / f64::from(servers);
        prop_assert!((0.0..=most * (1.0 + 1e-9)).contains(&exponential.mean_wait()));
        // The workers carry at most one request each in a service time.
        prop_assert!(exponential.throughput() <= f64::from(servers) * (1.0 + 1e-9));
        prop_assert!(exponential.response_percentile(0.99).unwrap().is_finite());
        prop_assert!(exponential.blocking() >= 1.0 - 1.0 / rho - 1e-9);

        let constant = Mdck::new(servers, system, rho).unwrap();
        let shares =
            [constant.blocking(), constant.wait_probability(), constant.wait_beyond(time / 10.0)];
        prop_assert!(shares.into_iter().all(is_share), "{shares:?}");
        prop_assert!((0.0..=(most + 1.0) * (1.0 + 1e-9)).contains(&constant.mean_wait()));
        prop_assert!(constant.throughput() <= f64::from(servers) * (1.0 + 1e-9));
        prop_assert!(constant.blocking() >= 1.0 - 1.0 / rho - 1e-9);
        prop_assert!(constant.wait_percentile(0.99).unwrap() <= most + 1.0);
    }

    /// More load refuses more, and a longer queue refuses less, also across a utilisation of 1.
    #[test]
    fn bounded_constant_service_is_monotone(
        servers in 1u32..=32, room in 1u32..=60, rho in 0.5f64..2.0,
    ) {
        let refused = |room: u32, rho: f64| mdck_blocking(servers, servers + room, rho).unwrap();
        prop_assert!(refused(room, rho) <= refused(room, rho * 1.001) + 1e-15);
        prop_assert!(refused(room + 1, rho) <= refused(room, rho) + 1e-15);
    }
}
