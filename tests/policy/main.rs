//! Overload in simulation: the server's disciplines, ages and bounds against the figures of another
//! simulation, of which only the rules were known.
#![allow(clippy::unwrap_used)]

mod pool;

use cws::internals::config::Schedule;
use pool::{PATIENCE, Request, Retries, Sender, Service, Setting, WORKERS, simulate};

const SEEDS: u64 = 10;
/// Student's t for ten seeds, two-sided 95 %. Of fewer seeds only the means are used.
const STUDENT: f64 = 2.262;
/// What two simulations may differ by beside their intervals.
const TOLERANCE: f64 = 0.02;
const LENGTH: f64 = 1200.0;
const WARM_UP: f64 = 300.0;

/// A mean and half of its confidence interval.
#[derive(Debug, Clone, Copy)]
struct Figure {
    mean: f64,
    half_width: f64,
}

impl Figure {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let deviation = (squares / (count - 1.0)).sqrt();
        Self { mean, half_width: STUDENT * deviation / count.sqrt() }
    }

    /// The tolerance beside a figure that has this interval.
    fn slack(self, half_width: f64) -> f64 {
        TOLERANCE + self.half_width + half_width
    }
}

/// What a setting gives over all seeds.
#[derive(Debug)]
struct Outcome {
    /// Answers in time over the capacity.
    good: Figure,
    /// The share of each sender's requests that was answered in time.
    answered: Vec<Figure>,
    /// Of those that were not answered, the share that was refused at once.
    refused: Figure,
}

/// Simulates with so many seeds. `capacity` is the number of services per D.
fn measure(setting: &Setting, capacity: f64, seeds: u64) -> Outcome {
    let runs: Vec<_> = (0..seeds).map(|seed| simulate(setting, seed)).collect();
    let over_runs = |of: &dyn Fn(&[Request]) -> f64| {
        Figure::of(&runs.iter().map(|run| of(run)).collect::<Vec<_>>())
    };
    let served = |run: &[Request]| run.iter().filter(|of| of.answered.is_some()).count() as f64;
    let time = setting.length - setting.warm_up - PATIENCE.as_secs_f64() / pool::D.as_secs_f64();
    let share = |sender: usize, run: &[Request]| {
        let own: Vec<_> = run.iter().filter(|of| of.sender == sender).cloned().collect();
        served(&own) / own.len() as f64
    };
    let senders = 0..setting.senders.len();
    Outcome {
        good: over_runs(&|run| served(run) / (capacity * time)),
        answered: senders.map(|sender| over_runs(&|run| share(sender, run))).collect(),
        refused: over_runs(&|run| {
            let refused = run.iter().filter(|of| of.was_refused).count() as f64;
            refused / (run.len() as f64 - served(run)).max(1.0)
        }),
    }
}

/// A service by its name, and the configured service time over its mean, but for the lab's 2 %.
fn service(name: &str) -> (Service, f64) {
    match name {
        "lab" => (Service::Lab(1.0), 1.0),
        "exp" => (Service::Exponential(1.0), 1.0),
        "x3" => (Service::Lab(3.0), 1.0 / 3.0),
        "x6" => (Service::Lab(6.0), 1.0 / 6.0),
        _ => panic!("{name}"),
    }
}

/// A polite client with a tenth of the arrivals and a greedy one with the others, at `load` times
/// the capacity; and that.
fn two_clients(name: &str, schedule: Schedule, load: f64) -> (Setting, f64) {
    let (service, speed) = service(name);
    let capacity = WORKERS as f64 * speed;
    let senders = [0.1, 0.9].map(|share| Sender { rate: share * load * capacity, service });
    let length = WARM_UP + LENGTH + PATIENCE.as_secs_f64() / pool::D.as_secs_f64();
    let setting = Setting {
        schedule,
        age: pool::age,
        bound: pool::bound,
        senders: senders.into(),
        burst: None,
        retries: Retries::Never,
        warm_up: WARM_UP,
        length,
    };
    (setting, capacity)
}

/// The same without a bound, so that the age alone lets go.
fn age_alone(setting: &Setting) -> Setting {
    Setting { bound: |_, _| usize::MAX / 2, ..setting.clone() }
}

