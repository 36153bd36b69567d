//! Options from a file: their order, their errors, and sites.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used)]

use crate::support::{Site, command};
use std::path::Path;
use std::process::{Command, Output};

fn server(folder: &Path) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_server"));
    command.current_dir(folder);
    command
}

/// What `--check` says of a file beside a directory `www`.
fn check(text: &str) -> Output {
    let site = Site::new();
    site.put("www/a.txt", "a");
    site.put("www/private/b.txt", "b");
    site.put("s.toml", text);
    server(site.path()).args(["--config", "s.toml", "--check"]).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file, and what is wrong with it: the lines, each with a part of its message.
type Row = (&'static str, &'static [(usize, &'static str)]);

/// Mistakes in single keys.
const KEYS: [Row; 23] = [
    ("workers = 0", &[(1, "'0' for '--workers <N>': it must be at least 1")]),
    ("\nworkers = \"many\"", &[(2, "it must be a whole number")]),
    ("wrokers = 4", &[(1, "there is no option wrokers (did you mean workers?)")]),
    ("no_listing = true", &[(1, "did you mean no-listing?")]),
    ("zzz = 4", &[(1, "there is no option zzz (see server --help)")]),
    ("config = 'a.toml'", &[(1, "config is for the command line alone")]),
    ("check = true", &[(1, "check is for the command line alone")]),
    ("queue = -1", &[(1, "'-1' for '--queue <N>': it must be a whole number, 0 or more")]),
    ("queue = 1.5", &[(1, "'1.5' for '--queue <N>'")]),
    ("cors = 'perhaps'", &[(1, "write true or false")]),
    ("schedule = 'random'", &[(1, "it must be fair, fifo, lifo or sff")]),
    ("schedule = ['fair', 'fifo']", &[(1, "schedule takes one value, not a list")]),
    ("deadline = '50'", &[(1, "write 50ms, 1.5s or 2m")]),
    ("header-timeout = '0s'", &[(1, "longer than zero")]),
    ("header = [\n'X-A: b',\n'nonsense']", &[(1, "'nonsense' for '--header")]),
    ("header = 'Content-Length: 5'", &[(1, "the server sets Content-Length itself")]),
    ("error-page = '999=a.html'", &[(1, "write it like 404=404.html")]),
    ("mime = [['a']]", &[(1, "mime: write a text, a number, true or false")]),
    ("mime = 1979-05-27", &[(1, "mime: write a text, a number, true or false")]),
    ("admin = 'nowhere:x'", &[(1, "write it as 9090 or 127.0.0.1:9090")]),
    ("auth = 'ann:secret'", &[(1, "htpasswd")]),
    ("[files]\nindex = 'a'", &[(1, "there is no table files")]),
    ("[site]\nprefix = '/a'", &[(1, "write [[site]]")]),
];

/// Mistakes in the form, and in what does not go together.
const WHOLE: [Row; 13] = [
    (
        "root = 'www'\nbind = ['unix:no/a.sock', '127.0.0.1']\naccess-log-file = 'no/access.log'\n\
         takeover = 'www'\nadmin = 'unix:no/b.sock'",
        &[
            (2, "a.sock: there is no directory"),
            (3, "cannot log to no/access.log: there is no directory"),
            (4, "cannot offer a takeover at www: it is a directory"),
            (5, "b.sock: there is no directory"),
        ],
    ),
    ("workers = = 4", &[(1, "extra `=`")]),
    ("queue = 1\nqueue = 2", &[(2, "duplicate key")]),
    ("root = 'www", &[(1, "invalid literal string")]),
    ("workers = 99999", &[(1, "with 99999 workers (choose 1 to")]),
    ("queue = 5\nmemory = '1K'", &[(2, "set --memory to at least")]),
    ("root = 'www'\nerror-page = '404=no.html'", &[(2, "no such file in the root")]),
    ("queue = 5\nroot = 'missing'", &[(2, "cannot serve missing: no such directory")]),
    ("root = 'www/a.txt'", &[(1, "not a directory")]),
    ("[[site]]\ncors = true", &[(1, "a [[site]] needs a prefix, a host, or both")]),
    (
        "root = 'www'\n[[site]]\nprefix = 'docs'\nhost = 'a:80'\ncache = '1M'",
        &[
            (3, "a plain path that begins with a slash"),
            (4, "a host name without a port"),
            (5, "a [[site]] has no cache of its own"),
        ],
    ),
    (
        "root = 'www'\n[[site]]\nprefix = '/p'\nroot = '.'\n[[site]]\nprefix = '/p/'\nroot = '.'",
        &[(2, "two sites are at /p")],
    ),
    (
        "workers = 99999\nroot = 'www'\ndrain-timeout = '9years'\n[[site]]\nprefix = '/no'",
        &[(1, "with 99999 workers"), (3, "more than a year"), (4, "cannot serve www/no")],
    ),
];

#[test]
fn every_mistake_of_a_file_is_told_with_its_line() {
    for (text, mistakes) in KEYS.iter().chain(&WHOLE) {
        let output = check(text);
        let told = stderr(&output);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), mistakes.len(), "{text}: {told}");
        for (line, (number, part)) in lines.iter().zip(*mistakes) {
            assert!(line.starts_with(&format!("server: s.toml:{number}: ")), "{text}: {line}");
            assert!(line.contains(part), "{text}: {line}");
        }
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn a_broken_file_does_not_start_a_server_and_a_missing_one_is_named() {
    let site = Site::new();
    site.put("s.toml", "wrokers = 1\nqueue = 'x'\n");
    let output = server(site.path()).args(["--config", "s.toml"]).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).lines().count()), (Some(1), 2));
    let output = server(site.path()).args(["--config", "none.toml", "--check"]).output().unwrap();
    assert!(stderr(&output).contains("cannot read none.toml"), "{}", stderr(&output));
    let output = server(site.path()).args(["--check", "--memory", "1K"]).output().unwrap();
    assert!(stderr(&output).contains("set --memory to at least"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(1));
}

/// A line of `--print-config`, without its comment.
fn printed(output: &Output, key: &str) -> Option<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let line = text.lines().find(|line| line.split(" = ").next() == Some(key))?;
    Some(line.split(" # ").next().unwrap().to_owned())
}

#[test]
fn the_command_line_comes_before_the_environment_and_both_before_the_file() {
    let site = Site::new();
    site.put("s.toml", "workers = 2\nqueue = 3\nmin-rate = 4\nno-listing = true\nport = 5\n");
    let print = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = server(site.path());
        command.args(["--config", "s.toml", "--print-config"]).args(arguments);
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let variables = [("CWS_WORKERS", "20"), ("CWS_QUEUE", "30"), ("CWS_NO_LISTING", "0")];
    let output = print(&["--workers", "200", "6"], &variables);
    for (key, wanted) in [
        ("workers", "workers = 200"),
        ("queue", "queue = 30"),
        ("min-rate", "min-rate = 4"),
        ("no-listing", "no-listing = false"),
        ("port", "port = 6"),
        ("idle-timeout", "idle-timeout = \"15s\""),
    ] {
        assert_eq!(printed(&output, key).as_deref(), Some(wanted));
    }
    let from_file = printed(&print(&[], &[]), "no-listing");
    assert_eq!(from_file.as_deref(), Some("no-listing = true"));
}

#[test]
fn what_print_config_prints_reads_back_to_the_same() {
    let site = Site::new();
    let text = "\
header = ['X-A: \"b\", c', 'X-B: \\d']\nmime = 'a=b/c'\ncache-control = 'max-age=60, public'
delay = 'exp:20ms'\nadmin-host = ['a.example', 'b.example']\nunix-mode = '0640'
[[site]]\nprefix = '/a'\nroot = '.'\nheader = []\n[[site]]\nhost = 'b.example'\ncors = true\n";
    site.put("s.toml", text);
    let print = |name: &str| {
        let output = server(site.path()).args(["--print-config", "--config", name]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        // Where the values come from is not the same.
        let lines = text.lines().map(|line| line.split(" # ").next().unwrap());
        (lines.collect::<Vec<_>>().join("\n"), text)
    };
    let (values, whole) = print("s.toml");
    assert!(values.contains("header = ['X-A: \"b\", c', 'X-B: \\d']"), "{values}");
    site.put("again.toml", whole);
    assert_eq!(print("again.toml").0, values);
}
