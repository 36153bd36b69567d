//! Faults affect only the request or connection in which they occur.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{
    RealServer, Reply, Site, TESTFILE, command, connect, get, listening_address, wait_for,
};
use cws::{Body, CloseReason, Config, Counter, FileSlice, Request, Response, Server, Status};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

/// Panics again when it is dropped, outside the code that guards a handler.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a second panic, on purpose");
    }
}

#[test]
fn a_worker_that_dies_is_replaced() {
    let config = Config::default().workers(2);
    let server = Server::start(config, |request: &Request<'_>| {
        if request.target.raw == b"/die" {
            std::panic::panic_any(Bomb);
        }
        Response::ok("text/plain", "alive")
    });
    let server = server.unwrap();
    let address = server.addresses()[0];
    for _ in 0..5 {
        let mut stream = connect(address);
        stream.write_all(b"GET /die HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        // Its own connection is lost, but no other one.
        let _ = stream.read_to_end(&mut Vec::new());
        assert_eq!(get(address, "/").body, b"alive");
        assert_eq!(get(address, "/").body, b"alive");
    }
    assert_eq!(server.workers_alive(), 2);
    wait_for("the places", || (server.open_connections() == 0).then_some(()));
    let snapshot = server.shutdown().snapshot;
    assert_eq!(snapshot.get(Counter::WorkersReplaced), 5);
    assert_eq!(snapshot.closed_in_all(), snapshot.get(Counter::Accepted));
}

#[test]
fn the_root_may_be_removed() {
    let site = Site::new();
    site.put("root/file", "old");
    let root = site.path().join("root");
    let mut command = command(env!("CARGO_BIN_EXE_server"));
    command.args(["--root", root.to_str().unwrap(), "0"]);
    let mut server = RealServer::spawn(command);
    assert_eq!(get(server.address(), "/file").body, b"old");
    std::fs::remove_dir_all(&root).unwrap();
    let is_gone = |path| (get(server.address(), path).status == 404).then_some(());
    wait_for("the check of the cached file", || is_gone("/file"));
    assert_eq!(get(server.address(), "/").status, 404);
    assert!(server.is_running());
}

fn start_download(server: &RealServer) -> TcpStream {
    let mut stream = connect(server.address());
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut head = [0; 1000];
    stream.read_exact(&mut head).unwrap();
    stream
}

const LARGE: usize = 64 << 20;

/// The sent content is the announced content.
#[test]
fn files_can_be_replaced_or_grow_while_they_are_sent() {
    let site = Site::new();
    let path = site.put("large", vec![b'o'; LARGE]);
    let server = RealServer::start(&site, &["--workers", "1"]);

    let mut download = start_download(&server);
    site.put("new", vec![b'n'; 100]);
    std::fs::rename(site.path().join("new"), &path).unwrap();
    let mut rest = Vec::new();
    download.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > LARGE - 1000 && rest.ends_with(b"oooo"), "the old file to its end");
    assert_eq!(get(server.address(), "/large").body, [b'n'; 100], "the new file from then on");

    site.put("large", vec![b'o'; LARGE]);
    let is_known = || (get(server.address(), "/large").body.len() == LARGE).then_some(());
    wait_for("the check of the cached file", is_known);
    let mut download = start_download(&server);
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"more").unwrap();
    let mut rest = Vec::new();
    download.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < LARGE, "only the announced content");
    assert!(rest.ends_with(b"oooo"));
}

#[test]
fn a_file_cut_while_it_is_sent_ends_its_connection_and_is_logged_by_name() {
    let site = Site::new();
    let path = site.put("large", vec![b'o'; LARGE]);
    let server = RealServer::start(&site, &["--workers", "1", "--quiet"]);
    let mut download = start_download(&server);
    File::options().write(true).open(path).unwrap().set_len(10).unwrap();
    let mut rest = Vec::new();
    let _ = download.read_to_end(&mut rest);
    assert!(rest.len() < LARGE - 1000, "no padding");
    let log = wait_for("the log", || Some(server.stderr()).filter(|log| !log.is_empty()));
    assert!(log.contains("GET /large"), "{log}");
    assert_eq!(get(server.address(), "/testfile").body, TESTFILE);
}

/// The first page of this process's memory is not mapped, so reading that "file" fails.
#[cfg(target_os = "linux")]
#[test]
fn a_read_error_ends_its_connection() {
    let server = Server::start(Config::default().workers(1), |r: &Request<'_>| {
        if r.target.raw != b"/broken" {
            return Response::ok("text/plain", "fine");
        }
        let file = Arc::new(File::open("/proc/self/mem").unwrap());
        let slice = FileSlice { file, offset: 0, length: 1 << 20 };
        Response::new(Status::OK).with_body(Body::File(slice))
    });
    let server = server.unwrap();
    let address = server.addresses()[0];
    let mut stream = connect(address);
    stream.write_all(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.len() < 1000, "the head at most");
    assert_eq!(get(address, "/").body, b"fine");
    assert_eq!(server.snapshot().closed(CloseReason::BodyFailed), 1);
}

