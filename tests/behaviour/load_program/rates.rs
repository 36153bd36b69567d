//! The rate over time: stages, ramps, bursts.

use super::program::{refuses, saved};
use super::recorder::Recorder;
use lab::saved::Saved;
use std::time::Duration;

/// A run with equal gaps at the described rate, and the number of requests that arrived.
fn constant(options: &[&str]) -> (Saved, String, usize) {
    let server = Recorder::start();
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("/");
    let all = [&["--arrivals", "constant", "-c", "50"], options, &[&url]].concat();
    let (saved, said) = saved(folder.path(), &all);
    assert_eq!(saved.requests, server.arrived().len() as u64, "{said}");
    let count = server.arrived().len();
    (saved, said, count)
}

/// The number of requests that were meant to start between two times in seconds.
fn between(saved: &Saved, from: f64, to: f64) -> f64 {
    let of = |time: f64| {
        let windows = saved.windows.iter().enumerate().map(|(number, window)| {
            let part = time / saved.window_seconds - number as f64;
            window.requests as f64 * part.clamp(0.0, 1.0)
        });
        windows.sum::<f64>()
    };
    of(to) - of(from)
}

#[test]
fn stages_follow_one_another() {
    // To 400/s within .2 s: 40. For .1 s: 40. From 1000/s to nothing within .2 s: 100.
    let (saved, said, count) =
        constant(&["--stage", "200ms:400,100ms:400", "--stage", "0s:1000,200ms:0"]);
    assert!((178..=181).contains(&count), "{said}");
    assert!(said.contains("constant in 4 stages"), "{said}");
    for (from, to, expected) in [(0.0, 0.2, 40.0), (0.2, 0.3, 40.0), (0.3, 0.5, 100.0)] {
        let got = between(&saved, from, to);
        // A window may be on both sides of a change.
        assert!((got - expected).abs() <= 12.0, "{from} to {to}: {got}");
    }
}

#[test]
fn a_ramp_and_bursts_change_the_rate() {
    let (_, said, count) = constant(&["--ramp", "100", "--rate", "500", "--duration", "500ms"]);
    assert!((149..=151).contains(&count), "{said}");
    assert!(said.contains("from 100/s to 500/s"), "{said}");
    let burst = ["--burst", "1000,0s,100ms", "--burst", "2000,300ms,50ms"];
    let (saved, said, count) =
        constant(&[&["--rate", "200", "--duration", "500ms"], &burst[..]].concat());
    // .35 s at 200/s, .1 s at 1000/s, .05 s at 2000/s.
    assert!((269..=271).contains(&count), "{said}");
    let got = between(&saved, 0.28, 0.37);
    assert!((got - 108.0).abs() <= 12.0, "{got}");
}

#[test]
fn random_arrivals_have_the_same_mean() {
    let folder = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    let options = ["--stage", "300ms:1000,300ms:0", "--seed", "5", "-c", "50"];
    let run = || saved(folder.path(), &[&options[..], &[&server.url("/")]].concat()).0.requests;
    let count = run();
    // Five standard deviations.
    assert!(count.abs_diff(300) < 87, "{count}");
    assert_eq!(count, run(), "the seed decides");
}

#[test]
fn wrong_rates_are_one_line_errors() {
    let rows: [(&[&str], i32, &str); 11] = [
        (&["--stage", "10s"], 2, "LENGTH:RATE"),
        (&["--stage", "x:10"], 2, "50ms"),
        (&["--stage", "1s:-1"], 2, "above 0"),
        (&["--stage", "1s:0"], 1, "no request would start"),
        (&["--stage", "1s:1", "--duration", "1s"], 2, "cannot be used with"),
        (&["--ramp", "1", "-n", "5"], 2, "cannot be used with"),
        (&["--burst", "1"], 1, "PEAK,START,LENGTH"),
        (&["--burst", "1,x,1s"], 1, "--burst 1,x,1s: "),
        (&["--burst", "10,2s,1s", "--duration", "1s"], 1, "after the end"),
        (&["--arrivals", "trace:x", "--ramp", "5"], 1, "leave out --ramp"),
        (&["--arrivals", "ramp:5"], 1, "choose poisson, constant or trace:FILE"),
    ];
    for (options, code, expected) in rows {
        refuses(options, code, expected);
    }
}

/// A start is never before its time.
#[test]
fn requests_start_no_earlier_than_meant() {
    let server = Recorder::start();
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    std::fs::write(&starts, "0\n0.05\n0.2\n").unwrap();
    let from = format!("trace:{}", starts.display());
    saved(folder.path(), &["--arrivals", &from, &server.url("/")]);
    let arrived = server.arrived();
    for (request, start) in arrived.iter().zip([0, 50, 200].map(Duration::from_millis)) {
        assert!(request.at - server.before_the_load() >= start, "{start:?}");
    }
    assert_eq!(arrived.len(), 3);
}
