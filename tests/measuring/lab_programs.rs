//! Runs the lab's programs in their short form: their checks hold, and their pages are complete.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::permit::Permit;
use crate::support::machine::{self, Watch};
use crate::support::{RealServer, Site};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The time for runs that are repeated because the first one had no result.
const REPEATS_MOST: Duration = Duration::from_secs(40);

/// The exit code of a program with a failed check.
const FAILED: i32 = 1;

/// The exit code of a program without a result: the machine was disturbed, or its runs differ too
/// much.
const SPOILT: i32 = 3;

/// The binary of an example: cargo puts it into a folder beside the tests' binaries.
pub fn example(name: &str) -> Command {
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

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// All checks hold.
    Passed,
    /// The program says that it has no result, and which checks have none.
    NoResult(String),
}

/// Judges a run by its exit code and output. A failed check is a fault: the program itself finds
/// out whether the machine was disturbed, by an instrument that does not know what is measured.
///
/// # Errors
///
/// The program's fault.
fn judge(code: Option<i32>, said: &str) -> Result<Verdict, String> {
    let checks: Vec<&str> = said.lines().filter(|line| line.starts_with("CHECK ")).collect();
    let bad: Vec<&str> =
        checks.iter().filter(|check| !check.ends_with(" ... ok")).copied().collect();
    if checks.is_empty() {
        return Err(format!("it has no checks and exits with {code:?}"));
    }
    let has_failed = bad.iter().any(|check| check.ends_with(" ... FAIL"));
    match (code, &bad[..]) {
        (Some(0), []) => Ok(Verdict::Passed),
        (Some(FAILED), [_, ..]) if has_failed => Err(format!("failed: {}", bad.join("; "))),
        (Some(SPOILT), [_, ..]) if !has_failed => Ok(Verdict::NoResult(bad.join("; "))),
        (code, bad) => Err(format!("it exits with {code:?} and these failed checks: {bad:?}")),
    }
}

/// Runs a program and returns its output. The first run may have the company of another program
/// that measures, which does not matter on a quiet machine, so only its success counts. Else a run
/// alone decides.
fn run_judged(name: &str, command: &mut Command) -> String {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let first = run_once(command, Permit::shared());
    let last = match &first.verdict {
        Ok(Verdict::Passed) => return first.said,
        Ok(Verdict::NoResult(_)) if !may_repeat(first.took) => first,
        _ => run_once(command, Permit::alone()),
    };
    match last.verdict {
        Ok(Verdict::Passed) => {}
        Ok(Verdict::NoResult(why)) => {
            // The machine may pause without a process that is seen, as beneath a hypervisor.
            let seen = last.disturbance.as_deref().unwrap_or("by its own instruments alone");
            // Write directly to standard error, which the test harness does not capture.
            let _ = writeln!(std::io::stderr(), "INCONCLUSIVE: {name}, {seen}: {why}");
        }
        Err(fault) => panic!("{name}: {fault}\n{}{}", last.said, last.complaint),
    }
    last.said
}

/// What came of a run.
struct Run {
    verdict: Result<Verdict, String>,
    said: String,
    complaint: String,
    took: Duration,
    disturbance: Option<String>,
}

fn run_once(command: &mut Command, _permit: Permit) -> Run {
    let (watch, begun) = (Watch::start(), Instant::now());
    let child = command.spawn().unwrap();
    machine::count_as_own(child.id());
    let output = child.wait_with_output().unwrap();
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    let verdict = judge(output.status.code(), &said);
    let (took, disturbance) = (begun.elapsed(), watch.disturbance());
    Run { verdict, said, complaint, took, disturbance }
}

/// Whether the budget for repeated runs allows another one of this length: on a machine that is
/// disturbed all the time, all of them would have no result twice.
fn may_repeat(length: Duration) -> bool {
    static SPENT: Mutex<Duration> = Mutex::new(Duration::ZERO);
    let mut spent = SPENT.lock().unwrap();
    let may = *spent + length <= REPEATS_MOST;
    *spent += if may { length } else { Duration::ZERO };
    may
}

