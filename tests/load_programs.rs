//! The programs about load in their short form: their checks hold, and wrong options are refused.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// One at a time: they measure.
static MEASURING: Mutex<()> = Mutex::new(());

/// The exit code of a program that the machine kept from measuring.
const SPOILT: i32 = 3;

/// An example's program: cargo builds it beside the folder of the tests' programs.
fn example(name: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let target: PathBuf = this.parent().unwrap().parent().unwrap().into();
    let path = target.join("examples").join(name);
    assert!(path.exists(), "{} is missing: run cargo build --examples", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program that writes a page and a line for each request, and looks at all that it says.
fn run(name: &str, options: &[&str]) -> String {
    let _measuring = MEASURING.lock();
    let folder = tempfile::tempdir().unwrap();
    let (page, trace) = (folder.path().join("page.html"), folder.path().join("trace.csv"));
    let mut command = example(name);
    command.args(options).arg("--html").arg(&page).arg("--csv").arg(&trace);
    let output = command.output().unwrap();
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    let checks: Vec<&str> = said.lines().filter(|line| line.starts_with("CHECK ")).collect();
    assert!(!checks.is_empty(), "it checks itself: {said}{complaint}");
    match output.status.code() {
        Some(0) => assert!(checks.iter().all(|check| check.ends_with(" ... ok")), "{said}"),
        // A busy machine is no fault of the program, which says so after several attempts.
        Some(SPOILT) => assert!(said.contains("spoilt by the machine"), "{said}"),
        other => panic!("{name} ended with {other:?}: {said}{complaint}"),
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.matches("<svg ").count() >= 1, "it has a picture");
    let lines = std::fs::read_to_string(trace).unwrap();
    assert!(lines.lines().count() > 100, "a line for each request");
    said
}

/// One clear line, and the exit code for wrong usage or failure.
fn refuses(name: &str, options: &[&str], code: i32, expected: &str) {
    let Output { status, stdout, stderr } = example(name).args(options).output().unwrap();
    let complaint = text(&stderr);
    assert_eq!(status.code(), Some(code), "{options:?}: {complaint}");
    assert_eq!(text(&stdout), "", "{options:?}");
    assert_eq!(complaint.lines().count(), 1, "{options:?}: {complaint}");
    assert!(complaint.starts_with(&format!("{name}: ")), "{complaint}");
    assert!(complaint.contains(expected), "{options:?}: {complaint}");
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[test]
fn load_says_what_each_request_met() {
    let said = run("load", &["--quick"]);
    assert!(said.contains("status 200") && said.contains("from the intended start"), "{said}");
    let said = run("load", &["--quick", "--clients", "8", "--think", "5ms"]);
    assert!(said.contains("8 clients that think for 5ms"), "{said}");
}

/// What the options ask for is what the server gets.
#[test]
fn load_takes_arrivals_connections_and_retries_from_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("starts");
    std::fs::write(&trace, "0\n0.01\n0.02\n\n0.5\n").unwrap();
    let from_file = format!("trace:{}", trace.display());
    let rows: [(&[&str], &str); 5] = [
        (&["--arrivals", &from_file], "4 requests in 0.5s"),
        (&["--arrivals", "constant", "--rate", "50", "-n", "20"], "20 requests in 0.4s"),
        (&["--arrivals", "ramp:10", "--rate", "100", "--duration", "1s"], "ramp:10"),
        (&["--arrivals", "burst:200,200ms,100ms", "--duration", "500ms"], "burst:200"),
        (&["--connections", "3", "--duration", "200ms"], "at most 3 connections"),
    ];
    for (options, expected) in rows {
        let output = example("load").args(options).output().unwrap();
        let said = text(&output.stdout);
        assert!(said.contains(expected) && said.contains("status 200"), "{options:?}: {said}");
    }
    // A pool of one worker at a tenth of the load, and clients with little patience.
    let options = ["--workers", "1", "--delay", "50ms", "--rate", "100", "--duration", "500ms"];
    let more = ["--patience", "100ms", "--retries", "2", "--backoff", "10ms", "--p99", "80ms"];
    let output = example("load").args(options).args(more).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.contains("out of patience") && said.contains("failed"), "{said}");
    assert!(said.contains("requests failed") && said.contains("... FAIL"), "{said}");
    assert!(said.contains("the 99th percentile is among the failures"), "{said}");
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn closed_loop_follows_its_asymptotes_and_hides_a_stall() {
    let said = run("closed_loop", &["--quick"]);
    assert!(said.contains("the knee is at N* = 20 clients"), "{said}");
    assert!(said.contains("One stall, two clocks"), "{said}");
}

#[test]
fn wrong_options_get_one_clear_line() {
    refuses("load", &["--rate", "0"], 2, "above 0");
    refuses("load", &["--rate", "many"], 2, "not a number");
    refuses("load", &["--workers", "0"], 2, "at least 1");
    refuses("load", &["--clients", "0"], 2, "at least 1");
    refuses("load", &["--duration", "0s"], 2, "above zero");
    refuses("load", &["--rate", "10", "--clients", "4"], 2, "cannot be used with");
    refuses("load", &["--arrivals", "weekly"], 1, "choose poisson");
    refuses("load", &["--arrivals", "burst:1"], 1, "burst:PEAK,START,LENGTH");
    refuses("load", &["--arrivals", "trace:/no/such"], 1, "cannot read /no/such");
    refuses("load", &[&nobody()], 1, "cannot reach");
    refuses("load", &["https://127.0.0.1/"], 1, "only http");
    refuses("load", &["http://no such host/"], 1, "its host");
    refuses("closed_loop", &["--workers", "0"], 2, "at least 1");
    refuses("closed_loop", &["--delay", "soon"], 2, "50ms");
    refuses("closed_loop", &["--url", &nobody()], 1, "cannot reach");
}
