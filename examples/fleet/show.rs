//! The tables, the charts and the checks of what was measured.

use crate::judge::{self, of, over};
use crate::measure::{Bench, Run};
use crate::outages::{Front, Gap, Kill, Restart, lost};
use crate::policy::Policy;
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::load::Outcome;
use lab::numbers::{millis, percent};
use lab::program::Program;
use lab::table::Table;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

const POLICIES: &str = "The mean wait of each run, of the twin with the same arrivals and \
    services (bars: nine in ten of its runs where it draws lots of its own), and in the steady \
    state of theory. Runs of a few seconds wait less than the steady state, and random ones \
    differ a lot.";

const RESTARTED: &str = "The longest latency of the requests of each tenth of a second, while \
    each server is restarted in turn. A server that is told to stop serves on until HAProxy \
    knows. While it is away, the others carry less than what is offered: a queue grows, and is \
    worked off afterwards. Nothing is lost.";

const KILLED: &str = "The same while a server is killed. The requests that it was working on are \
    lost, unless the configuration allows HAProxy to send them to another server.";

/// The bottom of the charts over time, in milliseconds.
const BOTTOM: f64 = 5.0;

/// The width of a step of the charts over time.
const STEP: Duration = Duration::from_millis(100);

fn in_services(run: &Run, wait: Duration) -> f64 {
    wait.div_duration_f64(run.service)
}

pub fn policies(
    program: &mut Program,
    bench: &Bench<'_>,
    runs: &[Run],
) -> Result<(), Box<dyn Error>> {
    program.heading("Five ways to choose a server, measured");
    program.text(
        "The mean wait for a worker, in service times, over the runs; after ± is half of the 95 % \
         interval. Twin: ideal servers with the arrivals and the service times of the run. Pooled: \
         the same in one pool of all workers. Steady: theory for a load that lasts. Added: what \
         HAProxy and the network add to a request, the median.",
    );
    let mut table =
        Table::new(["policy", "balance", "wait", "twin", "wait/twin", "pooled", "steady", "added"]);
    for policy in Policy::ALL {
        let shown = |figure: &dyn Fn(&Run) -> f64| {
            let moments = over(runs, policy, figure);
            format!("{:.3} ±{:.3}", moments.mean(), moments.half_width())
        };
        let utilisation = over(runs, policy, |run| run.utilisation).mean();
        let args = bench.args;
        let steady = policy.steady(args.servers(), args.workers, utilisation);
        table.row([
            policy.name().to_owned(),
            policy.balance().to_owned(),
            shown(&|run| in_services(run, run.wait)),
            shown(&|run| in_services(run, run.twins.mean())),
            shown(&|run| run.wait.div_duration_f64(run.twins.mean())),
            shown(&|run| in_services(run, run.pooled)),
            steady.map_or("-".to_owned(), |wait| format!("{wait:.3}")),
            format!("{:.2} ms", over(runs, policy, |run| millis(run.added)).mean()),
        ]);
    }
    program.table(&table);
    program.chart(&waits(bench, runs), POLICIES)?;
    program.conclude(judge::judge(bench.args, runs));
    Ok(())
}

