//! Clients that count what becomes of their requests.

use crate::support::{PATIENCE, TESTFILE};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The bytes of a POST.
const BODY: usize = 16 << 10;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The whole and right response came.
    Success,
    /// Nobody listened.
    Refused,
    /// The connection was reset, or ended before the response was whole.
    Reset,
    /// No response in time.
    Timeout,
    /// The request could not be sent.
    WriteError,
    /// Another response.
    Wrong,
}

/// How often what became of the requests of each method.
pub type Counts = BTreeMap<(&'static str, Outcome), usize>;

/// What all clients share.
#[derive(Debug, Default)]
struct Shared {
    gets: AtomicUsize,
    posts: AtomicUsize,
    counts: Mutex<Counts>,
    /// Go on even if all requests that were planned have been made.
    goes_on: AtomicBool,
}

/// Clients at work, each with one connection for each request.
pub struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// So many clients, which together make at least these requests, and go on until they are
    /// finished.
    pub fn start(address: SocketAddr, clients: usize, gets: usize, posts: usize) -> Self {
        let shared = Arc::new(Shared::default());
        shared.goes_on.store(true, SeqCst);
        let threads = (0..clients)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.work(address, gets, posts))
            })
            .collect();
        Self { shared, threads }
    }

    /// The number of requests so far.
    pub fn made(&self) -> usize {
        self.shared.gets.load(SeqCst) + self.shared.posts.load(SeqCst)
    }

    /// Waits until all requests have been made that were planned.
    pub fn finish(self) -> Counts {
        self.shared.goes_on.store(false, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let counts = self.shared.counts.lock().unwrap();
        counts.clone()
    }
}

impl Shared {
    fn work(&self, address: SocketAddr, gets: usize, posts: usize) {
        let mut own = Counts::new();
        loop {
            let (got, posted) = (self.gets.load(SeqCst), self.posts.load(SeqCst));
            let is_done = got >= gets && posted >= posts;
            if is_done && !self.goes_on.load(SeqCst) {
                break;
            }
            // Both are spread over the whole time.
            let (method, outcome) = if posted * gets < got * posts {
                self.posts.fetch_add(1, SeqCst);
                ("POST", post(address))
            } else {
                self.gets.fetch_add(1, SeqCst);
                ("GET", get(address))
            };
            *own.entry((method, outcome)).or_default() += 1;
        }
        let mut counts = self.counts.lock().unwrap();
        for (key, count) in own {
            *counts.entry(key).or_default() += count;
        }
    }
}

fn get(address: SocketAddr) -> Outcome {
    let request = b"GET /testfile HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    exchange(address, request, |reply| {
        reply.starts_with(b"HTTP/1.1 200 ") && reply.ends_with(TESTFILE)
    })
}

/// The server for files takes no POST. It reads the whole request, and says so with 405.
fn post(address: SocketAddr) -> Outcome {
    let head = format!(
        "POST /testfile HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {BODY}\r\n\r\n"
    );
    let request = [head.as_bytes(), &[b'x'; BODY]].concat();
    exchange(address, &request, |reply| {
        let text = String::from_utf8_lossy(reply);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        head.starts_with("HTTP/1.1 405 ") && length == Some(&body.len().to_string())
    })
}

fn exchange(address: SocketAddr, request: &[u8], is_right: impl Fn(&[u8]) -> bool) -> Outcome {
    let of = |error: io::Error, otherwise| match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Outcome::Timeout,
        _ => otherwise,
    };
    let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => stream,
        Err(error) => return of(error, Outcome::Reset),
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    if let Err(error) = stream.write_all(request) {
        return of(error, Outcome::WriteError);
    }
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Ok(_) if is_right(&reply) => Outcome::Success,
        Ok(0) => Outcome::Reset,
        Ok(_) => Outcome::Wrong,
        Err(error) => of(error, Outcome::Reset),
    }
}