/// A row of the reference: the service, the discipline, the load; then the goodput, the share of
/// the polite client's requests that are answered, each with its half width; and the greedy one's.
type Row = (&'static str, Schedule, f64, [f64; 2], [f64; 2], f64);

/// Requests are dropped at the age min(T/2, .9 T - S), and refused at a bound of W * age / S. Four
/// workers, T = 10 D, Poisson arrivals, the polite client with a tenth of them, 10 seeds of 1200 D
/// after 300 D.
const WITH_BOUND: [Row; 12] = [
    ("lab", Schedule::Fifo, 1.1, [0.9754, 0.0008], [0.8888, 0.0149], 0.8906),
    ("lab", Schedule::Fifo, 5.0, [0.9757, 0.0002], [0.1949, 0.0059], 0.1954),
    ("lab", Schedule::Fair, 1.1, [0.9750, 0.0011], [0.9990, 0.0007], 0.8736),
    ("lab", Schedule::Fair, 5.0, [0.9765, 0.0004], [0.9344, 0.0115], 0.1135),
    ("exp", Schedule::Fifo, 1.1, [0.9732, 0.0101], [0.8862, 0.0203], 0.8822),
    ("exp", Schedule::Fifo, 5.0, [0.9941, 0.0094], [0.1955, 0.0061], 0.1990),
    ("exp", Schedule::Fair, 1.1, [0.9694, 0.0130], [0.9979, 0.0012], 0.8692),
    ("exp", Schedule::Fair, 5.0, [0.9899, 0.0074], [0.9024, 0.0076], 0.1194),
    ("x3", Schedule::Fifo, 1.1, [0.9481, 0.0033], [0.8636, 0.0153], 0.8613),
    ("x3", Schedule::Fifo, 5.0, [0.9786, 0.0002], [0.1922, 0.0062], 0.1962),
    ("x3", Schedule::Fair, 1.1, [0.9434, 0.0039], [0.9985, 0.0014], 0.8468),
    ("x3", Schedule::Fair, 5.0, [0.9788, 0.0002], [0.8429, 0.0084], 0.1245),
];

/// The same with the age alone. With services six times longer than that of the configuration the
/// reference loses .04 by its bound, which is smaller than the server's, so these are the rows that
/// the server has to reach.
const AGE_ALONE: [Row; 14] = [
    ("lab", Schedule::Fifo, 1.1, [0.9750, 0.0011], [0.8856, 0.0129], 0.8880),
    ("lab", Schedule::Fifo, 5.0, [0.9755, 0.0001], [0.1966, 0.0064], 0.1951),
    ("lab", Schedule::Fair, 1.1, [0.9751, 0.0007], [0.9983, 0.0012], 0.8779),
    ("lab", Schedule::Fair, 5.0, [0.9764, 0.0004], [0.9379, 0.0117], 0.1131),
    ("exp", Schedule::Fifo, 1.1, [0.9740, 0.0080], [0.8770, 0.0159], 0.8844),
    ("exp", Schedule::Fifo, 5.0, [0.9838, 0.0073], [0.1946, 0.0062], 0.1967),
    ("exp", Schedule::Fair, 1.1, [0.9764, 0.0115], [0.9984, 0.0015], 0.8733),
    ("exp", Schedule::Fair, 5.0, [0.9873, 0.0074], [0.9266, 0.0077], 0.1163),
    ("x3", Schedule::Fifo, 1.1, [0.9550, 0.0032], [0.8680, 0.0083], 0.8693),
    ("x3", Schedule::Fifo, 5.0, [0.9782, 0.0002], [0.1962, 0.0050], 0.1958),
    ("x3", Schedule::Fair, 1.1, [0.9537, 0.0033], [0.9990, 0.0010], 0.8493),
    ("x3", Schedule::Fair, 5.0, [0.9785, 0.0002], [0.8565, 0.0094], 0.1226),
    ("x6", Schedule::Fifo, 2.0, [0.9702, 0.0009], [0.4805, 0.0121], 0.4864),
    ("x6", Schedule::Fair, 2.0, [0.9696, 0.0014], [0.8400, 0.0073], 0.4456),
];

/// The last in, first out without age and bound. The row of six times longer services is left out:
/// the one that the channel holds is as old as a service by then, which the reference has not.
const LAST_IN_FIRST_OUT: [Row; 6] = [
    ("lab", Schedule::Lifo, 1.1, [0.9530, 0.0036], [0.8698, 0.0105], 0.8708),
    ("lab", Schedule::Lifo, 5.0, [0.9794, 0.0003], [0.1972, 0.0068], 0.1959),
    ("exp", Schedule::Lifo, 1.1, [0.9459, 0.0091], [0.8532, 0.0105], 0.8605),
    ("exp", Schedule::Lifo, 5.0, [0.9943, 0.0075], [0.1940, 0.0053], 0.1991),
    ("x3", Schedule::Lifo, 1.1, [0.8913, 0.0052], [0.8074, 0.0137], 0.8151),
    ("x3", Schedule::Lifo, 5.0, [0.9794, 0.0003], [0.1972, 0.0068], 0.1959),
];

fn agrees(found: Figure, [mean, half_width]: [f64; 2]) -> bool {
    (found.mean - mean).abs() <= found.slack(half_width)
}

/// Compares a setting that is made from each row's with the row.
fn compare(rows: &[Row], of: fn(&Setting) -> Setting) {
    for &(name, schedule, load, good, polite, greedy) in rows {
        let (setting, capacity) = two_clients(name, schedule, load);
        let found = measure(&of(&setting), capacity, SEEDS);
        let at = format!("{name}, {schedule:?}, m = {load}: {found:?}");
        assert!(agrees(found.good, good), "goodput {good:?}: {at}");
        assert!(agrees(found.answered[0], polite), "polite {polite:?}: {at}");
        assert!(agrees(found.answered[1], [greedy, 0.0]), "greedy {greedy}: {at}");
    }
}

#[test]
fn ages_and_bounds_give_the_goodput_and_the_shares_of_the_reference() {
    compare(&WITH_BOUND, Setting::clone);
}

#[test]
fn ages_alone_give_the_goodput_and_the_shares_of_the_reference() {
    compare(&AGE_ALONE, age_alone);
}

#[test]
fn last_in_first_out_gives_the_goodput_and_the_shares_of_the_reference() {
    compare(&LAST_IN_FIRST_OUT, |setting| Setting {
        age: |_, _| std::time::Duration::MAX,
        ..age_alone(setting)
    });
}

/// Three of four requests that cannot be in time are refused at once from five times the capacity
/// on, except where so few services fit into the patience that ages tell little; the bound costs
/// next to nothing of the goodput that the age alone has.
#[test]
fn the_bound_refuses_early_and_costs_no_goodput() {
    // No figure has to agree with one of other arrivals, so fewer seeds are enough.
    let seeds = 4;
    for name in ["lab", "exp", "x3", "x6"] {
        for schedule in [Schedule::Fifo, Schedule::Fair] {
            for load in [1.1, 2.0, 5.0, 10.0] {
                let (setting, capacity) = two_clients(name, schedule, load);
                let found = measure(&setting, capacity, seeds);
                let alone = measure(&age_alone(&setting), capacity, seeds);
                let at = format!("{name}, {schedule:?}, m = {load}: {found:?}, {alone:?}");
                // The same arrivals, so the difference varies less than either.
                assert!(found.good.mean >= alone.good.mean - 0.01, "{at}");
                assert_eq!(alone.refused.mean, 0.0, "{at}");
                let least = if load < 5.0 || name == "x6" { 0.0 } else { 0.75 };
                assert!(found.refused.mean > least, "{at}");
            }
        }
    }
}

/// A burst of three times the base load for 60 D, and what the share of clients is that are served
/// by any of their tries, from one time to another after its end (in D).
fn after_burst(
    schedule: Schedule,
    has_limits: bool,
    retries: Retries,
    [from, to]: [f64; 2],
) -> Figure {
    let (setting, _) = two_clients("lab", schedule, 0.75);
    let patience = PATIENCE.as_secs_f64() / pool::D.as_secs_f64();
    let setting = Setting {
        burst: Some((3.0, 300.0, 360.0)),
        retries,
        warm_up: 360.0 + from,
        length: 360.0 + to + patience,
        ..setting
    };
    let no_limits = Setting { age: |_, _| std::time::Duration::MAX, ..age_alone(&setting) };
    let setting = if has_limits { setting } else { no_limits };
    let shares = (0..SEEDS).map(|seed| {
        let run = simulate(&setting, seed);
        run.iter().filter(|of| of.answered.is_some()).count() as f64 / run.len() as f64
    });
    Figure::of(&shares.collect::<Vec<_>>())
}

/// From 540 D after the burst on, the reference serves everybody, with each kind of retries; but
/// without limits it serves nobody any more who retries three times.
#[test]
fn a_burst_with_retries_ends_with_limits_and_never_without() {
    let late = [540.0, 700.0];
    for retries in [Retries::Never, Retries::AtOnce, Retries::Jitter] {
        for schedule in [Schedule::Fifo, Schedule::Fair] {
            let found = after_burst(schedule, true, retries, late);
            assert!(agrees(found, [1.0, 0.0]), "{schedule:?}, {retries:?}: {found:?}");
            let soon = after_burst(schedule, true, retries, [60.0, 140.0]);
            assert!(soon.mean >= 0.9, "60 D after the burst: {schedule:?}, {retries:?}: {soon:?}");
        }
        let expected = if retries == Retries::Never { 1.0 } else { 0.0 };
        let found = after_burst(Schedule::Fifo, false, retries, late);
        assert!(agrees(found, [expected, 0.0]), "no limits, {retries:?}: {found:?}");
    }
}
