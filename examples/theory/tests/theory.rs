//! Compares the formulas with reference values, closed forms, limits, and general laws.
#![allow(clippy::unwrap_used)]

mod general;

use proptest::prelude::*;
use queueing_theory::closed::{Closed, Response};
use queueing_theory::{
    Mdc, Mmc, TheoryError, allen_cunneen, erlang_b, erlang_c, fleet, fluid, little, mdck_blocking,
    mmck_blocking, utilisation,
};
use std::collections::HashMap;

/// Two derivations and a simulation agree on these values, which have eight digits.
const REFERENCE: &str = include_str!("queueing.csv");

fn assert_near(found: f64, expected: f64, relative: f64, what: &str) {
    let off = (found - expected).abs();
    assert!(off <= relative * expected.abs().max(1e-12), "{what}: {found} is not {expected}");
}

fn rows() -> Vec<HashMap<&'static str, f64>> {
    let mut lines = REFERENCE.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = lines.next().unwrap().split(',').collect();
    let row = |line: &'static str| {
        let values = line.split(',').map(|value| value.parse().unwrap());
        names.iter().copied().zip(values).collect()
    };
    lines.map(row).collect()
}

#[test]
fn results_match_the_reference() {
    let rows = rows();
    assert_eq!(rows.len(), 15);
    for row in rows {
        let (servers, rho, offered) = (row["c"] as u32, row["rho"], row["a"]);
        let (mmc, mdc) = (Mmc::new(servers, rho).unwrap(), Mdc::new(servers, rho).unwrap());
        let found = [
            ("erlang_c", erlang_c(servers, offered).unwrap()),
            ("mmc_wq", mmc.mean_wait()),
            ("mdc_pwait", mdc.wait_probability()),
            ("mdc_wq", mdc.mean_wait()),
            ("mmc_w_p50", mmc.wait_percentile(0.5).unwrap()),
            ("mdc_w_p50", mdc.wait_percentile(0.5).unwrap()),
            ("mmc_w_p90", mmc.wait_percentile(0.9).unwrap()),
            ("mdc_w_p90", mdc.wait_percentile(0.9).unwrap()),
            ("mmc_w_p99", mmc.wait_percentile(0.99).unwrap()),
            ("mdc_w_p99", mdc.wait_percentile(0.99).unwrap()),
            ("mmcK_c_block", mmck_blocking(servers, servers, offered).unwrap()),
            ("mmcK_2c_block", mmck_blocking(servers, 2 * servers, offered).unwrap()),
            ("mmcK_c10_block", mmck_blocking(servers, servers + 10, offered).unwrap()),
        ];
        for (name, value) in found {
            assert_near(value, row[name], 1e-7, &format!("{name} at c = {servers}, rho = {rho}"));
        }
        assert_near(erlang_b(servers, offered).unwrap(), row["mmcK_c_block"], 1e-7, "Erlang's B");
    }
}

#[test]
fn one_server_has_closed_forms() {
    for rho in [0.01, 0.3, 0.5, 0.9, 0.95, 0.99, 0.999] {
        let mdc = Mdc::new(1, rho).unwrap();
        // Pollaczek and Khinchine.
        assert_near(mdc.mean_wait(), rho / (2.0 * (1.0 - rho)), 1e-8, "M/D/1");
        assert_near(mdc.wait_probability(), rho, 1e-11, "M/D/1");
        // P(W <= x) = (1 - rho) exp(rho x) if x is below a service time (Erlang 1909).
        for wait in [0.0, 0.25, 0.75] {
            let exact = 1.0 - (1.0 - rho) * (rho * wait).exp();
            assert!((mdc.wait_beyond(wait) - exact).abs() < 1e-9, "{rho}: {wait}");
        }
        let mmc = Mmc::new(1, rho).unwrap();
        assert_near(mmc.mean_wait(), rho / (1.0 - rho), 1e-12, "M/M/1");
        assert_near(mmc.mean_waiting(), rho * rho / (1.0 - rho), 1e-12, "M/M/1");
        // M/D/1/1 loses rho / (1 + rho), like all systems with one server and no queue.
        assert_near(mdck_blocking(1, 1, rho).unwrap(), rho / (1.0 + rho), 1e-9, "M/D/1/1");
    }
}