fn waits(bench: &Bench<'_>, runs: &[Run]) -> Chart {
    let description = "The mean wait by policy: random waits several times as long as the others, \
        and measured and simulated waits agree.";
    let x = Axis::named("", Policy::ALL.map(Policy::name));
    let y = Axis::linear("mean wait, over D");
    let places = || (0_u32..).map(f64::from).zip(Policy::ALL);
    // The runs of a policy are side by side.
    let each = |figure: &dyn Fn(f64, &Run) -> [f64; 4]| -> Vec<[f64; 4]> {
        let of_policy = |(place, policy)| {
            let of = of(runs, policy);
            let count = of.len() as f64;
            let of = of.into_iter().zip(0_u32..);
            let at = move |number: u32| place + 0.6 * ((f64::from(number) + 0.5) / count - 0.5);
            of.map(|(run, number)| figure(at(number), run)).collect::<Vec<_>>()
        };
        places().flat_map(of_policy).collect()
    };
    let twins = each(&|x, run| {
        let [low, high] = [0.05, 0.95].map(|p| in_services(run, run.twins.percentile(p)));
        [x - 0.03, low - 0.02, x + 0.03, high + 0.02]
    });
    let measured = each(&|x, run| [x, in_services(run, run.wait), 0.0, 0.0]);
    let measured = measured.into_iter().map(|[x, y, ..]| (x, y)).collect();
    let args = bench.args;
    let mut chart = Chart::new("Mean wait by policy", description, x, y).with(
        "twin",
        Colour::Orange,
        Shape::Boxes(twins),
    );
    let mut name = "steady state";
    for (place, policy) in places() {
        let utilisation = over(runs, policy, |run| run.utilisation).mean();
        if let Some(wait) = policy.steady(args.servers(), args.workers, utilisation) {
            let line = Shape::Dashed(vec![(place - 0.4, wait), (place + 0.4, wait)]);
            chart = chart.with(name, Colour::Ink, line);
            name = "";
        }
    }
    chart.with("measured", Colour::Blue, Shape::Points(measured))
}

/// The longest latency, in milliseconds, in each step of time, in seconds.
fn longest(outcomes: &[Outcome]) -> Vec<(f64, f64)> {
    let mut steps: BTreeMap<u128, Duration> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.is_success()) {
        let step = steps.entry(outcome.intended.as_nanos() / STEP.as_nanos()).or_default();
        *step = outcome.latency().max(*step);
    }
    let middle = |step: u128| (step as f64 + 0.5) * STEP.as_secs_f64();
    steps.into_iter().map(|(step, latency)| (middle(step), millis(latency))).collect()
}

/// When requests were lost, above the strip.
fn losses(outcomes: &[Outcome]) -> Vec<(f64, f64)> {
    let height = |of: &Outcome| millis(of.latency()).max(2.4 * BOTTOM);
    lost(outcomes).into_iter().map(|of| (of.intended.as_secs_f64(), height(of))).collect()
}

/// A strip at the bottom of a chart over time, below all latencies.
fn strip(from: Duration, to: Duration) -> [f64; 4] {
    [from.as_secs_f64(), BOTTOM, to.as_secs_f64(), BOTTOM * 1.6]
}

/// The top of a logarithmic axis for these latencies.
fn top(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, y)| *y).fold(100.0, f64::max) * 1.5
}

pub fn restart(program: &mut Program, restart: &Restart) -> Result<(), Box<dyn Error>> {
    let Restart { gaps, outcomes, retries, sent_again, last } = restart;
    program.heading("A rolling restart, at .9 of the capacity");
    let mut table = Table::new(["server", "told to stop", "ended after", "back after"]);
    for (letter, gap) in ('a'..).zip(gaps) {
        table.row([
            letter.to_string(),
            format!("{:.2} s", gap.from.as_secs_f64()),
            format!("{:.2} s", (gap.ended - gap.from).as_secs_f64()),
            format!("{:.2} s", (gap.to - gap.from).as_secs_f64()),
        ]);
    }
    program.table(&table);
    let points = longest(outcomes);
    let description = "The longest latency over time. It rises while a server is away, and falls \
        afterwards.";
    let top = top(&points);
    let leaving = gaps.iter().map(|gap| strip(gap.from, gap.ended));
    let away = gaps.iter().map(|gap| strip(gap.ended, gap.to));
    let x = Axis::linear("seconds");
    let y = Axis::log("longest latency, milliseconds").between(BOTTOM, top);
    let chart = Chart::new("Latency through a rolling restart", description, x, y)
        .with("told to stop, serves on", Colour::Orange, Shape::Boxes(leaving.collect()))
        .with("away", Colour::Red, Shape::Boxes(away.collect()))
        .with("longest latency", Colour::Blue, Shape::Line(points));
    program.chart(&chart, RESTARTED)?;
    let lost = lost(outcomes).len();
    program.check(
        format!(
            "{} restarted at .9 of the capacity: {lost} of {} requests lost ({retries} were tried \
             again by HAProxy, {sent_again} by the client)",
            if gaps.len() == 1 {
                "one server".to_owned()
            } else {
                format!("{} servers in turn", gaps.len())
            },
            outcomes.len()
        ),
        lost == 0 && *sent_again == 0,
    );
    let end = gaps.last().map_or(Duration::ZERO, |gap| gap.to);
    program.check(
        format!("the load lasts for {last:.1?}, and the last server is back after {end:.1?}"),
        end < *last,
    );
    Ok(())
}

