//! Servers of different sizes in turn: with equal weights, and with those of their agents.

use crate::balancer::Balancer;
use crate::measure::{Bench, KEPT, OF_UNEQUAL, services};
use crate::outages::beside;
use crate::policy::Policy;
use crate::servers::{Server, Services};
use lab::arrivals::{Arrivals, Stop};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::fleet::{Turns, replay_to};
use lab::load::Outcome;
use lab::numbers::percent;
use lab::program::Program;
use lab::sample::Sample;
use lab::table::Table;
use queueing_theory::Mdc;
use std::error::Error;
use std::io;
use std::slice;
use std::thread;
use std::time::{Duration, Instant};

/// The workers of the servers.
pub const SIZES: [usize; 3] = [1, 2, 4];

/// The load, as a share of the capacity of all. Were it shared evenly, the first server would get
/// 1.75 times its capacity.
const LOAD: f64 = 0.75;

/// The length of the load. In the first half of it, the weights settle.
pub const LENGTH: Duration = Duration::from_secs(7);

/// How often the weights are looked at.
const STEP: Duration = Duration::from_millis(100);

/// The tolerated difference of the utilisations, and that of the short form.
const EVEN: f64 = 0.05;
const EVEN_QUICK: f64 = 0.1;

const WEIGHTS: &str = "The weights that HAProxy gives to the servers, in percent of the sum of \
    all. The agents tell what each server can take, from the service times that it measures. \
    Dashed: the shares of the workers.";

/// One of two fleets with the same load.
pub struct Side {
    pub name: &'static str,
    /// The weights at points in time, from the start of the load.
    weights: Vec<(Duration, [f64; SIZES.len()])>,
    /// The utilisation of each server in the second half of the load.
    utilisations: Vec<f64>,
    pub outcomes: Vec<Outcome>,
    /// The mean wait of the requests of the second half, and that of the twin.
    wait: Duration,
    twin: Duration,
    spoilt: Vec<String>,
}

/// Runs both fleets at the same time. Returns the reasons why the run is invalid, too.
pub fn measure(bench: &Bench<'_>) -> io::Result<(Vec<Side>, Vec<String>)> {
    thread::scope(|scope| {
        let start = |name, asks, length| scope.spawn(move || side(bench, length, name, asks));
        // A queue grows as long as the load lasts, and is then worked off.
        let equal = start("equal weights", false, LENGTH / 2);
        let both = [equal, start("the agents' weights", true, LENGTH)];
        let join = |thread: thread::ScopedJoinHandle<'_, io::Result<Side>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let sides: Vec<Side> = both.into_iter().map(join).collect::<io::Result<_>>()?;
        // The other one is so far from even that the generator's lateness does not matter.
        let reasons = sides.last().map(|side| side.spoilt.clone()).unwrap_or_default();
        Ok((sides, reasons))
    })
}

fn side(bench: &Bench<'_>, length: Duration, name: &'static str, asks: bool) -> io::Result<Side> {
    let delay = bench.args.delay;
    // The unit of the weights, which is the same for all servers: the largest one.
    let most = SIZES.into_iter().max().unwrap_or(1) as f64 / delay.as_secs_f64();
    let most = format!("{most:.0}");
    let start = |size: usize| bench.start_server(size, &["--agent-capacity", &most]);
    let servers: Vec<Server> = SIZES.into_iter().map(start).collect::<io::Result<_>>()?;
    let balancer = bench.balancer(OF_UNEQUAL, &servers, Policy::RoundRobin, asks)?;
    let workers: usize = SIZES.into_iter().sum();
    let rate = LOAD * workers as f64 / bench.service.as_secs_f64();
    let starts = Arrivals::poisson(rate, bench.args.common.seed).starts(Stop::After(length));
    let client = bench.client(&balancer, KEPT);
    let (run, (weights, utilisations)) =
        beside(|| client.open_loop(&starts), |clock| watch(&servers, &balancer, clock, length))?;
    let spoilt = run.conduct.spoilt(delay).iter().map(ToString::to_string).collect();
    let mut outcomes = run.outcomes;
    outcomes.sort_unstable_by_key(|outcome| outcome.begun.unwrap_or(outcome.intended));
    let waits = twin(bench, &outcomes, &weights);
    let late = |outcome: &Outcome| outcome.intended >= length / 2;
    let measured = outcomes.iter().filter(|outcome| late(outcome));
    let measured = measured.filter_map(|outcome| outcome.server.queue_wait);
    let twin = outcomes.iter().zip(waits).filter(|(outcome, _)| late(outcome));
    Ok(Side {
        name,
        utilisations,
        wait: measured.collect::<Sample>().mean(),
        twin: twin.map(|(_, wait)| wait).collect::<Sample>().mean(),
        weights,
        outcomes,
        spoilt,
    })
}

type Seen = (Vec<(Duration, [f64; SIZES.len()])>, Vec<f64>);

/// Looks at the weights while the load lasts, and at the services in its second half.
fn watch(
    servers: &[Server],
    balancer: &Balancer,
    clock: Instant,
    length: Duration,
) -> io::Result<Seen> {
    let each = || -> io::Result<Vec<Services>> {
        servers.iter().map(|server| services(slice::from_ref(server), 0.0)).collect()
    };
    let mut weights = Vec::new();
    let mut half = None;
    while clock.elapsed() < length {
        let stats = balancer.stats()?;
        let weight = |place| stats.server(place, "weight") as f64;
        weights.push((clock.elapsed(), std::array::from_fn(weight)));
        if half.is_none() && clock.elapsed() >= length / 2 {
            half = Some((clock.elapsed(), each()?));
        }
        thread::sleep(STEP);
    }
    let (from, before) = half.unwrap_or_default();
    let (to, after) = (clock.elapsed(), each()?);
    let busy = before.iter().zip(&after).map(|(before, after)| after.seconds - before.seconds);
    let share = |(busy, size)| busy / (size as f64 * (to - from).as_secs_f64());
    Ok((weights, busy.zip(SIZES).map(share).collect()))
}

