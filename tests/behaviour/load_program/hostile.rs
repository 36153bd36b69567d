//! Servers that are slow, cut, or send without end: `load` ends, with bounded memory.

use super::program::{load, text};
use lab::saved::Saved;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// A server that reads a head and then does this with the connection.
fn server(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serve = std::sync::Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let serve = std::sync::Arc::clone(&serve);
            thread::spawn(move || {
                stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => return,
                    }
                }
                serve(&mut stream);
            });
        }
    });
    url
}

/// The most memory in bytes that a process has held so far, where the system says so.
fn most_memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// The number of requests by the answer, and the most memory.
fn outcome(url: &str) -> (Vec<(String, u64)>, usize) {
    let mut command = load();
    command.args(["-n", "20", "--rate", "1000", "--patience", "400ms", "--json", "-"]);
    command.arg(url).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(most_memory(child.id()));
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let saved: Saved = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code().filter(|code| [1, 3].contains(code)), output.status.code());
    let said = text(&output.stderr);
    assert!(said.contains("20 of 20 requests failed, 100.00 %"), "{said}");
    assert_eq!((saved.latency.percentiles["50"], saved.successes), (None, 0));
    (saved.answers.into_iter().collect(), most)
}

const MEMORY_MOST: usize = 64 << 20;

#[test]
fn every_kind_of_failure_has_its_name() {
    let trickling = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(b"y").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let silent = server(|_| thread::park_timeout(crate::support::PATIENCE));
    let closing = server(|_| {});
    let cutting = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    });
    let rows = [
        (trickling, "out of patience"),
        (silent, "out of patience"),
        (closing, "closed without an answer"),
        (cutting, "closed within the response"),
    ];
    for (url, expected) in rows {
        let (answers, most) = outcome(&url);
        assert_eq!(answers, [(expected.to_owned(), 20)], "{url}");
        assert!(most < MEMORY_MOST, "{most}");
    }
}

#[test]
fn responses_without_an_end_take_no_memory() {
    let giant_head = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
    });
    let endless_body = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'a'; 65536]).is_ok() {}
    });
    let rows = [(giant_head, "not an HTTP response"), (endless_body, "out of patience")];
    for (url, expected) in rows {
        let (answers, most) = outcome(&url);
        assert_eq!(answers, [(expected.to_owned(), 20)]);
        assert!(most < MEMORY_MOST, "{most}");
    }
}