#[test]
fn a_failed_check_is_a_fault_and_no_result_is_none() {
    let (ok, fail) =
        ("a figure\nCHECK 1 is 1 ... ok", "CHECK 1 is 1 ... ok\nCHECK 1 is 2 ... FAIL");
    let spoilt = "CHECK 1 is late ... FAIL (the machine was disturbed: no result)";
    let unclear = "CHECK 1 is 2 ... FAIL (the runs differ too much: no result)";
    assert_eq!(judge(Some(0), ok), Ok(Verdict::Passed));
    let fault = judge(Some(FAILED), fail).unwrap_err();
    assert_eq!(fault, "failed: CHECK 1 is 2 ... FAIL");
    for said in [spoilt, unclear] {
        assert_eq!(judge(Some(SPOILT), said), Ok(Verdict::NoResult(said.to_owned())));
    }
    // A failure beside a check without a result is a failure.
    assert!(judge(Some(FAILED), &format!("{fail}\n{unclear}")).is_err());
    // Exit codes that contradict the checks.
    for (code, said) in [
        (0, fail),
        (0, ""),
        (0, spoilt),
        (FAILED, ok),
        (FAILED, spoilt),
        (SPOILT, ok),
        (SPOILT, fail),
        (FAILED, ""),
        (2, fail),
    ] {
        assert!(judge(Some(code), said).is_err(), "{code}: {said}");
    }
    assert!(judge(None, fail).is_err(), "killed");
}

/// Busy loops on all processors that the instrument does not know of.
#[cfg(target_os = "linux")]
#[test]
fn the_instrument_detects_other_load() {
    let _permit = Permit::alone();
    let spin = || {
        let loops = std::thread::available_parallelism().unwrap().get();
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        (0..loops).map(|_| command.spawn().unwrap()).collect::<Vec<_>>()
    };
    let mut others = spin();
    let watch = Watch::start();
    std::thread::sleep(Duration::from_millis(300));
    let disturbance = watch.disturbance();
    for child in &mut others {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = disturbance.expect("a disturbance");
    assert!(said.starts_with("other processes took "), "{said}");
}

/// Runs a program that writes a page and, if `traced`, a line per request, and checks its output.
pub fn run(name: &str, options: &[&str], traced: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (page, trace) = (folder.path().join("page.html"), folder.path().join("trace.csv"));
    let mut command = example(name);
    command.args(options).arg("--html").arg(&page).arg("--svg").arg(folder.path());
    if traced {
        command.arg("--csv").arg(&trace);
    }
    let said = run_judged(name, &mut command);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.matches("<svg ").count() >= 1, "the page has a chart");
    assert_eq!(page.matches("<svg ").count(), page.matches("<desc>").count());
    let images = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let images = images.filter(|path| path.extension().is_some_and(|ending| ending == "svg"));
    assert_eq!(images.count(), page.matches("<svg ").count());
    if traced {
        let lines = std::fs::read_to_string(trace).unwrap();
        // Commas within quotes do not separate columns.
        let commas =
            |line: &str| line.split('"').step_by(2).map(|of| of.matches(',').count()).sum();
        let columns: usize = commas(lines.lines().next().unwrap());
        assert!(lines.lines().count() > 100, "a line for each request");
        assert!(lines.lines().all(|line| commas(line) == columns));
    }
    said
}

/// Checks that the program prints one line and exits with the code for wrong usage or failure.
pub fn refuses(name: &str, options: &[&str], code: i32, expected: &str) {
    let Output { status, stdout, stderr } = example(name).args(options).output().unwrap();
    let complaint = text(&stderr);
    assert_eq!(status.code(), Some(code), "{options:?}: {complaint}");
    assert_eq!(text(&stdout), "", "{options:?}");
    assert_eq!(complaint.lines().count(), 1, "{options:?}: {complaint}");
    assert!(complaint.starts_with(&format!("{name}: ")), "{complaint}");
    assert!(complaint.contains(expected), "{options:?}: {complaint}");
}

/// A URL on which nothing listens.
fn closed_url() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[test]
fn saturation_runs_and_its_checks_hold() {
    let said = run("saturation", &["--quick"], true);
    assert!(said.contains("Carried against offered load"), "{said}");
}

#[test]
fn overload_runs_and_its_checks_hold() {
    let said = run("overload", &["--quick"], true);
    for part in ["Goodput against load", "Useful and useless work", "A burst"] {
        assert!(said.contains(part), "{said}");
    }
}

