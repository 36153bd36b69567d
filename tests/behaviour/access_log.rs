//! The access log: common tools can read its lines, whatever clients send, and no line is lost.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{RealServer, Reply, Site, connect, exchange, get, wait_for};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A line of the Combined Log Format, parsed as a log tool does it.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    client: String,
    user: String,
    time: String,
    request: Vec<u8>,
    status: u16,
    bytes: u64,
    referer: Vec<u8>,
    agent: Vec<u8>,
}

/// Removes a quoted and escaped part from the front.
fn quoted(text: &str) -> (Vec<u8>, &str) {
    let text = text.strip_prefix('"').unwrap_or_else(|| panic!("a quote: {text}"));
    let mut bytes = Vec::new();
    let mut rest = text.bytes().enumerate();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'"' => return (bytes, text[at + 1..].trim_start()),
            b'\\' => match rest.next().unwrap().1 {
                b'x' => {
                    let digits = [rest.next().unwrap().1, rest.next().unwrap().1];
                    let digits = std::str::from_utf8(&digits).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                }
                escaped => bytes.push(escaped),
            },
            byte => bytes.push(byte),
        }
    }
    panic!("no end of the quotes: {text}");
}

fn parse(line: &str) -> Line {
    let mut words = line.splitn(4, ' ');
    let (client, ident) = (words.next().unwrap(), words.next().unwrap());
    assert_eq!(ident, "-");
    let (user, rest) = (words.next().unwrap(), words.next().unwrap());
    let (time, rest) = rest.strip_prefix('[').unwrap().split_once("] ").unwrap();
    let (request, rest) = quoted(rest);
    let mut words = rest.splitn(3, ' ');
    let status = words.next().unwrap().parse().unwrap();
    let bytes = words.next().unwrap().parse().unwrap();
    let (referer, rest) = quoted(words.next().unwrap_or("\"-\" \"-\""));
    let (agent, rest) = quoted(rest);
    assert_eq!(rest, "", "nothing follows");
    let (client, user, time) = (client.to_owned(), user.to_owned(), time.to_owned());
    Line { client, user, time, request, status, bytes, referer, agent }
}

/// The lines of a log, as soon as there are this many.
fn lines(path: &Path, count: usize) -> Vec<String> {
    wait_for("the lines", || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    })
}

#[test]
fn combined_lines_can_be_parsed_whatever_clients_send() {
    let site = Site::new();
    let log = site.path().join("log");
    let server = RealServer::start(&site, &["--access-log-file", log.to_str().unwrap(), "-q"]);
    type Row<'a> = (&'a [u8], &'a [u8], u16, &'a [u8]);
    let requests: &[Row<'_>] = &[
        (b"GET /testfile HTTP/1.1", b"curl/8", 200, b"http://a/"),
        (b"GET /testfile?a=\"b\" HTTP/1.1", b"it's \"quoted\" \\ here", 200, b"-"),
        (b"GET /no\xff\xfesuch HTTP/1.1", b"\xf0\x9f\xa6\x80 crab", 404, b"x y"),
        (b"GET /%0a127.0.0.1 HTTP/1.1", b"\" 200 5 \"-\" \"fake", 404, b"\\\""),
        (b"BREW / HTTP/1.1", b"-", 501, b"-"),
    ];
    for (line, agent, _, referer) in requests {
        let request = [
            line,
            &b"\r\nHost: a\r\nConnection: close\r\nUser-Agent: "[..],
            agent,
            b"\r\nReferer: ",
            referer,
            b"\r\nAuthorization: Basic YW5uOng=\r\n\r\n",
        ];
        exchange(server.address(), &request.concat());
    }
    let lines = lines(&log, requests.len());
    assert_eq!(lines.len(), requests.len());
    for (request, agent, status, referer) in requests {
        // Several threads write lines, so the order is not that of the requests.
        let is_it = |line: &&String| parse(line).request.as_slice() == *request;
        let line = lines.iter().find(is_it).unwrap();
        let parsed = parse(line);
        assert_eq!(parsed.status, *status, "{line}");
        assert_eq!(parsed.client, "127.0.0.1");
        if *status != 501 {
            assert_eq!((&parsed.agent[..], &parsed.referer[..]), (*agent, *referer), "{line}");
            assert_eq!(parsed.user, "ann");
        }
        let offset = parsed.time.strip_suffix(" +0000").unwrap();
        assert_eq!(offset.len(), "23/Nov/2026:06:50:11".len(), "{line}");
    }
    assert_eq!(parse(&lines[0]).bytes, crate::support::TESTFILE.len() as u64, "without the head");
}