/// The response time of M/M/c, compared with its closed forms for one worker and for no load, and
/// with its mean.
#[test]
fn response_times_of_exponential_service_match_closed_forms() {
    for rho in [0.2, 0.5, 0.9] {
        // Exponential with rate 1 - rho (Kleinrock 1975, section 5.7).
        let one = Mmc::new(1, rho).unwrap();
        for time in [0.0, 0.5, 3.0, 20.0] {
            assert_near(one.response_beyond(time), (-(1.0 - rho) * time).exp(), 1e-9, "M/M/1");
        }
    }
    // 3 - 2 = 1: both rates are equal.
    for (servers, rho) in [(3, 2.0 / 3.0), (4, 0.8), (64, 0.95)] {
        let pool = Mmc::new(servers, rho).unwrap();
        let step = 1e-3;
        let sum: f64 =
            (0..200_000).map(|n| pool.response_beyond((f64::from(n) + 0.5) * step) * step).sum();
        assert_near(sum, 1.0 + pool.mean_wait(), 1e-5, "mean");
        let p99 = pool.response_percentile(0.99).unwrap();
        assert_near(pool.response_beyond(p99), 0.01, 1e-9, "percentile");
    }
    let idle = Mmc::new(4, 0.0).unwrap();
    assert_near(idle.response_percentile(0.5).unwrap(), 2f64.ln(), 1e-9, "service alone");
}

/// Crommelin's mean by the roots of z^c = exp(-a (1 - z)), which the library does not use.
fn mean_wait_by_roots(servers: u32, rho: f64) -> f64 {
    let (c, offered) = (f64::from(servers), rho * f64::from(servers));
    let mut sum = 0.0;
    for k in 1..servers {
        // z = w exp(-rho (1 - z)) with w a root of unity; Newton from the fixed-point iteration.
        let (sin, cos) = (std::f64::consts::TAU * f64::from(k) / c).sin_cos();
        let (mut x, mut y) = (0.0, 0.0);
        for _ in 0..20_000 {
            let (s, t) = (rho * y).sin_cos();
            let size = (-rho * (1.0 - x)).exp();
            (x, y) = (size * (cos * t - sin * s), size * (cos * s + sin * t));
        }
        let square = (1.0 - x) * (1.0 - x) + y * y;
        sum += (1.0 - x) / square;
    }
    let d = c - offered;
    (sum - (d * d - c) / (2.0 * d) - offered) / offered
}

#[test]
fn roots_give_the_same_mean() {
    for (servers, rho) in [(2, 0.9), (4, 0.99), (8, 0.99), (16, 0.95), (64, 0.99), (256, 0.99)] {
        let found = Mdc::new(servers, rho).unwrap().mean_wait();
        assert_near(found, mean_wait_by_roots(servers, rho), 1e-8, &format!("{servers}, {rho}"));
    }
}

/// The integral of the distribution is the mean; both are computed in different ways.
#[test]
fn the_distribution_has_the_mean() {
    for (servers, rho) in [(1, 0.8), (4, 0.5), (4, 0.95), (64, 0.9), (256, 0.99)] {
        let mdc = Mdc::new(servers, rho).unwrap();
        assert!((mdc.wait_beyond(0.0) - mdc.wait_probability()).abs() < 1e-9);
        // Simpson's rule within each service time, where the distribution is smooth.
        let (mut sum, mut turn, steps) = (0.0, 0.0, 64);
        while mdc.wait_beyond(turn) > 1e-13 {
            for step in 0..=steps {
                let weight = match step {
                    0 => 1.0,
                    last if last == steps => 1.0,
                    odd if odd % 2 == 1 => 4.0,
                    _ => 2.0,
                };
                // The end of an interval belongs to it, not to the next one.
                let wait = turn + (f64::from(step) / f64::from(steps)).min(1.0 - 1e-12);
                sum += weight * mdc.wait_beyond(wait) / (3.0 * f64::from(steps));
            }
            turn += 1.0;
        }
        assert_near(sum, mdc.mean_wait(), 1e-5, &format!("{servers}, {rho}"));
    }
}

#[test]
fn both_ways_to_the_rates_agree() {
    // One utilisation needs the transform, the one just below does not: the results must be
    // continuous.
    for servers in [1, 2, 4, 16, 64] {
        let waits = |rho: f64| Mdc::new(servers, rho).unwrap().mean_wait();
        for step in 0..45 {
            let rho = 0.5 + 0.01 * f64::from(step);
            let (low, middle, high) = (waits(rho), waits(rho + 1e-5), waits(rho + 2e-5));
            let bend = (high - 2.0 * middle + low) / middle;
            assert!((0.0..1e-5).contains(&bend), "c = {servers}, rho = {rho}: {bend}");
        }
    }
}

