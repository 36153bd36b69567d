//! `grade` judges servers from outside: this one, others, and some that are broken.
#![cfg(all(target_os = "linux", feature = "cli"))]
#![allow(clippy::unwrap_used)]

use crate::lab_programs::example;
use crate::permit::Permit;
use crate::support::machine::{self, Watch};
use crate::support::{self, RealServer, Site, command, wait_for};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

/// A result in JSON.
#[derive(Debug, serde::Deserialize)]
struct Grade {
    points: u32,
    of: u32,
    not_judged: u32,
    checks: Vec<Check>,
    notes: Vec<String>,
}

#[derive(Debug, serde::Deserialize)]
struct Check {
    id: String,
    points: Option<u32>,
    of: u32,
    came: String,
    mend: String,
}

impl Grade {
    /// The checks that cost points.
    fn lost(&self) -> BTreeMap<&str, &str> {
        let is_lost = |check: &&Check| check.points.is_some_and(|points| points < check.of);
        let lost = self.checks.iter().filter(is_lost);
        lost.map(|check| (check.id.as_str(), check.came.as_str())).collect()
    }

    fn check(&self, id: &str) -> &Check {
        self.checks.iter().find(|check| check.id == id).unwrap()
    }
}

/// Judges a server.
fn grade(server: SocketAddr, options: &[&str]) -> Output {
    let mut command = example("grade");
    command.args([&server.ip().to_string(), &server.port().to_string(), "--quick"]).args(options);
    command.output().unwrap()
}

/// The result in JSON, and the exit code.
fn judged(server: SocketAddr, options: &[&str]) -> (Grade, Option<i32>) {
    let Output { status, stdout, stderr } = grade(server, &[options, &["--json"]].concat());
    let said = String::from_utf8(stdout).unwrap();
    let complaint = String::from_utf8_lossy(&stderr);
    let grade: Grade = serde_json::from_str(&said).unwrap_or_else(|error| {
        panic!("{error} in {said}{complaint}");
    });
    assert_eq!(grade.points, grade.checks.iter().filter_map(|check| check.points).sum::<u32>());
    let unjudged = grade.checks.iter().filter(|check| check.points.is_none());
    assert_eq!(grade.not_judged, unjudged.map(|check| check.of).sum::<u32>());
    assert!(grade.checks.iter().all(|check| !check.came.is_empty() && !check.mend.is_empty()));
    (grade, status.code())
}

/// One of the six servers of `models`.
fn model(name: &str, site: &Site, options: &[&str]) -> RealServer {
    let mut command = example("models");
    command.args(["--serve", name, "0", "--root", site.path().to_str().unwrap()]).args(options);
    RealServer::spawn(command)
}

/// Python, started where its standard output says on which port it listens.
fn python(site: &Site, arguments: &[&str]) -> Option<Command> {
    let mut command = support::installed("python3")?;
    command.arg("-u").args(arguments).current_dir(site.path());
    Some(command)
}

/// Points for what depends on time can be lost on a machine that is busy with something else.
fn is_busy(watch: Watch, permit: &Permit) -> bool {
    permit.had_company() || watch.disturbance().is_some()
}

#[test]
fn this_server_has_all_points() {
    let permit = Permit::shared();
    let watch = Watch::start();
    let site = Site::new();
    let options = ["--workers", "4", "--delay", "10ms", "--access-log", "off"];
    let server = RealServer::start(&site, &options);
    machine::count_as_own(server.pid());
    let root = site.path().to_str().unwrap();
    let options = ["--workers", "4", "--delay", "10ms", "--root", root];
    let Output { status, stdout, .. } = grade(server.address(), &options);
    let said = String::from_utf8(stdout).unwrap();
    let line = said.lines().find(|line| line.contains("the line W/D")).unwrap();
    if status.code() != Some(0) && is_busy(watch, &permit) {
        assert!(said.contains(" of 100 points"), "{said}");
        return;
    }
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("\n100 of 100 points\n"), "{said}");
    assert!(line.trim_start().starts_with("20/20") && line.contains("32 clients: "), "{line}");
    assert!(said.contains(&format!("process [{}]", server.pid())), "{said}");
    assert!(said.contains("does not follow a symbolic link"), "{said}");
    let left = std::fs::read_dir(site.path()).unwrap().count();
    assert_eq!(left, 1, "nothing but the file is left in the folder");
}