/// Each client has an address of 127.0.0.0/8, all of which are local on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn fairness_runs_and_its_checks_hold() {
    let said = run("fairness", &["--quick"], true);
    for part in ["90:10 at m = 3", "100:1 connections", "5 browsers", "with fair, more than"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn retries_runs_and_its_checks_hold() {
    let said = run("retries", &["--quick"], true);
    for part in ["A burst, and clients that retry", "beside the reference", "the collapse stays"] {
        assert!(said.contains(part), "{said}");
    }
}

/// Real servers behind a real HAProxy where it is installed, and the simulation alone elsewhere.
#[cfg(unix)]
#[test]
fn fleet_runs_and_its_checks_hold() {
    let is_real = crate::support::installed("haproxy").is_some();
    let said = run("fleet", &["--quick"], is_real);
    assert!(said.contains("The simulation beside the reference"), "{said}");
    let parts = ["round robin  roundrobin", "restarted at .9 of the capacity: 0 of ", "is killed"];
    match is_real {
        true => parts.iter().for_each(|part| assert!(said.contains(part), "{part}: {said}")),
        false => assert!(said.contains("HAProxy is not installed"), "{said}"),
    }
}

#[test]
fn capacity_plan_computes_a_plan_and_verifies_it() {
    let options = ["--rate", "100", "--delay", "20ms", "--p99", "60ms"];
    let said = run("capacity_plan", &options, false);
    // a = 2: M/D/3 at 2/3 has a p99 of the latency below 3 D, and M/D/2 has no steady state.
    assert!(said.contains("Take 1 machine with 3 workers"), "{said}");
    let said = run("capacity_plan", &[&options[..], &["--quick", "--verify"]].concat(), true);
    assert!(said.contains("A real pool of 3 workers"), "{said}");
    let many = ["--rate", "30000", "--delay", "50ms", "--per-machine", "64", "--deadline", "2s"];
    let said = run("capacity_plan", &many, false);
    assert!(said.contains("Take 24 machines with 64 workers each"), "{said}");
}

/// A response time of a thousand services, and a pool without a steady state.
#[test]
fn capacity_plan_is_exact_near_saturation_and_beyond() {
    let options = ["--service", "exponential", "--rate", "99.6", "--delay", "10ms"];
    let times = ["--p99", "12s", "--deadline", "100s"];
    let said = run("capacity_plan", &[&options[..], &times].concat(), false);
    // ln(100) / (1 - .996) services.
    assert!(said.contains("99 % are answered within 11.51s, 12s required ... ok"), "{said}");
    let options = ["--rate", "1000", "--delay", "10ms", "--p99", "100ms", "--deadline", "70ms"];
    let said = run("capacity_plan", &[&options[..], &["--refuse", ".04"]].concat(), false);
    // M/D/10/35 at a utilisation of 1: 1.87 % by simulation.
    assert!(said.contains("CHECK 1.88 % of the requests are refused, at most 4.00 %"), "{said}");
    let verify = ["--refuse", ".04", "--verify", "--quick"];
    let said = run("capacity_plan", &[&options[..], &verify].concat(), true);
    let line = said.lines().find(|line| line.starts_with("CHECK refused: ")).unwrap();
    assert!(line.contains("1.88 % planned"), "{line}");
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    let plan =
        || example("capacity_plan").args(["--service", "exponential", "--p99", "60ms"]).output();
    assert_eq!(plan().unwrap().stdout, plan().unwrap().stdout);
}

#[test]
fn load_reports_the_outcome_of_each_request() {
    let said = run("load", &["--quick"], true);
    assert!(said.contains("status 200") && said.contains("from the intended start"), "{said}");
    let said = run("load", &["--quick", "--clients", "8", "--think", "5ms"], true);
    assert!(said.contains("8 clients that think for 5ms"), "{said}");
}

/// A server that answers one request in five and refuses the others.
fn mostly_refusing() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { continue };
            let status = if number % 5 == 0 { "200 OK" } else { "503 Busy" };
            // The first connection only asks whether the server is there.
            let _ = stream.read(&mut [0; 4096]);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

/// The percentiles of no window of time have a value, so that there is nothing to draw.
#[test]
fn load_checks_a_run_in_which_most_requests_fail() {
    let _permit = Permit::shared();
    let url = mostly_refusing();
    let options = ["--rate", "300", "--duration", "1s", "--p99", "1s", &url];
    let output = example("load").args(options).output().unwrap();
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(complaint, "", "{said}");
    assert!(said.contains("status 503") && said.contains("requests failed"), "{said}");
    assert!(said.contains("the 99th percentile is infinite"), "{said}");
    assert!(matches!(output.status.code(), Some(FAILED | SPOILT)), "{said}");
}

/// Requests that wait for the generator's own connections make a check fail, however punctual the
/// generator is.
#[test]
fn load_checks_the_wait_for_its_own_connections() {
    let _permit = Permit::shared();
    let verdict = |options: &[&str]| {
        let output = example("load").args(["--duration", "1s"]).args(options).output().unwrap();
        let said = text(&output.stdout);
        assert!(said.contains("for a connection"), "{said}");
        let line = said.lines().find(|line| line.contains("had enough connections")).unwrap();
        (line.to_owned(), output.status.code())
    };
    // Four connections for four workers: the queue is on the client's side. On a disturbed machine
    // the check fails all the same, and the program adds that it has no result.
    let (line, code) = verdict(&["--rate", "720", "--connections", "4"]);
    assert!(line.contains("raise --connections") && line.contains(" ... FAIL"), "{line}");
    assert!(matches!(code, Some(FAILED | SPOILT)), "{code:?}");
    for options in [&["--rate", "200"][..], &["--rate", "200", "--connections", "400"]] {
        let is_ok = (0..2).any(|_| {
            let (line, _) = verdict(options);
            assert!(line.ends_with("ok") || line.ends_with("no result)"), "{options:?}: {line}");
            line.ends_with("ok")
        });
        if !is_ok {
            let _ = writeln!(std::io::stderr(), "INCONCLUSIVE: load {options:?} was disturbed");
        }
    }
}

/// The server gets the load that the options describe.
#[test]
fn load_takes_arrivals_connections_and_retries_from_its_options() {
    let _permit = Permit::shared();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("starts");
    std::fs::write(&trace, "0\n0.01\n0.02\n\n0.5\n").unwrap();
    let from_file = format!("trace:{}", trace.display());
    let rows: [(&[&str], &str); 5] = [
        (&["--arrivals", &from_file], "4 requests in 0.5s"),
        (&["--arrivals", "constant", "--rate", "50", "-n", "20"], "20 requests in 0.4s"),
        (&["--ramp", "10", "--rate", "100", "--duration", "1s"], "from 10/s to 100/s"),
        (&["--burst", "200,200ms,100ms", "--duration", "500ms"], "200/s from 200ms to 300ms"),
        (&["--connections", "3", "--duration", "200ms"], "at most 3 connections"),
    ];
    for (options, expected) in rows {
        let output = example("load").args(options).output().unwrap();
        let said = text(&output.stdout);
        assert!(said.contains(expected) && said.contains("status 200"), "{options:?}: {said}");
    }
    // Five times the capacity of the only worker, from impatient clients.
    let options = ["--workers", "1", "--delay", "50ms", "--rate", "100", "--duration", "500ms"];
    let more = ["--patience", "100ms", "--retries", "2", "--backoff", "10ms", "--p99", "80ms"];
    let output = example("load").args(options).args(more).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.contains("out of patience") && said.contains("failed"), "{said}");
    assert!(said.contains("requests failed") && said.contains("... FAIL"), "{said}");
    assert!(said.contains("the 99th percentile is infinite"), "{said}");
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn closed_loop_runs_and_its_checks_hold() {
    let said = run("closed_loop", &["--quick"], true);
    assert!(said.contains("the knee is at N* = 20 clients"), "{said}");
    assert!(said.contains("One stall, two clocks"), "{said}");
}

#[test]
fn slow_clients_block_only_the_textbook_pool() {
    let said = run("slow_clients", &["--quick"], true);
    assert!(said.contains("silent: this pool serves "), "{said}");
}

#[test]
fn slow_clients_can_measure_a_running_server() {
    let site = Site::new();
    let server = RealServer::start(&site, &["--workers", "2", "--access-log", "off"]);
    machine::count_as_own(server.pid());
    let host = server.address().to_string();
    let url = format!("http://{host}/testfile");
    let said = run("slow_clients", &["--quick", "--url", &url, "--large", "/testfile"], true);
    assert!(said.contains(&format!("trickling: {host} serves ")), "{said}");
}

#[test]
fn workers_runs_and_its_checks_hold() {
    let said = run("workers", &["--quick"], true);
    assert!(said.contains("Pools at the same wait"), "{said}");
    assert!(said.contains("A thread for each connection"), "{said}");
}

#[test]
fn a_pool_before_a_database_has_the_knee_of_the_database() {
    let said = run("database", &["--quick"], true);
    for part in ["Carried against workers", "Service time against workers", "one writer at a time"]
    {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn wrong_options_are_one_line_errors() {
    refuses("saturation", &["--workers", "0"], 2, "at least 1");
    refuses("saturation", &["--delay", "0s"], 2, "above zero");
    refuses("saturation", &["--url", "ftp://x/"], 1, "only http");
    refuses("saturation", &["--url", &closed_url()], 1, "cannot reach");
    refuses("saturation", &["--html"], 2, "--html");
    refuses("overload", &["--patience", "soon"], 2, "write 50ms");
    refuses("overload", &["--url", "127.0.0.1:1"], 1, "http://");
    refuses("fairness", &["--runs", "1"], 2, "2..=50");
    refuses("fairness", &["--delay", "0s"], 2, "above zero");
    refuses("fleet", &["--servers", "1"], 2, "2..=8");
    refuses("retries", &["--runs", "many"], 2, "invalid digit");
    refuses("retries", &["--workers", "0"], 2, "at least 1");
    refuses("capacity_plan", &["--rate", "0"], 2, "above 0");
    refuses("capacity_plan", &["--delay", "10ms", "--p99", "5ms"], 1, "at least the delay");
    refuses("capacity_plan", &["--service", "exponential", "--p99", "20ms"], 1, "at least 46.05ms");
    refuses("capacity_plan", &["--refuse", "1"], 2, "below 1");
    refuses("capacity_plan", &["--rate", "200000", "--per-machine", "0"], 2, "1 to 4096");
}

#[test]
fn wrong_options_of_the_load_programs_are_one_line_errors() {
    refuses("load", &["--rate", "0"], 2, "above 0");
    refuses("load", &["--rate", "many"], 2, "not a number");
    refuses("load", &["--workers", "0"], 2, "at least 1");
    refuses("load", &["--clients", "0"], 2, "at least 1");
    refuses("load", &["--duration", "0s"], 2, "above zero");
    refuses("load", &["--rate", "10", "--clients", "4"], 2, "cannot be used with");
    refuses("load", &["--arrivals", "weekly"], 1, "choose poisson");
    refuses("load", &["--burst", "1"], 1, "PEAK,START,LENGTH");
    refuses("load", &["--arrivals", "trace:/no/such"], 1, "cannot read /no/such");
    refuses("load", &[&closed_url()], 1, "cannot reach");
    refuses("load", &["--url", &closed_url()], 1, "cannot reach");
    refuses("load", &["https://127.0.0.1/"], 1, "only http");
    refuses("load", &["http://no such host/"], 1, "its host");
    refuses("closed_loop", &["--workers", "0"], 2, "at least 1");
    refuses("closed_loop", &["--delay", "soon"], 2, "50ms");
    refuses("closed_loop", &["--url", &closed_url()], 1, "cannot reach");
    refuses("slow_clients", &["--workers", "0"], 2, "at least 1");
    refuses("slow_clients", &["--slow", "2"], 1, "raise --slow");
    refuses("slow_clients", &["--url", &closed_url()], 1, "cannot reach");
    refuses("slow_clients", &["--url", &closed_url(), "--large", "10m"], 2, "/NAME");
    refuses("slow_clients", &["--large", "/10m"], 2, "--url");
    refuses("workers", &["--utilisation", "1"], 2, "between 0.1 and 0.95");
    refuses("workers", &["--delay", "0s"], 2, "above zero");
    refuses("database", &["8080"], 2, "--serve");
    refuses("database", &["--archive", "a.db"], 2, "--serve");
    refuses("database", &["--serve", "/no/such", "0"], 1, "cannot load /no/such");
    refuses("database", &["--serve", ".", "--quick"], 2, "cannot be used with");
}
