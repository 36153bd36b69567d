//! Who was served, window by window, and what has to be so.

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

/// The share of ordinary requests that this pool has to serve, whoever else is there.
const SERVED_LEAST: f64 = 0.99;

/// The share that the textbook pool may serve in the midst of slow clients.
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
    let mut note = "Grey: slow clients are there; in this order they are silent, trickle, do not \
                    read, and keep their connection idle. The load of the others is the same all \
                    the time."
        .to_owned();
    if let Other::Textbook = other {
        note += " When the slow ones have gone, the textbook pool still serves for a while those \
                 who have hung up.";
    }
    program.chart(&chart(schedule, &windows, ours, other, others), &note)?;
    check(program, schedule, ours, other, others);
    Ok(())
}

/// The slow clients that are there at a time.
fn present(schedule: &Schedule, time: Duration) -> Option<Kind> {
    let there = |number: usize| {
        let begin = schedule.begin(number);
        (begin..begin + schedule.attack).contains(&time)
    };
    (0..Kind::ALL.len()).find(|&number| there(number)).map(|number| Kind::ALL[number])
}

/// The share of those meant to start in a window that were served within their patience; none
/// without one.
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
            format!("{}: this pool serves {} of the others", kind.name(), percent(share)),
            share >= SERVED_LEAST,
        );
        // Who comes near the end can still be served after it.
        let midst = begin + schedule.patience / 4..whole.end - schedule.patience;
        let share = served(others, schedule, &midst).unwrap_or_default();
        let finding = format!("{}: {name} serves {}", kind.name(), percent(share));
        match other {
            Other::Textbook => program.check(finding, share <= PINNED_MOST),
            // What it does is what the run is to find out.
            Other::Running { .. } => program.text(&finding),
        }
    }
    let before = Duration::ZERO..schedule.pause;
    let share = served(others, schedule, &before).unwrap_or_default();
    program.check(
        format!("before they came, {name} served {}", percent(share)),
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
