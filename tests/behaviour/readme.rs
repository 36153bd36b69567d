//! Every block of the README and of the manual is run, or says here why not: a block that this
//! table does not know fails the test.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Site, command, exchange, get, wait_for};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

const README: &str = include_str!("../../README.md");
const MANUAL: &str = include_str!("../../examples/manual.md");

/// What the test does with a block.
enum How {
    /// Each line that starts the server does so, and the server answers.
    Serves,
    /// Each line that starts the server does so. It answers nobody without a proxy.
    StartsBehindProxy,
    /// The first steps, which are one session.
    FirstSteps,
    /// The server starts with this file, and its sites answer.
    Configuration,
    /// The agent's line, which `nc` prints.
    Agent,
    /// The dependency has the version and the features of this package.
    Dependency,
    /// Another test runs it: this file names the program.
    RunBy(&'static str, &'static str),
    /// It is not run, for this reason.
    NotRun(&'static str),
}

/// Each block, by the beginning of its first line.
const BLOCKS: [(&str, How); 21] = [
    ("cargo run --release --bin server     #", How::Serves),
    ("$ cargo run --release --bin server", How::FirstSteps),
    ("$ cargo run --release --bin client", How::FirstSteps),
    ("[2026-11-23T08:43:30Z INFO  access]", How::FirstSteps),
    ("cargo run --release --bin server -- ~/Pictures", How::Serves),
    ("server ~/Pictures", How::Serves),
    ("$ cargo run --release --bin server -- --workers 4 --delay 1s", How::Serves),
    ("$ cargo run --release --example echo_server", How::RunBy("behaviour/echo.rs", "echo_server")),
    ("server [OPTIONS]", How::NotRun("a synopsis")),
    ("root = \"public\"", How::Configuration),
    ("# HAProxy in mode tcp", How::StartsBehindProxy),
    ("$ cargo run --release --bin server -- --workers 4 --delay 50ms", How::Serves),
    ("$ server 8080 --bind 10.0.0.1", How::Agent),
    ("backend servers", How::NotRun("a part of examples/deploy/haproxy, which its own tests run")),
    (
        "$ cargo run --release --example overload",
        How::RunBy("measuring/lab_programs.rs", "overload"),
    ),
    (
        "$ cargo run --release --example capacity_plan",
        How::RunBy("measuring/lab_programs.rs", "capacity_plan"),
    ),
    ("$ cargo run --release --example versus", How::RunBy("behaviour/versus.rs", "versus")),
    ("client [OPTIONS]", How::NotRun("a synopsis")),
    (" kernel backlog", How::NotRun("a drawing")),
    ("[dependencies]", How::Dependency),
    ("use cws::{Config", How::NotRun("a doctest of the library compiles it")),
];

/// The blocks between fences.
fn blocks() -> Vec<&'static str> {
    let mut blocks = Vec::new();
    for text in [README, MANUAL] {
        let mut parts = text.split("\n```").skip(1);
        while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
            blocks.push(block.split_once('\n').unwrap().1);
        }
    }
    blocks
}

/// The options of each line that starts the server, for this machine: any port, and its addresses.
fn starts(block: &str, folder: &Path) -> Vec<Vec<String>> {
    let line = |line: &'_ str| {
        let line = line.trim_start_matches("$ ").split(" #").next().unwrap();
        let options = line
            .strip_prefix("cargo run --release --bin server")
            .or_else(|| line.strip_prefix("server "))?;
        let here = |word: &str| match word {
            "8080" | "8082" | "9090" => "0".to_owned(),
            "~/Pictures" => folder.display().to_string(),
            "::" => "0.0.0.0".to_owned(),
            _ => match word.strip_prefix("10.0.0.") {
                Some(rest) if rest.contains(':') => "127.0.0.1:0".to_owned(),
                Some(rest) if !rest.contains(',') => "127.0.0.1".to_owned(),
                _ => word.to_owned(),
            },
        };
        let words = options.split_whitespace().skip_while(|word| *word == "--");
        let mut options: Vec<_> = words.map(here).collect();
        // A port is given, so that the default one stays free.
        let port = |at: usize| {
            options.get(at).is_some_and(|option| option == "0")
                && (at == 0 || !options[at - 1].starts_with("--"))
        };
        if !port(0) && !port(options.len().saturating_sub(1)) {
            options.extend(["--port".to_owned(), "0".to_owned()]);
        }
        Some(options)
    };
    block.lines().filter_map(line).collect()
}

fn start(options: &[String]) -> RealServer {
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    server.current_dir(env!("CARGO_MANIFEST_DIR")).args(options);
    RealServer::spawn(server)
}

/// What of a line is the same on each machine: no times, numbers, paths or addresses.
fn common(line: &str) -> String {
    let line = line.strip_prefix('[').and_then(|line| line.split_once("] ")).map_or(line, |l| l.1);
    let words =
        line.split_whitespace().filter(|word| !word.contains('/') || word.contains("requests/s"));
    words.map(|word| word.replace(|c: char| c.is_ascii_digit() || c == '.', "") + " ").collect()
}

/// The server logs the lines that the block shows.
fn logs(server: &RealServer, block: &str) {
    for shown in block.lines().filter(|line| line.trim_start_matches("^C").starts_with("[20")) {
        let shown = common(shown.trim_start_matches("^C"));
        wait_for(&shown, || {
            server.stderr().lines().any(|line| common(line) == shown).then_some(())
        });
    }
}

fn serves(block: &str) {
    let site = Site::new();
    let starts = starts(block, site.path());
    assert!(!starts.is_empty(), "{block}");
    for options in starts {
        let server = start(&options);
        assert_eq!(get(server.address(), "/testfile").status, 200, "{options:?}");
        if options.iter().any(|option| option == "--admin") {
            assert_eq!(get(server.admin(), "/healthz").status, 200);
        }
        logs(&server, block);
    }
}