#[test]
fn heavy_traffic_halves_the_wait() {
    for servers in [1, 4, 64] {
        let ratio = |rho| {
            Mdc::new(servers, rho).unwrap().mean_wait()
                / Mmc::new(servers, rho).unwrap().mean_wait()
        };
        assert!((ratio(0.9999) - 0.5).abs() < 2e-4 * f64::from(servers).sqrt(), "{servers}");
        assert!(ratio(0.9) >= ratio(0.99) && ratio(0.99) >= ratio(0.9999) - 1e-7, "{servers}");
        let guess = allen_cunneen(servers, 0.99, 1.0, 0.0).unwrap();
        assert_near(guess, Mdc::new(servers, 0.99).unwrap().mean_wait(), 0.05, "Allen-Cunneen");
    }
}

#[test]
fn large_pools_and_all_loads_are_quick_and_finite() {
    let begun = std::time::Instant::now();
    for servers in [1, 3, 64, 256, 4096] {
        for rho in [0.0, 1e-12, 0.01, 0.5, 0.9, 0.99, 0.999] {
            let mdc = Mdc::new(servers, rho).unwrap();
            let mmc = Mmc::new(servers, rho).unwrap();
            let p99 = [mdc.wait_percentile(0.99).unwrap(), mmc.wait_percentile(0.99).unwrap()];
            let all = [mdc.mean_wait(), mmc.mean_wait(), mdc.wait_probability(), p99[0], p99[1]];
            assert!(all.iter().all(|value| value.is_finite() && *value >= 0.0), "{servers}, {rho}");
            assert!(mdc.wait_probability() <= mmc.wait_probability() * (1.0 + 1e-9) + 1e-12);
        }
    }
    // It takes a second or two without optimisation; a sum that does not converge takes minutes.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    assert!(mmck_blocking(4096, u32::MAX, 5000.0).unwrap() > 0.18);
    assert_near(mmck_blocking(4, 1_000_000, 8.0).unwrap(), fluid::refused(2.0), 1e-12, "M/M/c/K");
}

#[test]
fn unsolvable_inputs_are_errors() {
    assert_eq!(Mmc::new(0, 0.5), Err(TheoryError::NoServers));
    assert_eq!(erlang_b(0, 0.5), Err(TheoryError::NoServers));
    assert_eq!(Mdc::new(4, 1.0), Err(TheoryError::NotSteady { utilisation: 1.0 }));
    assert_eq!(erlang_c(4, 8.0), Err(TheoryError::NotSteady { utilisation: 2.0 }));
    let near = Mdc::new(4, 0.999_99);
    assert!(matches!(near, Err(TheoryError::TooNearSaturation { .. })));
    for wrong in [f64::NAN, f64::INFINITY, -0.1] {
        assert!(matches!(Mdc::new(1, wrong), Err(TheoryError::OutOfRange { .. })), "{wrong}");
        assert!(matches!(erlang_b(1, wrong), Err(TheoryError::OutOfRange { .. })), "{wrong}");
        assert!(utilisation(wrong, 1.0, 1).is_err());
        assert!(Closed::new(1, 1, wrong).is_err());
    }
    for wrong in [1.0, -0.5, f64::NAN] {
        assert!(Mmc::new(1, 0.5).unwrap().wait_percentile(wrong).is_err());
        assert!(Mdc::new(1, 0.5).unwrap().wait_percentile(wrong).is_err());
    }
    assert!(Closed::new(1, 0, 1.0).is_err());
    assert!(mmck_blocking(4, 3, 1.0).is_err() && mdck_blocking(4, 3, 0.5).is_err());
    let said = Mdc::new(4, 1.2).unwrap_err().to_string();
    assert!(said.contains("1.2") && said.contains("grows for ever"), "{said}");
}

