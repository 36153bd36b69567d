//! The comparison with other servers runs, if they are installed; no speed is checked.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

// The unit tests of the program: cargo runs none of an example.
#[path = "../../examples/versus"]
#[allow(dead_code, reason = "the program uses the rest")]
mod program {
    mod site;
    mod cases;
    mod configurations;
    mod usage;
    mod process;
    mod calls;
    mod exchange;
    mod driver;
    mod paced;
    mod peers;
    mod figures;
    mod table;
    mod report;
}

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
    let [csv, html, markdown] = ["csv", "html", "markdown"].map(|name| dir.path().join(name));
    let server = env!("CARGO_BIN_EXE_server");
    // The temporary folder distinguishes the test's processes from others.
    let output = versus()
        .env("TMPDIR", dir.path())
        .args(["--quick", "--servers", "nginx,lighttpd,ceiling", "--cases", "404"])
        .args(["--binary", &format!("{server}=earlier")])
        .arg("--csv")
        .arg(&csv)
        .arg("--html")
        .arg(&html)
        .arg("--markdown")
        .arg(&markdown)
        .output()
        .unwrap();
    let (stdout, stderr) = text(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
    let servers = ["cws", "earlier", "nginx", "lighttpd", "again", "ceiling"];
    for word in servers.into_iter().chain([
        "cases: 1, servers: 6, rounds of 1 s: 1; about ",
        "beside the best peer of each case",
        "beside earlier",
    ]) {
        assert!(stdout.contains(word), "{word} is in {stdout}");
    }
    let csv = fs::read_to_string(csv).unwrap();
    assert_eq!(csv.lines().count(), 1 + 6, "a line for each turn: {csv}");
    for line in csv.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<f64>().unwrap();
        let is_wrong = cells[0] == "404" && cells[1] == "ceiling";
        assert!(number(3) > 0.0 && number(4) > 0.0 && number(8) > 0.0, "{line}");
        assert!(number(9) > 0.0, "context switches: {line}");
        assert!(number(11) > 0.0, "the load generator's time: {line}");
        assert!(is_wrong || number(7) == 0.0, "no errors: {line}");
        // Every request needs a call that reads and one that writes.
        assert!(cells[10].is_empty() || number(10) >= 1.0, "system calls: {line}");
    }
    let html = fs::read_to_string(html).unwrap();
    assert_eq!(html.matches("<table>").count(), 3, "two comparisons, one case");
    let markdown = fs::read_to_string(markdown).unwrap();
    assert_eq!(markdown.matches("\n|---|").count(), 3, "{markdown}");
    let folder = dir.path().to_str().unwrap();
    assert_eq!(processes_of(folder), Vec::<String>::new(), "all started processes have ended");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 3, "only the reports are left: {left:?}");
}

/// Runs cases with this server alone. Returns what it printed, and its lines of the CSV file.
fn alone(cases: &str) -> (String, Vec<Vec<String>>) {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("csv");
    let output = versus()
        .args(["--quick", "--servers", "again", "--cases", cases, "--csv"])
        .arg(&csv)
        .output()
        .unwrap();
    let (stdout, stderr) = text(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
    let lines = fs::read_to_string(csv).unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    (stdout, lines.lines().skip(1).map(cells).collect())
}

#[test]
fn this_server_alone_is_compared_with_itself() {
    if !are_installed(&["wrk"]) {
        return;
    }
    let cases = "close-paced,beside-10m,static-64,delay";
    let (stdout, lines) = alone(cases);
    assert!(stdout.contains("beside itself"), "{stdout}");
    assert!(stdout.contains(" of W/D = 800/s"), "{stdout}");
    assert!(stdout.contains("; downloads/s: cws "), "{stdout}");
    let named = |line: &Vec<String>| format!("{} {}", line[0], line[1]);
    let expected = cases.split(',').flat_map(|case| ["cws", "again"].map(|one| (case, one)));
    let expected: Vec<String> = expected.map(|(case, one)| format!("{case} {one}")).collect();
    assert_eq!(lines.iter().map(named).collect::<Vec<_>>(), expected);
    for line in &lines {
        let number = |at: usize| line[at].parse::<f64>().unwrap();
        assert!(number(3) > 0.0 && number(6) >= number(5) && number(5) > 0.0, "{line:?}");
        assert_eq!(number(7), 0.0, "no errors: {line:?}");
        let is_beside = line[0] == "beside-10m";
        assert_eq!(number(12) > 0.0, is_beside, "downloads: {line:?}");
        assert_eq!(number(4) == 0.0, is_beside, "their CPU is not that of requests: {line:?}");
        // Four workers with 5 ms cannot do more; wrk counts up to a batch beyond its end.
        assert!(line[0] != "delay" || number(3) < 900.0, "{line:?}");
    }
}

#[test]
fn a_proxy_in_front_is_started_and_ended() {
    if !are_installed(&["wrk", "haproxy"]) {
        return;
    }
    let (stdout, lines) = alone("haproxy");
    assert_eq!(lines.len(), 2, "{stdout}");
    assert!(lines.iter().all(|line| line[7] == "0"), "no errors: {lines:?}");
}

#[test]
fn a_peer_that_is_not_installed_is_named_and_skipped() {
    let Some(wrk) = find("wrk") else { return };
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(wrk, dir.path().join("wrk")).unwrap();
    // No package of Debian has this one, so it is nowhere else.
    if find("miniserve").is_some() {
        return;
    }
    let output = versus()
        .env("PATH", dir.path())
        .args(["--quick", "--servers", "miniserve"])
        .output()
        .unwrap();
    let (stdout, stderr) = text(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("skipped, because not installed: miniserve"), "{stdout}");
    assert!(stdout.contains("neither perf nor strace works here"), "{stdout}");
}

#[test]
fn a_server_that_fails_is_left_out_and_the_run_fails_at_its_end() {
    if !are_installed(&["wrk"]) {
        return;
    }
    let output = versus()
        .args(["--quick", "--servers", "again", "--binary", "/bin/false=broken"])
        .output()
        .unwrap();
    let (stdout, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("\nagain "), "the others are measured: {stdout}");
    assert!(stderr.contains("keep-alive: broken: it exited at once"), "{stderr}");
}

#[test]
fn an_interrupt_ends_everything() {
    if !are_installed(&["wrk", "nginx"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap().to_owned();
    let mut command = versus();
    command.env("TMPDIR", dir.path()).args(["--servers", "nginx", "--seconds", "30"]);
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
    for (option, value) in [
        ("--cases", "nonsense"),
        ("--servers", "nonsense"),
        ("--rounds", "0"),
        ("--binary", "nonsense"),
        ("--binary", "file=again"),
    ] {
        if !are_installed(&["wrk"]) {
            return;
        }
        let output = versus().args([option, value]).output().unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{option}");
        let (_, stderr) = text(&output);
        assert!(stderr.starts_with("versus: ") && stderr.lines().count() == 1, "{stderr}");
    }
    let (help, _) = text(&versus().arg("--help").output().unwrap());
    assert!(help.contains("CPU per request"), "{help}");
    let names: String = help.split_once("Cases: ").unwrap().1.chars().take(400).collect();
    let unknown = versus().args(["--cases", "nonsense"]).output().unwrap();
    let (_, stderr) = text(&unknown);
    let all = stderr.split_once("choose from ").unwrap().1.trim_end().trim_end_matches(')');
    for name in all.split(", ") {
        assert!(names.contains(name), "the help names {name}: {names}");
    }
}
