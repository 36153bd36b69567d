//! The example of a service, run as a program and asked for all that it serves.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::{Reply, connect, get};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// The running program; it ends with this.
struct Api {
    child: Child,
    address: SocketAddr,
}

impl Api {
    fn start(folder: &std::path::Path) -> Self {
        let this = std::env::current_exe().unwrap();
        let program = this.parent().unwrap().parent().unwrap().join("examples").join("api");
        let mut command = Command::new(program);
        let mut child =
            command.arg(folder).arg("0").stdout(Stdio::piped()).spawn().expect("the program");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on http://").expect("the line");
        Self { child, address: url.trim_end_matches('/').parse().unwrap() }
    }

    fn post(&self, path: &str, body: &[u8]) -> Reply {
        let mut stream = connect(self.address);
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        Reply::read(&mut stream)
    }

    fn json(&self, path: &str) -> Value {
        let reply = get(self.address, path);
        assert_eq!((reply.status, reply.field("Content-Type")), (200, Some("application/json")));
        serde_json::from_slice(&reply.body).unwrap()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn the_service_answers_on_all_its_routes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "a file\n").unwrap();
    let api = Api::start(folder.path());

    let milk = json!({ "title": "buy milk", "text": "two bottles" });
    let tea = json!({ "title": "tea \u{e9}", "text": "" });
    for (number, note) in [&milk, &tea].into_iter().enumerate() {
        let made = api.post("/notes", note.to_string().as_bytes());
        let place = format!("/notes/{number}");
        assert_eq!((made.status, made.field("Location")), (201, Some(&place[..])));
        assert_eq!(api.json(&place), *note);
    }
    assert_eq!(api.json("/notes"), json!([milk, tea]));
    assert_eq!(api.json("/notes?q=buy+m"), json!([milk]));
    assert_eq!(api.json("/notes?q=%C3%A9"), json!([tea]));
    for (body, status) in [(&b"{\"title\":1}"[..], 422), (&[b' '; (64 << 10) + 1], 413)] {
        assert_eq!(api.post("/notes", body).status, status);
    }
    assert_eq!(api.json("/notes").as_array().unwrap().len(), 2, "what is refused is not added");
    for path in ["/notes/2", "/notes/x", "/nowhere"] {
        assert_eq!(get(api.address, path).status, 404, "{path}");
    }
    assert_eq!(api.post("/notes/0", b"").status, 405);

    let worker = api.json("/worker");
    assert!(worker["worker"].as_u64() > Some(0) && worker["served"].as_u64() > Some(0), "{worker}");
    assert_eq!(get(api.address, "/static/a.txt").body, b"a file\n");
    assert_eq!(get(api.address, "/static").field("Location"), Some("./static/"));
    assert_eq!(get(api.address, "/healthz").body, b"alive\n");
    let mut stream = connect(api.address);
    let head = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", api.address);
    stream.write_all(head.as_bytes()).unwrap();
    let metrics = String::from_utf8(Reply::read(&mut stream).body).unwrap();
    assert!(metrics.contains("cws_connections_accepted_total "), "{metrics}");
}

/// A stream of unknown length is chunked for 1.1 and ends with its connection for 1.0.
#[test]
fn a_stream_comes_whole() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    for (version, field) in [("1.1", "Transfer-Encoding: chunked"), ("1.0", "Connection: close")] {
        let mut stream = connect(api.address);
        let head =
            format!("GET /count/20000 HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        let (head, content) = all.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(field), "{head}");
        let content = if version == "1.1" { dechunked(content) } else { content.to_owned() };
        assert_eq!(content, expected, "{version}");
    }
    assert_eq!(get(api.address, "/count/many").status, 400);
}

/// The data of a chunked message (RFC 9112, section 7.1), which must be whole.
fn dechunked(mut rest: &str) -> String {
    let mut data = String::new();
    loop {
        let (size, tail) = rest.split_once("\r\n").expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a number");
        data.push_str(&tail[..size]);
        rest = tail[size..].strip_prefix("\r\n").expect("the end of the chunk");
        if size == 0 {
            assert_eq!(rest, "");
            return data;
        }
    }
}
