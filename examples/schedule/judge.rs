//! What must be true of the runs and of the simulations.

use crate::measure::{Figures, Measured, ORDERS, Steady};
use crate::options::Args;
use crate::sizes::{Size, moment};
use lab::evidence::Findings;
use lab::moments::Moments;
use lab::orders::{Order, Waits};
use lab::steady::Estimate;
use queueing_theory::{Class, priority_waits};

/// A figure of an interval of 95 % fails by chance once in twenty times. At this many times its
/// width it is one of 99.9 % (Student's t, 5 to 9 degrees of freedom: 6.87 / 2.57 and 4.78 / 2.26).
const SURE: f64 = 2.7;

/// How far the waits of requests may be from those of the same requests in the twin, on average,
/// over the mean wait.
const APART: f64 = 0.5;

/// How far a real pool may be from its twin, which has the same arrivals and services.
const NEAR: f64 = 0.1;
const NEAR_QUICK: f64 = 0.3;

/// The same for turns: the server guesses how long a service will take, and the twin knows it.
const NEAR_TURNS: f64 = 0.15;
const NEAR_TURNS_QUICK: f64 = 0.4;

/// The mean waits of one worker in seconds.
pub struct Theory {
    /// Of each order; not a number where there is no formula.
    pub means: [f64; 4],
    /// Of each size, with the smallest first.
    by_size: Vec<f64>,
}

pub fn theory(args: &Args, sizes: &[Size]) -> Option<Theory> {
    if args.workers != 1 {
        return None;
    }
    let rate = args.rate(sizes);
    // All sizes are one class.
    let all = Class { rate, mean: moment(sizes, 1), square: moment(sizes, 2) };
    let fifo = *priority_waits(&[all]).ok()?.first()?;
    let class = |size: &Size| {
        let mean = size.time.as_secs_f64();
        Class { rate: rate * size.share, mean, square: mean * mean }
    };
    let by_size = priority_waits(&sizes.iter().map(class).collect::<Vec<_>>()).ok()?;
    let smallest = by_size.iter().zip(sizes).map(|(wait, size)| wait * size.share).sum();
    Some(Theory { means: [fifo, f64::NAN, fifo, smallest], by_size })
}

/// What the runs show, beside their twins. It knows nothing of disturbances.
pub fn runs(args: &Args, measured: &[Measured]) -> Findings {
    let mut findings = Findings::default();
    for (of, (name, _, order)) in measured.iter().zip(ORDERS) {
        let most = match (args.common.quick, order) {
            (true, Order::Fair) => NEAR_TURNS_QUICK,
            (true, _) => NEAR_QUICK,
            (false, Order::Fair) => NEAR_TURNS,
            (false, _) => NEAR,
        };
        // In short runs, chance decides how far apart a last come, first served pool is.
        if !args.common.quick {
            let apart = of.real.iter().zip(&of.twin).map(|(real, twin)| real.apart(twin).ln());
            check_apart(&mut findings, name, &apart.collect());
        }
        for is_wait in [true, false] {
            let what = if is_wait { "mean wait" } else { "mean slowdown" };
            let figure = if is_wait { Waits::mean_wait } else { Waits::slowdown };
            let pairs = of.real.iter().zip(&of.twin);
            let off: Moments =
                pairs.map(|(real, twin)| figure(real) / figure(twin) - 1.0).collect();
            findings.near(
                format!(
                    "{name}: the {what} differs from the twin's by {:+.1} ±{:.1} %, {:.0} % \
                     allowed",
                    off.mean() * 100.0,
                    off.half_width() * 100.0,
                    most * 100.0
                ),
                &off,
                0.0,
                most,
            );
        }
    }
    findings
}

/// The order itself, request by request. It takes logarithms, since chance multiplies such a
/// figure: so a pool with another order is found out in a few runs.
fn check_apart(findings: &mut Findings, name: &str, apart: &Moments) {
    let (low, high) = apart.interval();
    let [mean, low, high] = [apart.mean(), low, high].map(|of| of.exp() * 100.0);
    let what = format!(
        "{name}: the waits differ from those of the same requests in the twin by {mean:.0} % of \
         the mean ({low:.0} to {high:.0}), {:.0} % allowed",
        APART * 100.0
    );
    findings.most(what, apart, APART.ln());
}

/// What the simulations show, beside the theory and one another.
pub fn simulations(args: &Args, sizes: &[Size], steady: &[Steady; 5]) -> Findings {
    let mut findings = Findings::default();
    if let Some(theory) = theory(args, sizes) {
        check_theory(&mut findings, &theory, steady);
    }
    check_lessons(&mut findings, steady);
    findings
}

fn check_theory(findings: &mut Findings, theory: &Theory, steady: &[Steady; 5]) {
    let mut agree = |what: &str, exact: f64, found: Estimate| {
        findings.check(
            format!(
                "{what}: {:.2} ms by theory, {:.2} \u{b1}{:.2} simulated (99.9 % interval)",
                exact * 1e3,
                found.value * 1e3,
                SURE * found.half * 1e3
            ),
            (found.value - exact).abs() <= SURE * found.half,
        );
    };
    for (place, name) in [(0, "fifo, Pollaczek and Khinchine"), (2, "lifo, the same mean")] {
        agree(name, theory.means[place], steady[place].mean_wait);
    }
    // The server ages what waits; this pool does not.
    let pure = &steady[4];
    agree("smallest first, Cobham", theory.means[3], pure.mean_wait);
    let last = theory.by_size.len() - 1;
    for (size, name) in [(0, "the shortest"), (last, "the longest")] {
        let what = format!("smallest first, {name} requests");
        agree(&what, theory.by_size[size], pure.by_size[size].0);
    }
}

/// What the orders differ in: the ratio of a figure in runs with the same arrivals, beyond chance.
fn check_lessons(findings: &mut Findings, steady: &[Steady; 5]) {
    let [fifo, fair, lifo, smallest, _] = steady;
    let mut more = |what: &str, large: &Steady, small: &Steady, figure: fn(&Figures) -> f64| {
        let ratios = large.runs.iter().zip(&small.runs);
        let ratios = ratios.map(|(large, small)| (figure(large) / figure(small)).ln());
        let ratio: Moments = ratios.filter(|ratio| ratio.is_finite()).collect();
        let (low, high) = ratio.interval();
        let [low, middle, high] = [low, ratio.mean(), high].map(f64::exp);
        let what = format!("{what}: {middle:.2} times ({low:.2} to {high:.2}), more required");
        findings.least(what, &ratio, 0.0);
    };
    more("fifo slows requests down more than smallest first", fifo, smallest, |of| of.slowdown);
    more("fifo slows requests down more than fair", fifo, fair, |of| of.slowdown);
    more("the mean wait of fifo is above smallest first", fifo, smallest, |of| of.mean_wait);
    more("the longest wait of lifo is above fifo", lifo, fifo, |of| of.longest);
    more("smallest first slows the longest down more than fifo", smallest, fifo, |of| of.largest);
}
