//! The comparison with other servers runs, if they are installed; no speed is checked.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

fn versus() -> Command {
    let this = env::current_exe().unwrap();
    let path = this.parent().unwrap().parent().unwrap().join("examples/versus");
    assert!(path.exists(), "{} is missing: run cargo build --examples", path.display());
    let mut command = Command::new(path);
    command.args(["--server", env!("CARGO_BIN_EXE_server")]);
    command
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap();
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|f| f.join(program)).find(|path| path.is_file())
}

/// Whether the programs are installed; prints a message if not. Fails with `CI` set.
fn are_installed(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| find(program).is_none()).collect();
    assert!(missing.is_empty() || env::var_os("CI").is_none(), "{missing:?} must be installed");
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} are not installed");
    }
    missing.is_empty()
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The processes whose command line contains this word.
fn processes_of(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(word))
        .collect()
}

#[test]
fn a_quick_run_measures_all_and_leaves_no_processes_or_files() {
    if !are_installed(&["wrk", "nginx", "lighttpd"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (csv, html) = (dir.path().join("csv"), dir.path().join("html"));
    // The temporary folder distinguishes the test's processes from others.
    let output = versus()
        .env("TMPDIR", dir.path())
        .args(["--quick", "--peers", "nginx,lighttpd", "--cases", "keep-alive,404"])
        .arg("--csv")
        .arg(&csv)
        .arg("--html")
        .arg(&html)
        .output()
        .unwrap();
    let (stdout, stderr) = text(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
    for word in ["cws ", "nginx ", "lighttpd ", "(ceiling)", "beside the best peer"] {
        assert!(stdout.contains(word), "{word} is in {stdout}");
    }
    let csv = fs::read_to_string(csv).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 4, "a line for each turn: {csv}");
    for line in csv.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<f64>().unwrap();
        assert!(number(3) > 0.0 && number(4) > 0.0 && number(8) > 0.0, "{line}");
        assert_eq!(number(7), 0.0, "no errors: {line}");
    }
    let html = fs::read_to_string(html).unwrap();
    assert_eq!(html.matches("<table>").count(), 2);
    let folder = dir.path().to_str().unwrap();
    assert_eq!(processes_of(folder), Vec::<String>::new(), "all started processes have ended");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 2, "only the reports are left: {left:?}");
}

#[test]
fn an_interrupt_ends_everything() {
    if !are_installed(&["wrk", "nginx"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap().to_owned();
    let mut command = versus();
    command.env("TMPDIR", dir.path()).args(["--peers", "nginx", "--seconds", "30"]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !processes_of(&folder).iter().any(|line| line.starts_with("wrk")) {
        assert!(std::time::Instant::now() < deadline, "it did not start wrk");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    while !processes_of(&folder).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", processes_of(&folder));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn without_wrk_it_says_how_to_install_it() {
    let output = versus().env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let (_, stderr) = text(&output);
    assert!(stderr.contains("apt install wrk"), "{stderr}");
}

#[test]
fn unknown_names_are_one_line_errors() {
    for (option, value) in [("--cases", "nonsense"), ("--peers", "nonsense"), ("--rounds", "0")] {
        if !are_installed(&["wrk"]) {
            return;
        }
        let output = versus().args([option, value]).output().unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{option}");
        let (_, stderr) = text(&output);
        assert!(stderr.starts_with("versus: ") && stderr.lines().count() == 1, "{stderr}");
    }
    let (help, _) = text(&versus().arg("--help").output().unwrap());
    assert!(help.contains("keep-alive") && help.contains("CPU per request"), "{help}");
}
