//! The programs of the lab in their short form: their checks hold, and their pages are whole.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::machine::{self, Watch};
use support::{RealServer, Site};

/// Two at a time, which wait for most of their time: they measure.
static MEASURING: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];

/// How many measure now, and how many have begun to so far.
static COUNT: Mutex<(usize, u64)> = Mutex::new((0, 0));

/// The right to measure, while it is held.
struct Turn {
    _places: Vec<MutexGuard<'static, ()>>,
    /// How many had begun, where nobody else measured then.
    alone_as: Option<u64>,
}

impl Turn {
    /// Beside one other at the most.
    fn shared() -> Self {
        let [first, second] = &MEASURING;
        Self::with(vec![first.try_lock().unwrap_or_else(|_| lock(second))])
    }

    /// Beside nobody.
    fn alone() -> Self {
        // Whoever has one place waits for no other, so nobody waits for ever.
        Self::with(MEASURING.iter().map(lock).collect())
    }

    fn with(places: Vec<MutexGuard<'static, ()>>) -> Self {
        let mut count = lock(&COUNT);
        let (now, begun) = &mut *count;
        *now += 1;
        *begun += 1;
        Self { _places: places, alone_as: (*now == 1).then_some(*begun) }
    }

    fn had_company(&self) -> bool {
        self.alone_as != Some(lock(&COUNT).1)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&COUNT).0 -= 1;
    }
}

/// A test that failed while it held this leaves it as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a program is run whose checks fail while the machine is disturbed.
const ATTEMPTS: usize = 3;

/// The exit code of a program one of whose checks failed.
const FAILED: i32 = 1;

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

/// What a run is worth.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// All checks hold.
    Shown,
    /// Some do not, and the machine was kept from doing what it was asked to.
    NotShown(String),
}

/// Judges a run by its exit code and by what it said, and where that is bad, by what `disturbance`
/// the machine was under according to an instrument that is none of the program's.
///
/// # Errors
///
/// Why the program is at fault.
fn judge(code: Option<i32>, said: &str, disturbance: Option<String>) -> Result<Verdict, String> {
    let checks: Vec<&str> = said.lines().filter(|line| line.starts_with("CHECK ")).collect();
    let bad: Vec<&str> =
        checks.iter().filter(|check| !check.ends_with(" ... ok")).copied().collect();
    if checks.is_empty() {
        return Err(format!("it checks nothing and ends with {code:?}"));
    }
    match (code, &bad[..]) {
        (Some(0), []) => Ok(Verdict::Shown),
        (Some(FAILED | SPOILT), [_, ..]) => match disturbance {
            Some(why) => Ok(Verdict::NotShown(format!("{why}: {}", bad.join("; ")))),
            None => Err(format!("the machine was free, and yet: {}", bad.join("; "))),
        },
        (code, bad) => Err(format!("it ends with {code:?} and these bad checks: {bad:?}")),
    }
}

/// Runs a program beside the instrument, again where the machine was disturbed, and then without
/// another one beside it; gives what it said.
fn shown(name: &str, command: &mut Command) -> String {
    for attempt in 1..=ATTEMPTS {
        let turn = if attempt == 1 { Turn::shared() } else { Turn::alone() };
        let watch = Watch::start();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        machine::count_as_own(child.id());
        let output = child.wait_with_output().unwrap();
        let disturbance = watch.disturbance();
        let company = turn.had_company();
        let disturbance = disturbance.or_else(|| company.then(|| "it had company".to_owned()));
        let (code, said) = (output.status.code(), text(&output.stdout));
        // One that finds itself spoilt has made several attempts of its own.
        let is_last = attempt == ATTEMPTS || code == Some(SPOILT) && !company;
        match judge(code, &said, disturbance) {
            Ok(Verdict::Shown) => return said,
            Ok(Verdict::NotShown(why)) if is_last => {
                // Past the capture of what tests print: this is for whoever runs them.
                let _ = writeln!(std::io::stderr(), "NOT SHOWN by {name}, as {why}");
                return said;
            }
            Ok(Verdict::NotShown(_)) => {}
            Err(fault) => panic!("{name}: {fault}\n{said}{}", text(&output.stderr)),
        }
    }
    unreachable!("the last attempt returns");
}