/// The waits of the same arrivals, services and weights at ideal servers.
fn twin(
    bench: &Bench<'_>,
    outcomes: &[Outcome],
    weights: &[(Duration, [f64; SIZES.len()])],
) -> Vec<Duration> {
    let handled: Sample = outcomes.iter().filter_map(|outcome| outcome.server.handle).collect();
    // A worker needs some time beside the handler's.
    let beside = bench.service.saturating_sub(handled.mean());
    let mut turns = Turns::default();
    let requests = outcomes.iter().map(|outcome| {
        let at = outcome.begun.unwrap_or(outcome.intended);
        let known = weights.partition_point(|(time, _)| *time <= at).saturating_sub(1);
        let now = weights.get(known).map_or([1.0; SIZES.len()], |(_, weights)| *weights);
        let service = outcome.server.handle.unwrap_or_default() + beside;
        (at, turns.next(&now).unwrap_or(0), service)
    });
    replay_to(&SIZES, requests)
}

impl Side {
    /// The largest difference of two utilisations.
    fn unevenness(&self) -> f64 {
        let ends = [f64::min, f64::max].map(|of| self.utilisations.iter().copied().reduce(of));
        let [least, most] = ends.map(Option::unwrap_or_default);
        most - least
    }
}

/// The table, the chart and the checks.
pub fn show(
    program: &mut Program,
    bench: &Bench<'_>,
    sides: &[Side],
) -> Result<(), Box<dyn Error>> {
    let workers: usize = SIZES.into_iter().sum();
    program.heading("Servers of 1, 2 and 4 workers, in turn");
    program.text(&format!(
        "Poisson arrivals at {LOAD} of the capacity. The figures are those of the second half of \
         the load. Twin: ideal servers with the arrivals, the services and the weights of the run. \
         One pool of all {workers} workers waits {} D in the steady state.",
        Mdc::new(u32::try_from(workers)?, LOAD).map_or(0.0, |pool| pool.mean_wait())
    ));
    let mut table = Table::new(["weights", "W = 1", "W = 2", "W = 4", "wait/D", "twin"]);
    for side in sides {
        let busy = side.utilisations.iter().map(|share| format!("busy {share:.3}"));
        let waits = [side.wait, side.twin];
        let waits = waits.map(|wait| format!("{:.3}", wait.div_duration_f64(bench.service)));
        table.row([side.name.to_owned()].into_iter().chain(busy).chain(waits));
    }
    program.table(&table);
    let [equal, agents] = sides else { return Ok(()) };
    program.chart(&chart(agents), WEIGHTS)?;
    let [rough, even] = [equal, agents].map(Side::unevenness);
    let allowed = if bench.args.common.quick { EVEN_QUICK } else { EVEN };
    program.check(
        format!(
            "with the agents' weights, the utilisations of servers with 1, 2 and 4 workers differ \
             by {} at most, {} allowed; with equal weights, by {}",
            percent(even),
            percent(allowed),
            percent(rough)
        ),
        even <= allowed && rough > allowed,
    );
    program.check(
        format!(
            "with the agents' weights requests wait {:.2?}, with equal ones {:.2?}",
            agents.wait, equal.wait
        ),
        agents.wait * 2 < equal.wait,
    );
    let ratio = agents.wait.div_duration_f64(agents.twin);
    let most = if bench.args.common.quick { 0.6 } else { 0.25 };
    program.check(
        format!(
            "with the agents' weights requests wait {ratio:.3} times as long as the twin's, \
             1 ± {most} allowed"
        ),
        (ratio - 1.0).abs() <= most,
    );
    let lost = agents.outcomes.iter().filter(|outcome| !outcome.is_success()).count();
    program.check(format!("{lost} of {} requests failed", agents.outcomes.len()), lost == 0);
    Ok(())
}

fn chart(side: &Side) -> Chart {
    let colours = [Colour::Blue, Colour::Purple, Colour::Green];
    let description = "The weights over time: they begin equal, and settle at the shares of the \
        workers.";
    let x = Axis::linear("seconds");
    let y = Axis::linear("weight, percent of all").between(0.0, 70.0);
    let mut chart = Chart::new("Weights of unequal servers", description, x, y);
    let workers: usize = SIZES.into_iter().sum();
    let end = side.weights.last().map_or(1.0, |(at, _)| at.as_secs_f64());
    for (place, (size, colour)) in SIZES.into_iter().zip(colours).enumerate() {
        let share = |weights: &[f64; SIZES.len()]| {
            100.0 * weights[place] / weights.iter().sum::<f64>().max(1.0)
        };
        let points = side.weights.iter().map(|(at, weights)| (at.as_secs_f64(), share(weights)));
        let aim = 100.0 * size as f64 / workers as f64;
        chart = chart.with(&format!("W = {size}"), colour, Shape::Line(points.collect())).with(
            "",
            colour,
            Shape::Dashed(vec![(0.0, aim), (end, aim)]),
        );
    }
    chart
}
