//! A burst on top of a load that the pool carries easily, with clients that retry.

/// The runs of each policy.
const RUNS: u64 = 3;

use crate::measure::{Bench, Task};
use crate::policy::Policy;
use crate::service::Service;
use crate::together;
use lab::arrivals::{Arrivals, Rate, Stop};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::evidence::Findings;
use lab::load::{Outcome, Retries};
use lab::moments::Moments;
use lab::program::Program;
use lab::table::Table;
use lab::trace::Trace;
use queueing_theory::fluid;
use std::error::Error;
use std::time::Duration;

const POLICIES: [Policy; 3] = [Policy::Unbounded, Policy::BoundAndAge, Policy::FAIR];
const BASE: f64 = 0.75;
const PEAK: f64 = 3.0;
/// The number of immediate retries.
const RETRIES: u32 = 3;
/// The number of bars in the chart.
const STEPS: u32 = 24;
/// Goodput divided by offered load at the end: at least this if recovered, at most that if not.
const RECOVERED: f64 = 0.9;
const LOST: f64 = 0.2;

const CAPTION: &str = "The burst ends, but without a bound its damage does not: each try that the \
    client gives up leaves work behind and is followed by another try.";

/// When the burst starts and ends, and when the load ends.
pub struct Times {
    begin: Duration,
    end: Duration,
    over: Duration,
}

impl Times {
    pub fn of(bench: &Bench<'_>) -> Self {
        let [begin, end, over] =
            if bench.is_quick() { [400, 900, 2400] } else { [1000, 2000, 6000] };
        Self { begin: millis(begin), end: millis(end), over: millis(over) }
    }
}

pub fn run(
    program: &mut Program,
    bench: &Bench<'_>,
    mut trace: Option<&mut Trace>,
) -> Result<(), Box<dyn Error>> {
    let times = Times::of(bench);
    program.heading("A burst, and clients that retry");
    program.text(&format!(
        "A load of {BASE} with {PEAK} from {:?} to {:?}; a client that is refused or times out \
         retries at once, up to {RETRIES} times. While all tries fail, retries alone raise the \
         load to {}.",
        times.begin,
        times.end,
        fluid::with_retries(BASE, RETRIES + 1)
    ));
    let tasks = tasks(bench, bench.seed());
    let runs = together::run(bench, &tasks, |_, run| (run.outcomes, run.reasons))?;
    let mut shown = Vec::new();
    for (task, (outcomes, reasons)) in tasks.iter().zip(runs) {
        let policy = task.policy;
        if let Some(trace) = trace.as_deref_mut() {
            trace.add(&format!("burst, {}", policy.name()), &outcomes)?;
        }
        if !reasons.is_empty() {
            program.spoilt(format!("the burst, {}: {}", policy.name(), reasons.join("; ")));
        }
        shown.push((policy, outcomes));
    }
    // The first run of each.
    show(program, bench, &times, &shown[..POLICIES.len()])?;
    let shares = shown.iter().map(|(policy, outcomes)| {
        let good = outcomes.iter().filter(|each| each.is_good(bench.patience()));
        let all = outcomes.iter().map(|each| each.intended);
        (*policy, share(&times, all, good.map(|each| each.intended)))
    });
    program.conclude(judge(&shares.collect::<Vec<_>>()));
    Ok(())
}

/// Some runs of each policy, the seeds of which follow this one.
pub fn tasks(bench: &Bench<'_>, seed: u64) -> Vec<Task> {
    let times = Times::of(bench);
    let of = |load: f64| load * bench.capacity();
    let rate = Rate::burst(of(BASE), of(PEAK), times.begin, times.end - times.begin);
    let task = |(number, policy): (u64, Policy)| {
        let seed = seed.wrapping_add(number);
        Task {
            policy,
            service: Service::Constant,
            seed,
            starts: Arrivals::poisson(rate.clone(), seed).starts(Stop::After(times.over)),
            retries: Retries::at_once(RETRIES),
            change: Duration::ZERO,
        }
    };
    let tasks = (0..RUNS).flat_map(|number| POLICIES.map(|policy| (number, policy)));
    tasks.map(task).collect()
}

