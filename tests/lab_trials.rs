//! The checks of the lab's programs on trial: how often they fail for an ideal pool, which is
//! sound, and how often for one with a planted fault.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

/// No real pool runs, so that the machine does not matter.
fn is_just(name: &str, faults: usize) {
    is_just_with(name, faults, &["--quick", "--twins", "200"]);
}

/// The same with these options.
fn is_just_with(name: &str, faults: usize, options: &[&str]) {
    let this = std::env::current_exe().unwrap();
    let target: PathBuf = this.parent().unwrap().parent().unwrap().into();
    let mut command = Command::new(target.join("examples").join(name));
    let output = command.args(options).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let count = |what: &str| said.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!(count("CHECK false alarms: "), 1, "{said}");
    assert_eq!(count("CHECK no result: "), 1, "{said}");
    assert_eq!(count("CHECK power: "), faults, "{said}");
}

#[test]
fn saturation_finds_faults_and_raises_few_false_alarms() {
    is_just("saturation", 5);
}

#[test]
fn workers_finds_faults_and_raises_few_false_alarms() {
    is_just("workers", 1);
}

#[test]
fn retries_finds_faults_and_raises_few_false_alarms() {
    is_just("retries", 2);
}

#[test]
fn fairness_finds_faults_and_raises_few_false_alarms() {
    is_just("fairness", 2);
}

#[test]
fn closed_loop_finds_faults_and_raises_few_false_alarms() {
    is_just("closed_loop", 3);
    let varied = ["--quick", "--twins", "200", "--service", "lognormal:20ms,cv=2"];
    is_just_with("closed_loop", 3, &varied);
}

#[test]
fn overload_finds_faults_and_raises_few_false_alarms() {
    is_just("overload", 3);
}

#[test]
fn schedule_finds_faults_and_raises_few_false_alarms() {
    // Its short form is too short to tell the orders apart.
    is_just_with("schedule", 2, &["--twins", "24"]);
}

#[test]
fn fleet_finds_faults_and_raises_few_false_alarms() {
    is_just_with("fleet", 2, &["--quick", "--twins", "100"]);
}