#[test]
fn the_textbook_pool_loses_the_points_for_clients_without_a_request() {
    let site = Site::new();
    let server = model("pool-connection", &site, &["--workers", "4", "--delay", "10ms"]);
    let options = ["--workers", "4", "--patience", "300ms"];
    let (grade, code) = judged(server.address(), &options);
    assert_eq!(code, Some(1));
    let lost: Vec<&str> = grade.lost().into_keys().collect();
    assert_eq!(lost, ["half", "idle", "silent"], "{grade:?}");
    assert_eq!((grade.points, grade.of, grade.not_judged), (57, 77, 23), "{grade:?}");
    assert_eq!(grade.check("idle").came, "client 5: no answer in time");
    assert!(grade.check("line").came.contains("--workers and --delay"), "{grade:?}");
}

/// One worker fewer, one more, and as many as there are clients.
#[test]
fn the_line_tells_how_many_work_at_a_time() {
    let permit = Permit::shared();
    let watch = Watch::start();
    let site = Site::new();
    let rows = [("3", "pool-connection", 2), ("5", "pool-connection", 2), ("4", "thread", 2)];
    let mut wrong = Vec::new();
    for (workers, name, points) in rows {
        let server = model(name, &site, &["--workers", workers, "--delay", "10ms"]);
        machine::count_as_own(server.pid());
        let options = ["--workers", "4", "--delay", "10ms", "--only", "line"];
        let (grade, _) = judged(server.address(), &options);
        let [line] = &grade.checks[..] else { panic!("{grade:?}") };
        assert_eq!(grade.of, 20);
        if line.points != Some(points) {
            wrong.push(format!("{name} with {workers}: {}", line.came));
        }
    }
    assert!(wrong.is_empty() || is_busy(watch, &permit), "{wrong:?}");
}

#[test]
fn the_server_of_python_has_a_thread_for_each_connection() {
    let site = Site::new();
    let Some(command) = python(&site, &["-m", "http.server", "--bind", "127.0.0.1", "0"]) else {
        return;
    };
    // Its first line says the port in other words.
    let (mut child, port) = spawn_python(command);
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let root = site.path().to_str().unwrap();
    let (grade, code) = judged(server, &["--patience", "1500ms", "--root", root]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(code, Some(1));
    let mut lost = grade.lost();
    // It takes five connections at once, and some of many clients must try again.
    lost.remove("crowd");
    assert_eq!(lost.into_keys().collect::<Vec<_>>(), ["threads"], "{grade:?}");
    let threads = &grade.check("threads").came;
    let most = threads.split_once("later ").and_then(|(_, rest)| rest.split_once(' '));
    let most: usize = most.and_then(|(number, _)| number.parse().ok()).unwrap();
    // Those of clients before them can still be ending.
    assert!(most >= 60, "one for each of 64 clients: {threads}");
    assert!(grade.notes[0].starts_with("It follows a symbolic link"), "{grade:?}");
}

/// Starts `http.server`, and reads the port from its first line.
fn spawn_python(mut command: Command) -> (std::process::Child, u16) {
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut line = String::new();
    let mut byte = [0];
    while !line.ends_with('\n') && out.read(&mut byte).unwrap() == 1 {
        line.push(char::from(byte[0]));
    }
    let port = line.split(" port ").nth(1).and_then(|rest| rest.split(' ').next());
    (child, port.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap())
}

#[test]
fn a_broken_server_is_told_each_of_its_mistakes() {
    let site = Site::new();
    site.put("testfile", "Grüße\n");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/broken_server.py");
    let Some(command) = python(&site, &[program]) else { return };
    let server = RealServer::spawn(command);
    let root = site.path().to_str().unwrap();
    let (grade, code) = judged(server.address(), &["--patience", "300ms", "--root", root]);
    assert_eq!(code, Some(1));
    let lost = grade.lost();
    assert_eq!(lost["length"], "Content-Length says 6, and 8 came");
    assert_eq!(lost["crowd"], "0 right answers; 50 times: Content-Length says 6, and 8 came");
    assert!(lost["methods"].starts_with("HEAD: HTTP/1.0 200 OK, 8 bytes"), "{lost:?}");
    assert_eq!(lost["one-silent"], "no answer in time");
    assert!(lost["confinement"].contains("ways lead outside: /../../.."), "{lost:?}");
    assert!(lost["garbage"].starts_with("after an empty line: "), "{lost:?}");
    assert_eq!(lost["alive"], "not done: its process has ended since \"garbage\"");
    assert_eq!(grade.check("slashless").points, Some(4), "what it does right counts");
    assert_eq!(grade.check("missing").points, Some(4));
}

/// A listener, and a thread that treats each connection in this way.
fn careless(treat: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let treat = treat.clone();
            thread::spawn(move || treat(stream));
        }
    });
    address
}

