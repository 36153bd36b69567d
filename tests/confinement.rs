//! Attacks on the root: nothing outside it is ever served.
#![allow(clippy::unwrap_used)]

mod support;

use cws::{Config, Server, StaticFiles};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use support::{Reply, Site, TESTFILE, exchange, get};

const SECRET: &[u8] = b"a secret outside of the root";

/// A root inside a directory that also holds a secret, with all kinds of ways out in it.
fn hostile_site() -> Site {
    let site = Site::new();
    site.put("secret", SECRET);
    site.put("root/testfile", TESTFILE);
    site.put("root/.hidden", "hidden");
    site.put("root/.git/config", "hidden");
    site.put("root/dir/file", "inside");
    let root = site.path().join("root");
    symlink(site.path().join("secret"), root.join("absolute")).unwrap();
    symlink("../secret", root.join("relative")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/", root.join("slash")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("/proc/self/fd/0", root.join("descriptor")).unwrap();
    symlink("dir/file", root.join("inside")).unwrap();
    symlink("../root/testfile", root.join("out_and_in")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/dev/zero", root.join("zero")).unwrap();
    let fifo = Command::new("mkfifo").arg(root.join("fifo")).status().unwrap();
    assert!(fifo.success());
    UnixListener::bind(root.join("socket")).unwrap();
    site
}

fn start(site: &Site, hidden: bool) -> Server {
    let files = StaticFiles::new(&site.path().join("root")).unwrap().with_hidden(hidden);
    Server::start(Config { workers: 1, ..Config::default() }, files).unwrap()
}

fn ask_as_the_exercise(address: SocketAddr, target: &[u8]) -> Vec<u8> {
    exchange(address, &[b"GET ", target, b" HTTP/1.0\r\n\r\n"].concat())
}

#[test]
fn no_target_leads_out() {
    let site = hostile_site();
    let server = start(&site, true);
    let address = server.addresses()[0];
    let ways: &[&[u8]] = &[
        b"/../secret",
        b"../secret",
        b"/dir/../../secret",
        b"/%2e%2e/secret",
        b"/%2E./secret",
        b"/.%2e/secret",
        b"/%2e%2e%2fsecret",
        b"/..%2fsecret",
        b"/..%5csecret",
        b"/..\\secret",
        b"..\\secret",
        b"/..%00/secret",
        b"/testfile%00/../../secret",
        b"/%c0%ae%c0%ae/secret",
        b"/%e0%80%ae%e0%80%ae/secret",
        b"/%252e%252e/secret",
        b"/..;/secret",
        b"/....//secret",
        b"//../secret",
        b"/dir//..//..//secret",
        b"http://host/../secret",
        b"/absolute",
        b"/relative",
        b"/up/secret",
        b"/up/root/../secret",
        b"/slash/etc/passwd",
        b"/magic/etc/passwd",
        b"/descriptor",
        b"/out_and_in/../../secret",
        b"/etc/passwd",
        b"//etc/passwd",
        b"/proc/self/environ",
        b"/zero",
        b"/fifo",
        b"/socket",
        b"/loop",
    ];
    for way in ways {
        let shown = way.escape_ascii();
        let reply = ask_as_the_exercise(address, way);
        let leaked = reply.windows(8).any(|bytes| bytes == &SECRET[..8] || bytes == b"root:x:0");
        assert!(!leaked, "{shown} leaks");
        let replies = Reply::all(&reply, false);
        assert_eq!(replies.len(), 1, "{shown}");
        assert!(matches!(replies[0].status, 400 | 403 | 404), "{shown}: {}", replies[0].status);
    }
    // One worker survived them all, the FIFO and the device too.
    assert_eq!(get(address, "/testfile").body, TESTFILE);
}

#[test]
fn links_that_stay_inside_are_followed() {
    let site = hostile_site();
    let server = start(&site, false);
    assert_eq!(get(server.addresses()[0], "/inside").body, b"inside");
}

#[test]
fn hidden_names_are_served_on_request_alone() {
    let site = hostile_site();
    for (hidden, status) in [(false, 404), (true, 200)] {
        let server = start(&site, hidden);
        for path in ["/.hidden", "/.git/config", "/%2ehidden", "/dir/../.git/config"] {
            assert_eq!(get(server.addresses()[0], path).status, status, "{path}");
        }
    }
}

#[test]
fn what_may_not_be_read_is_forbidden_or_missing() {
    use std::os::unix::fs::PermissionsExt;
    let site = hostile_site();
    let path = site.put("root/locked", "locked");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let readable_all_the_same = std::fs::read(&path).is_ok();
    let server = start(&site, false);
    let status = get(server.addresses()[0], "/locked").status;
    assert_eq!(status, if readable_all_the_same { 200 } else { 403 });
    std::fs::remove_dir_all(site.path().join("root")).unwrap();
    assert_eq!(get(server.addresses()[0], "/testfile").status, 404, "the root is gone");
}
