//! Compares pools whose services vary with simulations, with closed forms, and with general laws.

use super::assert_near;
use proptest::prelude::*;
use queueing_theory::{
    Class, Formula, Mdc, Mgc, Mmc, Service, TheoryError, Trust, constant_wait, priority_waits,
    two_moment_wait, two_moments_leave,
};

/// Simulated waits, each with half the width of its 95 % confidence interval.
const REFERENCE: &str = include_str!("mgc.csv");

/// The law of a row: its name and its squared coefficient of variation.
fn law(name: &str, variation: f64) -> Service {
    match name {
        "const" => Service::constant(),
        "exp" => Service::exponential(),
        "h2" => Service::hyperexponential(variation.sqrt()).unwrap(),
        "logn" => Service::lognormal(variation.sqrt()).unwrap(),
        // A short time of 0.2, and a long one.
        "two" => {
            let chance = 0.64 / (variation + 0.64);
            Service::discrete([(0.2, 1.0 - chance), (0.2 + 0.8 / chance, chance)]).unwrap()
        }
        _ => panic!("no law {name}"),
    }
}

#[test]
fn mean_waits_are_near_the_simulated_ones() {
    let rows = REFERENCE.lines().filter(|line| !line.starts_with('#')).skip(1);
    assert_eq!(rows.clone().count(), 24);
    rows.for_each(check);
}

fn check(line: &str) {
    let cells: Vec<&str> = line.split(',').collect();
    let number = |column: usize| cells[column].parse::<f64>().unwrap();
    let (name, variation, servers, rho) = (cells[0], number(1), number(2) as u32, number(3));
    let (simulated, half) = (number(4), number(5));
    let service = law(name, variation);
    assert_near(service.squared_variation() + 1.0, variation + 1.0, 1e-9, name);
    let pool = Mgc::new(servers, rho, &service).unwrap();
    let off = pool.mean_wait() / simulated - 1.0;
    let noise = half / simulated;
    let most = match name {
        "const" | "exp" => noise + 0.01,
        "two" => 0.05,
        _ if rho >= 0.8 => 0.15,
        _ => 0.2,
    };
    assert!(off.abs() <= most, "{line}: {off}");
    // What two moments leave open has room for this law, and for what they suggest.
    let (least, most) = two_moments_leave(servers, rho, variation).unwrap();
    let open = least * (0.99 - noise)..most * (1.01 + noise);
    let suggested = two_moment_wait(servers, rho, 1.0, variation).unwrap();
    assert!(open.contains(&simulated) && open.contains(&suggested), "{line}: {open:?}");
    if variation <= 1.0 {
        assert_near(suggested, pool.mean_wait(), 1e-6, line);
    }
    match pool.trust() {
        Trust::Exact(Formula::Crommelin) => assert_eq!(name, "const"),
        Trust::Exact(formula) => assert_eq!((formula, name), (Formula::Erlang, "exp")),
        Trust::Within(share) => assert!(off.abs() <= share + noise, "{line}: {off}"),
        Trust::Rough => assert!(variation > 4.0 && rho < 0.8, "{line}"),
    }
}

#[test]
fn one_worker_has_the_wait_of_pollaczek_and_khinchine() {
    for (service, variation) in [
        (Service::uniform(0.0, 2.0).unwrap(), 1.0 / 3.0),
        (Service::lognormal(3.0).unwrap(), 9.0),
        (Service::pareto(3.0).unwrap(), 1.0 / 3.0),
        (Service::discrete([(1.0, 1.0), (3.0, 1.0)]).unwrap(), 0.25),
    ] {
        for rho in [0.1, 0.7, 0.99] {
            let pool = Mgc::new(1, rho, &service).unwrap();
            let exact = rho * (1.0 + variation) / (2.0 * (1.0 - rho));
            assert_near(pool.mean_wait(), exact, 1e-9, &format!("{service:?}"));
            assert_eq!(pool.trust(), Trust::Exact(Formula::PollaczekKhinchine));
            assert_near(pool.mean_waiting(), rho * exact, 1e-9, "Little");
        }
    }
    let heavy = Service::pareto(1.5).unwrap();
    assert!(Mgc::new(1, 0.5, &heavy).unwrap().mean_wait().is_infinite());
    let unknown = Mgc::new(2, 0.5, &heavy).unwrap_err();
    assert!(matches!(unknown, TheoryError::OutOfRange { .. }), "{unknown}");
}

/// Whatever the order is, the work that waits is the same (Kleinrock's conservation law), so that
/// the waits, weighted by the loads, have the same mean as with first come, first served.
#[test]
fn priorities_conserve_the_work() {
    let classes = [(0.2, 0.5, 0.4), (0.1, 2.0, 9.0), (0.3, 1.0, 1.0)];
    let classes = classes.map(|(rate, mean, square)| Class { rate, mean, square });
    let waits = priority_waits(&classes).unwrap();
    assert!(waits.is_sorted());
    let load: f64 = classes.iter().map(|class| class.rate * class.mean).sum();
    let residual: f64 = classes.iter().map(|class| class.rate * class.square / 2.0).sum();
    let weighted: f64 =
        classes.iter().zip(&waits).map(|(class, wait)| class.rate * class.mean * wait).sum();
    assert_near(weighted, load * residual / (1.0 - load), 1e-12, "the work");
    // One class alone: Pollaczek and Khinchine.
    let one = priority_waits(&[Class { rate: 0.5, mean: 1.0, square: 2.0 }]).unwrap();
    assert_near(one[0], 1.0, 1e-12, "M/M/1");
    let full = [classes[1]; 6];
    assert!(matches!(priority_waits(&full), Err(TheoryError::NotSteady { .. })));
}

