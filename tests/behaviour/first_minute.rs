//! The first minute with the server: what one types without reading, and what it says.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Site, TESTFILE, command, get, wait_for};
use std::process::{Command, Output};

fn server() -> Command {
    command(env!("CARGO_BIN_EXE_server"))
}

/// The only line that a command prints which cannot start.
fn complaint(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert!(stdout.is_empty() && text.lines().count() == 1, "one line: {text:?}");
    (status.code(), text.trim_end().to_owned())
}

#[test]
fn a_directory_and_a_port_need_no_option() {
    let elsewhere = Site::new();
    let site = Site::new();
    site.put("shared/testfile", b"shared");
    let folder = site.path().join("shared");
    let folder = folder.to_str().unwrap();
    for arguments in [&[folder, "0"][..], &["0", folder], &["--port", "0", folder]] {
        let server = RealServer::spawn(server_in(&elsewhere, arguments));
        assert_eq!(get(server.address(), "/testfile").body, b"shared", "{arguments:?}");
    }
    // A directory whose name is a number.
    site.put("8080/testfile", b"numbered");
    let server = RealServer::spawn(server_in(&site, &["./8080", "0"]));
    assert_eq!(get(server.address(), "/testfile").body, b"numbered");
    // What is typed has precedence over the environment.
    let mut typed = server_in(&site, &["shared", "0"]);
    typed.env("CWS_ROOT", "8080").env("CWS_PORT", "1");
    let server = RealServer::spawn(typed);
    assert_eq!(get(server.address(), "/testfile").body, b"shared");
}

fn server_in(site: &Site, arguments: &[&str]) -> Command {
    let mut command = server();
    command.current_dir(site.path()).args(arguments);
    command
}

#[test]
fn an_argument_that_cannot_be_used_is_one_line_that_says_what_to_do() {
    let site = Site::new();
    for (arguments, code, expected) in [
        (&["no-such-folder"][..], 1, "cannot serve no-such-folder: no such directory (create it"),
        (&["testfile"], 1, "cannot serve testfile: not a directory"),
        (&["99999"], 2, "invalid port 99999: a port is a number from 0 to 65535"),
        (&["1", "2"], 2, "2 is a second port: give one directory and one port at most"),
        (&[".", "--root", "."], 2, ". is a second directory"),
        (&[".", ".", "0"], 2, "unexpected value '0'"),
        (
            &["--worker", "2"],
            2,
            "unexpected argument '--worker' found (did you mean --workers? see",
        ),
        (&["--port", "http"], 2, "a port is a number from 0 to 65535"),
    ] {
        let (found, line) = complaint(&mut server_in(&site, arguments));
        assert!(found == Some(code) && line.contains(expected), "{arguments:?}: {found:?} {line}");
        assert!(!line.contains("digit found"), "{line}");
    }
}

#[test]
fn a_wrong_value_from_the_environment_names_its_variable() {
    let site = Site::new();
    for (name, value) in [
        ("CWS_WORKERS", "many"),
        ("CWS_WORKERS", ""),
        ("CWS_PORT", "http"),
        ("CWS_QUIET", "maybe"),
        ("CWS_DELAY", "soon"),
        ("CWS_MIME", "wasm"),
        ("CWS_TRUSTED_PROXY", "10.0.0.0/8,nowhere"),
    ] {
        let (_, line) = complaint(server_in(&site, &[]).env(name, value));
        assert!(line.contains(name), "{name}={value}: {line}");
        // What is typed is not blamed on the environment.
        if name == "CWS_WORKERS" {
            let mut typed = server_in(&site, &["--workers", "none"]);
            let (_, line) = complaint(typed.env(name, "2"));
            assert!(!line.contains(name), "{line}");
        }
    }
    let mut misspelt = server_in(&site, &["0"]);
    misspelt.env("CWS_WORKRES", "2").env("CWS_WORKERS", "2");
    let server = RealServer::spawn(misspelt);
    wait_for("the warning", || {
        server.stderr().contains("environment variable CWS_WORKRES (").then_some(())
    });
    assert!(!server.stderr().contains("variable CWS_WORKERS"), "{}", server.stderr());
    assert_eq!(get(server.address(), "/testfile").body, TESTFILE);
}

#[test]
fn it_says_how_others_reach_it() {
    let site = Site::new();
    let line = |arguments: &[&str], text: &str| {
        let server = RealServer::spawn(server_in(&site, arguments));
        wait_for(text, || {
            server.stderr().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    };
    line(&["0"], "only this machine reaches it: --bind :: opens it to others");
    // Each of the URLs works from here, too; a machine without a network has none.
    let server = RealServer::spawn(server_in(&site, &["0", "--bind", "0.0.0.0"]));
    let told = wait_for("the line", || {
        server.stderr().lines().find(|line| line.contains("reach")).map(str::to_owned)
    });
    for url in told.split_whitespace().filter_map(|word| word.strip_prefix("http://")) {
        let address = url.trim_end_matches('/').parse().unwrap();
        assert_eq!(get(address, "/testfile").body, TESTFILE, "{told}");
    }
    // A code needs an address that others reach.
    line(&["0", "--qr"], "there is no QR code, since only this machine");
}