fn starts_behind_proxy(block: &str) {
    let starts = starts(block, Path::new("."));
    assert_eq!(starts.len(), 2, "{block}");
    for options in starts {
        drop(start(&options));
    }
}

/// The three blocks of the first steps, with the file in the repository.
fn first_steps() {
    let blocks = blocks();
    let block = |beginning: &str| *blocks.iter().find(|b| b.starts_with(beginning)).unwrap();
    let mut server = start(&["--port".to_owned(), "0".to_owned()]);
    logs(&server, block("$ cargo run --release --bin server\n"));
    // Another test may take the port before the client does: then the client takes the next one.
    let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let port = server.address().port().to_string();
    let mut client = command(env!("CARGO_BIN_EXE_client"));
    let told = client.args(["localhost", &port, &own.to_string()]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap().replace('\r', "");
    let shown = block("$ cargo run --release --bin client").split_once('\n').unwrap().1;
    let (head, content) = shown.split_once("\n\n").unwrap();
    let (told_head, told_content) = told.split_once("\n\n").unwrap();
    let names = |head: &str| -> Vec<String> {
        head.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(told_head), names(head));
    assert_eq!(told_content.trim_end(), content.trim_end());
    server.signal("INT");
    assert!(server.wait().success());
    let last = block("[2026-11-23T08:43:30Z INFO  access]");
    let said = server.stderr();
    for shown in last.lines() {
        let shown = common(shown.trim_start_matches("^C")).replace("ms", "");
        let shown: Vec<_> = shown.split(' ').take(4).collect();
        let found = |line: &str| common(line).split(' ').take(4).eq(shown.iter().copied());
        assert!(said.lines().any(found), "{shown:?} in {said}");
    }
}

fn configuration(block: &str) {
    let site = Site::new();
    for name in ["public", "public/private", "srv/downloads", "srv/docs"] {
        site.put(&format!("{name}/testfile"), name);
    }
    let text = block.replace("/srv/", &format!("{}/srv/", site.path().display()));
    let file = site.put("site.toml", text);
    let mut server = command(env!("CARGO_BIN_EXE_server"));
    server.current_dir(site.path()).arg("--config").arg(file).args(["--port", "0"]);
    let server = RealServer::spawn(server);
    assert_eq!(get(server.address(), "/testfile").body, b"public");
    assert_eq!(get(server.address(), "/downloads/testfile").body, b"srv/downloads");
    assert_eq!(get(server.address(), "/private/testfile").status, 401);
}

fn agent(block: &str) {
    let options = starts(block, Path::new("."));
    let server = start(&options[0]);
    // What `nc` does, without it.
    let told = String::from_utf8(exchange(server.announced("agent on "), b"")).unwrap();
    // A weight is told once there is something to compare with.
    assert!(told.starts_with("ready up") && told.contains("maxconn:"), "{told:?}");
}

fn dependency(block: &str) {
    let manifest = include_str!("../../Cargo.toml");
    let name = env!("CARGO_PKG_NAME");
    let version = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap().0;
    assert!(block.contains(&format!("{name} = {{ version = \"{version}\"")), "{block}");
    assert!(block.contains("\"routes\"") && manifest.contains("\nroutes = "), "{block}");
}

#[test]
fn each_block_is_run_or_says_why_not() {
    let blocks = blocks();
    let known = |block: &str| {
        let found = BLOCKS.iter().filter(|(beginning, _)| block.starts_with(beginning));
        found.max_by_key(|(beginning, _)| beginning.len())
    };
    for (beginning, _) in &BLOCKS {
        assert!(blocks.iter().any(|block| block.starts_with(beginning)), "no block {beginning:?}");
    }
    for block in blocks {
        let (_, how) = known(block).unwrap_or_else(|| panic!("nobody runs this block:\n{block}"));
        match how {
            How::Serves => serves(block),
            How::StartsBehindProxy => starts_behind_proxy(block),
            How::FirstSteps => {}
            How::Configuration => configuration(block),
            How::Agent => agent(block),
            How::Dependency => dependency(block),
            How::RunBy(file, program) => {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
                let text = std::fs::read_to_string(file).unwrap();
                assert!(text.contains(program), "{program}");
            }
            How::NotRun(why) => assert!(!why.is_empty()),
        }
    }
    first_steps();
}

/// The anchors of a page: its headings, as web pages of repositories name them.
fn anchors(page: &str) -> Vec<String> {
    let name = |heading: &str| {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let text: String = heading.to_lowercase().chars().filter(kept).collect();
        text.trim().replace(' ', "-")
    };
    // Not the comments of a shell's block.
    let pieces = page.split("```").step_by(2);
    let headings = pieces.flat_map(str::lines).filter(|line| line.starts_with('#'));
    headings.map(|line| name(line.trim_start_matches('#'))).collect()
}

/// Each picture, each file and each heading that a page links is there.
#[test]
fn the_links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = [
        "README.md",
        "examples/manual.md",
        "examples/README.md",
        "examples/first-hour.md",
        "examples/deploy/README.md",
        "examples/peers/README.md",
        "tests/README.md",
    ];
    let mut count = 0;
    for name in pages {
        let page = std::fs::read_to_string(root.join(name)).unwrap();
        let folder = root.join(name);
        let folder = folder.parent().unwrap();
        for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let target = if path.is_empty() { root.join(name) } else { folder.join(path) };
            assert!(target.exists(), "{name}: {link}");
            if !anchor.is_empty() && target.extension().is_some_and(|of| of == "md") {
                let there = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(there.iter().any(|of| of == anchor), "{name}: {link}: {there:?}");
            }
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}