/// However a server fails, the result comes. The test itself has no other way to end.
#[test]
fn no_server_hangs_the_judge() {
    let silent = careless(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let endless = careless(|mut stream| while stream.write_all(&[b'x'; 65536]).is_ok() {});
    let head = careless(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(&b"X: y\r\n".repeat(10_000)).is_ok() {}
    });
    let closing = careless(drop);
    let announcing = careless(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let servers = [silent, endless, head, closing, announcing];
    let judges: Vec<_> = servers
        .into_iter()
        .map(|server| thread::spawn(move || judged(server, &["--patience", "100ms"])))
        .collect();
    let mut results = judges.into_iter().map(|judge| judge.join().unwrap());
    let first = ["no answer in time", "no HTTP response", "no HTTP response", "connection was "];
    for what in first.into_iter().chain(["200 OK, 1 bytes, and no end"]) {
        let (grade, code) = results.next().unwrap();
        assert_eq!(code, Some(1), "{grade:?}");
        assert!(grade.check("slash").came.contains(what), "{grade:?}");
        assert!(grade.check("alive").came.starts_with("not done: "), "{grade:?}");
        // The head of the last one is in order.
        assert_eq!(grade.points, if what.starts_with("200") { 3 } else { 0 }, "{grade:?}");
    }
}

#[test]
fn what_cannot_be_judged_is_one_line_and_an_exit_code() {
    let says = |arguments: &[&str], code: i32, expected: &str| {
        let Output { status, stdout, stderr } = example("grade").args(arguments).output().unwrap();
        let complaint = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(code), 0), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(complaint.contains(expected), "{complaint}");
    };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    says(&["127.0.0.1", &closed.port().to_string()], 3, "cannot reach 127.0.0.1:");
    says(&["no such host", "80"], 3, "cannot find");
    says(&["127.0.0.1"], 2, "PORT");
    says(&["127.0.0.1", "80", "--workers", "0"], 2, "at least 1");
    says(&["127.0.0.1", "80", "--only", "all"], 2, "choose from slash, slashless");
    let site = Site::new();
    std::fs::remove_file(site.path().join("testfile")).unwrap();
    let server = RealServer::start(&site, &[]);
    says(&["127.0.0.1", &server.address().port().to_string()], 3, "the server has no testfile");
}

/// The page has the table, and only what costs points is explained.
#[test]
fn a_page_is_written() {
    let site = Site::new();
    let mut command = command(env!("CARGO_BIN_EXE_server"));
    command.args(["--root", site.path().to_str().unwrap(), "0"]);
    let server = RealServer::spawn(command);
    let page = site.path().join("page.html");
    let options = ["--only", "slash,crowd,alive", "--html", page.to_str().unwrap()];
    let output = grade(server.address(), &options);
    assert!(output.status.success(), "{output:?}");
    let page = wait_for("the page", || std::fs::read_to_string(&page).ok());
    assert!(page.contains("15 of 15 points") && page.contains("50 right answers"), "{page}");
    assert!(!page.contains("mend: "), "{page}");
}
