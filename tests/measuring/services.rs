//! Services that vary: the delay of the command, plans for any law and from a log, and the orders.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::lab_programs::{example, refuses, run};
use crate::support::{RealServer, Site, command, get, wait_for};
use cws::ServiceTime;
use std::fmt::Write;
use std::time::Duration;

#[test]
fn schedule_runs_and_its_checks_hold() {
    let said = run("schedule", &["--quick"], true);
    for part in ["smallest first, Cobham: 11.81 ms by theory", "128ms", "In the long run"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    refuses("schedule", &["--utilisation", "1"], 2, "from 0.05 to 0.95");
}

/// Each request has the sample of its number, and the worker sleeps no less.
#[test]
fn a_random_delay_has_the_samples_of_its_law_in_their_order() {
    let text = "lognormal:3ms,cv=1,seed=7";
    let site = Site::new();
    let options = ["--workers", "1", "--delay", text, "--server-timing"];
    let server = RealServer::start(&site, &options);
    let law: ServiceTime = text.parse().unwrap();
    for number in 0..20 {
        let reply = get(server.address(), "/testfile");
        let timing = reply.field("Server-Timing").unwrap();
        let handler = timing.split(", ").find_map(|part| part.strip_prefix("handle;dur="));
        let took: f64 = handler.unwrap_or_else(|| panic!("{timing}")).parse().unwrap();
        // The field has milliseconds with a few digits.
        let sample = law.sample(number).as_secs_f64() * 1e3;
        assert!(took >= sample - 0.01, "{number}: {took} for {sample}");
        // Errors are not delayed, and take no sample.
        assert_eq!(get(server.address(), "/missing").status, 404);
    }
}

#[test]
fn the_start_line_says_what_two_moments_do_not() {
    let site = Site::new();
    let rows = [
        (
            "lognormal:20ms,cv=2",
            " (mean 20ms, coefficient of variation 2): at most 200 requests/s; \
          mean and variation do not determine the wait of this law; queue",
        ),
        ("exp:20ms", " (mean 20ms, coefficient of variation 1): at most 200 requests/s; queue"),
        ("pareto:20ms,tail=1.5", " (mean 20ms, infinite variance): at most 200 requests/s; mean"),
    ];
    for (law, said) in rows {
        let mut command = command(env!("CARGO_BIN_EXE_server"));
        command.args(["--workers", "4", "0", "--root"]).arg(site.path()).env("CWS_DELAY", law);
        let server = RealServer::spawn(command);
        let log = wait_for("the start line", || {
            let log = server.stderr();
            log.contains("serving").then_some(log)
        });
        assert!(log.contains(&format!("delay {law}{said}")), "{log}");
    }
    let output = command(env!("CARGO_BIN_EXE_server")).args(["--delay", "exp:"]).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), complaint.lines().count()), (Some(2), 1), "{complaint}");
    assert!(complaint.contains("the law exp needs a mean (write exp:20ms)"), "{complaint}");
}

fn plan(options: &[&str]) -> String {
    let output = example("capacity_plan").args(options).arg("--quick").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{options:?}: {said}");
    said
}

#[test]
fn capacity_plan_simulates_what_has_no_formula() {
    let said = plan(&["--service", "lognormal:10ms,cv=2", "--rate", "400"]);
    assert!(said.contains("No formula covers such services"), "{said}");
    assert!(said.contains("Theory for a queue without a bound: a mean wait of "), "{said}");
    // An interval, and a command that the server takes.
    let line =
        said.lines().find(|line| line.starts_with("CHECK 99 % are answered within")).unwrap();
    assert!(line.contains(" \u{b1} "), "{line}");
    assert!(said.contains("--delay lognormal:10ms,cv=2 --queue "), "{said}");
    // The same law by another name has the same plan as its formula.
    let formula =
        plan(&["--service", "exponential", "--delay", "10ms", "--rate", "400", "--p99", "70ms"]);
    let simulated = plan(&["--service", "hyper:10ms,cv=1", "--rate", "400", "--p99", "70ms"]);
    let taken =
        |said: &str| said.lines().find(|line| line.starts_with("Take ")).unwrap()[..30].to_owned();
    assert_eq!(taken(&formula), taken(&simulated), "{formula}{simulated}");
    let verified = run(
        "capacity_plan",
        &["--service", "two:1ms,20ms,p=.1", "--rate", "300", "--quick", "--verify"],
        true,
    );
    assert!(verified.contains("CHECK p99: "), "{verified}");
    refuses("capacity_plan", &["--service", "magic"], 2, "lognormal:20ms,cv=2");
    let p99 = ["--service", "uniform:1ms,99ms", "--p99", "60ms"];
    refuses("capacity_plan", &p99, 1, "the service alone takes longer for more than 1 %");
}

/// A log of three minutes, of which the second has ten times the requests.
#[test]
fn capacity_plan_plans_for_the_busiest_minute_of_an_access_log() {
    let mut log = String::new();
    let mut line = |millis: u64, worker: &str, status: u16, micros: u64| {
        let time = std::time::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis);
        let time = humantime::format_rfc3339_micros(time);
        writeln!(
            log,
            "{{\"time\":\"{time}\",\"status\":{status},\"worker\":{worker},\
             \"handle_us\":{micros},\"queue_wait_us\":0}}"
        )
        .unwrap();
    };
    for number in 0..1800 {
        line(number * 100, "1", 200, 4000);
    }
    for number in 0..5400 {
        line(60_000 + number * 11, "2", 200, if number % 10 == 0 { 40_000 } else { 2000 });
        // Answered without a worker, and refused for want of one.
        line(60_000 + number * 11, "null", 200, 0);
    }
    line(60_000, "null", 503, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.json");
    std::fs::write(&path, log).unwrap();
    let said = plan(&["--log", path.to_str().unwrap()]);
    assert!(said.contains("The log has 7201 requests for workers in "), "{said}");
    // 5400 and 600 in a minute.
    assert!(said.contains("100.0167 a second in its busiest minute"), "{said}");
    assert!(said.contains("5.35ms on average") && said.contains("of variation 1.85"), "{said}");
    std::fs::write(&path, "{\"worker\":null}\n").unwrap();
    refuses("capacity_plan", &["--log", path.to_str().unwrap()], 1, "it has none");
}