/// The share of the requests with an intended start in the last quarter of the time after the burst
/// that are good, from the intended starts of all and of the good ones.
pub fn share(
    times: &Times,
    all: impl Iterator<Item = Duration>,
    good: impl Iterator<Item = Duration>,
) -> f64 {
    let from = times.over - (times.over - times.end) / 4;
    let counted = from..times.over;
    let count =
        |of: &mut dyn Iterator<Item = Duration>| of.filter(|at| counted.contains(at)).count();
    let (mut all, mut good) = (all, good);
    count(&mut good) as f64 / count(&mut all).max(1) as f64
}

/// Who serves the load again once the burst is over, and who does not, by the share of each run.
pub fn judge(runs: &[(Policy, f64)]) -> Findings {
    let mut findings = Findings::default();
    for policy in POLICIES {
        let of = runs.iter().filter(|(of, _)| *of == policy);
        let share: Moments = of.map(|(_, share)| *share).collect();
        let name = policy.name();
        let (mean, half) = (share.mean(), share.half_width());
        match policy {
            Policy::Unbounded => findings.most(
                format!(
                    "{name}: {mean:.2} ±{half:.2} of the offered load is good long after the \
                     burst, at most {LOST} expected: the pool does not recover"
                ),
                &share,
                LOST,
            ),
            _ => findings.least(
                format!(
                    "{name}: {mean:.2} ±{half:.2} of the offered load is good after the burst, at \
                     least {RECOVERED} required: the pool recovers"
                ),
                &share,
                RECOVERED,
            ),
        }
    }
    findings
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The requests per second whose intended start is in a time interval, divided by the capacity.
fn offered(bench: &Bench<'_>, outcomes: &[Outcome], from: Duration, to: Duration) -> f64 {
    let came = outcomes.iter().filter(|each| (from..to).contains(&each.intended)).count() as f64;
    came / (to - from).as_secs_f64() / bench.capacity()
}

fn show(
    program: &mut Program,
    bench: &Bench<'_>,
    times: &Times,
    shown: &[(Policy, Vec<Outcome>)],
) -> Result<(), Box<dyn Error>> {
    type Measure = fn(&Bench<'_>, &[Outcome], Duration, Duration) -> f64;
    let step = times.over / STEPS;
    let stretches: Vec<_> = (0..STEPS).map(|number| (step * number, step * (number + 1))).collect();
    let steps = |measure: Measure, outcomes: &[Outcome]| -> Vec<f64> {
        stretches.iter().map(|&(from, to)| measure(bench, outcomes, from, to)).collect()
    };
    let stairs = |heights: &[f64]| {
        let corners = stretches.iter().zip(heights).flat_map(|(&(from, to), &height)| {
            [(from.as_secs_f64(), height), (to.as_secs_f64(), height)]
        });
        Shape::Line(corners.collect())
    };
    let mut chart = Chart::new(
        "Goodput through a burst, with retries",
        "Offered load and goodput over time. After the burst, goodput without a bound stays at \
         zero although the load is below the knee again; with bound and age it is back at once.",
        Axis::linear("seconds").between(0.0, times.over.as_secs_f64()),
        Axis::linear("over W/D"),
    );
    if let Some((_, outcomes)) = shown.first() {
        chart = chart.with("offered", Colour::Ink, stairs(&steps(offered, outcomes)));
    }
    let headings =
        stretches.iter().step_by(3).map(|(from, _)| format!("{:.1} s", from.as_secs_f64()));
    let mut table = Table::new(["goodput from".to_owned()].into_iter().chain(headings));
    let goodput: Measure = |bench, outcomes, from, to| bench.goodput(outcomes, from, to);
    for (policy, outcomes) in shown {
        let heights = steps(goodput, outcomes);
        let cells = heights
            .chunks(3)
            .map(|three| format!("{:.2}", three.iter().copied().collect::<Moments>().mean()));
        table.row([policy.name().to_owned()].into_iter().chain(cells));
        chart = chart.with(policy.name(), policy.colour(), stairs(&heights));
    }
    program.table(&table);
    program.figure(&chart, CAPTION)
}