#[test]
fn closed_standard_streams_do_not_stop_the_service() {
    let site = Site::new();
    let mut command = command(env!("CARGO_BIN_EXE_server"));
    command.args(["--root", site.path().to_str().unwrap(), "0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = Vec::new();
    let mut stdout = child.stdout.take().unwrap();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    drop((stdout, child.stderr.take()));
    let address = listening_address(std::str::from_utf8(&line).unwrap());
    for _ in 0..100 {
        assert_eq!(get(address, "/testfile").body, TESTFILE);
    }
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Log lines are dropped instead of blocking, and signals are still handled.
#[test]
fn a_blocked_standard_error_delays_no_request() {
    let site = Site::new();
    let mut command = command(env!("CARGO_BIN_EXE_server"));
    command.args(["--root", site.path().to_str().unwrap(), "0"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let address = listening_address(&line);
    let mut stream = connect(address);
    for _ in 0..20_000 {
        stream.write_all(b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut some = [0; 1024];
        let count = stream.read(&mut some).unwrap();
        assert!(some[..count].starts_with(b"HTTP/1.1 200"));
    }
    let killed = std::process::Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    let status = wait_for("the server to exit", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    drop(reader);
}

/// Each request causes a log line of four times its length, and nobody reads the lines.
#[cfg(target_os = "linux")]
#[test]
fn a_blocked_standard_error_takes_little_memory() {
    const REQUESTS: usize = 1000;
    let site = Site::new();
    let mut command = command(env!("CARGO_BIN_EXE_server"));
    command.args(["--root", site.path().to_str().unwrap(), "--access-log", "combined", "0"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let mut stream = connect(listening_address(&line));
    let escaped = "\u{fffd}".repeat(2500);
    let request = format!(
        "GET /testfile HTTP/1.1\r\nHost: a\r\nUser-Agent: {escaped}\r\nReferer: {escaped}\r\n\r\n"
    );
    for _ in 0..REQUESTS {
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream).status, 200);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(reader);
    // All lines together have 59 MiB; at most 4 MiB of them may wait.
    assert!(peak < 32 * 1024, "{peak} KiB at the most");
}

/// The library that changes a program's clock, if it is installed.
#[cfg(target_os = "linux")]
fn clock_changer() -> Option<std::path::PathBuf> {
    crate::support::installed("faketime")?;
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let library = |folder: std::path::PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    let mut libraries = folders.map(|folder| library(folder.unwrap().path()));
    Some(libraries.find(|library| library.exists()).expect("faketime has a library"))
}

/// Deadlines use the monotonic clock; the wall clock is only for dates. One of two servers has a
/// long idle timeout, the other one a long header timeout. Each shows by closing other connections
/// that it has checked its deadlines since the clock was changed.
#[cfg(target_os = "linux")]
#[test]
fn no_deadline_depends_on_the_wall_clock() {
    const HOUR: Duration = Duration::from_secs(3600);
    const REQUEST: &[u8] = b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n";
    let Some(library) = clock_changer() else { return };
    let site = Site::new();
    let offset = site.path().join(".offset");
    let set_clock = |by: &str| {
        // Replace it in one step, because it is read repeatedly.
        let new = site.path().join(".new");
        std::fs::write(&new, by).unwrap();
        std::fs::rename(new, &offset).unwrap();
    };
    set_clock("+0");
    let start = |timeouts: [&str; 4]| {
        let mut command = command(env!("CARGO_BIN_EXE_server"));
        command.args(["--root", site.path().to_str().unwrap(), "0"]).args(timeouts);
        command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &offset);
        command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
        command.envs([("DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")]);
        RealServer::spawn(command)
    };
    let open = |server: &RealServer, bytes: &[u8]| {
        let mut stream = connect(server.address());
        stream.write_all(bytes).unwrap();
        stream
    };
    let to_idle = start(["--idle-timeout", "1h", "--header-timeout", "100ms"]);
    let to_heads = start(["--idle-timeout", "100ms", "--header-timeout", "1h"]);
    let date = |server: &RealServer| {
        let reply = get(server.address(), "/testfile");
        httpdate::parse_http_date(reply.field("Date").unwrap()).unwrap()
    };
    let begun = date(&to_idle);
    let mut idle = open(&to_idle, REQUEST);
    assert_eq!(Reply::read(&mut idle).status, 200);
    let mut half = open(&to_heads, &REQUEST[..10]);
    for (clock, hours) in [("+5h", 5), ("-5h", -5), ("+0", 0)] {
        set_clock(clock);
        for server in [&to_idle, &to_heads] {
            wait_for("the step of the clock", || {
                let noon = date(server) + 12 * HOUR;
                let passed = noon.duration_since(begun).unwrap().as_secs() / 60;
                // To half an hour.
                passed.abs_diff((12 * 60 + hours * 60) as u64).lt(&30).then_some(())
            });
        }
        let mut ended = open(&to_idle, &REQUEST[..10]);
        assert_eq!(Reply::read(&mut ended).status, 408, "the clock at {clock}");
        idle.write_all(REQUEST).unwrap();
        assert_eq!(Reply::read(&mut idle).status, 200, "idle, the clock at {clock}");
        let mut ended = open(&to_heads, REQUEST);
        assert_eq!(Reply::read(&mut ended).status, 200);
        assert_eq!(ended.read_to_end(&mut Vec::new()).unwrap(), 0, "the clock at {clock}");
    }
    half.write_all(&REQUEST[10..]).unwrap();
    assert_eq!(Reply::read(&mut half).status, 200, "half a head");
}