pub fn kill(program: &mut Program, kill: &Kill) -> Result<(), Box<dyn Error>> {
    program.heading("One server is killed, at .6 of the capacity");
    program.text(
        "Two HAProxies with half of the load each, in front of the same servers: one with the \
         committed configuration, one without `retry-on`. Their clients use a new connection for \
         each request. Times from the kill.",
    );
    let mut table = Table::new([
        "configuration",
        "requests",
        "lost",
        "the last of them",
        "tried again",
        "elsewhere",
        "taken out after",
        "longest latency",
    ]);
    let gap = kill.gap;
    let since = |time: Duration| format!("{:.0} ms", millis(time.saturating_sub(gap.from)));
    for front in &kill.fronts {
        let lost = lost(&front.outcomes);
        let last = lost.iter().map(|outcome| outcome.ended).max();
        let longest = front.outcomes.iter().map(Outcome::latency).max().unwrap_or_default();
        table.row([
            front.name.to_owned(),
            front.outcomes.len().to_string(),
            lost.len().to_string(),
            last.map_or("-".to_owned(), since),
            front.retries.to_string(),
            front.redispatches.to_string(),
            since(front.down),
            format!("{:.0} ms", millis(longest)),
        ]);
    }
    program.table(&table);
    let [safe, other] = &kill.fronts[..] else { return Ok(()) };
    program.chart(&killed(safe, other, gap), KILLED)?;
    check_kill(program, safe, other, gap);
    Ok(())
}

fn killed(safe: &Front, other: &Front, gap: Gap) -> Chart {
    let points = longest(&safe.outcomes);
    let losses = losses(&other.outcomes);
    let top = top(&points);
    let description = "The longest latency over time while a server is killed, and the requests \
        that are lost.";
    let x = Axis::linear("seconds");
    let y = Axis::log("longest latency, milliseconds").between(BOTTOM, top);
    let tried = strip(gap.from, safe.down);
    let mut chart = Chart::new("Latency while a server is killed", description, x, y)
        .with("killed, HAProxy tries it", Colour::Orange, Shape::Boxes(vec![tried]))
        .with("taken out", Colour::Grey, Shape::Boxes(vec![strip(safe.down, gap.to)]))
        .with("longest latency, as committed", Colour::Blue, Shape::Line(points));
    if !losses.is_empty() {
        chart = chart.with("lost without retry-on", Colour::Red, Shape::Points(losses));
    }
    chart
}

fn check_kill(program: &mut Program, safe: &Front, other: &Front, gap: Gap) {
    let count = lost(&safe.outcomes).len();
    program.check(
        format!(
            "a killed server: {count} of {} requests lost with the committed configuration",
            safe.outcomes.len()
        ),
        count == 0,
    );
    // A request that is sent later finds the port closed, and HAProxy takes another server.
    let lost = lost(&other.outcomes);
    let late = lost.iter().filter(|outcome| outcome.begun.is_none_or(|begun| begun > gap.ended));
    let late = late.count();
    program.check(
        format!(
            "without retry-on {} of {} were lost, and {late} of them were sent after the kill: \
             only what the server was working on is lost, at once ({})",
            lost.len(),
            other.outcomes.len(),
            percent(lost.len() as f64 / other.outcomes.len().max(1) as f64)
        ),
        late == 0,
    );
}
