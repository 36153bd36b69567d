//! Shows which ordinary clients were served in each time window, and checks it.

use crate::hostile::Kind;
use crate::{Other, Schedule};
use lab::chart::{Axis, Chart, Colour, Shape};
use lab::load::Run;
use lab::numbers::percent;
use lab::program::Program;
use lab::table::Table;
use std::error::Error;
use std::ops::Range;
use std::time::Duration;

/// The minimum share of ordinary requests that this pool must serve at all times.
const SERVED_LEAST: f64 = 0.99;

/// The maximum share that the textbook pool may serve while slow clients are connected.
const PINNED_MOST: f64 = 0.05;

pub fn show(
    program: &mut Program,
    schedule: &Schedule,
    ours: &Run,
    other: &Other,
    others: &Run,
) -> Result<(), Box<dyn Error>> {
    let windows = schedule.length().div_duration_f64(schedule.window).floor() as u32;
    let windows = (0..windows).map(|number| {
        let from = schedule.window * number;
        from..from + schedule.window
    });
    let windows: Vec<_> = windows.collect();
    let share = |run: &Run, window: &Range<Duration>| served(run, schedule, window);
    let mut table = Table::new(["from second", "slow clients", "this pool", other.name()]);
    for window in &windows {
        let said = |run| share(run, window).map(percent);
        table.row([
            format!("{:.1}", window.start.as_secs_f64()),
            present(schedule, window.start).map_or("", Kind::name).to_owned(),
            said(ours).unwrap_or_default(),
            said(others).unwrap_or_default(),
        ]);
    }
    program.table(&table);
    let mut note =
        "Grey: slow clients are connected. In this order they send nothing, trickle, do not \
                    read, and keep idle connections. The load of the ordinary clients is constant."
            .to_owned();
    if let Other::Textbook = other {
        note += " After the slow clients have gone, the textbook pool still serves for a while \
                 clients that have hung up.";
    }
    program.chart(&chart(schedule, &windows, ours, other, others), &note)?;
    check(program, schedule, ours, other, others);
    Ok(())
}

/// The kind of slow clients that is connected at a time.
fn present(schedule: &Schedule, time: Duration) -> Option<Kind> {
    let there = |number: usize| {
        let begin = schedule.begin(number);
        (begin..begin + schedule.attack).contains(&time)
    };
    (0..Kind::ALL.len()).find(|&number| there(number)).map(|number| Kind::ALL[number])
}

/// The share of the requests with an intended start in a window that were served within their
/// patience. `None` without such requests.
fn served(run: &Run, schedule: &Schedule, window: &Range<Duration>) -> Option<f64> {
    let outcomes = run.outcomes.iter().filter(|outcome| window.contains(&outcome.intended));
    let (count, good) = outcomes.fold((0, 0), |(count, good), outcome| {
        (count + 1, good + usize::from(outcome.is_good(schedule.patience)))
    });
    (count > 0).then(|| good as f64 / count as f64)
}

fn check(program: &mut Program, schedule: &Schedule, ours: &Run, other: &Other, others: &Run) {
    let name = other.name();
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        let begin = schedule.begin(number);
        let whole = begin..begin + schedule.attack;
        let share = served(ours, schedule, &whole).unwrap_or_default();
        program.check(
            format!(
                "{}: this pool serves {} of the ordinary requests",
                kind.name(),
                percent(share)
            ),
            share >= SERVED_LEAST,
        );
        // Requests near the end can still be served after it.
        let midst = begin + schedule.patience / 4..whole.end - schedule.patience;
        let share = served(others, schedule, &midst).unwrap_or_default();
        let finding = format!("{}: {name} serves {}", kind.name(), percent(share));
        match other {
            Other::Textbook => program.check(finding, share <= PINNED_MOST),
            // For a running server the result is not known in advance, so it is no check.
            Other::Running { .. } => program.text(&finding),
        }
    }
    let before = Duration::ZERO..schedule.pause;
    let share = served(others, schedule, &before).unwrap_or_default();
    program.check(
        format!("before the slow clients connect, {name} serves {}", percent(share)),
        share >= SERVED_LEAST,
    );
}

fn chart(
    schedule: &Schedule,
    windows: &[Range<Duration>],
    ours: &Run,
    other: &Other,
    others: &Run,
) -> Chart {
    let lesson = match other {
        Other::Textbook => {
            "This pool serves all of them throughout; the textbook pool none while slow clients \
             are there"
        }
        Other::Running { .. } => "The same clients, slow and ordinary, ask this pool and the other",
    };
    let line = |run: &Run| {
        let points = windows.iter().filter_map(|window| {
            let middle = (window.start + window.end).as_secs_f64() / 2.0;
            served(run, schedule, window).map(|share| (middle, 100.0 * share))
        });
        points.collect::<Vec<_>>()
    };
    let boxes = (0..Kind::ALL.len()).map(|number| {
        let begin = schedule.begin(number);
        [begin.as_secs_f64(), 0.0, (begin + schedule.attack).as_secs_f64(), 100.0]
    });
    Chart::new(
        "Ordinary requests that are served in time",
        lesson,
        Axis::linear("second"),
        Axis::linear("served in time, in %").between(0.0, 105.0),
    )
    .with("slow clients are there", Colour::Line, Shape::Boxes(boxes.collect()))
    .with(other.name(), Colour::Orange, Shape::Joined(line(others)))
    .with("this pool", Colour::Blue, Shape::Joined(line(ours)))
}
