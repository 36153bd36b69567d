//! Attacks on the root directory: no file outside it is ever served.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, Site, TESTFILE, exchange, get};
use cws::{Config, Server, StaticFiles};
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const SECRET: &[u8] = b"a secret outside of the root";

/// A root inside a directory that also holds a secret, with many kinds of links out of the root.
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
    let files = StaticFiles::new(site.path().join("root")).unwrap().with_hidden(hidden);
    Server::start(Config::default().workers(1), files).unwrap()
}

fn ask_raw(address: SocketAddr, target: &[u8]) -> Vec<u8> {
    exchange(address, &[b"GET ", target, b" HTTP/1.0\r\n\r\n"].concat())
}

#[test]
fn no_request_target_leads_out_of_the_root() {
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
        let reply = ask_raw(address, way);
        let leaked = reply.windows(8).any(|bytes| bytes == &SECRET[..8] || bytes == b"root:x:0");
        assert!(!leaked, "{shown} leaks");
        let replies = Reply::all(&reply, false);
        assert_eq!(replies.len(), 1, "{shown}");
        assert!(matches!(replies[0].status, 400 | 403 | 404), "{shown}: {}", replies[0].status);
    }
    // The only worker survived all of these, the FIFO and the device included.
    assert_eq!(get(address, "/testfile").body, TESTFILE);
}

/// A process that opens a FIFO for writing waits for a reader. A server that opened the FIFO only
/// to check its type would unblock it.
#[test]
#[cfg(target_os = "linux")]
fn a_fifo_is_never_opened() {
    let site = hostile_site();
    let fifo = site.path().join("root/fifo");
    symlink("fifo", site.path().join("root/link")).unwrap();
    symlink("fifo", site.path().join("root/dir/index.html")).unwrap();
    let server = start(&site, false);
    let opened = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = std::sync::mpsc::channel();
    let writer = std::thread::spawn({
        let (fifo, opened) = (fifo.clone(), Arc::clone(&opened));
        move || {
            sender.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
            let mut file = File::options().write(true).open(fifo).unwrap();
            opened.store(true, SeqCst);
            file.write_all(b"for a reader")
        }
    });
    let stat = format!("/proc/self/task/{}/stat", receiver.recv().unwrap());
    crate::support::wait_for("the writer to wait", || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        let state = stat.rsplit(") ").next().unwrap().as_bytes()[0];
        (state == b'S').then_some(())
    });
    for _ in 0..10 {
        for path in ["/fifo", "/link", "/dir/"] {
            let status = get(server.addresses()[0], path).status;
            assert!(matches!(status, 200 | 403), "{path}: {status}");
        }
    }
    assert_eq!(get(server.addresses()[0], "/fifo").status, 403);
    assert!(!opened.load(SeqCst), "the writer still waits for a reader");
    let mut content = String::new();
    File::open(&fifo).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "for a reader");
    writer.join().unwrap().expect("a reader");
}

/// The server keeps serving the directory that it opened at start, even if another one gets its
/// name.
#[test]
fn a_directory_that_replaces_the_root_is_not_served() {
    for follows in [false, true] {
        let site = hostile_site();
        let root = site.path().join("root");
        let files = StaticFiles::new(&root).unwrap();
        let files = if follows { files.following_links() } else { files };
        let server = Server::start(Config::default().workers(1), files).unwrap();
        std::fs::rename(&root, site.path().join("moved")).unwrap();
        site.put("root/testfile", SECRET);
        site.put("root/secret", SECRET);
        let address = server.addresses()[0];
        assert_eq!(get(address, "/testfile").body, TESTFILE, "follows: {follows}");
        assert_eq!(get(address, "/secret").status, 404, "follows: {follows}");
        let listing = String::from_utf8(get(address, "/").body).unwrap();
        assert!(listing.contains(">dir<") && !listing.contains(">secret<"), "follows: {follows}");
    }
}

#[test]
fn links_that_stay_inside_are_followed() {
    let site = hostile_site();
    let server = start(&site, false);
    assert_eq!(get(server.addresses()[0], "/inside").body, b"inside");
}

#[test]
fn hidden_names_are_served_only_if_configured() {
    let site = hostile_site();
    for (hidden, status) in [(false, 404), (true, 200)] {
        let server = start(&site, hidden);
        for path in ["/.hidden", "/.git/config", "/%2ehidden", "/dir/../.git/config"] {
            assert_eq!(get(server.addresses()[0], path).status, status, "{path}");
        }
    }
}

#[test]
fn an_unreadable_file_is_forbidden_and_a_removed_root_is_not_found() {
    use std::os::unix::fs::PermissionsExt;
    let site = hostile_site();
    let path = site.put("root/locked", "locked");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let is_superuser = std::fs::read(&path).is_ok();
    let server = start(&site, false);
    let status = get(server.addresses()[0], "/locked").status;
    assert_eq!(status, if is_superuser { 200 } else { 403 });
    std::fs::remove_dir_all(site.path().join("root")).unwrap();
    assert_eq!(get(server.addresses()[0], "/testfile").status, 404, "the root is gone");
}
