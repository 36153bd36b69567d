//! The link of `versus`: its arithmetic, and the delay and the rate of a real one.
#![cfg(all(target_os = "linux", feature = "cli"))]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../../examples/versus/link/mod.rs"]
mod program;

use program::{Conditions, Link};
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A link, or a message that the test is skipped where nobody can make one.
fn open(conditions: &str) -> Option<(Link, Conditions)> {
    let is_possible = rustix::process::geteuid().is_root() && Path::new("/dev/net/tun").exists();
    if !is_possible {
        eprintln!("skipped: a link needs root and /dev/net/tun");
        return None;
    }
    let conditions = conditions.parse().unwrap();
    match Link::open(conditions) {
        Ok(link) => Some((link, conditions)),
        // In a container, root may lack the privilege.
        Err(reason) if reason.contains("not permitted") => {
            eprintln!("skipped: {reason}");
            None
        }
        Err(reason) => panic!("{reason}"),
    }
}

fn namespace() -> PathBuf {
    fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn a_round_trip_takes_twice_the_delay() {
    let Some((link, conditions)) = open("1gbit,20ms") else { return };
    let listener = link.at_servers(|| TcpListener::bind((Link::SERVER, 0))).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let echo = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut byte = [0];
        while stream.read(&mut byte).unwrap() == 1 {
            stream.write_all(&byte).unwrap();
        }
    });
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    assert!(start.elapsed() >= 2 * conditions.delay, "the handshake: {:?}", start.elapsed());
    stream.set_nodelay(true).unwrap();
    for number in 0..3 {
        let start = Instant::now();
        stream.write_all(&[number]).unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number]);
        assert!(start.elapsed() >= 2 * conditions.delay, "{:?}", start.elapsed());
    }
    drop(stream);
    echo.join().unwrap();
}

#[test]
fn a_transfer_does_not_exceed_the_rate_and_loses_no_byte() {
    const BYTES: usize = 4 * 1024 * 1024;
    let Some((link, conditions)) = open("100mbit,1ms") else { return };
    let listener = link.at_servers(|| TcpListener::bind((Link::SERVER, 0))).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let content: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let sent = content.clone();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&sent).unwrap();
    });
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    let least = Duration::from_secs_f64(BYTES as f64 * 8.0 / conditions.rate as f64);
    assert!(start.elapsed() >= least, "{:?} instead of {least:?}", start.elapsed());
    assert!(received == content, "{} bytes of {BYTES}", received.len());
    server.join().unwrap();
}

#[test]
fn the_ends_are_apart_and_nothing_is_left() {
    let before = namespace();
    let Some((link, _)) = open("1gbit,1ms") else { return };
    assert_eq!(link.to_string(), "a link of 1000 Mbit/s with 1ms each way");
    let (clients, servers) = (namespace(), link.at_servers(namespace).unwrap());
    assert!(clients != before && servers != before && clients != servers);
    let child = || {
        let output = Command::new("readlink").arg("/proc/self/ns/net").output();
        PathBuf::from(String::from_utf8(output.unwrap().stdout).unwrap().trim())
    };
    assert_eq!(link.at_servers(child).unwrap(), servers, "a process at the servers");
    assert_eq!(child(), clients, "a process at the clients");
    drop(link);
    assert_eq!(namespace(), before);
    assert!(open("1gbit,1ms").is_some(), "another one can be made at once");
}

#[test]
fn a_link_that_cannot_be_made_says_what_it_needs() {
    use rustix::process::{Uid, geteuid};
    // A user without privileges, whoever runs the test. Only this thread gets that user's number.
    let nobody = Uid::from_raw(65534);
    let attempt = thread::spawn(move || {
        if geteuid().is_root() {
            rustix::thread::set_thread_uid(nobody).unwrap();
        }
        Link::open("1gbit,1ms".parse().unwrap()).map(drop)
    });
    let reason = attempt.join().unwrap().unwrap_err();
    assert!(reason.contains("root") && reason.contains("iproute2"), "{reason}");
}

/// The comparison over a link: the load goes over it, and so do the checks of the responses.
#[test]
fn a_comparison_over_a_link_has_its_round_trip() {
    let Some((link, _)) = open("1gbit,1ms") else { return };
    drop(link);
    // What takes the processor takes a link of packets from user space with it.
    let _permit = crate::permit::Permit::alone();
    let this = env::current_exe().unwrap();
    let program = this.parent().unwrap().parent().unwrap().join("examples/versus");
    assert!(program.exists(), "{}: run cargo build --examples", program.display());
    let csv = tempfile::NamedTempFile::new().unwrap();
    let mut versus = Command::new(program);
    versus.args(["--server", env!("CARGO_BIN_EXE_server"), "--quick", "--link", "1gbit,20ms"]);
    versus.args(["--cases", "10m-1", "--servers", "again", "--csv"]);
    let output = versus.arg(csv.path()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) {
        eprintln!("skipped: {message}");
        return;
    }
    assert!(output.status.success(), "{message}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("over a link of 1000 Mbit/s with 20ms each way"), "{stdout}");
    let csv = fs::read_to_string(csv.path()).unwrap();
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let heads = lines.next().unwrap();
    let column = |name| heads.iter().position(|head| *head == name).unwrap();
    let (median, rate) = (column("p50_us"), column("requests_per_second"));
    let mut count = 0;
    for cells in lines {
        // A round trip, and the time that 10 MiB take.
        let least = 40_000.0 + 8.0 * f64::from(10 << 20) / 1e9 * 1e6;
        assert!(cells[median].parse::<f64>().unwrap() >= least, "{cells:?}");
        assert!(cells[rate].parse::<f64>().unwrap() <= 1e6 / least, "{cells:?}");
        count += 1;
    }
    assert_eq!(count, 2, "{csv}");
}
