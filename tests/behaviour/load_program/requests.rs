//! What arrives: methods, bodies, fields and targets.

use super::program::{load, refuses, run, saved, text};
use super::recorder::Recorder;
use std::fs::File;
use std::io::Write;
use std::process::Stdio;

/// As many requests as are needed to see what arrives.
const FEW: [&str; 2] = ["-n", "3"];

#[test]
fn method_body_and_fields_arrive_as_given() {
    let server = Recorder::start();
    let options = ["-X", "PATCH", "--body", "a=1&b", "-H", "Content-Type: text/x", "-H", "x-y:z"];
    run(&[&options[..], &FEW, &[&server.url("/p?q=r")]].concat());
    let arrived = server.arrived();
    assert_eq!(arrived.len(), 3);
    for request in arrived {
        let host = server.address;
        let head = format!(
            "PATCH /p?q=r HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: text/x\
             \r\nx-y: z\r\nContent-Length: 5"
        );
        assert_eq!((request.head, &request.body[..]), (head, &b"a=1&b"[..]));
    }
}

#[test]
fn a_body_makes_a_post_and_can_come_from_a_file_or_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body");
    // More than the socket's buffers hold.
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    std::fs::write(&path, &large).unwrap();
    let server = Recorder::start();
    let from = format!("@{}", path.display());
    run(&[&["--body", &from, "-c", "1", "-H", "Host: other"][..], &FEW, &[&server.url("/")]]
        .concat());
    for request in server.arrived() {
        assert_eq!((request.line(), request.field("host")), ("POST / HTTP/1.1", Some("other")));
        assert!(request.body == large, "{} bytes", request.body.len());
    }
    let mut command = load();
    command.args(["--body", "@-", "-n", "1"]).arg(server.url("/pipe"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"piped").unwrap();
    child.wait().unwrap();
    let last = server.arrived().pop().unwrap();
    assert_eq!((last.line(), &last.body[..]), ("POST /pipe HTTP/1.1", &b"piped"[..]));
    assert_eq!(server.arrived().len(), 4);
}

#[test]
fn targets_arrive_in_the_shares_of_their_weights() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note"), "a note").unwrap();
    let note = format!("@{}", folder.path().join("note").display());
    let server = Recorder::start();
    let lines = format!(
        "# method, URL, weight, body\n\n/plain 5\nHEAD {} 2.5\nPOST /notes 1.5 {note}\n",
        server.url("/head")
    );
    let file = folder.path().join("targets");
    std::fs::write(&file, lines).unwrap();
    let file = file.to_str().unwrap();
    let options = ["--targets", file, "--target", "PUT /last", "--body", "default"];
    let more = ["--clients", "4", "-n", "1000", "--seed", "3"];
    let (saved, said) =
        saved(folder.path(), &[&options[..], &more, &[&server.url("/unused")]].concat());
    assert!(said.contains("4 targets by their weights"), "{said}");
    let arrived = server.arrived();
    assert_eq!(arrived.len(), 1000);
    let expected = [
        ("PUT /last", 100.0, &b"default"[..]),
        ("GET /plain", 500.0, b""),
        ("HEAD /head", 250.0, b""),
        ("POST /notes", 150.0, b"a note"),
    ];
    let mut statistic = 0.0;
    for ((name, share, body), target) in expected.into_iter().zip(&saved.targets) {
        let line = format!("{name} HTTP/1.1");
        let of: Vec<_> = arrived.iter().filter(|request| request.line() == line).collect();
        assert!(of.iter().all(|request| request.body == body), "{name}");
        assert_eq!((target.name.as_str(), target.requests), (name, of.len() as u64));
        assert!(said.contains(name), "{said}");
        statistic += (of.len() as f64 - share).powi(2) / share;
    }
    // The 99.9th percentile of chi-square with three degrees of freedom; the seed is fixed.
    assert!(statistic < 16.27, "{statistic}");
}

#[test]
fn wrong_requests_are_one_line_errors() {
    let server = Recorder::start();
    let url = &server.url("/");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rows: [(&[&str], i32, &str); 15] = [
        (&["-X", "GE T"], 1, "no usable method"),
        (&["-X", "CONNECT"], 1, "no usable method"),
        (&["-H", "no colon"], 2, "write NAME: VALUE"),
        (&["-H", "a b: c"], 2, "not a field name"),
        (&["-H", "a: b\nc: d"], 2, "line end"),
        (&["-H", "Content-Length: 7"], 2, "follows from --body"),
        (&["--body", "@/no/such"], 1, "cannot read the body /no/such"),
        (&["-t", ""], 1, "write [METHOD] URL [WEIGHT]"),
        (&["-t", "GET"], 1, "write [METHOD] URL [WEIGHT]"),
        (&["-t", "GET / 0"], 1, "the weight 0 must be above 0"),
        (&["-t", "GET / 1 @a b"], 1, "write [METHOD] URL [WEIGHT]"),
        (&["-t", "http://other:1/"], 1, "one load has one server"),
        (&["-t", "/", "-X", "PUT"], 2, "cannot be used with"),
        (&["--targets", &file("none", "# nothing\n")], 1, "has no target"),
        (&["--targets", &file("bad", "/a 1\n\nx y z w v\n")], 1, "line 3"),
    ];
    for (options, code, expected) in rows {
        refuses(&[options, &[url]].concat(), code, expected);
    }
    refuses(&["--targets", "/no/such", url], 1, "cannot read /no/such");
    // The bodies of all targets together have a bound.
    let large = folder.path().join("large");
    File::create(&large).unwrap().set_len(33 << 20).unwrap();
    let target = format!("PUT / 1 @{}", large.display());
    refuses(&["-t", &target, "-t", &target, url], 1, "64 MiB together");
    assert_eq!(server.arrived().len(), 0);
}

#[test]
fn the_help_has_groups_examples_and_exit_codes() {
    let output = load().arg("--help").output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success());
    for part in [
        "Requests:\n",
        "When requests start:\n",
        "Connections and retries:\n",
        "Checks:\n",
        "Output:\n",
        "Examples:\n",
        "Exit code: 0 ",
        "load compare",
    ] {
        assert!(said.contains(part), "{part}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "it fits on a terminal");
}