/// Mean value analysis by the recursion of Reiser and Lavenberg, for a few clients and servers.
fn mva_by_recursion(servers: usize, clients: usize, think: f64) -> Response {
    // The probabilities of 0..servers - 1 requests at the pool.
    let mut at = vec![0.0; servers];
    at[0] = 1.0;
    let (mut number, mut response) = (0.0, Response { throughput: 0.0, time: 0.0 });
    for n in 1..=clients {
        let unused: f64 = (1..servers).map(|j| (servers - j) as f64 * at[j - 1]).sum();
        let time = (1.0 + number + unused) / servers as f64;
        let throughput = n as f64 / (think + time);
        for j in (1..servers).rev() {
            at[j] = throughput / j as f64 * at[j - 1];
        }
        let busy: f64 = (1..servers).map(|j| (servers - j) as f64 * at[j]).sum();
        at[0] = 1.0 - (throughput + busy) / servers as f64;
        number = throughput * time;
        response = Response { throughput, time };
    }
    response
}

#[test]
fn closed_systems_match_the_recursion() {
    for servers in [1, 2, 4] {
        for clients in 1..=12 {
            for think in [0.5, 4.0, 30.0] {
                let what = format!("{servers} servers, {clients} clients, {think}");
                let found = Closed::new(servers, clients, think).unwrap().mva();
                let other = mva_by_recursion(servers as usize, clients as usize, think);
                assert_near(found.throughput, other.throughput, 1e-6, &what);
                assert_near(found.time, other.time, 1e-6, &what);
            }
        }
    }
    let many = Closed::new(64, 1_000_000, 4.0).unwrap().mva();
    assert_near(many.throughput, 64.0, 1e-9, "all servers are busy");
    assert_eq!(Closed::new(4, 9, 4.0).unwrap().knee(), 20.0);
    let crowd = Closed::new(4, 32, 0.0).unwrap();
    assert_eq!(crowd.mva(), Response { throughput: 4.0, time: 8.0 });
}

#[test]
fn fluid_limits_match_hand_computed_values() {
    assert_eq!((fluid::carried(0.7), fluid::carried(3.0)), (0.7, 1.0));
    assert_eq!((fluid::refused(0.7), fluid::refused(4.0)), (0.0, 0.75));
    assert_eq!(fluid::wait_after(2.0, 3.0), 3.0);
    assert_near(fluid::good_for(1.1, 10.0, 100.0).unwrap(), 900.0, 1e-9, "until");
    assert_eq!(fluid::good_for(0.9, 10.0, 100.0), None);
    assert_eq!(fluid::recovery(3.0, 1.0, 0.75), Some(8.0));
    assert_eq!(fluid::recovery(3.0, 1.0, 1.0), None);
    assert_eq!(fluid::with_retries(0.75, 4), 3.0);
    assert_eq!(little(30.0, 0.5), 15.0);
    assert_eq!(utilisation(30.0, 0.05, 2).unwrap(), 0.75);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn waits_rise_with_load_and_variation(servers in 1u32..=256, rho in 0.05f64..0.98) {
        let (mdc, more) = (Mdc::new(servers, rho).unwrap(), Mdc::new(servers, rho + 0.01).unwrap());
        let mmc = Mmc::new(servers, rho).unwrap();
        prop_assert!(mdc.mean_wait() < more.mean_wait());
        prop_assert!(mdc.wait_probability() < more.wait_probability());
        prop_assert!(mdc.mean_wait() < mmc.mean_wait());
        // It is half of it with one worker, and more with more workers (Cosmetatos 1976).
        prop_assert!(mdc.mean_wait() >= 0.5 * mmc.mean_wait() * (1.0 - 1e-9));
        prop_assert!(mdc.wait_probability() <= mmc.wait_probability() * (1.0 + 1e-9));
    }

    #[test]
    fn one_more_worker_at_the_same_load_waits_less(servers in 1u32..=128, share in 0.1f64..0.98) {
        let offered = share * f64::from(servers);
        let wait = |servers: u32| {
            Mdc::new(servers, offered / f64::from(servers)).unwrap().mean_wait()
        };
        prop_assert!(wait(servers + 1) < wait(servers));
        prop_assert!(erlang_c(servers + 1, offered).unwrap() < erlang_c(servers, offered).unwrap());
        prop_assert!(erlang_b(servers + 1, offered).unwrap() < erlang_b(servers, offered).unwrap());
    }

    #[test]
    fn a_distribution_falls_and_its_percentiles_invert_it(
        servers in 1u32..=64, rho in 0.3f64..0.99, p in 0.5f64..0.9999,
    ) {
        let mdc = Mdc::new(servers, rho).unwrap();
        let at = mdc.wait_percentile(p).unwrap();
        if at > 0.0 {
            prop_assert!((mdc.wait_beyond(at) - (1.0 - p)).abs() < 1e-9);
        } else {
            prop_assert!(mdc.wait_probability() <= 1.0 - p + 1e-12);
        }
        let mut before = 1.0;
        for step in 0..60 {
            let beyond = mdc.wait_beyond(0.17 * f64::from(step));
            prop_assert!(beyond <= before + 1e-12);
            before = beyond;
        }
    }

    #[test]
    fn closed_systems_stay_within_their_bounds(
        servers in 1u32..=64, clients in 1u32..=300, think in 0.0f64..50.0,
    ) {
        let system = Closed::new(servers, clients, think).unwrap();
        let (bounds, exact) = (system.bounds(), system.mva());
        prop_assert!(exact.throughput <= bounds.throughput * (1.0 + 1e-9));
        prop_assert!(exact.time >= bounds.time * (1.0 - 1e-9));
        // Little's law for the whole cycle.
        let round = exact.throughput * (exact.time + think);
        prop_assert!((round - f64::from(clients)).abs() < 1e-6 * f64::from(clients));
    }
}