#[test]
fn the_format_is_the_requested_one() {
    let site = Site::new();
    for (form, start) in [("common", "127.0.0.1 - - ["), ("json", "{"), ("brief", "[")] {
        let server = RealServer::start(&site, &["--access-log", form]);
        get(server.address(), "/testfile");
        let line = wait_for("the line", || {
            server.stderr().lines().find(|line| line.contains("GET /testfile")).map(str::to_owned)
        });
        assert!(line.starts_with(start), "{form}: {line}");
        match form {
            "common" => drop(parse(&line)),
            "json" => {
                let json: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(json["status"], 200);
                assert_eq!(json["bytes"], 13);
                for time in ["queue_wait_us", "handle_us", "response_write_us", "worker"] {
                    assert!(json[time].is_u64(), "{time} in {line}");
                }
            }
            _ => {}
        }
    }
    let server = RealServer::start(&site, &["--access-log", "off"]);
    get(server.address(), "/testfile");
    wait_for("the start line", || server.stderr().contains("serving").then_some(()));
    assert!(!server.stderr().contains("GET"));
    let quiet = RealServer::start(&site, &["--quiet", "--access-log", "common"]);
    get(quiet.address(), "/testfile");
    let log = wait_for("the line", || Some(quiet.stderr()).filter(|log| !log.is_empty()));
    assert_eq!(log.lines().count(), 1, "only the access line: {log}");
}

#[test]
fn logged_bytes_are_the_sent_bytes() {
    let site = Site::new();
    site.put("large", vec![b'x'; 64 << 20]);
    let log = site.path().join("log");
    let server = RealServer::start(&site, &["--access-log-file", log.to_str().unwrap()]);
    exchange(server.address(), b"HEAD /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut cut = connect(server.address());
    cut.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    std::io::Read::read_exact(&mut cut, &mut [0; 1000]).unwrap();
    drop(cut);
    let lines = lines(&log, 2);
    assert_eq!(parse(&lines[0]).bytes, 0, "HEAD");
    let bytes = parse(&lines[1]).bytes;
    assert!((1..64 << 20).contains(&bytes), "a part: {bytes}");
}

/// The file is renamed, and then the server gets SIGHUP, as from logrotate. No line is lost or cut.
#[test]
fn the_file_is_reopened_under_load_and_nothing_is_lost() {
    const CLIENTS: usize = 4;
    const REQUESTS: usize = 500;
    const ROTATIONS: usize = 3;
    let site = Site::new();
    let log = site.path().join("log");
    let mut server = RealServer::start(&site, &["--access-log-file", log.to_str().unwrap(), "-q"]);
    let address = server.address();
    let rotations = AtomicUsize::new(0);
    let sent: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let rotations = &rotations;
                scope.spawn(move || {
                    let mut stream = connect(address);
                    // The server may be slow to make the file anew.
                    let mut number = 0;
                    while number < REQUESTS || rotations.load(SeqCst) < ROTATIONS {
                        let path = format!("/testfile?{client}-{number}");
                        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                        Reply::read(&mut stream);
                        number += 1;
                        assert!(number < 1000 * REQUESTS, "the file is not reopened");
                    }
                    number
                })
            })
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            if log.exists() {
                let number = rotations.load(SeqCst) + 1;
                std::fs::rename(&log, site.path().join(format!("log.{number}"))).unwrap();
                server.signal("HUP");
                rotations.store(number, SeqCst);
            }
            std::thread::yield_now();
        }
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "the server exits cleanly");
    let mut seen: Vec<Vec<u8>> = std::fs::read_dir(site.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log"))
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().map(|line| parse(line).request).collect::<Vec<_>>()
        })
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), sent);
}

#[test]
fn a_log_that_cannot_be_opened_is_a_clear_error() {
    let mut command = crate::support::command(env!("CARGO_BIN_EXE_server"));
    let output = command.args(["--access-log-file", "/no/such/dir/log", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("cannot log to /no/such/dir/log"), "{line}");
}

/// Creates a FIFO, and opens it for reading if `is_read`.
fn fifo(path: &Path, is_read: bool) -> Option<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let done = std::process::Command::new("mkfifo").arg(path).status();
    assert!(done.unwrap().success());
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let open = || std::fs::File::options().read(true).custom_flags(nonblock).open(path).unwrap();
    is_read.then(open)
}

#[test]
fn a_fifo_without_a_reader_is_an_error_at_once() {
    let site = Site::new();
    let log = site.path().join("fifo");
    fifo(&log, false);
    let mut command = crate::support::command(env!("CARGO_BIN_EXE_server"));
    command.args(["--access-log-file", log.to_str().unwrap(), "0"]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("its end", || child.try_wait().unwrap())
    }));
    let _ = child.kill();
    assert_eq!(ended.expect("an end by itself").code(), Some(1));
    let line = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    let expected =
        format!("server: cannot log to {}: this FIFO has no reader (start its ", log.display());
    assert!(line.starts_with(&expected) && line.lines().count() == 1, "{line}");
}