#[test]
fn a_check_that_fails_is_a_fault_unless_the_machine_was_disturbed() {
    let busy = || Some("others took 90 % of the processors".to_owned());
    let (ok, fail) =
        ("a figure\nCHECK 1 is 1 ... ok", "CHECK 1 is 1 ... ok\nCHECK 1 is 2 ... FAIL");
    let spoilt = "CHECK 1 is late ... FAIL (spoilt by the machine: nothing is shown)";
    assert_eq!(judge(Some(0), ok, None), Ok(Verdict::Shown));
    assert_eq!(judge(Some(0), ok, busy()), Ok(Verdict::Shown));
    for (code, said) in [(FAILED, fail), (SPOILT, spoilt)] {
        let fault = judge(Some(code), said, None).unwrap_err();
        assert!(fault.contains("the machine was free, and yet: CHECK 1 is "), "{fault}");
        let Ok(Verdict::NotShown(why)) = judge(Some(code), said, busy()) else { panic!("{code}") };
        assert!(why.starts_with("others took 90 % of the processors: CHECK 1 is "), "{why}");
    }
    // No disturbance excuses a program that does not do as it says.
    for (code, said) in [(0, fail), (0, ""), (FAILED, ok), (SPOILT, ok), (FAILED, ""), (2, fail)] {
        assert!(judge(Some(code), said, busy()).is_err(), "{code}: {said}");
    }
    assert!(judge(None, fail, busy()).is_err(), "killed");
}

/// Loops on all processors, of which the instrument is not told.
#[cfg(target_os = "linux")]
#[test]
fn the_instrument_sees_what_others_take() {
    let _turn = Turn::alone();
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
    assert!(said.starts_with("others took "), "{said}");
}

/// Runs a program that writes a page and, where `traced`, a line for each request, and looks at
/// all that it says.
fn run(name: &str, options: &[&str], traced: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (page, trace) = (folder.path().join("page.html"), folder.path().join("trace.csv"));
    let mut command = example(name);
    command.args(options).arg("--html").arg(&page).arg("--svg").arg(folder.path());
    if traced {
        command.arg("--csv").arg(&trace);
    }
    let said = shown(name, &mut command);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.matches("<svg ").count() >= 1, "it has a picture");
    assert_eq!(page.matches("<svg ").count(), page.matches("<desc>").count());
    let images = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let images = images.filter(|path| path.extension().is_some_and(|ending| ending == "svg"));
    assert_eq!(images.count(), page.matches("<svg ").count());
    if traced {
        let lines = std::fs::read_to_string(trace).unwrap();
        // Commas within quotes are not between columns.
        let commas =
            |line: &str| line.split('"').step_by(2).map(|of| of.matches(',').count()).sum();
        let columns: usize = commas(lines.lines().next().unwrap());
        assert!(lines.lines().count() > 100, "a line for each request");
        assert!(lines.lines().all(|line| commas(line) == columns));
    }
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
fn saturation_shows_the_ceiling() {
    let said = run("saturation", &["--quick"], true);
    assert!(said.contains("Carried against offered load"), "{said}");
}

