//! `load compare`.

use super::program::{load, refuses, saved, text};
use super::recorder::Recorder;
use lab::hdr::Times;
use lab::saved::{SavedWindow, pairs};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A run of 3000 requests, of which each takes about this many milliseconds, as `load` would have
/// saved it under this name.
fn of(folder: &Path, name: &str, millis: u64, seed: u64) -> PathBuf {
    let (mut run, _) = saved(folder, &["-n", "5", "--rate", "5000", "-c", "5"]);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = Times::default();
    run.windows = (0..30)
        .map(|_| {
            let mut times = Times::default();
            (0..100).for_each(|_| times.record_nanos(millis * random.u64(900_000..1_100_000), 1));
            all.add(&times);
            SavedWindow { requests: 100, histogram_ns: pairs(&times) }
        })
        .collect();
    run.histogram_ns = pairs(&all);
    (run.requests, run.successes, run.failures) = (3000, 3000, 0);
    // In a closed loop of eight clients.
    run.seconds = 3000.0 * millis as f64 / 8000.0;
    run.window_seconds = run.seconds / 30.0;
    let path = folder.join(name);
    run.write_to(&mut File::create(&path).unwrap()).unwrap();
    path
}

fn compare(earlier: &Path, later: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = load().arg("compare").args([earlier, later]).args(more).output().unwrap();
    assert_eq!(text(&output.stderr), "");
    (output.status.code(), text(&output.stdout))
}

#[test]
fn a_slower_server_is_worse_and_a_run_is_as_good_as_itself() {
    let folder = tempfile::tempdir().unwrap();
    let fast = of(folder.path(), "fast.json", 10, 1);
    let slow = of(folder.path(), "slow.json", 11, 2);
    let page = folder.path().join("page.html");
    let (code, said) = compare(&fast, &slow, &["--html", page.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    let check = said.lines().find(|line| line.starts_with("CHECK ")).unwrap();
    assert!(check.starts_with("CHECK slow.json is no worse than fast.json; worse: "), "{check}");
    assert!(check.contains("answered a second, mean latency, p50") && check.ends_with("FAIL"));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg ") && page.contains("WORSE"), "{page}");
    let (code, said) = compare(&slow, &fast, &[]);
    assert!(code == Some(0) && said.contains("; better: answered a second"), "{said}");
    let (code, said) = compare(&fast, &fast, &[]);
    assert!(code == Some(0) && said.contains("all differences are within the noise"), "{said}");
    assert!(!said.contains("BETTER") && !said.contains("WORSE"), "{said}");
    assert_eq!(compare(&fast, &slow, &[]), compare(&fast, &slow, &[]), "the seed decides");
}

#[test]
fn files_that_are_no_runs_are_one_line_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.json");
    std::fs::write(&path, "{\"format\": 1}").unwrap();
    let path = path.to_str().unwrap();
    refuses(&["compare", "/no/such", path], 1, "cannot read /no/such");
    refuses(&["compare", path, path], 1, "is no saved run: missing field");
    refuses(&["compare", path], 2, "<B.json>");
    refuses(&["compare", path, path, path], 2, "unexpected argument");
}

#[test]
fn a_short_run_shows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    saved(folder.path(), &["-n", "5", "--rate", "5000", &server.url("/")]);
    let path = folder.path().join("run.json");
    let (code, said) = compare(&path, &path, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("too few requests to tell"), "{said}");
}

/// With several runs on each side, their differences count.
#[test]
fn several_runs_of_each_kind_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, millis, seed| {
        of(folder.path(), name, millis, seed).to_str().unwrap().to_owned()
    };
    let fast = [of("a1", 10, 1), of("a2", 10, 2), of("a3", 10, 3)].join(",");
    let slow = [of("b1", 12, 4), of("b2", 12, 5), of("b3", 12, 6)].join(",");
    let (code, said) = compare(Path::new(&fast), Path::new(&slow), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("between the runs of a side"), "{said}");
    let check = said.lines().find(|line| line.starts_with("CHECK ")).unwrap();
    assert!(check.starts_with("CHECK b1 and 2 more is no worse than a1 and 2 more; worse: "));
    let tolerant = ["--tolerance", "100"];
    let one = Path::new(fast.split(',').next().unwrap());
    let (code, said) = compare(one, one, &tolerant);
    assert!(code == Some(0) && said.contains("several runs of each kind"), "{said}");
    refuses(&["compare", &fast, &slow, "--tolerance", "101"], 2, "at most 100");
}