/// SIGHUP reopens the FIFO, which fails after its reader has closed it.
#[test]
fn a_fifo_that_is_read_gets_the_lines() {
    let site = Site::new();
    let log = site.path().join("fifo");
    let mut reader = fifo(&log, true).unwrap();
    let mut server = RealServer::start(&site, &["--access-log-file", log.to_str().unwrap()]);
    let mut line = |path: &str| {
        get(server.address(), path);
        let mut text = Vec::new();
        wait_for("a line", || {
            let mut some = [0; 1024];
            // A read fails while the FIFO is empty.
            let count = std::io::Read::read(&mut reader, &mut some).unwrap_or_default();
            text.extend_from_slice(&some[..count]);
            text.ends_with(b"\n").then_some(())
        });
        parse(std::str::from_utf8(&text).unwrap().trim_end()).request
    };
    assert_eq!(line("/one"), b"GET /one HTTP/1.1");
    server.signal("HUP");
    assert_eq!(line("/two"), b"GET /two HTTP/1.1");
    drop(reader);
    wait_for("the error message", || {
        // Repeat it: a process started by another test may inherit the reader for a moment.
        server.signal("HUP");
        let log = server.stderr();
        log.contains("cannot reopen").then_some(())
    });
    assert_eq!(get(server.address(), "/testfile").status, 200);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

/// The device is always full.
#[cfg(target_os = "linux")]
#[test]
fn lines_lost_at_the_end_are_reported() {
    let site = Site::new();
    let mut server = RealServer::start(&site, &["--access-log-file", "/dev/full", "--quiet"]);
    for _ in 0..20 {
        get(server.address(), "/testfile");
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(lost_lines(&server.stderr()), 20, "{}", server.stderr());
}

/// The number of lost lines that the server reported.
fn lost_lines(log: &str) -> usize {
    log.lines()
        .filter_map(|line| line.strip_suffix(" lines were lost"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum()
}

/// A temporary file system, unmounted on drop. `None` if mounting is not allowed.
#[cfg(target_os = "linux")]
struct SmallDisk(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(place: &Path, options: &str) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(place);
        let is_done = mount.output().is_ok_and(|output| output.status.success());
        is_done.then(|| Self(place.to_owned()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The disk fills up and gets room again. All lines in the file are complete, and missing ones are
/// counted.
#[cfg(target_os = "linux")]
#[test]
#[allow(clippy::print_stderr)]
fn a_full_disk_loses_whole_lines_and_counts_them() {
    const SIZE: u64 = 64 * 1024;
    let site = Site::new();
    let place = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(place.path(), &format!("size={SIZE}")) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let (filler, log) = (place.path().join("filler"), place.path().join("log"));
    std::fs::write(&filler, vec![0; SIZE as usize / 2]).unwrap();
    let mut server = RealServer::start(&site, &["--access-log-file", log.to_str().unwrap()]);
    let mut stream = connect(server.address());
    let mut sent = 0;
    let mut ask = |count: usize| {
        for _ in 0..count {
            // Lines of varying lengths, so that the disk gets full within a line.
            let padding = "x".repeat(sent % 7);
            write!(stream, "GET /testfile?{sent}&{padding} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            Reply::read(&mut stream);
            sent += 1;
        }
    };
    ask(SIZE as usize / 2 / 60);
    wait_for("a full disk", || {
        ask(10);
        (std::fs::metadata(&log).unwrap().len() == SIZE / 2).then_some(())
    });
    ask(20);
    std::fs::remove_file(&filler).unwrap();
    ask(50);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    let whole = |line: &str| {
        let Line { client, time, request, status, agent, .. } = parse(line);
        // The two halves of different lines may look like a line, but with wrong lengths.
        assert_eq!((client.as_str(), status, &agent[..]), ("127.0.0.1", 200, &b"-"[..]), "{line}");
        assert_eq!(time.len(), "23/Nov/2026:06:50:11 +0000".len(), "{line}");
        let number = String::from_utf8(request).unwrap();
        let number = number.strip_prefix("GET /testfile?").and_then(|rest| rest.split_once('&'));
        let (number, rest) = number.unwrap_or_else(|| panic!("{line}"));
        let number: usize = number.parse().unwrap();
        assert_eq!(rest, format!("{} HTTP/1.1", "x".repeat(number % 7)), "{line}");
        number
    };
    let found: Vec<usize> = text.lines().map(whole).collect();
    assert!(found.is_sorted_by(|one, other| one < other), "each line once, in order");
    assert!(text.ends_with('\n') && found.len() > 50, "{} lines", found.len());
    assert_eq!(found.last(), Some(&(sent - 1)), "the log continues after the gap");
    let told = server.stderr();
    let lost = lost_lines(&told);
    assert!(lost > 0, "{told}");
    assert_eq!(found.len() + lost, sent, "{told}");
}
