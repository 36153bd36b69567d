//! Compares charts, as SVG and as text, with stored files.
#![allow(clippy::unwrap_used)]

use lab::chart::{Axis, Chart, Colour, Shape};
use std::path::Path;

/// Compares with the file of this name in `tests/data`, or writes it if `CWS_WRITE_GOLDEN` is set.
fn assert_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    if std::env::var_os("CWS_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let differs = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
    assert!(
        expected == found,
        "{name} differs from line {differs:?} on (0 is the first); if that is intended, check \
         the picture and write it again with CWS_WRITE_GOLDEN=1:\n{found}"
    );
}

fn waits() -> Chart {
    let curve = |x: f64| 5.0 + x * x / (1.0 - x);
    let steps = |count: u32| (0..=count).map(move |i| 0.3 + 0.65 * f64::from(i) / f64::from(count));
    let line = steps(20).map(|x| (x, curve(x))).collect();
    let band = steps(20).map(|x| (x, curve(x) * 0.8, curve(x) * 1.25)).collect();
    let points = steps(6).map(|x| (x, curve(x) * 1.02)).collect();
    Chart::new(
        "Wait against load",
        "The wait rises slowly at first & then <steeply>.",
        Axis::linear("utilisation").between(0.0, 1.0),
        Axis::log("milliseconds"),
    )
    .with("what chance allows", Colour::Orange, Shape::Band(band))
    .with("theory", Colour::Orange, Shape::Line(line))
    .with("measured", Colour::Blue, Shape::Points(points))
    .with("limit", Colour::Red, Shape::Dashed(vec![(1.0, 5.0), (1.0, 50.0)]))
}

fn lanes() -> Chart {
    let lane = |worker: f64, from: f64, to: f64| [from, worker - 0.4, to, worker + 0.4];
    Chart::new(
        "What the workers did",
        "Two workers; the second serves nobody in the end.",
        Axis::linear("seconds").between(0.0, 1.0),
        Axis::named("", ["worker 1", "worker 2"]),
    )
    .with("good", Colour::Green, Shape::Boxes(vec![lane(0.0, 0.0, 0.9), lane(1.0, 0.1, 0.3)]))
    .with("for nobody", Colour::Red, Shape::Boxes(vec![lane(1.0, 0.3, 1.0)]))
}

fn rates() -> Chart {
    let points = (1..=8).map(|n| (f64::from(n), f64::from(n.min(4)) * 100.0)).collect();
    let (x, y) = (Axis::linear("clients"), Axis::linear("requests a second"));
    Chart::new("Throughput", "It rises to 400 and stays there.", x, y).with(
        "",
        Colour::Green,
        Shape::Joined(points),
    )
}

#[test]
fn charts_match_the_stored_files() {
    for (name, chart) in [("waits", waits()), ("lanes", lanes()), ("rates", rates())] {
        let svg = chart.svg().unwrap();
        assert_golden(&format!("{name}.svg"), &svg);
        assert_eq!(svg.matches("<title>").count(), 1);
        assert!(svg.contains("<desc>") && svg.contains("prefers-color-scheme:dark"));
        assert_golden(&format!("{name}.txt"), &chart.text(60, 12).unwrap());
    }
}

/// Each colour in the light scheme has a counterpart in the dark scheme.
#[test]
fn all_colours_have_a_dark_counterpart() {
    for chart in [waits(), lanes(), rates()] {
        let svg = chart.svg().unwrap();
        let (style, drawing) = svg.split_once("</style>").unwrap();
        for attribute in ["fill=\"#", "stroke=\"#"] {
            for rest in drawing.split(attribute).skip(1) {
                let rule = format!("[{attribute}{}\"]", &rest[..6]);
                assert!(style.contains(&rule), "{rule}");
            }
        }
    }
}