#[test]
fn overload_shows_what_a_bound_keeps() {
    let said = run("overload", &["--quick"], true);
    for part in ["Goodput against load", "Whom the workers work for", "A burst"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_plan_is_found_without_a_socket_and_tried_out_with_one() {
    let options = ["--rate", "100", "--delay", "20ms", "--p99", "60ms"];
    let said = run("capacity_plan", &options, false);
    // a = 2, and M/D/3 at 2/3 has a 99th percentile of the latency below 3 D; M/D/2 has no steady
    // state.
    assert!(said.contains("Take 1 machine with 3 workers"), "{said}");
    let said = run("capacity_plan", &[&options[..], &["--quick", "--verify"]].concat(), true);
    assert!(said.contains("A real pool of 3 workers"), "{said}");
    let many = ["--rate", "30000", "--delay", "50ms", "--per-machine", "64", "--deadline", "2s"];
    let said = run("capacity_plan", &many, false);
    assert!(said.contains("Take 24 machines with 64 workers each"), "{said}");
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    let plan =
        || example("capacity_plan").args(["--service", "exponential", "--p99", "60ms"]).output();
    assert_eq!(plan().unwrap().stdout, plan().unwrap().stdout);
}

#[test]
fn load_says_what_each_request_met() {
    let said = run("load", &["--quick"], true);
    assert!(said.contains("status 200") && said.contains("from the intended start"), "{said}");
    let said = run("load", &["--quick", "--clients", "8", "--think", "5ms"], true);
    assert!(said.contains("8 clients that think for 5ms"), "{said}");
}

/// What the options ask for is what the server gets.
#[test]
fn load_takes_arrivals_connections_and_retries_from_its_options() {
    let _turn = Turn::shared();
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
    let said = run("closed_loop", &["--quick"], true);
    assert!(said.contains("the knee is at N* = 20 clients"), "{said}");
    assert!(said.contains("One stall, two clocks"), "{said}");
}

#[test]
fn slow_clients_pin_the_textbook_pool_and_not_this_one() {
    let said = run("slow_clients", &["--quick"], true);
    assert!(said.contains("silent: this pool serves "), "{said}");
}

#[test]
fn slow_clients_look_at_a_server_that_runs() {
    let site = Site::new();
    let server = RealServer::start(&site, &["--workers", "2", "--access-log", "off"]);
    machine::count_as_own(server.pid());
    let host = server.address().to_string();
    let url = format!("http://{host}/testfile");
    let said = run("slow_clients", &["--quick", "--url", &url, "--large", "/testfile"], true);
    assert!(said.contains(&format!("trickling: {host} serves ")), "{said}");
}

#[test]
fn workers_wait_less_together_and_have_a_bound() {
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
fn wrong_options_get_one_clear_line() {
    refuses("saturation", &["--workers", "0"], 2, "at least 1");
    refuses("saturation", &["--delay", "0s"], 2, "above zero");
    refuses("saturation", &["--url", "ftp://x/"], 1, "only http");
    refuses("saturation", &["--url", &nobody()], 1, "cannot reach");
    refuses("saturation", &["--html"], 2, "--html");
    refuses("overload", &["--patience", "soon"], 2, "write 50ms");
    refuses("overload", &["--url", "127.0.0.1:1"], 1, "http://");
    refuses("capacity_plan", &["--rate", "0"], 2, "above 0");
    refuses("capacity_plan", &["--delay", "10ms", "--p99", "5ms"], 1, "at least the delay");
    refuses("capacity_plan", &["--service", "exponential", "--p99", "20ms"], 1, "at least 46.05ms");
    refuses("capacity_plan", &["--refuse", "1"], 2, "below 1");
    refuses("capacity_plan", &["--rate", "200000", "--per-machine", "0"], 2, "1 to 4096");
}

#[test]
fn wrong_options_of_the_programs_about_load_do_as_well() {
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
    refuses("load", &["--url", &nobody()], 1, "cannot reach");
    refuses("load", &["https://127.0.0.1/"], 1, "only http");
    refuses("load", &["http://no such host/"], 1, "its host");
    refuses("closed_loop", &["--workers", "0"], 2, "at least 1");
    refuses("closed_loop", &["--delay", "soon"], 2, "50ms");
    refuses("closed_loop", &["--url", &nobody()], 1, "cannot reach");
    refuses("slow_clients", &["--workers", "0"], 2, "at least 1");
    refuses("slow_clients", &["--slow", "2"], 1, "raise --slow");
    refuses("slow_clients", &["--url", &nobody()], 1, "cannot reach");
    refuses("slow_clients", &["--url", &nobody(), "--large", "10m"], 2, "/NAME");
    refuses("slow_clients", &["--large", "/10m"], 2, "--url");
    refuses("workers", &["--utilisation", "1"], 2, "between 0.1 and 0.95");
    refuses("workers", &["--delay", "0s"], 2, "above zero");
    refuses("database", &["8080"], 2, "--serve");
    refuses("database", &["--archive", "a.db"], 2, "--serve");
    refuses("database", &["--serve", "/no/such", "0"], 1, "cannot load /no/such");
    refuses("database", &["--serve", ".", "--quick"], 2, "cannot be used with");
}