/// Simulated means of several servers behind a balancer; the first line says of what.
const FLEET: &str = include_str!("fleet.csv");

/// The formulas give the reference's exact means to all of its digits, and its simulated means
/// within twice their 95 % intervals.
#[test]
fn policies_of_a_balancer_match_the_reference() {
    let mut counts = [0; 2];
    for line in FLEET.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let cells: Vec<_> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<f64>().unwrap();
        let (law, policy) = (cells[0], cells[4]);
        let [servers, workers] = [1, 2].map(|at| cells[at].parse::<u32>().unwrap());
        let [rho, wait, half_width, exact] = [3, 5, 6, 10].map(number);
        let expected = match (law, policy) {
            ("exp", "pooled") => Mmc::new(servers * workers, rho).unwrap().mean_wait(),
            ("exp", "random") => Mmc::new(workers, rho).unwrap().mean_wait(),
            ("exp", "rr") if workers == 1 => fleet::round_robin(servers, rho).unwrap(),
            ("const", "pooled" | "rr" | "lc") => {
                Mdc::new(servers * workers, rho).unwrap().mean_wait()
            }
            ("const", "random") => Mdc::new(workers, rho).unwrap().mean_wait(),
            _ => continue,
        };
        assert!((wait - expected).abs() <= 2.0 * half_width, "{line}: {expected}");
        counts[0] += 1;
        if exact.is_finite() {
            assert_near(expected, exact, 2e-5, line);
            counts[1] += 1;
        }
    }
    assert_eq!(counts, [39, 15]);
}

#[test]
fn two_choices_have_known_limits() {
    // The sums are written out.
    let nine: f64 = [0, 2, 6, 14, 30, 62, 126, 254].map(|power| 0.9_f64.powi(power)).iter().sum();
    assert_near(fleet::two_choices(0.9).unwrap(), nine, 1e-11, "two choices");
    assert_near(fleet::two_choices(0.9).unwrap(), 2.6141, 1e-4, "two choices");
    assert_near(fleet::two_choices(0.0).unwrap(), 1.0, 1e-15, "no load");
    // One server in turn is M/M/1.
    assert_near(fleet::round_robin(1, 0.9).unwrap(), 9.0, 1e-9, "round robin of one");
    // The gaps of many servers in turn are nearly constant: D/M/1, sigma = exp((sigma - 1) / rho).
    assert_near(fleet::round_robin(1_000_000, 0.1).unwrap(), 4.5425e-5, 1e-3, "D/M/1");
    for rho in [0.5, 0.7, 0.9, 0.99] {
        // Two choices wait less than the one of M/M/1, and so does each turn.
        let one = Mmc::new(1, rho).unwrap().mean_wait();
        let turns: Vec<_> = [1, 2, 4, 8].map(|n| fleet::round_robin(n, rho).unwrap()).into();
        assert!(turns.is_sorted_by(|a, b| a > b), "{turns:?}");
        assert!(fleet::two_choices(rho).unwrap() - 1.0 < one);
    }
    let not_steady = TheoryError::NotSteady { utilisation: 1.0 };
    assert_eq!(fleet::two_choices(1.0), Err(not_steady));
    assert_eq!(fleet::round_robin(4, 1.0), Err(not_steady));
    assert_eq!(fleet::round_robin(0, 0.5), Err(TheoryError::NoServers));
}