/// What is exact is also what the interpolation tends to: laws that are almost constant and almost
/// exponential.
#[test]
fn the_interpolation_joins_the_exact_formulas() {
    for servers in [2, 4, 16] {
        for rho in [0.3, 0.8, 0.95] {
            let near_constant = Service::uniform(0.999, 1.001).unwrap();
            let exact = Mdc::new(servers, rho).unwrap().mean_wait();
            let found = Mgc::new(servers, rho, &near_constant).unwrap().mean_wait();
            assert_near(found, exact, 1e-3, &format!("constant, {servers}, {rho}"));
            let near_exponential = Service::hyperexponential(1.0001).unwrap();
            let exact = Mmc::new(servers, rho).unwrap().mean_wait();
            let found = Mgc::new(servers, rho, &near_exponential).unwrap().mean_wait();
            assert_near(found, exact, 1e-3, &format!("exponential, {servers}, {rho}"));
        }
    }
}

#[test]
fn the_mean_wait_of_constant_services_follows_from_the_roots() {
    for (servers, rho) in [(1, 0.5), (2, 0.9), (4, 0.99), (16, 0.5), (64, 0.95), (256, 0.99)] {
        let exact = Mdc::new(servers, rho).unwrap().mean_wait();
        let found = constant_wait(servers, rho).unwrap();
        assert!((found - exact).abs() < 1e-8 * exact + 1e-12, "{servers}, {rho}: {found}, {exact}");
    }
    assert_eq!(constant_wait(4, 0.0), Ok(0.0));
    assert!(constant_wait(4, 1.0).is_err() && constant_wait(0, 0.5).is_err());
}

/// The mean of the shortest residual by a sum of rectangles.
fn least_residual(service: &Service, count: i32) -> f64 {
    let step = 5e-4;
    (0..240_000).map(|at| service.excess((f64::from(at) + 0.5) * step).powi(count) * step).sum()
}

#[test]
fn residual_services_match_closed_forms_and_a_plain_sum() {
    for count in [1, 2, 7] {
        let power = f64::from(count);
        let of = |service: Service| service.least_residual(count);
        assert_near(of(Service::constant()), 1.0 / (power + 1.0), 1e-12, "constant");
        assert_near(of(Service::exponential()), 1.0 / power, 1e-12, "exponential");
        for service in [
            Service::uniform(0.5, 2.0).unwrap(),
            Service::lognormal(1.0).unwrap(),
            Service::hyperexponential(2.0).unwrap(),
            Service::discrete([(0.0, 1.0), (1.0, 3.0), (8.0, 0.5)]).unwrap(),
            Service::bounded_pareto(1.2, 0.3, 100.0).unwrap(),
            Service::bounded_pareto(1.0, 0.3, 100.0).unwrap(),
        ] {
            let plain = least_residual(&service, count as i32);
            assert_near(of(service.clone()), plain, 1e-4, &format!("{service:?}, {count}"));
        }
    }
    // The residual of one service has the mean E S^2 / 2 (renewal theory).
    for service in [Service::lognormal(2.0).unwrap(), Service::pareto(2.5).unwrap()] {
        let exact = (1.0 + service.squared_variation()) / 2.0;
        assert_near(service.least_residual(1), exact, 1e-3, &format!("{service:?}"));
    }
    assert!(Service::pareto(1.4).unwrap().least_residual(2).is_infinite());
}

#[test]
fn laws_that_cannot_be_are_refused() {
    for wrong in [
        Service::lognormal(0.0),
        Service::lognormal(f64::NAN),
        Service::hyperexponential(0.9),
        Service::uniform(2.0, 1.0),
        Service::pareto(1.0),
        Service::bounded_pareto(1.5, 2.0, 2.0),
        Service::discrete([]),
        Service::discrete([(0.0, 1.0)]),
        Service::discrete([(-1.0, 1.0)]),
    ] {
        assert!(matches!(wrong, Err(TheoryError::OutOfRange { .. })), "{wrong:?}");
    }
}

proptest! {
    /// The excess is a falling probability whose integral is the mean residual.
    #[test]
    fn the_excess_of_any_law_is_a_distribution(
        values in prop::collection::vec((0.0..10.0, 0.01..1.0), 1..20),
        time in 0.0..10.0,
    ) {
        prop_assume!(values.iter().any(|(value, _)| *value > 0.01));
        let service = Service::discrete(values).unwrap();
        let [now, later] = [time, time + 0.1].map(|time| service.excess(time));
        prop_assert!((0.0..=1.0 + 1e-12).contains(&now) && later <= now + 1e-12);
        let residual = service.least_residual(1);
        let exact = (1.0 + service.squared_variation()) / 2.0;
        prop_assert!((residual / exact - 1.0).abs() < 1e-9, "{residual} for {exact}");
    }

    /// More workers at the same utilisation never wait longer, nor does less variation.
    #[test]
    fn waits_fall_with_workers_and_variation(
        servers in 2u32..16, rho in 0.1..0.95, cv in 1.05f64..4.0,
    ) {
        let wait = |servers, cv| {
            let service = Service::hyperexponential(cv).unwrap();
            Mgc::new(servers, rho, &service).unwrap().mean_wait()
        };
        prop_assert!(wait(servers + 1, cv) < wait(servers, cv));
        prop_assert!(wait(servers, cv) >= Mmc::new(servers, rho).unwrap().mean_wait() * 0.999);
    }
}
